//! `otel_exporter`: where spans go, and in what portions.

use conf::{Diagnostic, Node, Word};

use super::queue::Limits;
use crate::modules::upstream::{Scheme, Target};

/// What the `http` block says of the export.
#[derive(Clone, Default)]
pub struct Export {
    /// `otel_exporter`.
    pub(super) exporter: Option<Exporter>,
    /// `otel_service_name`.
    pub(super) service_name: Option<Vec<u8>>,
    /// `otel_resource_attr`: the last of a name counts.
    pub(super) resource: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The collector and how it is spoken to.
#[derive(Clone)]
pub(super) struct Exporter {
    pub target: Target,
    /// The start of a request, up to the length of its body.
    pub head: Vec<u8>,
    pub limits: Limits,
}

/// The port of OTLP over HTTP (IANA): what listens there needs no path to be told from gRPC.
const OTLP_HTTP: u16 = 4318;

/// Fields that are the exporter's own business.
const OWN_FIELDS: [&[u8]; 6] =
    [b"host", b"content-type", b"content-length", b"transfer-encoding", b"connection", b"content-encoding"];

impl Exporter {
    /// Reads the block.
    pub(super) fn read(node: &Node) -> Result<Exporter, Diagnostic> {
        let (mut target, mut fields) = (None, Vec::new());
        let (mut interval, mut batch_size, mut batch_count) = (None, None, None);
        let mut trusted_certificate = None;
        for line in node.block.as_deref().unwrap_or_default() {
            let name = line.name.lossy();
            let count = match &*name {
                "endpoint" | "interval" | "batch_size" | "batch_count" | "trusted_certificate" => 1,
                "header" => 2,
                _ => {
                    let sentence = format!("unknown directive \"{name}\" in \"otel_exporter\"");
                    return Err(Diagnostic::at(line.span, sentence));
                }
            };
            if line.args.len() != count || line.block.is_some() {
                let sentence =
                    format!("invalid number of arguments in \"{name}\" directive of \"otel_exporter\"");
                return Err(Diagnostic::at(line.span, sentence));
            }
            match &*name {
                "endpoint" => once(&mut target, endpoint(line.word(0)?)?, line)?,
                "interval" => once(&mut interval, positive(line.msec(0)?, line)?, line)?,
                "batch_size" => once(&mut batch_size, positive(line.size(0)?, line)?, line)?,
                "batch_count" => once(&mut batch_count, positive(line.size(0)?, line)?, line)?,
                "header" => fields.extend(field(line)?),
                // It is for https, which is refused.
                _ => once(&mut trusted_certificate, (), line)?,
            }
        }
        let Some(target) = target else {
            return Err(Diagnostic::at(node.span, "\"otel_exporter\" requires \"endpoint\""));
        };
        let mut head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {}\r\nContent-Type: application/x-protobuf\r\n",
            String::from_utf8_lossy(&target.uri),
            target.authority(Scheme::Http),
            crate::product::NAME_AND_VERSION,
        )
        .into_bytes();
        head.extend_from_slice(&fields);
        head.extend_from_slice(b"Content-Length: ");
        Ok(Exporter {
            target,
            head,
            limits: Limits {
                batch_size: batch_size.unwrap_or(512),
                batch_count: batch_count.unwrap_or(4),
                interval: interval.unwrap_or(5000),
            },
        })
    }
}

/// Reads an address. nginx speaks gRPC to it; what it would take for gRPC is not taken for HTTP here, for then every
/// trace would be lost without a word at the start.
fn endpoint(word: &Word) -> Result<Target, Diagnostic> {
    let text = &*word.text;
    let bad = |sentence: String| Diagnostic::at(word.span, sentence);
    let (scheme, rest) = Scheme::split(text).unwrap_or((Scheme::Http, text));
    if scheme == Scheme::Https {
        return Err(bad("TLS to a collector is not built yet in this version".to_owned()).instead(
            "send to a collector on this machine or a trusted network: http://HOST:4318/v1/traces",
        ));
    }
    let has_scheme = rest.len() < text.len();
    let mut target = Target::parse(rest, true)
        .map_err(|error| bad(format!("{error} in endpoint \"{}\"", word.lossy())))?;
    if target.uri.is_empty() && has_scheme && target.port == Some(OTLP_HTTP) {
        target.uri = b"/v1/traces".to_vec();
    }
    if !has_scheme || !target.uri.starts_with(b"/") {
        let host = &target.host;
        let port = target.port.filter(|port| *port != 4317).unwrap_or(OTLP_HTTP);
        return Err(bad(format!(
            "endpoint \"{}\" is one of OTLP over gRPC, and spans are sent over HTTP here",
            word.lossy()
        ))
        .instead(format!(
            "write the URL where the collector takes OTLP over HTTP: http://{host}:{port}/v1/traces"
        )));
    }
    if target.uri.iter().any(|byte| !byte.is_ascii_graphic()) {
        return Err(bad(format!("invalid path in endpoint \"{}\"", word.lossy())));
    }
    Ok(target)
}

/// A field of the request, ready to be sent.
fn field(line: &Node) -> Result<Vec<u8>, Diagnostic> {
    let (name, value) = (line.bytes(0), line.bytes(1));
    let bad = |what: &str| {
        Diagnostic::at(
            line.span,
            format!("\"header\" directive of \"otel_exporter\" has invalid header {what}"),
        )
    };
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if name.is_empty() || !name.iter().all(is_token) {
        return Err(bad("name"));
    }
    if OWN_FIELDS.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        return Err(bad("name").instead("leave it out: the exporter sets it"));
    }
    if value.iter().any(u8::is_ascii_control) {
        return Err(bad("value"));
    }
    Ok([name, b": ", value, b"\r\n"].concat())
}

fn positive(value: u64, line: &Node) -> Result<u64, Diagnostic> {
    match value {
        0 => Err(Diagnostic::at(line.span, format!("\"{}\" must not be zero", line.name.lossy()))),
        value => Ok(value),
    }
}

fn once<T>(slot: &mut Option<T>, value: T, line: &Node) -> Result<(), Diagnostic> {
    if slot.replace(value).is_some() {
        let sentence = format!("\"{}\" directive of \"otel_exporter\" is duplicate", line.name.lossy());
        return Err(Diagnostic::at(line.span, sentence));
    }
    Ok(())
}
