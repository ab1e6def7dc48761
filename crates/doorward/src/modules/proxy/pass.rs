//! Where `proxy_pass` leads: a server or group known from the start, or one that variables name.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;

use conf::{Diagnostic, Node, Span};
use net::{Address, Names};

use super::Proxy;
use crate::client::Interrupted;
use crate::compile::Compiler;
use crate::config::Config;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::modules::resolver::Resolver;
use crate::modules::upstream::{Scheme, Target, Upstream};
use crate::run::Stop;
use crate::variables::Template;

/// Where requests go.
#[derive(Clone)]
pub enum Destination {
    /// Always the same server or group.
    Fixed(Arc<Fixed>),
    /// What the variables say in each request.
    Variable(Template),
}

/// A group of servers, for the length of a request.
#[derive(Clone)]
pub enum Group {
    /// One of the configuration's, by its number.
    Listed(usize),
    /// Addresses that only this request named.
    Own(Arc<Upstream>),
}

/// A server or group known from the start.
#[derive(Clone)]
pub struct Fixed {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// The servers.
    pub group: Group,
    /// The default `Host` field.
    pub authority: Vec<u8>,
    /// `$proxy_port`.
    pub port: String,
    /// The path that takes the place of the location's prefix, if one is written.
    pub uri: Vec<u8>,
    /// The URL as it was written.
    pub url: Vec<u8>,
    /// Where it was written.
    pub span: Span,
}

impl Destination {
    /// Reads the URL of `proxy_pass`.
    pub fn compile(node: &Node, cx: &mut Compiler) -> Result<Destination, Diagnostic> {
        let word = node.word(0)?;
        if word.text.contains(&b'$') {
            return Ok(Destination::Variable(Template::compile(word, &mut cx.variables)?));
        }
        let (scheme, rest) =
            Scheme::split(&word.text).ok_or_else(|| Diagnostic::at(word.span, "invalid URL prefix"))?;
        let target = Target::parse(rest, true).map_err(|error| {
            Diagnostic::at(word.span, format!("{error} in upstream \"{}\"", String::from_utf8_lossy(rest)))
        })?;
        let mut uri = target.uri.clone();
        if uri.starts_with(b"?") {
            uri.insert(0, b'/');
        }
        Ok(Destination::Fixed(Arc::new(Fixed {
            scheme,
            group: Group::Listed(cx.upstreams.of_target(&target, scheme, word.span)),
            authority: target.authority(scheme).into_bytes(),
            port: target.port.unwrap_or(scheme.port()).to_string(),
            uri,
            url: word.text.clone(),
            span: node.span,
        })))
    }
}

impl Group {
    /// What variables named in this request: a group of the configuration's, an address, or a name to look up.
    pub async fn named(
        ex: &Exchange<'_>,
        target: &Target,
        default_port: u16,
        resolver: &Resolver,
    ) -> Result<Group, Stop> {
        let addresses = match (ex.visit.config.find_upstream(target), target.literal(default_port)) {
            (Some(listed), _) => return Ok(Group::Listed(listed)),
            (None, Some(address)) => vec![address],
            (None, None) => {
                let port = target.port.unwrap_or(default_port);
                let found = look_up(ex, &target.host, resolver).await?;
                found.into_iter().map(|ip| Address::Inet((ip, port).into())).collect()
            }
        };
        Ok(Group::Own(Arc::new(Upstream::of_addresses(addresses))))
    }

    /// The group as it is now, where its servers may change: for the length of a request.
    pub fn now(&self, config: &Config) -> Group {
        let resolving = match self {
            Group::Listed(index) => config.upstreams.get(*index).and_then(|listed| listed.resolving.as_ref()),
            Group::Own(_) => None,
        };
        resolving.map_or_else(|| self.clone(), |resolving| Group::Own(resolving.now()))
    }

    /// The servers.
    pub fn upstream<'a>(&'a self, config: &'a Config) -> &'a Upstream {
        match self {
            Group::Listed(index) => &config.upstreams[*index],
            Group::Own(upstream) => upstream,
        }
    }
}

impl Proxy {
    /// Where this request goes.
    pub(super) async fn resolve(&self, ex: &Exchange<'_>) -> Result<Arc<Fixed>, Stop> {
        match &self.destination {
            Destination::Fixed(fixed) => Ok(fixed.clone()),
            Destination::Variable(template) => {
                named(ex, &template.eval(ex), &self.resolver).await.map(Arc::new)
            }
        }
    }
}

/// What a URL made of variables leads to: a group of that name, or an address.
async fn named(ex: &Exchange<'_>, url: &[u8], resolver: &Resolver) -> Result<Fixed, Stop> {
    let shown = String::from_utf8_lossy(url);
    let Some((scheme, rest)) = Scheme::split(url) else {
        ex.log(Level::Error, format_args!("invalid URL prefix in \"{shown}\""));
        return Err(Stop::Status(500));
    };
    let target = match Target::parse(rest, true) {
        Ok(target) => target,
        Err(error) => {
            ex.log(Level::Error, format_args!("{error} in upstream \"{shown}\""));
            return Err(Stop::Status(500));
        }
    };
    let mut uri = target.uri.clone();
    if uri.starts_with(b"?") {
        uri.insert(0, b'/');
    }
    let group = Group::named(ex, &target, scheme.port(), resolver).await?;
    Ok(Fixed {
        scheme,
        group,
        authority: target.authority(scheme).into_bytes(),
        port: target.port.unwrap_or(scheme.port()).to_string(),
        uri,
        url: Vec::new(),
        span: Span::default(),
    })
}

/// The addresses of a name that only this request made known.
async fn look_up(ex: &Exchange<'_>, host: &str, resolver: &Resolver) -> Result<Vec<IpAddr>, Stop> {
    let service = ex.visit.service;
    let servers =
        resolver.servers.and_then(|at| Some((ex.visit.config.resolvers.get(at)?, service.names.get(at)?)));
    let Some((servers, cell)) = servers else {
        ex.log(Level::Error, format_args!("no resolver defined to resolve {host}"));
        return Err(Stop::Status(502));
    };
    let names = match cell.get_or_try_init(async || Names::new(servers)).await {
        Ok(names) => names,
        Err(error) => {
            ex.log(Level::Crit, format_args!("{host} could not be resolved ({error})"));
            return Err(Stop::Status(502));
        }
    };
    let watch = ex.is_main();
    let mut asked = false;
    let mut addresses = pin!(names.addresses(host));
    let addresses = poll_fn(|cx| {
        let addresses = addresses.as_mut().poll(cx);
        asked |= addresses.is_pending();
        addresses
    });
    match ex.visit.client.waiting(resolver.timeout, watch, addresses).await {
        Ok(Ok(mut addresses)) => {
            // Not every request is to begin with the same server: as in nginx, of those that find the name known.
            if !asked {
                let [chance] = crate::random::bytes();
                let length = addresses.len().max(1);
                addresses.rotate_left(usize::from(chance) % length);
            }
            Ok(addresses)
        }
        Ok(Err(unknown)) => {
            ex.log(Level::Error, format_args!("{host} could not be resolved ({unknown})"));
            Err(Stop::Status(502))
        }
        Err(Interrupted::Elapsed) => {
            ex.log(Level::Error, format_args!("{host} could not be resolved (110: Operation timed out)"));
            Err(Stop::Status(502))
        }
        Err(Interrupted::ClientGone) => Err(Stop::Gone),
    }
}
