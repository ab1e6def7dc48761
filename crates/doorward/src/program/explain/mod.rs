//! `-t --explain URL`: what would become of a request, and where in the configuration that is written. Nothing is opened or
//! asked; what a request goes through is done by the same code that serves.

mod handshake;
mod page;
mod target;
mod walk;

use std::io::Write as _;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use conf::{Disk, Tree};
use net::{Address, Socket};
use wire::h1::RequestHead;

use super::flags::Flags;
use super::say::say;
use crate::client::Client;
use crate::compile::{Paths, compile};
use crate::config::{Config, Hosts, Listener};
use crate::connection::first_server;
use crate::exchange::{Exchange, Visit};
use crate::http2;
use crate::log::Logs;
use crate::modules::{identity, ssl};
use crate::worker::{Service, Tenure, Worker};
use page::Page;
use target::Target;

/// Prints what would become of the request; 1 where that cannot be said.
pub fn run(flags: &Flags) -> ExitCode {
    match explain(flags) {
        Ok(text) => {
            // A reader that closed the pipe has seen enough.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(sentence) => {
            say!("doorward: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn explain(flags: &Flags) -> Result<String, String> {
    let path = flags.configuration();
    let tree = conf::load_with_globals(&flags.globals, &path, &mut Disk)
        .map_err(|(diagnostic, sources)| diagnostic.plain(&sources))?;
    let paths = Paths {
        prefix: flags.prefix(),
        conf_prefix: path.parent().map(Into::into).unwrap_or_default(),
        packaged: flags.prefix.is_none(),
        as_root: flags.as_root,
    };
    let (mut config, _) = compile(&tree, paths, Box::new(Disk), Arc::default(), Logs::unopened())
        .map_err(|diagnostic| diagnostic.plain(&tree.sources))?;
    let target = Target::of(&flags.request)?;
    let from = match flags.request.from.as_deref().unwrap_or("127.0.0.1").parse() {
        Ok(ip) => Address::Inet((std::net::IpAddr::to_owned(&ip), 50000).into()),
        Err(_) => return Err("--from wants an IP address".to_owned()),
    };
    let listener = listener(&config, &target)?;
    if config.listeners[listener].hosts.ssl && target.tls != Some(false) {
        handshake::untold(&mut config.variables);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(Default::default())
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        // Ends with nobody at the other end: nothing is read from it, or written to it.
        let (near, _far) = tokio::net::UnixStream::pair().map_err(|error| error.to_string())?;
        let tenure = Tenure::new(&config);
        let service = Rc::new(Service::new(Arc::new(config), Arc::new(tenure), None));
        let worker = Worker::new(Arc::default());
        let client = Client::new(Socket::Unix(near).into(), from, 1, listener, worker.timers.deadline());
        told(&tree, &service, &worker, &client, &target)
    })
}

/// The listener that a request comes in by: the first on its port.
fn listener(config: &Config, target: &Target) -> Result<usize, String> {
    let port = match target.tls {
        Some(tls) => target.port.or(Some(if tls { 443 } else { 80 })),
        None => None,
    };
    let on = |listener: &Listener| port.is_none_or(|port| listener.address.port() == Some(port));
    let speaks = |listener: &Listener| target.tls.is_none_or(|tls| listener.hosts.ssl == tls);
    let first = |is_meant: &dyn Fn(&Listener) -> bool| config.listeners.iter().position(is_meant);
    let found = first(&|listener| on(listener) && speaks(listener))
        .or_else(|| first(&|listener| on(listener)))
        // Whoever explains a configuration for port 8080 need not write that.
        .or_else(|| if target.port.is_none() { first(&speaks) } else { None });
    match (found, port) {
        (Some(found), _) if target.tls == Some(true) && !config.listeners[found].hosts.ssl => {
            let address = &config.listeners[found].address;
            Err(format!("no TLS is spoken on {address} (listen ... ssl): explain the http:// URL"))
        }
        (Some(found), _) => Ok(found),
        (None, Some(port)) => Err(format!("nothing listens on port {port}")),
        (None, None) => Err("nothing listens".to_owned()),
    }
}

fn told(
    tree: &Tree,
    service: &Rc<Service>,
    worker: &Worker,
    client: &Client,
    target: &Target,
) -> Result<String, String> {
    let config = &*service.config;
    let listener = &config.listeners[client.listener];
    let mut page = Page::of(tree);
    let over_tls = listener.hosts.ssl && target.tls != Some(false);
    let scheme = if over_tls { "https" } else { "http" };
    page.say(&format!("{}  from {}", target.line(scheme), client.peer.ip_text()));
    page.say("");
    let offers_http2 = match over_tls {
        true => match handshake::shake_hands(config, client, target, &mut page) {
            Some(offers_http2) => offers_http2,
            None => return Ok(page.text()),
        },
        false => !listener.hosts.ssl && http2::is_offered(client, service),
    };
    if target.http2 && !offers_http2 {
        return Err("no HTTP/2 is spoken there (http2 on): explain it without --http2".to_owned());
    }
    let mut head = RequestHead::default();
    let mut bytes = Vec::new();
    target.read(scheme, &first_server(client, config).limits, &mut head, &mut bytes)?;
    let asked = head.server_host().map(|range| range.of(&bytes)).unwrap_or_default();
    let mut host = wire::host::name(asked).to_vec();
    host.make_ascii_lowercase();
    let (at, pattern) = listener.hosts.find(&host);
    let server = &config.servers[at];
    if let Some(names) = &server.plan.identity {
        identity::remove(names, &mut head, &bytes);
    }
    let visit = Visit::new(worker, service, client, server, &head, &bytes, host.clone(), net::clock::now());
    let mut ex = Exchange::new(&visit, server);
    if let Some(pattern) = pattern {
        pattern.matches(&mut ex, Some(&host));
    }
    let name = String::from_utf8_lossy(&server.name);
    let why = why(&listener.hosts, &host, &listener.address);
    page.step("server", &format!("\"{name}\" on {}: {why}", listener.address), server.plan.span);
    if target.http2 && !http2::is_served(server, listener) {
        page.more("has no HTTP/2, which the client speaks");
        walk::ends(&ex, 421, &mut page);
    } else if listener.hosts.ssl
        && let Some(status) = ssl::refusal(&ex)
    {
        page.more(&handshake::why_refused(&ex, status));
        walk::ends(&ex, status, &mut page);
    } else {
        walk::walk(&mut ex, &mut page);
    }
    Ok(page.text())
}

/// Why a name leads to its server.
fn why(hosts: &Hosts, name: &[u8], address: &Address) -> String {
    let shown = String::from_utf8_lossy(name);
    match hosts.named(name) {
        Some((_, Some(_))) => format!("a pattern of it takes \"{shown}\""),
        Some((_, None)) => format!("it has the name \"{shown}\""),
        None => format!("the default one of {address}"),
    }
}
