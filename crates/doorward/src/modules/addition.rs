//! `ngx_http_addition_module`: puts the answers of other locations before and behind a response's body.

use conf::Arg::{Many, Text};
use conf::once;
use wire::Name;

use crate::body::Body;
use crate::exchange::Exchange;
use crate::included::Included;
use crate::media_types::MediaTypes;
use crate::module::Module;
use crate::plan::Filter;
use crate::{directives, settings};

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_addition_module",
    directives: directives! { AdditionSettings;
        /// Puts what `uri` answers before the body; an empty `uri` puts nothing there.
        "add_before_body" in [HTTP SERVER LOCATION] (Text("uri")) = "" => |c, _, n| {
            once(&mut c.before, n.bytes(0).to_vec(), n)
        };
        /// Puts what `uri` answers behind the body; an empty `uri` puts nothing there.
        "add_after_body" in [HTTP SERVER LOCATION] (Text("uri")) = "" => |c, _, n| {
            once(&mut c.after, n.bytes(0).to_vec(), n)
        };
        /// Responses of which types get additions, besides `text/html`; `*` for all.
        "addition_types" in [HTTP SERVER LOCATION] (Many(&Text("mime-type"))) = "text/html" => |c, cx, n| {
            c.types.get_or_insert_with(MediaTypes::html).add(n, cx)
        };
    },
    variables: &[],
    plan: |_, scope, plan| {
        let values = scope.get_mut::<AdditionSettings>().settle();
        if !values.before.is_empty() || !values.after.is_empty() {
            plan.filters.push(Filter::Addition(Box::new(values)));
        }
        Ok(())
    },
};

settings! {
    /// What a location adds to bodies.
    AdditionSettings => Addition {
        /// What is asked for the part before the body; empty for none.
        before: Vec<u8> = Vec::new();
        /// What is asked for the part behind it; empty for none.
        after: Vec<u8> = Vec::new();
        /// The types of the responses.
        types: MediaTypes = MediaTypes::html();
    }
}

impl Addition {
    /// Puts a client's body between its additions. How long it will be is not known then, nor are parts of it served.
    pub fn apply(&self, ex: &mut Exchange<'_>, body: Body) -> Body {
        let is_main = ex.is_main();
        let head = &mut ex.response;
        if head.status != 200 || !is_main {
            return body;
        }
        if !head.fields.get(Name::ContentType).is_some_and(|media_type| self.types.contain(media_type)) {
            return body;
        }
        head.content_length = None;
        head.allow_ranges = false;
        head.fields.hide_known(Name::AcceptRanges);
        head.fields.weaken_etag();
        let part = |uri: &[u8]| match uri {
            b"" => Body::Empty,
            uri => Body::Included(Box::new(Included::new(uri.to_vec()))),
        };
        Body::Parts([part(&self.before), body, part(&self.after)].into())
    }
}
