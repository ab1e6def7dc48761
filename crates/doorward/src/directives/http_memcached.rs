//! Directives of memcached.

use conf::Arg::{Flag, Many, Number, Optional, Size, Text, Time};

use super::contexts::{HSL, IF_IN_LOCATION, LOCATION};
use super::verdict::NO_MEMCACHED;
use super::{Row, row};

pub(super) static ROWS: &[Row] = &[
    row("memcached_bind", HSL, &[Text("address"), Optional(&Text("transparent"))], NO_MEMCACHED),
    row("memcached_buffer_size", HSL, &[Size], NO_MEMCACHED),
    row("memcached_connect_timeout", HSL, &[Time], NO_MEMCACHED),
    row("memcached_gzip_flag", HSL, &[Number], NO_MEMCACHED),
    row(
        "memcached_next_upstream",
        HSL,
        &[Many(&Text("error | timeout | denied | invalid_response | not_found | off"))],
        NO_MEMCACHED,
    ),
    row("memcached_next_upstream_timeout", HSL, &[Time], NO_MEMCACHED),
    row("memcached_next_upstream_tries", HSL, &[Number], NO_MEMCACHED),
    row("memcached_pass", LOCATION.or(IF_IN_LOCATION), &[Text("address")], NO_MEMCACHED),
    row("memcached_read_timeout", HSL, &[Time], NO_MEMCACHED),
    row("memcached_send_timeout", HSL, &[Time], NO_MEMCACHED),
    row("memcached_socket_keepalive", HSL, &[Flag], NO_MEMCACHED),
];
