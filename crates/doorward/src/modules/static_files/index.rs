//! The index of a folder.

use std::io;

use nix::errno::Errno;

use super::{Files, map_to_path, metadata};
use crate::compile::as_path;
use crate::exchange::Exchange;
use crate::log::{Level, system_error};
use crate::run::Stop;

impl Files {
    /// Leads to the first index file that is there, if any is.
    pub(super) fn index(&self, ex: &mut Exchange<'_>) -> Result<(), Stop> {
        let folder = map_to_path(ex, &ex.uri);
        let mut folder_seen = false;
        for name in &self.index {
            let name = name.eval(ex);
            if name.starts_with(b"/") {
                ex.uri = name;
                return Err(Stop::Redirect);
            }
            let path = [folder.as_slice(), &name].concat();
            let Err(error) = metadata(ex, as_path(&path)) else {
                ex.uri.extend_from_slice(&name);
                return Err(Stop::Redirect);
            };
            match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
                Errno::ENOENT if folder_seen => {}
                Errno::ENOENT => {
                    check_folder(ex, &folder, &path)?;
                    folder_seen = true;
                }
                Errno::ELOOP | Errno::EMLINK => return Err(Stop::Status(403)),
                Errno::ENOTDIR | Errno::ENAMETOOLONG | Errno::EACCES => {
                    return Err(refuse(ex, &path, &error));
                }
                _ => {
                    let (path, error) = (as_path(&path).display(), system_error(&error));
                    ex.log(Level::Crit, format_args!("stat() \"{path}\" failed {error}"));
                    return Err(Stop::Status(500));
                }
            }
        }
        Ok(())
    }
}

/// Tells a missing index file from a missing folder.
fn check_folder(ex: &Exchange<'_>, folder: &[u8], path: &[u8]) -> Result<(), Stop> {
    match metadata(ex, as_path(folder)) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        // It may be searched all the same, as looking for the file has shown.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(refuse(ex, path, &error)),
        Ok(_) => {
            let folder = as_path(folder).display();
            ex.log(Level::Alert, format_args!("\"{folder}\" is not a directory"));
            Err(Stop::Status(500))
        }
        Err(error) => {
            let (folder, error) = (as_path(folder).display(), system_error(&error));
            ex.log(Level::Crit, format_args!("stat() \"{folder}\" failed {error}"));
            Err(Stop::Status(500))
        }
    }
}

fn refuse(ex: &Exchange<'_>, path: &[u8], error: &io::Error) -> Stop {
    let path = as_path(path).display();
    if error.kind() == io::ErrorKind::PermissionDenied {
        ex.log(Level::Error, format_args!("\"{path}\" is forbidden {}", system_error(error)));
        return Stop::Status(403);
    }
    if ex.plan.core.log_not_found {
        ex.log(Level::Error, format_args!("\"{path}\" is not found {}", system_error(error)));
    }
    Stop::Status(404)
}
