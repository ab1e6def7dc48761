//! The fields of a response: ranges in one buffer, so that an upstream's pass through without being copied.

use wire::{Field, Name, Range};

use crate::field_names::KnownNames;

/// Fields in order, over the bytes of the head they came from and what was added since.
#[derive(Default)]
pub struct Fields {
    /// The bytes that the ranges point into.
    pub bytes: Vec<u8>,
    rows: Vec<Row>,
    /// Names that some row has: most that are asked for are in no answer.
    names: KnownNames,
}

/// One field and who may see it.
#[derive(Clone, Copy)]
pub struct Row {
    /// Where its name and value are.
    pub field: Field,
    /// Whether the upstream sent it (`$upstream_http_*` sees it even when the client does not).
    pub upstream: bool,
    /// Whether the client is sent it.
    pub visible: bool,
    /// Whether this server made it for its own purposes, such as a redirect to one of its paths.
    pub own: bool,
}

/// Values of several fields in one, with `, ` between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// The values.
    pub bytes: Vec<u8>,
    /// Where each but the last ends.
    pub cuts: Vec<usize>,
}

const BETWEEN: &[u8] = b", ";

impl Joined {
    /// Adds a value.
    pub fn push(&mut self, value: &[u8]) {
        if !self.bytes.is_empty() {
            self.cuts.push(self.bytes.len());
            self.bytes.extend_from_slice(BETWEEN);
        }
        self.bytes.extend_from_slice(value);
    }

    /// The values, one after the other.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.cuts.iter().map(|cut| cut + BETWEEN.len()));
        let ends = self.cuts.iter().copied().chain([self.bytes.len()]);
        starts.zip(ends).map(|(start, end)| self.bytes.get(start..end).unwrap_or_default())
    }
}

impl Fields {
    /// Takes the head of an upstream's response; everything visible before is kept in front.
    pub fn adopt(&mut self, bytes: Vec<u8>, fields: &[Field]) {
        let old = std::mem::replace(&mut self.bytes, bytes);
        let kept: Vec<Row> = self.rows.drain(..).filter(|r| r.visible && !r.upstream).collect();
        for row in kept {
            self.add_as(row.field.id, row.field.name.of(&old), row.field.value.of(&old), row.own);
        }
        self.rows.extend(fields.iter().map(|f| Row { field: *f, upstream: true, visible: true, own: false }));
        for field in fields {
            self.names.insert(field.id);
        }
    }

    /// Every row, seen or not.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Every row, to hide or change.
    pub fn rows_mut(&mut self) -> &mut [Row] {
        &mut self.rows
    }

    /// Name and value of each field that the client is sent.
    pub fn visible(&self) -> impl Iterator<Item = (Name, &[u8], &[u8])> {
        self.rows.iter().filter(|r| r.visible).map(|r| self.parts(r))
    }

    /// Name and value of each field that the upstream sent.
    pub fn of_upstream(&self) -> impl Iterator<Item = (Name, &[u8], &[u8])> {
        self.rows.iter().filter(|r| r.upstream).map(|r| self.parts(r))
    }

    /// All values of one field that the upstream sent, as nginx joins them.
    pub fn joined_of_upstream(&self, id: Name) -> Joined {
        let mut joined = Joined::default();
        for (_, _, value) in self.of_upstream().filter(|(known, _, _)| *known == id) {
            joined.push(value);
        }
        joined
    }

    /// Id, name and value of one row.
    pub fn parts(&self, row: &Row) -> (Name, &[u8], &[u8]) {
        (row.field.id, row.field.name.of(&self.bytes), row.field.value.of(&self.bytes))
    }

    /// The first visible value of a known field.
    pub fn get(&self, id: Name) -> Option<&[u8]> {
        self.first(id, |row| row.visible).map(|row| row.field.value.of(&self.bytes))
    }

    /// Whether the visible `Location` came from elsewhere, and so is left as it is.
    pub fn location_is_foreign(&self) -> bool {
        self.first(Name::Location, |row| row.visible && !row.own).is_some()
    }

    /// Adds a field.
    pub fn add(&mut self, name: &str, value: &[u8]) {
        self.add_as(Name::of(name.as_bytes()), name.as_bytes(), value, true);
    }

    /// Adds a field whose name comes from the configuration.
    pub fn add_bytes(&mut self, name: &[u8], value: &[u8]) {
        self.add_as(Name::of(name), name, value, false);
    }

    /// Adds a field that stands beside the server's own of that name, not in its place.
    pub fn add_beside(&mut self, name: &[u8], value: &[u8]) {
        self.add_as(Name::Other, name, value, false);
    }

    fn add_as(&mut self, id: Name, name: &[u8], value: &[u8], own: bool) {
        let name = self.keep(name);
        let value = self.keep(value);
        self.rows.push(Row { field: Field { name, value, id }, upstream: false, visible: true, own });
        self.names.insert(id);
    }

    /// Adds a field as an upstream's: of what answers in place of one.
    pub fn add_said(&mut self, name: &[u8], value: &[u8]) {
        self.add_bytes(name, value);
        if let Some(row) = self.rows.last_mut() {
            row.upstream = true;
        }
    }

    /// Replaces every visible field of that name by one.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        self.hide(Name::of(name.as_bytes()), name.as_bytes());
        self.add(name, value);
    }

    /// Gives the first visible field of that name another value, and hides the others; adds it where there is none.
    pub fn set_in_place(&mut self, id: Name, name: &[u8], value: &[u8]) {
        let at = self.position(id, |row| row.visible);
        self.hide(id, name);
        match at {
            Some(at) => self.replace(at, value),
            None => self.add_bytes(name, value),
        }
    }

    /// Gives a row another value.
    pub fn replace(&mut self, at: usize, value: &[u8]) {
        let range = self.keep(value);
        if let Some(row) = self.rows.get_mut(at) {
            // The upstream's own value stays readable under its variable.
            let changed = Row {
                field: Field { value: range, ..row.field },
                upstream: false,
                visible: true,
                own: false,
            };
            row.visible = false;
            self.rows.insert(at + 1, changed);
        }
    }

    /// Hides every field of that name from the client.
    pub fn hide(&mut self, id: Name, name: &[u8]) {
        let Fields { bytes, rows, .. } = self;
        for row in rows.iter_mut() {
            let same = if id == Name::Other {
                row.field.id == Name::Other && row.field.name.of(bytes).eq_ignore_ascii_case(name)
            } else {
                row.field.id == id
            };
            if same {
                row.visible = false;
            }
        }
    }

    /// Hides every known field of that id.
    pub fn hide_known(&mut self, id: Name) {
        for row in self.rows.iter_mut().filter(|r| r.field.id == id) {
            row.visible = false;
        }
    }

    /// Says of the visible tag that it names no exact bytes (RFC 9110, 8.8.1): the body is changed on its way.
    pub fn weaken_etag(&mut self) {
        let Some(at) = self.position(Name::ETag, |row| row.visible) else { return };
        let tag = self.rows.get(at).map(|r| r.field.value.of(&self.bytes)).unwrap_or_default();
        if tag.starts_with(b"\"") {
            let weak = [b"W/", tag].concat();
            self.replace(at, &weak);
        } else if !tag.starts_with(b"W/") {
            self.hide_known(Name::ETag);
        }
    }

    /// Hides the upstream's fields that `hides` names.
    pub fn hide_where(&mut self, hides: impl Fn(Name, &[u8]) -> bool) {
        let Fields { bytes, rows, .. } = self;
        for row in rows.iter_mut().filter(|r| r.upstream) {
            if hides(row.field.id, row.field.name.of(bytes)) {
                row.visible = false;
            }
        }
    }

    /// The first value that the upstream sent of a known field, whether or not the client sees it.
    pub fn upstream_value(&self, id: Name) -> Option<&[u8]> {
        self.first(id, |row| row.upstream).map(|row| row.field.value.of(&self.bytes))
    }

    /// Hides everything that the upstream sent.
    pub fn hide_upstream(&mut self) {
        for row in self.rows.iter_mut().filter(|r| r.upstream) {
            row.visible = false;
        }
    }

    /// The first row of a known field that is as wanted.
    #[inline]
    fn first(&self, id: Name, wanted: impl Fn(&Row) -> bool) -> Option<&Row> {
        self.position(id, wanted).and_then(|at| self.rows.get(at))
    }

    /// Where the first row of a known field stands that is as wanted.
    #[inline]
    pub fn position(&self, id: Name, wanted: impl Fn(&Row) -> bool) -> Option<usize> {
        if !self.names.contains(id) {
            return None;
        }
        self.rows.iter().position(|row| row.field.id == id && wanted(row))
    }

    fn keep(&mut self, text: &[u8]) -> Range {
        if self.bytes.capacity() == 0 {
            // Room for the fields of most answers of our own, at once rather than bit by bit.
            self.bytes.reserve(256);
        }
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(text);
        Range { start, end: self.bytes.len() as u32 }
    }
}
