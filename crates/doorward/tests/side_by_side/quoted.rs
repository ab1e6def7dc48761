//! Bytes as cases write them: quoted strings with escapes, repetitions, and bodies of a given size.

/// Reads `"text\r\n" "more" * 3`: strings, each with a count of repetitions if it has one.
pub(crate) fn strings(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let inside = rest.strip_prefix('"').ok_or(format!("not a quoted string: {rest}"))?;
        let end = closing(inside).ok_or(format!("no closing quote: {rest}"))?;
        let (word, behind) = inside.split_at(end);
        let word = unescape(word)?;
        rest = behind.get(1..).unwrap_or("").trim_start();
        let mut times = 1;
        if let Some(count) = rest.strip_prefix('*') {
            let count = count.trim_start();
            let digits = count.find(|c: char| !c.is_ascii_digit()).unwrap_or(count.len());
            let (number, behind) = count.split_at(digits);
            times = number.parse().map_err(|_| format!("not a count: {count}"))?;
            rest = behind.trim_start();
        }
        bytes.extend(word.repeat(times));
    }
    Ok(bytes)
}

/// A body: `@1000` is a thousand bytes that differ by position, everything else text with escapes.
pub(crate) fn body(text: &str) -> Result<Vec<u8>, String> {
    if let Some(size) = text.strip_prefix('@') {
        let size: usize = size.trim().parse().map_err(|_| format!("not a size: {text}"))?;
        return Ok((0..size).map(|at| b'a' + u8::try_from(at / 7 % 26).unwrap_or(0)).collect());
    }
    unescape(text)
}

fn closing(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at),
            _ => {}
        }
    }
    None
}

/// Replaces `\r \n \t \0 \xHH`; any other escaped character stands for itself.
pub(crate) fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            bytes.extend(c.to_string().into_bytes());
            continue;
        }
        match chars.next() {
            Some('r') => bytes.push(b'\r'),
            Some('n') => bytes.push(b'\n'),
            Some('t') => bytes.push(b'\t'),
            Some('0') => bytes.push(0),
            Some('x') => {
                let digits: String = chars.by_ref().take(2).collect();
                bytes
                    .push(u8::from_str_radix(&digits, 16).map_err(|_| format!("not hexadecimal: {digits}"))?);
            }
            Some(other) => bytes.extend(other.to_string().into_bytes()),
            None => return Err("a backslash at the end".to_owned()),
        }
    }
    Ok(bytes)
}
