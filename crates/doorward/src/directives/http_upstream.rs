//! Directives of groups of servers.

use conf::Arg::{Optional, Text};

use super::contexts::UPSTREAM;
use super::verdict::{NOT_BUILT, SHARED_STATE};
use super::{Row, row};

pub(super) static ROWS: &[Row] = &[
    row("zone", UPSTREAM, &[Text("name"), Optional(&Text("size"))], SHARED_STATE),
    // ngx_http_upstream_least_time_module
    row("least_time", UPSTREAM, &[Text("header | last_byte"), Optional(&Text("inflight"))], NOT_BUILT),
];
