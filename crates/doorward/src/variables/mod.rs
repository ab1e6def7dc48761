//! Variables: names become numbers while the configuration is compiled; while serving, a number is read.

mod registry;
mod template;

pub use registry::{Registry, Slot, Variables};
pub use template::Template;

use crate::exchange::Exchange;

/// Appends the value to `out`; false where the variable has no value in this request.
pub type Get = fn(&Exchange<'_>, &mut Vec<u8>) -> bool;

/// The same for a family of variables, told apart by what follows the prefix (`http_`, `arg_` ...).
pub type GetNamed = fn(&Exchange<'_>, &[u8], &mut Vec<u8>) -> bool;

/// One variable or family of variables that a module provides.
pub struct Row {
    /// The name without `$`; of a family, the prefix with its `_`.
    pub name: &'static str,
    /// How it is read.
    pub read: Read,
    /// What `set` does to it, where it may be set at all.
    pub write: Option<fn(&mut Exchange<'_>, &[u8])>,
}

/// How a variable of a module is read.
#[derive(Clone, Copy)]
pub enum Read {
    /// Computed anew each time.
    Fresh(Get),
    /// Computed once in a request, then remembered (nginx's cacheable variables with a cost or a chance).
    Once(Get),
    /// A family of variables.
    Family(GetNamed),
}

impl Row {
    /// A variable that is computed each time it is read.
    pub const fn fresh(name: &'static str, get: Get) -> Row {
        Row { name, read: Read::Fresh(get), write: None }
    }

    /// A variable that keeps its first value through a request.
    pub const fn once(name: &'static str, get: Get) -> Row {
        Row { name, read: Read::Once(get), write: None }
    }

    /// A family of variables, by its prefix.
    pub const fn family(prefix: &'static str, get: GetNamed) -> Row {
        Row { name: prefix, read: Read::Family(get), write: None }
    }

    /// The same variable, writable by `set`.
    pub const fn writable(self, write: fn(&mut Exchange<'_>, &[u8])) -> Row {
        Row { write: Some(write), ..self }
    }
}

/// A variable that a directive of the configuration makes: `map`, `geo`, `split_clients` ...
pub trait Computed: Send + Sync {
    /// Appends the value; false where there is none.
    fn append(&self, ex: &Exchange<'_>, out: &mut Vec<u8>) -> bool;
    /// The variables that it is computed from; none where that cannot be told.
    fn inputs(&self) -> Option<Vec<Index>>;
    /// Whether it is computed anew at each use (`map`'s `volatile`).
    fn volatile(&self) -> bool {
        false
    }
}

/// How a variable of the compiled configuration is read.
pub enum Source {
    /// A module's variable.
    Fresh(Get),
    /// A module's variable, remembered in a slot.
    Once(Get, Slot),
    /// One of a family.
    Family(GetNamed, Box<[u8]>),
    /// Only what `set`, `auth_request_set` or a named capture put into its slot.
    Stored(Slot),
    /// Made by a directive; remembered where it has a slot.
    Computed(Box<dyn Computed>, Option<Slot>),
}

/// The number of a variable in the compiled configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Index(pub(crate) u32);

/// A remembered value.
#[derive(Clone, Debug, Default)]
pub struct Value {
    /// Whether anything was remembered yet.
    pub known: bool,
    /// Whether the variable has a value; when known and not found, it is empty.
    pub found: bool,
    /// The value.
    pub bytes: Vec<u8>,
    /// Where it was put together of several fields: the end of each but the last, behind which `, ` stands.
    pub cuts: Vec<usize>,
}
