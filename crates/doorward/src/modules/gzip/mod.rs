//! `ngx_http_gzip_filter_module`: bodies are compressed on their way to clients that take them so.

mod accepted;
mod body;

pub use body::Gzipping;

use std::sync::Arc;

use conf::Arg::{Choice, Flag, Many, Number, Size, Text};
use conf::{Diagnostic, once};
use wire::Name;
use wire::h1::{Method, Version};

use crate::body::Body;
use crate::exchange::Exchange;
use crate::media_types::MediaTypes;
use crate::module::Module;
use crate::modules::core::Browser;
use crate::plan::Filter;
use crate::regex::Pattern;
use crate::variables::Row;
use crate::{directives, settings};

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_gzip_filter_module",
    directives: directives! { GzipSettings;
        /// Compresses responses. Those that hold a secret beside what a client can have repeated let it be guessed from their
        /// length (BREACH); leave it off there.
        "gzip" in [HTTP SERVER LOCATION IF_IN_LOCATION] (Flag) = "off" => |c, _, n| once(&mut c.on, n.flag(0)?, n);
        /// How hard to try, from 1, the fastest, to 9.
        "gzip_comp_level" in [HTTP SERVER LOCATION] (Number) = "1" => |c, _, n| {
            let level = u32::try_from(n.number(0)?).unwrap_or(u32::MAX);
            if !(1..=9).contains(&level) {
                return Err(Diagnostic::at(n.span, "value must be between 1 and 9"));
            }
            once(&mut c.level, level, n)
        };
        /// A response that is known to be shorter is left as it is.
        "gzip_min_length" in [HTTP SERVER LOCATION] (Size) = "20" => |c, _, n| once(&mut c.min_length, n.size(0)?, n);
        /// Responses of which types are compressed, besides `text/html`; `*` for all.
        "gzip_types" in [HTTP SERVER LOCATION] (Many(&Text("mime-type"))) = "text/html" => |c, cx, n| {
            c.types.get_or_insert_with(MediaTypes::html).add(n, cx)
        };
    },
    variables: &[Row::fresh("gzip_ratio", |ex, out| body::append_ratio(ex.visit.gzipped.get(), out))],
    plan: |_, scope, plan| {
        let values = scope.get_mut::<GzipSettings>().settle();
        if values.on {
            let whom = scope.get_mut::<WhomSettings>().settle();
            plan.filters.push(Filter::Gzip(Box::new(Gzip { values, whom })));
        }
        Ok(())
    },
};

/// Who gets compressed responses.
pub static WHOM: Module = Module {
    name: "ngx_http_core_module",
    directives: directives! { WhomSettings;
        /// Clients whose `User-Agent` one of these patterns matches get none; `msie6` stands for old versions of Internet
        /// Explorer.
        "gzip_disable" in [HTTP SERVER LOCATION] (Many(&Text("regex"))) = "" => |c, cx, n| {
            let unserved = c.disabled.get_or_insert_default();
            for word in &n.args {
                match &*word.text {
                    b"msie6" => unserved.msie6 = true,
                    text => unserved.patterns.push(Arc::new(Pattern::compile(text, true, word, &mut cx.variables)?)),
                }
            }
            Ok(())
        };
        /// Clients that ask in an older version of HTTP get none.
        "gzip_http_version" in [HTTP SERVER LOCATION] (Choice(&["1.0", "1.1"])) = "1.1" => |c, _, n| {
            let version = n.choice(0, &[("1.0", Version::Http10), ("1.1", Version::Http11)])?;
            once(&mut c.least_version, version, n)
        };
        /// Which responses are compressed for clients behind a proxy, whose requests have a `Via` field: none (`off`), all
        /// (`any`), or those with `Expires` in the past (`expired`), with these words in `Cache-Control` (`no-cache`,
        /// `no-store`, `private`), without a `Last-Modified` or `ETag` field, or to requests with `Authorization` (`auth`).
        "gzip_proxied" in [HTTP SERVER LOCATION]
            (Many(&Choice(&["off", "expired", "no-cache", "no-store", "private", "no_last_modified", "no_etag", "auth", "any"])))
            = "off" => |c, _, n| {
            let words = [
                ("off", Proxied::Off),
                ("expired", Proxied::Expired),
                ("no-cache", Proxied::NoCache),
                ("no-store", Proxied::NoStore),
                ("private", Proxied::Private),
                ("no_last_modified", Proxied::NoLastModified),
                ("no_etag", Proxied::NoETag),
                ("auth", Proxied::Auth),
                ("any", Proxied::Any),
            ];
            once(&mut c.proxied, n.choices(&words)?, n)
        };
        /// Says `Vary: Accept-Encoding` where a response is compressed for some clients.
        "gzip_vary" in [HTTP SERVER LOCATION] (Flag) = "off" => |c, _, n| once(&mut c.vary, n.flag(0)?, n);
    },
    variables: &[],
    plan: |_, _, _| Ok(()),
};

/// Which responses clients behind a proxy get compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxied {
    Off,
    Expired,
    NoCache,
    NoStore,
    Private,
    NoLastModified,
    NoETag,
    Auth,
    Any,
}

/// Clients that get nothing compressed.
#[derive(Clone, Default)]
pub struct Disabled {
    /// Old versions of Internet Explorer.
    msie6: bool,
    patterns: Vec<Arc<Pattern>>,
}

settings! {
    /// Which responses are compressed.
    GzipSettings => Values {
        /// Whether any is.
        on: bool = false;
        /// How hard to try, 1 to 9.
        level: u32 = 1;
        /// The least length, where that is known.
        min_length: u64 = 20;
        /// The types of the responses.
        types: MediaTypes = MediaTypes::html();
    }
}

settings! {
    /// Who gets them.
    WhomSettings => Whom {
        /// Who gets none.
        disabled: Disabled = Disabled::default();
        /// The oldest version of HTTP.
        least_version: Version = Version::Http11;
        /// What clients behind a proxy get.
        proxied: Vec<Proxied> = vec![Proxied::Off];
        /// Whether `Vary` is said.
        vary: bool = false;
    }
}

/// `gzip` of a location, ready to run.
pub struct Gzip {
    values: Values,
    whom: Whom,
}

impl Gzip {
    /// Compresses a client's response, where that is asked for and wanted.
    pub fn apply(&self, ex: &mut Exchange<'_>, body: Body) -> Body {
        if !self.values.may_compress(ex) {
            return body;
        }
        if self.whom.vary {
            ex.response.fields.add("Vary", b"Accept-Encoding");
        }
        if !self.whom.takes(ex) {
            return body;
        }
        let head = &mut ex.response;
        let length = head.content_length.take();
        head.allow_ranges = false;
        head.fields.hide_known(Name::AcceptRanges);
        head.fields.weaken_etag();
        head.fields.add("Content-Encoding", b"gzip");
        if ex.method == Method::Head {
            return body;
        }
        let flushes = ex.response.unbuffered;
        Body::Gzip(Box::new(Gzipping::new(body, self.values.level, length, flushes)))
    }
}

impl Values {
    /// Whether a response is one that is compressed for those who take it so.
    fn may_compress(&self, ex: &Exchange<'_>) -> bool {
        let head = &ex.response;
        matches!(head.status, 200 | 403 | 404)
            && head.fields.get(Name::ContentEncoding).is_none_or(<[u8]>::is_empty)
            && head.content_length.is_none_or(|length| length >= self.min_length)
            && head.fields.get(Name::ContentType).is_some_and(|media_type| self.types.contain(media_type))
    }
}

impl Whom {
    /// Whether the client takes it so, and is to get it.
    fn takes(&self, ex: &Exchange<'_>) -> bool {
        ex.is_main()
            && ex.request_field(Name::AcceptEncoding).is_some_and(accepted::gzip)
            && !(self.disabled.msie6 && Browser::of_request(ex) == Browser::OldMsie)
            && ex.visit.head.version >= self.least_version
            && (ex.request_field(Name::Via).is_none() || self.is_for_proxies(ex))
            && !self.disables(ex.request_field(Name::UserAgent))
    }

    fn disables(&self, agent: Option<&[u8]>) -> bool {
        agent.is_some_and(|agent| self.disabled.patterns.iter().any(|pattern| pattern.is_match(agent)))
    }

    /// Whether a response is compressed for clients behind a proxy.
    fn is_for_proxies(&self, ex: &Exchange<'_>) -> bool {
        let wants = |what: Proxied| self.proxied.contains(&what);
        if wants(Proxied::Off) {
            return false;
        }
        if wants(Proxied::Any) || (wants(Proxied::Auth) && ex.request_field(Name::Authorization).is_some()) {
            return true;
        }
        let fields = &ex.response.fields;
        let time = |field: &[u8]| wire::date::parse(field);
        if let Some(expires) = fields.get(Name::Expires) {
            let date = match fields.get(Name::Date) {
                Some(date) => time(date),
                None => Some(net::clock::wall().0),
            };
            let expired = time(expires).zip(date).is_some_and(|(expires, date)| expires < date);
            return wants(Proxied::Expired) && expired;
        }
        let cache_control: Vec<&[u8]> =
            fields.visible().filter(|(id, ..)| *id == Name::CacheControl).map(|(.., value)| value).collect();
        if !cache_control.is_empty() {
            let says = |word: &[u8]| {
                let mut words = cache_control.iter().flat_map(|value| value.split(|byte| *byte == b','));
                words.any(|said| said.trim_ascii().eq_ignore_ascii_case(word))
            };
            return (wants(Proxied::NoCache) && says(b"no-cache"))
                || (wants(Proxied::NoStore) && says(b"no-store"))
                || (wants(Proxied::Private) && says(b"private"));
        }
        let dated = wants(Proxied::NoLastModified) && ex.response.last_modified.is_some();
        let tagged = wants(Proxied::NoETag) && fields.get(Name::ETag).is_some();
        !dated && !tagged
    }
}
