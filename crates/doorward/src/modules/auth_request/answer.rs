//! What an auth service answered, freed of the subrequest that it came in, and what follows from it.

use super::AuthRequest;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::modules::auth_outcome::{self, Reason};
use crate::plan::Verdict;
use crate::run::Stop;

/// An answer as far as the location uses it.
#[derive(Clone, Default)]
pub struct Answer {
    /// The status, never 0.
    pub status: u16,
    /// Whether an upstream said so, and not this server itself.
    pub of_upstream: bool,
    /// Values of `WWW-Authenticate`, which are the client's (RFC 9110, section 11.6.1); taken from a 401 only.
    pub challenges: Vec<Vec<u8>>,
}

impl Answer {
    /// Takes from an answered subrequest what `request` needs of it, and gives the location's variables their values.
    pub(super) fn take(request: &AuthRequest, child: &Exchange<'_>, ex: &mut Exchange<'_>) -> Answer {
        let status = child.response.status;
        // One after the other: a value may read the variable of the line before.
        for line in &request.set {
            line.assign(&line.value.eval(child), ex);
        }
        Answer {
            status,
            of_upstream: !child.upstream.is_empty(),
            challenges: if status == 401 { challenges(child) } else { Vec::new() },
        }
    }

    /// Lets the request pass or refuses it.
    pub(super) fn judge(&self, ex: &mut Exchange<'_>) -> Result<Verdict, Stop> {
        match self.status {
            200..300 => Ok(Verdict::Allowed),
            403 => {
                auth_outcome::refuse(ex, Reason::Forbidden);
                Err(Stop::Status(403))
            }
            401 => {
                auth_outcome::refuse(ex, Reason::Refused);
                for challenge in &self.challenges {
                    ex.response.fields.add("WWW-Authenticate", challenge);
                }
                Err(Stop::Status(401))
            }
            status => {
                let reason = match status {
                    502 => Reason::Unreachable,
                    504 => Reason::Timeout,
                    _ => Reason::UnexpectedStatus,
                };
                auth_outcome::set_reason(ex, reason);
                // nginx is still "sending to client" then, where the answer came from an upstream.
                let doing = if self.of_upstream { " while sending to client" } else { "" };
                ex.log(Level::Error, format_args!("auth request unexpected status: {status}{doing}"));
                Err(Stop::Status(500))
            }
        }
    }
}

fn challenges(child: &Exchange<'_>) -> Vec<Vec<u8>> {
    let name = wire::Name::WwwAuthenticate;
    let fields = &child.response.fields;
    if fields.get(name).is_some() {
        fields.visible().filter(|(id, _, _)| *id == name).map(|(_, _, value)| value.to_vec()).collect()
    } else {
        // `proxy_hide_header` hides it from a client of the auth location, not from the one who has to answer it.
        fields.of_upstream().filter(|(id, _, _)| *id == name).map(|(_, _, value)| value.to_vec()).collect()
    }
}
