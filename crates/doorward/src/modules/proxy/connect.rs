//! Connections to servers: opened, and over TLS asked whose they are.

use std::cell::Cell;
use std::io;

use net::Stream;
use net::pool::Pooled;
use net::tls::reason::Reason;

use super::attempt::{Failed, Question, Refused};
use super::{Proxy, connect_options};
use crate::exchange::Exchange;
use crate::log::{Level, system_error};
use crate::modules::proxy_ssl::Unverified;

const CONNECTING: &str = "connecting to upstream";
const SHAKING: &str = "SSL handshaking to upstream";

impl Proxy {
    /// A new connection, with the handshake behind it where the server is asked over TLS.
    pub(super) async fn connect(
        &self,
        ex: &mut Exchange<'_>,
        question: &Question<'_>,
        address: &net::Address,
    ) -> Result<Pooled, Failed> {
        let values = &self.values;
        let buffers = (values.socket_rcvbuf, values.socket_sndbuf);
        let options = connect_options(ex, &values.bind, values.socket_keepalive, buffers);
        let watch = self.watches(ex);
        let mut tls = match &question.tls {
            None => None,
            Some((client, peer)) => match client.begin(peer, &question.upstream.name, address) {
                Ok(connection) => Some(connection),
                Err(sentence) => {
                    self.complain(ex, format_args!("{sentence} while {CONNECTING}"));
                    return Err(Failed::Request(Refused::Status(500)));
                }
            },
        };
        let shaking = Cell::new(false);
        let connecting = async {
            let mut stream = Stream::connect(address, &options).await?;
            if let Some(connection) = tls.take() {
                shaking.set(true);
                stream.start_tls(connection, Vec::new());
                stream.handshake().await?;
            }
            Ok::<_, io::Error>(stream)
        };
        // One time for both, as in nginx.
        let connected = ex.visit.client.waiting(values.connect_timeout, watch, connecting).await;
        let doing = if shaking.get() { SHAKING } else { CONNECTING };
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                match shaking.get() {
                    true => self.complain(ex, format_args!("{} while {doing}", handshake_failure(&error))),
                    false => {
                        let error = system_error(&error);
                        self.complain(ex, format_args!("connect() failed {error} while {doing}"));
                    }
                }
                return Err(Failed::Error { reused: false });
            }
            Err(interrupted) => return Err(self.interrupted(ex, interrupted, doing)),
        };
        if let Some((client, peer)) = &question.tls
            && let Err(unverified) = client.verify(peer, stream.tls())
        {
            match unverified {
                Unverified::Chain(refusal) => {
                    let number = refusal.number();
                    let sentence = "upstream SSL certificate verify error";
                    self.complain(ex, format_args!("{sentence}: ({number}:{refusal}) while {doing}"));
                }
                Unverified::Name => {
                    let name = peer.name();
                    let sentence = "upstream SSL certificate does not match";
                    self.complain(ex, format_args!("{sentence} \"{name}\" while {doing}"));
                }
            }
            return Err(Failed::Error { reused: false });
        }
        Ok(Pooled::new(stream))
    }

    /// Logs why a server cannot be asked.
    #[cold]
    fn complain(&self, ex: &mut Exchange<'_>, message: std::fmt::Arguments<'_>) {
        self.name_upstream(ex);
        ex.log(Level::Error, message);
    }
}

/// Why TLS was not begun, in nginx's words.
#[cold]
fn handshake_failure(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(_) => format!("peer closed connection in SSL handshake {}", system_error(error)),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "peer closed connection in SSL handshake".to_owned()
        }
        None => io_failure(error, "connect()", "SSL_do_handshake()"),
    }
}

/// What failed, in nginx's words: a system call, or TLS over it.
#[cold]
pub(super) fn io_failure(error: &io::Error, call: &str, over_tls: &str) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(broken) => format!("{over_tls} failed (SSL: {})", Reason(broken)),
        None => format!("{call} failed {}", system_error(error)),
    }
}
