//! Lets a browser ask whether it may ask: preflights of the CORS protocol carry no credentials.

use conf::Arg::Flag;
use conf::once;
use wire::Name;
use wire::h1::Method;

use crate::directives;
use crate::exchange::Exchange;
use crate::module::Module;
use crate::settings;

/// The module's tables.
pub static MODULE: Module = Module {
    name: "doorward_preflight_module",
    directives: directives! { PreflightSettings;
        /// Lets preflights of the CORS protocol pass `auth_request`, `auth_basic` and `auth_require`, which browsers send
        /// without credentials: requests with the method OPTIONS, `Origin` and `Access-Control-Request-Method`, without a
        /// body and without a field that names another method (`X-HTTP-Method-Override` and the like). `allow`, `deny` and
        /// limits go on. The upstream gets them unauthenticated.
        "auth_skip_preflight" in [HTTP SERVER LOCATION LIMIT_EXCEPT] (Flag) = "off" => |c, _, n| once(&mut c.skip, n.flag(0)?, n);
    },
    variables: &[],
    plan: |_, scope, plan| {
        plan.skips_preflight = scope.get_mut::<PreflightSettings>().settle().skip;
        Ok(())
    },
};

settings! {
    /// What is let pass.
    PreflightSettings => PreflightValues {
        /// Whether preflights are.
        skip: bool = false;
    }
}

/// By which frameworks take another method for the request's.
const OVERRIDES: [&[u8]; 3] = [b"x-http-method-override", b"x-http-method", b"x-method-override"];

/// Whether a client's request is a preflight as a browser sends it (<https://fetch.spec.whatwg.org/#cors-preflight-fetch>).
pub fn is_preflight(ex: &Exchange<'_>) -> bool {
    let head = ex.visit.head;
    let has = |name: &[u8]| {
        let mut fields = head.fields.iter().map(|field| field.name.of(ex.visit.bytes));
        fields.any(|field| field.eq_ignore_ascii_case(name))
    };
    head.method == Method::Options
        && head.fields.iter().any(|field| field.id == Name::Origin)
        && has(b"access-control-request-method")
        && !head.chunked
        && head.content_length.unwrap_or(0) == 0
        && !OVERRIDES.iter().any(|name| has(name))
}
