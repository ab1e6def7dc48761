//! Which signatures a handshake was made with, which rustls tells nobody: its keys and verifiers note it on their thread.

use std::cell::Cell;
use std::sync::Arc;

use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

/// The signatures of a handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signatures {
    /// By this end; none where a session was taken up.
    pub own: Option<SignatureScheme>,
    /// By the other end; none where it has no certificate.
    pub peer: Option<SignatureScheme>,
}

thread_local! {
    static NOTED: Cell<Signatures> = const { Cell::new(Signatures { own: None, peer: None }) };
}

impl Signatures {
    /// Adds what is signed and verified on this thread while a step of a handshake is made.
    pub fn during<T>(&mut self, step: impl FnOnce() -> T) -> T {
        NOTED.take();
        let result = step();
        let noted = NOTED.take();
        self.own = noted.own.or(self.own);
        self.peer = noted.peer.or(self.peer);
        result
    }
}

/// Notes that the other end has signed.
pub(super) fn note_peer(scheme: SignatureScheme) {
    NOTED.set(Signatures { peer: Some(scheme), ..NOTED.get() });
}

/// A key that notes what it signs with.
#[derive(Debug)]
pub struct NotingKey(pub Arc<dyn SigningKey>);

impl SigningKey for NotingKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signer = self.0.choose_scheme(offered)?;
        NOTED.set(Signatures { own: Some(signer.scheme()), ..NOTED.get() });
        Some(signer)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.0.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}
