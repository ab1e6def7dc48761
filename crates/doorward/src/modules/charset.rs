//! `ngx_http_charset_filter_module`: says in `Content-Type` which charset a text is in. Texts are not translated.

use conf::Arg::{Many, Text};
use conf::once;
use wire::Name;

use crate::exchange::Exchange;
use crate::media_types::MediaTypes;
use crate::module::Module;
use crate::plan::Filter;
use crate::variables::Template;
use crate::{directives, settings};

/// Types of texts, where the configuration names none.
const TEXTS: [&str; 6] = [
    "text/html",
    "text/xml",
    "text/plain",
    "text/vnd.wap.wml",
    "application/javascript",
    "application/rss+xml",
];

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_charset_filter_module",
    directives: directives! { CharsetSettings;
        /// The charset that texts are in, for their `Content-Type`; `off` says nothing.
        "charset" in [HTTP SERVER LOCATION IF_IN_LOCATION] (Text("charset | off")) = "off" => |c, cx, n| {
            let word = n.word(0)?;
            let charset = if word.text == b"off" { None } else { Some(Template::compile(word, &mut cx.variables)?) };
            once(&mut c.charset, charset, n)
        };
        /// Responses of which types are texts, besides `text/html`; `*` for all.
        "charset_types" in [HTTP SERVER LOCATION] (Many(&Text("mime-type")))
            = "text/html text/xml text/plain text/vnd.wap.wml application/javascript application/rss+xml" => |c, cx, n| {
            c.types.get_or_insert_with(MediaTypes::html).add(n, cx)
        };
    },
    variables: &[],
    plan: |_, scope, plan| {
        let Values { charset, types } = scope.get_mut::<CharsetSettings>().settle();
        if let Some(charset) = charset {
            plan.filters.push(Filter::Charset(Box::new(Charset { charset, types })));
        }
        Ok(())
    },
};

settings! {
    /// Which charset texts are in.
    CharsetSettings => Values {
        /// Its name; `None` says nothing.
        charset: Option<Template> = None;
        /// What are texts.
        types: MediaTypes = MediaTypes::of(&TEXTS);
    }
}

/// `charset` of a location, ready to run.
pub struct Charset {
    charset: Template,
    types: MediaTypes,
}

impl Charset {
    /// Adds the charset to a text's type, where none is said. Redirections have none, as in nginx.
    pub fn apply(&self, ex: &mut Exchange<'_>) {
        if matches!(ex.response.status, 301 | 302) {
            return;
        }
        let Some(said) = ex.response.fields.get(Name::ContentType) else { return };
        if said.is_empty() || said.contains(&b';') || !self.types.contain(said) {
            return;
        }
        let charset = self.charset.eval(ex);
        if !charset.is_empty() {
            let with = [said, b"; charset=", &charset].concat();
            ex.response.fields.set_in_place(Name::ContentType, b"Content-Type", &with);
        }
    }
}
