//! Certificates of clients that nobody looks at, and certificates of servers that nobody is shown.

use super::Found;
use super::site::{Kind, Site};
use super::values::Definitions;

/// Variables that say who a client is by a certificate, whoever made that.
const CLAIMS: [&str; 5] = [
    "ssl_client_s_dn",
    "ssl_client_s_dn_legacy",
    "ssl_client_i_dn",
    "ssl_client_i_dn_legacy",
    "ssl_client_serial",
];

/// Variables by which whoever reads them can tell whether it is to be trusted.
const PROOFS: [&str; 5] = [
    "ssl_client_verify",
    "ssl_client_cert",
    "ssl_client_raw_cert",
    "ssl_client_escaped_cert",
    "ssl_client_fingerprint",
];

pub fn check(site: &Site<'_>, definitions: &Definitions, found: &mut Found) {
    for block in 0..site.blocks.len() {
        for line in site.own(block, "ssl_verify_client") {
            let reads = |names: &[&str]| names.iter().any(|name| definitions.is_read(name));
            let proved = reads(&PROOFS);
            match line.bytes(0) {
                b"optional_no_ca" if !proved && reads(&CLAIMS) => {
                    let sentence = "anybody can make a certificate with any name in it: with \"optional_no_ca\" nobody \
                                    looks at who issued it, and $ssl_client_verify is not read";
                    let remedy = "pass $ssl_client_verify on with the name, or write `ssl_verify_client optional;` with \
                                  `ssl_client_certificate FILE;`";
                    found.add(line.span, sentence.to_owned(), remedy);
                }
                b"optional" | b"optional_no_ca" if !proved && !reads(&CLAIMS) && !site.is_part() => {
                    let sentence =
                        "clients without a certificate are let in, and nothing looks at $ssl_client_verify";
                    let remedy = "write `ssl_verify_client on;`, or let something look: `auth_require $has_certificate;` of a \
                                  map of $ssl_client_verify, or `proxy_set_header X-Client-Verify $ssl_client_verify;`";
                    found.add(line.span, sentence.to_owned(), remedy);
                }
                _ => {}
            }
        }
        if site.blocks[block].kind != Kind::Server || site.in_force(block, &["ssl_certificate"]).is_empty() {
            continue;
        }
        for listen in site.own(block, "listen") {
            let address = listen.bytes(0);
            let is_https = address == b"443" || address.ends_with(b":443");
            if is_https && !site.speaks_tls(listen) {
                let sentence = "plain HTTP is spoken on port 443: the \"ssl\" parameter of \"listen\" is missing, and nobody \
                                is shown \"ssl_certificate\"";
                let remedy = "write `listen 443 ssl;`";
                found.add(listen.span, sentence.to_owned(), remedy);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{told, told_of_server};

    #[test]
    fn an_optional_certificate_that_nobody_looks_at() {
        assert_eq!(
            told_of_server("\nssl_verify_client optional;"),
            ["2: clients without a certificate are let in, and nothing looks at $ssl_client_verify"]
        );
        assert_eq!(told_of_server("ssl_verify_client on;"), [""; 0]);
        for reader in [
            "proxy_set_header X-Verify $ssl_client_verify;",
            "proxy_set_header X-Name $ssl_client_s_dn;",
            "if ($ssl_client_verify != SUCCESS) { return 403; }",
        ] {
            assert_eq!(told_of_server(&format!("ssl_verify_client optional; {reader}")), [""; 0], "{reader}");
        }
        assert_eq!(
            told("http { map $ssl_client_verify $ok { SUCCESS 1; } server { ssl_verify_client optional; } }"),
            [""; 0]
        );
    }

    #[test]
    fn a_name_that_anybody_can_give_himself() {
        let of = |more: &str| {
            told_of_server(&format!(
                "ssl_verify_client optional_no_ca; proxy_set_header X-Name $ssl_client_s_dn; {more}"
            ))
        };
        assert_eq!(of("").len(), 1);
        assert!(of("")[0].starts_with("1: anybody can make a certificate with any name in it"));
        assert_eq!(of("proxy_set_header X-Verify $ssl_client_verify;"), [""; 0]);
        assert_eq!(of("proxy_set_header X-Cert $ssl_client_escaped_cert;"), [""; 0]);
    }

    #[test]
    fn a_port_of_https_without_it() {
        let told_of =
            |listen: &str| told_of_server(&format!("ssl_certificate a; ssl_certificate_key b; {listen}"));
        for listen in ["listen 443;", "listen [::]:443 default_server;"] {
            assert!(told_of(listen)[0].starts_with("1: plain HTTP is spoken on port 443"), "{listen}");
        }
        for listen in
            ["listen 443 ssl;", "listen 80; listen *:443 default_server ssl;", "listen 8080;", "listen 1443;"]
        {
            assert_eq!(told_of(listen), [""; 0], "{listen}");
        }
        assert_eq!(told_of_server("listen 443;"), [""; 0]);
        assert_eq!(
            told(
                "http { ssl_certificate a; server { listen 443 ssl; } server { listen 443; server_name b; } }"
            ),
            [""; 0]
        );
    }
}
