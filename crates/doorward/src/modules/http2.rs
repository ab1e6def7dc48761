//! `ngx_http_v2_module`: which servers speak HTTP/2, and its bounds.

use conf::Arg::{Flag, Number, Size, Text};
use conf::{Diagnostic, Node, once};
use wire::h1::Version;

use crate::compile::Compiler;
use crate::module::Module;
use crate::variables::Row;
use crate::{directives, settings};

settings! {
    /// What a server says of HTTP/2.
    ServerSettings => ServerValues {
        /// Whether it is offered.
        on: bool = false;
        /// Requests at a time on a connection.
        max_concurrent_streams: u64 = 128;
        /// How much of a body may come before it is read, in bytes.
        body_preread_size: u32 = LEAST_WINDOW;
    }
}

settings! {
    /// What a location says of HTTP/2.
    LocationSettings => LocationValues {
        /// The longest frame of a response's body, in bytes.
        chunk_size: usize = 8 << 10;
    }
}

/// The window that every client has for a body until it hears otherwise (RFC 9113, 6.9.2).
const LEAST_WINDOW: u32 = 65_535;

/// nginx's NGX_HTTP_V2_MAX_WINDOW.
const LARGEST_WINDOW: u64 = (1 << 31) - 1;

/// The settings of servers.
pub static MODULE: Module = Module {
    name: "ngx_http_v2_module",
    directives: directives! { ServerSettings;
        /// Whether clients may speak HTTP/2: over TLS those that ask for it (ALPN), without TLS those that begin with its
        /// preface ("prior knowledge"). What the default server of an address says counts for all of it; a request for a
        /// server where it is off gets 421.
        "http2" in [HTTP SERVER] (Flag) = "off" => |c, _, n| once(&mut c.on, n.flag(0)?, n);
        /// How many requests a client may have running on a connection at a time. More are refused (REFUSED_STREAM), so that
        /// the client sends them again. The default server's counts.
        "http2_max_concurrent_streams" in [HTTP SERVER] (Number) = "128" => |c, _, n| {
            let number = u64::try_from(n.number(0)?).unwrap_or(0);
            once(&mut c.max_concurrent_streams, number, n)
        };
        /// How much of a request's body a client may send before anybody reads it. It is at least 65535 bytes, which is what
        /// clients send before they have heard of it. The default server's counts.
        "http2_body_preread_size" in [HTTP SERVER] (Size) = "64k" => |c, _, n| {
            let size = n.size(0)?;
            if size > LARGEST_WINDOW {
                let sentence = format!("the maximum body preread buffer size is {LARGEST_WINDOW}");
                return Err(Diagnostic::at(n.span, sentence));
            }
            once(&mut c.body_preread_size, u32::try_from(size).unwrap_or(u32::MAX).max(LEAST_WINDOW), n)
        };
        /// Obsolete: it has no effect. `keepalive_requests` says how many requests a connection serves.
        "http2_max_requests" in [HTTP SERVER] (Text("number")) = "" => |_, cx, n| replaced(cx, n, "keepalive_requests");
        /// Obsolete: it has no effect. `large_client_header_buffers` bounds the fields of a request.
        "http2_max_field_size" in [HTTP SERVER] (Text("size")) = "" => |_, cx, n| replaced(cx, n, "large_client_header_buffers");
        /// Obsolete: it has no effect. `large_client_header_buffers` bounds the fields of a request.
        "http2_max_header_size" in [HTTP SERVER] (Text("size")) = "" => |_, cx, n| replaced(cx, n, "large_client_header_buffers");
        /// Obsolete: it has no effect. `client_header_timeout` says how long the first request may take.
        "http2_recv_timeout" in [HTTP SERVER] (Text("time")) = "" => |_, cx, n| replaced(cx, n, "client_header_timeout");
        /// Obsolete: it has no effect. `keepalive_timeout` says how long a connection may be idle.
        "http2_idle_timeout" in [HTTP SERVER] (Text("time")) = "" => |_, cx, n| replaced(cx, n, "keepalive_timeout");
        /// Obsolete: there is no server push, and it has no effect.
        "http2_max_concurrent_pushes" in [HTTP SERVER] (Text("number")) = "" => |_, cx, n| ignored(cx, n);
        /// Obsolete: there is no server push, and it has no effect.
        "http2_push" in [HTTP SERVER LOCATION] (Text("uri | off")) = "" => |_, cx, n| ignored(cx, n);
        /// Obsolete: there is no server push, and it has no effect.
        "http2_push_preload" in [HTTP SERVER LOCATION] (Text("on | off")) = "" => |_, cx, n| ignored(cx, n);
    },
    variables: &[Row::fresh("http2", |ex, out| {
        let (head, client) = (ex.visit.head, ex.visit.client);
        if head.version == Version::Http20 {
            out.extend_from_slice(if client.tls.get().is_some() { b"h2" } else { b"h2c" });
        }
        true
    })],
    plan: |_, _, _| Ok(()),
};

/// The settings of locations.
pub static IN_LOCATION: Module = Module {
    name: "ngx_http_v2_module",
    directives: directives! { LocationSettings;
        /// The longest piece that a response's body is sent in. Larger ones cost less; with smaller ones the responses of a
        /// connection wait less for each other.
        "http2_chunk_size" in [HTTP SERVER LOCATION] (Size) = "8k" => |c, _, n| {
            let size = n.size(0)?;
            if size == 0 {
                return Err(Diagnostic::at(n.span, "the http2 chunk size cannot be zero"));
            }
            once(&mut c.chunk_size, usize::try_from(size).unwrap_or(usize::MAX), n)
        };
    },
    variables: &[],
    plan: |_, scope, plan| {
        plan.http2_chunk_size = scope.get_mut::<LocationSettings>().settle().chunk_size;
        Ok(())
    },
};

fn replaced(cx: &mut Compiler, node: &Node, by: &str) -> Result<(), Diagnostic> {
    let name = node.name.lossy();
    let sentence = format!("the \"{name}\" directive is obsolete, use the \"{by}\" directive instead");
    cx.warn(Diagnostic::at(node.span, sentence).warning());
    Ok(())
}

fn ignored(cx: &mut Compiler, node: &Node) -> Result<(), Diagnostic> {
    let name = node.name.lossy();
    cx.warn(Diagnostic::at(node.span, format!("the \"{name}\" directive is obsolete, ignored")).warning());
    Ok(())
}
