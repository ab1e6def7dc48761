//! Any bytes as the value of a field, and as what is looked for in it: lists, cookies, seconds, dates.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::cookie::{cookie, set_cookie};
use wire::{date, list};

fuzz_target!(|bytes: &[u8]| {
    // What is looked for stands before the first line feed.
    let mut parts = bytes.splitn(2, |&byte| byte == b'\n');
    let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    elements(value, name);
    cookies(value, name);
    numbers(value, name);
    dates(value);
});

fn elements(value: &[u8], name: &[u8]) {
    let elements: Vec<&[u8]> = list::split(value).collect();
    for element in &elements {
        assert!(!element.is_empty() && !element.contains(&b','));
        assert!(!b" \t".iter().any(|&blank| element.starts_with(&[blank]) || element.ends_with(&[blank])));
        assert!(list::has_token(value, element) && list::contains(value, element));
    }
    let again = elements.join(&b", "[..]);
    assert!(list::split(&again).eq(elements.iter().copied()));
    let found = elements.iter().any(|element| element.to_ascii_lowercase() == name.to_ascii_lowercase());
    assert_eq!(list::has_token(value, name), found);
    assert_eq!(list::has_token(&value.to_ascii_uppercase(), name), found);
    let (low, low_name) = (value.to_ascii_lowercase(), name.to_ascii_lowercase());
    if !name.is_empty() {
        let stands = low.windows(name.len()).any(|window| window == low_name);
        assert_eq!(list::contains(value, name), stands);
    }
}

fn cookies(value: &[u8], name: &[u8]) {
    let found = cookie(value, name);
    assert_eq!(found, cookie(value, &name.to_ascii_uppercase()));
    if let Some(found) = found {
        assert!(!found.contains(&b';') && !found.starts_with(b" "));
    }
    match set_cookie(value, name) {
        Some(set) => assert_eq!(found, Some(set)),
        // Blanks before a name are no part of it.
        None => {
            let is_name = !name.starts_with(b" ") && !name.contains(&b';');
            assert!(!is_name || !value.starts_with(&[name, b"="].concat()));
        }
    }
    // What a client was told to send is found in what it sends, whatever stands before and behind.
    let is_plain = |text: &[u8]| !text.iter().any(|byte| b";= ".contains(byte));
    if is_plain(name) && is_plain(value) && !name.is_empty() {
        let other = [name, b"2=x; "].concat();
        let sent = [&other, name, b"=", value, b"; y=z"].concat();
        assert_eq!(cookie(&sent, name), Some(value));
    }
}

fn numbers(value: &[u8], name: &[u8]) {
    if let Some(found) = list::seconds(value, name) {
        assert!(list::contains(value, &[name, b"="].concat()));
        assert!(found.is_err() || found.is_ok_and(|seconds| seconds <= i64::MAX as u64));
    }
}

fn dates(value: &[u8]) {
    if let Some(seconds) = date::parse(value) {
        let text = date::format(seconds);
        assert_eq!(date::parse(&text), Some(seconds), "{}", text.escape_ascii());
    }
}
