//! `auth_service`: who is let in, who is not, and what each is told.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may assume")]

#[path = "../support/browser.rs"]
mod browser;
#[path = "../support/service.rs"]
mod service;
#[path = "../support/mod.rs"]
mod support;

mod keys;
mod login;
mod logout;
mod pages;
mod people;
mod questions;
mod tokens;

use serde_json::Value;
use support::{Gateway, doorward, free_ports, wait_for};

/// An upstream that shows what it is told, on `{port2}`.
const UPSTREAM: &str = r#"server {
        listen 127.0.0.1:{port2};
        location / {
            add_header Saw "id=$http_x_user_id name=$http_x_user_name email=$http_x_user_email scope=$http_x_user_scope groups=$http_x_user_groups" always;
            return 200 "served";
        }
    }"#;

/// Everything that a service can be asked, and an upstream that shows what it is told.
const HTTP: &str = r#"
http {
    access_log off;
    auth_limit_zone $binary_remote_addr zone=guesses:64k rate=1r/m;
    auth_service main {
        auth_store   sqlite:{dir}/auth.db;
        auth_api_key;
        auth_session login=/login;
        auth_basic;
        auth_rule    /in-place/admin group=admins;
        auth_rule    /in-place/orders method=GET scope=orders:read;
        auth_rule    /in-place/orders scope=orders:write;
        auth_rule    /in-place/never deny;
        auth_rule    /admin group=admins;
        auth_rule    / host=closed.example deny;
    }
    auth_service keys { auth_store sqlite:{dir}/auth.db; auth_api_key header=X-Token; auth_realm "the keys"; }
    auth_service sessions { auth_store sqlite:{dir}/auth.db; auth_session login=https://id.example.com/login?from=here; }
    auth_service unnamed { auth_api_key; }
    {upstream}
    server {
        listen 127.0.0.1:{port};
        location /in-place {
            auth main;
            add_header Who "$auth_user $auth_method $auth_scope" always;
            proxy_pass http://127.0.0.1:{port2};
        }
        location /scoped { auth main; auth_require scope=orders:write; auth_require group=staff group=admins error=404; proxy_pass http://127.0.0.1:{port2}; }
        location /again { auth main; try_files /none /elsewhere; }
        location = /elsewhere { proxy_pass http://127.0.0.1:{port2}; }
        location /unnamed { auth unnamed; proxy_pass http://127.0.0.1:{port2}; }
        location /keys { auth keys; proxy_pass http://127.0.0.1:{port2}; }
        location /sessions { auth sessions; proxy_pass http://127.0.0.1:{port2}; }
        location /either { satisfy any; deny all; auth main; proxy_pass http://127.0.0.1:{port2}; }
        location /limited { auth main; auth_limit zone=guesses burst=2; proxy_pass http://127.0.0.1:{port2}; }
        location /asked {
            auth_request /auth;
            auth_request_set $id $upstream_http_x_user_id;
            auth_request_set $login $upstream_http_location;
            auth_request_set $why $upstream_http_x_auth_reason;
            error_page 401 = @login;
            add_header Id $id always;
            add_header Why $why always;
            proxy_set_header X-User-ID $id;
            proxy_pass http://127.0.0.1:{port2};
        }
        location @login { add_header Login "$login" always; return 401; }
        location = /auth { internal; auth_service main; }
        location = /open-auth { auth_service main; }
        location /forwarded { auth_service main asked_by=forwarded; }
        location /original { auth_service main asked_by=original; }
        location /envoy/ { auth_service main asked_by=envoy; }
    }
}
"#;

/// A gateway with a user, and keys of hers.
struct Place {
    gateway: Gateway,
    address: String,
    /// The user's id.
    ada: String,
}

impl Place {
    fn start() -> Place {
        let gateway = Gateway::start(&HTTP.replace("{upstream}", UPSTREAM));
        let address = format!("sqlite:{}", gateway.path("auth.db").display());
        let mut place = Place { gateway, address, ada: String::new() };
        let added = place.admin(
            "user add ada --email ada@example.org --scope orders:read --scope orders:write --group staff --password-stdin",
            "correct horse\n",
        );
        place.ada = added["id"].as_str().unwrap().to_owned();
        place
    }

    /// Administers the store; what comes back is an object.
    fn admin(&self, words: &str, input: &str) -> Value {
        let mut words: Vec<&str> = words.split(' ').collect();
        words.extend(["--json", "--store", &self.address]);
        let output = doorward(&words, input);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// A new key of the user: its text.
    fn key(&self, scopes: &str) -> String {
        let made = self.admin(&format!("key create ada{scopes}"), "");
        made["key"].as_str().unwrap().to_owned()
    }
}
