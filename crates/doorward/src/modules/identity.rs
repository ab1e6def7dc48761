//! Fields that say who a client is, which no client may send itself.

use std::sync::Arc;

use conf::Arg::{Many, Text};
use conf::{Diagnostic, Node, once};
use wire::Name;
use wire::h1::RequestHead;

use crate::directives;
use crate::field_names::AlikeNames;
use crate::module::Module;
use crate::settings;

/// The module's tables.
pub static MODULE: Module = Module {
    name: "doorward_identity_module",
    directives: directives! { IdentitySettings;
        /// Removes these fields from what clients send, also with `_` for `-`, before anything looks at the request: no
        /// rule, no variable, no auth service, no upstream and no log sees them. What upstreams are to believe is set by
        /// `auth_request_copy_headers` or `proxy_set_header`. A list replaces that of `http`.
        "auth_identity_headers" in [HTTP SERVER] (Many(&Text("field"))) = "" => |c, _, n| {
            let names = names(n)?;
            let of_client = n.args.iter().find(|word| CREDENTIALS.contains(&Name::of(&word.text)));
            if let Some(word) = of_client {
                return Err(Diagnostic::at(word.span, format!("\"{}\" is how clients show who they are", word.lossy()))
                    .instead("name the fields in which the auth service says so, such as X-User-ID"));
            }
            once(&mut c.names, Some(Arc::new(names)), n)
        };
    },
    variables: &[],
    plan: |_, scope, plan| {
        plan.identity = scope.get_mut::<IdentitySettings>().settle().names;
        Ok(())
    },
};

settings! {
    /// What no client may send.
    IdentitySettings => IdentityValues {
        /// The fields.
        names: Option<Arc<AlikeNames>> = None;
    }
}

/// What an auth service is asked about.
const CREDENTIALS: [Name; 3] = [Name::Authorization, Name::Cookie, Name::ProxyAuthorization];

/// What belongs to a message or a connection, and says nothing of anybody.
const FRAMING: [Name; 9] = [
    Name::Host,
    Name::Connection,
    Name::ContentLength,
    Name::TransferEncoding,
    Name::Te,
    Name::KeepAlive,
    Name::Expect,
    Name::Upgrade,
    Name::Trailer,
];

/// The fields that a directive names.
pub fn names(node: &Node) -> Result<AlikeNames, Diagnostic> {
    let mut names = AlikeNames::default();
    for word in &node.args {
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        if word.text.is_empty() || !word.text.iter().all(token) || FRAMING.contains(&Name::of(&word.text)) {
            return Err(Diagnostic::at(word.span, format!("invalid field \"{}\"", word.lossy()))
                .instead("it is the name of a field that says something of the client, such as X-User-ID"));
        }
        names.insert(&word.text);
    }
    Ok(names)
}

/// Removes the fields from a request that has just been read.
pub fn remove(names: &AlikeNames, head: &mut RequestHead, bytes: &[u8]) {
    head.fields.retain(|field| !names.contains(field.name.of(bytes)));
}
