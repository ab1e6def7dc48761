//! Doors that stay open while the auth service does not answer.

use super::Found;
use super::site::Site;
use super::values::Definitions;

pub fn check(site: &Site<'_>, _: &Definitions, found: &mut Found) {
    for block in &site.blocks {
        let lines = block.nodes.iter().filter(|node| *node.name.text == *b"auth_request_on_error");
        for line in lines.filter(|line| line.bytes(0) == b"allow") {
            let sentence = "\"auth_request_on_error allow\" lets everybody in while the auth service does not answer: also \
                            who keeps it from answering, or was refused before";
            let remedy = "refuse them (`auth_request_on_error status=503;`); `auth_request_cache ... grace=` goes on for those \
                          who were let in before";
            found.add(line.span, sentence.to_owned(), remedy);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::warnings::told_of_server;

    #[test]
    fn letting_everybody_in_is_told() {
        let told =
            told_of_server("auth_request_on_error allow; location / { auth_request_on_error status=503; }");
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("1: \"auth_request_on_error allow\" lets everybody in"), "{told:?}");
    }
}
