//! Login pages where passwords can be tried without end.

use super::Found;
use super::site::Site;
use super::values::Definitions;

pub fn check(site: &Site<'_>, _: &Definitions, found: &mut Found) {
    for block in 0..site.blocks.len() {
        if !site.in_force(block, &["auth_limit"]).is_empty() {
            continue;
        }
        for line in site.own(block, "auth_login") {
            let sentence = "anybody can try passwords at this page without end: there is no \"auth_limit\"";
            let remedy = "write `auth_limit_zone $binary_remote_addr zone=guesses:1m rate=5r/m;` in http, and \
                          `auth_limit zone=guesses burst=5;` here";
            found.add(line.span, sentence.to_owned(), remedy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::told_of_server;

    #[test]
    fn a_login_page_without_a_limit() {
        let told = told_of_server("\nlocation /login { auth_login main; }");
        assert_eq!(
            told,
            ["2: anybody can try passwords at this page without end: there is no \"auth_limit\""]
        );
        for limited in [
            "location /login { auth_login main; auth_limit zone=guesses burst=5; }",
            "auth_limit zone=guesses; location /login { auth_login main; }",
        ] {
            assert!(told_of_server(limited).is_empty(), "{limited}");
        }
    }
}
