//! Log files whose names have variables, kept open for a while (`open_log_file_cache`).

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conf::{Diagnostic, Node};

use crate::log::LogFile;

/// How files are kept open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Keeping {
    /// How many.
    max: usize,
    /// A file that was not used for so long is closed, in milliseconds.
    inactive: u64,
    /// How often a file must be used within that time to be kept open.
    min_uses: u64,
    /// How long it is before the name is looked up again, in milliseconds.
    valid: u64,
}

impl Keeping {
    /// Reads the directive's arguments; none for `off`.
    pub(super) fn read(node: &Node) -> Result<Option<Keeping>, Diagnostic> {
        let mut keeping = Keeping { max: 0, inactive: 10_000, min_uses: 1, valid: 60_000 };
        for word in &node.args {
            let text = word.lossy();
            let bad = |what: &str| {
                Diagnostic::at(word.span, format!("invalid \"open_log_file_cache\" {what}\"{text}\""))
            };
            let (name, value) = text.split_once('=').unwrap_or((&text, ""));
            let count = || {
                conf::value::number(value.as_bytes()).and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0)
            };
            let time = || conf::value::sec(value.as_bytes()).map(|seconds| seconds.saturating_mul(1000));
            match name {
                "off" if text == "off" => return Ok(None),
                "max" => {
                    let max = count().and_then(|n| usize::try_from(n).ok());
                    keeping.max = max.ok_or_else(|| bad("parameter "))?;
                }
                "inactive" => keeping.inactive = time().ok_or_else(|| bad("parameter "))?,
                "min_uses" => keeping.min_uses = count().ok_or_else(|| bad("parameter "))?,
                "valid" => keeping.valid = time().ok_or_else(|| bad("parameter "))?,
                _ => return Err(bad("parameter ")),
            }
        }
        if keeping.max == 0 {
            let sentence = "\"open_log_file_cache\" must have \"max\" parameter";
            return Err(Diagnostic::at(node.span, sentence.to_owned()));
        }
        Ok(Some(keeping))
    }
}

/// A worker's files by path.
#[derive(Default)]
pub struct Opened {
    files: RefCell<HashMap<PathBuf, Used>>,
}

struct Used {
    /// Open once it was used often enough.
    file: Option<Arc<LogFile>>,
    uses: u64,
    last: u64,
    opened: u64,
}

impl Opened {
    /// The file at a path: one that is open already, or opened now.
    pub(super) fn at(&self, path: &Path, keeping: Option<Keeping>) -> io::Result<Arc<LogFile>> {
        let Some(keeping) = keeping else { return LogFile::at(path).map(Arc::new) };
        let now = net::clock::now();
        let mut files = self.files.borrow_mut();
        files.retain(|_, used| now.saturating_sub(used.last) <= keeping.inactive);
        if let Some(used) = files.get_mut(path) {
            used.uses += 1;
            used.last = now;
            if let Some(file) = &used.file
                && now.saturating_sub(used.opened) <= keeping.valid
            {
                return Ok(file.clone());
            }
        }
        let file = Arc::new(LogFile::at(path)?);
        if !files.contains_key(path) && files.len() >= keeping.max {
            let oldest = files.iter().min_by_key(|(_, used)| used.last).map(|(path, _)| path.clone());
            oldest.map(|path| files.remove(&path));
        }
        let used =
            files.entry(path.to_owned()).or_insert(Used { file: None, uses: 1, last: now, opened: now });
        used.file = (used.uses >= keeping.min_uses).then(|| file.clone());
        used.opened = now;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_used_often_stay_open_and_the_oldest_goes_for_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let opened = Opened::default();
        let keeping = Some(Keeping { max: 2, inactive: 20_000, min_uses: 2, valid: 60_000 });
        let at = |name: &str| opened.at(&folder.path().join(name), keeping).unwrap();
        let (first, second, third) = (at("a"), at("a"), at("a"));
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&second, &third));
        std::thread::sleep(std::time::Duration::from_millis(2 * net::clock::tick()));
        at("b");
        at("c");
        assert!(!Arc::ptr_eq(&third, &at("a")));
    }
}
