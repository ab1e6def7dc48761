//! Ranges of IPv4 addresses and their values (`ranges`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use conf::{Diagnostic, Word};

use super::{Segments, ValueIndex, Values};
use crate::cidr;
use crate::compile::Compiler;

/// The lines of a block with `ranges`. As in nginx each range is cut where the upper half of the address changes, and
/// only what is in the same piece can overlap, replace and be deleted.
#[derive(Default)]
pub(super) struct Ranges {
    /// Last address and value by first address.
    pieces: BTreeMap<u32, (u32, ValueIndex)>,
    default: Option<ValueIndex>,
}

impl Ranges {
    /// Takes a line: a range and its value, `default` and its value, `delete` and a range.
    pub(super) fn line(
        &mut self,
        name: &Word,
        value: &Word,
        values: &mut Values,
        cx: &mut Compiler,
    ) -> Result<(), Diagnostic> {
        if name.text == b"default" {
            let place = values.place_of(&value.text);
            if let Some(old) = self.default.replace(place) {
                let (value, old) = (value.lossy(), values.text(old));
                let text = format!("duplicate default geo range value: \"{value}\", old value: \"{old}\"");
                cx.warn(Diagnostic::at(name.span, text));
            }
            return Ok(());
        }
        let delete = name.text == b"delete";
        let word = if delete { value } else { name };
        let (first, last) = range(&word.text)
            .ok_or_else(|| Diagnostic::at(word.span, format!("invalid range \"{}\"", word.lossy())))?;
        if delete {
            let missing = pieces(first, last).fold(false, |missing, (first, last)| {
                let there = self.pieces.get(&first).is_some_and(|(end, _)| *end == last);
                if there {
                    self.pieces.remove(&first);
                }
                missing || !there
            });
            if missing {
                cx.warn(Diagnostic::at(
                    word.span,
                    format!("no address range \"{}\" to delete", word.lossy()),
                ));
            }
            return Ok(());
        }
        let place = values.place_of(&value.text);
        for (first, last) in pieces(first, last) {
            match self.add(first, last, place) {
                Added::Fresh => {}
                Added::Replaced(old) => {
                    let (net, value, old) = (name.lossy(), value.lossy(), values.text(old));
                    let text = format!("duplicate range \"{net}\", value: \"{value}\", old value: \"{old}\"");
                    cx.warn(Diagnostic::at(name.span, text));
                }
                Added::Overlaps(start, end) => {
                    let ip = |bits: u32| std::net::Ipv4Addr::from(bits);
                    let (net, start, end) = (name.lossy(), ip(start), ip(end));
                    let text = format!("range \"{net}\" overlaps \"{start}-{end}\"");
                    return Err(Diagnostic::at(name.span, text));
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, first: u32, last: u32, value: ValueIndex) -> Added {
        let Some((&start, &(end, old))) =
            self.pieces.range(..=last).next_back().filter(|(_, (end, _))| *end >= first)
        else {
            self.pieces.insert(first, (last, value));
            return Added::Fresh;
        };
        if first < start || last > end {
            return Added::Overlaps(start, end);
        }
        // The old range keeps what is left of it on both sides.
        self.pieces.remove(&start);
        if start < first {
            self.pieces.insert(start, (first - 1, old));
        }
        if last < end {
            self.pieces.insert(last + 1, (end, old));
        }
        self.pieces.insert(first, (last, value));
        if (first, last) == (start, end) { Added::Replaced(old) } else { Added::Fresh }
    }

    /// The pieces of the whole line, the default between them.
    pub(super) fn finish(self) -> Segments<u32> {
        let mut segments = Segments { starts: Vec::new(), values: Vec::new() };
        segments.push(0, self.default);
        for (first, (last, value)) in self.pieces {
            segments.push(first, Some(value));
            if let Some(next) = last.checked_add(1) {
                segments.push(next, self.default);
            }
        }
        segments
    }
}

enum Added {
    Fresh,
    Replaced(ValueIndex),
    Overlaps(u32, u32),
}

/// First and last address.
fn range(text: &[u8]) -> Option<(u32, u32)> {
    let dash = text.iter().position(|b| *b == b'-')?;
    let ipv4 = |text: &[u8]| match cidr::ip(text) {
        Some(IpAddr::V4(v4)) => Some(v4.to_bits()),
        _ => None,
    };
    let (first, last) = (ipv4(text.get(..dash)?)?, ipv4(text.get(dash + 1..)?)?);
    (first <= last).then_some((first, last))
}

/// The range cut where the upper sixteen bits change.
fn pieces(first: u32, last: u32) -> impl Iterator<Item = (u32, u32)> {
    (first >> 16..=last >> 16).map(move |upper| (first.max(upper << 16), last.min(upper << 16 | 0xffff)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_inside_another_splits_it_and_others_may_not_overlap() {
        let mut ranges = Ranges::default();
        assert!(matches!(ranges.add(10, 20, 0), Added::Fresh));
        assert!(matches!(ranges.add(12, 13, 1), Added::Fresh));
        assert!(matches!(ranges.add(20, 20, 2), Added::Fresh));
        assert!(matches!(ranges.add(12, 13, 3), Added::Replaced(1)));
        assert!(matches!(ranges.add(11, 12, 4), Added::Overlaps(12, 13)));
        assert!(matches!(ranges.add(5, 30, 4), Added::Overlaps(20, 20)));
        ranges.default = Some(9);
        let line = ranges.finish();
        let found: Vec<_> = (9..22).map(|at| line.get(at).unwrap()).collect();
        assert_eq!(found, [9, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 2, 9]);
    }

    #[test]
    fn ranges_are_cut_at_the_upper_half() {
        let cut: Vec<_> = pieces(0x0001_fff0, 0x0003_0001).collect();
        assert_eq!(cut, [(0x0001_fff0, 0x0001_ffff), (0x0002_0000, 0x0002_ffff), (0x0003_0000, 0x0003_0001)]);
        assert_eq!(range(b"1.2.3.4-1.2.3.3"), None);
        assert_eq!(range(b"255.255.255.255-255.255.255.255"), Some((u32::MAX, u32::MAX)));
    }
}
