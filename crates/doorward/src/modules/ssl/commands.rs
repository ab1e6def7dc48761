//! `ssl_conf_command`: settings of OpenSSL's own configuration (SSL_CONF_cmd(3)), as far as they mean something here.

use conf::{Diagnostic, Node, Word};
use net::tls::words as openssl;
use rustls::SupportedCipherSuite;

use crate::compile::Compiler;

/// What commands say. A later one counts.
#[derive(Clone, Default)]
pub struct Commands {
    /// `Ciphersuites`: those of TLS 1.3.
    pub tls13_suites: Option<Vec<SupportedCipherSuite>>,
    /// `Options SessionTicket`.
    pub session_tickets: Option<bool>,
    /// `Options ServerPreference`.
    pub prefer_server_ciphers: Option<bool>,
    /// `Certificate`.
    pub certificate: Option<Word>,
    /// `PrivateKey`.
    pub key: Option<Word>,
}

/// Commands that have a directive, and that.
const DIRECTIVES: [(&str, &str); 8] = [
    ("CipherString", "ssl_ciphers"),
    ("Curves", "ssl_ecdh_curve"),
    ("Groups", "ssl_ecdh_curve"),
    ("Protocol", "ssl_protocols"),
    ("MinProtocol", "ssl_protocols"),
    ("MaxProtocol", "ssl_protocols"),
    ("VerifyCAFile", "ssl_client_certificate"),
    ("DHParameters", "nothing: no cipher suite that needs them is offered"),
];

/// Options that change nothing, since there is nothing else than what they ask for, or since it is never done.
const WITHOUT_EFFECT: [&str; 12] = [
    "AllowNoDHEKEX",
    "AntiReplay",
    "Bugs",
    "Compression",
    "DHSingle",
    "ECDHSingle",
    "EncryptThenMac",
    "ExtendedMasterSecret",
    "KTLS",
    "MiddleboxCompat",
    "NoRenegotiation",
    "PrioritizeChaCha",
];

impl Commands {
    /// Adds one.
    pub fn add(&mut self, cx: &mut Compiler, node: &Node) -> Result<(), Diagnostic> {
        let (name, value) = (node.str(0)?, node.str(1)?);
        match name {
            "Ciphersuites" => self.ciphersuites(cx, node, value)?,
            "Options" => {
                for option in value.split(',').map(str::trim) {
                    self.option(cx, node, option)?;
                }
            }
            "Certificate" => self.certificate = Some(node.word(1)?.clone()),
            "PrivateKey" => self.key = Some(node.word(1)?.clone()),
            _ => {
                let failed = failed(node, name, value);
                let known = DIRECTIVES.iter().find(|(known, _)| *known == name);
                return Err(match known {
                    Some((_, directive)) => failed.instead(format!("write {directive}")),
                    None => failed.instead("TLS is not done by OpenSSL here: docs/tls.md says what there is"),
                });
            }
        }
        Ok(())
    }

    fn ciphersuites(&mut self, cx: &mut Compiler, node: &Node, value: &str) -> Result<(), Diagnostic> {
        const REMEDY: &str =
            "name some of TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256, TLS_AES_128_GCM_SHA256";
        let found = openssl::tls13_ciphers(value);
        if found.chosen.is_empty() || !found.unknown.is_empty() {
            return Err(failed(node, "Ciphersuites", value).instead(REMEDY));
        }
        if !found.dropped.is_empty() {
            let sentence = format!("\"ssl_conf_command\": not offered here: {}", found.dropped.join(", "));
            cx.warn(Diagnostic::at(node.span, sentence).warning().instead(REMEDY));
        }
        self.tls13_suites = Some(found.chosen);
        Ok(())
    }

    fn option(&mut self, cx: &mut Compiler, node: &Node, option: &str) -> Result<(), Diagnostic> {
        let (is_on, name) = match option.strip_prefix('-') {
            Some(name) => (false, name),
            None => (true, option.strip_prefix('+').unwrap_or(option)),
        };
        match name {
            "SessionTicket" => self.session_tickets = Some(is_on),
            "ServerPreference" => self.prefer_server_ciphers = Some(is_on),
            _ if WITHOUT_EFFECT.contains(&name) => {
                let sentence = format!("\"ssl_conf_command\": option {option} has no effect");
                let remedy = "take it out: TLS is not done by OpenSSL here";
                cx.warn(Diagnostic::at(node.span, sentence).warning().instead(remedy));
            }
            _ => {
                return Err(failed(node, "Options", option)
                    .instead("take it out: nothing of this kind is offered (docs/tls.md)"));
            }
        }
        Ok(())
    }
}

fn failed(node: &Node, name: &str, value: &str) -> Diagnostic {
    Diagnostic::at(node.span, format!("SSL_CONF_cmd(\"{name}\", \"{value}\") failed"))
}
