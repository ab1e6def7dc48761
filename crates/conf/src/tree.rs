//! A configuration as a tree of directives, with its includes in place.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::lexer::{Lexer, Statement};
use crate::source::{Files, SourceFile, Sources, Span};

/// Deepest nesting of blocks, through includes. nginx has no limit and ends by overflowing its stack.
const BLOCK_DEPTH: usize = 128;
/// Deepest nesting of includes. nginx goes on until it may open no more files.
const INCLUDE_DEPTH: usize = 64;
/// Most files read in all, repeated includes counted each time: files that include each other twice double at each step.
const INCLUDES: usize = 1 << 16;
/// Most bytes and most words read in all, repeated includes counted each time.
const TOTAL_BYTES: usize = 512 << 20;
const TOTAL_WORDS: usize = 8 << 20;

/// A name or an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// What it says, without quotes and escapes; need not be UTF-8.
    pub text: Vec<u8>,
    /// Where it stands, quotes included; its line is the one where the directive's `;` or `{` stands.
    pub span: Span,
    /// It was written in quotes.
    pub quoted: bool,
}

impl Word {
    /// The text for messages: bytes that are not UTF-8 become U+FFFD.
    pub fn lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.text)
    }
}

/// A directive: `name args;` or `name args { block }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The directive's name; in a block of data (`map`, `types`) the entry's first word.
    pub name: Word,
    /// What follows it.
    pub args: Vec<Word>,
    /// The directives between `{` and `}`.
    pub block: Option<Vec<Node>>,
    /// From the name to `;` or `{`, both included; its line is where nginx complains about the directive.
    pub span: Span,
    /// The `;` or the closing `}`; its line is where nginx complains about a block as a whole.
    pub end: Span,
}

/// All directives of a configuration.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// The directives outside any block.
    pub nodes: Vec<Node>,
    /// The texts they were read from.
    pub sources: Sources,
}

/// Reads a configuration. Relative includes count from the folder of `path` (nginx's conf prefix), whichever file they
/// stand in.
///
/// # Errors
/// The first complaint, with what was read so far to show its place in.
pub fn load(path: &Path, files: &mut dyn Files) -> Result<Tree, (Diagnostic, Sources)> {
    load_with_globals(b"", path, files)
}

/// Reads a configuration after the directives of `-g`, which come first in the tree.
///
/// # Errors
/// As [`load`].
pub fn load_with_globals(
    globals: &[u8],
    path: &Path,
    files: &mut dyn Files,
) -> Result<Tree, (Diagnostic, Sources)> {
    let mut loader = Loader::new(files, path.parent().unwrap_or(Path::new("")));
    let nodes = loader.globals(globals).and_then(|mut nodes| {
        nodes.extend(loader.open(path, None)?);
        Ok(nodes)
    });
    loader.finish(nodes)
}

/// Reads a configuration as far as it can be read: what is missing or wrong is said, and reading goes on behind it. A
/// pattern of `include` that matches nothing is said, too.
pub fn load_leniently(path: &Path, files: &mut dyn Files) -> (Tree, Vec<Diagnostic>) {
    let mut loader = Loader::new(files, path.parent().unwrap_or(Path::new("")));
    loader.faults = Some(Vec::new());
    let nodes = loader.open(path, None);
    let mut faults = loader.faults.take().unwrap_or_default();
    let nodes = nodes.map_err(|fault| faults.push(fault)).unwrap_or_default();
    (Tree { nodes, sources: loader.sources }, faults)
}

/// Reads a text as if it were the file `name`; there is nothing to include.
///
/// # Errors
/// As [`load`].
pub fn parse_text(name: &str, text: &[u8]) -> Result<Tree, (Diagnostic, Sources)> {
    load(Path::new(name), &mut BTreeMap::from([(PathBuf::from(name), text.to_vec())]))
}

struct Loader<'f> {
    files: &'f mut dyn Files,
    sources: Sources,
    known: HashMap<PathBuf, u32>,
    prefix: PathBuf,
    /// The files being read, outermost first.
    reading: Vec<u32>,
    /// The blocks being read: name and place.
    blocks: Vec<(String, Span)>,
    includes: usize,
    bytes: usize,
    words: usize,
    /// What was wrong so far, where reading goes on all the same.
    faults: Option<Vec<Diagnostic>>,
    /// Whether the file being read makes no sense from here on.
    is_broken: bool,
}

impl<'f> Loader<'f> {
    fn new(files: &'f mut dyn Files, prefix: &Path) -> Self {
        Self {
            files,
            sources: Sources::default(),
            known: HashMap::new(),
            prefix: prefix.to_owned(),
            reading: Vec::new(),
            blocks: Vec::new(),
            includes: 0,
            bytes: 0,
            words: 0,
            faults: None,
            is_broken: false,
        }
    }

    fn finish(self, nodes: Result<Vec<Node>, Diagnostic>) -> Result<Tree, (Diagnostic, Sources)> {
        match nodes {
            Ok(nodes) => Ok(Tree { nodes, sources: self.sources }),
            Err(diagnostic) => Err((diagnostic, self.sources)),
        }
    }

    fn globals(&mut self, text: &[u8]) -> Result<Vec<Node>, Diagnostic> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let bytes: Arc<[u8]> = text.into();
        let index = self.remember(SourceFile { path: None, bytes: Arc::clone(&bytes) });
        self.directives(&mut Lexer::of_command_line(&bytes, index), false).map(|(nodes, _)| nodes)
    }

    /// Reads one file; `from` is the `include` that asks for it.
    fn open(&mut self, path: &Path, from: Option<Span>) -> Result<Vec<Node>, Diagnostic> {
        let index = match self.known.get(path) {
            Some(&index) => index,
            None => {
                let bytes = self.files.read(path).map_err(|error| not_opened(path, &error, from))?;
                let index = self.remember(SourceFile { path: Some(path.to_owned()), bytes: bytes.into() });
                self.known.insert(path.to_owned(), index);
                index
            }
        };
        let bytes =
            self.sources.files.get(index as usize).map(|file| Arc::clone(&file.bytes)).unwrap_or_default();
        self.includes += 1;
        self.bytes = self.bytes.saturating_add(bytes.len());
        let refusal = if self.reading.contains(&index) {
            Some(format!("file \"{}\" includes itself", path.display()))
        } else if self.reading.len() >= INCLUDE_DEPTH {
            Some(format!("includes are nested more than {INCLUDE_DEPTH} deep"))
        } else if self.includes > INCLUDES {
            Some(format!("the configuration has more than {INCLUDES} includes"))
        } else if self.bytes > TOTAL_BYTES {
            Some(format!("the configuration has more than {TOTAL_BYTES} bytes"))
        } else {
            None
        };
        if let Some(message) = refusal {
            return Err(Diagnostic { span: from, ..Diagnostic::nowhere(message) });
        }
        self.reading.push(index);
        let (is_broken, depth) = (std::mem::take(&mut self.is_broken), self.blocks.len());
        let nodes = self.directives(&mut Lexer::of_file(&bytes, index), false);
        self.is_broken = is_broken;
        self.blocks.truncate(depth);
        self.reading.pop();
        nodes.map(|(nodes, _)| nodes)
    }

    /// The directives up to the end of a block or of a text, and the place of that end.
    fn directives(&mut self, lexer: &mut Lexer<'_>, in_block: bool) -> Result<(Vec<Node>, Span), Diagnostic> {
        let mut nodes = Vec::new();
        loop {
            let statement = match lexer.statement() {
                Err(fault) => {
                    let span = fault.span;
                    self.forgive(fault)?;
                    let rest =
                        Diagnostic::nowhere("what follows in this file is not looked at until that is right");
                    self.forgive(Diagnostic { span, ..rest.note() })?;
                    self.is_broken = true;
                    return Ok((nodes, Span::default()));
                }
                Ok(statement) => statement,
            };
            match statement {
                Statement::Simple(words, end) => {
                    let Some(node) = self.node(words, end)? else { continue };
                    if is_include(&node) {
                        match self.include(&node) {
                            Ok(included) => nodes.extend(included),
                            Err(fault) => self.forgive(fault)?,
                        }
                    } else {
                        nodes.push(node);
                    }
                }
                Statement::Open(words, brace) => {
                    if lexer.is_command_line() {
                        let message = "block directives are not supported in -g option";
                        return Err(Diagnostic::at(brace, message));
                    }
                    let Some(mut node) = self.node(words, brace)? else { continue };
                    if self.blocks.len() >= BLOCK_DEPTH {
                        let message = format!("blocks are nested more than {BLOCK_DEPTH} deep");
                        return Err(Diagnostic::at(node.span, message));
                    }
                    if self.faults.is_some() && node.name.text.ends_with(b"_by_lua_block") {
                        lexer.skip_foreign_block();
                        node.block = Some(Vec::new());
                        nodes.push(node);
                        continue;
                    }
                    self.blocks.push((node.name.lossy().into_owned(), node.name.span));
                    let (block, end) = self.directives(lexer, true)?;
                    self.blocks.pop();
                    node.block = Some(block);
                    node.end = end;
                    nodes.push(node);
                    if self.is_broken {
                        return Ok((nodes, end));
                    }
                }
                Statement::Close(brace) if in_block => return Ok((nodes, brace)),
                Statement::Close(brace) => {
                    let fault = Diagnostic::at(brace, "unexpected \"}\"")
                        .instead("no block is open here: remove it, or look for a \"}\" too many above");
                    self.forgive(fault)?;
                }
                Statement::End(end) if in_block => {
                    let fault = self.not_closed(end);
                    self.forgive(fault)?;
                    self.is_broken = true;
                    return Ok((nodes, end));
                }
                Statement::End(end) => return Ok((nodes, end)),
            }
        }
    }

    /// Notes what is wrong where reading goes on, and otherwise ends it.
    fn forgive(&mut self, fault: Diagnostic) -> Result<(), Diagnostic> {
        match &mut self.faults {
            Some(faults) => faults.push(fault),
            None => return Err(fault),
        }
        Ok(())
    }

    fn not_closed(&self, end: Span) -> Diagnostic {
        let diagnostic = Diagnostic::at(end, "unexpected end of file, expecting \"}\"");
        match self.blocks.last() {
            Some((name, span)) => {
                let line = span.position(&self.sources).0;
                diagnostic.instead(format!("the block \"{name}\" that begins on line {line} is not closed"))
            }
            None => diagnostic,
        }
    }

    fn node(&mut self, words: Vec<Word>, end: Span) -> Result<Option<Node>, Diagnostic> {
        self.words = self.words.saturating_add(words.len());
        if self.words > TOTAL_WORDS {
            return Err(Diagnostic::at(end, format!("the configuration has more than {TOTAL_WORDS} words")));
        }
        let mut words = words.into_iter();
        // The lexer gives no statement without a word.
        let Some(name) = words.next() else { return Ok(None) };
        let span = Span { start: name.span.start, ..end };
        Ok(Some(Node { name, args: words.collect(), block: None, span, end }))
    }

    fn include(&mut self, node: &Node) -> Result<Vec<Node>, Diagnostic> {
        let Some(word) = node.args.first() else { return Ok(Vec::new()) };
        let from = Some(word.span);
        let path = self.prefix.join(std::ffi::OsStr::from_bytes(&word.text));
        if !word.text.iter().any(|byte| b"*?[".contains(byte)) {
            return self.open(&path, from);
        }
        let found = self.files.glob(&path).map_err(|error| {
            Diagnostic::at(word.span, format!("glob() \"{}\" failed{}", path.display(), reason(&error)))
        })?;
        if let (Some(faults), true) = (&mut self.faults, found.is_empty()) {
            let message = format!("no file matches \"{}\"", path.display());
            let remedy = "if there are such files where the configuration is from, look at it there, or bring them along";
            faults.push(Diagnostic::at(word.span, message).warning().instead(remedy));
        }
        let mut nodes = Vec::new();
        for path in found {
            match self.open(&path, from) {
                Ok(included) => nodes.extend(included),
                Err(fault) => self.forgive(fault)?,
            }
        }
        Ok(nodes)
    }

    fn remember(&mut self, file: SourceFile) -> u32 {
        self.sources.files.push(file);
        u32::try_from(self.sources.files.len() - 1).unwrap_or(u32::MAX)
    }
}

/// With any other number of arguments it stays in the tree, for the table of directives to refuse.
fn is_include(node: &Node) -> bool {
    node.name.text == b"include" && node.args.len() == 1
}

fn not_opened(path: &Path, error: &io::Error, from: Option<Span>) -> Diagnostic {
    // A folder can be opened; it is reading it that fails.
    let call = if error.kind() == io::ErrorKind::IsADirectory { "pread()" } else { "open()" };
    let message = format!("{call} \"{}\" failed{}", path.display(), reason(error));
    match from {
        Some(include) => Diagnostic::at(include, message).instead(
            "correct the path, which counts from the folder of the main file, or put the file there",
        ),
        None => Diagnostic::nowhere(message),
    }
}

/// ` (2: No such file or directory)`, as nginx appends it.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(code) => {
            format!(" ({code}: {})", text.strip_suffix(&format!(" (os error {code})")).unwrap_or(&text))
        }
        None => format!(" ({text})"),
    }
}
