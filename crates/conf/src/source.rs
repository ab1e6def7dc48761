//! Where the bytes of a configuration come from, and how a place in them is named.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most bytes read from one file. nginx has no such limit; without one, `include /dev/zero;` would eat all memory.
pub(crate) const FILE_LIMIT: u64 = 256 << 20;

/// The files a configuration may include: the file system ([`Disk`]) or, in tests, a map from path to bytes.
pub trait Files {
    /// All bytes of the file.
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>>;
    /// The existing paths that match a glob(3) pattern, sorted; none is not an error.
    fn glob(&mut self, pattern: &Path) -> io::Result<Vec<PathBuf>>;
}

/// The file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(FILE_LIMIT + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_LIMIT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    fn glob(&mut self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let found = glob::glob_with(&glob3(pattern)?, GLOB3).map_err(not_a_pattern)?;
        // A folder that may not be read is passed over, as glob(3) without GLOB_ERR does.
        let mut paths: Vec<PathBuf> = found.filter_map(Result::ok).collect();
        paths.sort();
        Ok(paths)
    }
}

impl Files for BTreeMap<PathBuf, Vec<u8>> {
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        // ENOENT, so that the message is the one the file system gives.
        self.get(path).cloned().ok_or_else(|| io::Error::from_raw_os_error(2))
    }

    fn glob(&mut self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let pattern = glob::Pattern::new(&glob3(pattern)?).map_err(not_a_pattern)?;
        Ok(self.keys().filter(|path| pattern.matches_path_with(path, GLOB3)).cloned().collect())
    }
}

const GLOB3: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// glob(3) knows no `**` across folders: there, two stars are one star.
fn glob3(pattern: &Path) -> io::Result<String> {
    let mut text = pattern.to_str().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    while text.contains("**") {
        text = text.replace("**", "*");
    }
    Ok(text)
}

fn not_a_pattern(error: glob::PatternError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

/// One text of a configuration.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// The name it was opened by; `None` is the command line (`-g`).
    pub path: Option<PathBuf>,
    /// What it holds; need not be UTF-8.
    pub bytes: Arc<[u8]>,
}

/// Every text that was read, each once, in the order of first reading (the order of `-T`).
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The texts; [`Span::file`] counts in here.
    pub files: Vec<SourceFile>,
}

impl Sources {
    /// The bytes under a span; empty if the span is of other sources.
    pub fn text(&self, span: Span) -> &[u8] {
        self.bytes(span).get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// The path and the line that nginx would name, `/etc/nginx/nginx.conf:12`, or `command line`.
    pub fn place(&self, span: Span) -> String {
        match self.files.get(span.file as usize).map(|file| &file.path) {
            Some(Some(path)) => format!("{}:{}", path.display(), span.line),
            Some(None) | None => "command line".to_owned(),
        }
    }

    pub(crate) fn bytes(&self, span: Span) -> &[u8] {
        self.files.get(span.file as usize).map_or(&[], |file| &file.bytes)
    }
}

/// A piece of one source text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// Index into [`Sources::files`].
    pub file: u32,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
    /// The line nginx names in a complaint about this piece, counted from 1: where the directive ends with `;` or `{`,
    /// which need not be the line where the piece stands. 0 on the command line.
    pub line: u32,
}

impl Span {
    /// Line and column where the piece itself begins, both counted from 1, columns in bytes.
    pub fn position(self, sources: &Sources) -> (usize, usize) {
        let bytes = sources.bytes(self);
        let before = bytes.get(..self.start as usize).unwrap_or(bytes);
        let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        (1 + before.iter().filter(|&&byte| byte == b'\n').count(), 1 + before.len() - line_start)
    }
}
