//! Any bytes as a path, a query, a host: a clean path stays clean on its way to the next server, and an escape comes back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::host;
use wire::uri::{self, Escape};

fuzz_target!(|bytes: &[u8]| {
    for merge_slashes in [true, false] {
        paths(bytes, merge_slashes);
    }
    escapes(bytes);
    hosts(bytes);

    let mut out = Vec::new();
    if let Ok(query) = uri::unsafe_uri(bytes, &mut out) {
        assert!(query.is_none_or(|query| bytes.ends_with(query)));
        assert!(!out.is_empty() && !out.contains(&0));
        assert!(out.split(|&byte| byte == b'/').all(|name| name != b".."));
    }
    out.clear();
    uri::unescape_redirect(bytes, &mut out);
    assert!(out.len() <= bytes.len());
    assert!(bytes.ends_with(uri::extension(bytes)));
    let (query, name) = bytes.split_at(bytes.len() / 2);
    if let Some(value) = uri::arg(query, name) {
        assert!(!value.contains(&b'&'));
    }
});

fn paths(bytes: &[u8], merge_slashes: bool) {
    let (mut clean, mut escaped, mut again) = (Vec::new(), Vec::new(), Vec::new());
    if uri::normalize(bytes, merge_slashes, &mut clean).is_err() {
        return;
    }
    assert!(clean.starts_with(b"/") && clean.len() <= bytes.len());
    assert!(clean.split(|&byte| byte == b'/').all(|name| name != b"." && name != b".."));
    assert!(!merge_slashes || !clean.windows(2).any(|pair| pair == b"//"));
    // A decoded path may hold what means something in a path that is sent: that is idempotent once it is escaped.
    // A request line with a NUL has been refused before.
    if !clean.contains(&0) {
        uri::escape(Escape::Uri, &clean, &mut escaped);
        assert_eq!(uri::normalize(&escaped, merge_slashes, &mut again), Ok(()));
        assert_eq!(again, clean);
    }
}

fn escapes(bytes: &[u8]) {
    for kind in
        [Escape::Uri, Escape::Args, Escape::UriComponent, Escape::Html, Escape::Refresh, Escape::Memcached]
    {
        let (mut escaped, mut back) = (Vec::new(), Vec::new());
        uri::escape(kind, bytes, &mut escaped);
        assert_eq!(uri::needs_escape(kind, bytes), escaped != bytes);
        uri::unescape(&escaped, &mut back);
        // In a Refresh a percent sign stays what it is.
        assert!(back == bytes || kind == Escape::Refresh, "{kind:?}");
        assert!(!escaped.iter().any(|&byte| byte <= b' '));
    }
    let mut plain = Vec::new();
    uri::unescape(bytes, &mut plain);
    assert!(plain.len() <= bytes.len());
}

fn hosts(bytes: &[u8]) {
    let name = host::name(bytes);
    assert!(bytes.starts_with(name));
    if let Ok(found) = host::host(bytes) {
        assert_eq!(found.name, name);
        assert_eq!(found.upper, name.iter().any(u8::is_ascii_uppercase));
        // The name alone is a host, too: it is what `$host` gives to the next server.
        let alone = host::host(name).expect("the name of a host");
        assert_eq!((alone.name, alone.port), (name, 0));
    }
}
