//! The protocols that cases are run over: what becomes of their configuration, and which cases one of them has no words
//! for.

use std::collections::BTreeMap;

use crate::case::{Case, Step};
use crate::request::{Part, Reader, proxy_header};

/// Files of the server's folder where cases are run over TLS.
pub(crate) const CERTIFICATE: &str = "tls.pem";
pub(crate) const KEY: &str = "tls.key";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Over {
    /// As the case is written.
    #[default]
    Http1,
    /// The same requests over HTTP/2 with prior knowledge.
    Http2,
    /// The same bytes over TLS.
    Tls,
}

impl Over {
    pub(crate) const ALL: [Over; 3] = [Over::Http1, Over::Http2, Over::Tls];

    /// As cases and the names of tests call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Over::Http1 => "HTTP/1",
            Over::Http2 => "HTTP/2",
            Over::Tls => "TLS",
        }
    }

    /// The configuration of a case with what this needs.
    pub(crate) fn configuration(self, text: &str) -> String {
        match self {
            Over::Http1 => text.to_owned(),
            Over::Http2 => text.replacen("http {", "http { http2 on;", 1),
            Over::Tls => {
                let begin =
                    format!("http {{ ssl_certificate %dir%/{CERTIFICATE}; ssl_certificate_key %dir%/{KEY};");
                let text = text.replacen("http {", &begin, 1);
                let mut parts = text.split("listen ");
                let mut with = parts.next().unwrap_or_default().to_owned();
                for part in parts {
                    let directive = with.ends_with(|c: char| c.is_ascii_whitespace() || "{;".contains(c));
                    with += "listen ";
                    match part.split_once(';').filter(|_| directive) {
                        Some((arguments, rest)) => with += &format!("{arguments} ssl;{rest}"),
                        None => with += part,
                    }
                }
                with
            }
        }
    }

    /// Why the case is not run over this; nothing where it is.
    pub(crate) fn cannot(self, case: &Case) -> Option<String> {
        if self == Over::Http1 {
            return None;
        }
        if let Some((_, reason)) = case.not_over.iter().find(|(over, _)| over == self.name()) {
            return Some(reason.clone());
        }
        if !case.asks() {
            return Some("no request".to_owned());
        }
        let configuration = case.configuration();
        if ["http2 on", "ssl_certificate ", " ssl;"].iter().any(|own| configuration.contains(own)) {
            return Some("a configuration of its own".to_owned());
        }
        if self.configuration(&configuration) == configuration
            || (self == Over::Tls && !case.hosts().is_empty())
        {
            return Some("a configuration that says nothing of it".to_owned());
        }
        match self {
            Over::Http1 => None,
            Over::Http2 => not_in_http2(case),
            Over::Tls => case.steps.iter().find_map(|step| match step {
                Step::Shutdown => Some("half of the connection closed".to_owned()),
                Step::Send(bytes) if proxy_header(bytes).is_none() => {
                    Some("a header of the PROXY protocol in pieces".to_owned())
                }
                _ => None,
            }),
        }
    }
}

/// Says how many cases are run over what and why others are not; fails where those are too many.
pub(crate) fn most(cases: &[Case]) -> Result<(), String> {
    let mut said = String::new();
    let mut few = false;
    for over in Over::ALL {
        let mut reasons = BTreeMap::new();
        for reason in cases.iter().filter_map(|case| over.cannot(case)) {
            *reasons.entry(reason).or_insert(0) += 1;
        }
        let run = cases.len() - reasons.values().sum::<usize>();
        said += &format!("over {}: {run} of {} cases\n", over.name(), cases.len());
        said.extend(reasons.iter().map(|(reason, count)| format!("    {count} not: {reason}\n")));
        let ask = cases.iter().filter(|case| case.asks()).count();
        few |= run * 10 < ask * 8;
    }
    println!("{said}");
    if few { Err(format!("less than four of five that ask something:\n{said}")) } else { Ok(()) }
}

fn not_in_http2(case: &Case) -> Option<String> {
    let mut reader = Reader::default();
    let mut unread = false;
    for step in &case.steps {
        match step {
            Step::Ask { bytes, .. } | Step::Send(bytes) => {
                if unread && reader.is_between() {
                    return Some("requests in a row".to_owned());
                }
                match reader.read(bytes) {
                    Err(reason) => return Some(reason),
                    Ok(parts) if parts.iter().filter(|part| part.is_head()).count() > 1 => {
                        return Some("requests in a row".to_owned());
                    }
                    Ok(parts) => unread |= parts.iter().any(Part::is_head),
                }
                if let Step::Ask { .. } = step {
                    unread = false;
                }
            }
            Step::Read { .. } => unread = false,
            Step::ReadAll | Step::ReadInterim => return Some("bytes of HTTP/1 in the answer".to_owned()),
            Step::Shutdown => return Some("half of the connection closed".to_owned()),
            Step::Connect(_) => {
                if !reader.is_between() {
                    return Some("a head that is cut off".to_owned());
                }
                reader = Reader::default();
                unread = false;
            }
            _ => {}
        }
    }
    None
}
