//! Directives of the commercial NGINX Plus and of modules that are built apart from nginx.

use conf::Arg::{AnyMany, Flag, Many, Number, Optional, Size, Text, Time};

use super::contexts::{EVENTS, HS, HSL, HTTP, IF_IN_LOCATION, LOCATION, MAIN, SERVER, SL};
use super::verdict::{AUTH_LATER, NO_ACME, NO_LICENCE, NO_PLUS, NO_VIDEO};
use super::{Row, free, row};

pub(super) static ROWS: &[Row] = &[
    // ngx_http_acme_module
    free("acme_issuer", HTTP, &[Text("name")], NO_ACME),
    row("acme_shared_zone", HTTP, &[Text("zone=name:size")], NO_ACME),
    row("acme_certificate", SERVER, &[Text("issuer"), AnyMany(&Text("identifier"))], NO_ACME),
    // ngx_http_api_module
    row("api", LOCATION, &[Optional(&Text("write=on|off"))], NO_PLUS),
    row("status_zone", SL.or(IF_IN_LOCATION), &[Text("zone")], NO_PLUS),
    // ngx_http_core_module
    row("error_log_tag", HSL, &[Text("name"), Text("value")], NO_PLUS),
    // ngx_http_f4f_module
    row("f4f", LOCATION, &[], NO_VIDEO),
    row("f4f_buffer_size", HSL, &[Size], NO_VIDEO),
    // ngx_http_fastcgi_module
    row("fastcgi_allow_upstream", HSL, &[Many(&Text("string"))], NO_PLUS),
    row("fastcgi_bind_dynamic", HSL, &[Flag], NO_PLUS),
    row("fastcgi_cache_purge", HSL, &[Many(&Text("string"))], NO_PLUS),
    row("fastcgi_request_dynamic", HSL, &[Flag], NO_PLUS),
    // ngx_http_grpc_module
    row("grpc_allow_upstream", HSL, &[Text("address")], NO_PLUS),
    row("grpc_bind_dynamic", HSL, &[Flag], NO_PLUS),
    row("grpc_request_dynamic", HSL, &[Flag], NO_PLUS),
    row("grpc_ssl_key_log", HSL, &[Text("path")], NO_PLUS),
    // ngx_http_hls_module
    row("hls", LOCATION, &[], NO_VIDEO),
    row("hls_buffers", HSL, &[Number, Size], NO_VIDEO),
    row("hls_forward_args", HSL, &[Flag], NO_VIDEO),
    row("hls_fragment", HSL, &[Time], NO_VIDEO),
    row("hls_mp4_buffer_size", HSL, &[Size], NO_VIDEO),
    row("hls_mp4_max_buffer_size", HSL, &[Size], NO_VIDEO),
    // ngx_http_internal_redirect_module
    row("internal_redirect", SL, &[Text("uri")], NO_PLUS),
    // ngx_http_keyval_module
    row("keyval", HTTP, &[Text("key"), Text("$variable"), Text("zone=name")], NO_PLUS),
    row(
        "keyval_zone",
        HTTP,
        &[
            Text("zone=name:size"),
            Optional(&Text("state=file")),
            Optional(&Text("timeout=time")),
            Optional(&Text("type=string|ip|prefix")),
            Optional(&Text("sync")),
        ],
        NO_PLUS,
    ),
    // ngx_http_memcached_module
    row("memcached_allow_upstream", HSL, &[Many(&Text("string"))], NO_PLUS),
    row("memcached_bind_dynamic", HSL, &[Flag], NO_PLUS),
    // ngx_http_mp4_module
    row("mp4_limit_rate", HSL, &[Text("on | off | factor")], NO_VIDEO),
    row("mp4_limit_rate_after", HSL, &[Time], NO_VIDEO),
    // ngx_http_num_map_module
    free("num_map", HTTP, &[Optional(&Text("$number")), Text("$variable")], NO_PLUS),
    // ngx_http_oidc_module
    free("oidc_provider", HTTP, &[Text("name")], AUTH_LATER),
    row("auth_oidc", HSL, &[Text("name | off")], AUTH_LATER),
    // ngx_http_proxy_module
    row("proxy_allow_upstream", HSL, &[Many(&Text("string"))], NO_PLUS),
    row("proxy_bind_dynamic", HSL, &[Flag], NO_PLUS),
    row("proxy_cache_purge", HSL, &[Many(&Text("string"))], NO_PLUS),
    row("proxy_request_dynamic", HSL, &[Flag], NO_PLUS),
    row("proxy_ssl_key_log", HSL, &[Text("path")], NO_PLUS),
    // ngx_http_scgi_module
    row("scgi_allow_upstream", HSL, &[Many(&Text("string"))], NO_PLUS),
    row("scgi_bind_dynamic", HSL, &[Flag], NO_PLUS),
    row("scgi_cache_purge", HSL, &[Many(&Text("string"))], NO_PLUS),
    row("scgi_request_dynamic", HSL, &[Flag], NO_PLUS),
    // ngx_http_session_log_module
    row("session_log", HSL, &[Text("name | off")], NO_PLUS),
    row("session_log_format", HTTP, &[Text("name"), Many(&Text("string"))], NO_PLUS),
    row(
        "session_log_zone",
        HTTP,
        &[
            Text("path"),
            Text("zone=name:size"),
            Optional(&Text("format=format")),
            Optional(&Text("timeout=time")),
            Optional(&Text("id=id")),
            Optional(&Text("md5=md5")),
        ],
        NO_PLUS,
    ),
    // ngx_http_ssl_module
    row("ssl_key_log", HS, &[Text("path")], NO_PLUS),
    // ngx_http_status_module
    row("status_format", HSL, &[Text("json | jsonp"), Optional(&Text("callback"))], NO_PLUS),
    // ngx_http_tunnel_module
    row("tunnel_allow_upstream", HSL, &[Many(&Text("string"))], NO_PLUS),
    row("tunnel_bind_dynamic", HSL, &[Flag], NO_PLUS),
    // ngx_http_uwsgi_module
    row("uwsgi_allow_upstream", HSL, &[Many(&Text("string"))], NO_PLUS),
    row("uwsgi_bind_dynamic", HSL, &[Flag], NO_PLUS),
    row("uwsgi_cache_purge", HSL, &[Many(&Text("string"))], NO_PLUS),
    row("uwsgi_request_dynamic", HSL, &[Flag], NO_PLUS),
    row("uwsgi_ssl_key_log", HSL, &[Text("path")], NO_PLUS),
    // ngx_core_module
    row("stall_threshold", EVENTS, &[Time], NO_PLUS),
    // ngx_mgmt_module
    free("mgmt", MAIN, &[], NO_LICENCE),
];
