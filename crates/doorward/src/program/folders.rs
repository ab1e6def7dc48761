//! Folders and log files that belong to the user of the worker process: made, opened and given to it.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use net::process::{Uid, find_user, give_to};

use super::say::Complaints;
use crate::config::Config;
use crate::log::{Level, system_error};

/// The user of the worker process, where the master is root.
pub fn owner(config: &Config) -> Option<Uid> {
    let (user, _) = config.main.user.as_ref()?;
    find_user(user).ok()
}

/// Makes the folders that the configuration writes to (the last one of each path, as nginx does).
pub fn make(config: &Config, log: &Complaints<'_>) -> bool {
    let owner = owner(config);
    config.folders.iter().all(|folder| {
        let shown = folder.display();
        let complain = |call: &str, error: &io::Error| {
            log.say(Level::Emerg, &format!("{call} \"{shown}\" failed {}", system_error(error)));
            false
        };
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return complain("mkdir()", &error),
            _ => {}
        }
        owner.is_none_or(|owner| match give(folder, owner, 0o700) {
            Ok(()) => true,
            Err((call, error)) => complain(call, &error),
        })
    })
}

/// Opens every log file anew and gives it to the user of the worker process.
pub fn reopen_logs(config: &Config) {
    let owner = owner(config);
    for log in config.logs.values() {
        let Some(path) = log.path() else { continue };
        let reopened = log.reopen().map_err(|error| ("open()", error));
        let given = reopened.and_then(|()| owner.map_or(Ok(()), |owner| give(path, owner, 0o600)));
        if let Err((call, error)) = given {
            let (path, why) = (path.display(), system_error(&error));
            config.error_log.write(Level::Emerg, format_args!("{call} \"{path}\" failed {why}"));
        }
    }
}

/// Makes a user the owner, with at least the rights `mode`.
fn give(path: &Path, owner: Uid, mode: u32) -> Result<(), (&'static str, io::Error)> {
    let found = std::fs::metadata(path).map_err(|error| ("stat()", error))?;
    if !found.is_file() && !found.is_dir() {
        // `/dev/null` and the like belong to the machine.
        return Ok(());
    }
    if found.uid() != owner.as_raw() {
        give_to(path, owner).map_err(|error| ("chown()", error))?;
    }
    if found.mode() & mode != mode {
        let mode = found.mode() | mode;
        std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|error| ("chmod()", error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_given_to_files_and_folders_but_not_to_devices_and_the_like() {
        let folder = tempfile::tempdir().unwrap();
        let (file, socket) = (folder.path().join("file"), folder.path().join("socket"));
        std::fs::write(&file, "").unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let owner = Uid::from_raw(std::fs::metadata(&file).unwrap().uid());
        for path in [&file, &socket] {
            std::fs::set_permissions(path, Permissions::from_mode(0o044)).unwrap();
            give(path, owner, 0o600).unwrap();
        }
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o644);
        assert_eq!(std::fs::metadata(&socket).unwrap().mode() & 0o777, 0o044);
    }
}
