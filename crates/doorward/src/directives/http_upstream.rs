//! Directives of groups of servers.

use conf::Arg::{Many, Number, Optional, Text, Time};

use super::contexts::{HTTP, UPSTREAM};
use super::verdict::NOT_BUILT;
use super::{Row, block, row};

pub(super) static ROWS: &[Row] = &[
    // ngx_http_upstream
    row(
        "resolver",
        UPSTREAM,
        &[
            Many(&Text("address")),
            Optional(&Text("valid=time")),
            Optional(&Text("ipv4=on|off")),
            Optional(&Text("ipv6=on|off")),
            Optional(&Text("status_zone=zone")),
        ],
        NOT_BUILT,
    ),
    row("resolver_timeout", UPSTREAM, &[Time], NOT_BUILT),
    row("server", UPSTREAM, &[Many(&Text("address"))], NOT_BUILT),
    block("upstream", HTTP, &[Text("name")], NOT_BUILT),
    // ngx_http_upstream_hash_module
    row("hash", UPSTREAM, &[Text("key"), Optional(&Text("consistent"))], NOT_BUILT),
    // ngx_http_upstream_ip_hash_module
    row("ip_hash", UPSTREAM, &[], NOT_BUILT),
    // ngx_http_upstream_keepalive_module
    row("keepalive", UPSTREAM, &[Text("connections"), Optional(&Text("local"))], NOT_BUILT),
    row("keepalive_requests", UPSTREAM, &[Number], NOT_BUILT),
    row("keepalive_time", UPSTREAM, &[Time], NOT_BUILT),
    row("keepalive_timeout", UPSTREAM, &[Time], NOT_BUILT),
    // ngx_http_upstream_least_conn_module
    row("least_conn", UPSTREAM, &[], NOT_BUILT),
    // ngx_http_upstream_least_time_module
    row("least_time", UPSTREAM, &[Text("header | last_byte"), Optional(&Text("inflight"))], NOT_BUILT),
    // ngx_http_upstream_random_module
    row("random", UPSTREAM, &[Optional(&Text("two")), Optional(&Text("method"))], NOT_BUILT),
    // ngx_http_upstream_sticky_module
    row("sticky", UPSTREAM, &[Text("method"), Many(&Text("parameter"))], NOT_BUILT),
    // ngx_http_upstream_zone_module
    row("zone", UPSTREAM, &[Text("name"), Optional(&Text("size"))], NOT_BUILT),
];
