//! The handshake of a client: its first message says which server it wants, and so with which settings it goes on.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use net::tls::reason::Reason;
use net::tls::signatures::Signatures;
use rustls::ServerConfig;
use rustls::server::{Accepted, Acceptor, ServerConnection};

use super::facts::{Offer, Outcome};
use super::{ServerTls, Tls};
use crate::client::Client;
use crate::config::{Config, Hosts};
use crate::log::{Level, system_error};
use crate::metrics::TlsCounts;
use crate::worker::{Service, Worker};

/// How much of a client's first message is read at a time.
const PIECE: usize = 4096;

/// `unrecognized_name` as a record of its own (RFC 6066, 3), for a client that no handshake is begun with.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// `internal_error` the same way.
const INTERNAL_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

/// What a client's first record begins with (RFC 8446, 5.1), or, with the highest bit, what SSLv2 did.
const HANDSHAKE: u8 = 22;
const SSLV2: u8 = 0x80;

/// Why there is no TLS.
enum Failure {
    /// The client closed the connection before it said anything.
    Silent,
    /// It closed it in the middle.
    Closed,
    /// The connection broke.
    Broken(io::Error),
    /// The protocol was violated, or client and server have nothing in common.
    Refused(rustls::Error),
    /// The server that it asked for wants nobody.
    Rejected,
    /// The certificate that variables name is not to be had.
    NoCertificate(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Failure::Closed;
        }
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(refused) => Failure::Refused(refused.clone()),
            None => Failure::Broken(error),
        }
    }
}

/// Shakes hands within `ms` milliseconds; false where the connection is to be closed. A client that speaks plain HTTP is
/// let in, to be told so: it has no [`Client::tls`].
pub async fn accept(client: &Client, worker: &Worker, service: &Rc<Service>, hosts: &Hosts, ms: u64) -> bool {
    let mut server = hosts.default;
    let shaken = client.deadline.within(ms, shake_hands(client, worker, service, hosts, &mut server)).await;
    let failure = match shaken {
        Ok(Ok(())) => {
            let outcome = client.tls.get().and_then(|tls| tls.outcome.get());
            if let (Some(outcome), Some(counts)) = (outcome, counts(&service.config, hosts, server)) {
                counts.succeeded(outcome.resumed, client.is_early());
            }
            return true;
        }
        Ok(Err(failure)) => failure,
        Err(_) => Failure::Broken(io::ErrorKind::TimedOut.into()),
    };
    // Who only looks whether the port is open began none.
    if !matches!(failure, Failure::Silent)
        && let Some(counts) = counts(&service.config, hosts, server)
    {
        counts.failed();
    }
    report(client, &service.config, server, &failure);
    false
}

/// What is counted of a server's handshakes, where something shows it; those of a server without settings of its own are its
/// address's.
fn counts<'c>(config: &'c Config, hosts: &Hosts, server: usize) -> Option<&'c TlsCounts> {
    let of = |server: usize| config.servers[server].counts.as_ref()?.tls.as_ref();
    of(server).or_else(|| of(hosts.default))
}

#[cold]
fn report(client: &Client, config: &Config, server: usize, failure: &Failure) {
    let log = &config.servers[server].plan.core.error_log;
    let local = client.local().map(ToString::to_string).unwrap_or_default();
    let context = format!(", client: {}, server: {local}", client.peer.ip_text());
    let say = |level, what: std::fmt::Arguments<'_>| {
        log.write_on(level, client.number, format_args!("{what} while SSL handshaking"), &context);
    };
    match failure {
        Failure::Silent => say(Level::Info, format_args!("client closed connection")),
        Failure::Closed => say(Level::Info, format_args!("peer closed connection in SSL handshake")),
        Failure::NoCertificate(why) => say(Level::Error, format_args!("{why}")),
        Failure::Rejected => say(Level::Info, format_args!("handshake rejected")),
        Failure::Broken(error) if error.kind() == io::ErrorKind::TimedOut => {
            say(Level::Info, format_args!("client timed out (110: Connection timed out)"));
        }
        Failure::Broken(error) => {
            say(Level::Info, format_args!("SSL_do_handshake() failed {}", system_error(error)));
        }
        Failure::Refused(error) => {
            let reason = Reason(error);
            let level = if reason.is_the_peers() { Level::Info } else { Level::Crit };
            say(level, format_args!("SSL_do_handshake() failed (SSL: {reason})"));
        }
    }
}

/// The same without a limit; `chosen` is the server that the client asked for, as soon as that is known.
async fn shake_hands(
    client: &Client,
    worker: &Worker,
    service: &Rc<Service>,
    hosts: &Hosts,
    chosen: &mut usize,
) -> Result<(), Failure> {
    let config = &*service.config;
    let mut bytes = client.unread.take();
    if bytes.is_empty() {
        bytes = worker.buffers.take(PIECE);
        if read(client, &mut bytes).await? == 0 {
            return Err(Failure::Silent);
        }
    }
    if bytes.first().is_some_and(|first| *first != HANDSHAKE && first & SSLV2 == 0) {
        *client.unread.borrow_mut() = bytes;
        return Ok(());
    }
    let accepted = hello(client, &mut bytes).await;
    bytes.clear();
    worker.buffers.put(bytes);
    let accepted = accepted?;
    // The answer is several writes, and so is what follows it: none is to wait for an acknowledgement.
    client.send_at_once();
    let hello = accepted.client_hello();
    let mut tls = Tls::asked(hello.server_name(), hosts);
    tls.offer = config.tls_wanted.offer.then(|| Box::new(Offer::of(&hello)));
    *chosen = tls.server;
    let Some((_, server, settings)) = settings(config, hosts, tls.server) else {
        write(client, &UNRECOGNIZED_NAME).await;
        return Err(Failure::Rejected);
    };
    let _ = client.tls.set(tls.into());
    for staple in &server.staples {
        staple.renew(service, &config.servers[*chosen].plan.core.error_log);
    }
    let settings = match &server.named {
        None => settings.clone(),
        Some(named) => match named.settings(settings, &config.servers[*chosen], client, worker, service) {
            Ok(settings) => settings,
            Err(why) => {
                write(client, &INTERNAL_ERROR).await;
                return Err(Failure::NoCertificate(why));
            }
        },
    };
    let mut signatures = Signatures::default();
    let begun = signatures.during(|| accepted.into_connection(settings));
    let mut connection = match begun {
        Ok(connection) => connection,
        Err((error, mut alert)) => {
            let mut told = Vec::new();
            let _ = alert.write_all(&mut told);
            write(client, &told).await;
            return Err(Failure::Refused(error));
        }
    };
    let session = config.tls_wanted.session.then(|| Box::new(session_number(&mut connection)));
    client.connection()?.start_tls(connection.into(), Vec::new());
    poll_fn(|cx| {
        let mut connection = client.connection()?;
        match config.tls_wanted.signatures {
            true => signatures.during(|| connection.poll_handshake(cx)),
            false => connection.poll_handshake(cx),
        }
    })
    .await?;
    let verify = server.verify.as_ref();
    let mut chain = Vec::new();
    let outcome = client.connection()?.tls().map(|connection| {
        let outcome = Outcome::of(connection, verify, signatures, session);
        let trusted = outcome.certificate.as_ref().is_some_and(|certificate| certificate.verdict.is_ok());
        if let Some(verify) = verify.filter(|verify| trusted && verify.ocsp.is_some()) {
            chain = verify.to_ask_about(connection.peer_certificates().unwrap_or_default());
        }
        outcome
    });
    let (Some(tls), Some(mut outcome)) = (client.tls.get(), outcome) else { return Ok(()) };
    if let Some(ocsp) = verify.and_then(|verify| verify.ocsp.as_ref())
        && let Some(certificate) =
            outcome.certificate.as_mut().filter(|certificate| certificate.verdict.is_ok())
    {
        let log = &config.servers[*chosen].plan.core.error_log;
        certificate.doubt = Box::pin(ocsp.check(&chain, client, service, log)).await.err();
    }
    let _ = tls.outcome.set(outcome);
    Ok(())
}

/// How the server shakes hands, and who that is: one without settings of its own as the address's default does. None refuses.
pub(super) fn settings<'c>(
    config: &'c Config,
    hosts: &Hosts,
    server: usize,
) -> Option<(usize, &'c ServerTls, &'c Arc<ServerConfig>)> {
    let of = |server: usize| config.servers[server].tls.as_ref();
    let asked = of(server);
    if asked.is_some_and(|tls| tls.rejects) {
        return None;
    }
    let shakes = if asked.is_some_and(|tls| tls.config.is_some()) { server } else { hosts.default };
    let tls = of(shakes)?;
    Some((shakes, tls, tls.config.as_ref()?))
}

/// Reads the client's first message.
async fn hello(client: &Client, bytes: &mut Vec<u8>) -> Result<Accepted, Failure> {
    let mut acceptor = Acceptor::default();
    loop {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            if acceptor.read_tls(&mut rest)? == 0 {
                break;
            }
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut told = Vec::new();
                let _ = alert.write_all(&mut told);
                write(client, &told).await;
                return Err(Failure::Refused(error));
            }
        }
        bytes.clear();
        if read(client, bytes).await? == 0 {
            return Err(Failure::Closed);
        }
    }
}

async fn read(client: &Client, bytes: &mut Vec<u8>) -> io::Result<usize> {
    poll_fn(|cx| client.poll_read(cx, bytes, PIECE)).await
}

/// Tells the client why, as far as it takes that.
async fn write(client: &Client, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match poll_fn(|cx| client.poll_write(cx, bytes)).await {
            Ok(written) if written > 0 => bytes = bytes.get(written..).unwrap_or_default(),
            _ => return,
        }
    }
}

/// The number of the session: it goes with it, so that it stays the same where the session is taken up again.
fn session_number(connection: &mut ServerConnection) -> [u8; 32] {
    let known = connection.received_resumption_data().and_then(|data| data.try_into().ok());
    let number = known.unwrap_or_else(crate::random::bytes::<32>);
    connection.set_resumption_data(&number);
    number
}
