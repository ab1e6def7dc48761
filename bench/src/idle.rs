//! Memory per idle connection: many clients ask once over the proxy, then keep silent.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::Outcome;
use crate::backend::Backend;
use crate::rows::{self, Row};
use crate::server::{Gateway, Server};

/// Prints the growth of resident memory per connection, after every connection had one answer: of the row `proxy`, of the
/// row `tls`, and of the first over HTTP/2.
pub(crate) fn compare(contestants: &[Gateway], backend: &Backend, connections: usize) -> Outcome<()> {
    println!("\n{connections} idle connections, resident memory");
    let tls = tls(&backend.ports.files)?;
    // The last one is asked for what `proxy` is.
    for name in ["proxy", "tls", "h2-64k"] {
        let row = rows::ALL.iter().find(|row| row.name == name).ok_or("a row is missing")?;
        for gateway in contestants {
            let server = Server::start(gateway, row.http, row.bearer, &backend.ports)?;
            server.answers(row)?;
            let before = server.process.memory()?;
            let clients: Vec<Box<dyn Read>> = (0..connections)
                .map(|_| -> Outcome<Box<dyn Read>> {
                    let stream = TcpStream::connect(("127.0.0.1", server.port))?;
                    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
                    match name {
                        "proxy" => ask_once(stream, row),
                        "h2-64k" => ask_once_over_http2(stream),
                        _ => ask_once(StreamOwned::new(tls()?, stream), row),
                    }
                })
                .collect::<Outcome<_>>()?;
            thread::sleep(Duration::from_secs(1));
            let after = server.process.memory()?;
            let each = (after.saturating_sub(before)) as f64 / clients.len() as f64 / 1024.0;
            println!(
                "{name:6} {:8}  {:6.1} MB before  {:6.1} MB after  {each:6.2} kB per connection",
                gateway.kind.name(),
                before as f64 / 1e6,
                after as f64 / 1e6
            );
        }
    }
    Ok(())
}

/// What makes clients that trust the gateways' certificate.
fn tls(files: &str) -> Outcome<impl Fn() -> Outcome<ClientConnection>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(Path::new(files).join("ecdsa.pem"))?)?;
    let config = Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth());
    let name = ServerName::try_from("example.com")?;
    Ok(move || Ok(ClientConnection::new(config.clone(), name.clone())?))
}

fn ask_once(mut stream: impl Read + Write + 'static, row: &Row) -> Outcome<Box<dyn Read>> {
    write!(stream, "GET {} HTTP/1.1\r\nHost: example.com\r\n\r\n", row.path)?;
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer)?;
    if answer.get(..read).is_some_and(|head| head.starts_with(b"HTTP/1.1 200")) {
        return Ok(Box::new(stream));
    }
    Err("an idle connection got another answer than 200".into())
}

/// Asks frame by frame (RFC 9113): the client's preface, its settings and `GET / http example.com` with the names of HPACK's
/// static table; waits for a head that begins with that table's `:status: 200`.
fn ask_once_over_http2(mut stream: TcpStream) -> Outcome<Box<dyn Read>> {
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")?;
    stream.write_all(b"\0\0\x10\x01\x05\0\0\0\x01\x82\x86\x84\x01\x0bexample.com")?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let [a, b, c, kind, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload)?;
        if kind == 1 {
            // nginx says first how large its table is.
            let fields = payload.strip_prefix(b"\x20").unwrap_or(&payload);
            return match fields.first() {
                Some(0x88) => Ok(Box::new(stream)),
                _ => Err("an idle connection of HTTP/2 got another answer than 200".into()),
            };
        }
    }
}
