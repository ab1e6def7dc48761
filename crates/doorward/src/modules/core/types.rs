//! `types`: media types by the extension of a file.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use conf::{Diagnostic, Node};

use crate::compile::Compiler;
use crate::directives;
use crate::module::{Directive, Settings};

/// Media types by extension in lower case.
pub type Types = HashMap<Vec<u8>, Vec<u8>>;

/// nginx's types where the configuration has no `types` at all.
static DEFAULT: LazyLock<Arc<Types>> = LazyLock::new(|| {
    let rows: [(&[u8], &[u8]); 3] =
        [(b"html", b"text/html"), (b"gif", b"image/gif"), (b"jpg", b"image/jpeg")];
    Arc::new(rows.into_iter().map(|(e, t)| (e.to_vec(), t.to_vec())).collect())
});

/// The types of a block.
#[derive(Clone, Default)]
pub struct TypeSettings {
    types: Option<Arc<Types>>,
}

impl TypeSettings {
    /// The types that apply.
    pub fn settle(&self) -> Arc<Types> {
        self.types.clone().unwrap_or_else(|| DEFAULT.clone())
    }
}

impl Settings for TypeSettings {
    fn inherit(&mut self, outer: &Self) {
        if self.types.is_none() {
            self.types.clone_from(&outer.types);
        }
    }
}

pub(super) const DIRECTIVES: &[Directive] = directives! { TypeSettings;
    /// Maps extensions of file names to media types: `type extension ...;`
    "types": Free in [HTTP SERVER LOCATION] () = "text/html html; image/gif gif; image/jpeg jpg;" => types;
};

fn types(settings: &mut TypeSettings, cx: &mut Compiler, node: &Node) -> Result<(), Diagnostic> {
    let mut types = settings.types.take().map(Arc::unwrap_or_clone).unwrap_or_default();
    for entry in node.block.iter().flatten() {
        // One with a file to include has been replaced by that file's content.
        if entry.name.text == b"include" {
            let sentence = "invalid number of arguments in \"include\" directive";
            return Err(Diagnostic::at(entry.span, sentence));
        }
        for extension in &entry.args {
            let old = types.insert(extension.text.to_ascii_lowercase(), entry.name.text.clone());
            if let Some(old) = old {
                let (e, new, old) = (
                    String::from_utf8_lossy(&extension.text),
                    String::from_utf8_lossy(&entry.name.text),
                    String::from_utf8_lossy(&old),
                );
                let sentence = format!(
                    "duplicate extension \"{e}\", content type: \"{new}\", previous content type: \"{old}\""
                );
                cx.warn(Diagnostic::at(extension.span, sentence).warning());
            }
        }
    }
    settings.types = Some(Arc::new(types));
    Ok(())
}
