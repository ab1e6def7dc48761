//! Who answers about certificates, and how it is asked: a GET over HTTP, as nginx sends it (RFC 6960, appendix A).

use std::io;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use net::{Address, Connect, Names, Stream};
use wire::h1::{ResponseHead, ResponseParser};
use wire::uri::{Escape, escape};

use crate::log::system_error;
use crate::modules::resolver::Resolver;
use crate::modules::upstream::{Scheme, Target};
use crate::worker::Service;

/// How long one of its addresses may take, in seconds.
const PATIENCE: u64 = 60;

/// How much of an answer is read, head and body together, as in nginx.
const ANSWER: usize = 16 << 10;

/// The one type that an answer may have.
const TYPE: &[u8] = b"application/ocsp-response";

/// A responder.
pub struct Responder {
    target: Target,
    /// Its addresses, where they were looked up with the configuration.
    addresses: Vec<Address>,
}

impl Responder {
    /// Reads a URL; what is wrong with it is said in nginx's words, up to where it was found.
    pub fn parse(url: &str) -> Result<Responder, String> {
        let rest = match Scheme::split(url.as_bytes()) {
            Some((Scheme::Http, rest)) => rest,
            _ => return Err(format!("invalid URL prefix in OCSP responder \"{url}\"")),
        };
        if !rest.iter().all(u8::is_ascii_graphic) {
            return Err(format!("invalid URL in OCSP responder \"{}\"", url.escape_default()));
        }
        let target =
            Target::parse(rest, true).map_err(|error| format!("{error} in OCSP responder \"{url}\""))?;
        Ok(Responder { target, addresses: Vec::new() })
    }

    /// The same of a client's certificate, which leads to nothing on this machine that only listens for those who are on it.
    pub fn of_client(url: &str) -> Result<Responder, String> {
        let responder = Responder::parse(url)?;
        if responder.target.host.starts_with("unix:") {
            return Err(format!("invalid host in OCSP responder \"{url}\""));
        }
        Ok(responder)
    }

    /// Its host, for the log.
    pub fn host(&self) -> &str {
        &self.target.host
    }

    /// Looks its name up, which waits: for who has no `resolver`.
    pub fn look_up(&mut self) -> io::Result<()> {
        self.addresses = self.target.addresses(Scheme::Http.port())?;
        Ok(())
    }

    /// Sends a question: the answer's body, or why there is none.
    pub async fn ask(
        &self,
        question: &[u8],
        service: &Service,
        resolver: &Resolver,
    ) -> Result<Vec<u8>, String> {
        let request = self.request(question);
        let mut why = String::new();
        for address in self.addresses(service, resolver).await? {
            let asked =
                tokio::time::timeout(Duration::from_secs(PATIENCE), exchange(&address, &request)).await;
            let failed = match asked {
                Ok(Ok(body)) => return Ok(body),
                Ok(Err(failed)) => failed,
                Err(_) => "OCSP responder timed out (110: Connection timed out)".to_owned(),
            };
            why = format!("{failed}, peer: {address}");
        }
        Err(why)
    }

    fn request(&self, question: &[u8]) -> Vec<u8> {
        let mut request = b"GET ".to_vec();
        request.extend_from_slice(&self.target.uri);
        if !self.target.uri.ends_with(b"/") {
            request.push(b'/');
        }
        escape(Escape::UriComponent, STANDARD.encode(question).as_bytes(), &mut request);
        request.extend_from_slice(format!(" HTTP/1.0\r\nHost: {}\r\n\r\n", self.target.host).as_bytes());
        request
    }

    async fn addresses(&self, service: &Service, resolver: &Resolver) -> Result<Vec<Address>, String> {
        if let Some(address) = self.target.literal(Scheme::Http.port()) {
            return Ok(vec![address]);
        }
        let host = self.host();
        let servers =
            resolver.servers.and_then(|at| Some((service.config.resolvers.get(at)?, service.names.get(at)?)));
        let Some((servers, cell)) = servers else {
            return match self.addresses.is_empty() {
                true => Err(format!("no resolver defined to resolve {host}")),
                false => Ok(self.addresses.clone()),
            };
        };
        let unknown = |why: &dyn std::fmt::Display| format!("{host} could not be resolved ({why})");
        let names =
            cell.get_or_try_init(async || Names::new(servers)).await.map_err(|error| unknown(&error))?;
        let found =
            tokio::time::timeout(Duration::from_millis(resolver.timeout), names.addresses(host)).await;
        let found =
            found.map_err(|_| unknown(&"110: Operation timed out"))?.map_err(|error| unknown(&error))?;
        let port = self.target.port.unwrap_or(Scheme::Http.port());
        Ok(found.into_iter().map(|ip| Address::Inet((ip, port).into())).collect())
    }
}

/// Asks at one address.
async fn exchange(address: &Address, request: &[u8]) -> Result<Vec<u8>, String> {
    const INVALID: &str = "OCSP responder sent invalid response";
    let failed =
        |what: &'static str| move |error: io::Error| format!("{what} failed {}", system_error(&error));
    let mut stream = Stream::connect(address, &Connect::default()).await.map_err(failed("connect()"))?;
    stream.write_all(request).await.map_err(failed("send()"))?;
    let (mut head, mut parser, mut bytes) = (ResponseHead::default(), ResponseParser::new(), Vec::new());
    while !parser.parse(&bytes, &mut head).map_err(|_| INVALID.to_owned())? {
        if read(&mut stream, &mut bytes).await? == 0 {
            return Err("OCSP responder prematurely closed connection".to_owned());
        }
    }
    if head.status != 200 {
        return Err(format!("OCSP responder answered {}", head.status));
    }
    let named = |field: &&wire::Field| field.name.of(&bytes).eq_ignore_ascii_case(b"Content-Type");
    if let Some(kind) = head.fields.iter().find(named).map(|field| field.value.of(&bytes))
        && !kind.eq_ignore_ascii_case(TYPE)
    {
        let shown = kind.escape_ascii();
        return Err(format!("OCSP responder sent invalid \"Content-Type\" header: \"{shown}\""));
    }
    let mut decoder = head.body(false, None);
    bytes.drain(..(head.head_len as usize).min(bytes.len()));
    let mut body = Vec::new();
    loop {
        let decoded = decoder.decode(&bytes).map_err(|_| INVALID.to_owned())?;
        body.extend_from_slice(bytes.get(decoded.data).unwrap_or_default());
        bytes.drain(..decoded.consumed);
        if decoded.done {
            return Ok(body);
        }
        if decoded.consumed > 0 && !bytes.is_empty() {
            continue;
        }
        if body.len() > ANSWER {
            return Err(INVALID.to_owned());
        }
        if read(&mut stream, &mut bytes).await? == 0 {
            return match decoder {
                wire::h1::Decoder::UntilClose => Ok(body),
                _ => Err("OCSP responder prematurely closed connection".to_owned()),
            };
        }
    }
}

async fn read(stream: &mut Stream, bytes: &mut Vec<u8>) -> Result<usize, String> {
    if bytes.len() >= ANSWER {
        return Err("OCSP responder sent too long a response".to_owned());
    }
    stream.read(bytes, 4096).await.map_err(|error| format!("recv() failed {}", system_error(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_does_not_say_what_else_is_sent_or_to_whom_on_this_machine() {
        let why = |url: &str| Responder::of_client(url).err();
        assert_eq!(why("http://ocsp.test:8080/a"), None);
        let split = "http://ocsp.test/ HTTP/1.0\r\nHost: other\r\n\r\n";
        assert!(why(split).is_some_and(|why| why.starts_with("invalid URL in OCSP responder")));
        assert!(why("http://unix:/run/docker.sock:/").is_some_and(|why| why.starts_with("invalid host")));
        assert!(Responder::parse("http://unix:/run/ocsp.sock:/").is_ok());
        assert!(why("https://ocsp.test/").is_some_and(|why| why.starts_with("invalid URL prefix")));
    }
}
