//! TLS to a store on another machine.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::StoreError;

/// The parameter of an address that names a file of certificates, as libpq has it.
const AUTHORITY: &str = "sslrootcert=";

/// An address without `sslrootcert=FILE`, and that file.
pub(super) fn without_authority(address: &str) -> (String, Option<PathBuf>) {
    let Some((place, query)) = address.split_once('?') else { return (address.to_owned(), None) };
    let authority = query.split('&').find_map(|pair| pair.strip_prefix(AUTHORITY)).map(PathBuf::from);
    let rest: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with(AUTHORITY)).collect();
    let mark = if rest.is_empty() { "" } else { "?" };
    (format!("{place}{mark}{}", rest.join("&")), authority)
}

/// Whether a host is this machine.
pub(super) fn is_near(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Certificates of a file (PEM), or those that the machine trusts.
pub(super) fn authorities(file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let Some(file) = file else {
        let found = rustls_native_certs::load_native_certs();
        if found.certs.is_empty() {
            let sentence = "the machine has no certificates (package ca-certificates) to know the store by";
            return Err(StoreError::Unavailable(format!("{sentence}; sslrootcert=FILE names others")));
        }
        return Ok(found.certs);
    };
    let failed = |why: &dyn std::fmt::Display| StoreError::Unavailable(format!("{}: {why}", file.display()));
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| failed(&error))?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(|error| failed(&error))?;
    if certificates.is_empty() { Err(failed(&"there is no certificate in it")) } else { Ok(certificates) }
}

/// How TLS is done: with a certificate that one of them has issued for the name of the host.
pub(super) fn client(authority: Option<&Path>) -> Result<ClientConfig, StoreError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities(authority)?);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Unavailable(error.to_string()))?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_certificates_is_taken_out_of_an_address() {
        for (address, rest, file) in [
            ("a://h/d", "a://h/d", None),
            ("a://h/d?x=y", "a://h/d?x=y", None),
            ("a://h/d?sslrootcert=/a/b.pem", "a://h/d", Some("/a/b.pem")),
            ("a://h/d?x=y&sslrootcert=b&z=1", "a://h/d?x=y&z=1", Some("b")),
        ] {
            assert_eq!(without_authority(address), (rest.to_owned(), file.map(PathBuf::from)), "{address}");
        }
    }

    #[test]
    fn near_is_this_machine() {
        for host in ["localhost", "127.0.0.1", "127.3.2.1", "::1", "[::1]"] {
            assert!(is_near(host), "{host}");
        }
        for host in ["10.0.0.1", "example.org", "localhost.example.org", "0.0.0.0", ""] {
            assert!(!is_near(host), "{host}");
        }
    }
}
