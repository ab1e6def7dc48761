//! `ngx_http_try_files_module`: takes the first file that is there, or goes elsewhere.

use conf::Arg::{Many, Text};
use conf::{Diagnostic, Node};
use nix::errno::Errno;

use crate::compile::{Compiler, as_path};
use crate::directives;
use crate::error_pages::split_args;
use crate::exchange::Exchange;
use crate::log::{Level, system_error};
use crate::module::{Module, Settings};
use crate::modules::core::Alias;
use crate::modules::static_files;
use crate::plan::Precontent;
use crate::run::Stop;
use crate::variables::Template;

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_try_files_module",
    directives: directives! { TrySettings;
        /// Takes the first of the files that is there, looked for below `root` or `alias`; a name that ends with a
        /// slash means a folder. When none is, goes to the last name: a path, `@name` or `=status`.
        "try_files" in [SERVER LOCATION] (Text("file"), Many(&Text("uri"))) = "" => |c, cx, n| {
            let files = TryFiles::compile(n, cx)?;
            conf::once(&mut c.files, files, n)
        };
    },
    variables: &[],
    plan: |_, scope, plan| {
        if let Some(files) = scope.get_mut::<TrySettings>().files.clone() {
            plan.precontent.push(Precontent::TryFiles(files));
        }
        Ok(())
    },
};

#[derive(Default)]
struct TrySettings {
    files: Option<TryFiles>,
}

impl Settings for TrySettings {
    /// Nothing is inherited, not even by an `if`.
    fn inherit(&mut self, _: &Self) {}
}

/// What a location tries.
#[derive(Clone)]
pub struct TryFiles {
    tries: Vec<Try>,
    last: Last,
}

#[derive(Clone)]
struct Try {
    name: Template,
    folder: bool,
}

/// Where it goes when nothing is found.
#[derive(Clone)]
enum Last {
    Status(u16),
    Go(Template),
}

impl TryFiles {
    fn compile(node: &Node, cx: &mut Compiler) -> Result<TryFiles, Diagnostic> {
        let Some((last, tries)) = node.args.split_last() else {
            return Err(node.complaint("has no files to try"));
        };
        let mut compiled = Vec::with_capacity(tries.len());
        for word in tries {
            let mut word = word.clone();
            let folder = word.text.ends_with(b"/");
            if folder {
                word.text.pop();
            }
            compiled.push(Try { name: Template::compile(&word, &mut cx.variables)?, folder });
        }
        let last = match last.text.strip_prefix(b"=") {
            Some(digits) => {
                let code =
                    conf::value::number(digits).and_then(|n| u16::try_from(n).ok()).filter(|n| *n <= 999);
                let wrong = || Diagnostic::at(last.span, format!("invalid code \"{}\"", last.lossy()));
                Last::Status(code.ok_or_else(wrong)?)
            }
            None => Last::Go(Template::compile(last, &mut cx.variables)?),
        };
        Ok(TryFiles { tries: compiled, last })
    }

    /// Puts the path of what is found in force, or goes elsewhere.
    pub fn run(&self, ex: &mut Exchange<'_>) -> Result<(), Stop> {
        static_files::check_alias(ex)?;
        let root = static_files::root(ex);
        for Try { name, folder } in &self.tries {
            let mut name_found = name.eval(ex);
            // The value of $uri has the prefix that `alias` replaces.
            if let Some(Alias::Prefix(length)) = ex.plan.core.root.alias
                && name.as_literal().is_none()
                && let Some(prefix) = ex.uri.get(..length)
                && name_found.starts_with(prefix)
            {
                name_found.drain(..length);
            }
            let path = [root.as_slice(), &name_found].concat();
            match static_files::metadata(ex, as_path(&path)) {
                Ok(metadata) if metadata.is_dir() == *folder => {
                    take(ex, name_found, *folder);
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) => report(ex, &path, &error),
            }
        }
        match &self.last {
            Last::Status(status) => Err(Stop::Status(*status)),
            Last::Go(target) => {
                let target = target.eval(ex);
                if target.starts_with(b"@") {
                    return Err(Stop::Named(target));
                }
                split_args(&target, ex);
                Err(Stop::Redirect)
            }
        }
    }
}

fn take(ex: &mut Exchange<'_>, name: Vec<u8>, folder: bool) {
    match ex.plan.core.root.alias {
        None => ex.uri = name,
        Some(Alias::Prefix(length)) => {
            ex.uri.truncate(length);
            ex.uri.extend_from_slice(&name);
        }
        // A folder is what the alias of a pattern names already.
        Some(Alias::Whole | Alias::Own) if folder => {}
        Some(Alias::Whole | Alias::Own) => {
            ex.uri = name;
            ex.add_uri_to_alias = true;
        }
    }
}

fn report(ex: &Exchange<'_>, path: &[u8], error: &std::io::Error) {
    let missing = [Errno::ENOENT, Errno::ENOTDIR, Errno::ENAMETOOLONG];
    if !missing.contains(&Errno::from_raw(error.raw_os_error().unwrap_or(0))) {
        let (path, error) = (as_path(path).display(), system_error(error));
        ex.log(Level::Crit, format_args!("stat() \"{path}\" failed {error}"));
    }
}
