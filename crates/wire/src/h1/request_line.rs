//! The request line: method, target in its three forms, version.

use super::refusal::RequestError;
use super::request_head::{Method, RequestHead, Version};
use super::scan;
use crate::Range;

/// Reads the request line from a growing buffer: at once if it is whole and usual, else byte by byte, each once.
#[derive(Clone, Default, Debug)]
pub(super) struct RequestLine {
    state: State,
    pos: usize,
    /// Where the line, and what is being read of it, began.
    start: usize,
    mark: usize,
    target: usize,
    scheme_end: usize,
    protocol: usize,
    major: u32,
    minor: u32,
    end: usize,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum State {
    #[default]
    Start,
    Method,
    BeforeTarget,
    Scheme,
    /// `//` behind the scheme; how many slashes are still to come.
    Slashes(u8),
    BeforeHost,
    HostStart,
    Host,
    Literal,
    HostEnd,
    PortStart,
    Port,
    Target,
    BeforeVersion,
    /// `HTTP/`; how many of its bytes were seen.
    Protocol(u8),
    Major(bool),
    Minor(bool),
    AfterVersion,
    Return,
}

impl RequestLine {
    /// Where the line begins, behind the empty lines before it; none while there are only empty lines.
    pub(super) fn start(&self) -> Option<usize> {
        (self.state != State::Start).then_some(self.start)
    }

    /// The offset of the next byte to look at: behind the line feed when the line is complete, at the bad byte after
    /// an error.
    pub(super) fn pos(&self) -> usize {
        self.pos
    }

    /// Goes on reading; true when the line is complete and `head` holds its parts.
    pub(super) fn parse(&mut self, buf: &[u8], head: &mut RequestHead) -> Result<bool, RequestError> {
        if self.state == State::Start
            && let Some(line_feed) = self.usual(buf, head)
        {
            return self.done(buf, line_feed, head);
        }
        self.any(buf, head)
    }

    /// Takes apart a line of which all is there and that is what it usually is: a method, a path, HTTP/1.0 or 1.1,
    /// one space between them, CR LF. Answers where the line feed is.
    #[inline]
    fn usual(&mut self, buf: &[u8], head: &mut RequestHead) -> Option<usize> {
        let line = buf.get(self.pos..)?;
        let (method, rest) = line.split_at_checked(line.iter().position(|&byte| !in_method(byte))?)?;
        let known = Method::of(method);
        let rest = rest.strip_prefix(b" ")?;
        if method.is_empty() || known == Method::Connect || rest.first() != Some(&b'/') {
            return None;
        }
        let (target, rest) = rest.split_at_checked(scan::target_end(rest)?)?;
        let minor = match rest.strip_prefix(b" HTTP/1.")? {
            [minor @ (b'0' | b'1'), b'\r', b'\n', ..] => minor - b'0',
            _ => return None,
        };
        self.start = self.pos;
        self.target = self.start + method.len() + 1;
        self.protocol = self.target + target.len() + 1;
        self.end = self.protocol + b"HTTP/1.1".len();
        self.state = State::Return;
        (self.major, self.minor) = (1, u32::from(minor));
        (head.method, head.method_text) = (known, Range::new(self.start, self.target - 1));
        head.target = Range::new(self.target, self.protocol - 1);
        Some(self.end + 1)
    }

    /// Goes on reading a line, whatever it is and however much of it is there.
    #[inline(never)]
    fn any(&mut self, buf: &[u8], head: &mut RequestHead) -> Result<bool, RequestError> {
        let mut pos = self.pos;
        while let Some(&byte) = buf.get(pos) {
            self.pos = pos;
            match self.state {
                State::Start => match byte {
                    b'\r' | b'\n' => {}
                    _ => {
                        self.start = pos;
                        self.state = State::Method;
                        if !in_method(byte) {
                            return Err(RequestError::InvalidMethod);
                        }
                    }
                },
                State::Method => {
                    let rest = buf.get(pos..).unwrap_or_default();
                    let Some(at) = rest.iter().position(|&byte| !in_method(byte)) else {
                        pos = buf.len();
                        continue;
                    };
                    pos += at;
                    self.pos = pos;
                    if rest.get(at) != Some(&b' ') {
                        return Err(RequestError::InvalidMethod);
                    }
                    head.method_text = Range::new(self.start, pos);
                    head.method = Method::of(head.method_text.of(buf));
                    self.state =
                        if head.method == Method::Connect { State::BeforeHost } else { State::BeforeTarget };
                }
                State::BeforeTarget => match byte {
                    b' ' => {}
                    b'/' => self.begin_target(pos),
                    b'a'..=b'z' | b'A'..=b'Z' => {
                        self.mark = pos;
                        self.state = State::Scheme;
                    }
                    _ => return Err(RequestError::InvalidRequest),
                },
                State::Scheme => match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'+' | b'-' | b'.' => {}
                    b':' => {
                        head.scheme = Some(Range::new(self.mark, pos));
                        self.scheme_end = pos;
                        self.state = State::Slashes(2);
                    }
                    _ => return Err(RequestError::InvalidRequest),
                },
                State::Slashes(left) => {
                    if byte != b'/' {
                        return Err(RequestError::InvalidRequest);
                    }
                    self.state = if left == 2 { State::Slashes(1) } else { State::HostStart };
                }
                State::BeforeHost if byte == b' ' => {}
                State::BeforeHost | State::HostStart => {
                    self.mark = pos;
                    self.state = if byte == b'[' { State::Literal } else { State::Host };
                    if byte != b'[' {
                        continue;
                    }
                }
                State::Literal => match byte {
                    b']' => self.state = State::HostEnd,
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'-' | b'.' | b'_' | b'~' => {}
                    b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => {}
                    _ => return Err(RequestError::InvalidRequest),
                },
                State::Host if matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-') => {}
                State::Host | State::HostEnd if byte == b':' => self.state = State::PortStart,
                State::Host | State::HostEnd if head.method == Method::Connect => {
                    return Err(RequestError::InvalidRequest);
                }
                State::PortStart if byte.is_ascii_digit() => self.state = State::Port,
                State::PortStart if head.method == Method::Connect => {
                    return Err(RequestError::InvalidRequest);
                }
                State::Port if byte.is_ascii_digit() => {}
                State::Host | State::HostEnd | State::PortStart | State::Port => {
                    head.authority = Some(Range::new(self.mark, pos));
                    self.authority_ends(byte, pos, head)?;
                }
                State::Target => {
                    let Some(at) = scan::target_end(buf.get(pos..).unwrap_or_default()) else {
                        pos = buf.len();
                        continue;
                    };
                    pos += at;
                    self.pos = pos;
                    head.target = Range::new(self.target, pos);
                    match buf.get(pos) {
                        Some(b' ') => self.state = State::BeforeVersion,
                        Some(b'\r' | b'\n') => {
                            self.state = State::BeforeVersion;
                            continue;
                        }
                        _ => return Err(RequestError::InvalidRequest),
                    }
                }
                State::BeforeVersion => match byte {
                    b' ' => {}
                    b'\r' => self.line_ends(pos),
                    b'\n' => return self.done(buf, pos, head),
                    b'H' => {
                        self.protocol = pos;
                        self.state = State::Protocol(1);
                    }
                    _ => return Err(RequestError::InvalidRequest),
                },
                State::Protocol(seen) => {
                    if b"HTTP/".get(usize::from(seen)) != Some(&byte) {
                        return Err(RequestError::InvalidRequest);
                    }
                    self.state = State::Protocol(seen + 1);
                    if byte == b'/' {
                        self.begin_version(pos, head);
                    }
                }
                State::Major(some) => match byte {
                    b'.' if some => self.state = State::Minor(false),
                    b'1'..=b'9' | b'0' if some || byte != b'0' => {
                        self.major = self.major * 10 + u32::from(byte - b'0');
                        if self.major > 1 {
                            return Err(RequestError::InvalidVersion);
                        }
                        self.state = State::Major(true);
                    }
                    _ => return Err(RequestError::InvalidRequest),
                },
                State::Minor(some) => match byte {
                    b'\r' if some => self.line_ends(pos),
                    b'\n' if some => return self.done(buf, pos, head),
                    b' ' if some => self.state = State::AfterVersion,
                    b'0'..=b'9' if self.minor <= 99 => {
                        self.minor = self.minor * 10 + u32::from(byte - b'0');
                        self.state = State::Minor(true);
                    }
                    _ => return Err(RequestError::InvalidRequest),
                },
                State::AfterVersion => match byte {
                    b' ' => {}
                    b'\r' => self.line_ends(pos),
                    b'\n' => return self.done(buf, pos, head),
                    _ => return Err(RequestError::InvalidRequest),
                },
                State::Return => match byte {
                    b'\n' => return self.done(buf, pos, head),
                    _ => return Err(RequestError::InvalidRequest),
                },
            }
            pos += 1;
        }
        self.pos = pos;
        Ok(false)
    }

    fn begin_target(&mut self, pos: usize) {
        self.target = pos;
        self.state = State::Target;
    }

    /// Behind the host of an absolute or authority form.
    fn authority_ends(&mut self, byte: u8, pos: usize, head: &mut RequestHead) -> Result<(), RequestError> {
        match byte {
            b'/' if head.method != Method::Connect => self.begin_target(pos),
            b'?' if head.method != Method::Connect => {
                head.empty_path = true;
                self.begin_target(pos);
            }
            b' ' => {
                if head.method != Method::Connect {
                    head.target = self.slash_of_scheme();
                }
                self.state = State::BeforeVersion;
            }
            _ => return Err(RequestError::InvalidRequest),
        }
        Ok(())
    }

    /// A `/` that stands in the line anyway, for targets without a path.
    fn slash_of_scheme(&self) -> Range {
        Range::new(self.scheme_end + 1, self.scheme_end + 2)
    }

    /// At the slash of `HTTP/`, which serves as the path of CONNECT.
    fn begin_version(&mut self, slash: usize, head: &mut RequestHead) {
        if head.method == Method::Connect {
            head.target = Range::new(slash, slash + 1);
        }
        self.state = State::Major(false);
    }

    fn line_ends(&mut self, pos: usize) {
        self.end = pos;
        self.state = State::Return;
    }

    /// At the line feed.
    fn done(&mut self, buf: &[u8], pos: usize, head: &mut RequestHead) -> Result<bool, RequestError> {
        let end = if self.state == State::Return { self.end } else { pos };
        self.pos = pos + 1;
        head.line = Range::new(self.start, end);
        head.version = match (self.major, self.minor) {
            (0, _) => Version::Http09,
            (_, 0) => Version::Http10,
            _ => Version::Http11,
        };
        head.exactly_http11 = (self.major, self.minor) == (1, 1);
        if head.version == Version::Http09 {
            if head.method != Method::Get {
                return Err(RequestError::InvalidMethod09);
            }
        } else {
            head.protocol = Range::new(self.protocol, end);
        }
        split_target(buf, head);
        if head.empty_path {
            head.path = self.slash_of_scheme();
        }
        Ok(true)
    }
}

/// Finds path and query in the target, and whether the path may be used as it is.
pub(crate) fn split_target(buf: &[u8], head: &mut RequestHead) {
    let (start, end) = (head.target.start as usize, head.target.end as usize);
    let target = head.target.of(buf);
    let mut plain = true;
    let mut stop = None;
    for (at, &byte) in target.iter().enumerate() {
        match PATH[byte as usize] {
            Part::Plain => {}
            Part::Slash => plain &= !matches!(target.get(at + 1), Some(b'/' | b'.')),
            Part::Percent => plain = false,
            Part::Stop => {
                stop = Some((at, byte));
                break;
            }
        }
    }
    head.path = Range::new(start, start + stop.map_or(target.len(), |(at, _)| at));
    head.query = None;
    match stop {
        None => {}
        Some((_, b'#')) => plain = false,
        Some((at, _)) => {
            let query = start + at + 1;
            let end = if target.contains(&b'#') {
                target.iter().position(|&byte| byte == b'#').map_or(end, |hash| start + hash)
            } else {
                end
            };
            head.query = Some(Range::new(query, end));
        }
    }
    head.plain_path = plain;
}

/// Whether a byte may stand in a method.
#[inline]
pub(crate) fn in_method(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte == b'_' || byte == b'-'
}

#[derive(Clone, Copy)]
enum Part {
    Plain,
    Slash,
    Percent,
    /// `?` and `#`.
    Stop,
}

static PATH: [Part; 256] = {
    let mut table = [Part::Plain; 256];
    table[b'/' as usize] = Part::Slash;
    table[b'%' as usize] = Part::Percent;
    table[b'?' as usize] = Part::Stop;
    table[b'#' as usize] = Part::Stop;
    table
};
