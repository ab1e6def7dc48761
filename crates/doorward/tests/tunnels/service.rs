//! A service, over TLS or not, that is asked who may pass (`/validate`), and changes to WebSocket elsewhere: it greets, and then
//! sends back what it gets, until it is told `bye`.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::crypto::aws_lc_rs;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::authority::Pair;
use crate::service;

/// A running one.
pub struct Service {
    pub port: u16,
    /// How many tunnels were asked for.
    pub asked: Arc<AtomicUsize>,
    /// How many are open.
    pub open: Arc<AtomicUsize>,
}

/// Starts one, over TLS where there is a certificate.
pub fn listen(pair: Option<&Pair>) -> Service {
    let (asked, open) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let counters = (asked.clone(), open.clone());
    let config = pair.map(|pair| {
        let (chain, key) = pair.der();
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        Arc::new(builder.with_single_cert(chain, key).unwrap())
    });
    let port = service::listen(move |socket| {
        // Connections end as they end.
        let _ = match &config {
            None => serve(socket, &counters),
            Some(config) => {
                let connection = ServerConnection::new(config.clone()).unwrap();
                serve(StreamOwned::new(connection, socket), &counters)
            }
        };
    });
    Service { port, asked, open }
}

fn serve(
    stream: impl Read + Write,
    (asked, open): &(Arc<AtomicUsize>, Arc<AtomicUsize>),
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let head = head.to_ascii_lowercase();
        let has = |field: &str| head.contains(&format!("\r\n{field}\r\n"));
        if head.starts_with("get /validate ") {
            let answer = match has("cookie: session=ann") && !head.contains("\r\nupgrade:") {
                true => "HTTP/1.1 200 OK\r\nX-User: ann\r\nContent-Length: 0\r\n\r\n",
                false => "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Test\r\nContent-Length: 0\r\n\r\n",
            };
            stream.get_mut().write_all(answer.as_bytes())?;
            continue;
        }
        asked.fetch_add(1, Ordering::SeqCst);
        if !["upgrade: websocket", "connection: upgrade", "sec-websocket-version: 13", "x-user: ann"]
            .into_iter()
            .all(has)
        {
            return Err(ErrorKind::InvalidData.into());
        }
        open.fetch_add(1, Ordering::SeqCst);
        let ended = echo(&mut stream);
        open.fetch_sub(1, Ordering::SeqCst);
        return ended;
    }
}

fn echo(stream: &mut BufReader<impl Read + Write>) -> std::io::Result<()> {
    stream.get_mut().write_all(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nwelcome ann\n",
    )?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 || line == "bye\n" {
            return Ok(());
        }
        stream.get_mut().write_all(line.as_bytes())?;
        stream.get_mut().flush()?;
    }
}
