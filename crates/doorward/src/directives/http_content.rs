//! Directives that make an answer without asking another server, and `mirror`.

use conf::Arg::{Choice, Flag, Many, Number, Optional, Size, Text};

use super::contexts::{HSL, HTTP, LIMIT_EXCEPT, LOCATION};
use super::verdict::{NO_DAV, NO_PERL, NO_VIDEO, NOT_BUILT};
use super::{Row, row};

pub(super) static ROWS: &[Row] = &[
    // ngx_http_gzip_static_module
    row("gzip_static", HSL, &[Choice(&["on", "off", "always"])], NOT_BUILT),
    // ngx_http_dav_module
    row("create_full_put_path", HSL, &[Flag], NO_DAV),
    row(
        "dav_access",
        HSL,
        &[Text("permissions"), Optional(&Text("permissions")), Optional(&Text("permissions"))],
        NO_DAV,
    ),
    row("dav_methods", HSL, &[Many(&Text("off | method"))], NO_DAV),
    row("min_delete_depth", HSL, &[Number], NO_DAV),
    // ngx_http_flv_module
    row("flv", LOCATION, &[], NO_VIDEO),
    // ngx_http_mp4_module
    row("mp4", LOCATION, &[], NO_VIDEO),
    row("mp4_buffer_size", HSL, &[Size], NO_VIDEO),
    row("mp4_max_buffer_size", HSL, &[Size], NO_VIDEO),
    row("mp4_start_key_frame", HSL, &[Flag], NO_VIDEO),
    // ngx_http_perl_module
    row("perl", LOCATION.or(LIMIT_EXCEPT), &[Text("function")], NO_PERL),
    row("perl_modules", HTTP, &[Text("path")], NO_PERL),
    row("perl_require", HTTP, &[Text("module")], NO_PERL),
    row("perl_set", HTTP, &[Text("$variable"), Text("function")], NO_PERL),
    // ngx_http_mirror_module
    row("mirror", HSL, &[Text("uri | off")], NOT_BUILT),
    row("mirror_request_body", HSL, &[Flag], NOT_BUILT),
];
