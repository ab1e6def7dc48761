//! `ngx_http_core_module` and nginx's core: blocks, names, paths, limits, timeouts.

mod blocks;
mod browser;
mod error_page;
mod main_context;
mod types;
mod variables;

pub use blocks::{Children, ListenSpec, Listens, Methods, matching};
pub use browser::Browser;
pub use error_page::ErrorPages;
pub use main_context::{ErrorLogs, Main};
pub use types::Types;

use std::sync::Arc;

use conf::Arg::{Choice, Flag, Many, Number, Offset, Optional, Size, Text, Time};
use conf::{Diagnostic, Node, once};

use crate::compile::Compiler;
use crate::log::{ErrorLog, Logs};
use crate::module::{Module, Scope};
use crate::plan::Plan;
use crate::product::CLIENT_BODY_TEMP;
use crate::variables::Template;
use crate::{directives, settings};

/// The blocks themselves.
pub static BLOCKS: Module = Module {
    name: "ngx_http_core_module",
    directives: blocks::DIRECTIVES,
    variables: variables::ROWS,
    plan: |_, _, _| Ok(()),
};

/// `listen`.
pub static LISTEN: Module = Module {
    name: "ngx_http_core_module",
    directives: blocks::LISTEN,
    variables: &[],
    plan: |_, _, _| Ok(()),
};

/// The main context.
pub static MAIN: Module = Module {
    name: "ngx_core_module",
    directives: main_context::DIRECTIVES,
    variables: &[],
    plan: |_, _, _| Ok(()),
};

/// Where the error log goes.
pub static ERROR_LOG: Module = Module {
    name: "ngx_errlog_module",
    directives: main_context::ERROR_LOG,
    variables: &[],
    plan: |_, _, _| Ok(()),
};

/// `error_page`.
pub static ERROR_PAGE: Module = Module {
    name: "ngx_http_core_module",
    directives: error_page::DIRECTIVES,
    variables: &[],
    plan: |_, _, _| Ok(()),
};

/// `types`.
pub static TYPES: Module = Module {
    name: "ngx_http_core_module",
    directives: types::DIRECTIVES,
    variables: &[],
    plan: |_, _, _| Ok(()),
};

/// What `server_tokens` shows.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerTokens {
    /// The product and its version.
    On,
    /// The product.
    Off,
    /// The product, its version and build.
    Build,
    /// The given text; nothing when it is empty (NGINX Plus).
    Text(Template),
}

/// How long a kept connection may be idle, and what the client is told of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KeepAlive {
    /// Milliseconds; 0 closes after each response.
    pub timeout: u64,
    /// Seconds in the `Keep-Alive` field, 0 for none.
    pub header: u64,
}

/// `client_body_in_file_only`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFiles {
    /// Only bodies that are too large for memory, and only as long as the request takes.
    Off,
    /// Every body, as long as the request takes.
    Clean,
    /// Every body, and the file stays.
    On,
}

/// Whose connections `keepalive_disable` does not keep.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Unkept {
    /// Old versions of Internet Explorer, after a POST.
    pub msie6: bool,
    /// Safari on a Mac.
    pub safari: bool,
}

/// `lingering_close`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lingering {
    /// Never.
    Off,
    /// When the client may still be sending.
    On,
    /// Always.
    Always,
}

/// `if_modified_since`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfModifiedSince {
    /// The field is ignored.
    Off,
    /// Equal times only.
    Exact,
    /// Not later than.
    Before,
}

/// Where files are: `root`, or `alias` with the prefix that it replaces.
#[derive(Clone, Debug, PartialEq)]
pub struct Root {
    /// The folder, with variables.
    pub path: Template,
    /// What of a path it stands for, where `alias` said so.
    pub alias: Option<Alias>,
}

/// What of a path `alias` replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alias {
    /// The name of the location that it stands in, which is not settled yet.
    Own,
    /// So many bytes in front.
    Prefix(usize),
    /// All of it: in a location that is a pattern.
    Whole,
}

settings! {
    /// What the core module knows of a location.
    CoreSettings => CoreValues {
        /// Largest request body in bytes, 0 for any.
        client_max_body_size: u64 = 1 << 20;
        /// How much of a request body is kept in memory.
        client_body_buffer_size: u64 = 16 << 10;
        /// Between two reads of a body, in milliseconds.
        client_body_timeout: u64 = 60_000;
        /// Whether every body goes to a file.
        client_body_in_file_only: BodyFiles = BodyFiles::Off;
        /// Where bodies go that memory does not hold.
        client_body_temp_path: Option<Vec<u8>> = None;
        /// Between two writes of a response, in milliseconds.
        send_timeout: u64 = 60_000;
        /// How long a kept connection may be idle.
        keepalive_timeout: KeepAlive = KeepAlive { timeout: 75_000, header: 0 };
        /// Requests on one connection.
        keepalive_requests: u64 = 1000;
        /// How long a connection may be kept at all, in milliseconds.
        keepalive_time: u64 = 3_600_000;
        /// Browsers whose connections are not kept.
        keepalive_disable: Unkept = Unkept { msie6: true, safari: false };
        /// Least time that an idle connection is kept at a graceful end, in milliseconds.
        keepalive_min_timeout: u64 = 0;
        /// Whether a rest of the body is read before the connection is closed.
        lingering_close: Lingering = Lingering::On;
        /// At most so long in all, in milliseconds.
        lingering_time: u64 = 30_000;
        /// At most so long without data, in milliseconds.
        lingering_timeout: u64 = 5_000;
        /// Whether a connection that timed out is reset.
        reset_timedout_connection: bool = false;
        /// Whether redirects name scheme and host.
        absolute_redirect: bool = true;
        /// Whether redirects use the first server name.
        server_name_in_redirect: bool = false;
        /// Whether redirects name the port.
        port_in_redirect: bool = true;
        /// What error pages and `Server` say of the product.
        server_tokens: ServerTokens = ServerTokens::On;
        /// Whether chunks are used where the length is not known.
        chunked_transfer_encoding: bool = true;
        /// Whether files get an ETag.
        etag: bool = true;
        /// How `If-Modified-Since` is compared.
        if_modified_since: IfModifiedSince = IfModifiedSince::Exact;
        /// Ranges in one request; 0 answers them all with the whole.
        max_ranges: u64 = u64::MAX;
        /// Whether missing files are logged.
        log_not_found: bool = true;
        /// Whether subrequests are in the access log.
        log_subrequest: bool = false;
        /// Whether error pages may lead to error pages.
        recursive_error_pages: bool = false;
        /// Whether error pages are padded for old browsers.
        msie_padding: bool = true;
        /// Whether old browsers get a refresh for a redirect.
        msie_refresh: bool = false;
        /// Whether any method of the access phase suffices.
        satisfy_any: bool = false;
        /// The type of files whose extension is not known.
        default_type: Vec<u8> = b"text/plain".to_vec();
        /// Bytes per second, 0 for no limit.
        limit_rate: Template = Template::literal(b"0");
        /// Bytes before the limit starts.
        limit_rate_after: Template = Template::literal(b"0");
        /// Milliseconds that a refusal is held back.
        auth_delay: u64 = 0;
        /// When a server's 103 is passed to the client.
        early_hints: Vec<Template> = Vec::new();
        /// Where files are.
        root: Root = Root { path: Template::literal(b"html"), alias: None };
    }
}

/// The core module's settled settings of one location.
pub struct Core {
    /// Values with defaults.
    pub values: CoreValues,
    /// The name, or the pattern.
    pub name: Vec<u8>,
    /// Only for internal requests.
    pub internal: bool,
    /// `/dir` is redirected here, to `/dir/`.
    pub auto_redirect: bool,
    /// The folder of clients' bodies that memory does not hold.
    pub body_temp: std::path::PathBuf,
    /// What is shown for statuses.
    pub error_pages: ErrorPages,
    /// Types by extension.
    pub types: Arc<Types>,
    /// Where errors are logged.
    pub error_log: ErrorLog,
}

impl std::ops::Deref for Core {
    type Target = CoreValues;
    fn deref(&self) -> &CoreValues {
        &self.values
    }
}

settings! {
    /// What the core module knows of a server and no location changes.
    ServerSettings => ServerCore {
        /// How long a head may take, in milliseconds.
        client_header_timeout: u64 = 60_000;
        /// The buffer for a head that fits.
        client_header_buffer_size: u64 = 1024;
        /// Number and size of the buffers for one that does not.
        large_client_header_buffers: (usize, u64) = (4, 8192);
        /// Whether fields with odd names are left out rather than refused.
        ignore_invalid_headers: bool = true;
        /// Whether `_` is no odd name.
        underscores_in_headers: bool = false;
        /// Most fields in a head.
        max_headers: u64 = 1000;
        /// Reads the body before anything else where one of them has a value.
        client_body_early_read: Vec<Template> = Vec::new();
        /// Whether `//` is one slash.
        merge_slashes: bool = true;
        /// The names of the server.
        names: Vec<conf::Word> = Vec::new();
    }
}

impl ServerCore {
    /// The limits as the parser wants them.
    pub fn limits(&self) -> wire::h1::Limits {
        wire::h1::Limits {
            header_buffer: self.client_header_buffer_size as usize,
            large_buffers: self.large_client_header_buffers.0,
            large_size: self.large_client_header_buffers.1 as usize,
            ignore_invalid: self.ignore_invalid_headers,
            underscores: self.underscores_in_headers,
            max_headers: self.max_headers as usize,
            merge_slashes: self.merge_slashes,
            allow_connect: false,
        }
    }
}

/// Settings of a server or a location.
pub static SETTINGS: Module = Module {
    name: "ngx_http_core_module",
    directives: directives! { CoreSettings;
        /// Sets the folder that paths are looked up in; the path is added to it. May contain variables.
        "root" in [HTTP SERVER LOCATION IF_IN_LOCATION] (Text("path")) = "html" => |c, cx, n| {
            let path = root_path(n, cx, false)?;
            if c.root.as_ref().is_some_and(|r| r.alias.is_some()) {
                return Err(Diagnostic::at(n.span, "\"root\" directive is duplicate, \"alias\" directive was specified earlier".to_owned()));
            }
            once(&mut c.root, path, n)
        };
        /// Sets the folder that takes the place of the location's own prefix.
        "alias" in [LOCATION] (Text("path")) = "" => |c, cx, n| {
            let path = root_path(n, cx, true)?;
            if c.root.as_ref().is_some_and(|r| r.alias.is_none()) {
                return Err(Diagnostic::at(n.span, "\"alias\" directive is duplicate, \"root\" directive was specified earlier".to_owned()));
            }
            once(&mut c.root, path, n)
        };
        /// Refuses larger request bodies with 413; 0 allows any.
        "client_max_body_size" in [HTTP SERVER LOCATION] (Offset) = "1m" => |c, _, n| once(&mut c.client_max_body_size, n.offset(0)?, n);
        /// Keeps request bodies up to this size in memory, larger ones in a temporary file.
        "client_body_buffer_size" in [HTTP SERVER LOCATION] (Size) = "16k" => |c, _, n| once(&mut c.client_body_buffer_size, n.size(0)?, n);
        /// Longest wait between two reads of a request body (408).
        "client_body_timeout" in [HTTP SERVER LOCATION] (Time) = "60s" => |c, _, n| once(&mut c.client_body_timeout, n.msec(0)?, n);
        /// Puts every request body into a file; `clean` removes it afterwards.
        "client_body_in_file_only" in [HTTP SERVER LOCATION] (Choice(&["on", "clean", "off"])) = "off" => |c, _, n| {
            let how = n.choice(0, &[("on", BodyFiles::On), ("clean", BodyFiles::Clean), ("off", BodyFiles::Off)])?;
            once(&mut c.client_body_in_file_only, how, n)
        };
        /// Keeps a request body in one piece; memory holds it so anyway.
        "client_body_in_single_buffer" in [HTTP SERVER LOCATION] (Flag) = "off" => |_, _, n| n.flag(0).map(drop);
        /// Sets the folder for request bodies that memory does not hold.
        "client_body_temp_path" in [HTTP SERVER LOCATION] (Text("path"), Optional(&Number), Optional(&Number), Optional(&Number)) = "client_body_temp" => |c, _, n| once(&mut c.client_body_temp_path, Some(n.bytes(0).to_vec()), n);
        /// Longest wait between two writes of a response.
        "send_timeout" in [HTTP SERVER LOCATION] (Time) = "60s" => |c, _, n| once(&mut c.send_timeout, n.msec(0)?, n);
        /// How long an idle connection is kept; the second value goes into a `Keep-Alive` field.
        "keepalive_timeout" in [HTTP SERVER LOCATION] (Time, Optional(&Time)) = "75s" => |c, _, n| {
            let header = if n.args.len() > 1 { n.sec(1)? } else { 0 };
            once(&mut c.keepalive_timeout, KeepAlive { timeout: n.msec(0)?, header }, n)
        };
        /// Browsers whose connections are closed after a response: `msie6` (old versions, after a POST), `safari`, or `none`.
        "keepalive_disable" in [HTTP SERVER LOCATION] (Text("none | browser"), Optional(&Text("browser"))) = "msie6" => |c, _, n| {
            let mut unkept = Unkept::default();
            for browser in n.choices(&[("none", 0), ("msie6", 1), ("safari", 2)])? {
                match browser {
                    1 => unkept.msie6 = true,
                    2 => unkept.safari = true,
                    _ => {}
                }
            }
            once(&mut c.keepalive_disable, unkept, n)
        };
        /// Most requests on one connection.
        "keepalive_requests" in [HTTP SERVER LOCATION] (Number) = "1000" => |c, _, n| once(&mut c.keepalive_requests, n.number(0)? as u64, n);
        /// Longest time that a connection is kept at all.
        "keepalive_time" in [HTTP SERVER LOCATION] (Time) = "1h" => |c, _, n| once(&mut c.keepalive_time, n.msec(0)?, n);
        /// Least time that an idle connection stays open during a graceful end.
        "keepalive_min_timeout" in [HTTP SERVER LOCATION] (Time) = "0" => |c, _, n| once(&mut c.keepalive_min_timeout, n.msec(0)?, n);
        /// Whether what the client still sends is read before the connection is closed.
        "lingering_close" in [HTTP SERVER LOCATION] (Choice(&["off", "on", "always"])) = "on" => |c, _, n| {
            let how = n.choice(0, &[("off", Lingering::Off), ("on", Lingering::On), ("always", Lingering::Always)])?;
            once(&mut c.lingering_close, how, n)
        };
        /// Longest time of a lingering close.
        "lingering_time" in [HTTP SERVER LOCATION] (Time) = "30s" => |c, _, n| once(&mut c.lingering_time, n.msec(0)?, n);
        /// Longest wait for data in a lingering close.
        "lingering_timeout" in [HTTP SERVER LOCATION] (Time) = "5s" => |c, _, n| once(&mut c.lingering_timeout, n.msec(0)?, n);
        /// Resets connections that timed out, instead of closing them.
        "reset_timedout_connection" in [HTTP SERVER LOCATION] (Flag) = "off" => |c, _, n| once(&mut c.reset_timedout_connection, n.flag(0)?, n);
        /// Redirects name scheme and host.
        "absolute_redirect" in [HTTP SERVER LOCATION] (Flag) = "on" => |c, _, n| once(&mut c.absolute_redirect, n.flag(0)?, n);
        /// Redirects use the first `server_name` instead of the name that the client used.
        "server_name_in_redirect" in [HTTP SERVER LOCATION] (Flag) = "off" => |c, _, n| once(&mut c.server_name_in_redirect, n.flag(0)?, n);
        /// Redirects name the port.
        "port_in_redirect" in [HTTP SERVER LOCATION] (Flag) = "on" => |c, _, n| once(&mut c.port_in_redirect, n.flag(0)?, n);
        /// What the `Server` field and error pages say of the product.
        "server_tokens" in [HTTP SERVER LOCATION] (Text("on | off | build | string")) = "on" => |c, cx, n| {
            let tokens = match n.bytes(0) {
                b"on" => ServerTokens::On,
                b"off" => ServerTokens::Off,
                b"build" => ServerTokens::Build,
                _ => ServerTokens::Text(Template::compile(&n.args[0], &mut cx.variables)?),
            };
            once(&mut c.server_tokens, tokens, n)
        };
        /// Uses chunks for HTTP/1.1 responses of unknown length.
        "chunked_transfer_encoding" in [HTTP SERVER LOCATION] (Flag) = "on" => |c, _, n| once(&mut c.chunked_transfer_encoding, n.flag(0)?, n);
        /// Gives files an ETag.
        "etag" in [HTTP SERVER LOCATION] (Flag) = "on" => |c, _, n| once(&mut c.etag, n.flag(0)?, n);
        /// How `If-Modified-Since` is compared.
        "if_modified_since" in [HTTP SERVER LOCATION] (Choice(&["off", "exact", "before"])) = "exact" => |c, _, n| {
            let how = n.choice(0, &[("off", IfModifiedSince::Off), ("exact", IfModifiedSince::Exact), ("before", IfModifiedSince::Before)])?;
            once(&mut c.if_modified_since, how, n)
        };
        /// Most ranges in one request; 0 turns ranges off.
        "max_ranges" in [HTTP SERVER LOCATION] (Number) = "" => |c, _, n| once(&mut c.max_ranges, n.number(0)? as u64, n);
        /// Logs files that are not found.
        "log_not_found" in [HTTP SERVER LOCATION] (Flag) = "on" => |c, _, n| once(&mut c.log_not_found, n.flag(0)?, n);
        /// Logs subrequests in the access log too.
        "log_subrequest" in [HTTP SERVER LOCATION] (Flag) = "off" => |c, _, n| once(&mut c.log_subrequest, n.flag(0)?, n);
        /// Allows several redirects by `error_page`.
        "recursive_error_pages" in [HTTP SERVER LOCATION] (Flag) = "off" => |c, _, n| once(&mut c.recursive_error_pages, n.flag(0)?, n);
        /// Pads error pages for Internet Explorer to more than 512 bytes.
        "msie_padding" in [HTTP SERVER LOCATION] (Flag) = "on" => |c, _, n| once(&mut c.msie_padding, n.flag(0)?, n);
        /// Sends Internet Explorer a refresh instead of a redirect.
        "msie_refresh" in [HTTP SERVER LOCATION] (Flag) = "off" => |c, _, n| once(&mut c.msie_refresh, n.flag(0)?, n);
        /// Lets a request pass when all, or any, of the access methods allow it.
        "satisfy" in [HTTP SERVER LOCATION] (Choice(&["all", "any"])) = "all" => |c, _, n| once(&mut c.satisfy_any, n.choice(0, &[("all", false), ("any", true)])?, n);
        /// The type of files whose extension `types` does not list.
        "default_type" in [HTTP SERVER LOCATION] (Text("mime-type")) = "text/plain" => |c, _, n| once(&mut c.default_type, n.bytes(0).to_vec(), n);
        /// Limits the rate of a response in bytes per second; may contain variables.
        "limit_rate" in [HTTP SERVER LOCATION IF_IN_LOCATION] (Text("rate")) = "0" => |c, cx, n| {
            let rate = size_template(n, cx)?;
            once(&mut c.limit_rate, rate, n)
        };
        /// Bytes that are sent before `limit_rate` applies; may contain variables.
        "limit_rate_after" in [HTTP SERVER LOCATION IF_IN_LOCATION] (Text("size")) = "0" => |c, cx, n| {
            let size = size_template(n, cx)?;
            once(&mut c.limit_rate_after, size, n)
        };
        /// Delays refusals with 401, against timing attacks.
        "auth_delay" in [HTTP SERVER LOCATION] (Time) = "0s" => |c, _, n| once(&mut c.auth_delay, n.msec(0)?, n);
        /// Passes a server's 103 (Early Hints, RFC 8297) to the client when one of the strings is neither empty nor `0`;
        /// only to requests of HTTP/1.1 and later. Browsers want it over HTTP/2 alone (`$http2`). Of all 103 to a request together
        /// `proxy_buffer_size` bytes are taken; more are an error (502).
        "early_hints" in [HTTP SERVER LOCATION] (Many(&Text("string"))) = "" => |c, cx, n| {
            for word in &n.args {
                let string = Template::compile(word, &mut cx.variables)?;
                c.early_hints.get_or_insert_default().push(string);
            }
            Ok(())
        };
    },
    variables: &[],
    plan: |_, _, _| Ok(()),
};

/// Settings of a server alone.
pub static SERVER: Module = Module {
    name: "ngx_http_core_module",
    directives: directives! { ServerSettings;
        /// Longest time for reading a request's head (408).
        "client_header_timeout" in [HTTP SERVER] (Time) = "60s" => |c, _, n| once(&mut c.client_header_timeout, n.msec(0)?, n);
        /// The buffer for a request's head; a larger one goes into `large_client_header_buffers`.
        "client_header_buffer_size" in [HTTP SERVER] (Size) = "1k" => |c, _, n| once(&mut c.client_header_buffer_size, n.size(0)?, n);
        /// Number and size of buffers for large heads: a longer request line is 414, a longer field 400.
        "large_client_header_buffers" in [HTTP SERVER] (Number, Size) = "4 8k" => |c, _, n| {
            let count = n.number(0)?;
            if count == 0 {
                return Err(Diagnostic::at(n.args[0].span, "invalid value \"0\" in \"large_client_header_buffers\" directive".to_owned()));
            }
            once(&mut c.large_client_header_buffers, (count as usize, n.size(1)?), n)
        };
        /// Leaves out fields with invalid names instead of refusing the request.
        "ignore_invalid_headers" in [HTTP SERVER] (Flag) = "on" => |c, _, n| once(&mut c.ignore_invalid_headers, n.flag(0)?, n);
        /// Accepts `_` in field names.
        "underscores_in_headers" in [HTTP SERVER] (Flag) = "off" => |c, _, n| once(&mut c.underscores_in_headers, n.flag(0)?, n);
        /// Most fields in a request's head.
        "max_headers" in [HTTP SERVER] (Number) = "1000" => |c, _, n| once(&mut c.max_headers, n.number(0)? as u64, n);
        /// Reads the request's body before anything else, rewrite rules included, where one of the values is neither empty nor `0`.
        "client_body_early_read" in [HTTP SERVER] (Many(&Text("value"))) = "" => |c, cx, n| {
            let values = n.args.iter().map(|word| Template::compile(word, &mut cx.variables));
            once(&mut c.client_body_early_read, values.collect::<Result<_, _>>()?, n)
        };
        /// Reads several slashes as one.
        "merge_slashes" in [HTTP SERVER] (Flag) = "on" => |c, _, n| once(&mut c.merge_slashes, n.flag(0)?, n);
        /// The names of the server: exact, `*.name`, `name.*`, `.name`, `~pattern`.
        "server_name" in [SERVER] (Many(&Text("name"))) = "\"\"" => |c, _, n| {
            let names = c.names.get_or_insert_default();
            for word in &n.args {
                let mut word = word.clone();
                if word.text == b"$hostname" {
                    word.text = crate::random::hostname().to_ascii_lowercase();
                }
                names.push(word);
            }
            Ok(())
        };
    },
    variables: &[],
    plan: |_, _, _| Ok(()),
};

fn root_path(node: &Node, cx: &mut Compiler, alias: bool) -> Result<Root, Diagnostic> {
    let mut word = node.word(0)?.clone();
    // Their own values are made of this one.
    for name in ["document_root", "realpath_root"] {
        let text = word.lossy();
        if text.contains(&format!("${name}")) || text.contains(&format!("${{{name}}}")) {
            let directive = node.name.lossy();
            let sentence = format!("the ${name} variable cannot be used in the \"{directive}\" directive");
            return Err(Diagnostic::at(word.span, sentence));
        }
    }
    if !alias && word.text.len() > 1 && word.text.ends_with(b"/") {
        word.text.pop();
    }
    // What a variable starts is completed when it is known.
    if !word.text.starts_with(b"$") {
        use std::os::unix::ffi::OsStrExt;
        word.text = cx.paths.in_prefix(&word.text).as_os_str().as_bytes().to_vec();
    }
    Ok(Root { path: Template::compile(&word, &mut cx.variables)?, alias: alias.then_some(Alias::Own) })
}

fn size_template(node: &Node, cx: &mut Compiler) -> Result<Template, Diagnostic> {
    let template = Template::compile(&node.args[0], &mut cx.variables)?;
    if template.as_literal().is_some() {
        node.size(0)?;
    }
    Ok(template)
}

/// Settles the core settings of a location.
pub fn settle(scope: &mut Scope, cx: &mut Compiler) -> Result<Core, Diagnostic> {
    let children = scope.get_mut::<Children>();
    let (name, internal) = (children.name.clone(), children.internal);
    let alias = if children.pattern { Alias::Whole } else { Alias::Prefix(name.len()) };
    let settings = scope.get_mut::<CoreSettings>();
    let root = settings.root.get_or_insert_with(|| {
        let folder = cx.paths.in_prefix(b"html");
        Root { path: Template::literal(folder.as_os_str().as_encoded_bytes()), alias: None }
    });
    // Locations inside inherit it with the name of this one.
    if root.alias == Some(Alias::Own) {
        root.alias = Some(alias);
    }
    let values = settings.settle();
    let body_temp = match &values.client_body_temp_path {
        Some(path) => cx.paths.in_prefix(path),
        None => cx.paths.unnamed(&CLIENT_BODY_TEMP),
    };
    cx.needs_folder(body_temp.clone());
    let error_log = error_log(scope, &mut cx.logs)?;
    Ok(Core {
        values,
        name,
        internal,
        auto_redirect: false,
        body_temp,
        error_pages: scope.get_mut::<ErrorPages>().clone(),
        types: scope.get_mut::<types::TypeSettings>().settle(),
        error_log,
    })
}

/// The error log of a block.
pub fn error_log(scope: &mut Scope, logs: &mut Logs) -> Result<ErrorLog, Diagnostic> {
    Ok(match &scope.get_mut::<ErrorLogs>().log {
        Some(log) => log.clone(),
        None => logs.default_error_log(),
    })
}

/// Whether a plan's limits let a request with a body of that length in (413 otherwise).
pub fn body_allowed(plan: &Plan, length: u64) -> bool {
    plan.core.client_max_body_size == 0 || length <= plan.core.client_max_body_size
}
