//! Certificates, keys and passwords that directives name: their files are read with the configuration, by who may read them.

use std::path::Path;
use std::sync::Arc;

use conf::{Diagnostic, Node, Word};
use net::tls::files::{self, FileError};
use rustls::sign::CertifiedKey;

use crate::compile::{Compiler, as_path};
use crate::log::system_error;

/// What a directive names.
pub enum Place<'w> {
    /// What stands behind `data:` is taken in place of a file.
    Data(&'w [u8]),
    /// A file: by its path, or as OpenSSL's stores name it (`store:file:/path`).
    File(&'w [u8]),
    /// What only OpenSSL can load.
    Foreign(&'static str),
}

impl Place<'_> {
    /// Reads the word of a directive.
    pub fn of(text: &[u8]) -> Place<'_> {
        if let Some(data) = text.strip_prefix(b"data:") {
            return Place::Data(data);
        }
        if let Some(path) = text.strip_prefix(b"store:file:") {
            return Place::File(path.strip_prefix(b"//").unwrap_or(path));
        }
        let foreign = ["engine:", "store:"].into_iter().find(|scheme| text.starts_with(scheme.as_bytes()));
        foreign.map_or(Place::File(text), Place::Foreign)
    }

    /// Its name as messages show it: a key in its place is shown to nobody.
    pub fn shown(&self, folder: &Path) -> String {
        match self {
            Place::Data(_) => "data:".to_owned(),
            Place::File(path) => folder.join(as_path(path)).display().to_string(),
            Place::Foreign(scheme) => (*scheme).to_owned(),
        }
    }
}

/// The bytes of a file that a directive names, or those behind `data:`. `what` is what it is to hold, in nginx's words.
pub fn read(cx: &mut Compiler, word: &Word, what: &str) -> Result<Vec<u8>, Diagnostic> {
    let path = match Place::of(&word.text) {
        Place::Data(data) => return Ok(data.to_vec()),
        Place::File(path) => cx.paths.conf_prefix.join(as_path(path)),
        Place::Foreign(scheme) => {
            let sentence = format!("cannot load {what} \"{}\": {scheme} is OpenSSL's", word.lossy());
            return Err(Diagnostic::at(word.span, sentence).instead("give the key as a file"));
        }
    };
    cx.read(&path).map_err(|error| {
        let (path, error) = (path.display(), system_error(&error));
        let sentence = format!("cannot load {what} \"{path}\": open() failed {error}");
        let missing = Diagnostic::at(word.span, sentence)
            .instead("a relative path starts at the folder of the configuration file");
        if cx.only_looks() { missing.note() } else { missing }
    })
}

/// What is wrong with what a file holds.
pub fn wrong(cx: &Compiler, word: &Word, what: &str, error: &FileError) -> Diagnostic {
    let sentence = format!("cannot load {what} \"{}\": {error}", shown(cx, word));
    Diagnostic::at(word.span, sentence).instead(error.remedy())
}

fn shown(cx: &Compiler, word: &Word) -> String {
    Place::of(&word.text).shown(&cx.paths.conf_prefix)
}

/// `ssl_password_file`: passwords, one a line.
pub fn passwords(cx: &mut Compiler, node: &Node) -> Result<Arc<[Vec<u8>]>, Diagnostic> {
    let text = read(cx, node.word(0)?, "password file")?;
    let lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    Ok(lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect())
}

/// A chain of certificates with its key, each pair of files read once for a configuration.
pub fn certified(
    cx: &mut Compiler,
    certificate: &Word,
    key: &Word,
    passwords: &[Vec<u8>],
) -> Result<Arc<CertifiedKey>, Diagnostic> {
    let pair = (certificate.text.clone(), key.text.clone());
    if let Some(known) = cx.certified_keys.get(&pair) {
        return Ok(known.clone());
    }
    const CHAIN: &str = "certificate";
    const KEY: &str = "certificate key";
    let text = read(cx, certificate, CHAIN)?;
    let chain = files::certificates(&text).map_err(|error| wrong(cx, certificate, CHAIN, &error))?;
    let text = read(cx, key, KEY)?;
    let private = files::private_key(&text, passwords).map_err(|error| wrong(cx, key, KEY, &error))?;
    let certified = files::certified(chain, &private).map_err(|error| match error {
        FileError::Mismatch => {
            let key_file = shown(cx, key);
            let sentence = format!("SSL_CTX_use_PrivateKey(\"{key_file}\") failed (SSL: {error})");
            Diagnostic::at(key.span, sentence).instead(error.remedy())
        }
        error => wrong(cx, key, KEY, &error),
    })?;
    let certified = Arc::new(certified);
    cx.certified_keys.insert(pair, certified.clone());
    Ok(certified)
}
