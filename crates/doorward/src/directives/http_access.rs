//! Directives that decide who may pass, and how often.

use conf::Arg::{Number, Text};

use super::contexts::{HSL, HTTP, SL};
use super::verdict::{NO_DEGRADATION, OWN_HASHES};
use super::{Row, row};

pub(super) static ROWS: &[Row] = &[
    // ngx_http_auth_request_module
    // ngx_http_referer_module
    row("referer_hash_bucket_size", SL, &[Number], OWN_HASHES),
    row("referer_hash_max_size", SL, &[Number], OWN_HASHES),
    // ngx_http_degradation_module
    row("degradation", HTTP, &[Text("value")], NO_DEGRADATION),
    row("degrade", HSL, &[Text("value")], NO_DEGRADATION),
];
