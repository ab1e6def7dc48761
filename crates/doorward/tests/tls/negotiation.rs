//! What client and server agree on where both know several.

use rustls::crypto::{CryptoProvider, aws_lc_rs};

use crate::authority::self_signed;
use crate::client::{Client, body};
use crate::support::{BEGINNING, Gateway};

#[test]
fn a_group_that_quantum_computers_do_not_break_is_offered() {
    use aws_lc_rs::kx_group::{SECP256R1, X25519, X25519MLKEM768};
    let one = self_signed("one.test");
    let http = r#"http {
        ssl_certificate one.crt; ssl_certificate_key one.key;
        server { listen 127.0.0.1:{port} ssl; return 200 "$ssl_curve"; }
        server { listen 127.0.0.1:{port2} ssl; ssl_ecdh_curve prime256v1; return 200 "$ssl_curve"; }
    }"#;
    let gateway = Gateway::start_as(BEGINNING, http, &[("one.crt", &one.certificate), ("one.key", &one.key)]);
    for (groups, chosen) in [
        (vec![X25519MLKEM768, X25519, SECP256R1], "X25519MLKEM768"),
        // The client's order counts.
        (vec![SECP256R1, X25519], "prime256v1"),
    ] {
        let provider = CryptoProvider { kx_groups: groups, ..aws_lc_rs::default_provider() };
        let client = Client::with(&[&rustls::version::TLS13], provider, None);
        assert_eq!(body(&client.get(gateway.port, "one.test", "/")), chosen);
        assert_eq!(body(&client.get(gateway.port2, "one.test", "/")), "prime256v1");
    }
}

#[test]
fn the_clients_order_of_cipher_suites_counts_unless_the_servers_is_preferred() {
    use aws_lc_rs::cipher_suite::*;
    let one = self_signed("one.test");
    let http = r#"http {
        ssl_certificate one.crt; ssl_certificate_key one.key; ssl_protocols TLSv1.2;
        ssl_ciphers ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256;
        server { listen 127.0.0.1:{port} ssl; return 200 "$ssl_cipher"; }
        server { listen 127.0.0.1:{port2} ssl; ssl_prefer_server_ciphers on; return 200 "$ssl_cipher"; }
    }"#;
    let gateway = Gateway::start_as(BEGINNING, http, &[("one.crt", &one.certificate), ("one.key", &one.key)]);
    let cipher_suites =
        vec![TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384];
    let provider = CryptoProvider { cipher_suites, ..aws_lc_rs::default_provider() };
    let client = Client::with(&[&rustls::version::TLS12], provider, None);
    assert_eq!(body(&client.get(gateway.port, "one.test", "/")), "ECDHE-ECDSA-AES128-GCM-SHA256");
    assert_eq!(body(&client.get(gateway.port2, "one.test", "/")), "ECDHE-ECDSA-AES256-GCM-SHA384");
}
