//! Directives that change an answer on its way out.

use conf::Arg::{AnyMany, Flag, Many, Number, Optional, Size, Text};

use super::contexts::{HSL, HTTP, IF_IN_LOCATION, LOCATION};
use super::verdict::{NO_IMAGES, NO_XSLT, NOT_BUILT, OWN_MEMORY};
use super::{Row, free, row};

pub(super) static ROWS: &[Row] = &[
    // ngx_http_gzip_filter_module
    row("gzip_buffers", HSL, &[Number, Size], OWN_MEMORY),
    row("gzip_hash", HSL, &[Size], OWN_MEMORY),
    row("gzip_no_buffer", HSL, &[Flag], OWN_MEMORY),
    row("gzip_window", HSL, &[Size], OWN_MEMORY),
    row("postpone_gzipping", HSL, &[Size], OWN_MEMORY),
    // ngx_http_gunzip_filter_module
    row("gunzip", HSL, &[Flag], NOT_BUILT),
    row("gunzip_buffers", HSL, &[Number, Size], OWN_MEMORY),
    // ngx_http_charset_filter_module
    free("charset_map", HTTP, &[Text("charset1"), Text("charset2")], NOT_BUILT),
    row("override_charset", HSL.or(IF_IN_LOCATION), &[Flag], NOT_BUILT),
    row("source_charset", HSL.or(IF_IN_LOCATION), &[Text("charset")], NOT_BUILT),
    // ngx_http_sub_filter_module
    row("sub_filter", HSL, &[Text("string"), Text("replacement")], NOT_BUILT),
    row("sub_filter_last_modified", HSL, &[Flag], NOT_BUILT),
    row("sub_filter_once", HSL, &[Flag], NOT_BUILT),
    row("sub_filter_types", HSL, &[Many(&Text("mime-type"))], NOT_BUILT),
    // ngx_http_ssi_filter_module
    row("ssi", HSL.or(IF_IN_LOCATION), &[Flag], NOT_BUILT),
    row("ssi_ignore_recycled_buffers", HSL, &[Flag], NOT_BUILT),
    row("ssi_last_modified", HSL, &[Flag], NOT_BUILT),
    row("ssi_min_file_chunk", HSL, &[Size], NOT_BUILT),
    row("ssi_silent_errors", HSL, &[Flag], NOT_BUILT),
    row("ssi_types", HSL, &[Many(&Text("mime-type"))], NOT_BUILT),
    row("ssi_value_length", HSL, &[Size], NOT_BUILT),
    // ngx_http_slice_filter_module
    row("slice", HSL, &[Size], NOT_BUILT),
    // ngx_http_image_filter_module
    row(
        "image_filter",
        LOCATION,
        &[Text("action"), Optional(&Text("width")), Optional(&Text("height"))],
        NO_IMAGES,
    ),
    row("image_filter_buffer", HSL, &[Size], NO_IMAGES),
    row("image_filter_interlace", HSL, &[Flag], NO_IMAGES),
    row("image_filter_jpeg_quality", HSL, &[Text("quality")], NO_IMAGES),
    row("image_filter_sharpen", HSL, &[Text("percent")], NO_IMAGES),
    row("image_filter_transparency", HSL, &[Flag], NO_IMAGES),
    row("image_filter_webp_quality", HSL, &[Text("quality")], NO_IMAGES),
    // ngx_http_xslt_filter_module
    row("xml_entities", HSL, &[Text("path")], NO_XSLT),
    row("xml_external_entities", HSL, &[Flag], NO_XSLT),
    row("xslt_last_modified", HSL, &[Flag], NO_XSLT),
    row("xslt_param", HSL, &[Text("parameter"), Text("value")], NO_XSLT),
    row("xslt_string_param", HSL, &[Text("parameter"), Text("value")], NO_XSLT),
    row("xslt_stylesheet", LOCATION, &[Text("stylesheet"), AnyMany(&Text("parameter=value"))], NO_XSLT),
    row("xslt_types", HSL, &[Many(&Text("mime-type"))], NO_XSLT),
];
