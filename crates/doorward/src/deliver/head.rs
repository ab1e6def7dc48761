//! What the head of a response says in every version of HTTP.

use wire::Name;

use super::itoa;
use crate::body::Body;
use crate::exchange::Exchange;
use crate::modules::core::ServerTokens;
use crate::product;

/// Whether the response has no body, whatever its fields say of one.
pub(super) fn is_bodiless(ex: &Exchange<'_>, body: &Body) -> bool {
    let status = ex.response.status;
    ex.method == wire::h1::Method::Head
        || matches!(status, 204 | 304)
        || status < 200
        || matches!(body, Body::Tunnel(_))
}

/// Appends the value of `Server`; false where there is none.
pub(super) fn append_server(ex: &Exchange<'_>, out: &mut Vec<u8>) -> bool {
    if let Some(server) = ex.response.fields.get(Name::Server) {
        out.extend_from_slice(server);
        return true;
    }
    if ex.response.no_server {
        return false;
    }
    match &ex.plan.core.server_tokens {
        ServerTokens::On | ServerTokens::Build => out.extend_from_slice(product::NAME_AND_VERSION.as_bytes()),
        ServerTokens::Off => out.extend_from_slice(product::NAME.as_bytes()),
        ServerTokens::Text(text) => {
            let text = text.eval(ex);
            out.extend_from_slice(&text);
            return !text.is_empty();
        }
    }
    true
}

/// What `Last-Modified` says where no field of the response says it: seconds since 1970.
pub(super) fn shown_last_modified(ex: &Exchange<'_>) -> Option<u64> {
    let response = &ex.response;
    let time = response.last_modified.filter(|_| matches!(response.status, 200 | 206 | 304))?;
    response.fields.get(Name::LastModified).is_none().then(|| u64::try_from(time).unwrap_or(0))
}

/// The path in `Location` that is to become an absolute URL (`absolute_redirect`).
pub(super) fn own_location<'e>(ex: &'e Exchange<'_>) -> Option<&'e [u8]> {
    let absolute = ex.plan.core.absolute_redirect && !ex.response.fields.location_is_foreign();
    ex.response.fields.get(Name::Location).filter(|location| absolute && location.starts_with(b"/"))
}

/// Appends a path of this server as an absolute URL.
pub(super) fn append_location(ex: &Exchange<'_>, location: &[u8], out: &mut Vec<u8>) {
    let core = &ex.plan.core;
    let visit = ex.visit;
    let scheme = visit.client.scheme();
    out.extend_from_slice(scheme.as_bytes());
    out.extend_from_slice(b"://");
    let host: &[u8] = if core.server_name_in_redirect { &ex.server.name } else { &visit.host };
    let local = visit.client.local();
    if host.is_empty() && !core.server_name_in_redirect {
        if let Some(net::Address::Inet(address)) = local {
            match address.ip() {
                std::net::IpAddr::V4(ip) => out.extend_from_slice(ip.to_string().as_bytes()),
                std::net::IpAddr::V6(ip) => out.extend_from_slice(format!("[{ip}]").as_bytes()),
            }
        }
    } else {
        out.extend_from_slice(host);
    }
    let usual = if scheme == "https" { 443 } else { 80 };
    if core.port_in_redirect
        && let Some(port) = local.and_then(net::Address::port).filter(|port| *port != usual)
    {
        out.push(b':');
        out.extend_from_slice(itoa(u64::from(port), &mut [0; 20]));
    }
    out.extend_from_slice(location);
}
