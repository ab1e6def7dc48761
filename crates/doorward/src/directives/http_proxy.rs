//! Directives that pass a request to an HTTP server.

use conf::Arg::{Flag, Many, Number, Optional, Size, Text};

use super::contexts::HSL;
use super::verdict::{NO_OPENSSL, NOT_BUILT, OWN_HASHES, OWN_MEMORY, OWN_TLS_CACHE, OWN_WRITES};
use super::{Row, row};

pub(super) static ROWS: &[Row] = &[
    row("proxy_busy_buffers_size", HSL, &[Size], OWN_MEMORY),
    row("proxy_temp_file_write_size", HSL, &[Size], OWN_WRITES),
    row("proxy_headers_hash_max_size", HSL, &[Number], OWN_HASHES),
    row("proxy_headers_hash_bucket_size", HSL, &[Number], OWN_HASHES),
    row("proxy_send_lowat", HSL, &[Size], OWN_WRITES),
    // ngx_http_proxy_module
    row("proxy_ssl_certificate", HSL, &[Text("file")], NOT_BUILT),
    row(
        "proxy_ssl_certificate_cache",
        HSL,
        &[Text("off | max=N"), Optional(&Text("inactive=time")), Optional(&Text("valid=time"))],
        OWN_TLS_CACHE,
    ),
    row("proxy_ssl_certificate_key", HSL, &[Text("file")], NOT_BUILT),
    row("proxy_ssl_ciphers", HSL, &[Text("ciphers")], NOT_BUILT),
    row("proxy_ssl_conf_command", HSL, &[Text("name"), Text("value")], NO_OPENSSL),
    row("proxy_ssl_crl", HSL, &[Text("file")], NOT_BUILT),
    row("proxy_ssl_name", HSL, &[Text("name")], NOT_BUILT),
    row("proxy_ssl_password_file", HSL, &[Text("file")], NOT_BUILT),
    row("proxy_ssl_protocols", HSL, &[Many(&Text("protocol"))], NOT_BUILT),
    row("proxy_ssl_server_name", HSL, &[Flag], NOT_BUILT),
    row("proxy_ssl_session_reuse", HSL, &[Flag], NOT_BUILT),
    row("proxy_ssl_trusted_certificate", HSL, &[Text("file")], NOT_BUILT),
    row("proxy_ssl_verify", HSL, &[Flag], NOT_BUILT),
    row("proxy_ssl_verify_depth", HSL, &[Number], NOT_BUILT),
    // ngx_http_tunnel_module
    row("tunnel_buffer_size", HSL, &[Size], OWN_MEMORY),
    row("tunnel_send_lowat", HSL, &[Size], OWN_WRITES),
];
