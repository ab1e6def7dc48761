//! Whether a certificate is one of a host (RFC 6125; OpenSSL's `X509_check_host`).

use super::certificate::Certificate;

/// Whether a certificate (DER) is one of this host: by its alternative names, or, where none of them is a host's, by the common names
/// of its subject. Addresses are compared as names, as nginx does: an alternative name that is an address counts for nothing.
pub fn matches_name(certificate: &[u8], host: &[u8]) -> bool {
    let Ok(certificate) = Certificate::parse(certificate) else { return false };
    if host.is_empty() {
        return false;
    }
    if certificate.has_dns_names() {
        return certificate.dns_names().any(|name| fits(name.as_bytes(), host));
    }
    certificate.parsed().subject().iter_common_name().any(|name| fits(name.as_slice(), host))
}

/// Whether a name in a certificate, which may begin with `*.`, is this host.
fn fits(name: &[u8], host: &[u8]) -> bool {
    let Some(domain) = name.strip_prefix(b"*") else { return name.eq_ignore_ascii_case(host) };
    // A star stands for one label, and never for one right below the top.
    let Some(label) = host.iter().position(|byte| *byte == b'.') else { return false };
    let (label, rest) = host.split_at(label);
    domain.starts_with(b".")
        && domain.iter().filter(|byte| **byte == b'.').count() >= 2
        && !label.is_empty()
        && label.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'_')
        && domain.eq_ignore_ascii_case(rest)
}
