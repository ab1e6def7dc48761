//! The request to a FastCGI server: its parameters.

use std::collections::HashSet;

use wire::Name;
use wire::fastcgi::{self, Stream};

use super::FastCgi;
use crate::exchange::Exchange;
use crate::modules::otel;
use crate::plan::Content;
use crate::request_fields::RequestFields;
use crate::variables::Row;

pub(super) const VARIABLES: &[Row] = &[
    Row::fresh("fastcgi_script_name", |ex, out| {
        match split(ex) {
            Some((script, _)) => out.extend_from_slice(&script),
            None => {
                out.extend_from_slice(&ex.uri);
                if ex.uri.ends_with(b"/")
                    && let Content::FastCgi(fastcgi) = &ex.plan.content
                {
                    out.extend_from_slice(&fastcgi.values.index);
                }
            }
        }
        true
    }),
    Row::fresh("fastcgi_path_info", |ex, out| {
        if let Some((_, info)) = split(ex) {
            out.extend_from_slice(&info);
        }
        true
    }),
];

/// The two groups of `fastcgi_split_path_info`, where it matches.
fn split(ex: &Exchange<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    let Content::FastCgi(fastcgi) = &ex.plan.content else { return None };
    let captures = fastcgi.values.split.as_ref()?.captures(ex, &ex.uri)?;
    let group = |n| captures.get(n).unwrap_or_default().to_vec();
    Some((group(1), group(2)))
}

impl FastCgi {
    /// Appends the start of the request and all of its parameters.
    pub(super) fn append_params(&self, ex: &mut Exchange<'_>, out: &mut Vec<u8>) {
        let mut params = Vec::with_capacity(1024);
        let mut set = HashSet::new();
        for param in &self.params {
            set.insert(&*param.name);
            let value = param.value.eval(ex);
            if !(value.is_empty() && param.if_not_empty) {
                fastcgi::param(&param.name, &value, &mut params);
            }
        }
        if let Some(trace) = otel::carried(ex) {
            let parent = trace.parent_field(ex);
            for (name, value) in
                [(&b"HTTP_TRACEPARENT"[..], &*parent), (b"HTTP_TRACESTATE", trace.state_field())]
            {
                if set.insert(name) && !value.is_empty() {
                    fastcgi::param(name, value, &mut params);
                }
            }
        }
        let fields = RequestFields::of(ex);
        let client = self.values.pass_request_headers.then(|| fields.of_client());
        let copied = fields.copied().map(|(name, value)| (Name::Other, name, value));
        for (name, value) in as_params(client.into_iter().flatten().chain(copied)) {
            if !set.contains(&*name) {
                fastcgi::param(&name, &value, &mut params);
            }
        }
        fastcgi::begin(out);
        fastcgi::piece(Stream::Params, &params, out);
        fastcgi::end(Stream::Params, out);
    }
}

/// Fields as `HTTP_NAME`, those of one name joined.
fn as_params<'a>(all: impl Iterator<Item = (Name, &'a [u8], &'a [u8])>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for (id, name, value) in all {
        let name = name.iter().map(|b| match b {
            b'-' => b'_',
            b => b.to_ascii_uppercase(),
        });
        let name: Vec<u8> = b"HTTP_".iter().copied().chain(name).collect();
        match fields.iter_mut().find(|(known, _)| *known == name) {
            Some((_, joined)) => {
                joined.extend_from_slice(if id == Name::Cookie { b"; " } else { b", " });
                joined.extend_from_slice(value);
            }
            None => fields.push((name, value.to_vec())),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_one_name_are_one_parameter() {
        let fields = [
            (Name::Other, &b"X-User"[..], &b"ann"[..]),
            (Name::Cookie, b"Cookie", b"a=1"),
            (Name::Other, b"x_user", b"bob"),
            (Name::Cookie, b"cookie", b"b=2"),
        ];
        let params = as_params(fields.into_iter());
        let shown: Vec<_> = params
            .iter()
            .map(|(n, v)| (n.escape_ascii().to_string(), v.escape_ascii().to_string()))
            .collect();
        let wanted = [("HTTP_X_USER", "ann, bob"), ("HTTP_COOKIE", "a=1; b=2")];
        assert_eq!(shown, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
