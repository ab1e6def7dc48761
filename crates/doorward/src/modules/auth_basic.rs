//! `ngx_http_auth_basic_module`: lets requests pass whose user and password a file knows (RFC 7617).

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use auth::password::{self, Scheme};
use conf::Arg::Text;
use conf::once;
use wire::h1::Method;

use crate::authorization::basic_credentials;
use crate::client::Interrupted;
use crate::compile::as_path;
use crate::exchange::Exchange;
use crate::log::{Level, system_error};
use crate::module::Module;
use crate::modules::auth_outcome::{self, Reason};
use crate::plan::{Access, Verdict};
use crate::run::Stop;
use crate::variables::Template;
use crate::{directives, settings};

/// Longest wait for a comparison, in milliseconds: others' passwords may be before it.
const PATIENCE: u64 = 60_000;

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_auth_basic_module",
    directives: directives! { BasicSettings;
        /// Asks for user and password, with this realm; `off` asks no more. The realm may contain variables.
        "auth_basic" in [HTTP SERVER LOCATION LIMIT_EXCEPT] (Text("string | off")) = "off" => |c, cx, n| {
            let realm = Template::compile(n.word(0)?, &mut cx.variables)?;
            once(&mut c.realm, Some(realm), n)
        };
        /// The file of users, one `user:password` a line; the password as crypt(3), MD5 (`$1$`, `$apr1$`), SHA-crypt (`$5$`,
        /// `$6$`), bcrypt (`$2y$`), Argon2 (`$argon2id$`), `{SHA}`, `{SSHA}` or `{PLAIN}`. May contain variables.
        "auth_basic_user_file" in [HTTP SERVER LOCATION LIMIT_EXCEPT] (Text("file")) = "" => |c, cx, n| {
            let file = Template::compile(n.word(0)?, &mut cx.variables)?;
            once(&mut c.user_file, Some(file), n)
        };
    },
    variables: &[],
    plan: |cx, scope, plan| {
        let values = scope.get_mut::<BasicSettings>().settle();
        if let (Some(realm), Some(user_file)) = (values.realm, values.user_file)
            && realm.as_literal() != Some(b"off")
        {
            let folder = cx.paths.conf_prefix.clone();
            plan.access.push(Access::Basic(Box::new(Basic { realm, user_file, folder })));
        }
        Ok(())
    },
};

settings! {
    /// What is asked for.
    BasicSettings => BasicValues {
        /// The realm.
        realm: Option<Template> = None;
        /// The file of users.
        user_file: Option<Template> = None;
    }
}

/// Asks for user and password.
pub struct Basic {
    realm: Template,
    user_file: Template,
    /// Where a relative file counts from.
    folder: PathBuf,
}

impl Basic {
    /// Lets the request pass when its user and password are in the file.
    pub async fn check(&self, ex: &mut Exchange<'_>) -> Result<Verdict, Stop> {
        let realm = self.realm.eval(ex);
        if realm == b"off" {
            return Ok(Verdict::Declined);
        }
        let Some((user, password)) = basic_credentials(ex) else {
            ex.log(Level::Info, format_args!("no user/password was provided for basic authentication"));
            return Err(challenge(ex, &realm, Reason::NoCredentials));
        };
        let path = self.folder.join(as_path(&self.user_file.eval(ex)));
        let stored = stored_password(&path, &user).map_err(|error| not_read(ex, &path, &error))?;
        let Some(stored) = stored else {
            let (user, path) = (String::from_utf8_lossy(&user), path.display());
            ex.log(Level::Error, format_args!("user \"{user}\" was not found in \"{path}\""));
            return Err(challenge(ex, &realm, Reason::BadCredentials));
        };
        if is_right(ex, stored, password).await? {
            ex.visit.auth.borrow_mut().user = user;
            return Ok(Verdict::Allowed);
        }
        let user = String::from_utf8_lossy(&user);
        ex.log(Level::Error, format_args!("user \"{user}\": password mismatch"));
        Err(challenge(ex, &realm, Reason::BadCredentials))
    }
}

/// What the file keeps of the user's password; `None` where it does not know the user.
fn stored_password(path: &Path, user: &[u8]) -> io::Result<Option<Vec<u8>>> {
    // A pipe in place of the file must not stop the worker.
    let file = OpenOptions::new().read(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    find_user(BufReader::new(file), user)
}

fn find_user(mut lines: BufReader<File>, user: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        if let Some(stored) = password_of(&line, user) {
            return Ok(Some(stored.to_vec()));
        }
    }
}

/// The password of a line, if it is the user's. A second colon ends it: what follows is a remark.
fn password_of<'l>(line: &'l [u8], user: &[u8]) -> Option<&'l [u8]> {
    if line.starts_with(b"#") {
        return None;
    }
    let rest = line.strip_prefix(user)?.strip_prefix(b":")?;
    rest.split(|b| matches!(b, b'\n' | b'\r' | b':')).next()
}

/// Compares; what takes long, away from the worker's thread and a few at a time.
async fn is_right(ex: &Exchange<'_>, stored: Vec<u8>, password: Vec<u8>) -> Result<bool, Stop> {
    if !Scheme::of(&stored).is_costly() {
        return Ok(password::matches(&stored, &password));
    }
    let comparison = ex.visit.worker.hashing.in_turn(move || password::matches(&stored, &password));
    match ex.visit.client.waiting(PATIENCE, true, comparison).await {
        Ok(Ok(right)) => Ok(right),
        Err(Interrupted::ClientGone) => Err(Stop::Gone),
        Ok(Err(_)) | Err(Interrupted::Elapsed) => Err(Stop::Status(500)),
    }
}

fn challenge(ex: &mut Exchange<'_>, realm: &[u8], reason: Reason) -> Stop {
    auth_outcome::set_reason(ex, reason);
    let value = [b"Basic realm=\"", realm, b"\""].concat();
    // Who is asked to open a tunnel is a proxy (RFC 9110, 11.7.1).
    let (field, status) = match ex.method {
        Method::Connect => ("Proxy-Authenticate", 407),
        _ => ("WWW-Authenticate", 401),
    };
    ex.response.fields.add(field, &value);
    Stop::Status(status)
}

fn not_read(ex: &Exchange<'_>, path: &Path, error: &io::Error) -> Stop {
    let (level, status) = match error.kind() {
        io::ErrorKind::NotFound => (Level::Error, 403),
        _ => (Level::Crit, 500),
    };
    ex.log(level, format_args!("open() \"{}\" failed {}", path.display(), system_error(error)));
    Stop::Status(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_the_users_only_when_the_whole_name_is() {
        assert_eq!(password_of(b"ann:secret\n", b"ann"), Some(&b"secret"[..]));
        assert_eq!(password_of(b"ann:secret:a remark\r\n", b"ann"), Some(&b"secret"[..]));
        assert_eq!(password_of(b"ann:secret", b"ann"), Some(&b"secret"[..]));
        assert_eq!(password_of(b"anna:secret\n", b"ann"), None);
        assert_eq!(password_of(b"an:secret\n", b"ann"), None);
        assert_eq!(password_of(b"#ann:secret\n", b"#ann"), None);
        assert_eq!(password_of(b"ann", b"ann"), None);
    }
}
