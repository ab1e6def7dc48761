//! Directives of HTTP itself, its log included.

use conf::Arg::{Flag, Number, Offset, Optional, Size, Text, Time};

use super::contexts::{HS, HSL, HTTP, IF_IN_LOCATION};
use super::verdict::{NO_POST_ACTION, NO_THREADS, OWN_FILES, OWN_HASHES, OWN_MEMORY, OWN_WRITES};
use super::{Row, row};

pub(super) static ROWS: &[Row] = &[
    // ngx_http
    // ngx_http_core_module
    row("aio", HSL, &[Text("on|off|threads")], NO_THREADS),
    row("aio_write", HSL, &[Flag], NO_THREADS),
    row("connection_pool_size", HS, &[Size], OWN_MEMORY),
    row("directio", HSL, &[Text("size | off")], OWN_FILES),
    row("directio_alignment", HSL, &[Offset], OWN_FILES),
    row("open_file_cache", HSL, &[Text("off | max=N"), Optional(&Text("inactive=time"))], OWN_FILES),
    row("open_file_cache_errors", HSL, &[Flag], OWN_FILES),
    row("open_file_cache_events", HSL, &[Flag], OWN_FILES),
    row("open_file_cache_min_uses", HSL, &[Number], OWN_FILES),
    row("open_file_cache_valid", HSL, &[Time], OWN_FILES),
    row("post_action", HSL.or(IF_IN_LOCATION), &[Text("value")], NO_POST_ACTION),
    row("postpone_output", HSL, &[Size], OWN_WRITES),
    row("read_ahead", HSL, &[Size], OWN_FILES),
    row("request_pool_size", HS, &[Size], OWN_MEMORY),
    row("send_lowat", HSL, &[Size], OWN_WRITES),
    row("sendfile", HSL.or(IF_IN_LOCATION), &[Flag], OWN_FILES),
    row("sendfile_max_chunk", HSL, &[Size], OWN_FILES),
    row("server_names_hash_bucket_size", HTTP, &[Number], OWN_HASHES),
    row("server_names_hash_max_size", HTTP, &[Number], OWN_HASHES),
    row("subrequest_output_buffer_size", HSL, &[Size], OWN_WRITES),
    row("tcp_nodelay", HSL, &[Flag], OWN_WRITES),
    row("tcp_nopush", HSL, &[Flag], OWN_WRITES),
    row("types_hash_bucket_size", HSL, &[Number], OWN_HASHES),
    row("types_hash_max_size", HSL, &[Number], OWN_HASHES),
    row("variables_hash_bucket_size", HTTP, &[Number], OWN_HASHES),
    row("variables_hash_max_size", HTTP, &[Number], OWN_HASHES),
    // ngx_http_copy_filter_module
    row("output_buffers", HSL, &[Number, Size], OWN_FILES),
    // ngx_http_log_module
];
