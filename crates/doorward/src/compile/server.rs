//! `server` and `location` blocks: what was read, put in order and made into plans.

use conf::{Diagnostic, Span, Word};

use super::{Compiler, listen};
use crate::config::{Listener, Server};
use crate::metrics::ServerCounts;
use crate::module::Scope;
use crate::modules::{core, http2, ssl};
use crate::plan::Plan;
use crate::regex::Pattern;

/// A `server` block as read.
pub struct ServerNode {
    /// Its settings.
    pub scope: Scope,
    /// Where it stands.
    pub span: Span,
}

/// A `location` block as read.
pub struct LocationNode {
    /// How it matches.
    pub kind: LocationKind,
    /// The name or pattern.
    pub name: Vec<u8>,
    /// Its settings.
    pub scope: Scope,
    /// Where it stands.
    pub span: Span,
}

/// How a location matches a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocationKind {
    /// `= /path`
    Exact,
    /// `/path`
    Prefix,
    /// `^~ /path`
    FinalPrefix,
    /// `~ pattern`
    Regex,
    /// `~* pattern`
    CaselessRegex,
    /// `@name`
    Named,
}

/// Merges every server with what stands around it and makes its plans.
pub fn finish(cx: &mut Compiler, http: &Scope) -> Result<(Vec<Server>, Vec<Listener>), Diagnostic> {
    let mut servers = Vec::new();
    let mut listens = listen::Listens::default();
    for mut node in std::mem::take(&mut cx.servers) {
        node.scope.inherit(http);
        let settings = node.scope.get_mut::<core::ServerSettings>().settle();
        let http2 = node.scope.get_mut::<http2::ServerSettings>().settle();
        let added = listens.add_server(servers.len(), &mut node.scope, cx);
        cx.forgive(added)?;
        // `.example.com` shows itself without its dot.
        let name = settings.names.first().map(|n| n.text.strip_prefix(b".").unwrap_or(&n.text).to_vec());
        let name = name.unwrap_or_default();
        cx.server_name = match &*name {
            b"" => "_".to_owned(),
            name => String::from_utf8_lossy(name).into_owned(),
        };
        cx.jwt.begin_server();
        let tls = ssl::settle(&mut node.scope, http2.on || listens.offer_http2(servers.len()), cx);
        // Where the rest is to be looked at, what was wrong is not told again as missing.
        let tls = cx.forgive(tls)?.unwrap_or_else(|| Some(Box::new(ssl::ServerTls::refusing())));
        let plan = cx.plan_of(&mut node.scope);
        let Some(mut plan) = cx.forgive(plan)? else { continue };
        plan.span = Some(node.span);
        let named = std::mem::take(&mut cx.named);
        let allow_connect = std::mem::take(&mut cx.allow_connect);
        let counts = ServerCounts::of(cx, tls.as_deref());
        let limits = settings.limits();
        servers.push(Server { name, limits, core: settings, http2, plan, named, counts, tls, allow_connect });
    }
    // Which server a request is for is known only when its head was read.
    let allow_connect = servers.iter().any(|server| server.allow_connect);
    for server in &mut servers {
        server.limits.allow_connect = allow_connect;
    }
    let listeners = listens.finish(&servers, cx)?;
    Ok((servers, listeners))
}

/// Makes the plans of the locations inside a block and sorts them for the search.
pub fn finish_locations(
    cx: &mut Compiler,
    nodes: Vec<LocationNode>,
    outer: &Scope,
    plan: &mut Plan,
) -> Result<(), Diagnostic> {
    for node in nodes {
        let word = Word { text: node.name.clone(), span: node.span, quoted: false };
        let inner = cx.plan(node.scope, outer);
        let Some(mut inner) = cx.forgive(inner)? else { continue };
        inner.span = Some(node.span);
        match node.kind {
            LocationKind::Exact => plan.locations.add_exact(&node.name, inner),
            LocationKind::Prefix => plan.locations.add_prefix(&node.name, false, inner),
            LocationKind::FinalPrefix => plan.locations.add_prefix(&node.name, true, inner),
            LocationKind::Regex | LocationKind::CaselessRegex => {
                let caseless = node.kind == LocationKind::CaselessRegex;
                let pattern = Pattern::compile(&node.name, caseless, &word, &mut cx.variables);
                if let Some(pattern) = cx.forgive(pattern)? {
                    plan.locations.add_regex(pattern, inner);
                }
            }
            LocationKind::Named => {
                cx.named.insert(node.name, inner);
            }
        }
    }
    plan.locations.finish();
    Ok(())
}
