//! Directives of modules that are neither nginx's nor NGINX Plus's, told apart by how their names begin: what to do
//! without the module.

use conf::{Diagnostic, Node};

/// How names begin, whose they are, and what to do.
const MODULES: &[(&[&str], &str, &str)] = &[
    (
        &["more_set_headers", "more_clear_headers", "more_set_input_headers", "more_clear_input_headers"],
        "headers-more",
        "use add_header, proxy_hide_header and proxy_set_header",
    ),
    (&["js_"], "njs", "use map for values, and a service behind auth_request or proxy_pass for decisions"),
    (&["brotli"], "brotli", "remove it, or let the upstream compress"),
    (&["zstd"], "zstd", "remove it, or let the upstream compress"),
    (&["vhost_traffic_status"], "vts", "use `prometheus;` in a location, or stub_status"),
    (&["modsecurity"], "ModSecurity", "run the firewall as a service before or behind this one"),
    (
        &["naxsi", "BasicRule", "MainRule", "SecRulesEnabled", "LearningMode", "CheckRule", "DeniedUrl"],
        "NAXSI",
        "run the firewall as a service before or behind this one",
    ),
    (&["geoip2"], "geoip2", "use geo with the networks that matter"),
    (&["auth_ldap"], "auth_ldap", "use auth_request with a service that asks the directory"),
    (&["auth_pam"], "auth_pam", "use auth_request with a service that asks PAM"),
    (&["auth_gss"], "SPNEGO", "use auth_request with a service that speaks Kerberos"),
    (&["auth_digest"], "auth_digest", "use auth_basic over TLS, or auth_request"),
    (&["auth_totp"], "auth_totp", "use auth_request with a service that knows the second factor"),
    (&["testcookie"], "testcookie", "use limit_req and limit_conn"),
    (&["upload_"], "upload", "let the application take the upload"),
    (&["echo"], "echo", "use return"),
    (&["subs_filter"], "substitutions", "change the text where it is made"),
    (&["fancyindex"], "fancyindex", "use autoindex"),
    (&["cache_purge"], "cache_purge", "let entries end with proxy_cache_valid"),
    (&["pagespeed"], "PageSpeed", "remove it"),
    (&["passenger"], "Passenger", "let the application listen for HTTP and use proxy_pass"),
    (&["rtmp"], "RTMP", "leave streaming to nginx"),
    (&["nchan", "push_stream"], "push", "proxy_pass to a service that pushes"),
    (
        &["check", "check_http_send", "check_http_expect_alive", "check_shm_size"],
        "upstream_check",
        "use max_fails and fail_timeout of the servers",
    ),
    (
        &["redis_pass", "redis2_", "memc_", "srcache_", "drizzle_", "postgres_"],
        "database",
        "proxy_pass to a service in front of the database",
    ),
    (&["opentracing", "opentelemetry"], "tracing", "use otel_trace and otel_exporter"),
    (&["set_by_lua", "lua_"], "Lua (OpenResty)", LUA),
    (
        &[
            "set_misc",
            "set_unescape_uri",
            "set_escape_uri",
            "set_md5",
            "set_sha1",
            "set_encode_base64",
            "set_decode_base64",
            "set_random",
            "set_if_empty",
            "set_secure_random",
        ],
        "set-misc",
        "use map, or compute the value in the service",
    ),
    (
        &["encrypted_session", "set_encrypt_session", "set_decrypt_session"],
        "encrypted-session",
        "keep sessions in the auth service",
    ),
    (&["array_"], "array-var", "use map"),
    (&["vod"], "vod", "serve the file as it is, or proxy_pass to a streaming server"),
    (&["fair"], "fair", "use least_conn"),
    (&["dynamic_upstream", "upsync"], "dynamic upstreams", "write the servers, and reload"),
    (&["more_"], "headers-more", "use add_header, proxy_hide_header and proxy_set_header"),
];

const LUA: &str = "use map for values, and a service behind auth_request or proxy_pass for decisions";

/// Adds to the complaint about a directive that nobody here knows whose it is, and what to do without.
pub(crate) fn explain(node: &Node, fault: Diagnostic) -> Diagnostic {
    let name = node.name.lossy();
    if !fault.message.starts_with("unknown directive") {
        return fault;
    }
    let module = |starts: &[&str]| {
        // What ends with `_` is a family, other names may go on with one.
        starts.iter().any(|start| {
            name.strip_prefix(start)
                .is_some_and(|rest| rest.is_empty() || start.ends_with('_') || rest.starts_with('_'))
        })
    };
    let known =
        MODULES.iter().find(|(starts, ..)| module(starts)).map(|(_, module, instead)| (*module, *instead));
    let is_lua = name.contains("_by_lua");
    match known.or(is_lua.then_some(("Lua (OpenResty)", LUA))) {
        Some((module, instead)) => fault.instead(format!(
            "it belongs to the module {module}, which is none of nginx's and is not here: {instead}"
        )),
        None => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str) -> Option<String> {
        let mut tree = conf::parse_text("t", b"x;").unwrap();
        tree.nodes[0].name.text = name.into();
        let fault = Diagnostic::at(tree.nodes[0].span, format!("unknown directive \"{name}\""));
        explain(&tree.nodes[0], fault).remedy
    }

    #[test]
    fn names_lead_to_their_module() {
        assert!(told("js_import").unwrap().contains("module njs,"));
        assert!(told("brotli").unwrap().contains("module brotli,"));
        assert!(told("brotli_types").unwrap().contains("module brotli,"));
        assert!(told("access_by_lua_file").unwrap().contains("module Lua"));
        assert!(told("more_set_headers").unwrap().contains("module headers-more,"));
        assert_eq!(told("brotlix"), None);
        assert_eq!(told("checkpoint"), None);
        assert_eq!(told("fairness"), None);
    }

    #[test]
    fn no_directive_that_is_known_is_taken_for_theirs() {
        for row in crate::modules::directives().chain(crate::directives::rows()) {
            assert_eq!(told(row.name), None, "{}", row.name);
        }
    }
}
