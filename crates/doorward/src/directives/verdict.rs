//! The reasons why directives have no effect or are refused.

use super::Verdict;
use super::Verdict::NoEffect;

const fn refused(because: &'static str, instead: &'static str) -> Verdict {
    Verdict::Refused { because, instead }
}

pub(super) const NOT_BUILT: Verdict =
    refused("it is not built yet", "remove it if it is not needed, or leave this part to nginx");

pub(super) const READ_IN_PLACE: Verdict = NoEffect("the file is read in place of the directive");
pub(super) const BY_SERVICE: Verdict = NoEffect(
    "limits, priority, processors, folder and environment are set by the service manager that starts Doorward",
);
pub(super) const OWN_EVENTS: Verdict = NoEffect(
    "Doorward waits for events in its own way and takes as many connections as the limit of open files allows",
);
pub(super) const NO_DEBUG: Verdict = NoEffect("it serves to look inside nginx's own code");
pub(super) const NO_THREADS: Verdict =
    NoEffect("Doorward chooses by itself which file operations leave the worker's thread");
pub(super) const NO_MODULES: Verdict =
    NoEffect("Doorward loads no modules; a directive that needs one is refused where it stands");
pub(super) const OWN_REGEX: Verdict =
    NoEffect("regular expressions are compiled to machine code wherever that is possible");
pub(super) const OWN_TLS_CACHE: Verdict =
    NoEffect("certificates and keys are read once for each configuration");
pub(super) const OWN_FILES: Verdict = NoEffect("Doorward opens and reads files in its own way");
pub(super) const OWN_WRITES: Verdict =
    NoEffect("head and body leave in one write wherever possible, and nothing small is held back");
pub(super) const SHARED_STATE: Verdict = NoEffect("the workers share the state of a group without it");
pub(super) const OWN_MEMORY: Verdict = NoEffect("Doorward sizes these pieces of memory by itself");
pub(super) const OWN_HASHES: Verdict = NoEffect("Doorward's tables grow as they need to");
pub(super) const NO_TEMPORARY: Verdict = NoEffect("Doorward writes no temporary files here");
pub(super) const ONE_REQUEST: Verdict = NoEffect("a connection to a FastCGI server serves one request");
pub(super) const NO_FINITE_FIELD: Verdict =
    NoEffect("the cipher suites with finite-field Diffie-Hellman are not offered, so no parameters are used");

pub(super) const NO_POST_ACTION: Verdict = refused(
    "a request ends with its response here",
    "send a copy of the request with mirror, or read what was answered from the access log",
);
pub(super) const NO_STREAM: Verdict = refused(
    "Doorward is a gateway for HTTP",
    "leave plain TCP and UDP to nginx: move the block to its configuration",
);
pub(super) const NO_MAIL: Verdict =
    refused("Doorward is a gateway for HTTP", "leave mail to nginx: move the block to its configuration");
pub(super) const NO_ENGINE: Verdict =
    refused("TLS is not done by OpenSSL here, so there are no engines", "give the key as a file");
pub(super) const NO_OPENSSL: Verdict = refused(
    "TLS is not done by OpenSSL here, so its commands mean nothing",
    "use the directive for the setting, such as ssl_protocols or ssl_ciphers",
);
pub(super) const NO_ECH: Verdict =
    refused("the library that does TLS has no encrypted client hello for servers", "remove it");
pub(super) const NO_PERL: Verdict =
    refused("Doorward runs no Perl", "use map, or a service behind proxy_pass");
pub(super) const NO_XSLT: Verdict =
    refused("Doorward transforms no XML", "do it in a service behind proxy_pass");
pub(super) const NO_IMAGES: Verdict =
    refused("Doorward changes no images", "do it in a service behind proxy_pass");
pub(super) const NO_GEOIP: Verdict =
    refused("Doorward reads no GeoIP databases", "use geo with the networks you care about");
pub(super) const NO_VIDEO: Verdict =
    refused("Doorward takes no videos apart", "serve the file as it is, or proxy_pass to a streaming server");
pub(super) const NO_DAV: Verdict =
    refused("Doorward writes no files for clients", "proxy_pass to a WebDAV server");
pub(super) const NO_MEMCACHED: Verdict =
    refused("Doorward does not speak memcached's protocol", "use proxy_cache, or proxy_pass to a service");
pub(super) const NO_DEGRADATION: Verdict =
    refused("Doorward does not watch its memory this way", "limit requests with limit_req or limit_conn");
pub(super) const NO_FASTCGI: Verdict = refused(
    "this part of FastCGI is not built yet",
    "remove it if it is not needed, or proxy_pass to an HTTP server in front of the application",
);
pub(super) const NO_UWSGI: Verdict =
    refused("Doorward does not speak uwsgi", "let the application listen for HTTP and use proxy_pass");
pub(super) const NO_SCGI: Verdict =
    refused("Doorward does not speak SCGI", "proxy_pass to an HTTP server in front of the application");

pub(super) const NO_PLUS: Verdict =
    refused("it belongs to the commercial NGINX Plus", "remove it; the open nginx does not know it either");
pub(super) const AUTH_LATER: Verdict = refused(
    "it belongs to the commercial NGINX Plus and is not built yet",
    "use auth_request with a service that checks the token",
);
pub(super) const NO_ACME: Verdict = refused(
    "Doorward fetches no certificates",
    "let an ACME client write the files that ssl_certificate names, and reload",
);
pub(super) const NO_LICENCE: Verdict = refused("there is no licence to report on", "remove the block");
