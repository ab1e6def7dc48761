//! `auth_jwt_key_file`: keys that are read with the configuration, or where a request names the file, while it is served.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use auth::jwt::{KeySet, MOST_SET};
use conf::{Diagnostic, Node};

use crate::compile::{Compiler, as_path};
use crate::exchange::Exchange;
use crate::log::{Level, system_error};
use crate::variables::Template;
use crate::zone::Table;

use super::keys::Source;

/// Sets of keys by file, each read once for a configuration.
pub type KeyFiles = HashMap<PathBuf, Arc<KeySet>>;

/// The bytes that sets of files may take which requests name, for each directive.
const ROOM: usize = 4 << 20;

/// Where a directive's keys come from: the file that it names is read now, unless a request has a part in its name.
pub fn source(node: &Node, cx: &mut Compiler) -> Result<Source, Diagnostic> {
    let name = Template::compile(node.word(0)?, &mut cx.variables)?;
    if name.as_literal().is_some() {
        return read(node, cx).map(Source::Read);
    }
    let folder = cx.paths.conf_prefix.clone();
    Ok(Source::Named(Arc::new(NamedFile { name, folder, known: Mutex::new(Table::new(ROOM)) })))
}

fn read(node: &Node, cx: &mut Compiler) -> Result<Arc<KeySet>, Diagnostic> {
    let path = cx.paths.conf_prefix.join(as_path(node.bytes(0)));
    if let Some(keys) = cx.jwt.files.get(&path) {
        return Ok(keys.clone());
    }
    let text = match cx.read(&path) {
        Ok(text) => text,
        Err(error) => {
            let missing = not_read(node, &path, &error);
            return Err(if cx.only_looks() { missing.note() } else { missing });
        }
    };
    let keys = KeySet::parse(&text).map_err(|not| {
        let sentence = format!("\"{}:{}\" is no set of keys: {not}", path.display(), not.line);
        Diagnostic::at(node.span, sentence)
            .instead("it must be a JSON Web Key Set, {\"keys\": [...]}, or one JSON Web Key (RFC 7517)")
    })?;
    judge(node, &path, &keys, cx)?;
    let keys = Arc::new(keys);
    cx.jwt.files.insert(path, keys.clone());
    Ok(keys)
}

/// Complains about keys that are wrong, and warns about those that are strange.
fn judge(node: &Node, path: &Path, keys: &KeySet, cx: &mut Compiler) -> Result<(), Diagnostic> {
    let say = |place: &auth::jwt::Place, what: &str| {
        let (path, line, number) = (path.display(), place.line, place.number);
        Diagnostic::at(node.span, format!("key {number} in \"{path}:{line}\" {what}"))
    };
    if let Some(wrong) = keys.ignored().iter().find(|key| !key.fault.is_for_others()) {
        return Err(say(&wrong.place, &wrong.fault.to_string())
            .instead("take it out, or put the issuer's key in its place (RFC 7517, RFC 7518 6)"));
    }
    if keys.is_empty() {
        let sentence = format!("\"{}\" has no key that tokens can be checked with", path.display());
        return Err(Diagnostic::at(node.span, sentence)
            .instead("put the keys into it that the issuer signs its tokens with"));
    }
    for unused in keys.ignored() {
        let warning = say(&unused.place, &format!("is not used: it {}", unused.fault)).warning();
        cx.warn(warning.instead("take it out if nobody else reads the file"));
    }
    for (place, bytes) in keys.short_secrets() {
        let warning =
            say(place, &format!("is a secret of {bytes} bytes, which can be found out by trying")).warning();
        cx.warn(
            warning
                .instead("take a random one that is as long as the hash: 32 bytes for HS256 (RFC 7518, 3.2)"),
        );
    }
    for place in keys.private_parts() {
        let warning = say(place, "has its private part, with which tokens can be made").warning();
        cx.warn(warning.instead("leave only the public members in it: kty, kid, alg, use, n, e, crv, x, y"));
    }
    Ok(())
}

fn not_read(node: &Node, path: &Path, error: &io::Error) -> Diagnostic {
    Diagnostic::at(node.span, format!("open() \"{}\" failed {}", path.display(), system_error(error)))
        .instead("name the file of the issuer's keys; a relative path starts at the folder of the configuration file")
}

/// A file whose name depends on the request. It is read anew when it has changed.
pub struct NamedFile {
    name: Template,
    /// Where a relative file counts from.
    folder: PathBuf,
    known: Mutex<Table<(Stamp, Arc<KeySet>)>>,
}

/// What tells a file from what it was: device, number, length, time of its last change.
type Stamp = (u64, u64, u64, i64, i64);

impl NamedFile {
    /// The keys of the request's file; without them the error log says why.
    pub fn keys(&self, ex: &Exchange<'_>) -> Option<Arc<KeySet>> {
        let name = self.name.eval(ex);
        let path = self.folder.join(as_path(&name));
        self.read(&path)
            .map_err(|why| {
                let path = path.display();
                ex.log(Level::Error, format_args!("no keys from \"{path}\" (auth_jwt_key_file): {why}"));
            })
            .ok()
    }

    fn read(&self, path: &Path) -> Result<Arc<KeySet>, String> {
        // What a client has a part in must not lead to a file that somebody else put anywhere.
        if path.components().any(|part| part == Component::ParentDir) {
            return Err("the path has a \"..\"".to_owned());
        }
        let failed = |error: io::Error| format!("open() failed {}", system_error(&error));
        // A pipe in place of the file must not stop the worker.
        let open =
            OpenOptions::new().read(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits()).open(path);
        let file = open.map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if !about.is_file() {
            return Err("it is no regular file".to_owned());
        }
        let stamp = (about.dev(), about.ino(), about.len(), about.mtime(), about.mtime_nsec());
        let key = path.as_os_str().as_encoded_bytes();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, keys)) = known.get(key)
            && *known == stamp
        {
            return Ok(keys.clone());
        }
        let mut text = Vec::new();
        file.take(MOST_SET as u64 + 1).read_to_end(&mut text).map_err(failed)?;
        let keys = KeySet::parse(&text).map_err(|not| format!("line {}: {not}", not.line))?;
        let keys = Arc::new(keys);
        // Keys as they are used are a few times as long as their text.
        known.insert_sized(key, (stamp, keys.clone()), text.len() * 4, |_| true);
        Ok(keys)
    }
}
