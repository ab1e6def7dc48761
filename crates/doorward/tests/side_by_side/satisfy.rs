//! Makes the cases of `satisfy`: every mix of who refuses and who lets in, asked with every kind of credentials.

use std::fmt::Write;

/// What the auth service does about a question.
const ASKED: [(&str, &str); 9] = [
    ("unasked", ""),
    ("200", "200 OK\nX-Auth: yes"),
    ("204", "204 No Content"),
    ("401", "401 Unauthorized\nWWW-Authenticate: Bearer realm=\"asked\""),
    ("403", "403 Forbidden"),
    ("302", "302 Found\nLocation: /login"),
    ("500", "500 Internal Server Error"),
    ("closed", "close"),
    ("late", "pause 300\n200 OK"),
];

/// `Authorization` of a request; `ann` has the password `right`.
const CREDENTIALS: [(&str, Option<&str>); 4] = [
    ("none", None),
    ("right", Some("Basic YW5uOnJpZ2h0")),
    ("wrong", Some("Basic YW5uOndyb25n")),
    ("another's", Some("Bearer YW5uOnJpZ2h0")),
];

const ADDRESSES: [(&str, &str); 4] = [
    ("any address", ""),
    ("allowed", "allow 127.0.0.1; deny all;"),
    ("denied", "deny all;"),
    ("not named", "allow 192.0.2.1; deny 192.0.2.2;"),
];

/// Where the rules stand, and what else is said there.
const PLACES: [Place; 6] = [
    Place { name: "", method: "GET", outside: "", beside: "", inside: "" },
    Place { name: " around", method: "GET", outside: "RULES", beside: "", inside: "" },
    Place { name: " with pages", method: "GET", outside: "", beside: PAGES, inside: "" },
    Place { name: " with a delay", method: "GET", outside: "", beside: "auth_delay 15ms;", inside: "" },
    Place { name: " with pages to HEAD", method: "HEAD", outside: "", beside: PAGES, inside: "" },
    Place { name: " of limit_except", method: "DELETE", outside: "", beside: "", inside: "limit_except GET" },
];

const PAGES: &str = "error_page 401 /page/401; error_page 403 =404 /page/403; error_page 500 = @failed;";

struct Place {
    name: &'static str,
    method: &'static str,
    outside: &'static str,
    beside: &'static str,
    inside: &'static str,
}

/// The text of the case file.
pub(crate) fn file() -> String {
    let mut text = String::from(
        "--- http\n\
         log_format who '$uri $status $remote_user';\n\
         --- file users\n\
         ann:{PLAIN}right\n\
         --- upstream auth\n",
    );
    for (name, answer) in ASKED.iter().filter(|(_, answer)| !answer.is_empty()) {
        let _ = writeln!(text, "on /{name}\n{answer}");
    }
    for place in &PLACES {
        // It is the default too.
        let all = if place.name.is_empty() { "" } else { "satisfy all;" };
        for (kind, satisfy) in [("all", all), ("any", "satisfy any;")] {
            for (address, addresses) in ADDRESSES {
                for (basic, password) in
                    [("", ""), (" and password", "auth_basic asked; auth_basic_user_file %dir%/users;")]
                {
                    let _ = writeln!(text, "=== {kind} of {address}{basic}{}", place.name);
                    case(place, satisfy, addresses, password, &mut text);
                }
            }
        }
    }
    text
}

fn case(place: &Place, satisfy: &str, addresses: &str, password: &str, text: &mut String) {
    let rules = format!("{addresses} {password}");
    let around = if place.outside.is_empty() { String::new() } else { format!("{satisfy} {rules}") };
    let own = match (place.outside, place.inside) {
        ("", "") => format!("{satisfy} {rules}"),
        ("", block) => format!("{satisfy} {block} {{ {rules} }}"),
        _ => String::new(),
    };
    let _ = writeln!(text, "--- server\naccess_log %dir%/access.log who;\n{around}");
    for (name, answer) in ASKED {
        let question = if answer.is_empty() { String::new() } else { format!("auth_request /ask/{name};") };
        let _ = writeln!(
            text,
            "location = /{name} {{ {own} {question} {} proxy_pass http://%service%; }}\n\
             location = /ask/{name} {{ internal; proxy_read_timeout 100ms; proxy_pass http://%auth%/{name}; }}",
            place.beside,
        );
    }
    text.push_str(
        "location /page/ { allow all; auth_basic off; return 200 \"page of $uri\\n\"; }\n\
         location @failed { return 503 \"failed\\n\"; }\n\
         --- do\n",
    );
    for (name, _) in ASKED {
        for (_, credentials) in CREDENTIALS.iter().filter(|(who, _)| !password.is_empty() || *who == "none") {
            let _ = writeln!(text, "{} /{name}", place.method);
            if let Some(credentials) = credentials {
                let _ = writeln!(text, "  Authorization: {credentials}");
            }
        }
    }
}
