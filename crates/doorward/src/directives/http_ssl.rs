//! Directives of TLS, HTTP/2 and HTTP/3.

use conf::Arg::{Flag, Number, Size, Text};

use super::contexts::{HS, HTTP};
use super::verdict::{NO_ECH, NO_FINITE_FIELD, NOT_BUILT, OWN_MEMORY};
use super::{Row, row};

pub(super) static ROWS: &[Row] = &[
    // ngx_http_ssl_module
    row("ssl_dhparam", HS, &[Text("file")], NO_FINITE_FIELD),
    row("ssl_ech_file", HS, &[Text("file")], NO_ECH),
    // ngx_http_v2_module
    row("http2_pool_size", HS, &[Size], OWN_MEMORY),
    row("http2_recv_buffer_size", HTTP, &[Size], OWN_MEMORY),
    row("http2_streams_index_size", HS, &[Number], OWN_MEMORY),
    // ngx_http_v3_module
    row("http3", HS, &[Flag], NOT_BUILT),
    row("http3_hq", HS, &[Flag], NOT_BUILT),
    row("http3_max_concurrent_streams", HS, &[Number], NOT_BUILT),
    row("http3_stream_buffer_size", HS, &[Size], OWN_MEMORY),
    row("quic_active_connection_id_limit", HS, &[Number], NOT_BUILT),
    row("quic_gso", HS, &[Flag], NOT_BUILT),
    row("quic_host_key", HS, &[Text("file")], NOT_BUILT),
    row("quic_retry", HS, &[Flag], NOT_BUILT),
];
