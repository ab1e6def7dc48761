//! Directives of FastCGI that the module has not, or needs not.

use conf::Arg::{AnyMany, Flag, Many, Number, Offset, Optional, Size, Text, Time};

use super::contexts::{HSL, HTTP};
use super::verdict::{NO_FASTCGI, NO_TEMPORARY, ONE_REQUEST, OWN_MEMORY, OWN_WRITES};
use super::{Row, row};

pub(super) static ROWS: &[Row] = &[
    row("fastcgi_bind", HSL, &[Text("address"), Optional(&Text("transparent"))], NO_FASTCGI),
    row("fastcgi_buffers", HSL, &[Number, Size], OWN_MEMORY),
    row("fastcgi_busy_buffers_size", HSL, &[Size], OWN_MEMORY),
    row("fastcgi_cache", HSL, &[Text("zone | off")], NO_FASTCGI),
    row("fastcgi_cache_background_update", HSL, &[Flag], NO_FASTCGI),
    row("fastcgi_cache_bypass", HSL, &[Many(&Text("string"))], NO_FASTCGI),
    row("fastcgi_cache_key", HSL, &[Text("string")], NO_FASTCGI),
    row("fastcgi_cache_lock", HSL, &[Flag], NO_FASTCGI),
    row("fastcgi_cache_lock_age", HSL, &[Time], NO_FASTCGI),
    row("fastcgi_cache_lock_timeout", HSL, &[Time], NO_FASTCGI),
    row("fastcgi_cache_max_range_offset", HSL, &[Offset], NO_FASTCGI),
    row("fastcgi_cache_methods", HSL, &[Many(&Text("GET | HEAD | POST"))], NO_FASTCGI),
    row("fastcgi_cache_min_uses", HSL, &[Number], NO_FASTCGI),
    row("fastcgi_cache_path", HTTP, &[Text("path"), Many(&Text("parameter"))], NO_FASTCGI),
    row("fastcgi_cache_revalidate", HSL, &[Flag], NO_FASTCGI),
    row(
        "fastcgi_cache_use_stale",
        HSL,
        &[Many(&Text(
            "error | timeout | invalid_header | updating | http_500 | http_503 | http_403 | http_404 | http_429 | off",
        ))],
        NO_FASTCGI,
    ),
    row("fastcgi_cache_valid", HSL, &[AnyMany(&Text("code")), Text("time")], NO_FASTCGI),
    row("fastcgi_catch_stderr", HSL, &[Text("string")], NO_FASTCGI),
    row("fastcgi_force_ranges", HSL, &[Flag], NO_FASTCGI),
    row("fastcgi_keep_conn", HSL, &[Flag], ONE_REQUEST),
    row("fastcgi_limit_rate", HSL, &[Text("rate")], NO_FASTCGI),
    row("fastcgi_max_temp_file_size", HSL, &[Size], NO_TEMPORARY),
    row("fastcgi_next_upstream_timeout", HSL, &[Time], NO_FASTCGI),
    row("fastcgi_no_cache", HSL, &[Many(&Text("string"))], NO_FASTCGI),
    row("fastcgi_send_lowat", HSL, &[Size], OWN_WRITES),
    row("fastcgi_socket_keepalive", HSL, &[Flag], NO_FASTCGI),
    row("fastcgi_socket_rcvbuf", HSL, &[Size], NO_FASTCGI),
    row("fastcgi_socket_sndbuf", HSL, &[Size], NO_FASTCGI),
    row("fastcgi_store", HSL, &[Text("on | off | string")], NO_FASTCGI),
    row(
        "fastcgi_store_access",
        HSL,
        &[Text("permissions"), Optional(&Text("permissions")), Optional(&Text("permissions"))],
        NO_FASTCGI,
    ),
    row("fastcgi_temp_file_write_size", HSL, &[Size], NO_TEMPORARY),
    row(
        "fastcgi_temp_path",
        HSL,
        &[Text("path"), Optional(&Text("level1")), Optional(&Text("level2")), Optional(&Text("level3"))],
        NO_TEMPORARY,
    ),
];
