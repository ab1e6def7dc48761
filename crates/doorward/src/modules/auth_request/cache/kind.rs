//! What the value of a module's variable depends on, as a key of decisions sees it.

/// What a variable depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The client's request or connection: it is the same in the request and in the question asked for it.
    Request,
    /// The location of the question, or the process: it is the same in every question.
    Location,
    /// The answer of an upstream, which there is none of before the question.
    Answer,
    /// This one request and no other: its time, its number.
    OneRequest,
    /// That cannot be told.
    Unknown,
}

/// What the variable of that name depends on.
pub fn of(name: &str) -> Kind {
    const REQUEST_FAMILIES: [&str; 5] = ["http_", "cookie_", "proxy_protocol_", "ssl_", "jwt_"];
    const ANSWER_FAMILIES: [&str; 3] = ["upstream_", "sent_http_", "sent_trailer_"];
    let begins = |families: &[&str]| families.iter().any(|family| name.starts_with(family));
    match name {
        "binary_remote_addr"
        | "content_length"
        | "content_type"
        | "host"
        | "https"
        | "is_request_port"
        | "proxy_add_x_forwarded_for"
        | "realip_remote_addr"
        | "realip_remote_port"
        | "remote_addr"
        | "remote_port"
        | "remote_user"
        | "request"
        | "request_method"
        | "request_port"
        | "request_uri"
        | "scheme"
        | "server_addr"
        | "server_name"
        | "server_port"
        | "server_protocol"
        | "auth_user" => Kind::Request,
        // The path of a question is written in the configuration.
        "uri" | "document_uri" | "args" | "query_string" | "is_args" | "hostname" | "nginx_version"
        | "pid" | "proxy_host" | "proxy_port" => Kind::Location,
        "status" => Kind::Answer,
        "request_id"
        | "msec"
        | "time_iso8601"
        | "time_local"
        | "connection"
        | "connection_requests"
        | "connection_time"
        | "request_time"
        | "request_length"
        | "bytes_sent"
        | "body_bytes_sent"
        | "pipe"
        | "request_completion"
        | "tcpinfo_rtt"
        | "tcpinfo_rttvar"
        | "tcpinfo_snd_cwnd"
        | "tcpinfo_rcv_space" => Kind::OneRequest,
        _ if name.starts_with("arg_") => Kind::Location,
        _ if begins(&REQUEST_FAMILIES) => Kind::Request,
        _ if begins(&ANSWER_FAMILIES) => Kind::Answer,
        _ => Kind::Unknown,
    }
}
