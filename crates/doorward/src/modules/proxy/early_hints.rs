//! `early_hints`: a server's 103 (RFC 8297) on its way to the client, before the answer itself.

use wire::h1::{ResponseHead, Version};

use super::Proxy;
use super::attempt::Failed;
use crate::deliver::send_interim;
use crate::exchange::Exchange;

impl Proxy {
    /// Appends a 103 as the client is to see it: nothing where there is no field for it, or it takes none.
    pub(super) fn append_hints(
        &self,
        ex: &Exchange<'_>,
        head: &ResponseHead,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) {
        let wanted = head.status == 103
            && ex.is_main()
            && ex.visit.head.version >= Version::Http11
            && ex.plan.core.early_hints.iter().any(|string| string.holds(ex));
        if !wanted {
            return;
        }
        let fields = head.fields.iter().map(|field| (field.id, field.name.of(bytes), field.value.of(bytes)));
        let mut fields = fields.filter(|(id, name, _)| !self.hidden.contains(*id, name)).peekable();
        if fields.peek().is_none() {
            return;
        }
        out.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\n");
        for (_, name, value) in fields {
            for part in [name, b": ", value, b"\r\n"] {
                out.extend_from_slice(part);
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Sends them at once. A client that does not take them all cannot be told anything else.
    pub(super) async fn send_hints(&self, ex: &Exchange<'_>, hints: &mut Vec<u8>) -> Result<(), Failed> {
        let hints = std::mem::take(hints);
        send_interim(ex, &hints).await.map_err(|_| Failed::ClientGone)
    }
}
