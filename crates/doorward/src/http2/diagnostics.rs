//! Why `h2` resets a stream or ends a connection: it answers by itself what is malformed, and tells nobody but `tracing` about it.

use std::cell::RefCell;
use std::fmt::{self, Write};
use std::sync::Once;

use tracing_core::field::{Field, Visit};
use tracing_core::span::{Attributes, Current, Id, Record};
use tracing_core::subscriber::Interest;
use tracing_core::{Dispatch, Event, Level, LevelFilter, Metadata, Subscriber, dispatcher};

/// The longest text that is kept, in bytes: it may hold what a client sent.
const LONGEST: usize = 400;

thread_local! {
    /// What was told since somebody asked. `h2` resets no more than a thousand malformed streams of a connection before it ends it.
    static TOLD: RefCell<Vec<Told>> = const { RefCell::new(Vec::new()) };
}

/// What `h2` says of a client, as a sentence.
#[derive(Debug, PartialEq)]
pub(super) enum Told {
    /// Why it resets a stream.
    Stream(String),
    /// Why it ends the connection.
    Connection(String),
}

/// Listens to `h2`, if nobody did.
pub(super) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Where another listens, what `h2` says is that one's.
        _ = dispatcher::set_global_default(Dispatch::new(Listener));
    });
}

/// What `h2` tells while something is done.
pub(super) fn during<T>(what: impl FnOnce() -> T) -> (T, Vec<Told>) {
    TOLD.take();
    let done = what();
    (done, TOLD.take())
}

/// Takes `h2`'s texts about clients. Other places that could tell something are asked once, and cost a comparison from then on.
struct Listener;

fn is_wanted(metadata: &Metadata<'_>) -> bool {
    let mut fields = metadata.fields().iter();
    metadata.is_event()
        && *metadata.level() == Level::DEBUG
        && metadata.target().starts_with("h2::")
        // A text and nothing else: no frame that comes or goes is told like that.
        && fields.next().is_some_and(|field| field.name() == "message")
        && fields.next().is_none()
}

impl Subscriber for Listener {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_wanted(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_wanted(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        if let Some(told) = Told::of(&text.0) {
            TOLD.with_borrow_mut(|texts| texts.push(told));
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn current_span(&self) -> Current {
        Current::none()
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Told {
    /// None where it is not about what a client did.
    fn of(text: &str) -> Option<Told> {
        let sentence =
            |what: &str, why: &str| format!("client sent malformed {what}: {}", why.trim_end_matches(';'));
        if let Some(why) = text.strip_prefix("malformed headers: ") {
            return Some(Told::Stream(sentence("request", why)));
        }
        let (place, why) = text.split_once(" -- ")?;
        if place.starts_with("stream error ") {
            Some(Told::Stream(sentence("request", why)))
        } else {
            place.starts_with("connection error ").then(|| Told::Connection(sentence("frame", why)))
        }
    }
}

/// The beginning of a text.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
        // An error is that it is long enough.
        _ = write!(self, "{value:?}");
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = LONGEST.saturating_sub(self.0.len());
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        if room >= text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}
