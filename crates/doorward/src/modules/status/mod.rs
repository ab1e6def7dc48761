//! `status`: what this server does at the moment, for people as a page and for programs as JSON.

mod bans;
mod json;

pub use bans::Bans;

use wire::Name;
use wire::h1::Method;

use crate::body::Body;
use crate::directives;
use crate::exchange::Exchange;
use crate::module::{Module, Settings};
use crate::modules::static_files::set_content_type;
use crate::plan::Content;
use crate::random;
use crate::run::Stop;

/// The page: it asks for the JSON of its own address every second, and shows what changed.
const PAGE: &str = include_str!("page.html");

/// The module's tables.
pub static MODULE: Module = Module {
    name: "doorward_status_module",
    directives: directives! { StatusSettings;
        /// Answers with a page that shows what the server does at the moment: authentication, who is banned, servers,
        /// upstreams, caches, limits, connections. `?format=json`, or an `Accept` that names `application/json`, gets
        /// the same as JSON (docs/status.md). Doorward's own directive; NGINX Plus had another one of this name. Nothing is
        /// counted in a configuration without it or `prometheus`. Let only those in who may see it.
        "status" in [SERVER LOCATION] () = "" => |c, cx, _| {
            c.on = true;
            cx.measures = true;
            Ok(())
        };
    },
    variables: &[],
    plan: |_, scope, plan| {
        if scope.get_mut::<StatusSettings>().on {
            plan.content = Content::Status;
        }
        Ok(())
    },
};

#[derive(Default)]
struct StatusSettings {
    on: bool,
}

impl Settings for StatusSettings {
    fn inherit(&mut self, _: &Self) {}
    fn inherit_inside(&mut self, location: &Self) {
        self.on |= location.on;
    }
}

/// Answers with the page or the JSON.
pub fn run(ex: &mut Exchange<'_>) -> Result<Body, Stop> {
    if !matches!(ex.method, Method::Get | Method::Head) {
        return Err(Stop::Status(405));
    }
    let fields = &mut ex.response.fields;
    fields.set("Cache-Control", b"no-store");
    fields.set("Vary", b"Accept");
    fields.set("X-Content-Type-Options", b"nosniff");
    let bytes = if wants_json(ex) {
        set_content_type(ex, b"application/json");
        json::of(ex)
    } else {
        // Only what stands in the page itself may run, and it may ask nobody else.
        let nonce: String = random::bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect();
        let policy = format!(
            "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        ex.response.fields.set("Content-Security-Policy", policy.as_bytes());
        set_content_type(ex, b"text/html; charset=utf-8");
        PAGE.replace("NONCE", &nonce).into_bytes()
    };
    ex.response.status = 200;
    ex.response.content_length = Some(bytes.len() as u64);
    Ok(Body::Bytes(bytes))
}

fn wants_json(ex: &Exchange<'_>) -> bool {
    match wire::uri::arg(&ex.args, b"format") {
        Some(format) => format == b"json",
        None => ex
            .request_field(Name::Accept)
            .is_some_and(|accept| accept.to_ascii_lowercase().starts_with(b"application/json")),
    }
}
