//! `ngx_http_random_index_module`: any file of a folder as its index.

use std::os::unix::ffi::OsStrExt;

use conf::Arg::Flag;

use crate::compile::as_path;
use crate::directives;
use crate::exchange::Exchange;
use crate::log::{Level, system_error};
use crate::module::Module;
use crate::modules::static_files::{map_to_path, refusal};
use crate::plan::Content;
use crate::run::Stop;
use crate::settings;

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_random_index_module",
    directives: directives! { RandomSettings;
        /// Answers a folder's path with one of its files, chosen anew each time; names that start with a dot are none.
        "random_index" in [LOCATION] (Flag) = "off" => |c, _, n| conf::once(&mut c.on, n.flag(0)?, n);
    },
    variables: &[],
    plan: |_, scope, plan| {
        if scope.get_mut::<RandomSettings>().settle().on
            && let Content::Files(files) = &mut plan.content
        {
            files.random = true;
        }
        Ok(())
    },
};

settings! {
    /// Whether any file is the index.
    RandomSettings => RandomValues {
        /// Whether it is.
        on: bool = false;
    }
}

/// Leads to a file of the folder, where there is one.
pub fn choose(ex: &mut Exchange<'_>) -> Result<(), Stop> {
    let folder = map_to_path(ex, &ex.uri);
    let entries = as_path(&folder).read_dir().map_err(|error| {
        let (status, level) = refusal(&error);
        if status != 404 || ex.plan.core.log_not_found {
            let (folder, error) = (as_path(&folder).display(), system_error(&error));
            ex.log(level, format_args!("opendir() \"{folder}\" failed {error}"));
        }
        Stop::Status(status)
    })?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| {
            let (folder, error) = (as_path(&folder).display(), system_error(&error));
            ex.log(Level::Crit, format_args!("readdir() \"{folder}\" failed {error}"));
            Stop::Status(500)
        })?;
        // Through a link its target counts, so the type of the entry itself does not say enough.
        let name = entry.file_name();
        if !name.as_bytes().starts_with(b".") && entry.path().is_file() {
            names.push(name);
        }
    }
    if names.is_empty() {
        return Ok(());
    }
    let at = u64::from_ne_bytes(crate::random::bytes()) % names.len() as u64;
    if let Some(name) = names.get(at as usize) {
        ex.uri.extend_from_slice(name.as_bytes());
    }
    Err(Stop::Redirect)
}
