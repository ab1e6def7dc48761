//! Every module, in the order in which their handlers run.

pub mod access;
pub mod access_log;
pub mod addition;
pub mod ambiguous_path;
pub mod auth_basic;
pub mod auth_jwt;
pub mod auth_outcome;
pub mod auth_request;
pub mod auth_require;
pub mod auth_service;
pub mod autoindex;
pub mod cache;
pub mod charset;
pub mod core;
pub mod empty_gif;
pub mod fastcgi;
pub mod geo;
pub mod gzip;
pub mod headers;
pub mod http2;
pub mod identity;
pub mod limits;
pub mod map;
pub mod not_modified;
pub mod otel;
pub mod preflight;
pub mod prometheus;
pub mod proxy;
pub mod proxy_protocol;
pub mod proxy_ssl;
pub mod random_index;
pub mod range;
pub mod realip;
pub mod referer;
pub mod resolver;
pub mod rewrite;
pub mod secure_link;
pub mod split_clients;
pub mod ssl;
pub mod static_files;
pub mod status;
pub mod store;
pub mod stub_status;
pub mod try_files;
pub mod tunnel;
pub mod upstream;
pub mod userid;

use crate::module::{Directive, Module};
use crate::variables;

/// The modules. Order is meaning: it is the order of the access phase and of the filters.
pub static MODULES: &[&Module] = &[
    &core::MAIN,
    &core::ERROR_LOG,
    &core::BLOCKS,
    &core::LISTEN,
    &core::SERVER,
    &core::SETTINGS,
    &core::ERROR_PAGE,
    &core::TYPES,
    &http2::MODULE,
    &http2::IN_LOCATION,
    &rewrite::MODULE,
    &proxy_protocol::MODULE,
    &ssl::MODULE,
    &ssl::VERIFY,
    &ssl::OCSP,
    &ambiguous_path::MODULE,
    &identity::MODULE,
    &realip::MODULE,
    &referer::MODULE,
    &secure_link::MODULE,
    &limits::REQ,
    &limits::CONN,
    &limits::FAILURES,
    &geo::MODULE,
    &map::MODULE,
    &split_clients::MODULE,
    &preflight::MODULE,
    &access::MODULE,
    &auth_basic::MODULE,
    &auth_jwt::MODULE,
    &auth_service::MODULE,
    &auth_service::IN_BLOCK,
    &auth_outcome::MODULE,
    &auth_request::MODULE,
    &auth_request::EXTENSIONS,
    &auth_request::CACHE,
    &auth_request::PURGE,
    &auth_require::MODULE,
    &try_files::MODULE,
    &resolver::MODULE,
    &resolver::OF_UPSTREAM,
    &upstream::MODULE,
    &upstream::SERVERS,
    &proxy::MODULE,
    &proxy::LISTS,
    &proxy::REWRITES,
    &proxy::BUFFERS,
    &proxy_ssl::MODULE,
    &tunnel::MODULE,
    &tunnel::PASS,
    &cache::PLACE,
    &cache::MODULE,
    &cache::PATHS,
    &fastcgi::MODULE,
    &fastcgi::LISTS,
    &static_files::SYMLINKS,
    &static_files::MODULE,
    &random_index::MODULE,
    &autoindex::MODULE,
    &empty_gif::MODULE,
    &stub_status::MODULE,
    &prometheus::MODULE,
    &status::MODULE,
    &headers::MODULE,
    &userid::MODULE,
    &addition::MODULE,
    &charset::MODULE,
    &gzip::MODULE,
    &gzip::WHOM,
    &access_log::MODULE,
    &otel::MODULE,
];

/// Every directive of every module.
pub fn directives() -> impl Iterator<Item = &'static Directive> {
    MODULES.iter().flat_map(|m| m.directives)
}

/// Every variable of every module.
pub fn variables() -> impl Iterator<Item = &'static variables::Row> {
    MODULES.iter().flat_map(|m| m.variables)
}
