//! `-t --explain URL`: what would become of a request, and where in the configuration that is written. Nothing is opened or
//! asked; what a request goes through is done by the same code that serves.

mod page;
mod target;
mod walk;

use std::io::Write as _;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use conf::{Disk, Tree};
use net::{Address, Socket};
use wire::h1::{RequestHead, RequestParser};

use super::flags::Flags;
use super::say::say;
use crate::client::Client;
use crate::compile::{Paths, compile};
use crate::config::Config;
use crate::exchange::{Exchange, Visit};
use crate::log::Logs;
use crate::modules::identity;
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
    let (config, _) = compile(&tree, paths, Box::new(Disk), Arc::default(), Logs::unopened())
        .map_err(|diagnostic| diagnostic.plain(&tree.sources))?;
    let target = Target::of(&flags.request)?;
    let from = match flags.request.from.as_deref().unwrap_or("127.0.0.1").parse() {
        Ok(ip) => Address::Inet((std::net::IpAddr::to_owned(&ip), 50000).into()),
        Err(_) => return Err("--from wants an IP address".to_owned()),
    };
    let listener = listener(&config, &target)?;
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
    let on_port = |port: Option<u16>| {
        config.listeners.iter().position(|listener| port.is_none() || listener.address.port() == port)
    };
    // Whoever explains a configuration for port 8080 need not write that.
    let found = on_port(target.port).or_else(|| if target.port == Some(80) { on_port(None) } else { None });
    found.ok_or_else(|| match target.port {
        Some(port) => format!("nothing listens on port {port}"),
        None => "nothing listens".to_owned(),
    })
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
    let default = &config.servers[listener.hosts.default];
    let mut head = RequestHead::default();
    match RequestParser::default().parse(&target.bytes, &default.limits, &mut head) {
        Ok(true) => {}
        Ok(false) => return Err("the request has no end".to_owned()),
        Err(error) => return Err(format!("it would be refused with {}: {error}", error.status())),
    }
    let asked = head.server_host().map(|range| range.of(&target.bytes)).unwrap_or_default();
    let mut host = wire::host::name(asked).to_vec();
    host.make_ascii_lowercase();
    let (at, pattern) = listener.hosts.find(&host);
    let server = &config.servers[at];
    if let Some(names) = &server.plan.identity {
        identity::remove(names, &mut head, &target.bytes);
    }
    let visit =
        Visit::new(worker, service, client, server, &head, &target.bytes, host.clone(), net::clock::now());
    let mut ex = Exchange::new(&visit, server);
    if let Some(pattern) = pattern {
        pattern.matches(&mut ex, Some(&host));
    }
    let mut page = Page::of(tree);
    page.say(&format!("{}  from {}", target.line, client.peer.ip_text()));
    page.say("");
    let shown = String::from_utf8_lossy(&host);
    let why = match (listener.hosts.named(&host), pattern) {
        (_, Some(_)) => format!("a pattern of it takes \"{shown}\""),
        (None, None) => format!("the default one of {}", listener.address),
        (Some(_), None) => format!("it has the name \"{shown}\""),
    };
    let name = String::from_utf8_lossy(&server.name);
    page.step("server", &format!("\"{name}\" on {}: {why}", listener.address), server.plan.span);
    walk::walk(&mut ex, &mut page);
    Ok(page.text())
}
