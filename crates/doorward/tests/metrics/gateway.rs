//! A gateway with everything that is counted in its configuration, and its services in the same process.

use std::ops::Deref;

use crate::support;

/// A running gateway.
pub struct Gateway(support::Gateway);

impl Deref for Gateway {
    type Target = support::Gateway;

    fn deref(&self) -> &support::Gateway {
        &self.0
    }
}

/// Its services are on `{port2}`, and nobody is on `{port3}`.
const CONFIGURATION: &str = r#"
http {
    access_log off;
    otel_exporter { endpoint http://127.0.0.1:{port2}/v1/traces; }
    limit_req_zone $http_x_key zone=requests:64k rate=1r/s;
    limit_conn_zone $http_x_key zone=connections:64k;
    auth_limit_zone $http_x_key zone=guesses:64k rate=1r/m;
    proxy_cache_path cache keys_zone=answers:1m max_size=10m;
    upstream service { server 127.0.0.1:{port2}; server 127.0.0.1:{port3} backup; }
    upstream auth { server 127.0.0.1:{port2}; }
    upstream gone { server 127.0.0.1:{port3}; }
    upstream named { resolver 127.0.0.1:{port3}; server service.test:81 resolve; }
    server {
        listen 127.0.0.1:{port2};
        server_name service.example.com;
        location / { return 200 "hello\n"; }
        location /allow { return 204; }
        location /refuse { return 401; }
        location /forbid { return 403; }
        location /missing { return 404; }
    }
    server {
        listen 127.0.0.1:{port} default_server;
        server_name www.example.com;
        location / { auth_request /ask; proxy_pass http://service; }
        location /refused { auth_limit zone=guesses burst=2 ban=10m; auth_request /ask-refused; proxy_pass http://service; }
        location /forbidden { auth_request /ask-forbidden; proxy_pass http://service; }
        location /unreachable { auth_request /ask-gone; proxy_pass http://service; }
        location /password { auth_basic secret; auth_basic_user_file users; proxy_pass http://service/; }
        location /address { deny all; }
        location /cached { proxy_cache answers; proxy_cache_valid 200 1m; proxy_pass http://service/; }
        location /decided { auth_request_cache zone=decisions:64k; auth_request /ask; proxy_pass http://service/; }
        location /missing { proxy_pass http://service; }
        location /down { proxy_pass http://gone; }
        location /limited { limit_req zone=requests; limit_conn connections 1; proxy_pass http://service/; }
        location = /ask { internal; proxy_pass http://auth/allow; }
        location = /ask-refused { internal; proxy_pass http://auth/refuse; }
        location = /ask-forbidden { internal; proxy_pass http://auth/forbid; }
        location = /ask-gone { internal; proxy_pass http://gone; }
        {more}
        location = /metrics { prometheus; }
    }
}
"#;

impl Gateway {
    /// Starts it; `more` is put into the server.
    pub fn start(more: &str) -> Gateway {
        let http = CONFIGURATION.replace("{more}", more);
        Gateway(support::Gateway::start_as(support::BEGINNING, &http, &[("users", "alice:{PLAIN}sesame\n")]))
    }

    /// Asks for a path several times.
    pub fn ask(&self, times: usize, path: &str, fields: &str, status: u16) {
        for _ in 0..times {
            assert_eq!(self.get(path, fields).status, status, "{path}");
        }
    }

    /// Some of everything, each request as often as the tests that compare numbers know.
    pub fn load(&self) {
        self.ask(5, "/", "", 200);
        self.ask(3, "/refused", "X-Key: guesser\r\n", 401);
        self.ask(2, "/refused", "X-Key: guesser\r\n", 429);
        self.ask(2, "/forbidden", "", 403);
        self.ask(2, "/unreachable", "", 500);
        self.ask(1, "/password", "", 401);
        self.ask(1, "/password", "Authorization: Basic YWxpY2U6d3Jvbmc=\r\n", 401);
        self.ask(1, "/password", "Authorization: Basic YWxpY2U6c2VzYW1l\r\n", 200);
        self.ask(2, "/address", "", 403);
        self.ask(3, "/cached", "", 200);
        self.ask(3, "/decided", "Authorization: Bearer token\r\n", 200);
        self.ask(2, "/missing", "", 404);
        self.ask(2, "/down", "", 502);
        self.ask(1, "/limited", "X-Key: often\r\n", 200);
        self.ask(1, "/limited", "X-Key: often\r\n", 503);
    }

    /// The metrics page in Prometheus' text format.
    pub fn metrics(&self) -> String {
        self.get("/metrics", "").body
    }

    /// What goes before the names of servers that are services.
    pub fn service_address(&self) -> String {
        format!("127.0.0.1:{}", self.port2)
    }
}
