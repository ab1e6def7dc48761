//! Opening files, past symbolic links or not (`disable_symlinks`).

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use conf::Arg::{Choice, Optional, Text};
use conf::{Diagnostic, once};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open, openat};
use nix::sys::stat::{Mode, fstat, fstatat};

use crate::directives;
use crate::exchange::Exchange;
use crate::module::{Module, Settings};
use crate::variables::Template;

/// `disable_symlinks`.
pub static MODULE: Module = Module {
    name: "ngx_http_core_module",
    directives: directives! { LinkSettings;
        /// Refuses files whose path has a symbolic link in it (`on`), or one that belongs to somebody else than what it points to
        /// (`if_not_owner`). What stands behind `from=` is trusted at the start of paths.
        "disable_symlinks" in [HTTP SERVER LOCATION] (Choice(&["off", "on", "if_not_owner"]), Optional(&Text("from=part"))) = "off" => |c, cx, n| {
            let which = n.choice(0, &[("off", None), ("on", Some(Refused::All)), ("if_not_owner", Some(Refused::Foreign))])?;
            let mut from = None;
            if let Ok(word) = n.word(1) {
                let Some(part) = word.text.strip_prefix(b"from=").filter(|part| !part.is_empty()) else {
                    return Err(Diagnostic::at(word.span, format!("invalid parameter \"{}\"", word.lossy())));
                };
                from = Some(Template::of(part, Some(word), &mut cx.variables)?);
            }
            let links = which.map(|refused| Arc::new(Symlinks { refused, from }));
            once(&mut c.links, links, n)
        };
    },
    variables: &[],
    plan: |_, scope, plan| {
        plan.symlinks = scope.get_mut::<LinkSettings>().links.clone().flatten();
        Ok(())
    },
};

#[derive(Clone, Default)]
struct LinkSettings {
    links: Option<Option<Arc<Symlinks>>>,
}

impl Settings for LinkSettings {
    fn inherit(&mut self, outer: &Self) {
        if self.links.is_none() {
            self.links.clone_from(&outer.links);
        }
    }
}

/// Which links are refused, and behind which part of the path.
pub struct Symlinks {
    refused: Refused,
    from: Option<Template>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    All,
    /// Those that belong to somebody else than what they point to.
    Foreign,
}

/// Opens a file of the location to be read. A pipe does not wait for its writer.
pub fn open_file(ex: &Exchange<'_>, path: &Path) -> io::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let Some(links) = &ex.plan.symlinks else {
        return Ok(open(path, flags, Mode::empty())?.into());
    };
    let bytes = path.as_os_str().as_bytes();
    let from = links.from.as_ref().map(|from| from.eval(ex)).unwrap_or_default();
    match trusted(bytes, &from) {
        Some(length) if length == bytes.len() => Ok(open(path, flags, Mode::empty())?.into()),
        length => Ok(walk(bytes, length.unwrap_or(0), links.refused, flags)?.into()),
    }
}

/// What a path of the location names.
pub fn metadata(ex: &Exchange<'_>, path: &Path) -> io::Result<Metadata> {
    match &ex.plan.symlinks {
        None => path.metadata(),
        Some(_) => open_file(ex, path)?.metadata(),
    }
}

/// How much of a path is trusted: `from`, where the path starts with it and goes on behind a slash.
fn trusted(path: &[u8], from: &[u8]) -> Option<usize> {
    let rest = path.strip_prefix(from).filter(|_| !from.is_empty())?;
    match (rest, from) {
        ([] | [b'/', ..], _) => Some(from.len()),
        (_, [part @ .., b'/']) => Some(part.len()),
        _ => None,
    }
}

/// Opens folder after folder, so that no link is followed unseen whoever changes the folders meanwhile.
fn walk(path: &[u8], trusted: usize, refused: Refused, flags: OFlag) -> Result<OwnedFd, Errno> {
    let search = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let (start, rest) = path.split_at(trusted);
    let mut folder = match (start, rest) {
        ([], [b'/', ..]) => Some(open("/", search, Mode::empty())?),
        ([], _) => None,
        (start, _) => Some(open(start, search, Mode::empty())?),
    };
    let mut parts = rest.split(|b| *b == b'/').filter(|part| !part.is_empty()).peekable();
    let is_folder = rest.is_empty() || rest.ends_with(b"/");
    while let Some(part) = parts.next() {
        let flags = if parts.peek().is_some() || is_folder { search } else { flags };
        let found = match &folder {
            Some(folder) => step(folder, part, refused, flags)?,
            None => step(AT_FDCWD, part, refused, flags)?,
        };
        folder = Some(found);
    }
    match folder {
        // What ends with a slash is a folder, which so far was only looked through.
        Some(folder) if is_folder => openat(&folder, ".", flags, Mode::empty()),
        Some(file) => Ok(file),
        None => Err(Errno::ENOENT),
    }
}

fn step(folder: impl AsFd, name: &[u8], refused: Refused, flags: OFlag) -> Result<OwnedFd, Errno> {
    match refused {
        Refused::All => openat(folder, name, flags | OFlag::O_NOFOLLOW, Mode::empty()),
        Refused::Foreign => {
            let found = openat(&folder, name, flags, Mode::empty())?;
            // Whether a link was followed is not known: it may have come or gone meanwhile. The owners tell in any case.
            let named = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
            if fstat(&found)?.st_uid == named.st_uid { Ok(found) } else { Err(Errno::ELOOP) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn from_trusts_whole_parts_of_the_path_only() {
        assert_eq!(trusted(b"/www/site/a", b"/www/site"), Some(9));
        assert_eq!(trusted(b"/www/site/a", b"/www/site/"), Some(9));
        assert_eq!(trusted(b"/www/site", b"/www/site"), Some(9));
        assert_eq!(trusted(b"/www/sites/a", b"/www/site"), None);
        assert_eq!(trusted(b"/www/site/a", b""), None);
        assert_eq!(trusted(b"/other", b"/www"), None);
    }

    #[test]
    fn links_are_refused_in_the_middle_and_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("real")).unwrap();
        std::fs::write(root.join("real/file"), "x").unwrap();
        symlink("real", root.join("link")).unwrap();
        symlink("file", root.join("real/alias")).unwrap();
        let opens = |path: &str, trusted: usize, refused| {
            let path = root.join(path);
            walk(path.as_os_str().as_bytes(), trusted, refused, OFlag::O_RDONLY).err()
        };
        assert_eq!(opens("real/file", 0, Refused::All), None);
        assert_eq!(opens("real//./file", 0, Refused::All), None);
        assert_eq!(opens("real/", 0, Refused::All), None);
        assert_eq!(opens("real/file/", 0, Refused::All), Some(Errno::ENOTDIR));
        assert_eq!(opens("real/alias", 0, Refused::All), Some(Errno::ELOOP));
        assert!(opens("link/file", 0, Refused::All).is_some());
        assert!(opens("link/", 0, Refused::All).is_some());
        assert_eq!(opens("link/file", root.as_os_str().len() + 5, Refused::All), None);
        assert_eq!(opens("link/alias", 0, Refused::Foreign), None);
    }
}
