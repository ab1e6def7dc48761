//! Sessions that are taken up again.

use rustls::crypto::aws_lc_rs;

use super::authority::{Pair, self_signed};
use super::client::{Client, body};
use super::support::{Gateway, beginning_as_nobody};

const REUSED: &str = r#"return 200 "$ssl_session_reused $ssl_session_id";"#;

fn gateway(settings: &str, pair: &Pair, more: &[(&str, &str)]) -> Gateway {
    let http = format!(
        "http {{ ssl_certificate the.crt; ssl_certificate_key the.key; {settings}
                 server {{ listen 127.0.0.1:{{port}} ssl; {REUSED} }} }}"
    );
    let mut files = vec![("the.crt", &*pair.certificate), ("the.key", &*pair.key)];
    files.extend_from_slice(more);
    Gateway::start_as(&beginning_as_nobody(), &http, &files)
}

/// Whether the session was taken up, and its number.
fn visit(client: &Client, port: u16) -> (bool, String) {
    let answer = client.get(port, "one.test", "/");
    let (reused, number) = body(&answer).split_once(' ').unwrap_or_else(|| panic!("{answer:?}"));
    assert_eq!(number.len(), 64);
    (reused == "r", number.to_owned())
}

fn clients() -> [Client; 2] {
    [&rustls::version::TLS12, &rustls::version::TLS13]
        .map(|version| Client::with(&[version], aws_lc_rs::default_provider(), None))
}

#[test]
fn what_is_kept_is_taken_up() {
    let pair = self_signed("one.test");
    let cases = [
        ("", true),
        ("ssl_session_tickets off;", false),
        ("ssl_session_tickets off; ssl_session_cache builtin:100;", true),
        ("ssl_session_tickets off; ssl_session_cache builtin shared:SSL:1m;", true),
        ("ssl_session_tickets off; ssl_session_cache off;", false),
        ("ssl_early_data on;", true),
        ("ssl_early_data on; ssl_session_cache off;", true),
        ("ssl_early_data on; ssl_session_tickets off;", false),
        ("ssl_early_data on; ssl_session_tickets off; ssl_session_cache shared:SSL:1m;", true),
        ("ssl_session_timeout 0;", false),
        ("ssl_session_tickets off; ssl_session_cache shared:SSL:1m; ssl_session_timeout 0;", false),
    ];
    for (settings, expected) in cases {
        let gateway = gateway(settings, &pair, &[]);
        for (client, is_old) in clients().into_iter().zip([true, false]) {
            let (reused, first) = visit(&client, gateway.port);
            assert!(!reused, "{settings}");
            let (reused, second) = visit(&client, gateway.port);
            assert_eq!(reused, expected, "{settings}");
            // Of a session of TLS 1.2 that was taken up the number is not known.
            assert!(!expected || is_old || first == second, "{settings}");
        }
    }
}

#[test]
fn a_reload_loses_no_session() {
    let pair = self_signed("one.test");
    for settings in ["", "ssl_early_data on;", "ssl_session_tickets off; ssl_session_cache shared:SSL:1m;"] {
        let gateway = gateway(settings, &pair, &[]);
        let known = clients();
        for client in &known {
            visit(client, gateway.port);
        }
        let configuration = std::fs::read_to_string(gateway.path("nginx.conf")).unwrap();
        let changed = configuration.replace("return 200", "add_header X-New yes; return 200");
        std::fs::write(gateway.path("nginx.conf"), changed).unwrap();
        gateway.reload();
        assert!(Client::new().get(gateway.port, "one.test", "/").unwrap().contains("X-New"));
        for client in &known {
            assert!(visit(client, gateway.port).0, "{settings}");
        }
    }
}

#[test]
fn gateways_with_the_same_key_file_share_sessions() {
    let pair = self_signed("one.test");
    let (old, new, other) = ("o".repeat(80), "n".repeat(48), "x".repeat(80));
    let with =
        |keys: &str| gateway(keys, &pair, &[("old.key", &*old), ("new.key", &*new), ("other.key", &*other)]);
    let first = with("ssl_session_ticket_key old.key;");
    let second = with("ssl_session_ticket_key new.key; ssl_session_ticket_key old.key;");
    let third = with("ssl_session_ticket_key other.key;");
    for client in clients() {
        assert!(!visit(&client, first.port).0);
        assert!(visit(&client, second.port).0);
        // It has a ticket of the new key now, which the first gateway does not know yet.
        assert!(!visit(&client, third.port).0);
    }
    assert!(first.is_served_by_nobody(), "a key file is the master's to read");
}
