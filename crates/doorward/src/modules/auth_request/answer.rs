//! What an auth service answered, freed of the subrequest that it came in, and what follows from it.

use std::rc::Rc;
use std::sync::Arc;

use wire::Name;

use super::extensions::OnError;
use super::page::Page;
use super::{Extensions, Question};
use crate::exchange::Exchange;
use crate::field_names::AlikeNames;
use crate::fields::Joined;
use crate::log::Level;
use crate::modules::auth_outcome::{self, Reason};
use crate::plan::Verdict;
use crate::request_fields::Copied;
use crate::run::Stop;

/// An answer as far as the location uses it.
#[derive(Clone, Default)]
pub struct Answer {
    /// The status, never 0.
    pub status: u16,
    /// Whether an upstream said so, and not this server itself.
    pub of_upstream: bool,
    /// Whether the service could not be connected to, or let a time pass: nobody can have made it answer so.
    pub unanswered: bool,
    /// Values of `WWW-Authenticate`, which are the client's (RFC 9110, section 11.6.1; RFC 6750, section 3.1); taken from
    /// 401 and 403.
    pub challenges: Vec<Vec<u8>>,
    /// Values of the location's `auth_request_set` lines, in their order.
    pub values: Vec<Joined>,
    /// What only Doorward's own directives ask for.
    pub extended: Option<Box<Extended>>,
}

/// The part of an answer that only Doorward's own directives ask for.
#[derive(Clone, Default)]
pub struct Extended {
    /// What the client gets in place of an error page.
    pub page: Option<Page>,
    /// Values of `Set-Cookie` that the client gets.
    pub cookies: Vec<Vec<u8>>,
    /// The names of the fields that are copied to those behind the gateway.
    pub copy_headers: Arc<AlikeNames>,
    /// Their values: name and value.
    pub copied: Vec<(Box<[u8]>, Vec<u8>)>,
}

impl Answer {
    /// Takes from an answered subrequest what `request` needs of it, and gives the location's variables their values.
    pub(super) fn take(
        request: &Question,
        child: &Exchange<'_>,
        body: Option<Vec<u8>>,
        ex: &mut Exchange<'_>,
    ) -> Answer {
        let status = child.response.status;
        let mut values = Vec::with_capacity(request.set.len());
        // One after the other: a value may read the variable of the line before.
        for line in &request.set {
            let value = line.value(child);
            if request.is_first || !value.bytes.is_empty() {
                line.assign(&value, ex);
            }
            values.push(value);
        }
        Answer {
            status,
            of_upstream: !child.upstream.is_empty(),
            unanswered: is_unanswered(child),
            challenges: if matches!(status, 401 | 403) { challenges(child) } else { Vec::new() },
            values,
            extended: request.extensions.as_ref().map(|on| Box::new(Extended::take(on, child, body))),
        }
    }

    /// Gives the location's variables the values that they had when this was the answer to another request.
    pub(super) fn repeat(&self, request: &Question, ex: &mut Exchange<'_>) {
        for (line, value) in request.set.iter().zip(&self.values) {
            line.assign(value, ex);
        }
    }

    /// The bytes that it takes beside itself, with what the allocator keeps beside each piece.
    pub(super) fn size(&self) -> usize {
        let extended = self.extended.as_ref().map_or(0, |extended| size_of::<Extended>() + extended.size());
        pieces(self.challenges.iter().chain(self.values.iter().map(|value| &value.bytes))) + extended
    }

    /// Lets the request pass or refuses it.
    pub(super) fn judge(&self, request: &Question, ex: &mut Exchange<'_>) -> Result<Verdict, Stop> {
        for cookie in self.extended.iter().flat_map(|extended| &extended.cookies) {
            ex.response.fields.add_bytes(b"Set-Cookie", cookie);
        }
        let page = self.extended.as_ref().and_then(|extended| extended.page.as_ref());
        let copied = self.extended.as_ref().filter(|extended| !extended.copy_headers.is_empty());
        if let Some(extended) = copied {
            let mut outcome = ex.visit.auth.borrow_mut();
            let before = outcome.copied.take().filter(|_| !request.is_first);
            let mut copied = Copied { names: extended.copy_headers.clone(), fields: extended.copied.clone() };
            let is_said = |name: &[u8]| extended.copied.iter().any(|(said, _)| **said == *name);
            let kept = before.iter().flat_map(|before| &before.fields);
            copied.fields.extend(kept.filter(|(name, _)| !is_said(name)).cloned());
            outcome.copied = Some(Rc::new(copied));
        }
        match self.status {
            200..300 => Ok(Verdict::Allowed),
            status @ (401 | 403) => {
                let reason = if status == 401 { Reason::Refused } else { Reason::Forbidden };
                auth_outcome::refuse(ex, reason);
                for challenge in &self.challenges {
                    ex.response.fields.add("WWW-Authenticate", challenge);
                }
                auth_outcome::set_page(ex, page.cloned());
                Err(Stop::Status(status))
            }
            status if page.is_some() => {
                auth_outcome::refuse(ex, Reason::Passed);
                auth_outcome::set_page(ex, page.cloned());
                Err(Stop::Status(status))
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
                match request.extensions.as_ref().map(|extensions| extensions.on_error) {
                    Some(OnError::Allow) if self.unanswered => {
                        request.let_pass_unchecked(ex);
                        Ok(Verdict::Allowed)
                    }
                    Some(OnError::Status(instead)) if status >= 500 => Err(Stop::Status(instead)),
                    _ => Err(Stop::Status(500)),
                }
            }
        }
    }
}

fn is_unanswered(child: &Exchange<'_>) -> bool {
    let attempts = child.upstream.list();
    // An answer that is made an error of here is one all the same.
    attempts.iter().all(|attempt| attempt.header_time.is_none())
        && match child.forced_status {
            502 => attempts.iter().all(|attempt| attempt.connect_time.is_none()),
            status => status == 504,
        }
}

fn pieces<'a>(all: impl Iterator<Item = &'a Vec<u8>>) -> usize {
    all.map(|piece| piece.capacity() + size_of::<Vec<u8>>() + 16).sum()
}

impl Extended {
    fn size(&self) -> usize {
        let page = self
            .page
            .iter()
            .flat_map(|page| page.fields.iter().flat_map(|(name, value)| [name, value]).chain(&page.body));
        let copied = self.copied.iter().map(|(name, value)| name.len() + value.capacity() + 64);
        pieces(page.chain(&self.cookies)) + copied.sum::<usize>()
    }

    fn take(on: &Extensions, child: &Exchange<'_>, body: Option<Vec<u8>>) -> Extended {
        let status = child.response.status;
        let passed = on.pass_status.contains(&status);
        let page = match status {
            401 | 403 => Page::of_refusal(child, body),
            // This server's own fields would be those of a page that is made anew.
            _ if passed && child.forced_status != 0 => Some(Page { status, ..Page::default() }),
            _ if passed => Some(Page::of_status(child, body)),
            _ => None,
        };
        let with_cookies = on.set_cookie || (passed && child.forced_status == 0);
        let cookies = if with_cookies { values(child, Name::SetCookie) } else { Vec::new() };
        let copied = match status {
            200..300 => on.copy_headers.iter().flat_map(|name| said(child, name)).collect(),
            _ => Vec::new(),
        };
        Extended { page, cookies, copy_headers: on.copy_headers.clone(), copied }
    }
}

/// Every value of a field of the answer, with its name as the configuration writes it.
fn said(child: &Exchange<'_>, name: &[u8]) -> Vec<(Box<[u8]>, Vec<u8>)> {
    let fields = child.response.fields.of_upstream();
    let same = fields.filter(|(_, field, _)| field.eq_ignore_ascii_case(name));
    same.map(|(_, _, value)| (name.into(), value.to_vec())).collect()
}

fn challenges(child: &Exchange<'_>) -> Vec<Vec<u8>> {
    values(child, Name::WwwAuthenticate)
}

/// Every value of a field that is the client's.
fn values(child: &Exchange<'_>, name: Name) -> Vec<Vec<u8>> {
    let fields = &child.response.fields;
    if fields.get(name).is_some() {
        fields.visible().filter(|(id, _, _)| *id == name).map(|(_, _, value)| value.to_vec()).collect()
    } else {
        // `proxy_hide_header` hides it from a client of the auth location, not from the one who has to answer it.
        fields.of_upstream().filter(|(id, _, _)| *id == name).map(|(_, _, value)| value.to_vec()).collect()
    }
}
