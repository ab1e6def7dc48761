//! The blocks of the http module: `http`, `server`, `location`, `limit_except`, and `listen`.

use conf::Arg::{Many, Optional, Text};
use conf::{Contexts, Diagnostic, Node};

use crate::compile::{Compiler, LocationKind, LocationNode, ServerNode};
use crate::directives;
use crate::module::{Directive, Scope, Settings};

/// What a block holds that nothing inherits.
#[derive(Default)]
pub struct Children {
    /// The location's own name.
    pub name: Vec<u8>,
    /// Whether the name is a pattern.
    pub pattern: bool,
    /// How the location matches; `None` outside of locations.
    pub kind: Option<LocationKind>,
    /// `internal`.
    pub internal: bool,
    /// Locations inside.
    pub locations: Vec<LocationNode>,
    /// `limit_except` inside.
    pub limit_except: Option<(Methods, Scope)>,
}

impl Settings for Children {
    fn inherit(&mut self, _: &Self) {}

    fn inherit_inside(&mut self, location: &Self) {
        self.name.clone_from(&location.name);
        self.pattern = location.pattern;
        self.kind = location.kind;
        self.internal = location.internal;
    }
}

/// `listen` directives of a server.
#[derive(Default)]
pub struct Listens {
    /// In the order written.
    pub specs: Vec<ListenSpec>,
}

impl Settings for Listens {
    fn inherit(&mut self, _: &Self) {}
}

/// One `listen` directive, still as words.
#[derive(Clone)]
pub struct ListenSpec {
    /// The directive.
    pub node: Node,
}

/// The methods that `limit_except` leaves alone.
#[derive(Clone, Debug, Default)]
pub struct Methods {
    allowed: Vec<wire::h1::Method>,
}

impl Methods {
    /// Whether the limits do not apply to this method. GET allows HEAD too.
    pub fn allow(&self, method: wire::h1::Method) -> bool {
        self.allowed.contains(&method)
            || (method == wire::h1::Method::Head && self.allowed.contains(&wire::h1::Method::Get))
    }
}

pub(super) const DIRECTIVES: &[Directive] = directives! { Children;
    /// Everything about HTTP.
    "http": Block in [MAIN] () = "" => |_, cx, n| {
        if cx.http.is_some() {
            return Err(Diagnostic::at(n.span, "\"http\" directive is duplicate".to_owned()));
        }
        let mut scope = Scope::default();
        cx.block(children(n), Contexts::HTTP, &mut scope)?;
        cx.http = Some(scope);
        Ok(())
    };
    /// One virtual server.
    "server": Block in [HTTP] () = "" => |_, cx, n| {
        let mut scope = Scope::default();
        cx.block(children(n), Contexts::SERVER, &mut scope)?;
        cx.servers.push(ServerNode { scope, span: n.span });
        Ok(())
    };
    /// Settings for requests whose path matches: `= path`, `^~ prefix`, `~ pattern`, `~* pattern`, `prefix`, `@name`.
    "location": Block in [SERVER LOCATION] (Text("[ = | ~ | ~* | ^~ ] uri"), Optional(&Text("uri"))) = "" => location;
    /// Allows or refuses only methods other than the given ones.
    "limit_except": Block in [LOCATION] (Many(&Text("method"))) = "" => |c, cx, n| {
        let mut allowed = Vec::new();
        for (at, word) in n.args.iter().enumerate() {
            let method = wire::h1::Method::of(&word.text);
            if matches!(method, wire::h1::Method::Other) {
                let text = n.bytes(at).escape_ascii();
                return Err(Diagnostic::at(word.span, format!("invalid method \"{text}\"")));
            }
            allowed.push(method);
        }
        let mut scope = Scope::default();
        cx.block(children(n), Contexts::LIMIT_EXCEPT, &mut scope)?;
        c.limit_except = Some((Methods { allowed }, scope));
        Ok(())
    };
    /// Lets only internal requests in: subrequests, error pages, `try_files`, `rewrite`; others get 404.
    "internal" in [LOCATION] () = "" => |c, _, _| {
        c.internal = true;
        Ok(())
    };
};

/// `listen` keeps its words until every server is known: it needs the whole to say which is the default.
pub(super) const LISTEN: &[Directive] = directives! { Listens;
    /// Where the server listens, and how.
    "listen" in [SERVER] (Text("address[:port] | port | unix:path"), Optional(&Many(&Text("parameter")))) = "*:80" => |c, _, n| {
        c.specs.push(ListenSpec { node: n.clone() });
        Ok(())
    };
};

fn location(outer: &mut Children, cx: &mut Compiler, node: &Node) -> Result<(), Diagnostic> {
    let (kind, name) = matching(node)?;
    if let Some(kind_outside) = outer.kind {
        let inside = String::from_utf8_lossy(&outer.name).into_owned();
        let text = String::from_utf8_lossy(&name).into_owned();
        let wrong = match kind_outside {
            LocationKind::Exact => {
                Some(format!("location \"{text}\" cannot be inside the exact location \"{inside}\""))
            }
            LocationKind::Named => {
                Some(format!("location \"{text}\" cannot be inside the named location \"{inside}\""))
            }
            _ if kind == LocationKind::Named => {
                Some(format!("named location \"{text}\" can be on the server level only"))
            }
            LocationKind::Regex | LocationKind::CaselessRegex => None,
            _ if matches!(kind, LocationKind::Regex | LocationKind::CaselessRegex) => None,
            _ if name.starts_with(&outer.name) => None,
            _ => Some(format!("location \"{text}\" is outside location \"{inside}\"")),
        };
        if let Some(sentence) = wrong {
            return Err(Diagnostic::at(node.span, sentence));
        }
    }
    let plain = matches!(kind, LocationKind::Prefix | LocationKind::FinalPrefix);
    let twin = outer.locations.iter().find(|l| {
        let same_kind =
            l.kind == kind || (plain && matches!(l.kind, LocationKind::Prefix | LocationKind::FinalPrefix));
        same_kind && l.name == name && !matches!(kind, LocationKind::Regex | LocationKind::CaselessRegex)
    });
    if twin.is_some() {
        let text = String::from_utf8_lossy(&name);
        return Err(Diagnostic::at(node.span, format!("duplicate location \"{text}\"")));
    }
    let mut scope = Scope::default();
    {
        let inner = scope.get_mut::<Children>();
        inner.name.clone_from(&name);
        inner.pattern = matches!(kind, LocationKind::Regex | LocationKind::CaselessRegex);
        inner.kind = Some(kind);
    }
    if kind == LocationKind::Named
        && let Some(alias) = children(node).iter().find(|n| n.name.text == b"alias")
    {
        let sentence = "the \"alias\" directive cannot be used inside the named location";
        return Err(Diagnostic::at(alias.span, sentence));
    }
    cx.block(children(node), Contexts::LOCATION, &mut scope)?;
    outer.locations.push(LocationNode { kind, name, scope, span: node.span });
    Ok(())
}

/// How a `location` matches, and its name.
pub fn matching(node: &Node) -> Result<(LocationKind, Vec<u8>), Diagnostic> {
    let first = node.bytes(0);
    let modifier = |text: &[u8]| match text {
        b"=" => Some(LocationKind::Exact),
        b"^~" => Some(LocationKind::FinalPrefix),
        b"~" => Some(LocationKind::Regex),
        b"~*" => Some(LocationKind::CaselessRegex),
        _ => None,
    };
    if node.args.len() == 2 {
        return match modifier(first) {
            Some(kind) => Ok((kind, node.bytes(1).to_vec())),
            None => {
                let text = String::from_utf8_lossy(first);
                Err(Diagnostic::at(node.args[0].span, format!("invalid location modifier \"{text}\"")))
            }
        };
    }
    // nginx also reads a modifier that is written together with its name.
    for text in ["=", "^~", "~*", "~"] {
        if let Some(rest) = first.strip_prefix(text.as_bytes()) {
            let kind = modifier(text.as_bytes()).unwrap_or(LocationKind::Prefix);
            return Ok((kind, rest.to_vec()));
        }
    }
    let kind = if first.starts_with(b"@") { LocationKind::Named } else { LocationKind::Prefix };
    Ok((kind, first.to_vec()))
}

fn children(node: &Node) -> &[Node] {
    node.block.as_deref().unwrap_or_default()
}
