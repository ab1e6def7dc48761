//! `ngx_http_split_clients_module`: a variable that has each of its values for a share of the requests.

use conf::Arg::Text;
use conf::{Diagnostic, Node};

use crate::compile::Compiler;
use crate::directives;
use crate::exchange::Exchange;
use crate::module::Module;
use crate::modules::rewrite::variable_name;
use crate::variables::{Computed, Index, Template};

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_split_clients_module",
    directives: directives! { ();
        /// Makes `$variable`: each line of the block is a share, such as `0.5%`, and the value for it; `*` takes the rest. Equal
        /// texts fall into the same share always.
        "split_clients": Free in [HTTP] (Text("string"), Text("$variable")) = "" => |_, cx, n| {
            let name = variable_name(n, 1)?.to_owned();
            let split = Split::compile(n, cx)?;
            cx.variables.computed(&name, Some(n.word(1)?.span), Box::new(split)).map(drop)
        };
    },
    variables: &[],
    plan: |_, _, _| Ok(()),
};

/// The whole, in hundredths of a percent.
const WHOLE: u32 = 10_000;

struct Split {
    subject: Template,
    /// Up to which hash each value counts; `None` takes the rest.
    parts: Vec<(Option<u32>, Box<[u8]>)>,
}

impl Split {
    fn compile(node: &Node, cx: &mut Compiler) -> Result<Split, Diagnostic> {
        let subject = Template::compile(node.word(0)?, &mut cx.variables)?;
        let mut parts = Vec::new();
        let (mut sum, mut last) = (0_u32, 0_u32);
        for line in node.block.as_deref().unwrap_or_default() {
            let [value] = &*line.args else {
                return Err(Diagnostic::at(line.span, "invalid number of the split_clients parameters"));
            };
            let share = match &*line.name.text {
                b"*" => None,
                text => Some(share(text).ok_or_else(|| {
                    let text = line.name.lossy();
                    Diagnostic::at(line.name.span, format!("invalid percent value \"{text}\""))
                })?),
            };
            // Behind a `*` nothing is left.
            sum =
                share.map_or(if sum < WHOLE { WHOLE } else { WHOLE + 1 }, |share| sum.saturating_add(share));
            if sum > WHOLE {
                return Err(Diagnostic::at(node.span, "percent total is greater than 100%"));
            }
            let limit = share.filter(|_| sum < WHOLE).map(|share| {
                let width = u64::from(share) * u64::from(u32::MAX) / u64::from(WHOLE);
                last = last.saturating_add(u32::try_from(width).unwrap_or(u32::MAX));
                last
            });
            parts.push((limit, value.text.clone().into()));
        }
        Ok(Split { subject, parts })
    }
}

/// A percentage with at most two decimals, in hundredths; 0 is none.
fn share(text: &[u8]) -> Option<u32> {
    let text = str::from_utf8(text.strip_suffix(b"%")?).ok()?;
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if decimals.len() > 2 || !digits(whole) || !digits(decimals) || text.is_empty() {
        return None;
    }
    let hundredths: u32 = format!("{whole}{decimals:0<2}").parse().ok()?;
    (hundredths > 0).then_some(hundredths)
}

impl Computed for Split {
    fn append(&self, ex: &Exchange<'_>, out: &mut Vec<u8>) -> bool {
        let hash = murmur2(&self.subject.eval(ex));
        let part = self.parts.iter().find(|(limit, _)| limit.is_none_or(|limit| hash < limit));
        if let Some((_, value)) = part {
            out.extend_from_slice(value);
        }
        true
    }

    fn inputs(&self) -> Option<Vec<Index>> {
        Some(self.subject.variables().collect())
    }
}

/// MurmurHash2 by Austin Appleby, which is in the public domain, with seed 0: clients stay in the share that nginx put
/// them in.
fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = bytes.len() as u32;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_hundredths_of_a_percent() {
        for (text, expected) in [
            ("51.2%", Some(5120)),
            ("0.01%", Some(1)),
            ("100%", Some(10_000)),
            (".5%", Some(50)),
            ("0%", None),
            ("1", None),
            ("%", None),
            ("1.234%", None),
            ("-1%", None),
            ("1.x%", None),
        ] {
            assert_eq!(share(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn hashes_are_those_of_murmurhash2() {
        // From the author's program with seed 0.
        assert_eq!(murmur2(b""), 0);
        assert_eq!(murmur2(b"a"), 0x92685f5e);
        assert_eq!(murmur2(b"abc"), 0x13577c9b);
    }
}
