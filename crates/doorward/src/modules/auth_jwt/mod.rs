//! `ngx_http_auth_jwt_module`: lets requests pass that bring a JSON Web Token which one of the location's keys signed.

mod challenge;
mod counts;
mod key_file;
mod key_request;
mod keys;
mod known;
mod variables;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use auth::identity::Lack;
use auth::jwt::{KeySet, Refusal, Signed, Token};
use conf::Arg::{Many, Optional, Text, Time};
use conf::{Diagnostic, Span, once};

use crate::compile::Compiler;
use crate::directives;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::module::{Module, Settings};
use crate::modules::auth_outcome::{self, Reason};
use crate::modules::auth_request::Uri;
use crate::modules::auth_require::{self, Line};
use crate::modules::core;
use crate::plan::{Access, Verdict};
use crate::run::Stop;
use crate::variables::{Row, Template};

use counts::{Counts, KeyCounts};
pub use key_file::KeyFiles;
use key_request::{KeyRequest, Missing};
use keys::{Keys, Source};
use known::Known;

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
            let keys = Keys::of(keys.collect());
            let known = Known::of(cx)?;
            let jwt = Arc::new(Jwt {
                number: cx.jwt.number(),
                realm: on.realm,
                token: on.token,
                keys,
                leeway: settings.leeway.unwrap_or(0) as f64,
                required: settings.required.unwrap_or_default().into(),
                known,
                counts: Counts::of(cx),
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

/// How a location checks tokens.
pub struct Jwt {
    /// Tells it from every other location of the configuration.
    number: u32,
    realm: Template,
    /// The variable that has the token; none where `Authorization` has it.
    token: Option<Template>,
    keys: Keys,
    /// In seconds.
    leeway: f64,
    required: Box<[Line]>,
    known: Arc<Known>,
    counts: Option<Counts>,
}

/// What came of a request's token.
#[derive(Clone)]
pub struct Seen {
    /// The number of the location that looked at it.
    by: u32,
    token: Outcome,
}

/// The token if it is right; else why not, with no reason where there is none.
type Outcome = Result<Arc<Token>, Option<Refusal>>;

impl Jwt {
    /// Lets the request pass when its token is right and says what is required.
    pub async fn check(&self, ex: &mut Exchange<'_>) -> Result<Verdict, Stop> {
        let realm = self.realm.eval(ex);
        if realm == b"off" {
            return Ok(Verdict::Declined);
        }
        let seen = match self.look(ex) {
            Some(token) => token,
            None => Box::pin(self.look_with_keys(ex)).await?,
        };
        let token = match seen {
            Ok(token) => token,
            Err(None) => {
                ex.log(Level::Info, format_args!("no token was provided for JWT authentication"));
                auth_outcome::set_reason(ex, Reason::NoCredentials);
                return Err(challenge::without_token(ex, &realm));
            }
            Err(Some(refusal)) => {
                ex.log(Level::Error, format_args!("authentication refused: {refusal}"));
                auth_outcome::set_reason(ex, reason(refusal));
                return Err(challenge::of_refusal(ex, &realm, refusal));
            }
        };
        if let Err((status, unmet)) = auth_require::first_unmet(&self.required, ex) {
            ex.log(Level::Error, format_args!("authentication refused: required, {unmet}"));
            auth_outcome::set_reason(ex, Reason::Required);
            return Err(challenge::of_requirement(ex, &realm, status));
        }
        let mut user = Vec::new();
        if let Some(subject) = token.claims.get("sub") {
            auth::json::text(subject, &mut user);
        }
        let mut outcome = ex.visit.auth.borrow_mut();
        outcome.user = user;
        outcome.method = Some("jwt");
        outcome.identity = Some(token.identity.clone());
        Ok(Verdict::Allowed)
    }

    /// Tells the client what it lacks, where its token is right and something else is required (`auth_require`).
    pub fn challenge(&self, ex: &mut Exchange<'_>, lack: &Lack<'_>, status: u16) {
        let realm = self.realm.eval(ex);
        challenge::of_lack(ex, &realm, lack, status);
    }

    /// The services that are asked for keys.
    pub fn key_requests(&self) -> impl Iterator<Item = &KeyRequest> {
        self.keys.requests()
    }

    /// What is known of the request's token without asking anybody, for who only looks.
    pub fn preview(&self, ex: &Exchange<'_>) -> String {
        match self.look(ex) {
            Some(Ok(_)) => "the token that it has is right".to_owned(),
            Some(Err(Some(refusal))) => format!("{refusal}: 401"),
            Some(Err(None)) => "it has none: 401".to_owned(),
            None => "the keys have to be asked for".to_owned(),
        }
    }

    /// Looks at the request's token, unless this location did so before. Nothing comes of it where the keys are not at
    /// hand, or where newer ones may be needed.
    fn look(&self, ex: &Exchange<'_>) -> Option<Outcome> {
        if let Some(seen) = &ex.visit.auth.borrow().jwt
            && seen.by == self.number
        {
            return Some(seen.token.clone());
        }
        // While the token's own variable is evaluated there is none, also where it is made of what the token says.
        let before = ex.visit.auth.borrow_mut().jwt.replace(Seen { by: self.number, token: Err(None) });
        let outcome = match self.token(ex) {
            None => Some(Err(None)),
            Some(text) => self.keys.at_hand(ex).map(|sets| self.verify(&text, &sets)),
        };
        let outcome = outcome.filter(|outcome| {
            self.keys.requests().next().is_none() || !matches!(outcome, Err(Some(Refusal::UnknownKey)))
        });
        ex.visit.auth.borrow_mut().jwt = match &outcome {
            Some(token) => Some(Seen { by: self.number, token: token.clone() }),
            None => before,
        };
        outcome
    }

    /// The same with keys that are asked for.
    async fn look_with_keys(&self, ex: &mut Exchange<'_>) -> Result<Outcome, Stop> {
        let outcome = match self.verify_with_keys(ex).await {
            Ok(outcome) => outcome,
            Err(Missing::Stop(stop)) => return Err(stop),
            Err(Missing::Failed) => {
                auth_outcome::refuse(ex, Reason::NoKeys);
                return Err(Stop::Status(500));
            }
        };
        ex.visit.auth.borrow_mut().jwt = Some(Seen { by: self.number, token: outcome.clone() });
        Ok(outcome)
    }

    async fn verify_with_keys(&self, ex: &mut Exchange<'_>) -> Result<Outcome, Missing> {
        let Some(text) = self.token(ex) else { return Ok(Err(None)) };
        let text = text.into_owned();
        // What no key could make right is no reason to ask for keys.
        if Signed::parse(&text).is_err() {
            return Ok(self.verify(&text, &[]));
        }
        let sets = self.keys.sets(ex).await?;
        let outcome = self.verify(&text, &sets);
        if matches!(outcome, Err(Some(Refusal::UnknownKey)))
            && let Some(newer) = self.keys.newer(ex, &sets).await?
        {
            return Ok(self.verify(&text, &newer));
        }
        Ok(outcome)
    }

    /// The token as it was sent.
    fn token<'e>(&self, ex: &'e Exchange<'_>) -> Option<Cow<'e, [u8]>> {
        let text = match &self.token {
            Some(variable) => Cow::Owned(variable.eval(ex)),
            None => Cow::Borrowed(core::bearer_token(ex)?),
        };
        Some(text).filter(|text| !text.is_empty())
    }

    fn verify(&self, text: &[u8], sets: &[Arc<KeySet>]) -> Outcome {
        let outcome = self.known_or_checked(text, sets);
        if let Some(counts) = &self.counts {
            match &outcome {
                Ok((_, true)) => counts.known.add_one(),
                Ok((_, false)) => counts.checked.add_one(),
                Err(_) => counts.refused.add_one(),
            }
        }
        outcome.map(|(token, _)| token).map_err(Some)
    }

    /// The token if it is right, and whether that was known before.
    fn known_or_checked(&self, text: &[u8], sets: &[Arc<KeySet>]) -> Result<(Arc<Token>, bool), Refusal> {
        let (seconds, milliseconds) = net::clock::wall();
        let now = seconds as f64 + f64::from(milliseconds) / 1000.0;
        let in_time = |token: &Token| token.check_time(now, self.leeway);
        let key = self.known.key(sets, text);
        if let Some(token) = self.known.find(&key) {
            in_time(&token).inspect_err(|_| self.known.forget(&key))?;
            return Ok((token, true));
        }
        let token = Arc::new(Signed::parse(text).and_then(|signed| signed.verify(sets))?);
        in_time(&token)?;
        self.known.keep(&key, &token);
        Ok((token, false))
    }

    /// The token of a request whose access phase is still to come.
    fn ahead(&self, ex: &Exchange<'_>) -> Option<Arc<Token>> {
        if self.realm.as_literal().is_none() && self.realm.eval(ex) == b"off" {
            return None;
        }
        self.look(ex)?.ok()
    }
}

/// The request's token, where it is right.
fn token(ex: &Exchange<'_>) -> Option<Arc<Token>> {
    let seen = ex.visit.auth.borrow().jwt.clone();
    match seen {
        Some(seen) => seen.token.ok(),
        None => ex.plan.jwt.as_ref()?.ahead(ex),
    }
}

fn reason(refusal: Refusal) -> Reason {
    match refusal {
        Refusal::Expired => Reason::TokenExpired,
        Refusal::NotYetValid => Reason::TokenNotYetValid,
        Refusal::UnknownKey => Reason::UnknownKey,
        _ => Reason::BadToken,
    }
}
