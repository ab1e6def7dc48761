//! Words for logs and labels for metrics, bounded by the program.

/// Declares an enum whose variants each have a word, so that none is without.
macro_rules! words {
    ($(#[doc = $doc_of_all:literal])+ $enum:ident { $($(#[doc = $doc:literal])+ $name:ident = $word:literal,)+ }) => {
        $(#[doc = $doc_of_all])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $enum { $($(#[doc = $doc])+ $name,)+ }

        impl $enum {
            /// All of them, each at the place that its number names.
            pub const ALL: [$enum; [$($word),+].len()] = [$($enum::$name),+];

            /// The word for it.
            pub fn as_str(self) -> &'static str {
                match self { $($enum::$name => $word,)+ }
            }
        }
    };
}

pub(crate) use words;
