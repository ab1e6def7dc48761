//! `ngx_http_headers_filter_module`: adds fields and trailers to responses, and says how long they may be cached.

mod expires;

use conf::Arg::{Choice, Optional, Text};
use conf::{Diagnostic, Node};
use wire::Name;

pub use expires::Expires;

use crate::compile::Compiler;
use crate::directives;
use crate::exchange::Exchange;
use crate::fields::Joined;
use crate::module::{Module, Settings};
use crate::plan::Filter;
use crate::variables::Template;

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_headers_filter_module",
    directives: directives! { HeadersSettings;
        /// Adds a field to responses with status 200, 201, 204, 206, 301, 302, 303, 304, 307 or 308, with `always` to
        /// all. An empty value adds none. A block with its own `add_header` has none of the enclosing block's, unless
        /// `add_header_inherit merge` says so.
        "add_header" in [HTTP SERVER LOCATION IF_IN_LOCATION] (Text("name"), Text("value"), Optional(&Text("always"))) = "" => |c, cx, n| {
            let line = line(n, cx)?;
            c.fields.lines.push(line);
            Ok(())
        };
        /// Adds a field behind the body of responses with status 200, 201, 204, 206, 301, 302, 303, 304, 307 or 308,
        /// with `always` to all.
        "add_trailer" in [HTTP SERVER LOCATION IF_IN_LOCATION] (Text("name"), Text("value"), Optional(&Text("always"))) = "" => |c, cx, n| {
            let line = line(n, cx)?;
            c.trailers.lines.push(line);
            Ok(())
        };
        /// How `add_header` is inherited: where the block has none of its own (`on`), never (`off`), or in addition to
        /// the block's own (`merge`).
        "add_header_inherit" in [HTTP SERVER LOCATION IF_IN_LOCATION] (Choice(&["on", "off", "merge"])) = "on" => |c, _, n| {
            conf::once(&mut c.fields.inherit, inherit(n)?, n)
        };
        /// How `add_trailer` is inherited: where the block has none of its own (`on`), never (`off`), or in addition to
        /// the block's own (`merge`).
        "add_trailer_inherit" in [HTTP SERVER LOCATION IF_IN_LOCATION] (Choice(&["on", "off", "merge"])) = "on" => |c, _, n| {
            conf::once(&mut c.trailers.inherit, inherit(n)?, n)
        };
        /// Sets `Expires` and `Cache-Control: max-age`: a time from now, a time after the last change (`modified`), a
        /// time of the day (`@15h30m`), `epoch`, `max` or `off`; may contain variables.
        "expires" in [HTTP SERVER LOCATION IF_IN_LOCATION] (Optional(&Text("modified")), Text("time | epoch | max | off")) = "off" => |c, cx, n| {
            let expires = Expires::compile(n, cx)?;
            conf::once(&mut c.expires, expires, n)
        };
    },
    variables: &[],
    plan: |_, scope, plan| {
        let settings = scope.get_mut::<HeadersSettings>();
        let expires = settings.expires.clone().unwrap_or(Expires::Off);
        let (fields, trailers) = (settings.fields.lines.clone(), settings.trailers.lines.clone());
        if !fields.is_empty() || !trailers.is_empty() || expires != Expires::Off {
            plan.filters.push(Filter::Headers(Headers { fields, expires }));
            plan.trailers = trailers;
        }
        Ok(())
    },
};

#[derive(Clone, Default)]
struct HeadersSettings {
    fields: Lines,
    trailers: Lines,
    expires: Option<Expires>,
}

impl Settings for HeadersSettings {
    fn inherit(&mut self, outer: &Self) {
        self.fields.inherit(&outer.fields);
        self.trailers.inherit(&outer.trailers);
        if self.expires.is_none() {
            self.expires.clone_from(&outer.expires);
        }
    }
}

#[derive(Clone, Default)]
struct Lines {
    lines: Vec<Line>,
    inherit: Option<Inherit>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Inherit {
    #[default]
    On,
    Off,
    Merge,
}

impl Lines {
    fn inherit(&mut self, outer: &Self) {
        self.inherit = self.inherit.or(outer.inherit);
        let how = self.inherit.unwrap_or_default();
        if how == Inherit::Merge || (how == Inherit::On && self.lines.is_empty()) {
            self.lines.extend_from_slice(&outer.lines);
        }
    }
}

/// A field that is added.
#[derive(Clone)]
pub struct Line {
    name: Vec<u8>,
    id: Name,
    value: Template,
    /// With every status.
    always: bool,
}

fn line(node: &Node, cx: &mut Compiler) -> Result<Line, Diagnostic> {
    let name = node.bytes(0).to_vec();
    let value = Template::compile(node.word(1)?, &mut cx.variables)?;
    if let Some(word) = node.args.get(2).filter(|word| word.text != b"always") {
        return Err(Diagnostic::at(word.span, format!("invalid parameter \"{}\"", word.lossy())));
    }
    Ok(Line { id: Name::of(&name), name, value, always: node.args.len() > 2 })
}

fn inherit(node: &Node) -> Result<Inherit, Diagnostic> {
    node.choice(0, &[("on", Inherit::On), ("off", Inherit::Off), ("merge", Inherit::Merge)])
}

/// What a location adds to the heads of its responses.
pub struct Headers {
    fields: Vec<Line>,
    expires: Expires,
}

impl Headers {
    /// Adds what belongs to the response's status.
    pub fn apply(&self, ex: &mut Exchange<'_>) {
        if !ex.is_main() {
            return;
        }
        let safe = is_safe(ex.response.status);
        if safe {
            self.expires.apply(ex);
        }
        for line in self.fields.iter().filter(|line| safe || line.always) {
            match line.cookies(ex) {
                Some(cookies) => cookies.pieces().for_each(|cookie| line.add(ex, cookie)),
                None => {
                    let value = line.value.eval(ex);
                    line.add(ex, &value);
                }
            }
        }
        ex.response.adds_trailers = ex.plan.trailers.iter().any(|line| safe || line.always);
    }
}

impl Line {
    /// Several cookies that a variable holds: each is a field of its own.
    fn cookies(&self, ex: &Exchange<'_>) -> Option<Joined> {
        if self.id != Name::SetCookie { None } else { ex.joined(self.value.as_variable()?) }
    }

    fn add(&self, ex: &mut Exchange<'_>, value: &[u8]) {
        let fields = &mut ex.response.fields;
        match self.id {
            // There is one of these at most, and filters that follow read them.
            Name::LastModified | Name::ETag => {
                if self.id == Name::LastModified {
                    let time = wire::date::parse(value).and_then(|t| i64::try_from(t).ok());
                    ex.response.last_modified = time;
                }
                if value.is_empty() {
                    fields.hide_known(self.id);
                } else {
                    fields.set_in_place(self.id, &self.name, value);
                }
            }
            _ if value.is_empty() => {}
            Name::CacheControl | Name::Link => fields.add_bytes(&self.name, value),
            _ => fields.add_beside(&self.name, value),
        }
    }
}

/// The trailers that `add_trailer` puts behind the body, now that it has ended.
pub fn append_trailers(ex: &Exchange<'_>, out: &mut Vec<u8>) {
    let safe = is_safe(ex.response.status);
    for line in ex.plan.trailers.iter().filter(|line| safe || line.always) {
        let start = out.len();
        out.extend_from_slice(&line.name);
        out.extend_from_slice(b": ");
        let value = out.len();
        line.value.append(ex, out);
        if out.len() == value {
            out.truncate(start);
        } else {
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Whether any trailer belongs to the response's status.
fn is_safe(status: u16) -> bool {
    matches!(status, 200 | 201 | 204 | 206 | 301 | 302 | 303 | 304 | 307 | 308)
}
