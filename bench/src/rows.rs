//! What is measured: one row each, with the configuration that both servers get.

use crate::backend::Ports;
use crate::load::Over;
use crate::server::{Gateway, Kind};
use crate::tokens::Bearer;

/// One thing to measure.
pub(crate) struct Row {
    /// The word for it on the command line.
    pub(crate) name: &'static str,
    /// The same in a sentence.
    pub(crate) what: &'static str,
    /// The path that is asked for.
    pub(crate) path: &'static str,
    /// The only right status.
    pub(crate) status: u16,
    /// How the requests come.
    pub(crate) over: Over,
    /// Connections that ask at the same time.
    pub(crate) connections: usize,
    /// What the requests show.
    pub(crate) bearer: Bearer,
    /// The content of `http`, given who will read it.
    pub(crate) http: fn(&Setting<'_>) -> String,
    /// That of the Doorward that takes nginx's place, where something costs what nginx does not have.
    pub(crate) without: Option<fn(&Setting<'_>) -> String>,
}

/// What a configuration is written for.
pub(crate) struct Setting<'a> {
    pub(crate) gateway: &'a Gateway,
    /// The port to listen on.
    pub(crate) port: u16,
    /// Where the services are.
    pub(crate) backend: &'a Ports,
}

/// What most rows have in common.
const ROW: Row = Row {
    name: "",
    what: "",
    path: "/",
    status: 200,
    over: Over::Http1,
    connections: 64,
    bearer: Bearer::Word,
    http: direct,
    without: None,
};

/// All rows, cheapest first.
pub(crate) static ALL: &[Row] = &[
    Row { name: "return", what: "return 200, no upstream", http: direct, ..ROW },
    Row { name: "file", what: "a file of 1 kB", path: "/1k", http: files, ..ROW },
    Row { name: "proxy", what: "a small answer from an upstream", http: proxy, ..ROW },
    Row { name: "auth", what: "auth_request, allowed", http: auth, ..ROW },
    Row { name: "refused", what: "auth_request, answered 401", status: 401, http: refused, ..ROW },
    Row {
        name: "refused-body",
        what: "the same, with a body from the auth service",
        status: 401,
        http: refused_body,
        ..ROW
    },
    Row { name: "cached", what: "auth_request, answer from proxy_cache", http: cached, ..ROW },
    Row { name: "cached-best", what: "the same, with open_file_cache", http: cached_best, ..ROW },
    Row { name: "body-64k", what: "64 kB from an upstream", path: "/64k", http: proxy, ..ROW },
    Row { name: "body-1m", what: "1 MB from an upstream", path: "/1m", http: proxy, ..ROW },
    Row { name: "many", what: "proxy with 1,000 connections", connections: 1000, http: proxy, ..ROW },
    Row {
        name: "guide",
        what: "the multi-service configuration, access_log on",
        path: "/api/service-a",
        http: guide,
        ..ROW
    },
    Row {
        name: "usual",
        what: "auth_request with the fields and the access log that are usual",
        http: usual,
        ..ROW
    },
    Row {
        name: "tls",
        what: "auth_request over kept TLS connections",
        over: Over::Tls,
        http: |at| secured(at, "ecdsa", &auth(at)),
        ..ROW
    },
    Row {
        name: "tls-64k",
        what: "64 kB from an upstream over TLS",
        path: "/64k",
        over: Over::Tls,
        http: |at| secured(at, "ecdsa", &proxy(at)),
        ..ROW
    },
    Row {
        name: "handshake",
        what: "return 200 behind a full TLS handshake, ECDSA certificate",
        over: Over::Handshake,
        http: |at| secured(at, "ecdsa", &direct(at)),
        ..ROW
    },
    Row {
        name: "handshake-rsa",
        what: "the same, with an RSA certificate",
        over: Over::Handshake,
        http: |at| secured(at, "rsa", &direct(at)),
        ..ROW
    },
    Row {
        name: "tls-upstream",
        what: "a small answer from an upstream over kept TLS connections",
        http: |at| {
            proxy(at).replace("proxy_pass http:", "proxy_pass https:").replace(
                &format!("127.0.0.1:{};", at.backend.service),
                &format!("127.0.0.1:{};", at.backend.secured),
            )
        },
        ..ROW
    },
    Row {
        name: "h2-return",
        what: "return 200 over HTTP/2, 16 streams on each of 16 connections",
        over: Over::Http2,
        connections: 16,
        http: |at| http2(&direct(at)),
        ..ROW
    },
    Row {
        name: "h2",
        what: "auth_request over HTTP/2, 16 streams on each of 16 connections",
        over: Over::Http2,
        connections: 16,
        http: |at| http2(&auth(at)),
        ..ROW
    },
    Row {
        name: "h2-64k",
        what: "64 kB from an upstream over HTTP/2",
        path: "/64k",
        over: Over::Http2,
        connections: 16,
        http: |at| http2(&proxy(at)),
        ..ROW
    },
    Row {
        name: "h2-tls",
        what: "auth_request over HTTP/2 and TLS",
        over: Over::Http2Tls,
        connections: 16,
        http: |at| http2(&secured(at, "ecdsa", &auth(at))),
        ..ROW
    },
    Row {
        name: "proxy-metrics",
        what: "proxy with metrics, beside itself without",
        http: |at| METRICS.to_owned() + &proxy(at),
        without: Some(proxy),
        ..ROW
    },
    Row {
        name: "auth-metrics",
        what: "auth_request with metrics, beside itself without",
        http: |at| METRICS.to_owned() + &auth(at),
        without: Some(auth),
        ..ROW
    },
    Row {
        name: "auth-cache",
        what: "auth_request from auth_request_cache, beside proxy",
        http: decided,
        without: Some(proxy),
        ..ROW
    },
    Row {
        name: "jwt-hs256",
        what: "auth_jwt with an HS256 token again and again, beside proxy",
        bearer: Bearer::Hs256,
        http: token,
        without: Some(proxy),
        ..ROW
    },
    Row {
        name: "jwt-rs256",
        what: "auth_jwt with an RS256 token again and again, beside proxy",
        bearer: Bearer::Rs256,
        http: token,
        without: Some(proxy),
        ..ROW
    },
    Row {
        name: "jwt-es256",
        what: "auth_jwt with an ES256 token again and again, beside proxy",
        bearer: Bearer::Es256,
        http: token,
        without: Some(proxy),
        ..ROW
    },
    Row {
        name: "jwt-asked",
        what: "auth_jwt with an ES256 token, beside nginx that asks a service",
        bearer: Bearer::Es256,
        http: |at| if at.gateway.kind == Kind::Nginx { auth(at) } else { token(at) },
        ..ROW
    },
    Row {
        name: "service-key",
        what: "auth_service asked with one of 1,000,000 keys, beside return 204",
        path: "/auth",
        status: 204,
        bearer: Bearer::ApiKey,
        http: service,
        without: Some(nothing),
        ..ROW
    },
    Row {
        name: "service-session",
        what: "auth_service asked with a session, beside return 204",
        path: "/auth",
        status: 204,
        bearer: Bearer::Session,
        http: service,
        without: Some(nothing),
        ..ROW
    },
    Row {
        name: "auth-in-place",
        what: "auth with one of 1,000,000 keys, beside proxy",
        bearer: Bearer::ApiKey,
        http: in_place,
        without: Some(proxy),
        ..ROW
    },
    Row {
        name: "service-asked",
        what: "auth_request that asks auth_service here, beside nginx that asks a service",
        bearer: Bearer::ApiKey,
        http: |at| if at.gateway.kind == Kind::Nginx { auth(at) } else { service_asked(at) },
        ..ROW
    },
];

/// A configuration that listens with TLS, and a certificate for that kind of key.
pub(crate) fn secured(at: &Setting<'_>, key: &str, http: &str) -> String {
    let Setting { port, backend, .. } = at;
    let file = format!("{}/{key}.pem", backend.files);
    let listens = format!("listen 127.0.0.1:{port};");
    let secured = format!("listen 127.0.0.1:{port} ssl; ssl_certificate {file}; ssl_certificate_key {file};");
    http.replace(&listens, &secured)
}

fn http2(http: &str) -> String {
    format!("http2 on;\n{http}")
}

/// Something shows metrics, and so they are counted.
const METRICS: &str = "server { listen unix:metrics.sock; location / { prometheus; } }\n";

/// What variables cost: those that most configurations pass on and log.
fn usual(at: &Setting<'_>) -> String {
    let log = "log_format usual '$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \
        \"$http_referer\" \"$http_user_agent\" $request_time $upstream_response_time $request_id';\n\
        access_log access.log usual;";
    let fields = "proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr; \
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; \
        proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Request-ID $request_id;";
    asking(at, "allow", fields)
        .replace("access_log off;", log)
        .replace("auth_request /auth;", &format!("auth_request /auth; {fields}"))
}

fn decided(at: &Setting<'_>) -> String {
    asking(at, "allow", "")
        .replace("auth_request /auth;", "auth_request /auth; auth_request_cache zone=decisions:1m ttl=10m;")
}

fn token(at: &Setting<'_>) -> String {
    let jwt = format!(
        "location / {{ auth_jwt bench; auth_jwt_key_file {}/keys.json; proxy_set_header X-User $jwt_claim_sub;",
        at.backend.files
    );
    proxy(at).replace("location / {", &jwt)
}

/// A service that holds 100,000 keys in memory: half of it is for keys.
fn store(at: &Setting<'_>) -> String {
    let files = &at.backend.files;
    format!(
        "auth_service bench {{ auth_store sqlite:{files}/auth.db memory=128m; auth_api_key; auth_session; }}\n"
    )
}

fn service(at: &Setting<'_>) -> String {
    let own = format!(
        "access_log off; server {{ listen 127.0.0.1:{}; location = /auth {{ auth_service bench; }} }}",
        at.port
    );
    store(at) + &own
}

fn nothing(at: &Setting<'_>) -> String {
    format!("access_log off; server {{ listen 127.0.0.1:{}; location = /auth {{ return 204; }} }}", at.port)
}

fn in_place(at: &Setting<'_>) -> String {
    store(at) + &proxy(at).replace("location / {", "location / { auth bench;")
}

fn service_asked(at: &Setting<'_>) -> String {
    let here = "location / { auth_request /auth;";
    store(at)
        + &proxy(at)
            .replace("location / {", here)
            .replace("server { listen", "server { location = /auth { internal; auth_service bench; } listen")
}

/// To an upstream over kept connections, spelled out for versions of nginx where that is not the default.
const KEPT: &str = "proxy_http_version 1.1; proxy_set_header Connection \"\";";

fn direct(at: &Setting<'_>) -> String {
    format!(
        "access_log off; server {{ listen 127.0.0.1:{}; location / {{ return 200 \"hello\\n\"; }} }}",
        at.port
    )
}

fn files(at: &Setting<'_>) -> String {
    format!(
        "access_log off; sendfile on; server {{ listen 127.0.0.1:{}; root {}; }}",
        at.port, at.backend.files
    )
}

fn upstreams(at: &Setting<'_>) -> String {
    let Ports { service, auth, .. } = at.backend;
    format!(
        "access_log off;\n\
         upstream service {{ server 127.0.0.1:{service}; keepalive 1024; keepalive_requests 1000000000; }}\n\
         upstream auth {{ server 127.0.0.1:{auth}; keepalive 1024; keepalive_requests 1000000000; }}\n"
    )
}

fn proxy(at: &Setting<'_>) -> String {
    let Setting { port, .. } = at;
    upstreams(at)
        + &format!("server {{ listen 127.0.0.1:{port}; {KEPT} location / {{ proxy_pass http://service; }} }}")
}

fn asking(at: &Setting<'_>, verdict: &str, more: &str) -> String {
    let Setting { port, .. } = at;
    upstreams(at)
        + &format!(
            "server {{ listen 127.0.0.1:{port};
    location / {{ auth_request /auth; {KEPT} proxy_pass http://service; }}
    location = /auth {{
        internal;
        {KEPT}
        proxy_pass http://auth/{verdict};
        proxy_pass_request_body off;
        proxy_set_header Content-Length \"\";
        {more}
    }}
}}"
        )
}

fn auth(at: &Setting<'_>) -> String {
    asking(at, "allow", "")
}

fn refused_body(at: &Setting<'_>) -> String {
    asking(at, "refuse-with-words", "")
}

fn refused(at: &Setting<'_>) -> String {
    asking(at, "refuse", "")
}

const CACHE: &str = "proxy_cache_path cache keys_zone=decisions:10m;\n";
const ASK_CACHE: &str =
    "proxy_cache decisions; proxy_cache_key \"$http_authorization$http_cookie\"; proxy_cache_valid 200 10m;";

fn cached(at: &Setting<'_>) -> String {
    CACHE.to_owned() + &asking(at, "allow", ASK_CACHE)
}

fn cached_best(at: &Setting<'_>) -> String {
    let files = "open_file_cache max=1000 inactive=60s; open_file_cache_valid 60s;";
    CACHE.to_owned() + &asking(at, "allow", &format!("{ASK_CACHE} {files}"))
}

/// The guide's configuration with its host names mapped to local ports. Before 1.29.7 nginx opened a connection
/// for every request unless told otherwise; there it is told, so that keeping connections is not what is measured.
fn guide(at: &Setting<'_>) -> String {
    let Setting { gateway, port, backend } = at;
    let Ports { service, auth, .. } = backend;
    let (keep, kept) = if gateway.keeps_by_default() { ("", "") } else { ("keepalive 32;", KEPT) };
    let mut http = format!("    upstream auth_service {{ server 127.0.0.1:{auth}; {keep} }}\n");
    for name in ["service_a", "service_b", "service_c"] {
        http += &format!("    upstream {name} {{ server 127.0.0.1:{service}; {keep} }}\n");
    }
    http += &format!(
        "    server {{
        listen 127.0.0.1:{port};
        server_name example.com;
        location /auth {{
            internal;
            {kept}
            proxy_pass http://auth_service/validate;
            proxy_pass_request_body off;
            proxy_set_header Content-Length \"\";
            proxy_set_header X-Original-URI $request_uri;
        }}\n"
    );
    for letter in ["a", "b", "c"] {
        http += &format!(
            "        location /api/service-{letter} {{ auth_request /auth; {kept} proxy_pass http://service_{letter}; }}\n"
        );
    }
    http + "    }\n"
}
