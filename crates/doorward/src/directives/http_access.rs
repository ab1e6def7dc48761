//! Directives that decide who may pass, and how often.

use conf::Arg::{Flag, Many, Number, Text};

use super::contexts::{HSL, HTTP, SL};
use super::verdict::{NO_DEGRADATION, NOT_BUILT, OWN_HASHES};
use super::{Row, row};

pub(super) static ROWS: &[Row] = &[
    // ngx_http_auth_request_module
    row("auth_request", HSL, &[Text("uri | off")], NOT_BUILT),
    row("auth_request_set", HSL, &[Text("$variable"), Text("value")], NOT_BUILT),
    // ngx_http_realip_module
    row("real_ip_header", HSL, &[Text("field | X-Real-IP | X-Forwarded-For | proxy_protocol")], NOT_BUILT),
    row("real_ip_recursive", HSL, &[Flag], NOT_BUILT),
    row("set_real_ip_from", HSL, &[Text("address | CIDR | unix:")], NOT_BUILT),
    // ngx_http_referer_module
    row("referer_hash_bucket_size", SL, &[Number], OWN_HASHES),
    row("referer_hash_max_size", SL, &[Number], OWN_HASHES),
    row("valid_referers", SL, &[Many(&Text("none | blocked | server_names | string"))], NOT_BUILT),
    // ngx_http_secure_link_module
    row("secure_link", HSL, &[Text("expression")], NOT_BUILT),
    row("secure_link_md5", HSL, &[Text("expression")], NOT_BUILT),
    row("secure_link_secret", HSL, &[Text("word")], NOT_BUILT),
    // ngx_http_degradation_module
    row("degradation", HTTP, &[Text("value")], NO_DEGRADATION),
    row("degrade", HSL, &[Text("value")], NO_DEGRADATION),
];
