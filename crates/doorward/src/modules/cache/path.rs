//! `proxy_cache_path`: where a cache is, and how large it may be.

use conf::{Diagnostic, Node, Word, value};

use super::keeper::CachePath;
use super::zone::Zone;
use crate::compile::Compiler;

/// The smallest memory: two pages, as nginx has it.
const SMALLEST: u64 = 8192;

/// Makes the cache that the directive describes, or finds it again after a reload.
pub fn declare(n: &Node, cx: &mut Compiler) -> Result<(), Diagnostic> {
    let mut folder = n.bytes(0);
    if let Some(shorter) = folder.strip_suffix(b"/") {
        folder = shorter;
    }
    let folder = cx.paths.in_prefix(folder);
    let mut levels = Vec::new();
    let mut zone = None;
    let (mut max_size, mut min_free, mut inactive) = (u64::MAX, 0, 600);
    let (mut manager_files, mut manager_sleep, mut manager_threshold) = (100, 50, 200);
    let (mut loader_files, mut loader_sleep) = (100, 50);
    for word in n.args.iter().skip(1) {
        let Some(at) = word.text.iter().position(|b| *b == b'=') else { return Err(unknown(word)) };
        let (name, text) = (&word.text[..at], &word.text[at + 1..]);
        match name {
            b"levels" => levels = self::levels(text).ok_or_else(|| bad_levels(word))?,
            b"use_temp_path" => {
                // Files are always written beside where they will stay: a rename stays on one file system.
                if !matches!(text, b"on" | b"off") {
                    let sentence = format!(
                        "invalid use_temp_path value \"{}\", it must be \"on\" or \"off\"",
                        word.lossy()
                    );
                    return Err(Diagnostic::at(word.span, sentence));
                }
            }
            b"keys_zone" => zone = Some(keys_zone(word, text)?),
            b"inactive" => inactive = number(word, "inactive", value::sec(text))?,
            b"max_size" => max_size = number(word, "max_size", value::offset(text))?,
            b"min_free" => min_free = number(word, "min_free", value::offset(text))?,
            b"loader_files" => loader_files = number(word, "loader_files", count(text))?,
            b"loader_sleep" => loader_sleep = number(word, "loader_sleep", value::msec(text))?,
            b"loader_threshold" => {
                // Reading is paced by the number of files.
                number(word, "loader_threshold", value::msec(text))?;
            }
            b"manager_files" => manager_files = number(word, "manager_files", count(text))?,
            b"manager_sleep" => manager_sleep = number(word, "manager_sleep", value::msec(text))?,
            b"manager_threshold" => manager_threshold = number(word, "manager_threshold", value::msec(text))?,
            // Only the commercial nginx knows it; configurations that have it mean no harm.
            b"purger" | b"purger_files" | b"purger_sleep" | b"purger_threshold" => {}
            _ => return Err(unknown(word)),
        }
    }
    let Some((name, size)) = zone else {
        let sentence = "\"proxy_cache_path\" must have \"keys_zone\" parameter";
        return Err(Diagnostic::at(n.span, sentence));
    };
    if cx.caches.iter().any(|cache| cache.zone.name == name) {
        return Err(Diagnostic::at(n.span, format!("duplicate zone \"{name}\"")));
    }
    let zone = cx.zones.get_or_make(&format!("cache {name} {size}"), || {
        Zone::new(name.clone(), folder.clone(), levels.clone(), size)
    });
    if zone.folder != folder {
        let sentence = format!(
            "cache \"{name}\" uses the \"{}\" cache path while previously it used the \"{}\" cache path",
            folder.display(),
            zone.folder.display()
        );
        return Err(Diagnostic::at(n.span, sentence));
    }
    if zone.levels != levels {
        let sentence = format!("cache \"{name}\" had previously different levels");
        return Err(Diagnostic::at(n.span, sentence));
    }
    cx.folders.push(folder);
    cx.caches.push(CachePath {
        zone,
        max_size,
        min_free,
        inactive: inactive.saturating_mul(1000),
        manager_files,
        manager_threshold,
        manager_sleep,
        loader_files,
        loader_sleep,
    });
    Ok(())
}

/// `1:2`: up to three levels of one or two digits.
fn levels(text: &[u8]) -> Option<Vec<usize>> {
    let levels: Option<Vec<usize>> = text
        .split(|b| *b == b':')
        .map(|level| match level {
            b"1" => Some(1),
            b"2" => Some(2),
            _ => None,
        })
        .collect();
    levels.filter(|levels| levels.len() <= 3)
}

fn keys_zone(word: &Word, text: &[u8]) -> Result<(String, usize), Diagnostic> {
    let bad = || Diagnostic::at(word.span, format!("invalid keys zone size \"{}\"", word.lossy()));
    let at = text.iter().position(|b| *b == b':').ok_or_else(bad)?;
    let name = String::from_utf8_lossy(&text[..at]).into_owned();
    let size = value::size(&text[at + 1..]).ok_or_else(bad)?;
    if name.is_empty() {
        return Err(bad());
    }
    if size < SMALLEST {
        return Err(Diagnostic::at(word.span, format!("keys zone \"{name}\" is too small")));
    }
    Ok((name, usize::try_from(size).map_err(|_| bad())?))
}

fn number(word: &Word, name: &str, value: Option<u64>) -> Result<u64, Diagnostic> {
    value.ok_or_else(|| Diagnostic::at(word.span, format!("invalid {name} value \"{}\"", word.lossy())))
}

fn count(text: &[u8]) -> Option<u64> {
    value::number(text).and_then(|number| u64::try_from(number).ok())
}

fn unknown(word: &Word) -> Diagnostic {
    Diagnostic::at(word.span, format!("invalid parameter \"{}\"", word.lossy()))
}

fn bad_levels(word: &Word) -> Diagnostic {
    Diagnostic::at(word.span, format!("invalid \"levels\" \"{}\"", word.lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_one_or_two_digits_each() {
        assert_eq!(levels(b"1:2"), Some(vec![1, 2]));
        assert_eq!(levels(b"2:2:2"), Some(vec![2, 2, 2]));
        for bad in [&b""[..], b"0", b"3", b"1:", b"1:2:1:1", b"11"] {
            assert_eq!(levels(bad), None);
        }
    }
}
