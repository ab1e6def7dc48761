//! Directives with OpenSSL's words: what they choose, with warnings about what is not to be had here.

use std::sync::Arc;

use conf::{Diagnostic, Node};
use net::tls::words::{self, Chosen};
use rustls::crypto::SupportedKxGroup;
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

use crate::compile::Compiler;

/// `ssl_protocols` and its likes.
pub fn protocols(
    cx: &mut Compiler,
    node: &Node,
) -> Result<Arc<[&'static SupportedProtocolVersion]>, Diagnostic> {
    const REMEDY: &str = "name TLSv1.2, TLSv1.3 or both";
    let text: Vec<_> = node.args.iter().map(|word| word.lossy()).collect();
    let found = words::protocols(text.iter().map(|word| &**word));
    if let Some(unknown) = found.unknown.first() {
        return Err(Diagnostic::at(node.span, format!("invalid value \"{unknown}\"")).instead(REMEDY));
    }
    let name = node.name.lossy().into_owned();
    if found.chosen.is_empty() {
        let sentence = format!("\"{name}\" leaves no version of TLS: those before 1.2 are not offered");
        return Err(Diagnostic::at(node.span, sentence).instead(REMEDY));
    }
    tell(cx, node, &found, "versions before TLSv1.2 are broken (RFC 8996): take them out");
    Ok(found.chosen.into())
}

/// `ssl_ciphers` and its likes: the suites of TLS 1.2. Those of 1.3 are not chosen, as with OpenSSL.
pub fn ciphers(cx: &mut Compiler, node: &Node) -> Result<Arc<[SupportedCipherSuite]>, Diagnostic> {
    let found = words::ciphers(node.str(0)?);
    tell(
        cx,
        node,
        &found,
        "take them out; what is offered is ECDHE with AES-GCM or ChaCha20-Poly1305 (docs/tls.md)",
    );
    Ok(found.chosen.into())
}

/// No cipher suite is left of those that a string asks for.
pub fn no_ciphers(node: &Node) -> Diagnostic {
    let list = String::from_utf8_lossy(node.bytes(0)).into_owned();
    let sentence = format!(
        "SSL_CTX_set_cipher_list(\"{list}\") failed (SSL: error:0A0000B9:SSL routines::no cipher match)"
    );
    Diagnostic::at(node.span, sentence).instead("write \"HIGH:!aNULL:!MD5\", or allow TLSv1.3 alone")
}

/// `ssl_ecdh_curve`: groups for key exchange.
pub fn groups(cx: &mut Compiler, node: &Node) -> Result<Arc<[&'static dyn SupportedKxGroup]>, Diagnostic> {
    const REMEDY: &str = "name some of X25519MLKEM768, X25519, prime256v1, secp384r1; or auto";
    let list = node.str(0)?;
    let found = words::groups(list);
    if !found.unknown.is_empty() || found.chosen.is_empty() {
        let sentence = format!("SSL_CTX_set1_curves_list(\"{list}\") failed");
        return Err(Diagnostic::at(node.span, sentence).instead(REMEDY));
    }
    tell(cx, node, &found, REMEDY);
    Ok(found.chosen.into())
}

/// Warns about words that choose nothing.
fn tell<T>(cx: &mut Compiler, node: &Node, found: &Chosen<T>, remedy: &str) {
    let name = node.name.lossy().into_owned();
    let mut say = |words: &[String], what: &str| {
        if !words.is_empty() {
            let sentence = format!("\"{name}\": {what}: {}", words.join(", "));
            cx.warn(Diagnostic::at(node.span, sentence).warning().instead(remedy));
        }
    };
    say(&found.dropped, "not offered here");
    say(&found.unknown, "unknown");
}
