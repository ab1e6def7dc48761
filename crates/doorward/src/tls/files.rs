//! Certificates, keys and passwords that directives name: their files are read with the configuration, by who may read them.

use std::path::PathBuf;
use std::sync::Arc;

use conf::{Diagnostic, Node, Word};
use net::tls::files::{self, FileError};
use rustls::sign::CertifiedKey;

use crate::compile::{Compiler, as_path};
use crate::log::system_error;

/// What is taken from the configuration itself in place of a file.
pub const DATA: &[u8] = b"data:";

/// What only OpenSSL can load.
pub const FOREIGN: [&str; 2] = ["engine:", "store:"];

/// The bytes of a file that a directive names, or those behind `data:`. `what` is what it is to hold, in nginx's words.
pub fn read(cx: &mut Compiler, word: &Word, what: &str) -> Result<Vec<u8>, Diagnostic> {
    if let Some(data) = word.text.strip_prefix(DATA) {
        return Ok(data.to_vec());
    }
    for scheme in FOREIGN {
        if word.text.starts_with(scheme.as_bytes()) {
            let sentence = format!("cannot load {what} \"{}\": {scheme} is OpenSSL's", word.lossy());
            return Err(Diagnostic::at(word.span, sentence).instead("give the key as a file"));
        }
    }
    let path = path(cx, word);
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

fn path(cx: &Compiler, word: &Word) -> PathBuf {
    cx.paths.conf_prefix.join(as_path(&word.text))
}

/// The name of a file as messages show it; a key in its place is shown to nobody.
fn shown(cx: &Compiler, word: &Word) -> String {
    match word.text.starts_with(DATA) {
        true => "data:".to_owned(),
        false => path(cx, word).display().to_string(),
    }
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
