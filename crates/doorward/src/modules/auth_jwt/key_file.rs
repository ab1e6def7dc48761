//! `auth_jwt_key_file`: keys that are read with the configuration.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use auth::jwt::KeySet;
use conf::{Diagnostic, Node};

use crate::compile::{Compiler, as_path};
use crate::log::system_error;

/// Sets of keys by file, each read once for a configuration.
pub type KeyFiles = HashMap<PathBuf, Arc<KeySet>>;

/// Reads the file that a directive names.
pub fn read(node: &Node, cx: &mut Compiler) -> Result<Arc<KeySet>, Diagnostic> {
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
