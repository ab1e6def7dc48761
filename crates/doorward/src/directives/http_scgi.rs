//! Directives of SCGI.

use conf::Arg::{AnyMany, Flag, Many, Number, Offset, Optional, Size, Text, Time};

use super::contexts::{HSL, HTTP, IF_IN_LOCATION, LOCATION};
use super::verdict::{NO_SCGI, NO_TEMPORARY};
use super::{Row, row};

pub(super) static ROWS: &[Row] = &[
    row("scgi_bind", HSL, &[Text("address"), Optional(&Text("transparent"))], NO_SCGI),
    row("scgi_buffer_size", HSL, &[Size], NO_SCGI),
    row("scgi_buffering", HSL, &[Flag], NO_SCGI),
    row("scgi_buffers", HSL, &[Number, Size], NO_SCGI),
    row("scgi_busy_buffers_size", HSL, &[Size], NO_SCGI),
    row("scgi_cache", HSL, &[Text("zone | off")], NO_SCGI),
    row("scgi_cache_background_update", HSL, &[Flag], NO_SCGI),
    row("scgi_cache_bypass", HSL, &[Many(&Text("string"))], NO_SCGI),
    row("scgi_cache_key", HSL, &[Text("string")], NO_SCGI),
    row("scgi_cache_lock", HSL, &[Flag], NO_SCGI),
    row("scgi_cache_lock_age", HSL, &[Time], NO_SCGI),
    row("scgi_cache_lock_timeout", HSL, &[Time], NO_SCGI),
    row("scgi_cache_max_range_offset", HSL, &[Offset], NO_SCGI),
    row("scgi_cache_methods", HSL, &[Many(&Text("GET | HEAD | POST"))], NO_SCGI),
    row("scgi_cache_min_uses", HSL, &[Number], NO_SCGI),
    row("scgi_cache_path", HTTP, &[Text("path"), Many(&Text("parameter"))], NO_SCGI),
    row("scgi_cache_revalidate", HSL, &[Flag], NO_SCGI),
    row(
        "scgi_cache_use_stale",
        HSL,
        &[Many(&Text(
            "error | timeout | invalid_header | updating | http_500 | http_503 | http_403 | http_404 | http_429 | off",
        ))],
        NO_SCGI,
    ),
    row("scgi_cache_valid", HSL, &[AnyMany(&Text("code")), Text("time")], NO_SCGI),
    row("scgi_connect_timeout", HSL, &[Time], NO_SCGI),
    row("scgi_force_ranges", HSL, &[Flag], NO_SCGI),
    row("scgi_hide_header", HSL, &[Text("field")], NO_SCGI),
    row("scgi_ignore_client_abort", HSL, &[Flag], NO_SCGI),
    row("scgi_ignore_headers", HSL, &[Many(&Text("field"))], NO_SCGI),
    row("scgi_intercept_errors", HSL, &[Flag], NO_SCGI),
    row("scgi_limit_rate", HSL, &[Text("rate")], NO_SCGI),
    row("scgi_max_temp_file_size", HSL, &[Size], NO_SCGI),
    row(
        "scgi_next_upstream",
        HSL,
        &[Many(&Text(
            "error | timeout | denied | invalid_header | http_500 | http_503 | http_403 | http_404 | http_429 | non_idempotent | off",
        ))],
        NO_SCGI,
    ),
    row("scgi_next_upstream_timeout", HSL, &[Time], NO_SCGI),
    row("scgi_next_upstream_tries", HSL, &[Number], NO_SCGI),
    row("scgi_no_cache", HSL, &[Many(&Text("string"))], NO_SCGI),
    row("scgi_param", HSL, &[Text("parameter"), Text("value"), Optional(&Text("if_not_empty"))], NO_SCGI),
    row("scgi_pass", LOCATION.or(IF_IN_LOCATION), &[Text("address")], NO_SCGI),
    row("scgi_pass_header", HSL, &[Text("field")], NO_SCGI),
    row("scgi_pass_request_body", HSL, &[Flag], NO_SCGI),
    row("scgi_pass_request_headers", HSL, &[Flag], NO_SCGI),
    row("scgi_read_timeout", HSL, &[Time], NO_SCGI),
    row("scgi_request_buffering", HSL, &[Flag], NO_SCGI),
    row("scgi_send_timeout", HSL, &[Time], NO_SCGI),
    row("scgi_socket_keepalive", HSL, &[Flag], NO_SCGI),
    row("scgi_socket_rcvbuf", HSL, &[Size], NO_SCGI),
    row("scgi_socket_sndbuf", HSL, &[Size], NO_SCGI),
    row("scgi_store", HSL, &[Text("on | off | string")], NO_SCGI),
    row(
        "scgi_store_access",
        HSL,
        &[Text("permissions"), Optional(&Text("permissions")), Optional(&Text("permissions"))],
        NO_SCGI,
    ),
    row("scgi_temp_file_write_size", HSL, &[Size], NO_TEMPORARY),
    row(
        "scgi_temp_path",
        HSL,
        &[Text("path"), Optional(&Text("level1")), Optional(&Text("level2")), Optional(&Text("level3"))],
        NO_TEMPORARY,
    ),
];
