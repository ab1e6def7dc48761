//! Fields of a message: where their name and value stand, and which of the known names it is.

use crate::{Name, Range};

/// One field line of a head or a trailer section.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Field {
    /// The name as it was sent.
    pub name: Range,
    /// The value without the spaces around it.
    pub value: Range,
    /// The name when it is a known one.
    pub id: Name,
}

impl Field {
    /// Whether this field's name is `name`, in any case; for names that have no [`Name`] of their own.
    pub fn is(&self, buf: &[u8], name: &[u8]) -> bool {
        self.name.of(buf).eq_ignore_ascii_case(name)
    }
}

/// The first field called `id`.
pub fn find(fields: &[Field], id: Name) -> Option<&Field> {
    fields.iter().find(|field| field.id == id)
}
