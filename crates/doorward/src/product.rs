//! The product's name and version, said in one place.

/// The product.
pub const NAME: &str = "doorward";

/// The product's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// As the `Server` field and error pages say it.
pub const NAME_AND_VERSION: &str = concat!("doorward/", env!("CARGO_PKG_VERSION"));

/// The nginx whose configuration and behaviour this program has.
pub const NGINX_VERSION: &str = "1.31.5";

/// The folder that relative paths start from unless `-p` says otherwise, as in nginx's packages.
pub const PREFIX: &str = "/etc/nginx";

/// A file or folder that the program uses where the configuration names none.
pub struct Place {
    /// Under the folder that `-p` names.
    pub under_prefix: &'static str,
    /// Where nginx's packages have it, which is where it is without `-p`.
    pub packaged: &'static str,
}

/// `error_log`.
pub const ERROR_LOG: Place = Place { under_prefix: "logs/error.log", packaged: "/var/log/nginx/error.log" };

/// `access_log`.
pub const ACCESS_LOG: Place =
    Place { under_prefix: "logs/access.log", packaged: "/var/log/nginx/access.log" };

/// `pid`.
pub const PID: Place = Place { under_prefix: "logs/nginx.pid", packaged: "/run/nginx.pid" };

/// `client_body_temp_path`.
pub const CLIENT_BODY_TEMP: Place =
    Place { under_prefix: "client_body_temp", packaged: "/var/cache/nginx/client_temp" };

/// `auth_store`, in a folder of its own, which is made for the worker's user.
pub const AUTH_STORE: Place =
    Place { under_prefix: "auth_store/auth.db", packaged: "/var/lib/doorward/auth.db" };

/// What is there of nginx's optional modules, and what of its standard ones is not, in its configure script's words.
pub const MODULES: &[&str] = &[
    "--with-http_addition_module",
    "--with-http_auth_request_module",
    "--with-http_random_index_module",
    "--with-http_realip_module",
    "--with-http_secure_link_module",
    "--with-http_ssl_module",
    "--with-http_stub_status_module",
    "--with-http_v2_module",
    "--with-threads",
    "--without-http_ssi_module",
    "--without-http_memcached_module",
    "--without-http_scgi_module",
    "--without-http_uwsgi_module",
    "--without-http_grpc_module",
    "--without-http_browser_module",
];
