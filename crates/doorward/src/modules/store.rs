//! `proxy_store`: an answer becomes a file of its own, as a whole or not at all, for other locations to serve.

use std::fs::{DirBuilder, File, FileTimes, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use conf::{Diagnostic, Node};
use tempfile::NamedTempFile;
use wire::Name;

use crate::body::{Body, Truncated};
use crate::compile::Compiler;
use crate::exchange::Exchange;
use crate::log::{Level, system_error};
use crate::modules::cache::write_file;
use crate::modules::static_files::{check_alias, map_to_path};
use crate::variables::Template;

/// How much is read at a time when nobody but the file waits for it.
const PIECE: usize = 32 << 10;

/// Where answers are stored.
#[derive(Clone)]
pub enum Place {
    /// Where `root` or `alias` would look for the request's path (`on`).
    OfPath,
    /// At this path.
    Path(Template),
}

/// The rights of stored files where nothing else is said: the owner's alone.
pub const OWNER_ONLY: u32 = 0o600;

/// `proxy_store` of a location, ready to run.
pub struct Store {
    /// Where answers go.
    pub place: Place,
    /// The rights of the files, as in chmod(2).
    pub access: u32,
    /// The folder where they are written, by its place among the configuration's folders.
    pub folder: usize,
}

/// A body on its way to the client and into a file.
pub struct Storing {
    body: Body,
    /// What has come; `None` once it cannot be kept.
    kept: Option<NamedTempFile>,
    path: PathBuf,
    modified: Option<SystemTime>,
    access: u32,
    ended: bool,
}

/// Reads `off`, `on`, or a path.
pub fn place(node: &Node, cx: &mut Compiler) -> Result<Option<Place>, Diagnostic> {
    let word = node.word(0)?;
    match &*word.text {
        b"off" => Ok(None),
        b"on" => Ok(Some(Place::OfPath)),
        b"" => Err(Diagnostic::at(word.span, "empty path")),
        text if has_parent(text) => {
            let text = format!("path \"{}\" has \"..\" in it", word.lossy());
            Err(Diagnostic::at(word.span, text).instead("write the path of the folder itself"))
        }
        _ => Template::compile(word, &mut cx.variables).map(|path| Some(Place::Path(path))),
    }
}

/// Reads `user:rw group:r all:r` as the bits of chmod(2); where `user` is not named it may read and write.
pub fn access(node: &Node) -> Result<u32, Diagnostic> {
    let (mut access, mut user) = (0, OWNER_ONLY);
    for word in &node.args {
        let invalid = || Diagnostic::at(word.span, format!("invalid value \"{}\"", word.lossy()));
        let (who, right) =
            word.lossy().split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned())).ok_or_else(invalid)?;
        let right = match &*right {
            "rw" => 6,
            "r" => 4,
            _ => return Err(invalid()),
        };
        access |= match &*who {
            "user" => {
                user = 0;
                right << 6
            }
            "group" => right << 3,
            "all" => right,
            _ => return Err(invalid()),
        };
    }
    Ok(access | user)
}

impl Store {
    /// Lets an answer become a file on its way, where it is one to store: the whole body of a 200.
    pub fn admit(&self, ex: &Exchange<'_>, body: Body) -> Body {
        if ex.response.status != 200 || ex.response.unbuffered {
            return body;
        }
        let path = match &self.place {
            Place::OfPath if check_alias(ex).is_err() => return body,
            Place::OfPath => map_to_path(ex, &ex.uri),
            Place::Path(path) => path.eval(ex),
        };
        if path.is_empty() {
            return body;
        }
        if matches!(self.place, Place::Path(_)) && has_parent(&path) {
            let path = String::from_utf8_lossy(&path);
            ex.log(Level::Error, format_args!("\"{path}\" is not stored: it has \"..\" in it"));
            return body;
        }
        let kept = match self.temporary(ex) {
            Ok(kept) => kept,
            Err(error) => {
                let folder = ex.visit.config.folders.get(self.folder).map(|folder| folder.display());
                let folder = folder.map(|folder| folder.to_string()).unwrap_or_default();
                ex.log(Level::Crit, format_args!("open() in \"{folder}\" failed {}", system_error(&error)));
                return body;
            }
        };
        let modified = ex.response.fields.upstream_value(Name::LastModified).and_then(wire::date::parse);
        Body::Storing(Box::new(Storing {
            body,
            kept: Some(kept),
            path: ex.visit.config.main.prefix.join(std::ffi::OsString::from_vec(path)),
            modified: modified
                .and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))),
            access: self.access,
            ended: false,
        }))
    }

    fn temporary(&self, ex: &Exchange<'_>) -> io::Result<NamedTempFile> {
        let folder = ex.visit.config.folders.get(self.folder);
        NamedTempFile::new_in(folder.map_or(Path::new("."), |folder| folder))
    }
}

impl Storing {
    /// Appends the next piece, and keeps it; false at the end.
    pub async fn next(
        &mut self,
        ex: &mut Exchange<'_>,
        out: &mut Vec<u8>,
        most: usize,
    ) -> Result<bool, Truncated> {
        let before = out.len();
        let more = self.body.next(ex, out, most).await;
        match more {
            Ok(more) => {
                let piece = out.get(before..).unwrap_or_default();
                if let Some(Err(error)) = self.kept.as_mut().map(|kept| kept.write_all(piece)) {
                    let path = self.path.display();
                    let error = system_error(&error);
                    ex.log(Level::Crit, format_args!("\"{path}\" is not stored: write() failed {error}"));
                    self.kept = None;
                }
                if !more || self.body.is_done() {
                    self.commit(ex);
                }
            }
            Err(Truncated) => {
                self.kept = None;
                self.ended = true;
            }
        }
        more
    }

    /// The body itself.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Whether everything was handed out.
    pub fn is_done(&self) -> bool {
        self.ended
    }

    /// Reads the rest for the file alone.
    pub async fn drain(&mut self, ex: &mut Exchange<'_>) {
        let mut piece = ex.visit.worker.buffers.take(PIECE);
        while !self.ended {
            piece.clear();
            if self.next(ex, &mut piece, PIECE).await.is_err() {
                break;
            }
        }
        piece.clear();
        ex.visit.worker.buffers.put(piece);
    }

    fn commit(&mut self, ex: &Exchange<'_>) {
        self.ended = true;
        let Some(kept) = self.kept.take() else { return };
        if let Err(error) = publish(kept, &self.path, self.modified, self.access) {
            let (path, error) = (self.path.display(), system_error(&error));
            ex.log(Level::Crit, format_args!("rename() to \"{path}\" failed {error}"));
        }
    }
}

/// Gives a file its rights, its time and its name, and makes the folders above it.
fn publish(
    mut kept: NamedTempFile,
    path: &Path,
    modified: Option<SystemTime>,
    access: u32,
) -> io::Result<()> {
    finish(kept.as_file(), modified, access)?;
    let mut error = match kept.persist(path) {
        Ok(_) => return Ok(()),
        Err(failed) => {
            kept = failed.file;
            failed.error
        }
    };
    if error.kind() == io::ErrorKind::NotFound {
        if let Some(folder) = path.parent() {
            // Who may read the files may look into the folders.
            let mode = access | (access & 0o444) >> 2;
            DirBuilder::new().recursive(true).mode(mode).create(folder)?;
        }
        error = match kept.persist(path) {
            Ok(_) => return Ok(()),
            Err(failed) => {
                kept = failed.file;
                failed.error
            }
        };
    }
    if error.kind() != io::ErrorKind::CrossesDevices {
        return Err(error);
    }
    let mut from = kept.reopen()?;
    write_file(path, |to| {
        io::copy(&mut from, to)?;
        finish(to, modified, access)
    })
}

fn finish(file: &File, modified: Option<SystemTime>, access: u32) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(access))?;
    match modified {
        Some(time) => file.set_times(FileTimes::new().set_accessed(time).set_modified(time)),
        None => Ok(()),
    }
}

/// Whether a path leads out of the folder in front of it.
fn has_parent(path: &[u8]) -> bool {
    path.split(|b| *b == b'/').any(|part| part == b"..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_has_its_rights_and_its_time_and_the_folders_above_it_can_be_entered() {
        let folder = tempfile::tempdir().unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for (name, access, above) in
            [("one/a", 0o664, 0o775), ("two/a", 0o640, 0o750), ("three/a", 0o600, 0o700)]
        {
            let path = folder.path().join(name);
            let mut kept = NamedTempFile::new_in(folder.path()).unwrap();
            kept.write_all(b"x").unwrap();
            publish(kept, &path, Some(time), access).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), time);
            // What the umask of the test forbids is not what this is about.
            assert_eq!(
                (mode(&path), mode(path.parent().unwrap()) & 0o755),
                (access, above & 0o755),
                "{name}"
            );
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "nothing else is left");
    }

    #[test]
    fn a_file_on_another_device_is_copied() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
        let path = there.path().join("deep/file");
        let mut kept = NamedTempFile::new_in(here.path()).unwrap();
        kept.write_all(b"body").unwrap();
        publish(kept, &path, None, 0o644).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"body");
        assert_eq!(mode(&path), 0o644);
        assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_path_that_leads_out_of_its_folder_is_told() {
        assert!(has_parent(b"/a/../b") && has_parent(b"..") && has_parent(b"/a/.."));
        assert!(!has_parent(b"/a/..b/c.../d"));
    }
}
