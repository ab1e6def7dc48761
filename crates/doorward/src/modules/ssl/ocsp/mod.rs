//! OCSP: authorities are asked whether they have revoked certificates of clients (`ssl_ocsp`), and our own (`ssl_stapling`).

mod responder;
mod stapling;

use std::sync::{Arc, Mutex, PoisonError};

use conf::Arg::{Choice, Text};
use conf::{Diagnostic, Node, Span, Word, once};
use net::tls::ocsp::{Answer, Question, Signer, Status};
use rustls::pki_types::UnixTime;

use super::verify::Mode;
use crate::client::Client;
use crate::compile::Compiler;
use crate::log::{ErrorLog, Level};
use crate::module::{Module, Scope};
use crate::modules::resolver::{Resolver, ResolverSettings};
use crate::worker::Service;
use crate::zone::Table;
use crate::{directives, settings};
use responder::Responder;
pub use stapling::Staple;

/// The least size of a zone: eight pages, as in nginx.
const LEAST: u64 = 8 * 4096;

/// How long an answer is kept that does not say until when it counts, in seconds.
const UNTOLD: u64 = 3600;

/// The directives about asking.
pub static MODULE: Module = Module {
    name: "ngx_http_ssl_module",
    directives: directives! { OcspSettings;
        /// Asks the authorities of a client's certificate (OCSP) whether it was revoked: `on` about every certificate up to the
        /// trusted one, `leaf` about the client's own. Who was revoked, is not known, or cannot be asked about, is refused (495
        /// for `error_page`). A name in a certificate's URL needs a `resolver`.
        "ssl_ocsp" in [HTTP SERVER] (Choice(&["on", "off", "leaf"])) = "off" => |c, _, n| {
            let asked = match n.bytes(0) {
                b"on" => Asked::All,
                b"leaf" => Asked::Leaf,
                _ => Asked::Nobody,
            };
            once(&mut c.asked, (asked, Some(n.span)), n)
        };
        /// Who is asked, in place of the responder that each certificate names: a URL of `http://`.
        "ssl_ocsp_responder" in [HTTP SERVER] (Text("url")) = "" => |c, _, n| {
            once(&mut c.responder, Some(n.word(0)?.clone()), n)
        };
        /// Keeps what was answered for as long as it counts, in a zone that all workers share (`shared:NAME:SIZE`); an answer takes
        /// about 250 bytes. Without it each handshake asks.
        "ssl_ocsp_cache" in [HTTP SERVER] (Text("off | [shared:name:size]")) = "off" => |c, cx, n| {
            let cache = cache(cx, n)?;
            once(&mut c.cache, cache, n)
        };
    },
    variables: &[],
    plan: |_, _, _| Ok(()),
};

settings! {
    /// Whether authorities are asked about clients.
    OcspSettings => OcspValues {
        /// About which certificates, and where that stands.
        asked: (Asked, Option<Span>) = (Asked::Nobody, None);
        /// Who answers.
        responder: Option<Word> = None;
        /// What was answered.
        cache: Option<Arc<Answers>> = None;
    }
}

/// About which certificates is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// None.
    Nobody,
    /// The client's own.
    Leaf,
    /// Every one up to the trusted one.
    All,
}

/// What was answered, with the second until when it counts.
pub struct Answers(Mutex<Table<(u64, Status)>>);

impl Answers {
    fn get(&self, key: &[u8]) -> Option<Status> {
        let (now, _) = net::clock::wall();
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, status) = *table.get(key)?;
        (until > now).then_some(status)
    }

    fn put(&self, key: &[u8], until: u64, status: Status) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.insert(key, (until, status), |_| true);
    }
}

fn cache(cx: &mut Compiler, node: &Node) -> Result<Option<Arc<Answers>>, Diagnostic> {
    let word = node.word(0)?;
    let text = word.lossy();
    if text == "off" {
        return Ok(None);
    }
    let zone = text.strip_prefix("shared:").and_then(|zone| zone.split_once(':'));
    let zone = zone.filter(|(name, _)| !name.is_empty());
    let Some((name, size)) = zone.and_then(|(name, size)| Some((name, conf::value::size(size.as_bytes())?)))
    else {
        let sentence = format!("invalid OCSP cache \"{text}\"");
        return Err(Diagnostic::at(word.span, sentence).instead("write shared:NAME:SIZE, or off"));
    };
    if size < LEAST {
        let sentence = format!("OCSP cache \"{text}\" is too small");
        return Err(Diagnostic::at(word.span, sentence).instead("give it 32k or more"));
    }
    let room = usize::try_from(size).unwrap_or(usize::MAX);
    let make = || Answers(Mutex::new(Table::new(room)));
    Ok(Some(cx.zones.get_or_make(&format!("ssl ocsp {name} {size}"), make)))
}

/// How clients are asked about.
pub struct Ocsp {
    asked: Asked,
    responder: Option<Responder>,
    answers: Option<Arc<Answers>>,
    resolver: Resolver,
}

/// Why a certificate that is trusted otherwise is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Nobody could be asked, or the answer was none.
    Unanswered,
    /// It was revoked.
    Revoked,
    /// The responder does not know it.
    Unknown,
}

impl Doubt {
    /// nginx's words.
    pub fn words(self) -> &'static str {
        match self {
            Doubt::Unanswered => "certificate status request failed",
            Doubt::Revoked => "certificate revoked",
            Doubt::Unknown => "certificate status unknown",
        }
    }
}

/// Makes it of the settings; none where nobody is asked.
pub fn settle(scope: &mut Scope, mode: Mode) -> Result<Option<Ocsp>, Diagnostic> {
    let values = scope.get_mut::<OcspSettings>().settle();
    let (asked, place) = values.asked;
    if asked == Asked::Nobody {
        return Ok(None);
    }
    if mode == Mode::OptionalNoAuthority {
        let sentence = "\"ssl_ocsp\" is incompatible with \"ssl_verify_client optional_no_ca\"";
        let complaint =
            place.map_or_else(|| Diagnostic::nowhere(sentence), |at| Diagnostic::at(at, sentence));
        return Err(complaint.instead("write \"ssl_verify_client optional\", or leave out one of them"));
    }
    let resolver = scope.get_mut::<ResolverSettings>().settle();
    let responder = match &values.responder {
        None => None,
        Some(word) => {
            let wrong = |why: String| Diagnostic::at(word.span, format!("{why} in \"ssl_ocsp_responder\""));
            let url = word.lossy();
            let mut responder = Responder::parse(&url).map_err(wrong)?;
            if resolver.servers.is_none() && responder.look_up().is_err() {
                let why = format!("host not found in OCSP responder \"{url}\"");
                return Err(wrong(why).instead("write its address, or name a resolver"));
            }
            Some(responder)
        }
    };
    Ok(Some(Ocsp { asked, responder, answers: values.cache, resolver }))
}

impl Ocsp {
    /// Asks about a chain that leads to a trusted certificate, the client's own first.
    pub async fn check(
        &self,
        chain: &[Vec<u8>],
        client: &Client,
        service: &Service,
        log: &ErrorLog,
    ) -> Result<(), Doubt> {
        let most = if self.asked == Asked::Leaf { 1 } else { chain.len() };
        for pair in chain.windows(2).take(most) {
            let [certificate, issuer] = pair else { break };
            let status = self.status(certificate, issuer, service).await.map_err(|why| {
                let context = format!(", client: {}", client.peer.ip_text());
                log.write_on(
                    Level::Error,
                    client.number,
                    format_args!("{why} while requesting certificate status"),
                    &context,
                );
                Doubt::Unanswered
            })?;
            match status {
                Status::Good => {}
                Status::Revoked => return Err(Doubt::Revoked),
                Status::Unknown => return Err(Doubt::Unknown),
            }
        }
        Ok(())
    }

    async fn status(&self, certificate: &[u8], issuer: &[u8], service: &Service) -> Result<Status, String> {
        let unreadable = |_| "OCSP_cert_to_id() failed".to_owned();
        let question = Question::new(certificate, issuer).map_err(unreadable)?;
        let key = question.key();
        if let Some(known) = self.answers.as_ref().and_then(|answers| answers.get(&key)) {
            return Ok(known);
        }
        let named;
        let responder = match &self.responder {
            Some(responder) => responder,
            None => {
                let url = question.responder().ok_or("no OCSP responder URL in certificate")?;
                named = Responder::of_client(url).map_err(|why| format!("{why} in certificate"))?;
                &named
            }
        };
        let (_, answer) = ask(&question, responder, Signer::Authorized, service, &self.resolver).await?;
        if let Some(answers) = &self.answers {
            let (now, _) = net::clock::wall();
            answers.put(&key, answer.next_update.unwrap_or(now + UNTOLD), answer.status);
        }
        Ok(answer.status)
    }
}

/// Asks a responder: what it has answered, as it came and as it was understood, or why that is no answer.
async fn ask(
    question: &Question,
    responder: &Responder,
    signer: Signer,
    service: &Service,
    resolver: &Resolver,
) -> Result<(Vec<u8>, Answer), String> {
    let host = responder.host();
    let request = question.request().map_err(|_| "OCSP_cert_to_id() failed".to_owned())?;
    let asked = responder.ask(&request, service, resolver).await;
    let bytes = asked.map_err(|why| format!("{why}, responder: {host}"))?;
    let read = question.read(&bytes, UnixTime::now(), signer);
    let answer = read.map_err(|error| format!("{error}, responder: {host}"))?;
    Ok((bytes, answer))
}
