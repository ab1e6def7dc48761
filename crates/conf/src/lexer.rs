//! Splits bytes into statements (words up to `;`, `{`, `}` or the end) by the rules of nginx.
//!
//! The rules are those of ngx_conf_file.c, odd corners included: a word begins after white space; quotes and `#` count
//! only where a word begins; a backslash takes the next byte along; `${` does not open a block; after a closing quote only
//! white space, `;`, `{` or `)` may follow; a word (or a comment) has at most 4095 bytes.

use crate::diagnostic::Diagnostic;
use crate::source::Span;
use crate::tree::Word;

/// nginx reads files through a buffer of this size, and a word must fit into it with the byte that ends it.
const BUFFER: usize = 4096;

/// What stands between two ends of statements.
pub(crate) enum Statement {
    /// `words ;`
    Simple(Vec<Word>, Span),
    /// `words {`
    Open(Vec<Word>, Span),
    /// `}`
    Close(Span),
    /// Nothing more.
    End(Span),
}

/// Reads the statements of one text.
pub(crate) struct Lexer<'a> {
    bytes: &'a [u8],
    file: u32,
    command_line: bool,
    pos: usize,
    line: u32,
    /// Where the piece began that has to fit the buffer, and on which line.
    start: usize,
    start_line: u32,
    quote: Option<u8>,
}

/// What ended a word.
enum End {
    Blank,
    Semicolon,
    Brace,
}

impl<'a> Lexer<'a> {
    pub(crate) fn of_file(bytes: &'a [u8], file: u32) -> Self {
        Self { bytes, file, command_line: false, pos: 0, line: 1, start: 0, start_line: 1, quote: None }
    }

    /// The text of `-g`: no line numbers, no limit on the length of words.
    pub(crate) fn of_command_line(bytes: &'a [u8], file: u32) -> Self {
        Self { command_line: true, line: 0, start_line: 0, ..Self::of_file(bytes, file) }
    }

    pub(crate) fn is_command_line(&self) -> bool {
        self.command_line
    }

    /// The next statement, its words without quotes and escapes.
    pub(crate) fn statement(&mut self) -> Result<Statement, Diagnostic> {
        let mut words = Vec::new();
        self.start = self.pos;
        self.start_line = self.line;
        loop {
            let Some(byte) = self.next()? else {
                return if words.is_empty() {
                    Ok(Statement::End(self.here(0)))
                } else {
                    Err(self.cut_short())
                };
            };
            self.start = self.pos - 1;
            self.start_line = self.line;
            let end = match byte {
                b' ' | b'\t' | b'\r' | b'\n' => continue,
                b'#' => {
                    self.comment()?;
                    continue;
                }
                b';' | b'{' if words.is_empty() => return Err(self.unexpected(byte)),
                b'}' if words.is_empty() => return Ok(Statement::Close(self.here(1))),
                b'}' => {
                    let last =
                        words.last().map(|word: &Word| String::from_utf8_lossy(&word.text).into_owned());
                    return Err(self
                        .unexpected(byte)
                        .instead(format!("is the \";\" after \"{}\" missing?", last.unwrap_or_default())));
                }
                b';' => End::Semicolon,
                b'{' => End::Brace,
                b'"' | b'\'' => self.quoted_word(byte, &mut words)?,
                _ => self.plain_word(byte, &mut words)?,
            };
            match end {
                End::Blank => {}
                End::Semicolon => return Ok(Statement::Simple(self.on_this_line(words), self.here(1))),
                End::Brace => return Ok(Statement::Open(self.on_this_line(words), self.here(1))),
            }
        }
    }

    /// Passes over a block in another language (Lua), up to its last `}`: what stands there in quotes or behind `--` is text.
    pub(crate) fn skip_foreign_block(&mut self) {
        let mut depth = 1_usize;
        let mut quote = None;
        while depth > 0
            && let Some(&byte) = self.bytes.get(self.pos)
        {
            self.pos += 1;
            self.line += u32::from(byte == b'\n' && !self.command_line);
            match (quote, byte) {
                (Some(_), b'\\') => self.pos += 1,
                (Some(open), byte) if byte == open => quote = None,
                (Some(_), _) => {}
                (None, b'"' | b'\'') => quote = Some(byte),
                (None, b'-') if self.bytes.get(self.pos) == Some(&b'-') => quote = Some(b'\n'),
                (None, b'{') => depth += 1,
                (None, b'}') => depth -= 1,
                (None, _) => {}
            }
        }
    }

    fn comment(&mut self) -> Result<(), Diagnostic> {
        while let Some(byte) = self.next()? {
            if byte == b'\n' {
                // The end of the line is white space again: what has to fit the buffer begins anew.
                self.start = self.pos - 1;
                break;
            }
        }
        Ok(())
    }

    fn plain_word(&mut self, first: u8, words: &mut Vec<Word>) -> Result<End, Diagnostic> {
        let mut byte = first;
        let mut dollar = false;
        loop {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b';' => break,
                b'{' if !dollar => break,
                b'{' => {}
                b'\\' => {
                    dollar = false;
                    self.next()?.ok_or_else(|| self.cut_short())?;
                }
                _ => dollar = byte == b'$',
            }
            byte = self.next()?.ok_or_else(|| self.cut_short())?;
        }
        words.push(self.word(self.start, false));
        Ok(match byte {
            b';' => End::Semicolon,
            b'{' => End::Brace,
            _ => End::Blank,
        })
    }

    fn quoted_word(&mut self, quote: u8, words: &mut Vec<Word>) -> Result<End, Diagnostic> {
        let opening = self.here(1);
        self.start = self.pos;
        self.quote = Some(quote);
        loop {
            match self.next()? {
                Some(b'\\') if self.next()?.is_some() => {}
                Some(byte) if byte == quote => break,
                Some(byte) if byte != b'\\' => {}
                _ => {
                    self.quote = None;
                    return Err(self
                        .cut_short()
                        .instead(format!("the quote that opens on line {} is not closed", opening.line)));
                }
            }
        }
        self.quote = None;
        words.push(self.word(opening.start as usize, true));
        match self.next()? {
            Some(b' ' | b'\t' | b'\r' | b'\n') => Ok(End::Blank),
            Some(b';') => Ok(End::Semicolon),
            Some(b'{') => Ok(End::Brace),
            // `if ($a = "b")`: the bracket begins a word of its own.
            Some(byte @ b')') => {
                self.start = self.pos - 1;
                self.start_line = self.line;
                self.plain_word(byte, words)
            }
            Some(byte) => Err(self
                .unexpected(byte)
                .instead("a closing quote must be followed by a space, \";\" or \"{\"")),
            None => Err(self.cut_short()),
        }
    }

    /// The word that ends before the byte just read; `from` is where it begins in the text, quote included.
    fn word(&self, from: usize, quoted: bool) -> Word {
        let raw = self.bytes.get(self.start..self.pos - 1).unwrap_or_default();
        let end = if quoted { self.pos } else { self.pos - 1 };
        Word { text: unescape(raw), span: self.span(from, end), quoted }
    }

    /// nginx complains about a directive on the line where it ends.
    fn on_this_line(&self, mut words: Vec<Word>) -> Vec<Word> {
        for word in &mut words {
            word.span.line = self.line;
        }
        words
    }

    fn next(&mut self) -> Result<Option<u8>, Diagnostic> {
        let Some(&byte) = self.bytes.get(self.pos) else { return Ok(None) };
        if self.pos - self.start >= BUFFER && !self.command_line {
            return Err(self.too_long());
        }
        self.pos += 1;
        if byte == b'\n' && !self.command_line {
            self.line += 1;
        }
        Ok(Some(byte))
    }

    fn too_long(&self) -> Diagnostic {
        let span = Span { line: self.start_line, ..self.span(self.start, self.pos) };
        let began = String::from_utf8_lossy(self.bytes.get(self.start..self.start + 10).unwrap_or_default());
        Diagnostic::at(
            span,
            match self.quote {
                Some(quote) => format!(
                    "too long parameter, probably missing terminating \"{}\" character",
                    char::from(quote)
                ),
                None => format!("too long parameter \"{began}...\" started"),
            },
        )
        .instead("a word or a comment may have at most 4095 bytes")
    }

    fn cut_short(&self) -> Diagnostic {
        Diagnostic::at(
            self.here(0),
            if self.command_line {
                "unexpected end of parameter, expecting \";\""
            } else {
                "unexpected end of file, expecting \";\" or \"}\""
            },
        )
    }

    fn unexpected(&self, byte: u8) -> Diagnostic {
        Diagnostic::at(
            self.here(1),
            format!("unexpected \"{}\"", String::from_utf8_lossy(std::slice::from_ref(&byte))),
        )
    }

    /// The last `length` bytes read, on the present line.
    fn here(&self, length: usize) -> Span {
        self.span(self.pos.saturating_sub(length), self.pos)
    }

    fn span(&self, start: usize, end: usize) -> Span {
        // Texts are held below 4 GiB by `source::FILE_LIMIT`.
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Span { file: self.file, start: place(start), end: place(end), line: self.line }
    }
}

/// Takes the backslash from `\"`, `\'` and `\\`, turns `\t`, `\r` and `\n` into their characters, and leaves any other
/// backslash where it is: regular expressions need it.
fn unescape(raw: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(raw.len());
    let mut rest = raw.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            text.push(byte);
            continue;
        }
        match rest.next() {
            Some(escaped @ (b'"' | b'\'' | b'\\')) => text.push(escaped),
            Some(b't') => text.push(b'\t'),
            Some(b'r') => text.push(b'\r'),
            Some(b'n') => text.push(b'\n'),
            Some(other) => text.extend([b'\\', other]),
            None => text.push(b'\\'),
        }
    }
    text
}
