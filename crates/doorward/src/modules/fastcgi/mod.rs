//! `ngx_http_fastcgi_module`: passes requests to FastCGI servers and their answers back.

mod body;
mod request;
mod run;

pub use body::FastCgiBody;

use std::sync::Arc;

use conf::Arg::{Choice, Flag, Many, Number, Optional, Size, Text, Time};
use conf::{Diagnostic, Node, once};

use crate::compile::Compiler;
use crate::module::{Module, Scope, Settings};
use crate::modules::proxy::{Group, NextUpstream, Proxy, ProxySettings, hidden, next_upstream};
use crate::modules::resolver::ResolverSettings;
use crate::modules::upstream::{Scheme, Target};
use crate::plan::{Content, Plan};
use crate::regex::Pattern;
use crate::variables::Template;
use crate::{directives, settings};

settings! {
    /// How requests are passed on.
    FastCgiSettings => FastCgiValues {
        /// To connect, in milliseconds.
        connect_timeout: u64 = 60_000;
        /// Between two writes of a request.
        send_timeout: u64 = 60_000;
        /// Between two reads of an answer.
        read_timeout: u64 = 60_000;
        /// Most of the head of an answer.
        buffer_size: u64 = 4096;
        /// Whether an answer is read faster than the client takes it.
        buffering: bool = true;
        /// Whether statuses from 300 on get this server's error pages.
        intercept_errors: bool = false;
        /// Whether an answer is waited for when the client has gone.
        ignore_client_abort: bool = false;
        /// Whether the client's fields are passed on.
        pass_request_headers: bool = true;
        /// Whether the client's body is passed on.
        pass_request_body: bool = true;
        /// Whether the body is read before it is passed on.
        request_buffering: bool = true;
        /// Fields of answers that have no effect here.
        ignore_headers: Vec<Vec<u8>> = Vec::new();
        /// What is added to paths that end with a slash.
        index: Vec<u8> = Vec::new();
        /// How `$fastcgi_script_name` and `$fastcgi_path_info` are found in a path.
        split: Option<Arc<Pattern>> = None;
        /// Which failures lead to another server.
        next_upstream: NextUpstream = NextUpstream::default();
        /// How many servers are tried; 0 for all.
        next_tries: u64 = 0;
    }
}

/// A line of `fastcgi_param`.
#[derive(Clone)]
pub struct Param {
    name: Vec<u8>,
    value: Template,
    if_not_empty: bool,
}

#[derive(Clone, Default)]
struct FastCgiLists {
    pass: Option<Pass>,
    params: Vec<Param>,
    hide: Option<Vec<Vec<u8>>>,
    show: Option<Vec<Vec<u8>>>,
}

/// Where requests go.
#[derive(Clone)]
enum Pass {
    Fixed(Group),
    Variable(Template),
}

impl Settings for FastCgiLists {
    fn inherit(&mut self, outer: &Self) {
        if self.params.is_empty() {
            self.params.clone_from(&outer.params);
        }
        if self.hide.is_none() {
            self.hide.clone_from(&outer.hide);
        }
        if self.show.is_none() {
            self.show.clone_from(&outer.show);
        }
    }

    fn inherit_inside(&mut self, location: &Self) {
        if self.pass.is_none() {
            self.pass.clone_from(&location.pass);
        }
        self.inherit(location);
    }
}

/// `fastcgi_pass` of a location, ready to run.
pub struct FastCgi {
    values: FastCgiValues,
    pass: Pass,
    params: Vec<Param>,
    /// What both protocols do with the fields of an answer.
    answers: Proxy,
}

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_fastcgi_module",
    directives: directives! { FastCgiSettings;
        /// Longest wait for a connection.
        "fastcgi_connect_timeout" in [HTTP SERVER LOCATION] (Time) = "60s" => |c, _, n| once(&mut c.connect_timeout, n.msec(0)?, n);
        /// Longest wait between two writes of a request.
        "fastcgi_send_timeout" in [HTTP SERVER LOCATION] (Time) = "60s" => |c, _, n| once(&mut c.send_timeout, n.msec(0)?, n);
        /// Longest wait between two reads of an answer.
        "fastcgi_read_timeout" in [HTTP SERVER LOCATION] (Time) = "60s" => |c, _, n| once(&mut c.read_timeout, n.msec(0)?, n);
        /// Most of the head of an answer; a larger head is an error (502).
        "fastcgi_buffer_size" in [HTTP SERVER LOCATION] (Size) = "4k|8k" => |c, _, n| once(&mut c.buffer_size, n.size(0)?, n);
        /// Reads answers faster than the client takes them.
        "fastcgi_buffering" in [HTTP SERVER LOCATION] (Flag) = "on" => |c, _, n| once(&mut c.buffering, n.flag(0)?, n);
        /// Gives statuses from 300 on this server's error pages.
        "fastcgi_intercept_errors" in [HTTP SERVER LOCATION] (Flag) = "off" => |c, _, n| once(&mut c.intercept_errors, n.flag(0)?, n);
        /// Keeps waiting for an answer when the client has gone.
        "fastcgi_ignore_client_abort" in [HTTP SERVER LOCATION] (Flag) = "off" => |c, _, n| once(&mut c.ignore_client_abort, n.flag(0)?, n);
        /// Passes the client's fields on, as parameters `HTTP_*`.
        "fastcgi_pass_request_headers" in [HTTP SERVER LOCATION] (Flag) = "on" => |c, _, n| once(&mut c.pass_request_headers, n.flag(0)?, n);
        /// Passes the client's body on.
        "fastcgi_pass_request_body" in [HTTP SERVER LOCATION] (Flag) = "on" => |c, _, n| once(&mut c.pass_request_body, n.flag(0)?, n);
        /// Fields of answers that have no effect here: `X-Accel-*`, `Expires`, `Cache-Control`, `Set-Cookie`, `Vary`.
        "fastcgi_ignore_headers" in [HTTP SERVER LOCATION] (Many(&Text("field"))) = "" => |c, _, n| {
            let names = n.args.iter().map(|w| w.text.to_ascii_lowercase()).collect();
            once(&mut c.ignore_headers, names, n)
        };
        /// What `$fastcgi_script_name` has behind a path that ends with a slash.
        "fastcgi_index" in [HTTP SERVER LOCATION] (Text("name")) = "" => |c, _, n| once(&mut c.index, n.bytes(0).to_vec(), n);
        /// A pattern whose first group is `$fastcgi_script_name`, and whose second is `$fastcgi_path_info`.
        "fastcgi_split_path_info" in [HTTP SERVER LOCATION] (Text("regex")) = "" => |c, cx, n| {
            let word = n.word(0)?;
            let pattern = Pattern::compile(&word.text, false, word, &mut cx.variables)?;
            if pattern.groups() != 2 {
                return Err(Diagnostic::at(word.span, format!("pattern \"{}\" must have 2 captures", word.lossy())));
            }
            once(&mut c.split, Some(Arc::new(pattern)), n)
        };
        /// Which failures lead to the next server of the group.
        "fastcgi_next_upstream" in [HTTP SERVER LOCATION] (Many(&Text("failure"))) = "error timeout" => |c, _, n| {
            let next = next_upstream(n)?;
            once(&mut c.next_upstream, next, n)
        };
        /// Whether the client's body is read first. With `off` it is passed on as it comes, and no other server is tried once some
        /// of it has been.
        "fastcgi_request_buffering" in [HTTP SERVER LOCATION] (Flag) = "on" => |c, _, n| once(&mut c.request_buffering, n.flag(0)?, n);
        /// How many servers are tried; 0 for all.
        "fastcgi_next_upstream_tries" in [HTTP SERVER LOCATION] (Number) = "0" => |c, _, n| once(&mut c.next_tries, n.number(0)? as u64, n);
    },
    variables: request::VARIABLES,
    plan,
};

/// The directives that are lists.
pub static LISTS: Module = Module {
    name: "ngx_http_fastcgi_module",
    directives: directives! { FastCgiLists;
        /// Passes requests to the FastCGI server, or group of servers, at this address.
        "fastcgi_pass" in [LOCATION IF_IN_LOCATION] (Text("address")) = "" => |c, cx, n| {
            if c.pass.is_some() {
                return Err(n.duplicate());
            }
            c.pass = Some(destination(cx, n)?);
            Ok(())
        };
        /// A parameter of the request; with `if_not_empty` only where it has a value.
        "fastcgi_param" in [HTTP SERVER LOCATION] (Text("parameter"), Text("value"), Optional(&Choice(&["if_not_empty"]))) = "" => |c, cx, n| {
            let value = Template::compile(n.word(1)?, &mut cx.variables)?;
            c.params.push(Param { name: n.bytes(0).to_vec(), value, if_not_empty: n.args.len() > 2 });
            Ok(())
        };
        /// A field of answers that the client does not see.
        "fastcgi_hide_header" in [HTTP SERVER LOCATION] (Text("field")) = "" => |c, _, n| {
            c.hide.get_or_insert_default().push(n.bytes(0).to_vec());
            Ok(())
        };
        /// A field of answers that the client sees although it is hidden by default.
        "fastcgi_pass_header" in [HTTP SERVER LOCATION] (Text("field")) = "" => |c, _, n| {
            c.show.get_or_insert_default().push(n.bytes(0).to_vec());
            Ok(())
        };
    },
    variables: &[],
    plan: |_, _, _| Ok(()),
};

fn destination(cx: &mut Compiler, node: &Node) -> Result<Pass, Diagnostic> {
    let word = node.word(0)?;
    if word.text.contains(&b'$') {
        return Ok(Pass::Variable(Template::compile(word, &mut cx.variables)?));
    }
    let target = Target::parse(&word.text, false)
        .map_err(|error| Diagnostic::at(word.span, format!("{error} in upstream \"{}\"", word.lossy())))?;
    Ok(Pass::Fixed(Group::Listed(cx.upstreams.of_target(&target, Scheme::Http, word.span))))
}

fn plan(cx: &mut Compiler, scope: &mut Scope, plan: &mut Plan) -> Result<(), Diagnostic> {
    let lists = scope.get_mut::<FastCgiLists>().clone();
    let Some(pass) = lists.pass else { return Ok(()) };
    let values = scope.get_mut::<FastCgiSettings>().settle();
    let settings = ProxySettings {
        buffering: Some(values.buffering),
        intercept_errors: Some(values.intercept_errors),
        ignore_headers: Some(values.ignore_headers.clone()),
        ..ProxySettings::default()
    };
    let mut hide = lists.hide.unwrap_or_default();
    // These are a FastCGI server's own to say, unlike an HTTP server's.
    let own = ["Date", "Server", "X-Pad"].map(|name| name.as_bytes().to_vec());
    let mut show = lists.show.unwrap_or_default();
    show.extend(own.into_iter().filter(|name| !hide.iter().any(|hidden| hidden.eq_ignore_ascii_case(name))));
    hide.push(b"Status".to_vec());
    let mut answers = Proxy::for_answers(settings.settle(), hidden(&hide, &show));
    let mut params = lists.params;
    if !params.iter().any(|param| param.name.eq_ignore_ascii_case(b"HTTP_HOST")) {
        let value = Template::of(b"$host$is_request_port$request_port", None, &mut cx.variables)?;
        params.push(Param { name: b"HTTP_HOST".to_vec(), value, if_not_empty: false });
    }
    answers.resolver = scope.get_mut::<ResolverSettings>().settle();
    plan.content = Content::FastCgi(Box::new(FastCgi { values, pass, params, answers }));
    Ok(())
}
