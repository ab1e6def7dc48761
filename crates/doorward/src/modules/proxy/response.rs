//! The answer of a server: what of its head the client sees, and what it asks of this server.

use wire::Name;
use wire::h1::{Method, ResponseHead};

use super::attempt::Question;
use super::body::{Leased, Pace, RateLimit, UpstreamBody};
use super::{Proxy, Tunnel};
use crate::body::Body;
use crate::boxed::boxed;
use crate::error_pages::split_args;
use crate::exchange::Exchange;
use crate::field_names::FieldNames;
use crate::log::Level;
use crate::run::Stop;

/// What is hidden unless `proxy_pass_header` says otherwise.
const HIDDEN: [&str; 8] = [
    "Date",
    "Server",
    "X-Pad",
    "X-Accel-Expires",
    "X-Accel-Redirect",
    "X-Accel-Limit-Rate",
    "X-Accel-Buffering",
    "X-Accel-Charset",
];

/// What belongs to one connection, and is made anew for the client's.
const NEVER_PASSED: [Name; 4] =
    [Name::Connection, Name::KeepAlive, Name::TransferEncoding, Name::ContentLength];

/// The fields of answers that the client does not see, with what `proxy_hide_header` adds and `proxy_pass_header` takes
/// away.
pub fn hidden(hide: &[Vec<u8>], pass: &[Vec<u8>]) -> FieldNames {
    let mut hidden = FieldNames::default();
    for name in HIDDEN.iter().map(|n| n.as_bytes()).chain(hide.iter().map(Vec::as_slice)) {
        if !pass.iter().any(|p| p.eq_ignore_ascii_case(name)) {
            hidden.insert(name);
        }
    }
    for id in NEVER_PASSED {
        hidden.insert_known(id);
    }
    hidden
}

/// A head that a server answered, with what came behind it.
pub(super) struct Answer {
    pub leased: Leased,
    pub bytes: Vec<u8>,
}

impl Proxy {
    /// Takes an answer as this request's own, unless its fields or this server's settings send it elsewhere.
    pub(super) async fn accept(
        &self,
        ex: &mut Exchange<'_>,
        question: &Question<'_>,
        head: &ResponseHead,
        answer: Answer,
    ) -> Result<Body, Stop> {
        let Answer { mut leased, mut bytes } = answer;
        let visit = ex.visit;
        let head_len = (head.head_len as usize).min(bytes.len());
        let mut raw = Vec::new();
        if head_len < bytes.len() {
            raw = visit.worker.buffers.take(bytes.len() - head_len);
            raw.extend_from_slice(&bytes[head_len..]);
            bytes.truncate(head_len);
        }
        let trailers = self.values.pass_trailers.then_some(self.values.buffer_size as usize);
        let decoder = head.body(question.is_head, trailers);
        let stored = self.cache.as_ref().and_then(|cache| cache.instead(ex, head, &bytes));
        if stored.is_none() {
            self.take_head(ex, head, bytes);
            leased.lease.answered(ex);
        }
        if head.upgrade && ex.request_field(Name::Upgrade).is_some() {
            ex.cache.open = None;
            return self.switch(ex, leased, raw);
        }
        let received = (head_len + raw.len()) as u64;
        let mut body = match leased.settle(&decoder, &mut raw, ex) {
            None if self.cache.is_none() => Body::Answered(raw),
            leased => {
                let pace = self.pace(ex, received);
                Body::Upstream(boxed(|| UpstreamBody::new(leased, decoder, raw, pace)))
            }
        };
        if let Some((entry, stored)) = stored {
            discard(&mut body, ex).await;
            return self.take_stored(ex, &entry, stored);
        }
        if let Some(stop) = self.elsewhere(ex) {
            if let (Some(cache), Stop::Status(_)) = (&self.cache, &stop) {
                cache.intercepted(ex, head);
            }
            ex.cache.open = None;
            discard(&mut body, ex).await;
            ex.upstream.next_handler();
            return Err(stop);
        }
        // Who passes the upstream's own on does not want this server's in their place.
        ex.response.no_date = !self.hidden.contains(Name::Date, b"");
        ex.response.no_server = !self.hidden.contains(Name::Server, b"");
        Ok(match (body, &self.cache, &self.store) {
            (Body::Upstream(body), Some(cache), _) => cache.admit(ex, head, body),
            // Of an answer without its body nothing can be served.
            (body, None, Some(store)) if !question.is_head => store.admit(ex, body),
            (body, ..) => body,
        })
    }

    fn pace(&self, ex: &Exchange<'_>, received: u64) -> Pace {
        let limit = self.values.limit_rate.as_ref().and_then(|rate| conf::value::size(&rate.eval(ex)));
        Pace {
            read_timeout: self.values.read_timeout,
            ignore_client_abort: !self.heeds_client(ex),
            limit: limit.filter(|rate| *rate > 0).map(|rate| RateLimit::new(rate, received)),
            ahead: (!ex.response.unbuffered).then_some(self.ahead),
        }
    }

    /// The server has changed the protocol as the client asked for it.
    fn switch(&self, ex: &mut Exchange<'_>, leased: Leased, ahead: Vec<u8>) -> Result<Body, Stop> {
        if !ex.is_main() {
            ex.log(Level::Error, format_args!("connection upgrade in subrequest"));
            return Err(Stop::Status(502));
        }
        let Leased { connection, lease, .. } = leased;
        let (read_timeout, send_timeout) = (self.values.read_timeout, self.values.send_timeout);
        Ok(Body::Tunnel(Box::new(Tunnel::new(connection, lease, ahead, read_timeout, send_timeout))))
    }

    /// `X-Accel-Redirect`, and `proxy_intercept_errors` where there is a page for the status.
    pub(in crate::modules) fn elsewhere(&self, ex: &mut Exchange<'_>) -> Option<Stop> {
        if !self.ignores(b"x-accel-redirect")
            && ex.is_main()
            && let Some(target) = ex.response.fields.upstream_value(Name::XAccelRedirect)
        {
            let target = target.to_vec();
            self.keep_fields_for_redirect(ex);
            if target.starts_with(b"@") {
                return Some(Stop::Named(target));
            }
            let mut decoded = Vec::new();
            let Ok(args) = wire::uri::unsafe_uri(&target, &mut decoded) else {
                return Some(Stop::Status(404));
            };
            let args = args.map(<[u8]>::to_vec);
            split_args(&decoded, ex);
            ex.uri = decoded;
            ex.args = args.unwrap_or_default();
            if ex.method != Method::Head {
                ex.method = Method::Get;
            }
            return Some(Stop::Redirect);
        }
        let status = ex.response.status;
        if self.values.intercept_errors
            && status >= 300
            && ex.plan.core.error_pages.find(status).is_some()
            && !ex.error_page
        {
            let challenges: Vec<Vec<u8>> = ex
                .response
                .fields
                .visible()
                .filter(|(id, ..)| status == 401 && *id == Name::WwwAuthenticate)
                .map(|(_, _, value)| value.to_vec())
                .collect();
            ex.response.fields.hide_upstream();
            for challenge in challenges {
                ex.response.fields.add("WWW-Authenticate", &challenge);
            }
            ex.response.content_length = None;
            ex.response.last_modified = None;
            ex.response.status_line = wire::Range::default();
            return Some(Stop::Status(status));
        }
        None
    }

    /// An internal redirect keeps of the answer what describes the response rather than the redirect.
    fn keep_fields_for_redirect(&self, ex: &mut Exchange<'_>) {
        const KEPT: [Name; 6] = [
            Name::SetCookie,
            Name::ContentType,
            Name::CacheControl,
            Name::Expires,
            Name::AcceptRanges,
            Name::ContentDisposition,
        ];
        let fields = &mut ex.response.fields;
        let kept: Vec<(Vec<u8>, Vec<u8>)> = fields
            .visible()
            .filter(|(id, ..)| KEPT.contains(id))
            .map(|(_, name, value)| (name.to_vec(), value.to_vec()))
            .collect();
        fields.hide_upstream();
        for (name, value) in kept {
            fields.add_bytes(&name, &value);
        }
        ex.response.content_length = None;
        ex.response.last_modified = None;
        ex.response.status = 0;
        ex.response.status_line = wire::Range::default();
    }
    /// Takes the head of an answer as the exchange's own; `bytes` start with it.
    pub(in crate::modules) fn take_head(&self, ex: &mut Exchange<'_>, head: &ResponseHead, bytes: Vec<u8>) {
        let response = &mut ex.response;
        response.fields.adopt(bytes, &head.fields);
        response.status = head.status;
        response.status_line = head.status_line;
        response.content_length = head.content_length;
        response.last_modified = None;
        response.fields.hide_where(|id, name| self.hidden.contains(id, name));
        response.disable_not_modified = true;
        if self.values.force_ranges {
            response.fields.hide_known(Name::AcceptRanges);
            response.allow_ranges = true;
            response.single_range = true;
        }
        if let Some(time) = response.fields.get(Name::LastModified).and_then(wire::date::parse) {
            response.last_modified = i64::try_from(time).ok();
        }
        self.rewrites.apply(ex);
        let response = &mut ex.response;
        response.unbuffered = !self.values.buffering;
        if !self.ignores(b"x-accel-buffering") {
            match ex.response.fields.upstream_value(Name::XAccelBuffering) {
                Some(value) if value.eq_ignore_ascii_case(b"no") => ex.response.unbuffered = true,
                Some(value) if value.eq_ignore_ascii_case(b"yes") => ex.response.unbuffered = false,
                _ => {}
            }
        }
        if !self.ignores(b"x-accel-limit-rate")
            && let Some(rate) = ex.response.fields.upstream_value(Name::XAccelLimitRate)
            && let Some(rate) = conf::value::size(rate)
        {
            ex.limit_rate = Some(rate);
        }
    }

    /// Whether a field has no effect here.
    pub(super) fn ignores(&self, name: &[u8]) -> bool {
        self.values.ignore_headers.iter().any(|ignored| ignored == name)
    }
}

/// Reads a short rest of an answer that nobody wants, so that its connection is kept.
async fn discard(body: &mut Body, ex: &mut Exchange<'_>) {
    if let Body::Upstream(body) = body {
        body.discard(ex).await;
    }
}
