//! `ssl_ocsp` and `ssl_stapling`: `openssl ocsp` answers about certificates, to Doorward and to nginx.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::authority::{Authority, Pair, self_signed};
use super::client::{Client, body};
use super::support::{BEGINNING, Gateway, free_ports, wait_for};
use super::{names, oracle, service};

const TRUSTED: &str = "SUCCESS";
const REFUSED: &str = "The SSL certificate error";

/// Who answers for an authority: that 5 is good, that 7 was revoked, and that it knows no others.
struct Responder {
    port: u16,
    asked: Arc<AtomicUsize>,
    folder: Arc<TempDir>,
}

impl Responder {
    /// Starts one that signs as `signer`.
    fn signing_as(signer: &Pair, authority: &Authority) -> Responder {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let files =
            [("ca.crt", &authority.certificate), ("by.crt", &signer.certificate), ("by.key", &signer.key)];
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let asked = Arc::<AtomicUsize>::default();
        let (place, count) = (folder.clone(), asked.clone());
        let port = service::listen(move |stream| {
            let number = count.fetch_add(1, Ordering::SeqCst);
            // Whoever does not want the answer goes away.
            let _ = respond(stream, place.path(), number);
        });
        let responder = Responder { port, asked, folder };
        responder.knows("V\t400101000000Z\t\t05\tunknown\t/CN=good\n");
        responder
    }

    /// One that signs as the authority itself.
    fn of(authority: &Authority) -> Responder {
        Responder::signing_as(&authority.pair(), authority)
    }

    /// What it knows beside that 7 was revoked, as `openssl ca` keeps it.
    fn knows(&self, line: &str) {
        let revoked = "R\t400101000000Z\t200101000000Z\t07\tunknown\t/CN=bad\n";
        std::fs::write(self.folder.path().join("index"), format!("{line}{revoked}")).unwrap();
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }
}

/// Answers one question, which is what a GET has behind the last `/`.
fn respond(mut stream: TcpStream, folder: &Path, number: usize) -> std::io::Result<()> {
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    let question = line.split(' ').nth(1).and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let question = question.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
    let (reads, writes) = (format!("{number}.req"), format!("{number}.resp"));
    std::fs::write(folder.join(&reads), STANDARD.decode(question).unwrap_or_default())?;
    Command::new("openssl")
        .args([
            "ocsp", "-index", "index", "-CA", "ca.crt", "-rsigner", "by.crt", "-rkey", "by.key", "-ndays",
            "1",
        ])
        .args(["-reqin", &reads, "-respout", &writes])
        .current_dir(folder)
        .output()?;
    let answer = std::fs::read(folder.join(&writes))?;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\nConnection: close\r\n\r\n";
    stream.write_all(&[head.as_bytes(), &answer].concat())
}

fn programs() -> [PathBuf; 2] {
    let nginx = oracle::nginx().unwrap_or_else(|error| panic!("{error}")).binary;
    [PathBuf::from(env!("CARGO_BIN_EXE_doorward")), nginx]
}

fn gateway(program: &Path, authority: &Authority, directives: &str) -> Gateway {
    let own = self_signed("one.test");
    let http = format!(
        "http {{ ssl_certificate the.crt; ssl_certificate_key the.key; server {{ listen 127.0.0.1:{{port}} ssl;
            ssl_verify_client on; ssl_verify_depth 3; ssl_client_certificate ca.crt;
            {directives} return 200 \"$ssl_client_verify\"; }} }}"
    );
    let files = [("the.crt", &*own.certificate), ("the.key", &own.key), ("ca.crt", &authority.certificate)];
    Gateway::start_program(program, BEGINNING, &http, &files)
}

/// What a client with that certificate is answered, in a handshake of its own.
fn answer(gateway: &Gateway, pair: &Pair) -> String {
    shown(&Client::known_as(pair), gateway)
}

fn shown(client: &Client, gateway: &Gateway) -> String {
    let answer = client.get(gateway.port, "one.test", "/");
    match body(&answer).split("<center>").nth(2) {
        None => body(&answer).to_owned(),
        Some(rest) => rest.split("</center>").next().unwrap().to_owned(),
    }
}

#[test]
fn who_was_revoked_or_is_not_known_is_refused() {
    let (authority, stranger) = (Authority::new("Authority"), Authority::new("Stranger"));
    let [down] = free_ports();
    let own = Responder::of(&authority);
    let told = [
        authority.issue_to_responder("ocsp.test"),
        // One that was not told to, and one that nobody knows.
        authority.issue("other.test", 98),
        stranger.pair(),
    ];
    let told = told.map(|signer| Responder::signing_as(&signer, &authority));
    let [good, revoked, unknown] = [5, 7, 9].map(|number| authority.issue("client.test", number));
    for program in programs() {
        let with =
            |url: &str| gateway(&program, &authority, &format!("ssl_ocsp on; ssl_ocsp_responder {url};"));
        for responder in [&own, &told[0]] {
            let gateway = with(&responder.url());
            assert_eq!(answer(&gateway, &good), TRUSTED, "{}", program.display());
            assert_eq!(answer(&gateway, &revoked), REFUSED);
            gateway.says("client SSL certificate verify error: certificate revoked");
            assert_eq!(answer(&gateway, &unknown), REFUSED);
            gateway.says("client SSL certificate verify error: certificate status unknown");
        }
        for url in [told[1].url(), told[2].url(), format!("http://127.0.0.1:{down}")] {
            let gateway = with(&url);
            assert_eq!(answer(&gateway, &good), REFUSED, "{} {url}", program.display());
            gateway.says("client SSL certificate verify error: certificate status request failed");
            gateway.says(" while requesting certificate status");
        }
    }
}

#[test]
fn variables_say_why() {
    let authority = Authority::new("Authority");
    let responder = Responder::of(&authority);
    let revoked = authority.issue("client.test", 7);
    for program in programs() {
        let directives =
            format!("ssl_ocsp on; ssl_ocsp_responder {}; error_page 495 =200 /why;", responder.url());
        let gateway = gateway(&program, &authority, &directives);
        assert_eq!(answer(&gateway, &revoked), "FAILED:certificate revoked", "{}", program.display());
    }
}

#[test]
fn each_certificate_names_who_answers() {
    let root = Authority::new("Root");
    let of_root = Responder::of(&root);
    let [good, revoked] = [5, 7].map(|number| root.below("Below", number, &of_root.url()));
    let (of_good, of_revoked) = (Responder::of(&good), Responder::of(&revoked));
    let chain = |below: &Authority, responder: &Responder| {
        let pair = below.issue_with_responder("client.test", 5, &responder.url());
        Pair { certificate: format!("{}{}", pair.certificate, below.certificate), key: pair.key }
    };
    let (good, revoked) = (chain(&good, &of_good), chain(&revoked, &of_revoked));
    let silent = root.issue("client.test", 5);
    for program in programs() {
        let all = gateway(&program, &root, "ssl_ocsp on;");
        assert_eq!(answer(&all, &good), TRUSTED, "{}", program.display());
        assert_eq!(answer(&all, &revoked), REFUSED, "{}", program.display());
        assert_eq!(answer(&all, &silent), REFUSED);
        all.says("no OCSP responder URL in certificate");
        let leaf = gateway(&program, &root, "ssl_ocsp leaf;");
        assert_eq!(answer(&leaf, &good), TRUSTED);
        assert_eq!(answer(&leaf, &revoked), TRUSTED, "{}", program.display());
    }
}

#[test]
fn a_name_is_looked_up_by_the_resolver() {
    let authority = Authority::new("Authority");
    let responder = Responder::of(&authority);
    let url = |host: &str| format!("http://{host}:{}/", responder.port);
    let pair = authority.issue_with_responder("client.test", 5, &url("ocsp.test"));
    let nameless = authority.issue_with_responder("client.test", 5, &url("none.test"));
    let servers = names::start("ocsp.test 127.0.0.1\n").unwrap();
    for program in programs() {
        let with = gateway(&program, &authority, &format!("ssl_ocsp on; resolver {servers} ipv6=off;"));
        assert_eq!(answer(&with, &pair), TRUSTED, "{}", program.display());
        assert_eq!(answer(&with, &nameless), REFUSED);
        with.says("none.test could not be resolved (3: Host not found)");
        let without = gateway(&program, &authority, "ssl_ocsp on;");
        assert_eq!(answer(&without, &pair), REFUSED);
        without.says("no resolver defined to resolve ocsp.test");
    }
}

#[test]
fn what_was_answered_is_kept_as_long_as_it_counts() {
    let authority = Authority::new("Authority");
    let [good, revoked] = [5, 7].map(|number| authority.issue("client.test", number));
    for program in programs() {
        let responder = Responder::of(&authority);
        let asked = || responder.asked.load(Ordering::SeqCst);
        let ask = format!("ssl_ocsp on; ssl_ocsp_responder {};", responder.url());
        let keeps = gateway(&program, &authority, &format!("{ask} ssl_ocsp_cache shared:ocsp:1m;"));
        let asks = gateway(&program, &authority, &ask);
        let known = Client::known_as(&good);
        for gateway in [&keeps, &asks] {
            assert_eq!(shown(&known, gateway), TRUSTED, "{}", program.display());
            assert_eq!(answer(gateway, &revoked), REFUSED);
        }
        assert_eq!(asked(), 4, "{}", program.display());
        responder.knows("R\t400101000000Z\t200101000000Z\t05\tunknown\t/CN=good\n");
        assert_eq!(answer(&keeps, &good), TRUSTED, "{}", program.display());
        assert_eq!(answer(&keeps, &revoked), REFUSED);
        assert_eq!(asked(), 4, "{}", program.display());
        // A session is no way around.
        assert_eq!(shown(&known, &asks), REFUSED, "{}", program.display());
        assert_eq!(answer(&asks, &good), REFUSED);
        assert_eq!(asked(), 6, "{}", program.display());
    }
}

/// A server with our own certificate, and the authority's behind it where `chain` says so.
fn stapling(program: &Path, pair: &Pair, authority: &Authority, chain: bool, directives: &str) -> Gateway {
    let behind = if chain { &*authority.certificate } else { "" };
    let certificate = format!("{}{behind}", pair.certificate);
    let http = format!(
        "http {{ ssl_certificate the.crt; ssl_certificate_key the.key; ssl_stapling on; {directives}
            server {{ listen 127.0.0.1:{{port}} ssl; return 200 in; }} }}"
    );
    let files = [("the.crt", &*certificate), ("the.key", &pair.key), ("ca.crt", &authority.certificate)];
    // Each worker of nginx asks for itself.
    let alone = BEGINNING.replace("worker_processes 2", "worker_processes 1");
    Gateway::start_program(program, &alone, &http, &files)
}

fn stapled(gateway: &Gateway) -> Vec<u8> {
    let client = Client::new();
    client.get(gateway.port, "one.test", "/").unwrap();
    client.stapled()
}

#[test]
fn clients_are_told_what_the_authority_answers() {
    let authority = Authority::new("Authority");
    let responder = Responder::of(&authority);
    let [down] = free_ports();
    let elsewhere = format!("http://127.0.0.1:{down}/");
    let here = |number| authority.issue_with_responder("one.test", number, &responder.url());
    let there = authority.issue_with_responder("one.test", 5, &elsewhere);
    let instead = format!("ssl_stapling_responder {};", responder.url());
    for program in programs() {
        for (pair, chain, directives) in [
            (&here(5), true, "ssl_stapling_verify on; ssl_trusted_certificate ca.crt;"),
            (&here(5), false, "ssl_trusted_certificate ca.crt;"),
            (&there, true, &*instead),
        ] {
            let before = responder.asked.load(Ordering::SeqCst);
            let gateway = stapling(&program, pair, &authority, chain, directives);
            wait_for("an answer goes with the certificate", || !stapled(&gateway).is_empty());
            let answered = std::fs::read(responder.folder.path().join(format!("{before}.resp"))).unwrap();
            assert!(stapled(&gateway) == answered, "{} {directives}", program.display());
            assert_eq!(responder.asked.load(Ordering::SeqCst), before + 1, "{}", program.display());
        }
        for (pair, said) in [
            (
                &here(7),
                "certificate status \"revoked\" in the OCSP response while requesting certificate status",
            ),
            (
                &here(9),
                "certificate status \"unknown\" in the OCSP response while requesting certificate status",
            ),
            (&there, " while requesting certificate status"),
        ] {
            let gateway = stapling(&program, pair, &authority, true, "");
            assert!(stapled(&gateway).is_empty(), "{}", program.display());
            gateway.says(said);
            assert!(stapled(&gateway).is_empty(), "{}", program.display());
        }
    }
}

#[test]
fn an_answer_that_somebody_else_has_signed_is_told_where_nobody_verifies_it() {
    let authority = Authority::new("Authority");
    let responder = Responder::signing_as(&self_signed("other.test"), &authority);
    let pair = authority.issue_with_responder("one.test", 5, &responder.url());
    for program in programs() {
        let unverified = stapling(&program, &pair, &authority, true, "");
        wait_for("an answer goes with the certificate", || !stapled(&unverified).is_empty());
        let directives = "ssl_stapling_verify on; ssl_trusted_certificate ca.crt;";
        let verified = stapling(&program, &pair, &authority, true, directives);
        assert!(stapled(&verified).is_empty());
        verified.says("OCSP_basic_verify() failed (SSL: ");
        assert!(stapled(&verified).is_empty(), "{}", program.display());
    }
}
