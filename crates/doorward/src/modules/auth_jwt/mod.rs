//! `ngx_http_auth_jwt_module`: lets requests pass that bring a JSON Web Token which one of the location's keys signed.

mod challenge;
mod check;
mod counts;
mod key_file;
mod key_request;
mod keys;
mod known;
mod variables;
mod verifier;

use std::collections::HashMap;
use std::sync::Arc;

use conf::Arg::{Many, Optional, Text, Time};
use conf::{Diagnostic, Span, once};

use crate::compile::Compiler;
use crate::directives;
use crate::module::{Module, Settings};
use crate::modules::auth_request::Uri;
use crate::modules::auth_require::{self, Line};
use crate::plan::Access;
use crate::variables::{Row, Template};

pub use check::{Jwt, Seen, reason};
use counts::{Counts, KeyCounts};
pub use key_file::{KeyFiles, source as key_file};
use key_request::KeyRequest;
pub use key_request::Missing;
pub use keys::Source;
use known::Known;
pub use verifier::Verifier;

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_auth_jwt_module",
    directives: directives! { JwtSettings;
        /// Lets a request pass when it brings a JSON Web Token in `Authorization: Bearer` that is signed (HS, RS, PS and ES
        /// with 256, 384 and 512 bits, EdDSA with Ed25519) by a key of `auth_jwt_key_file`, and whose time has come
        /// (`nbf`) and is not over (`exp`); any other is refused with 401 and the realm. `token=` names a variable that
        /// has the token instead, such as `$cookie_auth_token`. `off` asks no more. The realm may contain variables. With
        /// `satisfy any` it is one of the methods that may let a request pass. `$auth_user` is the token's `sub`; `$auth_user_id`,
        /// `$auth_email`, `$auth_scope`, `$auth_groups` say the rest, and `auth_require` requires it.
        "auth_jwt" in [HTTP SERVER LOCATION LIMIT_EXCEPT] (Text("string | off"), Optional(&Text("token=$variable"))) = "off" => |c, cx, n| {
            let realm = Template::compile(n.word(0)?, &mut cx.variables)?;
            let token = n.args.get(1).map(|word| token_variable(word, cx)).transpose()?;
            once(&mut c.on, On { realm, token, span: n.span }, n)
        };
        /// Gives `$variable` the value of the claim that the names lead to, one inside the other from the top: claims whose
        /// name has a dot, capital letters or blanks, or that are inside others. Elements of a list have commas between
        /// them, an object is JSON. It has a value when the token's signature and time are right, and only then. A value
        /// with a control character is none: it could begin another line of a head or log.
        "auth_jwt_claim_set" in [HTTP] (Text("$variable"), Many(&Text("name"))) = "" => |_, cx, n| variables::set(n, cx, |token| &token.claims);
        /// The same for a parameter of the token's header (RFC 7515, 4).
        "auth_jwt_header_set" in [HTTP] (Text("$variable"), Many(&Text("name"))) = "" => |_, cx, n| variables::set(n, cx, |token| &token.header);
        /// The file of keys that signatures are checked with: a JSON Web Key Set, or one JSON Web Key (RFC 7517). Several
        /// lines are several files; a location that has lines of its own inherits none. Files are read with the
        /// configuration, and so anew on a reload. Keys for other purposes or of kinds that are not known here are not
        /// used, which is warned about; what is no key is an error. RSA keys have 2048 bits or more.
        "auth_jwt_key_file" in [HTTP SERVER LOCATION LIMIT_EXCEPT] (Text("file")) = "" => |c, cx, n| {
            let keys = c.keys.get_or_insert_default();
            keys.push(Written::Keys(key_file::source(n, cx)?));
            Ok(())
        };
        /// The URI that keys are asked for by a subrequest: a JSON Web Key Set, such as that of an issuer behind
        /// `proxy_pass`. Several lines, also beside `auth_jwt_key_file`, are all asked, and where one of them has no keys
        /// the request is answered with 500; a location that has lines of its own, of either kind, inherits none. The
        /// subrequest is the gateway's own: nothing of what the client sent goes with it. May contain variables.
        "auth_jwt_key_request" in [HTTP SERVER LOCATION LIMIT_EXCEPT] (Text("uri")) = "" => |c, cx, n| {
            let uri = Uri::compile(n.word(0)?, "auth_jwt_key_request", &mut cx.variables)?;
            c.keys.get_or_insert_default().push(Written::Request(uri));
            Ok(())
        };
        /// How long the keys of `auth_jwt_key_request` are used before they are asked for anew; 0 asks for each request.
        /// A token whose key is not among them has them asked for before, every 10 seconds at most, so that an issuer may
        /// change keys. Where the URI has variables, they are asked for always. One request asks at a time, the others wait
        /// for its answer. Files are read with the configuration, and stay what they are.
        "auth_jwt_key_cache" in [HTTP SERVER LOCATION] (Time) = "0" => |c, _, n| once(&mut c.key_cache, n.msec(0)?, n);
        /// How far the clock of who makes tokens may be off, where their time is looked at (`exp`, `nbf`).
        "auth_jwt_leeway" in [HTTP SERVER LOCATION] (Time) = "0s" => |c, _, n| once(&mut c.leeway, n.sec(0)?, n);
        /// Which tokens are expected: `signed` ones (RFC 7515). Encrypted ones (`encrypted`, `nested`) are refused.
        "auth_jwt_type" in [HTTP SERVER LOCATION LIMIT_EXCEPT] (Text("signed | encrypted | nested")) = "signed" => |c, _, n| match n.bytes(0) {
            b"signed" => once(&mut c.signed, (), n),
            b"encrypted" | b"nested" => Err(n.complaint("is refused: tokens are not decrypted here").instead(
                "have the issuer sign tokens without encrypting them (auth_jwt_type signed), or let a service decrypt them: auth_request",
            )),
            _ => Err(Diagnostic::at(n.span, format!("invalid value \"{}\" in \"auth_jwt_type\" directive", n.str(0)?))
                .instead("it must be signed")),
        };
        /// Refuses a token, right as it may be, where a value is empty or `0`, with 401 or with the status of `error=`: a
        /// value is a variable, such as one that a `map` makes of `$jwt_claim_iss`, or begins with one. Of several lines,
        /// which must all be met, the first that is not says the status. A location that has lines of its own inherits none.
        "auth_jwt_require" in [HTTP SERVER LOCATION LIMIT_EXCEPT] (Many(&Text("$value | error=401 | error=403"))) = "" => |c, cx, n| {
            let line = auth_require::line(n, cx, 401, |status| matches!(status, 401 | 403))?.of_values(n)?;
            c.required.get_or_insert_default().push(line);
            Ok(())
        };
    },
    variables: &[
        Row::family("jwt_claim_", variables::claim),
        Row::family("jwt_header_", variables::header),
        Row::fresh("jwt_payload", variables::payload),
    ],
    plan: |cx, scope, plan| {
        let settings = scope.get_mut::<JwtSettings>().clone();
        if let Some(on) = settings.on.filter(|on| on.realm.as_literal() != Some(b"off")) {
            let Some(keys) = settings.keys else { return Err(no_keys(on.span)) };
            let lifetime = settings.key_cache.unwrap_or(0);
            let keys = keys.into_iter().map(|keys| match keys {
                Written::Keys(source) => source,
                Written::Request(uri) => Source::Request(request(cx, uri, lifetime)),
            });
            let sources = keys.collect();
            let counts = Counts::of(cx);
            let verifier = Verifier::of(cx, sources, settings.leeway.unwrap_or(0), counts)?;
            let jwt = Arc::new(Jwt {
                number: cx.jwt.number(),
                realm: on.realm,
                token: on.token,
                verifier,
                required: settings.required.unwrap_or_default().into(),
            });
            plan.jwt = Some(jwt.clone());
            plan.access.push(Access::Jwt(jwt));
        }
        Ok(())
    },
};

fn no_keys(span: Span) -> Diagnostic {
    Diagnostic::at(span, "\"auth_jwt\" without keys to check tokens with")
        .instead("name the issuer's keys here or around it: auth_jwt_key_file keys.json; or auth_jwt_key_request /keys;")
}

fn token_variable(word: &conf::Word, cx: &mut Compiler) -> Result<Template, Diagnostic> {
    let invalid = || {
        Diagnostic::at(word.span, format!("invalid parameter \"{}\"", word.lossy())).instead(
            "behind the realm only the variable that has the token can stand: token=$cookie_auth_token",
        )
    };
    let text = word.text.strip_prefix(b"token=").ok_or_else(invalid)?;
    let template = Template::of(text, Some(word), &mut cx.variables)?;
    template.as_variable().ok_or_else(invalid)?;
    Ok(template)
}

#[derive(Clone, Default)]
struct JwtSettings {
    on: Option<On>,
    keys: Option<Vec<Written>>,
    key_cache: Option<u64>,
    leeway: Option<u64>,
    signed: Option<()>,
    required: Option<Vec<Line>>,
}

/// A line that says where keys come from.
#[derive(Clone)]
enum Written {
    Keys(Source),
    Request(Uri),
}

#[derive(Clone)]
struct On {
    realm: Template,
    token: Option<Template>,
    span: Span,
}

impl Settings for JwtSettings {
    fn inherit(&mut self, outer: &Self) {
        fn take<T: Clone>(ours: &mut Option<T>, theirs: &Option<T>) {
            if ours.is_none() {
                ours.clone_from(theirs);
            }
        }
        take(&mut self.on, &outer.on);
        take(&mut self.keys, &outer.keys);
        take(&mut self.key_cache, &outer.key_cache);
        take(&mut self.leeway, &outer.leeway);
        take(&mut self.required, &outer.required);
    }
}

/// What the configuration being compiled knows of tokens and keys.
#[derive(Default)]
pub struct Compiled {
    /// Files of keys that were read.
    pub files: KeyFiles,
    known: Option<Arc<Known>>,
    /// The services that locations of the server being finished ask, with how long their answers are used.
    requests: HashMap<(Box<[u8]>, u64), Arc<KeyRequest>>,
    locations: u32,
}

impl Compiled {
    /// Begins another server, whose locations are others.
    pub fn begin_server(&mut self) {
        self.requests.clear();
    }

    /// A number for a location.
    fn number(&mut self) -> u32 {
        self.locations += 1;
        self.locations
    }
}

/// What all locations of the server being finished share that ask for the same keys.
fn request(cx: &mut Compiler, uri: Uri, lifetime: u64) -> Arc<KeyRequest> {
    let counts = KeyCounts::of(cx, &uri.text);
    let shared = cx.jwt.requests.entry((uri.text.clone(), lifetime));
    shared.or_insert_with(|| Arc::new(KeyRequest::new(uri, lifetime, counts))).clone()
}
