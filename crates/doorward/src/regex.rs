//! Regular expressions as the configuration writes them: PCRE, with captures that become variables.

use conf::{Diagnostic, Word};
use pcre2::bytes::{Regex, RegexBuilder};

use crate::exchange::{Captures, Exchange};
use crate::variables::{Index, Registry};

/// A compiled pattern and the variables that its named groups fill.
pub struct Pattern {
    regex: Regex,
    named: Box<[(usize, Index)]>,
}

impl Pattern {
    /// Compiles `text`, which stands in `word`.
    pub fn compile(
        text: &[u8],
        caseless: bool,
        word: &Word,
        registry: &mut Registry,
    ) -> Result<Pattern, Diagnostic> {
        let text = str::from_utf8(text)
            .map_err(|_| Diagnostic::at(word.span, "the regular expression is not UTF-8 text".to_owned()))?;
        let regex = RegexBuilder::new()
            .caseless(caseless)
            .jit_if_available(true)
            .build(text)
            .map_err(|error| Diagnostic::at(word.span, sentence(text, &error)))?;
        let mut named = Vec::new();
        for (group, name) in regex.capture_names().iter().enumerate() {
            if let Some(name) = name {
                named.push((group, registry.stored(name, Some(word.span))?));
            }
        }
        Ok(Pattern { regex, named: named.into() })
    }

    /// How many groups there are, the whole match not counted.
    pub fn groups(&self) -> usize {
        self.regex.captures_len() - 1
    }

    /// Whether it matches the exchange's path, or `subject`; captures are remembered when it does.
    pub fn matches(&self, ex: &mut Exchange<'_>, subject: Option<&[u8]>) -> bool {
        let mut locations = self.regex.capture_locations();
        let text = subject.unwrap_or(&ex.uri);
        // A pattern that gives up (too much backtracking) has not matched.
        if !matches!(self.regex.captures_read(&mut locations, text), Ok(Some(_))) {
            return false;
        }
        for (group, index) in &self.named {
            let value =
                locations.get(*group).and_then(|(start, end)| text.get(start..end)).unwrap_or_default();
            ex.store(*index, value);
        }
        let groups = (0..locations.len()).map(|n| locations.get(n));
        match subject {
            Some(subject) => ex.captures.set(subject, groups),
            None => {
                let Exchange { captures, uri, .. } = ex;
                captures.set(uri, groups);
            }
        }
        true
    }

    /// The groups of a match in `subject`; the variables of its named groups are set, the exchange's captures are not.
    pub fn captures(&self, ex: &Exchange<'_>, subject: &[u8]) -> Option<Captures> {
        let mut locations = self.regex.capture_locations();
        if !matches!(self.regex.captures_read(&mut locations, subject), Ok(Some(_))) {
            return None;
        }
        for (group, index) in &self.named {
            let value = locations.get(*group).and_then(|(start, end)| subject.get(start..end));
            ex.store(*index, value.unwrap_or_default());
        }
        let mut captures = Captures::default();
        captures.set(subject, (0..locations.len()).map(|n| locations.get(n)));
        Some(captures)
    }

    /// Whether it matches `subject`, without remembering anything.
    pub fn is_match(&self, subject: &[u8]) -> bool {
        self.regex.is_match(subject).unwrap_or(false)
    }
}

/// nginx's sentence for a pattern that does not compile.
fn sentence(text: &str, error: &pcre2::Error) -> String {
    let told = error.to_string();
    let why =
        told.split_once("offset ").and_then(|(_, rest)| rest.split_once(": ")).map_or(&*told, |(_, why)| why);
    match error.offset().and_then(|offset| text.get(offset..)).filter(|rest| !rest.is_empty()) {
        Some(rest) => format!("pcre2_compile() failed: {why} in \"{text}\" at \"{rest}\""),
        None => format!("pcre2_compile() failed: {why} in \"{text}\""),
    }
}
