//! Session tickets (RFC 5077, RFC 8446 4.6.1): a session sealed with a key of the server's, kept by the client.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{SHA256, digest};
use rustls::server::ProducesTickets;

use crate::clock;

/// How many keys that seal no more still open tickets.
const KEPT: usize = 2;

/// What a key is told from others by: it stands in front of each ticket.
const NAME: usize = 16;

/// A key that tickets are sealed and opened with.
pub struct TicketKey {
    name: [u8; NAME],
    key: RandomizedNonceKey,
}

impl TicketKey {
    /// A key file: 48 bytes (AES-128) or 80 bytes (AES-256), random, as `openssl rand` makes them; none for other lengths.
    ///
    /// The first 16 bytes are the name. The others are nginx's keys for a hash and a cipher; here they are one key for both.
    pub fn of_file(bytes: &[u8]) -> Option<TicketKey> {
        let (algorithm, length): (&'static Algorithm, usize) = match bytes.len() {
            48 => (&AES_128_GCM, 16),
            80 => (&AES_256_GCM, 32),
            _ => return None,
        };
        let (name, secret) = bytes.split_first_chunk::<NAME>()?;
        let secret = digest(&SHA256, secret);
        let key = RandomizedNonceKey::new(algorithm, secret.as_ref().get(..length)?).ok()?;
        Some(TicketKey { name: *name, key })
    }

    /// A key that nobody knows; none where the system has no random bytes.
    fn random() -> Option<TicketKey> {
        let mut bytes = [0; 80];
        aws_lc_rs::rand::fill(&mut bytes).ok()?;
        TicketKey::of_file(&bytes)
    }

    fn seal(&self, context: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = plain.to_vec();
        let nonce = self.key.seal_in_place_append_tag(Aad::from(context), &mut sealed).ok()?;
        Some([&self.name[..], nonce.as_ref(), &sealed].concat())
    }

    fn open(&self, context: &[u8], ticket: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = ticket.get(NAME..)?.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.key.open_in_place(nonce, Aad::from(context), &mut sealed).ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }
}

/// The keys of several servers, which a reload does not change.
pub enum TicketKeys {
    /// Those of files: the first seals, the others open.
    Files(Vec<Arc<TicketKey>>),
    /// Keys that nobody knows, each with the second when it was made, newest last. Each seals for as long as a session lasts.
    Random(Mutex<Vec<(u64, Arc<TicketKey>)>>),
}

impl TicketKeys {
    /// Keys that are made as they are needed.
    pub fn random() -> TicketKeys {
        TicketKeys::Random(Mutex::default())
    }

    fn seal(&self, lifetime: u32, context: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        match self {
            TicketKeys::Files(keys) => keys.first()?.seal(context, plain),
            TicketKeys::Random(keys) => {
                let mut keys = keys.lock().unwrap_or_else(PoisonError::into_inner);
                let (now, _) = clock::wall();
                let fresh = keys.last().filter(|(made, _)| now < made.saturating_add(lifetime.into()));
                let key = match fresh {
                    Some((_, key)) => key.clone(),
                    None => {
                        let key = Arc::new(TicketKey::random()?);
                        keys.push((now, key.clone()));
                        let old = keys.len().saturating_sub(KEPT + 1);
                        keys.drain(..old);
                        key
                    }
                };
                drop(keys);
                key.seal(context, plain)
            }
        }
    }

    fn open(&self, context: &[u8], ticket: &[u8]) -> Option<Vec<u8>> {
        let name = ticket.get(..NAME)?;
        match self {
            TicketKeys::Files(keys) => keys.iter().find(|key| key.name == name)?.open(context, ticket),
            TicketKeys::Random(keys) => {
                let keys = keys.lock().unwrap_or_else(PoisonError::into_inner);
                let key = keys.iter().find(|(_, key)| key.name == name).map(|(_, key)| key.clone());
                drop(keys);
                key?.open(context, ticket)
            }
        }
    }
}

/// Makes and opens the tickets of one server.
pub struct Tickets {
    /// What they are sealed with.
    pub keys: Arc<TicketKeys>,
    /// What must be the same where a session is taken up again: the server's certificates, and whom it trusts.
    pub context: [u8; 32],
    /// How many seconds a session lasts.
    pub lifetime: u32,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.lifetime
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        // Keys of files do not change by themselves, so that each ticket says when it was made.
        let (now, _) = clock::wall();
        let dated = [&now.to_be_bytes()[..], plain].concat();
        self.keys.seal(self.lifetime, &self.context, &dated)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let mut dated = self.keys.open(&self.context, ticket)?;
        let made = u64::from_be_bytes(*dated.first_chunk::<8>()?);
        let (now, _) = clock::wall();
        if now >= made.saturating_add(self.lifetime.into()) {
            return None;
        }
        dated.drain(..8);
        Some(dated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tickets(keys: TicketKeys, context: u8, lifetime: u32) -> Tickets {
        Tickets { keys: Arc::new(keys), context: [context; 32], lifetime }
    }

    fn of_files(files: &[&[u8]]) -> TicketKeys {
        TicketKeys::Files(files.iter().map(|bytes| Arc::new(TicketKey::of_file(bytes).unwrap())).collect())
    }

    #[test]
    fn servers_with_the_same_file_open_each_others_tickets() {
        let (old, new): (&[u8], &[u8]) = (&[1; 48], &[2; 80]);
        let ticket = tickets(of_files(&[old]), 7, 300).encrypt(b"session").unwrap();
        assert_eq!(tickets(of_files(&[old]), 7, 300).decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        // Rotated: the old key still opens.
        assert!(tickets(of_files(&[new, old]), 7, 300).decrypt(&ticket).is_some());
        assert!(tickets(of_files(&[new]), 7, 300).decrypt(&ticket).is_none());
        // Another server's certificates, or whom it trusts.
        assert!(tickets(of_files(&[old]), 8, 300).decrypt(&ticket).is_none());
        // As long as a session lasts there.
        assert!(tickets(of_files(&[old]), 7, 0).decrypt(&ticket).is_none());
    }

    #[test]
    fn a_changed_ticket_is_none() {
        let keys = tickets(TicketKeys::random(), 7, 300);
        let ticket = keys.encrypt(b"session").unwrap();
        assert!(keys.decrypt(&ticket).is_some());
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert!(keys.decrypt(&changed).is_none(), "byte {at}");
            assert!(keys.decrypt(&ticket[..at]).is_none(), "length {at}");
        }
    }

    #[test]
    fn random_keys_change_and_the_last_ones_still_open() {
        let keys = Arc::new(TicketKeys::random());
        let made = Tickets { keys: keys.clone(), context: [0; 32], lifetime: 300 };
        let first = made.encrypt(b"1").unwrap();
        // A key that seals for no time is replaced by each ticket.
        let hasty = Tickets { keys: keys.clone(), context: [0; 32], lifetime: 0 };
        for _ in 0..KEPT {
            hasty.encrypt(b"2").unwrap();
        }
        assert!(made.decrypt(&first).is_some());
        hasty.encrypt(b"3").unwrap();
        assert!(made.decrypt(&first).is_none());
    }
}
