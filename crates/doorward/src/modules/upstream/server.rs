//! A `server` line of an `upstream` block.

use std::sync::Arc;

use conf::{Diagnostic, Node, Span};
use net::Address;

use super::group::Peer;
use super::sticky;
use super::url::Target;
use crate::metrics::{Metrics, PeerCounts};

/// A `server` line.
#[derive(Clone)]
pub(super) struct ServerLine {
    pub(super) target: Target,
    pub(super) text: String,
    weight: u32,
    max_fails: u32,
    fail_timeout: u64,
    max_conns: u32,
    down: bool,
    draining: bool,
    route: Option<Box<[u8]>>,
    pub(super) backup: bool,
    /// Whether the addresses are looked up while it serves.
    resolve: bool,
    /// The service of that name to look up, as DNS spells it (`_http._tcp`).
    pub(super) service: Option<String>,
    /// What is counted of all that it is found to be, where something shows it.
    counts: Option<Arc<PeerCounts>>,
    pub(super) span: Span,
}

impl ServerLine {
    /// Reads a line; not every way to choose among servers knows backups.
    pub(super) fn read(node: &Node, may_be_backup: bool) -> Result<ServerLine, Diagnostic> {
        let text = node.str(0)?.to_owned();
        let target = Target::parse(text.as_bytes(), false)
            .map_err(|error| Diagnostic::at(node.args[0].span, format!("{error} in upstream \"{text}\"")))?;
        let mut line = ServerLine::of(target, text, node.span);
        for word in &node.args[1..] {
            let text = String::from_utf8_lossy(&word.text).into_owned();
            let invalid = || Diagnostic::at(word.span, format!("invalid parameter \"{text}\""));
            let number = |digits: &str| digits.parse::<u32>().map_err(|_| invalid());
            match text.split_once('=') {
                None if text == "down" => (line.down, line.draining) = (true, false),
                None if text == "drain" => (line.down, line.draining) = (true, true),
                None if text == "resolve" => line.resolve = true,
                None if text == "backup" => {
                    if !may_be_backup {
                        let sentence = "balancing method does not support parameter \"backup\"";
                        return Err(Diagnostic::at(word.span, sentence));
                    }
                    line.backup = true;
                }
                Some(("route", "")) => return Err(Diagnostic::at(word.span, "route is empty")),
                Some(("route", name)) if name.len() > sticky::LONGEST => {
                    let text = format!("route is longer than {}", sticky::LONGEST);
                    return Err(Diagnostic::at(word.span, text));
                }
                Some(("route", name)) => line.route = Some(name.as_bytes().into()),
                Some(("service", "")) => return Err(Diagnostic::at(word.span, "service is empty")),
                Some(("service", name)) => {
                    // Without a dot it is the name of a protocol over TCP (RFC 2782).
                    let is_whole = name.contains('.');
                    line.service = Some(if is_whole { name.to_owned() } else { format!("_{name}._tcp") });
                }
                Some(("weight", n)) => {
                    line.weight = number(n).and_then(|n| if n == 0 { Err(invalid()) } else { Ok(n) })?;
                }
                Some(("max_fails", n)) => line.max_fails = number(n)?,
                Some(("max_conns", n)) => line.max_conns = number(n)?,
                Some(("fail_timeout", time)) => {
                    line.fail_timeout = conf::value::sec(time.as_bytes()).ok_or_else(invalid)? * 1000;
                }
                _ => return Err(invalid()),
            }
        }
        service_can_be_found(&line)?;
        Ok(line)
    }

    /// A server as it is without parameters.
    pub(super) fn of(target: Target, text: String, span: Span) -> ServerLine {
        ServerLine {
            target,
            text,
            weight: 1,
            max_fails: 1,
            fail_timeout: 10_000,
            max_conns: 0,
            down: false,
            draining: false,
            route: None,
            backup: false,
            resolve: false,
            service: None,
            counts: None,
            span,
        }
    }

    /// Whether its name is looked up while it serves.
    pub(super) fn is_named(&self) -> bool {
        self.resolve && self.target.literal(80).is_none()
    }

    /// Makes a server that is not found one that is looked up while the gateway serves; the warning that tells so.
    pub(super) fn look_up_later_if_missing(&mut self, port: u16) -> Option<Diagnostic> {
        if self.is_named() || self.target.addresses(port).is_ok_and(|found| !found.is_empty()) {
            return None;
        }
        self.resolve = true;
        let sentence = format!(
            "host not found in upstream \"{}\": it is asked of the resolver, and until it is found requests are answered \
             with 502",
            self.target.host
        );
        let remedy =
            "check the name; where it may come later, say so: `server NAME resolve;` in an upstream block";
        Some(Diagnostic::at(self.span, sentence).warning().instead(remedy.to_owned()))
    }

    /// The server at an address.
    pub(super) fn peer(&self, address: Address) -> Peer {
        Peer {
            id: 0,
            server: self.text.clone(),
            name: address.to_string().into(),
            address,
            weight: self.weight,
            max_fails: self.max_fails,
            fail_timeout: self.fail_timeout,
            max_conns: self.max_conns,
            down: self.down,
            draining: self.draining,
            sid: self.route.clone().unwrap_or_default(),
            counts: self.counts.clone(),
        }
    }

    /// Counts from now on what its servers, whichever they are found to be, are asked: clients and DNS make no labels.
    pub(super) fn count(&mut self, metrics: &Metrics, group: &str) {
        self.counts = Some(Arc::new(PeerCounts::new(metrics, group, &self.label())));
    }

    /// As numbers name it: as written, behind the service that is looked up.
    fn label(&self) -> String {
        match &self.service {
            Some(service) => format!("{service}.{}", self.text),
            None => self.text.clone(),
        }
    }

    /// What there is to show of it, where it is counted.
    pub(super) fn shown(&self) -> Option<(String, u32, Arc<PeerCounts>)> {
        Some((self.label(), self.max_conns, self.counts.clone()?))
    }
}

/// Whether a line that names a service says all that is needed to find it.
fn service_can_be_found(line: &ServerLine) -> Result<(), Diagnostic> {
    let wrong = match &line.service {
        Some(_) if !line.resolve => "requires \"resolve\" parameter",
        Some(_) if line.target.port.is_some() => "may not have port",
        Some(_) if line.target.literal(80).is_some() => "requires domain name",
        _ => return Ok(()),
    };
    Err(Diagnostic::at(line.span, format!("service upstream \"{}\" {wrong}", line.text)))
}

/// The addresses of a host, at least one.
pub(super) fn look_up(target: &Target, port: u16, span: Span) -> Result<Vec<Address>, Diagnostic> {
    let found = target.addresses(port).unwrap_or_default();
    if found.is_empty() {
        let sentence = format!("host not found in upstream \"{}\"", target.host);
        return Err(Diagnostic::at(span, sentence).instead(
            "check the name, or write an address: names are looked up when the configuration is read; to start \
             without it, write a `resolver` in the http block"
                .to_owned(),
        ));
    }
    Ok(found)
}
