//! Which file a path stands for, and of which type it is.

use std::io;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;

use crate::compile::as_path;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::modules::core::Alias;
use crate::run::Stop;

/// The file that a path stands for (nginx's ngx_http_map_uri_to_path).
pub fn map_to_path(ex: &Exchange<'_>, uri: &[u8]) -> Vec<u8> {
    let mut path = root(ex);
    let rest = match ex.plan.core.root.alias {
        None => uri,
        Some(Alias::Prefix(length)) => uri.get(length..).unwrap_or_default(),
        // A pattern's alias is the whole path, made of captures, unless `try_files` chose a file below it.
        Some(Alias::Whole | Alias::Own) => {
            if ex.add_uri_to_alias {
                uri
            } else {
                b""
            }
        }
    };
    path.extend_from_slice(rest);
    path
}

/// The folder of `root` or `alias` (`$document_root`).
pub fn root(ex: &Exchange<'_>) -> Vec<u8> {
    let path = ex.plan.core.root.path.eval(ex);
    if path.starts_with(b"/") {
        return path;
    }
    let path = ex.visit.config.main.prefix.join(as_path(&path));
    path.as_os_str().as_bytes().to_vec()
}

/// `alias` replaces the location's prefix, which a rewritten path need not have any more.
pub fn check_alias(ex: &Exchange<'_>) -> Result<(), Stop> {
    if ex.plan.core.root.alias.is_some() && !ex.valid_location {
        let name = String::from_utf8_lossy(&ex.plan.core.name);
        let text = "cannot be used in location";
        ex.log(Level::Alert, format_args!("\"alias\" {text} \"{name}\" where URI was rewritten"));
        return Err(Stop::Status(500));
    }
    Ok(())
}

/// The status for a file that cannot be opened, and how loudly that is said.
pub fn refusal(error: &io::Error) -> (u16, Level) {
    match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
        Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG => (404, Level::Error),
        Errno::EACCES | Errno::EMLINK | Errno::ELOOP => (403, Level::Error),
        _ => (500, Level::Crit),
    }
}

/// The media type of the exchange's path.
fn media_type<'c>(ex: &Exchange<'c>) -> &'c [u8] {
    let extension = wire::uri::extension(&ex.uri);
    let core = &ex.plan.core;
    let found = if extension.is_empty() {
        None
    } else if extension.iter().any(u8::is_ascii_uppercase) {
        core.types.get(&extension.to_ascii_lowercase())
    } else {
        core.types.get(extension)
    };
    found.unwrap_or(&core.default_type)
}

/// Sets `Content-Type` by the path's extension, unless `X-Accel-Redirect` brought one along.
pub fn set_type_of_path(ex: &mut Exchange<'_>) {
    if ex.response.fields.get(wire::Name::ContentType).is_none() {
        set_content_type(ex, media_type(ex));
    }
}

/// Sets `Content-Type`, unless the type is empty.
pub fn set_content_type(ex: &mut Exchange<'_>, media_type: &[u8]) {
    if !media_type.is_empty() {
        ex.response.fields.set("Content-Type", media_type);
    }
}
