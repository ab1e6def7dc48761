//! Who we are for servers: `proxy_ssl_certificate`.

use std::sync::Arc;

use conf::Diagnostic;
use rustls::sign::CertifiedKey;

use super::{Named, ProxySslValues};
use crate::compile::Compiler;
use crate::exchange::Exchange;
use crate::tls::files;
use crate::tls::on_demand::Source;
use crate::variables::Template;

/// The certificate that servers are shown.
pub enum Certificate {
    /// None.
    Nothing,
    /// Always the same.
    Fixed(Arc<CertifiedKey>),
    /// One that variables name.
    Variable(Box<Variable>),
}

/// What variables name it by.
pub struct Variable {
    certificate: Template,
    key: Template,
    /// Where it is loaded from.
    pub source: Source,
}

/// What variables named in a request.
#[derive(Debug)]
pub struct Files {
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
}

impl Certificate {
    /// Reads it, where it is always the same.
    pub fn settle(values: &ProxySslValues, cx: &mut Compiler) -> Result<Certificate, Diagnostic> {
        let Some(certificate) = values.certificate.as_ref().filter(|named| !named.word.text.is_empty())
        else {
            return Ok(Certificate::Nothing);
        };
        let Some(key) = &values.certificate_key else {
            let word = &certificate.word;
            let sentence =
                format!("no \"proxy_ssl_certificate_key\" is defined for certificate \"{}\"", word.lossy());
            return Err(
                Diagnostic::at(word.span, sentence).instead("name its key: proxy_ssl_certificate_key FILE;")
            );
        };
        if certificate.is_fixed() && key.is_fixed() {
            let certified = files::certified(cx, &certificate.word, &key.word, &values.passwords)?;
            return Ok(Certificate::Fixed(certified));
        }
        let template = |named: &Named| named.template.clone();
        Ok(Certificate::Variable(Box::new(Variable {
            certificate: template(certificate),
            key: template(key),
            source: Source {
                folder: cx.paths.conf_prefix.clone(),
                passwords: values.passwords.clone(),
                cache: values.certificate_cache.clone(),
            },
        })))
    }

    /// Tells one certificate from another; which one variables name is told in each request.
    pub fn tell(&self, digest: &mut blake3::Hasher) {
        match self {
            Certificate::Nothing => digest.update(b"nothing"),
            Certificate::Variable(_) => digest.update(b"variable"),
            Certificate::Fixed(certified) => {
                digest.update(b"fixed");
                for certificate in &certified.cert {
                    digest.update(&(certificate.len() as u64).to_be_bytes()).update(certificate);
                }
                digest
            }
        };
    }
}

impl Variable {
    /// What the variables name in this request; none where the certificate is empty.
    pub fn files(&self, ex: &Exchange<'_>) -> Option<Files> {
        let certificate = self.certificate.eval(ex);
        (!certificate.is_empty()).then(|| Files { certificate, key: self.key.eval(ex) })
    }
}
