//! Field lines of heads and trailers, one after the other, resumable at any byte.

use super::scan;
use crate::name::{WINDOW, Window};
use crate::{Field, Name, Range};

/// What differs between who sent the lines.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    /// Underscores in names are as good as letters (`underscores_in_headers`).
    pub(super) underscores: bool,
    /// A line that begins with `HTTP/` is left out: some IIS repeat the status line.
    pub(super) status_lines: bool,
}

/// What was found.
pub(super) enum Line {
    /// More bytes are needed.
    Again,
    /// A whole field line; `odd` when its name holds bytes that are no token.
    Field { field: Field, odd: bool },
    /// The empty line behind the last field.
    End,
}

/// A line that ends the connection: what of it was good, and the byte that was not.
#[derive(Clone, Copy, Debug)]
pub(super) struct BadLine {
    pub(super) line: Range,
    pub(super) byte: u8,
}

/// Reads lines from a growing buffer.
///
/// A line is tried once for being whole and usual; if it is not, its bytes are read one after the other, each once.
/// So however they arrive, the time it takes grows with their number.
#[derive(Clone, Default, Debug)]
pub(super) struct Lines {
    state: State,
    pos: usize,
    start: usize,
    name_end: usize,
    value: usize,
    value_end: usize,
    odd: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum State {
    #[default]
    Start,
    Name,
    BeforeValue,
    Value,
    Return,
    LastReturn,
    Skip,
}

impl Lines {
    /// A reader whose first line starts at `pos`.
    pub(super) fn at(pos: usize) -> Lines {
        Lines { pos, start: pos, ..Lines::default() }
    }

    /// The offset of the next byte to look at, or of the one that made a line bad.
    pub(super) fn pos(&self) -> usize {
        self.pos
    }

    /// Where the line began that is being read, or was read last.
    pub(super) fn start(&self) -> usize {
        if self.state == State::Start { self.pos } else { self.start }
    }

    /// The next line of `buf`, which must be the buffer of the calls before, perhaps grown.
    #[inline(always)]
    pub(super) fn next(&mut self, buf: &[u8], rules: Rules) -> Result<Line, BadLine> {
        if self.state == State::Start
            && let Some(rest) = buf.get(self.pos..)
        {
            if rest.starts_with(b"\r\n") {
                return Ok(self.end(self.pos + 1));
            }
            if let Some(field) = self.usual(rest) {
                return Ok(Line::Field { field, odd: false });
            }
        }
        self.any(buf, rules)
    }

    /// The next line when all of it is there and it is what a line usually is: a token, a colon, at most one
    /// space, a value without spaces around it, CR LF.
    #[inline(always)]
    fn usual(&mut self, rest: &[u8]) -> Option<Field> {
        let padded;
        let window: &Window = match rest.first_chunk() {
            Some(window) => window,
            None => {
                padded = pad(rest);
                &padded
            }
        };
        let (len, id) = match scan::colon(window) {
            Some(len) => (len, Name::at(window, len)),
            None => (rest.iter().position(|&byte| CLASS[byte as usize] != Class::Token)?, Name::Other),
        };
        // The bytes of a name that is known need no check.
        if id == Name::Other && !is_named(rest, len) {
            return None;
        }
        let skipped = len + 1 + usize::from(rest.get(len + 1) == Some(&b' '));
        let value = rest.get(skipped..)?;
        let (value, line_break) = value.split_at_checked(scan::control(value)?)?;
        if !line_break.starts_with(b"\r\n") || matches!(value, [b' ', ..] | [.., b' ']) {
            return None;
        }
        let (name_end, start) = (self.pos + len, self.pos + skipped);
        let end = start + value.len();
        // What lies in a line that ends below 4 GiB does so too.
        u32::try_from(end).ok()?;
        let name = Range { start: self.pos as u32, end: name_end as u32 };
        let value = Range { start: start as u32, end: end as u32 };
        self.pos = end + 2;
        Some(Field { name, value, id })
    }

    /// The next line, whatever it is and however much of it is there.
    #[inline(never)]
    fn any(&mut self, buf: &[u8], rules: Rules) -> Result<Line, BadLine> {
        let mut pos = self.pos;
        loop {
            match self.state {
                State::Start => {
                    let Some(&byte) = buf.get(pos) else { return Ok(self.again(pos)) };
                    (self.start, self.odd) = (pos, false);
                    match byte {
                        b'\r' => {
                            pos += 1;
                            self.state = State::LastReturn;
                        }
                        b'\n' => return Ok(self.end(pos)),
                        b':' => return Err(self.bad(pos, pos, byte)),
                        _ => self.state = State::Name,
                    }
                }
                State::Name => {
                    let rest = buf.get(pos..).unwrap_or_default();
                    let Some(at) = rest.iter().position(|&byte| CLASS[byte as usize] != Class::Token) else {
                        return Ok(self.again(buf.len()));
                    };
                    pos += at;
                    let byte = rest[at];
                    match CLASS[byte as usize] {
                        Class::Colon => {
                            self.name_end = pos;
                            self.state = State::BeforeValue;
                        }
                        Class::Break => {
                            // A line without a colon is a field without a value.
                            (self.name_end, self.value) = (pos, pos);
                            self.state = State::Value;
                            continue;
                        }
                        Class::Refused => return Err(self.bad(pos, pos, byte)),
                        Class::Underscore if rules.underscores => {}
                        Class::Odd
                            if byte == b'/' && rules.status_lines && self.line(pos).of(buf) == b"HTTP" =>
                        {
                            self.state = State::Skip;
                        }
                        _ => self.odd = true,
                    }
                    pos += 1;
                }
                State::BeforeValue => {
                    while buf.get(pos) == Some(&b' ') {
                        pos += 1;
                    }
                    if pos >= buf.len() {
                        return Ok(self.again(pos));
                    }
                    self.value = pos;
                    self.state = State::Value;
                }
                State::Value => {
                    let Some(at) = scan::line_break(buf.get(pos..).unwrap_or_default()) else {
                        return Ok(self.again(buf.len()));
                    };
                    pos += at;
                    self.value_end = self.value + trimmed(buf.get(self.value..pos).unwrap_or_default()).len();
                    match buf.get(pos) {
                        Some(b'\n') => return Ok(self.field(buf, pos)),
                        Some(b'\r') => {
                            self.state = State::Return;
                            pos += 1;
                        }
                        _ => return Err(self.bad(pos, pos, 0)),
                    }
                }
                State::Return => match buf.get(pos) {
                    None => return Ok(self.again(pos)),
                    Some(b'\n') => return Ok(self.field(buf, pos)),
                    Some(b'\r') => pos += 1,
                    Some(_) => return Err(self.bad(pos, self.value_end, byte_at(buf, self.value_end))),
                },
                State::LastReturn => match buf.get(pos) {
                    None => return Ok(self.again(pos)),
                    Some(b'\n') => return Ok(self.end(pos)),
                    Some(_) => return Err(self.bad(pos, self.start, b'\r')),
                },
                State::Skip => {
                    let rest = buf.get(pos..).unwrap_or_default();
                    let Some(at) = rest.iter().position(|&byte| byte == b'\n') else {
                        return Ok(self.again(buf.len()));
                    };
                    pos += at + 1;
                    self.state = State::Start;
                }
            }
        }
    }

    #[cold]
    fn again(&mut self, pos: usize) -> Line {
        self.pos = pos;
        Line::Again
    }

    fn end(&mut self, pos: usize) -> Line {
        self.pos = pos + 1;
        self.state = State::Start;
        Line::End
    }

    fn field(&mut self, buf: &[u8], pos: usize) -> Line {
        self.pos = pos + 1;
        self.state = State::Start;
        let name = self.line(self.name_end);
        let value = Range::new(self.value, self.value_end);
        Line::Field { field: Field { name, value, id: Name::of(name.of(buf)) }, odd: self.odd }
    }

    fn line(&self, end: usize) -> Range {
        Range::new(self.start, end)
    }

    #[cold]
    fn bad(&mut self, pos: usize, end: usize, byte: u8) -> BadLine {
        self.pos = pos;
        BadLine { line: self.line(end), byte }
    }
}

/// A value without the spaces behind it. Tabs stay, as in nginx.
fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [rest @ .., b' '] = value {
        value = rest;
    }
    value
}

/// The last line of a buffer as a window.
fn pad(line: &[u8]) -> Window {
    let mut window = [0; WINDOW];
    window.iter_mut().zip(line).for_each(|(to, from)| *to = *from);
    window
}

/// Whether a line begins with a token of `len` bytes and a colon.
fn is_named(line: &[u8], len: usize) -> bool {
    let token = |name: &[u8]| name.iter().all(|&byte| CLASS[byte as usize] == Class::Token);
    len > 0 && line.get(..len).is_some_and(token) && line.get(len) == Some(&b':')
}

#[inline]
fn byte_at(buf: &[u8], pos: usize) -> u8 {
    buf.get(pos).copied().unwrap_or_default()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Letters, digits and the hyphen: what nginx takes for granted in a name.
    Token,
    Underscore,
    Colon,
    /// CR and LF.
    Break,
    /// Other controls, space and DEL: they end the connection.
    Refused,
    /// Everything else makes the line one to be ignored (`ignore_invalid_headers`).
    Odd,
}

static CLASS: [Class; 256] = {
    let mut table = [Class::Odd; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => Class::Token,
            b'_' => Class::Underscore,
            b':' => Class::Colon,
            b'\r' | b'\n' => Class::Break,
            0..=b' ' | 0x7f => Class::Refused,
            _ => Class::Odd,
        };
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What both ways of reading lines come to, and where they stopped.
    fn read(buf: &[u8], ends: &[usize], rules: Rules, usual: bool) -> (Vec<(Field, bool)>, String, usize) {
        let (mut lines, mut fields, mut ends) = (Lines::default(), Vec::new(), ends.iter());
        let mut seen = ends.next().map_or(buf, |end| &buf[..*end]);
        loop {
            let line = if usual { lines.next(seen, rules) } else { lines.any(seen, rules) };
            match line {
                Ok(Line::Field { field, odd }) => fields.push((field, odd)),
                Ok(Line::Again) if seen.len() < buf.len() => {
                    seen = ends.next().map_or(buf, |end| &buf[..*end]);
                }
                Ok(Line::Again) => return (fields, "again".to_string(), lines.start()),
                Ok(Line::End) => return (fields, "end".to_string(), lines.pos()),
                Err(bad) => return (fields, format!("{bad:?}"), lines.pos()),
            }
        }
    }

    /// Lines that are nearly, or quite, what lines usually are, of pieces that are cut where they hurt.
    fn lines() -> impl Strategy<Value = Vec<u8>> {
        let name = prop::sample::select(vec![
            "Host",
            "content-length",
            "TE",
            "X-Forwarded-For",
            "Content_Length",
            "Conten\u{bf}-Type",
            "HTTP/1.1 200 OK",
            "X",
            "Strict-Transport-Security",
            "A-Name-Of-Twenty-3-Bytes",
            "A\rB",
            "",
            "A B",
            "A\0",
            "A\u{7f}",
        ]);
        let colon = prop::sample::select(vec![":", ": ", ":  ", "", " : ", ":\t", "::"]);
        let value = prop::sample::select(vec![
            "",
            "a",
            "close",
            "a b ",
            "a\tb\u{e9}\t",
            "\0",
            "a\rb",
            "some value of more bytes than a word has",
        ]);
        let line_break = prop::sample::select(vec!["\r\n", "\r\n", "\n", "\r\r\n", "\r", ""]);
        let line =
            (name, colon, value, line_break).prop_map(|(a, b, c, d)| [a, b, c, d].concat().into_bytes());
        let piece = prop_oneof![8 => line, 1 => Just(b"\r\n".to_vec()), 1 => prop::collection::vec(any::<u8>(), 0..9)];
        prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn a_usual_line_is_what_it_is_byte_by_byte(
            buf in lines(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
            underscores: bool,
            status_lines: bool,
        ) {
            let rules = Rules { underscores, status_lines };
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(buf.len() + 1)).collect();
            cuts.sort_unstable();
            let plain = read(&buf, &[], rules, false);
            prop_assert_eq!(&read(&buf, &[], rules, true), &plain);
            prop_assert_eq!(&read(&buf, &cuts, rules, true), &plain);
            let every: Vec<usize> = (0..buf.len()).collect();
            prop_assert_eq!(&read(&buf, &every, rules, true), &plain);
        }
    }
}
