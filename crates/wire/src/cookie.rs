//! A cookie's value from a Cookie or Set-Cookie field.

use crate::list;

/// The value of the cookie `name` in a Cookie field, as `$cookie_name` reads it: names in any case, the first wins,
/// everything up to the next semicolon.
pub fn cookie<'a>(field: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    list::named(field, name, b';')
}

/// The value a Set-Cookie field gives to the cookie `name`; none when it sets another cookie.
pub fn set_cookie<'a>(field: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let first = field.split(|&byte| byte == b';').next()?;
    list::named(first, name, b';')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_as_nginx_finds_them() {
        let field = b"a=1; ab=2;c=x=y ; d ; e = 5; A=9; f=";
        let value = |name: &str| {
            cookie(field, name.as_bytes()).map(|value| String::from_utf8_lossy(value).into_owned())
        };
        assert_eq!(value("a").as_deref(), Some("1"));
        assert_eq!(value("AB").as_deref(), Some("2"));
        assert_eq!(value("c").as_deref(), Some("x=y "));
        assert_eq!(value("d"), None);
        assert_eq!(value("e").as_deref(), Some("5"));
        assert_eq!(value("f").as_deref(), Some(""));
        assert_eq!(value("b"), None);
        assert_eq!(set_cookie(b"sid=7; path=/", b"sid"), Some(b"7".as_slice()));
        assert_eq!(set_cookie(b"sid=7; path=/", b"path"), None);
    }
}
