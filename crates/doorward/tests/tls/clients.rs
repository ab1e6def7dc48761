//! Certificates of clients.

use super::authority::{Authority, Pair, self_signed};
use super::client::{Client, body};
use super::support::{BEGINNING, Gateway, beginning_as_nobody, wait_for};

const SHOWN: &str = r#"return 200 "$ssl_client_verify";"#;

/// A reload that takes up what is written to a file.
fn renew(gateway: &Gateway, name: &str, text: &str) {
    std::fs::write(gateway.path(name), text).unwrap();
    gateway.reload();
}

#[test]
fn a_session_of_before_a_reload_is_judged_by_what_is_in_force_behind_it() {
    let (authority, other) = (Authority::new("Authority"), Authority::new("Other"));
    let own = self_signed("one.test");
    let http = format!(
        "http {{ ssl_certificate the.crt; ssl_certificate_key the.key; log_format sessions '$status $ssl_session_reused';
            access_log access.log sessions;
            server {{ listen 127.0.0.1:{{port}} ssl; ssl_verify_client on; ssl_client_certificate ca.crt; ssl_crl list.pem; {SHOWN} }} }}"
    );
    let files = [
        ("the.crt", &*own.certificate),
        ("the.key", &*own.key),
        ("ca.crt", &*authority.certificate),
        ("list.pem", &*authority.revoke(&[7])),
    ];
    let gateway = Gateway::start_as(&beginning_as_nobody(), &http, &files);
    let client = Client::known_as(&authority.issue("known.test", 5));
    assert_eq!(answer(&client, &gateway), "SUCCESS");
    assert_eq!(answer(&client, &gateway), "SUCCESS");
    renew(&gateway, "list.pem", &authority.revoke(&[5]));
    assert_eq!(answer(&client, &gateway), "The SSL certificate error");
    gateway.says("client SSL certificate verify error: (23:certificate revoked)");
    renew(&gateway, "list.pem", &authority.revoke(&[7]));
    assert_eq!(answer(&client, &gateway), "SUCCESS");
    let log = || std::fs::read_to_string(gateway.path("access.log")).unwrap_or_default();
    wait_for("all are logged", || log() == "200 .\n200 r\n400 r\n200 r\n");
    // Another authority is another kind of session.
    std::fs::write(gateway.path("list.pem"), other.revoke(&[5])).unwrap();
    renew(&gateway, "ca.crt", &other.certificate);
    assert_eq!(answer(&client, &gateway), "The SSL certificate error");
    gateway.says("client SSL certificate verify error: (21:unable to verify the first certificate)");
    assert!(gateway.is_served_by_nobody());
}

fn gateway(server: &str, authority: &Authority, more: &[(&str, &str)]) -> Gateway {
    let own = self_signed("one.test");
    let http = format!(
        "http {{ ssl_certificate the.crt; ssl_certificate_key the.key; server {{ listen 127.0.0.1:{{port}} ssl; {server} }} }}"
    );
    let mut files =
        vec![("the.crt", &*own.certificate), ("the.key", &*own.key), ("ca.crt", &*authority.certificate)];
    files.extend_from_slice(more);
    Gateway::start_as(BEGINNING, &http, &files)
}

/// What a client is answered: the body of a 200, or what the page says of a refusal.
fn answer(client: &Client, gateway: &Gateway) -> String {
    let answer = client.get(gateway.port, "one.test", "/");
    match body(&answer).split("<center>").nth(2) {
        None => body(&answer).to_owned(),
        Some(rest) => rest.split("</center>").next().unwrap().to_owned(),
    }
}

#[test]
fn who_is_let_in_depends_on_the_certificate() {
    let (authority, stranger) = (Authority::new("Authority"), Authority::new("Stranger"));
    let revoked = authority.revoke(&[7]);
    let known = Client::known_as(&authority.issue("known.test", 5));
    let expired = Client::known_as(&authority.issue_expired("expired.test"));
    let revoked_one = Client::known_as(&authority.issue("revoked.test", 7));
    let strange = Client::known_as(&stranger.issue("known.test", 5));
    let own = Client::known_as(&self_signed("own.test"));
    let nobody = Client::new();
    let clients = [&known, &expired, &revoked_one, &strange, &own, &nobody];
    let (required, wrong) = ("No required SSL certificate was sent", "The SSL certificate error");
    let (no_issuer, self_signed) =
        ("FAILED:unable to verify the first certificate", "FAILED:self-signed certificate");
    let cases = [
        ("on", "ssl_crl list.pem;", ["SUCCESS", wrong, wrong, wrong, wrong, required]),
        ("optional", "ssl_crl list.pem;", ["SUCCESS", wrong, wrong, wrong, wrong, "NONE"]),
        ("optional_no_ca", "", ["SUCCESS", wrong, "SUCCESS", no_issuer, self_signed, "NONE"]),
        ("off", "", ["NONE"; 6]),
    ];
    for (mode, lists, expected) in cases {
        let server = format!("ssl_verify_client {mode}; ssl_client_certificate ca.crt; {lists} {SHOWN}");
        let gateway = gateway(&server, &authority, &[("list.pem", &revoked)]);
        for (client, expected) in clients.into_iter().zip(expected) {
            // Twice: a session that is taken up is judged as it was.
            assert_eq!(answer(client, &gateway), expected, "{mode}");
            assert_eq!(answer(client, &gateway), expected, "{mode}");
        }
        if mode == "on" {
            let sentences = [
                "client SSL certificate verify error: (10:certificate has expired), client: 127.0.0.1",
                "client SSL certificate verify error: (23:certificate revoked), client: 127.0.0.1",
                "client SSL certificate verify error: (21:unable to verify the first certificate), client: 127.0.0.1",
                "client sent no required SSL certificate, client: 127.0.0.1",
            ];
            for sentence in sentences {
                gateway.says(sentence);
            }
        }
    }
}

#[test]
fn variables_show_the_certificate() {
    let authority = Authority::new("Authority");
    let pair = authority.issue("known.test", 0x1abc);
    let server = r#"ssl_verify_client on; ssl_client_certificate ca.crt;
        location /name { return 200 "$ssl_client_s_dn|$ssl_client_i_dn|$ssl_client_s_dn_legacy|$ssl_client_serial"; }
        location /time { return 200 "$ssl_client_v_start|$ssl_client_v_end|$ssl_client_v_remain"; }
        location /raw { return 200 "$ssl_client_raw_cert"; }
        location /cert { return 200 "$ssl_client_cert"; }
        location /signed { return 200 "$ssl_sigalg $ssl_client_sigalg"; }
        location /print { return 200 "$ssl_client_fingerprint"; }"#;
    let gateway = gateway(server, &authority, &[]);
    let client = Client::known_as(&pair);
    let get = |path: &str| body(&client.get(gateway.port, "one.test", path)).to_owned();
    assert_eq!(
        get("/name"),
        "O=Doorward\\, Inc.,CN=known.test|CN=Authority|/CN=known.test/O=Doorward, Inc.|1ABC"
    );
    let signed = body(&Client::known_as(&pair).get(gateway.port, "one.test", "/signed")).to_owned();
    assert_eq!(signed, "ecdsa_secp256r1_sha256 ecdsa_secp256r1_sha256");
    // rcgen's certificates are valid from 1975 to 4096.
    assert!(
        get("/time").starts_with("Jan  1 00:00:00 1975 GMT|Jan  1 00:00:00 4096 GMT|7"),
        "{}",
        get("/time")
    );
    let unix = pair.certificate.replace("\r\n", "\n");
    assert_eq!(get("/raw"), unix);
    assert_eq!(get("/cert"), unix.trim_end().replace('\n', "\n\t"));
    let (chain, _) = pair.der();
    let print = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &chain[0]);
    let expected: String = print.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(get("/print"), expected);
}

#[test]
fn a_session_is_no_way_around_a_certificate() {
    let authority = Authority::new("Authority");
    let own = self_signed("one.test");
    let http = format!(
        "http {{ ssl_certificate the.crt; ssl_certificate_key the.key;
            server {{ listen 127.0.0.1:{{port}} ssl; server_name one.test; {SHOWN} }}
            server {{ listen 127.0.0.1:{{port2}} ssl; server_name one.test;
                      ssl_verify_client on; ssl_client_certificate ca.crt; {SHOWN} }}
            server {{ listen 127.0.0.1:{{port2}} ssl; server_name two.test; return 200 two; }} }}"
    );
    let files = [("the.crt", &*own.certificate), ("the.key", &*own.key), ("ca.crt", &*authority.certificate)];
    let gateway = Gateway::start_as(BEGINNING, &http, &files);
    // Its session was begun where nobody asks for a certificate; the other server asks for one all the same.
    let client = Client::known_as(&Pair { ..authority.issue("known.test", 5) });
    assert_eq!(body(&client.get(gateway.port, "one.test", "/")), "NONE");
    assert_eq!(body(&client.get(gateway.port2, "one.test", "/")), "SUCCESS");
    // Another server's name in the request than in the handshake.
    let mut connection = Client::new().connect(gateway.port2, "two.test").unwrap();
    let misdirected = super::client::ask(&mut connection, "one.test", "/").unwrap();
    assert!(misdirected.starts_with("HTTP/1.1 421 "), "{misdirected}");
}
