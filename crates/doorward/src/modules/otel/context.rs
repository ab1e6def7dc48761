//! W3C Trace Context: the fields `traceparent` and `tracestate` (https://www.w3.org/TR/trace-context/).

/// A trace's identifier; not all zeros.
pub type TraceId = [u8; 16];

/// A span's identifier; not all zeros.
pub type SpanId = [u8; 8];

/// What a client says of the trace that its request belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Context {
    pub trace: TraceId,
    pub span: SpanId,
    pub sampled: bool,
    /// `tracestate`, as it was sent.
    pub state: Vec<u8>,
}

impl Context {
    /// Finds both fields among a request's; `None` where there is no `traceparent` that can be believed.
    pub(super) fn of_fields<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Option<Context> {
        let (mut parent, mut state) = (None, Vec::new());
        for (name, value) in fields {
            if name.eq_ignore_ascii_case(PARENT) {
                // Of several, none can be chosen.
                if parent.replace(value).is_some() {
                    return None;
                }
            } else if name.eq_ignore_ascii_case(STATE) && !value.is_empty() {
                if !state.is_empty() {
                    state.push(b',');
                }
                state.extend_from_slice(value);
            }
        }
        let (trace, span, sampled) = read(parent?)?;
        Some(Context { trace, span, sampled, state })
    }
}

/// The name of the field that carries the identifiers.
pub(super) const PARENT: &[u8] = b"traceparent";

/// The name of the field that carries what others add.
pub(super) const STATE: &[u8] = b"tracestate";

/// Reads `00-TRACE-SPAN-FLAGS`; a later version may have more behind it (section 3.2.4).
fn read(value: &[u8]) -> Option<(TraceId, SpanId, bool)> {
    let (known, rest) = value.split_at_checked(55)?;
    let dashes = [2, 35, 52].iter().all(|at| known.get(*at) == Some(&b'-'));
    let [version] = unhex::<1>(known.get(..2)?)?;
    let trace = unhex::<16>(known.get(3..35)?)?;
    let span = unhex::<8>(known.get(36..52)?)?;
    let [flags] = unhex::<1>(known.get(53..)?)?;
    let ends = rest.is_empty() || (version > 0 && rest.starts_with(b"-"));
    (dashes && ends && version != 0xff && trace != [0; 16] && span != [0; 8]).then_some((
        trace,
        span,
        flags & SAMPLED != 0,
    ))
}

const SAMPLED: u8 = 1;

/// Appends `00-TRACE-SPAN-FLAGS`; the span stands [`SPAN_AT`] bytes behind the start.
pub(super) fn append_parent(trace: TraceId, span: SpanId, sampled: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"00-");
    append_hex(&trace, out);
    out.push(b'-');
    append_hex(&span, out);
    out.extend_from_slice(if sampled { b"-01" } else { b"-00" });
}

/// Where the span stands in `traceparent`.
pub(super) const SPAN_AT: usize = 36;

/// Appends bytes as hexadecimal digits, as identifiers are written.
pub fn append_hex(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(bytes.iter().flat_map(|byte| hex(*byte)));
}

/// A byte's two digits.
pub(super) fn hex(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

/// Reads lower case digits; upper case is an error (section 3.2.2).
fn unhex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn of(fields: &[(&str, &str)]) -> Option<Context> {
        Context::of_fields(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    #[test]
    fn what_is_read_is_written_again() {
        let context = of(&[("TraceParent", GOOD), ("tracestate", "a=1"), ("tracestate", "b=2")]).unwrap();
        assert!(context.sampled);
        assert_eq!(context.state, b"a=1,b=2");
        let mut out = Vec::new();
        append_parent(context.trace, context.span, context.sampled, &mut out);
        assert_eq!(out, GOOD.as_bytes());
        assert_eq!(&out[SPAN_AT..SPAN_AT + 16], b"b7ad6b7169203331");
    }

    #[test]
    fn what_cannot_be_believed_is_no_context() {
        let changed = |at: usize, text: &str| {
            let mut value = GOOD.to_owned();
            value.replace_range(at..at + text.len(), text);
            value
        };
        let bad = [
            String::new(),
            GOOD[..54].to_owned(),
            format!("{GOOD}0"),
            format!("{GOOD}-more"),
            changed(0, "ff"),
            changed(2, "_"),
            changed(3, "0AF7"),
            changed(3, &"0".repeat(32)),
            changed(36, &"0".repeat(16)),
            changed(53, "0g"),
        ];
        for value in bad {
            assert_eq!(of(&[("traceparent", &value)]), None, "{value}");
        }
        assert_eq!(of(&[("traceparent", GOOD), ("traceparent", GOOD)]), None);
        assert_eq!(of(&[("tracestate", "a=1")]), None);
        // A version that is not known yet may say more.
        assert!(of(&[("traceparent", &format!("{}-more", changed(0, "01")))]).is_some());
        assert!(!of(&[("traceparent", &changed(53, "02"))]).unwrap().sampled);
    }
}
