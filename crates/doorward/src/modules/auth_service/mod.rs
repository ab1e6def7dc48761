//! `auth_service`: says who a client is and what it may do, in the same program: in place (`auth`), or as what
//! `auth_request` and other gateways ask. Doorward's own; nginx has nothing like it.

mod asked;
mod block;
mod challenge;
mod counts;
mod credentials;
mod decide;
mod endpoint;
mod in_place;
mod introspection;
mod login;
mod passwords;
mod rules;
mod service;
mod tokens;

use conf::Arg::{Many, Optional, Text, Time};
use conf::{Contexts, Diagnostic, Node, Span, once};

pub use endpoint::Endpoint;
pub use in_place::InPlace;
pub use login::{Login, Logout};
pub use service::{Service, keep};

use crate::directives;
use crate::module::{Module, Scope, Settings};
use crate::modules::auth_jwt;
use crate::plan::{Access, Content};
use crate::request_fields;
use crate::variables::Row;
use asked::AskedBy;
use block::Block;

/// The module's tables.
pub static MODULE: Module = Module {
    name: "doorward_auth_service_module",
    directives: directives! { ServiceSettings;
        /// Declares a service that says who a client is and what it may do. The block holds the methods that it knows:
        /// `auth_api_key`, `auth_session`, `auth_basic`, `auth_jwt`, `auth_introspection`, and `auth_store`, where users, keys and
        /// sessions are kept, unless tokens are all it takes. It is used by
        /// `auth NAME;` in a location, or asked at `auth_service NAME;` in one. Doorward's own directive (docs/auth-service.md).
        "auth_service": Block in [HTTP] (Text("name")) = "" => |_, cx, n| {
            let name = n.str(0)?.to_owned();
            if cx.auth_services.iter().any(|service| service.name == name) {
                return Err(Diagnostic::at(n.span, format!("duplicate auth_service \"{name}\"")));
            }
            let mut scope = Scope::default();
            cx.block(n.block.as_deref().unwrap_or_default(), Contexts::AUTH_SERVICE, &mut scope)?;
            let service = std::mem::take(scope.get_mut::<Block>()).compile(name, n, cx)?;
            cx.auth_services.push(service);
            Ok(())
        };
        /// Answers as that service: 204 with `X-User-ID`, `X-User-Name`, `X-User-Email`, `X-User-Scope` and `X-User-Groups`, 401 with a
        /// challenge, or 403; `X-Auth-Reason` says why not. In a subrequest (`auth_request`) it decides about the client's
        /// request. Another gateway that asks over the network says what it asks about in fields, and the location says which
        /// count: `asked_by=forwarded` takes `X-Forwarded-Method`, `-Proto`, `-Host` and `-Uri` (Traefik's forwardAuth, Caddy's
        /// forward_auth), `asked_by=original` takes `X-Original-Method` and `X-Original-URI` or `-URL` (nginx), `asked_by=envoy` the
        /// request's own method, host and path behind that of the location (Envoy's ext_authz with path_prefix). Without
        /// `asked_by` it decides about the request itself. Doorward's own directive.
        "auth_service" in [LOCATION] (Text("name"), Optional(&Text("asked_by=forwarded | original | envoy"))) = "" => |c, _, n| {
            let asked_by = match n.args.get(1) {
                None => AskedBy::Itself,
                Some(word) => AskedBy::parse(word)?,
            };
            once(&mut c.endpoint, (Named::of(n)?, asked_by), n)
        };
        /// Shows the page where users of that service log in with name and password, and starts their sessions: the service has
        /// `auth_session`, whose `login=` names the page's address; `auth` with the same service does not apply to it. Then the browser goes back to where it came from (`return` in the
        /// query), if that is a path of this host or a page of one of `return_hosts=`. Failed logins count for the `auth_limit` of the
        /// location. Browsers keep the cookies that it needs only over https, and on the machine itself. Doorward's own directive.
        "auth_login" in [LOCATION] (Text("name")) = "" => |c, _, n| once(&mut c.login, Named::of(n)?, n);
        /// Shows a page with a button that ends the browser's session with that service, at once and on every gateway. Then the browser
        /// goes to `return`, as with `auth_login`, or to the login page. Doorward's own directive.
        "auth_logout" in [LOCATION] (Text("name")) = "" => |c, _, n| once(&mut c.logout, Named::of(n)?, n);
        /// Lets a request pass when that service knows its credentials: 401 with a challenge where it does not, or for browsers a
        /// redirect to the service's login page; 403 where they are not enough. Upstreams are told in `X-User-ID`, `X-User-Name`,
        /// `X-User-Email`, `X-User-Scope` and `X-User-Groups`, which clients cannot send themselves then. With `satisfy any` it is one
        /// of the methods that may let a request pass; `off` takes it back. Doorward's own directive.
        "auth" in [HTTP SERVER LOCATION LIMIT_EXCEPT] (Text("name | off")) = "off" => |c, _, n| {
            let named = match n.bytes(0) {
                b"off" => None,
                _ => Some(Named::of(n)?),
            };
            once(&mut c.in_place, named, n)
        };
    },
    variables: &[
        Row::fresh("auth_user_id", |ex, out| in_place::text(ex, out, |identity| &identity.id)),
        Row::fresh("auth_email", |ex, out| in_place::text(ex, out, |identity| &identity.email)),
        Row::fresh("auth_scope", |ex, out| in_place::text(ex, out, |identity| &identity.scopes)),
        Row::fresh("auth_groups", |ex, out| in_place::text(ex, out, |identity| &identity.groups)),
        Row::fresh("auth_method", |ex, out| {
            let method = ex.visit.auth.borrow().method;
            out.extend_from_slice(method.unwrap_or_default().as_bytes());
            method.is_some()
        }),
    ],
    plan: |cx, scope, plan| {
        let ServiceSettings { in_place, endpoint, login, logout } = scope.get_mut::<ServiceSettings>();
        // Who has to log in first could never do so.
        let is_login = |named: &Named| login.as_ref().is_some_and(|login| login.name == named.name);
        if let Some(Some(named)) = in_place
            && !is_login(named)
        {
            let service = named.find(cx)?;
            plan.hide_from_client(request_fields::identity_names().clone());
            plan.access.push(Access::Service(InPlace { service }));
        }
        if let Some((named, asked_by)) = endpoint {
            let service = named.find(cx)?;
            plan.content = Content::AuthService(Endpoint { service, asked_by: *asked_by });
        }
        if let Some(named) = login {
            plan.content = Content::Login(Login { service: named.with_sessions(cx)? });
        }
        if let Some(named) = logout {
            plan.content = Content::Logout(Logout { service: named.with_sessions(cx)? });
        }
        Ok(())
    },
};

/// What may stand in the block.
pub static IN_BLOCK: Module = Module {
    name: "doorward_auth_service_module",
    directives: directives! { Block;
        /// Where users, keys and sessions are kept: `sqlite:PATH`, in a file that is made when there is none, or `postgres://...`,
        /// `redis://...`, which several gateways share (docs/admin.md). With `-p` the default is `auth_store/auth.db` there.
        /// `grace` is how long what is known goes on while the store cannot be asked, without it nobody is let in then (503); `memory`
        /// bounds what is held in memory. What is revoked or disabled is refused within a second. Doorward's own directive.
        "auth_store" in [AUTH_SERVICE] (Text("address"), Optional(&Many(&Text("grace=time | memory=size")))) = "sqlite:/var/lib/doorward/auth.db" => Block::store;
        /// Takes API keys (`doorward key create`), in this field or as `Authorization: Bearer`. Doorward's own directive.
        "auth_api_key" in [AUTH_SERVICE] (Optional(&Text("header=field"))) = "header=X-API-Key" => Block::api_key;
        /// Takes sessions of users who have logged in: in the cookie of that name, unused for no longer than `idle`, and no
        /// longer than `lifetime` at all. `login` is where browsers without a session are sent; from there they come back to paths of the
        /// login page's own host, and over https to `return_hosts`, names with commas between. With `domain` the cookie is sent to all
        /// hosts of a domain, and cannot have a name that starts with `__Host-`. Doorward's own directive.
        "auth_session" in [AUTH_SERVICE] (Optional(&Many(&Text("cookie=name | idle=time | lifetime=time | login=url | domain=name | return_hosts=names")))) = "cookie=__Host-session idle=30m lifetime=12h" => Block::session;
        /// Takes user and password of the store's users (RFC 7617). Doorward's own directive.
        "auth_basic" in [AUTH_SERVICE] () = "" => |c, _, n| once(&mut c.basic, (), n);
        /// Takes JSON Web Tokens in `Authorization: Bearer`, checked with the keys of `auth_jwt_key_file`. The users need not
        /// be in a store: who it is, is what `sub`, `preferred_username`, `email`, `scope` (or `scp`) and `groups` say, and a token
        /// without `sub` is refused. Doorward's own directive.
        "auth_jwt" in [AUTH_SERVICE] () = "" => |c, _, n| once(&mut c.jwt, n.span, n);
        /// The file of keys that tokens are checked with, as in a location. Several lines are several files. Doorward's own
        /// directive.
        "auth_jwt_key_file" in [AUTH_SERVICE] (Text("file")) = "" => |c, cx, n| {
            c.keys.push(auth_jwt::key_file(n, cx)?);
            Ok(())
        };
        /// How far the clock of who makes JSON Web Tokens may be off. Doorward's own directive.
        "auth_jwt_leeway" in [AUTH_SERVICE] (Time) = "0s" => |c, _, n| once(&mut c.leeway, n.sec(0)?, n);
        /// Whose tokens are taken: `iss` must be one of these, of JSON Web Tokens and of what `auth_introspection` is answered.
        /// Doorward's own directive.
        "auth_issuer" in [AUTH_SERVICE] (Many(&Text("issuer"))) = "" => |c, _, n| Block::expect(&mut c.expected.issuers, n);
        /// For whom tokens must be meant: `aud` must be, or have in it, one of these. Doorward's own directive.
        "auth_audience" in [AUTH_SERVICE] (Many(&Text("audience"))) = "" => |c, _, n| Block::expect(&mut c.expected.audiences, n);
        /// Takes other tokens in `Authorization: Bearer`, about which an authorization server is asked (RFC 7662): by a
        /// subrequest to this location, which passes it on (`proxy_pass`) and has the credentials for that. It gets the form
        /// `token=...&token_type_hint=access_token`, and nothing else of the client. That a token is active is believed for
        /// `cache`, but never longer than until its `exp`, and that it is not for `negative`; about one token one request asks at
        /// a time. Where there is no clear answer, nobody is let in (503). Doorward's own directive.
        "auth_introspection" in [AUTH_SERVICE] (Text("uri"), Optional(&Many(&Text("cache=time | negative=time")))) = "cache=30s negative=2s" => Block::introspection;
        /// The realm that challenges name; the service's name where there is none. Doorward's own directive.
        "auth_realm" in [AUTH_SERVICE] (Text("text")) = "" => Block::realm;
        /// What is required of requests whose path is this one or below it, for all methods and hosts or those named: every
        /// `scope=` and every `group=`; `deny` refuses them all (403). The path is the normalised one. The first line that fits decides; where
        /// none does, known credentials are enough. Doorward's own directive.
        "auth_rule" in [AUTH_SERVICE] (Text("path"), Many(&Text("method=name | host=name | scope=name | group=name | deny"))) = "" => Block::rule;
    },
    variables: &[],
    plan: |_, _, _| Ok(()),
};

#[derive(Clone, Default)]
struct ServiceSettings {
    /// None at all for `off`.
    in_place: Option<Option<Named>>,
    endpoint: Option<(Named, AskedBy)>,
    login: Option<Named>,
    logout: Option<Named>,
}

impl Settings for ServiceSettings {
    fn inherit(&mut self, outer: &Self) {
        if self.in_place.is_none() {
            self.in_place.clone_from(&outer.in_place);
        }
    }

    fn inherit_inside(&mut self, location: &Self) {
        self.inherit(location);
        if self.endpoint.is_none() {
            self.endpoint.clone_from(&location.endpoint);
        }
        if self.login.is_none() {
            self.login.clone_from(&location.login);
        }
        if self.logout.is_none() {
            self.logout.clone_from(&location.logout);
        }
    }
}

/// A service by name, which may be declared further down.
#[derive(Clone)]
struct Named {
    name: String,
    span: Span,
}

impl Named {
    fn of(node: &Node) -> Result<Named, Diagnostic> {
        Ok(Named { name: node.str(0)?.to_owned(), span: node.span })
    }

    fn find(&self, cx: &crate::compile::Compiler) -> Result<std::sync::Arc<Service>, Diagnostic> {
        let found = cx.auth_services.iter().find(|service| service.name == self.name);
        found.cloned().ok_or_else(|| {
            Diagnostic::at(self.span, format!("unknown auth_service \"{}\"", self.name))
                .instead(format!("declare it in the http block: auth_service {} {{ ... }}", self.name))
        })
    }

    /// The service, which has sessions.
    fn with_sessions(&self, cx: &crate::compile::Compiler) -> Result<std::sync::Arc<Service>, Diagnostic> {
        let service = self.find(cx)?;
        if service.session.is_none() {
            let text = format!("auth_service \"{}\" has no sessions that could begin or end", self.name);
            return Err(
                Diagnostic::at(self.span, text).instead("write auth_session login=/login; in its block")
            );
        }
        Ok(service)
    }
}
