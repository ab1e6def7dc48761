//! Directives that pass a request to an HTTP server.

use conf::Arg::{Number, Size, Text};

use super::contexts::HSL;
use super::verdict::{NO_OPENSSL, OWN_HASHES, OWN_MEMORY, OWN_WRITES};
use super::{Row, row};

pub(super) static ROWS: &[Row] = &[
    row("proxy_busy_buffers_size", HSL, &[Size], OWN_MEMORY),
    row("proxy_temp_file_write_size", HSL, &[Size], OWN_WRITES),
    row("proxy_headers_hash_max_size", HSL, &[Number], OWN_HASHES),
    row("proxy_headers_hash_bucket_size", HSL, &[Number], OWN_HASHES),
    row("proxy_send_lowat", HSL, &[Size], OWN_WRITES),
    // ngx_http_proxy_module
    row("proxy_ssl_conf_command", HSL, &[Text("name"), Text("value")], NO_OPENSSL),
    // ngx_http_tunnel_module
    row("tunnel_buffer_size", HSL, &[Size], OWN_MEMORY),
    row("tunnel_send_lowat", HSL, &[Size], OWN_WRITES),
];
