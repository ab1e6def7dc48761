//! `auth_cache_purge`: forgets decisions on request.

use std::sync::Arc;

use conf::Arg::{Many, Text};
use conf::{Diagnostic, Node, Span};
use wire::h1::Method;

use super::settings::zone;
use super::store::Store;
use crate::body::Body;
use crate::compile::Compiler;
use crate::directives;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::module::{Module, Settings};
use crate::modules::static_files::set_content_type;
use crate::plan::Content;
use crate::run::Stop;
use crate::variables::Template;

/// The directive.
pub static MODULE: Module = Module {
    name: "ngx_http_auth_request_module",
    directives: directives! { PurgeSettings;
        /// Answers a POST, DELETE or PURGE by forgetting decisions of an `auth_request_cache`: `zone=NAME` and one of
        /// `key=STRING`, `user=STRING` and `all`. Doorward's own directive. `user` is what `user=` of the cache said of the
        /// answers. `key` is the operator's own key, or with `key=auto` a credential of the requests: the value of
        /// `Authorization`, with or without its scheme, of a cookie, or of another field of the client such as `X-API-Key`. The
        /// answer is `{"purged": N}`. An empty value is refused (400). Who may purge is for `allow` and `deny` to say.
        "auth_cache_purge" in [LOCATION] (Text("zone=name"), Many(&Text("key=string | user=string | all"))) = "" => |c, cx, n| {
            let line = read(n, cx)?;
            conf::once(&mut c.line, Arc::new(line), n)
        };
    },
    variables: &[],
    plan: |cx, scope, plan| {
        if let Some(line) = scope.get_mut::<PurgeSettings>().line.clone() {
            let store = zone(cx, &line.zone, line.span)?;
            plan.content = Content::AuthCachePurge(Purge { store, line });
        }
        Ok(())
    },
};

#[derive(Default)]
struct PurgeSettings {
    line: Option<Arc<Line>>,
}

impl Settings for PurgeSettings {
    fn inherit(&mut self, _: &Self) {}
    fn inherit_inside(&mut self, location: &Self) {
        if self.line.is_none() {
            self.line.clone_from(&location.line);
        }
    }
}

struct Line {
    zone: String,
    span: Span,
    what: What,
}

enum What {
    Key(Template),
    User(Template),
    All,
}

fn read(node: &Node, cx: &mut Compiler) -> Result<Line, Diagnostic> {
    let (first, second) = (node.word(0)?, node.word(1)?);
    let invalid =
        |word: &conf::Word| Diagnostic::at(word.span, format!("invalid parameter \"{}\"", word.lossy()));
    if let Some(more) = node.args.get(2) {
        return Err(invalid(more));
    }
    let zone = first.text.strip_prefix(b"zone=").ok_or_else(|| invalid(first))?;
    let zone = String::from_utf8_lossy(zone).into_owned();
    let mut template = |text: &[u8]| Template::of(text, Some(second), &mut cx.variables);
    let what = match &*second.text {
        b"all" => What::All,
        text => match (text.strip_prefix(b"key="), text.strip_prefix(b"user=")) {
            (Some(text), _) => What::Key(template(text)?),
            (_, Some(text)) => What::User(template(text)?),
            _ => return Err(invalid(second)),
        },
    };
    Ok(Line { zone, span: node.span, what })
}

/// The handler of a location.
pub struct Purge {
    store: Arc<Store>,
    line: Arc<Line>,
}

impl Purge {
    /// Forgets, and says how many decisions.
    pub fn run(&self, ex: &mut Exchange<'_>) -> Result<Body, Stop> {
        let method = ex.method;
        if !matches!(method, Method::Post | Method::Delete) && ex.method_text() != b"PURGE" {
            ex.response.fields.set("Allow", b"POST, DELETE, PURGE");
            return Err(Stop::Status(405));
        }
        let value = match &self.line.what {
            What::Key(text) | What::User(text) => Some(text.eval(ex)),
            What::All => None,
        };
        if value.as_ref().is_some_and(Vec::is_empty) {
            return Err(Stop::Status(400));
        }
        let purged = match (&self.line.what, value) {
            (What::Key(_), Some(key)) => {
                let mark = self.store.secret.mark(&key);
                self.store.purge(|decision| decision.marks.contains(&mark))
            }
            (What::User(_), Some(user)) => self.store.purge(|decision| decision.user == user),
            _ => self.store.purge(|_| true),
        };
        ex.log(
            Level::Notice,
            format_args!("{purged} auth decisions purged from zone \"{}\"", self.line.zone),
        );
        let text = format!("{{\"purged\": {purged}}}\n").into_bytes();
        ex.response.status = 200;
        ex.response.content_length = Some(text.len() as u64);
        set_content_type(ex, b"application/json");
        Ok(Body::Bytes(text))
    }
}
