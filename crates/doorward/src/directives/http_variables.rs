//! Directives that set variables: rewrite, map, geo and their like.

use conf::Arg::{Flag, Many, Number, Optional, Text};

use super::contexts::{HSL, HTTP};
use super::verdict::{NO_GEOIP, NOT_BUILT, OWN_HASHES};
use super::{Row, row};

pub(super) static ROWS: &[Row] = &[
    // ngx_http_rewrite_module
    // ngx_http_map_module
    row("map_hash_bucket_size", HTTP, &[Number], OWN_HASHES),
    row("map_hash_max_size", HTTP, &[Number], OWN_HASHES),
    // ngx_http_geoip_module
    row("geoip_city", HTTP, &[Text("file"), Optional(&Text("recursive"))], NO_GEOIP),
    row("geoip_country", HTTP, &[Text("file"), Optional(&Text("recursive"))], NO_GEOIP),
    row("geoip_org", HTTP, &[Text("file"), Optional(&Text("recursive"))], NO_GEOIP),
    row("geoip_proxy", HTTP, &[Text("address | CIDR")], NO_GEOIP),
    row("geoip_proxy_recursive", HTTP, &[Flag], NO_GEOIP),
    // ngx_http_browser_module
    row("ancient_browser", HSL, &[Many(&Text("string"))], NOT_BUILT),
    row("ancient_browser_value", HSL, &[Text("string")], NOT_BUILT),
    row("modern_browser", HSL, &[Text("browser"), Optional(&Text("version"))], NOT_BUILT),
    row("modern_browser_value", HSL, &[Text("string")], NOT_BUILT),
];
