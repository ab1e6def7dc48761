//! `ssl_stapling` without a file: what the authority says about our own certificate goes to clients with it.

use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use net::tls::ocsp::{Question, Signer, Status};

use super::ask;
use super::responder::Responder;
use crate::log::{ErrorLog, Level};
use crate::modules::resolver::Resolver;
use crate::worker::Service;

/// An answer is asked for again so long before it ends, and not sooner than so long after the last one; in seconds, as in nginx.
const PAUSE: u64 = 300;

/// The longest that an answer is kept without asking again, in seconds.
const LONGEST: u64 = 3600;

/// What clients are told about one certificate.
pub struct Staple {
    question: Question,
    responder: Responder,
    signer: Signer,
    resolver: Resolver,
    /// The certificate's file, for the log.
    name: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The answer (DER), and the second until when it counts.
    answer: Option<(Arc<[u8]>, u64)>,
    /// When it is asked for again.
    next: u64,
    asking: bool,
}

impl std::fmt::Debug for Staple {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Staple")
    }
}

impl Staple {
    /// Asks `responder`, or whom the certificate names, about a certificate that one of these has issued (all DER); `name` is its file.
    /// What keeps it from that is said in nginx's words.
    pub fn new<'d>(
        certificate: &[u8],
        issuers: impl IntoIterator<Item = &'d [u8]>,
        responder: Option<&str>,
        signer: Signer,
        resolver: Resolver,
        name: String,
    ) -> Result<Staple, String> {
        let question = Question::among(certificate, issuers);
        let question =
            question.ok_or_else(|| format!("issuer certificate not found for certificate \"{name}\""))?;
        let nobody = || format!("no OCSP responder URL in the certificate \"{name}\"");
        let url = responder.or(question.responder()).ok_or_else(nobody)?.to_owned();
        let mut responder =
            Responder::parse(&url).map_err(|why| format!("{why} in the certificate \"{name}\""))?;
        if resolver.servers.is_none() && responder.look_up().is_err() {
            return Err(format!("host not found in OCSP responder \"{url}\" in the certificate \"{name}\""));
        }
        Ok(Staple { question, responder, signer, resolver, name, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a client is told now.
    pub fn answer(&self) -> Option<Arc<[u8]>> {
        let (now, _) = net::clock::wall();
        self.state().answer.as_ref().filter(|(_, until)| *until >= now).map(|(answer, _)| answer.clone())
    }

    /// Asks, where it is time to; nobody waits for that.
    pub fn renew(self: &Arc<Self>, service: &Rc<Service>, log: &ErrorLog) {
        let (now, _) = net::clock::wall();
        {
            let mut state = self.state();
            if state.asking || state.next >= now {
                return;
            }
            state.asking = true;
        }
        let (staple, service, log) = (self.clone(), service.clone(), log.clone());
        tokio::task::spawn_local(async move {
            let asking = Asking(&staple);
            let asked = std::pin::pin!(ask(
                &staple.question,
                &staple.responder,
                staple.signer,
                &service,
                &staple.resolver
            ));
            let asked = service.unless_over(asked).await.unwrap_or_else(|| Err("it is too late".to_owned()));
            let (now, _) = net::clock::wall();
            let (next, why) = match asked {
                Ok((bytes, answer)) if answer.status == Status::Good => {
                    let until = answer.next_update.unwrap_or(u64::MAX);
                    staple.state().answer = Some((bytes.into(), until));
                    let soon = until.saturating_sub(PAUSE).min(now + LONGEST);
                    (soon.max(now + PAUSE), None)
                }
                Ok((_, answer)) => {
                    let status = if answer.status == Status::Revoked { "revoked" } else { "unknown" };
                    (now + PAUSE, Some(format!("certificate status \"{status}\" in the OCSP response")))
                }
                Err(why) => (now + PAUSE, Some(why)),
            };
            staple.state().next = next;
            drop(asking);
            if let Some(why) = why {
                let text = format_args!(
                    "{why} while requesting certificate status, certificate: \"{}\"",
                    staple.name
                );
                log.write(Level::Error, text);
            }
        });
    }
}

/// While it lasts nobody else asks; it ends with the task, however that ends.
struct Asking<'s>(&'s Staple);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.state().asking = false;
    }
}
