//! What is shown for a status: the operator's `error_page`, or a small page of our own.

use wire::Name;

use crate::body::Body;
use crate::exchange::Exchange;
use crate::modules::auth_outcome;
use crate::modules::auth_request::Page;
use crate::modules::core::{Browser, ServerTokens};
use crate::product;
use crate::run::Stop;

/// What to do about a status: go elsewhere, or show a page.
pub fn find(ex: &mut Exchange<'_>, status: u16) -> Stop {
    ex.forced_status = status;
    if matches!(status, 400 | 413 | 414 | 494..=497 | 500 | 501) && ex.is_main() {
        ex.visit.keep_alive.set(false);
    }
    ex.response.fields.hide_known(Name::ContentType);
    let plan = ex.plan;
    if !ex.error_page
        && let Some(page) = plan.core.error_pages.find(status)
    {
        if !plan.core.recursive_error_pages {
            ex.error_page = true;
        }
        auth_outcome::set_page(ex, None);
        if let Some(overwrite) = page.overwrite {
            ex.forced_status = overwrite;
        }
        let target = page.target.eval(ex);
        match target.first() {
            Some(b'/') => {
                if page.target.as_literal().is_some() {
                    ex.args.clone_from(&page.args);
                    ex.uri = target;
                } else {
                    split_args(&target, ex);
                }
                if ex.method != wire::h1::Method::Head {
                    ex.method = wire::h1::Method::Get;
                }
                return Stop::Redirect;
            }
            Some(b'@') => return Stop::Named(target),
            _ => {
                if !matches!(ex.forced_status, 301 | 302 | 303 | 307 | 308) || page.overwrite.is_none() {
                    ex.forced_status = 302;
                }
                ex.response.fields.set("Location", &target);
                let status = ex.forced_status;
                return Stop::Done(page_for(ex, status));
            }
        }
    }
    Stop::Done(match auth_outcome::take_page(ex, status) {
        None => page_for(ex, status),
        Some(page) => page_of_service(ex, status, *page),
    })
}

/// Takes a path with its query as the exchange's own.
pub fn split_args(target: &[u8], ex: &mut Exchange<'_>) {
    let at = target.iter().position(|b| *b == b'?');
    ex.uri = target[..at.unwrap_or(target.len())].to_vec();
    ex.args = at.map(|at| target[at + 1..].to_vec()).unwrap_or_default();
}

/// What an auth service said of a request that it refused.
fn page_of_service(ex: &mut Exchange<'_>, status: u16, page: Page) -> Body {
    let body = match page.body {
        None => page_for(ex, status),
        Some(body) => {
            prepare(ex, status);
            ex.response.content_length = Some(body.len() as u64);
            Body::Bytes(body)
        }
    };
    for (name, value) in &page.fields {
        ex.response.fields.add_bytes(name, value);
    }
    body
}

/// Makes a head that is an error page's of what there is of a response.
fn prepare(ex: &mut Exchange<'_>, status: u16) {
    if ex.is_main() && !ex.visit.body_is_read() {
        ex.visit.refuse_body(ex.plan);
    }
    let sent = match status {
        494..=497 if ex.forced_status == status => 400,
        _ => ex.forced_status,
    };
    ex.forced_status = sent;
    let head = &mut ex.response;
    head.status = sent;
    head.status_line = wire::Range::default();
    for gone in
        [Name::AcceptRanges, Name::LastModified, Name::ETag, Name::ContentLength, Name::ContentEncoding]
    {
        head.fields.hide_known(gone);
    }
    head.last_modified = None;
    head.allow_ranges = false;
}

fn page_for(ex: &mut Exchange<'_>, status: u16) -> Body {
    prepare(ex, status);
    if matches!(status, 301 | 302)
        && ex.plan.core.msie_refresh
        && matches!(Browser::of_request(ex), Browser::OldMsie | Browser::Msie)
    {
        return refresh(ex);
    }
    let head = &mut ex.response;
    if !has_page(status) {
        head.content_length = Some(0);
        return Body::Empty;
    }
    let title = match status {
        302 => "302 Found".to_owned(),
        401 => "401 Authorization Required".to_owned(),
        494..=497 => "400 Bad Request".to_owned(),
        _ => format!("{status} {}", wire::status::reason(status)),
    };
    let mut page = Vec::with_capacity(256);
    page.extend_from_slice(b"<html>\r\n<head><title>");
    match detail(status) {
        Some(detail) => page.extend_from_slice(format!("400 {detail}").as_bytes()),
        None => page.extend_from_slice(title.as_bytes()),
    }
    page.extend_from_slice(b"</title></head>\r\n<body>\r\n<center><h1>");
    page.extend_from_slice(title.as_bytes());
    page.extend_from_slice(b"</h1></center>\r\n");
    if let Some(detail) = detail(status) {
        page.extend_from_slice(format!("<center>{detail}</center>\r\n").as_bytes());
    }
    page.extend_from_slice(b"<hr><center>");
    match &ex.plan.core.server_tokens {
        ServerTokens::On => page.extend_from_slice(product::NAME_AND_VERSION.as_bytes()),
        ServerTokens::Build => page.extend_from_slice(product::NAME_AND_VERSION.as_bytes()),
        ServerTokens::Off => page.extend_from_slice(product::NAME.as_bytes()),
        ServerTokens::Text(text) => {
            let start = page.len();
            text.append(ex, &mut page);
            if page.len() == start {
                page.truncate(start - b"<hr><center>".len());
                return finish(ex, status, page, b"");
            }
        }
    }
    finish(ex, status, page, b"</center>\r\n")
}

/// A page that leads an old browser on, which did not see fragments in redirects.
fn refresh(ex: &mut Exchange<'_>) -> Body {
    let mut page = b"<html><head><meta http-equiv=\"Refresh\" content=\"0; URL=".to_vec();
    let location = ex.response.fields.get(Name::Location).unwrap_or_default();
    wire::uri::escape(wire::uri::Escape::Refresh, location, &mut page);
    page.extend_from_slice(b"\"></head><body></body></html>\r\n");
    ex.forced_status = 200;
    let head = &mut ex.response;
    head.status = 200;
    head.fields.hide_known(Name::Location);
    head.fields.set("Content-Type", b"text/html");
    head.content_length = Some(page.len() as u64);
    Body::Bytes(page)
}

fn finish(ex: &mut Exchange<'_>, status: u16, mut page: Vec<u8>, end: &[u8]) -> Body {
    page.extend_from_slice(end);
    page.extend_from_slice(b"</body>\r\n</html>\r\n");
    if ex.plan.core.msie_padding
        && status >= 400
        && ex.visit.head.version >= wire::h1::Version::Http10
        && matches!(Browser::of_request(ex), Browser::OldMsie | Browser::Msie | Browser::Chrome)
    {
        for _ in 0..6 {
            page.extend_from_slice(b"<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n");
        }
    }
    ex.response.fields.set("Content-Type", b"text/html");
    ex.response.content_length = Some(page.len() as u64);
    Body::Bytes(page)
}

/// The statuses that nginx has a page for.
fn has_page(status: u16) -> bool {
    matches!(status, 301..=303 | 307 | 308 | 400..=416 | 421 | 429 | 494..=497 | 500..=505 | 507)
}

/// What nginx's own statuses, which clients see as 400, are about.
fn detail(status: u16) -> Option<&'static str> {
    Some(match status {
        494 => "Request Header Or Cookie Too Large",
        495 => "The SSL certificate error",
        496 => "No required SSL certificate was sent",
        497 => "The plain HTTP request was sent to HTTPS port",
        _ => return None,
    })
}
