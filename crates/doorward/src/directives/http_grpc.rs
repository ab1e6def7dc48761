//! Directives of gRPC.

use conf::Arg::{Flag, Many, Number, Optional, Size, Text, Time};

use super::contexts::{HSL, IF_IN_LOCATION, LOCATION};
use super::verdict::{NO_OPENSSL, NOT_BUILT, OWN_TLS_CACHE};
use super::{Row, row};

pub(super) static ROWS: &[Row] = &[
    row("grpc_bind", HSL, &[Text("address"), Optional(&Text("transparent"))], NOT_BUILT),
    row("grpc_buffer_size", HSL, &[Size], NOT_BUILT),
    row("grpc_connect_timeout", HSL, &[Time], NOT_BUILT),
    row("grpc_hide_header", HSL, &[Text("field")], NOT_BUILT),
    row("grpc_ignore_headers", HSL, &[Many(&Text("field"))], NOT_BUILT),
    row("grpc_intercept_errors", HSL, &[Flag], NOT_BUILT),
    row(
        "grpc_next_upstream",
        HSL,
        &[Many(&Text(
            "error | timeout | denied | invalid_header | http_500 | http_502 | http_503 | http_504 | http_403 | http_404 | http_429 | non_idempotent | off",
        ))],
        NOT_BUILT,
    ),
    row("grpc_next_upstream_timeout", HSL, &[Time], NOT_BUILT),
    row("grpc_next_upstream_tries", HSL, &[Number], NOT_BUILT),
    row("grpc_pass", LOCATION.or(IF_IN_LOCATION), &[Text("address")], NOT_BUILT),
    row("grpc_pass_header", HSL, &[Text("field")], NOT_BUILT),
    row("grpc_read_timeout", HSL, &[Time], NOT_BUILT),
    row("grpc_send_timeout", HSL, &[Time], NOT_BUILT),
    row("grpc_set_header", HSL, &[Text("field"), Text("value")], NOT_BUILT),
    row("grpc_socket_keepalive", HSL, &[Flag], NOT_BUILT),
    row("grpc_socket_rcvbuf", HSL, &[Size], NOT_BUILT),
    row("grpc_socket_sndbuf", HSL, &[Size], NOT_BUILT),
    row("grpc_ssl_certificate", HSL, &[Text("file")], NOT_BUILT),
    row(
        "grpc_ssl_certificate_cache",
        HSL,
        &[Text("off | max=N"), Optional(&Text("inactive=time")), Optional(&Text("valid=time"))],
        OWN_TLS_CACHE,
    ),
    row("grpc_ssl_certificate_key", HSL, &[Text("file")], NOT_BUILT),
    row("grpc_ssl_ciphers", HSL, &[Text("ciphers")], NOT_BUILT),
    row("grpc_ssl_conf_command", HSL, &[Text("name"), Text("value")], NO_OPENSSL),
    row("grpc_ssl_crl", HSL, &[Text("file")], NOT_BUILT),
    row("grpc_ssl_name", HSL, &[Text("name")], NOT_BUILT),
    row("grpc_ssl_password_file", HSL, &[Text("file")], NOT_BUILT),
    row("grpc_ssl_protocols", HSL, &[Many(&Text("protocol"))], NOT_BUILT),
    row("grpc_ssl_server_name", HSL, &[Flag], NOT_BUILT),
    row("grpc_ssl_session_reuse", HSL, &[Flag], NOT_BUILT),
    row("grpc_ssl_trusted_certificate", HSL, &[Text("file")], NOT_BUILT),
    row("grpc_ssl_verify", HSL, &[Flag], NOT_BUILT),
    row("grpc_ssl_verify_depth", HSL, &[Number], NOT_BUILT),
];
