//! Makes the cases of `satisfy`: every mix of who refuses and who lets in, asked with every kind of credentials.
//!
//! Each case also says which statuses it expects, by the few lines of [`Asked::status`]. nginx has to meet them, and so
//! they hold for `auth_require` too, which it does not have.

use std::fmt::Write;

/// What one method of the access phase says.
#[derive(Clone, Copy, PartialEq)]
enum Says {
    Yes,
    Nothing,
    No(u16),
}

/// What the auth service does about a question, and what that says.
const QUESTIONS: [(&str, &str, Says); 9] = [
    ("unasked", "", Says::Nothing),
    ("200", "200 OK\nX-Auth: yes", Says::Yes),
    ("204", "204 No Content", Says::Yes),
    ("401", "401 Unauthorized\nWWW-Authenticate: Bearer realm=\"asked\"", Says::No(401)),
    ("403", "403 Forbidden", Says::No(403)),
    ("302", "302 Found\nLocation: /login", Says::No(500)),
    ("500", "500 Internal Server Error", Says::No(500)),
    ("closed", "close", Says::No(500)),
    ("late", "pause 10000\n200 OK", Says::No(500)),
];

/// Credentials of a request; `ann` has the password `right`.
const CREDENTIALS: [(&str, Says); 4] = [
    ("", Says::No(401)),
    ("Basic YW5uOnJpZ2h0", Says::Yes),
    ("Basic YW5uOndyb25n", Says::No(401)),
    ("Bearer YW5uOnJpZ2h0", Says::No(401)),
];

const ADDRESSES: [(&str, &str, Says); 4] = [
    ("any address", "", Says::Nothing),
    ("allowed", "allow 127.0.0.1; deny all;", Says::Yes),
    ("denied", "deny all;", Says::No(403)),
    ("not named", "allow 192.0.2.1; deny 192.0.2.2;", Says::Nothing),
];

const PASSWORDS: &str = "auth_basic asked; auth_basic_user_file %dir%/users;";

const PAGES: &str = "error_page 401 /page/401; error_page 403 =404 /page/403; error_page 500 = @failed;";

/// Where the rules stand, and what else is said there.
struct Place {
    name: &'static str,
    method: &'static str,
    /// Whether they stand in the server block.
    around: bool,
    /// The block in the location in which they stand.
    inside: &'static str,
    beside: &'static str,
}

const LOCATION: Place = Place { name: "", method: "GET", around: false, inside: "", beside: "" };

const PLACES: [Place; 6] = [
    LOCATION,
    Place { name: " around", around: true, ..LOCATION },
    Place { name: " with pages", beside: PAGES, ..LOCATION },
    Place { name: " with pages to HEAD", method: "HEAD", beside: PAGES, ..LOCATION },
    Place { name: " with a delay", beside: "auth_delay 15ms;", ..LOCATION },
    Place { name: " of limit_except", method: "DELETE", inside: "limit_except GET", ..LOCATION },
];

/// The methods of one location, in the order in which they are asked.
struct Asked {
    any: bool,
    methods: [Says; 4],
}

impl Asked {
    /// The status of the access phase; 200 where it lets the request pass.
    fn status(&self) -> u16 {
        let mut refused = 200;
        for says in self.methods {
            match says {
                Says::Yes if self.any => return 200,
                Says::No(status @ (401 | 403)) if self.any => {
                    // A client that can do something about it is told so.
                    refused = if refused == 401 { 401 } else { status };
                }
                Says::No(status) => return status,
                _ => {}
            }
        }
        refused
    }
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
    for (name, answer, _) in QUESTIONS.iter().filter(|(_, answer, _)| !answer.is_empty()) {
        let _ = writeln!(text, "on /{name}\n{answer}");
    }
    for place in &PLACES {
        for any in [false, true] {
            for address in ADDRESSES {
                for (passwords, required) in [(false, false), (true, false), (false, true), (true, true)] {
                    let rules = Rules { any, address, passwords, required };
                    rules.case(place, &mut text);
                }
            }
        }
    }
    text
}

/// The rules of one case.
struct Rules {
    any: bool,
    address: (&'static str, &'static str, Says),
    passwords: bool,
    required: bool,
}

impl Rules {
    fn case(&self, place: &Place, text: &mut String) {
        let kind = if self.any { "any" } else { "all" };
        let _ = write!(text, "=== {kind} of {}", self.address.0);
        for (on, name) in [(self.passwords, " and password"), (self.required, " and value")] {
            text.push_str(if on { name } else { "" });
        }
        let _ = writeln!(text, "{}", place.name);
        if self.required {
            text.push_str("# Doorward's own\n");
        }
        self.server(place, text);
        for (name, _, question) in QUESTIONS {
            for (credentials, password) in CREDENTIALS.iter().take(if self.passwords { 4 } else { 1 }) {
                for value in [Says::No(403), Says::Yes].iter().take(if self.required { 2 } else { 1 }) {
                    let password = if self.passwords { *password } else { Says::Nothing };
                    let methods = [
                        self.address.2,
                        password,
                        question,
                        if self.required { *value } else { Says::Nothing },
                    ];
                    let query = if *value == Says::Yes { "?value=1" } else { "" };
                    // Behind a 500 there is no connection any more.
                    let _ = writeln!(text, "new\n{} /{name}{query}\n  Connection: close", place.method);
                    if !credentials.is_empty() {
                        let _ = writeln!(text, "  Authorization: {credentials}");
                    }
                    let status = Asked { any: self.any, methods }.status();
                    let shown = match status {
                        403 if place.beside == PAGES => 404,
                        500 if place.beside == PAGES => 503,
                        status => status,
                    };
                    let _ = writeln!(text, "< {shown}");
                }
            }
        }
    }

    fn server(&self, place: &Place, text: &mut String) {
        // `all` is the default as well.
        let satisfy = match (self.any, place.name) {
            (true, _) => "satisfy any;",
            (false, "") => "",
            (false, _) => "satisfy all;",
        };
        let passwords = if self.passwords { PASSWORDS } else { "" };
        let required = if self.required { "auth_require $arg_value;" } else { "" };
        let rules = format!("{} {passwords} {required}", self.address.1);
        let (around, own) = match (place.around, place.inside) {
            (true, _) => (format!("{satisfy} {rules}"), String::new()),
            (false, "") => (String::new(), format!("{satisfy} {rules}")),
            (false, block) => (String::new(), format!("{satisfy} {block} {{ {rules} }}")),
        };
        let _ = writeln!(text, "--- server\naccess_log %dir%/access.log who;\n{around}");
        for (name, answer, _) in QUESTIONS {
            let question =
                if answer.is_empty() { String::new() } else { format!("auth_request /ask/{name};") };
            // Only what is late by intent may be late: the machine may be busy.
            let time = if name == "late" { "proxy_read_timeout 100ms;" } else { "" };
            let _ = writeln!(
                text,
                "location = /{name} {{ {own} {question} {} proxy_pass http://%service%; }}\n\
                 location = /ask/{name} {{ internal; {time} proxy_pass http://%auth%/{name}; }}",
                place.beside,
            );
        }
        text.push_str(
            "location /page/ { allow all; auth_basic off; return 200 \"page of $uri\\n\"; }\n\
             location @failed { return 503 \"failed\\n\"; }\n\
             --- do\n",
        );
    }
}
