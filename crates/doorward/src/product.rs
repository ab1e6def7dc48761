//! The product's name and version, said in one place.

/// The product.
pub const NAME: &str = "doorward";

/// The product's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// As the `Server` field and error pages say it.
pub const NAME_AND_VERSION: &str = concat!("doorward/", env!("CARGO_PKG_VERSION"));

/// The nginx whose configuration and behaviour this program has.
pub const NGINX_VERSION: &str = "1.31.5";

/// What is there of nginx's optional modules, and what of its standard ones is not, in its configure script's words.
pub const MODULES: &[&str] = &[
    "--with-http_auth_request_module",
    "--with-http_random_index_module",
    "--with-http_realip_module",
    "--with-http_secure_link_module",
    "--with-http_stub_status_module",
    "--with-threads",
    "--without-http_ssi_module",
    "--without-http_autoindex_module",
    "--without-http_memcached_module",
    "--without-http_scgi_module",
    "--without-http_uwsgi_module",
    "--without-http_grpc_module",
    "--without-http_browser_module",
];
