//! Lists of media types that say which responses a filter changes (`addition_types` and its like).

use std::collections::HashSet;

use conf::{Diagnostic, Node};

use crate::compile::Compiler;

/// Media types without parameters, in lower case; `None` is every type (`*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaTypes(Option<HashSet<Vec<u8>>>);

impl MediaTypes {
    /// The type that nginx's filters have in their lists whatever is written.
    pub fn html() -> MediaTypes {
        MediaTypes(Some(HashSet::from([b"text/html".to_vec()])))
    }

    /// These types.
    pub fn of(types: &[&str]) -> MediaTypes {
        MediaTypes(Some(types.iter().map(|media_type| media_type.as_bytes().to_vec()).collect()))
    }

    /// Adds the types of a directive; `*` is all there are.
    pub fn add(&mut self, node: &Node, cx: &mut Compiler) -> Result<(), Diagnostic> {
        for word in &node.args {
            if word.text == b"*" {
                self.0 = None;
            } else if let Some(types) = &mut self.0
                && !types.insert(word.text.to_ascii_lowercase())
            {
                let sentence = format!("duplicate MIME type \"{}\"", word.lossy());
                cx.warn(Diagnostic::at(word.span, sentence).warning());
            }
        }
        Ok(())
    }

    /// Whether a `Content-Type` is one of them, whatever its parameters.
    pub fn contain(&self, content_type: &[u8]) -> bool {
        let bare = content_type.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        match &self.0 {
            None => true,
            Some(types) => types.contains(bare) || types.contains(&bare.to_ascii_lowercase()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_case_do_not_matter() {
        let types = MediaTypes::html();
        assert!(types.contain(b"Text/HTML; charset=utf-8"));
        assert!(types.contain(b"text/html"));
        assert!(!types.contain(b"text/html5"));
        assert!(!types.contain(b""));
    }
}
