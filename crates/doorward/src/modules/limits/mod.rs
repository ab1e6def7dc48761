//! Limits by key: how often (`limit_req`), how many at once (`limit_conn`), and how many failures (`auth_limit`).

mod conn;
mod failures;
mod held;
mod numbers;
pub mod rate;
mod req;

pub use conn::{LimitConn, MODULE as CONN};
pub use failures::{AuthLimit, MODULE as FAILURES};
pub use held::Held;
pub use req::{LimitReq, MODULE as REQ};

use std::any::Any;
use std::sync::Arc;

use conf::{Diagnostic, Node, Word};

use crate::compile::Compiler;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::variables::Template;

/// The least size of a zone: eight pages, as in nginx.
const LEAST: u64 = 8 * 4096;

/// What is shared by everyone who uses a zone, over reloads.
struct Shared<T> {
    /// The key as written: counts by another key mean something else.
    key: String,
    size: u64,
    counts: Arc<T>,
}

/// A zone as one configuration declares it.
struct Zone<T> {
    name: String,
    key: Template,
    key_text: String,
    shared: Arc<Shared<T>>,
}

/// Reads `key zone=name:size`; words that are neither go to `other`, which says whether it knows them.
fn declare<T: Any + Send + Sync>(
    cx: &mut Compiler,
    node: &Node,
    bound: impl Fn(&str) -> Option<String>,
    make: fn(usize) -> T,
    mut other: impl FnMut(&Word) -> Result<bool, Diagnostic>,
) -> Result<Zone<T>, Diagnostic> {
    let mut place = None;
    for word in node.args.iter().skip(1) {
        let bad = |what: &str| Diagnostic::at(word.span, format!("{what} \"{}\"", word.lossy()));
        if let Some(text) = word.text.strip_prefix(b"zone=") {
            let text = std::str::from_utf8(text).map_err(|_| bad("invalid zone size"))?;
            let (name, size) = text.split_once(':').ok_or_else(|| bad("invalid zone size"))?;
            let size = conf::value::size(size.as_bytes()).ok_or_else(|| bad("invalid zone size"))?;
            if size < LEAST {
                let sentence = format!("zone \"{}\" is too small", word.lossy());
                return Err(Diagnostic::at(word.span, sentence));
            }
            place = Some((name.to_owned(), size));
        } else if !other(word)? {
            return Err(bad("invalid parameter"));
        }
    }
    let Some((name, size)) = place.filter(|(name, _)| !name.is_empty()) else {
        return Err(without_zone(node));
    };
    let directive = node.name.lossy();
    if let Some(key) = bound(&name) {
        return Err(Diagnostic::at(
            node.span,
            format!("{directive} \"{name}\" is already bound to key \"{key}\""),
        ));
    }
    let word = node.word(0)?;
    let key = Template::compile(word, &mut cx.variables)?;
    let key_text = word.lossy().into_owned();
    // One is held here and one by the zones: what more there is belongs to a configuration in force.
    if let Some(old) = cx.zones.get::<Shared<T>>(&name).filter(|old| Arc::strong_count(old) > 2)
        && old.key != key_text
    {
        let before = &old.key;
        // nginx calls one of the two by its zone's directive, the other by its limit's.
        let limit = if directive == "limit_req_zone" { "limit_req" } else { &directive };
        return Err(Diagnostic::nowhere(format!(
            "{limit} \"{name}\" uses the \"{key_text}\" key while previously it used the \"{before}\" key"
        ))
        .instead("give the zone another name"));
    }
    let shared = cx.zones.get_or_replace(
        &name,
        |old: &Shared<T>| old.key == key_text && old.size == size,
        || Shared { key: key_text.clone(), size, counts: Arc::new(make(size as usize)) },
    );
    Ok(Zone { name, key, key_text, shared })
}

fn without_zone(node: &Node) -> Diagnostic {
    Diagnostic::at(node.span, format!("\"{}\" must have \"zone\" parameter", node.name.lossy()))
}

/// The zone that a limit names is nowhere declared.
fn unknown_zone(name: &str, span: conf::Span) -> Diagnostic {
    Diagnostic::at(span, format!("zero size shared memory zone \"{name}\""))
        .instead("declare the zone in the http block")
}

impl<T> Zone<T> {
    /// The key of a request; none where it is empty, which is not limited, or longer than a key may be.
    fn key(&self, ex: &Exchange<'_>, most: usize) -> Option<Vec<u8>> {
        let key = self.key.eval(ex);
        if key.len() > most {
            let (name, shown) = (&self.key_text, String::from_utf8_lossy(&key));
            let text = format_args!("the value of the \"{name}\" key is more than {most} bytes: \"{shown}\"");
            ex.log(Level::Error, text);
            return None;
        }
        (!key.is_empty()).then_some(key)
    }

    /// What a request is counted by, in words.
    fn counted_by(&self, ex: &Exchange<'_>) -> String {
        let (name, text, key) = (&self.name, &self.key_text, self.key.eval(ex));
        match key.is_empty() {
            true => format!("zone {name}: {text} is empty, and so nothing is counted"),
            false => format!("zone {name}: {text} is \"{}\"", key.escape_ascii()),
        }
    }
}

/// The levels that refusals may be logged at.
const LEVELS: &[(&str, Level)] =
    &[("info", Level::Info), ("notice", Level::Notice), ("warn", Level::Warn), ("error", Level::Error)];

/// The status of refused requests, 400 to 599.
fn status(node: &Node) -> Result<u16, Diagnostic> {
    let status = node.number(0)?;
    match u16::try_from(status) {
        Ok(status @ 400..=599) => Ok(status),
        _ => Err(Diagnostic::at(node.span, "value must be between 400 and 599".to_owned())),
    }
}
