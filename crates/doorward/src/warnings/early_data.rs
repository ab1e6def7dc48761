//! Requests that others can send again (`ssl_early_data`), for services that are not told which these are.

use conf::Node;

use super::site::{Kind, Site};
use super::values::{Definitions, variables};
use super::{Found, tokens};

const SHOWS: &str = "ssl_early_data";

/// Directives that pass a request on, each with the one that tells the service more about it.
const PASSES: [(&str, &str); 2] = [("proxy_pass", "proxy_set_header"), ("fastcgi_pass", "fastcgi_param")];

/// What shows the variable to somebody who does not decide.
const SHOWN_ONLY: [&[u8]; 4] = [b"proxy_set_header", b"fastcgi_param", b"add_header", b"access_log"];

pub fn check(site: &Site<'_>, definitions: &Definitions, found: &mut Found) {
    // Who is asked whether a request may pass does nothing that could be done twice.
    let mut asked: Vec<usize> = site.auth_locations().into_iter().map(|(location, _)| location).collect();
    asked.extend(tokens::own_locations(site));
    for server in (0..site.blocks.len()).filter(|at| site.blocks[*at].kind == Kind::Server) {
        if !site.is_on(server, SHOWS, false)
            || !site.own(server, "listen").any(|listen| site.speaks_tls(listen))
        {
            continue;
        }
        let mut untold = site
            .locations()
            .filter(|location| site.server_of(*location) == Some(server) && !asked.contains(location))
            .filter_map(|location| Some((location, untold(site, definitions, location)?)));
        // One is enough to know what is missing.
        let Some((location, (pass, tells))) = untold.next() else { continue };
        let others = match untold.count() {
            0 => String::new(),
            more => format!(" (and so do {more} more)"),
        };
        let sentence = format!(
            "with \"ssl_early_data\" a request can come twice: who is in between holds it back, and sends it after the client has \
             repeated it; {} passes such requests on and does not say so{others}",
            site.name(location)
        );
        let field = if tells == "fastcgi_param" { "HTTP_EARLY_DATA" } else { "Early-Data" };
        let remedy = format!(
            "write `{tells} {field} $ssl_early_data;` for a service that answers 425 where that does harm (RFC 8470), or `if \
             ($too_early) {{ return 425; }}` of a map of \"$ssl_early_data:$request_method\""
        );
        found.add(pass.span, sentence, remedy);
    }
}

/// What passes requests on in a location although nothing looks whether they are early, and what could tell of it.
fn untold<'t>(
    site: &Site<'t>,
    definitions: &Definitions,
    location: usize,
) -> Option<(&'t Node, &'static str)> {
    let shows = |node: &Node| {
        let read = node.args.iter().flat_map(|word| variables(&word.text));
        read.into_iter().any(|name| definitions.behind_all(&name).contains(SHOWS))
    };
    let (pass, tells) =
        PASSES.iter().find_map(|(pass, tells)| Some((site.own(location, pass).next()?, *tells)))?;
    let is_told = site.in_force(location, &[tells]).into_iter().any(shows);
    let is_decided = site
        .around(location)
        .filter(|block| site.blocks[*block].kind != Kind::Http)
        .flat_map(|block| site.blocks[block].nodes)
        .any(|node| !SHOWN_ONLY.contains(&&*node.name.text) && shows(node));
    // What only reads may be done twice.
    let reads_only = site.own(location, "limit_except").any(|line| {
        line.args.iter().all(|method| [&b"GET"[..], b"HEAD", b"OPTIONS"].contains(&&*method.text))
    });
    (!is_told && !is_decided && !reads_only).then_some((pass, tells))
}

#[cfg(test)]
mod tests {
    use super::super::told;

    fn told_of(http: &str, server: &str) -> Vec<String> {
        told(&format!("http {{ {http} server {{ listen 443 ssl; ssl_early_data on;\n{server} }} }}"))
    }

    #[test]
    fn a_service_that_is_not_told_which_requests_can_come_twice() {
        let told = told_of("", "location / { proxy_pass http://a; } location /b { fastcgi_pass b:9000; }");
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("2: with \"ssl_early_data\" a request can come twice"), "{told:?}");
        assert!(
            told[0]
                .ends_with("location \"/\" passes such requests on and does not say so (and so do 1 more)")
        );
    }

    #[test]
    fn who_looks_or_tells_is_not_warned() {
        let map = "map \"$ssl_early_data:$request_method\" $too_early { default 0; 1:POST 1; }";
        for (http, server) in [
            ("", "location / { proxy_pass http://a; proxy_set_header Early-Data $ssl_early_data; }"),
            ("", "proxy_set_header Early-Data $ssl_early_data; location / { proxy_pass http://a; }"),
            ("", "location / { fastcgi_pass a:9000; fastcgi_param HTTP_EARLY_DATA $ssl_early_data; }"),
            ("", "if ($ssl_early_data) { return 425; } location / { proxy_pass http://a; }"),
            (map, "location / { if ($too_early) { return 425; } proxy_pass http://a; }"),
            ("", "location / { limit_except GET { deny all; } proxy_pass http://a; }"),
            ("", "location / { return 200; }"),
            (
                "",
                "location / { auth_request /auth; return 204; } location = /auth { internal; proxy_pass http://a; }",
            ),
        ] {
            let early: Vec<_> =
                told_of(http, server).into_iter().filter(|line| line.contains("come twice")).collect();
            assert_eq!(early, [""; 0], "{server}");
        }
        let plain = "http { ssl_early_data on; server { listen 80; location / { proxy_pass http://a; } } }";
        assert_eq!(told(plain), [""; 0]);
        let off = "http { ssl_early_data on; server { listen 443 ssl; ssl_early_data off; location / { proxy_pass http://a; } } }";
        assert_eq!(told(off), [""; 0]);
    }

    #[test]
    fn fields_that_are_inherited_no_more_are_missed() {
        let server = "proxy_set_header Early-Data $ssl_early_data;\n\
                      location / { proxy_pass http://a; proxy_set_header X y; add_header X $ssl_early_data; }";
        assert!(told_of("", server)[0].starts_with("3: with \"ssl_early_data\""));
    }
}
