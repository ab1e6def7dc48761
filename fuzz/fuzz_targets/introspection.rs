//! Any bytes as an authorization server's answer, and as the token that it is asked about: nobody is let in whose name cannot be
//! told, and a token is one value of the form.
#![no_main]

use auth::expected::Expected;
use auth::introspection::{form, is_token, judge};
use libfuzzer_sys::fuzz_target;

const NOW: u64 = 1_800_000_000;

fuzz_target!(|bytes: &[u8]| {
    let asked = form(bytes);
    let token =
        asked.strip_prefix(b"token=").and_then(|rest| rest.strip_suffix(b"&token_type_hint=access_token"));
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._%".contains(byte);
    assert!(token.expect("the form").iter().all(is_plain));
    assert!(
        !is_token(bytes) || !bytes.iter().any(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control())
    );

    let demanding = Expected { issuers: vec!["https://a".to_owned()], audiences: vec!["api".to_owned()] };
    for expected in [Expected::default(), demanding] {
        let Ok(Ok(active)) = judge(bytes, &expected, NOW) else { continue };
        let text = str::from_utf8(bytes).expect("JSON is UTF-8");
        assert!(text.contains("active") || text.contains("\\u"));
        assert!(active.expires.is_none_or(|end| end >= NOW));
        let who = &active.identity;
        assert!(!who.id.is_empty() && !who.name.is_empty());
        for text in [&who.id, &who.name, &who.email, &who.scopes, &who.groups] {
            assert!(text.trim() == text && !text.chars().any(char::is_control) && text.len() <= 8 << 10);
        }
    }
});
