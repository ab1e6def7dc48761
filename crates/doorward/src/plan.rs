//! What one location does to a request: only the handlers that are on there, each with its merged settings.

use std::sync::Arc;

use crate::field_names::AlikeNames;
use crate::locate::Locations;
use crate::modules::{
    access, access_log, addition, auth_basic, auth_jwt, auth_request, auth_require, auth_service, charset,
    core, fastcgi, gzip, headers, limits, otel, proxy, realip, referer, rewrite, secure_link, static_files,
    try_files, tunnel, userid,
};

/// The plan of one location (or of a server, for what happens before a location is chosen).
pub struct Plan {
    /// Where its block stands; nothing for those that are made of a part of one.
    pub span: Option<conf::Span>,
    /// The core module's settings.
    pub core: core::Core,
    /// `set`, `if`, `rewrite`, `return` in the order written.
    pub rewrite: rewrite::Program,
    /// Whom to believe where requests come from (`set_real_ip_from`).
    pub realip: Option<Arc<realip::RealIp>>,
    /// Whether paths that are read in more than one way are refused (`reject_ambiguous_path`); the server's counts.
    pub rejects_ambiguous_path: bool,
    /// Fields that no client may send (`auth_identity_headers`); the server's count.
    pub identity: Option<Arc<AlikeNames>>,
    /// Pages that may link here (`valid_referers`).
    pub referers: Option<Arc<referer::Referers>>,
    /// How links are checked (`secure_link`).
    pub secure_link: Option<Arc<secure_link::SecureLink>>,
    /// What limits requests before anyone is asked, in the order of the preaccess phase.
    pub preaccess: Vec<Preaccess>,
    /// Whether CORS preflights need no credentials (`auth_skip_preflight`).
    pub skips_preflight: bool,
    /// Fields of upstreams' requests that only its auth service may set (`auth_request_copy_headers`).
    pub copied: Option<Arc<AlikeNames>>,
    /// How tokens are checked (`auth_jwt`).
    pub jwt: Option<Arc<auth_jwt::Jwt>>,
    /// How often its methods may refuse (`auth_limit`).
    pub auth_limit: Option<Box<limits::AuthLimit>>,
    /// Who may pass, in the order of the access phase.
    pub access: Vec<Access>,
    /// What may still lead elsewhere before the response is made, in order.
    pub precontent: Vec<Precontent>,
    /// Which symbolic links files may not be found through (`disable_symlinks`).
    pub symlinks: Option<Arc<static_files::Symlinks>>,
    /// Who makes the response.
    pub content: Content,
    /// What changes the response on its way out, in order.
    pub filters: Vec<Filter>,
    /// What `add_trailer` puts behind the body.
    pub trailers: Vec<headers::Line>,
    /// What becomes of its requests in traces.
    pub otel: Option<Box<otel::Otel>>,
    /// The longest frame of a body in HTTP/2 (`http2_chunk_size`).
    pub http2_chunk_size: usize,
    /// Where it is logged.
    pub logs: access_log::Logs,
    /// What applies instead to methods outside `limit_except`.
    pub limit_except: Option<(core::Methods, Box<Plan>)>,
    /// Locations inside this one.
    pub locations: Locations,
}

impl Plan {
    /// A plan with the core settings and nothing else yet.
    pub fn new(core: core::Core) -> Plan {
        Plan {
            span: None,
            core,
            rewrite: rewrite::Program::default(),
            realip: None,
            rejects_ambiguous_path: false,
            identity: None,
            referers: None,
            secure_link: None,
            preaccess: Vec::new(),
            skips_preflight: false,
            copied: None,
            jwt: None,
            auth_limit: None,
            access: Vec::new(),
            precontent: Vec::new(),
            symlinks: None,
            content: Content::Files(static_files::Files::default()),
            filters: Vec::new(),
            trailers: Vec::new(),
            otel: None,
            http2_chunk_size: 8 << 10,
            logs: access_log::Logs::default(),
            limit_except: None,
            locations: Locations::default(),
        }
    }

    /// Hides more fields of the client from its upstreams.
    pub fn hide_from_client(&mut self, names: Arc<AlikeNames>) {
        self.copied = Some(match self.copied.take() {
            None => names,
            Some(known) => {
                let mut all = AlikeNames::clone(&known);
                names.iter().for_each(|name| all.insert(name));
                Arc::new(all)
            }
        });
    }
}

/// One handler of the preaccess phase.
pub enum Preaccess {
    /// `limit_req`.
    LimitReq(limits::LimitReq),
    /// `limit_conn`.
    LimitConn(limits::LimitConn),
}

/// One method of the access phase.
pub enum Access {
    /// `allow`, `deny`.
    Address(access::Rules),
    /// `auth_basic`.
    Basic(Box<auth_basic::Basic>),
    /// `auth_jwt`.
    Jwt(Arc<auth_jwt::Jwt>),
    /// `auth`.
    Service(auth_service::InPlace),
    /// `auth_request`.
    Request(auth_request::AuthRequest),
    /// `auth_require`.
    Require(auth_require::Requirements),
}

impl Access {
    /// Whether it looks at credentials, and so can be guessed at.
    pub fn checks_credentials(&self) -> bool {
        match self {
            Access::Address(_) => false,
            Access::Basic(_)
            | Access::Jwt(_)
            | Access::Service(_)
            | Access::Request(_)
            | Access::Require(_) => true,
        }
    }
}

/// What may still lead elsewhere before the response is made.
pub enum Precontent {
    /// `try_files`.
    TryFiles(try_files::TryFiles),
}

/// Who makes the response.
pub enum Content {
    /// Files below `root` or `alias`.
    Files(static_files::Files),
    /// `empty_gif`.
    EmptyGif,
    /// `stub_status`.
    StubStatus,
    /// `auth_service`.
    AuthService(auth_service::Endpoint),
    /// `auth_login`.
    Login(auth_service::Login),
    /// `auth_logout`.
    Logout(auth_service::Logout),
    /// `auth_cache_purge`.
    AuthCachePurge(auth_request::Purge),
    /// `prometheus`.
    Prometheus,
    /// `status`.
    Status,
    /// `fastcgi_pass`.
    FastCgi(Box<fastcgi::FastCgi>),
    /// `proxy_pass`.
    Proxy(Box<proxy::Proxy>),
    /// `tunnel_pass`.
    Tunnel(Box<tunnel::TunnelPass>),
}

/// What changes a response on its way out: its head, and where need be its body.
pub enum Filter {
    /// `add_header`, `add_trailer`, `expires`.
    Headers(headers::Headers),
    /// `userid`.
    UserId(Box<userid::UserId>),
    /// `add_before_body`, `add_after_body`.
    Addition(Box<addition::Addition>),
    /// Says which charset a text is in.
    Charset(Box<charset::Charset>),
    /// Compresses the body.
    Gzip(Box<gzip::Gzip>),
}

/// What a method of the access phase says of a request that it does not refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may pass; with `satisfy any`, nobody else is asked.
    Allowed,
    /// Nothing against it, and nothing for it.
    Declined,
}

/// How `limit_conn`, `limit_req` and `auth_limit` dealt with a request, for their variables.
#[derive(Clone, Copy, Default)]
pub struct LimitStatus {
    /// The word for `$limit_conn_status`.
    pub conn: Option<&'static str>,
    /// The word for `$limit_req_status`.
    pub req: Option<&'static str>,
    /// The word for `$auth_limit_status`.
    pub auth: Option<&'static str>,
}
