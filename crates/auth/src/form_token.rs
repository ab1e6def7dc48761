//! Tokens of forms: a page puts one into its form and the same into a cookie, so that no other site can fill in the form for
//! somebody (double submit; OWASP, Cross-Site Request Forgery Prevention).

use subtle::ConstantTimeEq;

use crate::secret::{self, NoRandomness};

/// A new token of 256 bits, as text.
pub fn generate() -> Result<String, NoRandomness> {
    secret::text(secret::SECRET)
}

/// Whether it could be a token.
pub fn is_token(text: &[u8]) -> bool {
    secret::is_text(text, secret::SECRET)
}

/// Whether the form's token is that of the cookie. The time that takes does not tell where they differ.
pub fn is_same(form: &[u8], cookie: &[u8]) -> bool {
    is_token(cookie) && bool::from(form.ct_eq(cookie))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_token_is_the_same() {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        let same = |form: &str, cookie: &str| is_same(form.as_bytes(), cookie.as_bytes());
        assert!(same(&one, &one));
        // What is no token is not the same as itself.
        for (form, cookie) in
            [(&*one, &*other), ("", ""), ("a", "a"), (&one[1..], &one), (&one, &one[1..]), ("", &one)]
        {
            assert!(!same(form, cookie), "{form} {cookie}");
        }
    }
}
