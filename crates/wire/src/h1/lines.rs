//! Field lines of heads and trailers, one after the other, resumable at any byte.

use super::scan;
use crate::Range;

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
    Field { name: Range, value: Range, odd: bool },
    /// The empty line behind the last field.
    End,
}

/// A line that ends the connection: what of it was good, and the byte that was not.
#[derive(Clone, Copy, Debug)]
pub(super) struct BadLine {
    pub(super) line: Range,
    pub(super) byte: u8,
}

/// Reads lines from a growing buffer and looks at each byte once.
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
    #[inline]
    pub(super) fn next(&mut self, buf: &[u8], rules: Rules) -> Result<Line, BadLine> {
        if self.state == State::Start
            && let Some(line) = self.usual(buf)
        {
            return Ok(line);
        }
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
                    let Some(at) = scan::line_break(buf, pos) else { return Ok(self.again(buf.len())) };
                    pos = at;
                    self.value_end = at;
                    match buf.get(at) {
                        Some(b'\n') => return Ok(self.field(buf, pos)),
                        Some(b'\r') => {
                            self.value_end = self.trimmed(buf);
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

    /// The next line when all of it is there and it is what a line usually is: a token, a colon, a value, CR LF.
    #[inline]
    fn usual(&mut self, buf: &[u8]) -> Option<Line> {
        let start = self.pos;
        let name = buf.get(start..)?;
        let len = name.iter().position(|&byte| CLASS[byte as usize] != Class::Token)?;
        if len == 0 || name.get(len) != Some(&b':') {
            return None;
        }
        let mut value = start + len + 1;
        while buf.get(value) == Some(&b' ') {
            value += 1;
        }
        let line_break = scan::line_break(buf, value)?;
        let [b'\r', b'\n'] = buf.get(line_break..)?.first_chunk()? else { return None };
        let mut end = line_break;
        while end > value && byte_at(buf, end - 1) == b' ' {
            end -= 1;
        }
        (self.start, self.pos) = (start, line_break + 2);
        let (name, value) = (Range::new(start, start + len), Range::new(value, end));
        Some(Line::Field { name, value, odd: false })
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

    #[inline]
    fn field(&mut self, buf: &[u8], pos: usize) -> Line {
        self.pos = pos + 1;
        self.state = State::Start;
        let value = Range::new(self.value, self.trimmed(buf));
        Line::Field { name: self.line(self.name_end), value, odd: self.odd }
    }

    fn line(&self, end: usize) -> Range {
        Range::new(self.start, end)
    }

    /// The value's end without the spaces before the line break. Tabs stay, as in nginx.
    #[inline]
    fn trimmed(&self, buf: &[u8]) -> usize {
        let mut end = self.value_end;
        while end > self.value && byte_at(buf, end - 1) == b' ' {
            end -= 1;
        }
        end
    }

    #[cold]
    fn bad(&mut self, pos: usize, end: usize, byte: u8) -> BadLine {
        self.pos = pos;
        BadLine { line: self.line(end), byte }
    }
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
