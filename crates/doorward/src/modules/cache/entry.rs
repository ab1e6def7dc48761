//! One stored answer, and its form in a file.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use wire::Name;
use wire::h1::{ResponseHead, ResponseParser};

use super::freshness::Times;

/// Names a key without saying it: what files are called by, and checked with.
pub type Fingerprint = [u8; 32];

/// The fingerprint of a key. Keys may hold credentials, and files outlive requests.
pub fn fingerprint(key: &[u8]) -> Fingerprint {
    Sha256::digest(key).into()
}

/// A stored answer. It never changes: a newer one takes its place.
#[derive(Clone)]
pub struct Entry {
    /// The fingerprint of its key.
    pub fingerprint: Fingerprint,
    /// The head as parsed; its ranges point into `bytes`.
    pub head: ResponseHead,
    /// The head as received.
    pub bytes: Arc<[u8]>,
    /// The body.
    pub body: Stored,
    /// How long it may be served.
    pub times: Times,
    /// The names in its `Vary`.
    pub vary: Box<[u8]>,
    /// What of the request it was chosen by ([`super::freshness::variant`]).
    pub variant: Box<[u8]>,
}

/// Where a body is kept.
#[derive(Clone)]
pub enum Stored {
    /// In memory (and in the file, once it is written).
    Memory(Arc<[u8]>),
    /// In the file only: where it starts and how long it is.
    File { offset: u64, length: u64 },
}

impl Entry {
    /// What a field of the head says.
    pub fn field(&self, name: Name) -> Option<&[u8]> {
        self.head.field(name).map(|f| f.value.of(&self.bytes))
    }

    /// When the resource changed, where the answer may be asked for again on that condition.
    pub fn last_modified(&self) -> Option<u64> {
        if !matches!(self.head.status, 200 | 206) {
            return None;
        }
        self.field(Name::LastModified).and_then(wire::date::parse)
    }

    /// Its entity tag, under the same condition.
    pub fn etag(&self) -> Option<&[u8]> {
        if !matches!(self.head.status, 200 | 206) {
            return None;
        }
        // nginx has room for so much (NGX_HTTP_CACHE_ETAG_LEN).
        self.field(Name::ETag).filter(|tag| (1..=128).contains(&tag.len()))
    }

    /// Bytes of memory that it takes.
    pub fn weight(&self) -> usize {
        let body = match &self.body {
            Stored::Memory(bytes) => bytes.len(),
            Stored::File { .. } => 0,
        };
        let fields = self.head.fields.len() * size_of::<wire::Field>();
        size_of::<Entry>() + self.bytes.len() + fields + self.vary.len() + self.variant.len() + body
    }

    /// Bytes of its file.
    pub fn file_len(&self) -> u64 {
        self.body_offset()
            + match &self.body {
                Stored::Memory(bytes) => bytes.len() as u64,
                Stored::File { length, .. } => *length,
            }
    }

    /// Whether the body is all that the head promises: that of an answer to HEAD is not.
    pub fn is_whole(&self) -> bool {
        let length = match &self.body {
            Stored::Memory(bytes) => bytes.len() as u64,
            Stored::File { length, .. } => *length,
        };
        matches!(self.head.status, 204 | 304)
            || self.head.content_length.is_none_or(|promised| promised == length)
    }

    fn body_offset(&self) -> u64 {
        (PREFIX + self.vary.len() + self.variant.len() + self.bytes.len()) as u64
    }

    /// The file up to the body.
    pub fn front(&self) -> Vec<u8> {
        let mut out = self.prefix();
        out.extend_from_slice(&self.vary);
        out.extend_from_slice(&self.variant);
        out.extend_from_slice(&self.bytes);
        out
    }

    fn prefix(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(PREFIX);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.fingerprint);
        for time in [self.times.valid, self.times.updating, self.times.error, self.times.date] {
            out.extend_from_slice(&time.to_le_bytes());
        }
        for length in [self.vary.len(), self.variant.len(), self.bytes.len()] {
            out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        }
        out
    }

    /// Whether that is the file of this very answer: another may have taken its name.
    pub fn is_in(&self, file: &File) -> bool {
        let mut prefix = [0; PREFIX];
        file.metadata().is_ok_and(|data| data.len() == self.file_len())
            && file.read_exact_at(&mut prefix, 0).is_ok()
            && prefix[..] == *self.prefix()
    }

    /// Writes the whole file of an entry that is in memory.
    pub fn write(&self, file: &mut impl Write) -> io::Result<()> {
        file.write_all(&self.front())?;
        match &self.body {
            Stored::Memory(body) => file.write_all(body),
            Stored::File { .. } => Ok(()),
        }
    }

    /// Reads a file of that length; `None` when it is none of ours, or of another key. A body of at most
    /// `in_memory` bytes is read too.
    pub fn read(
        file: &mut impl Read,
        length: u64,
        wanted: &Fingerprint,
        in_memory: u64,
    ) -> io::Result<Option<Entry>> {
        let mut prefix = [0; PREFIX];
        file.read_exact(&mut prefix)?;
        let mut rest = &prefix[..];
        let mut take = |count: usize| {
            let (front, back) = rest.split_at(count.min(rest.len()));
            rest = back;
            front
        };
        if take(MAGIC.len()) != MAGIC || take(32) != wanted {
            return Ok(None);
        }
        let mut time = || take(8).try_into().map(i64::from_le_bytes).unwrap_or_default();
        let times = Times { valid: time(), updating: time(), error: time(), date: time() };
        let mut size = || take(4).try_into().map(u32::from_le_bytes).unwrap_or_default() as usize;
        let sizes = [size(), size(), size()];
        let front: usize = sizes.iter().sum();
        let offset = (PREFIX + front) as u64;
        if sizes.iter().any(|size| *size > LONGEST) || offset > length {
            return Ok(None);
        }
        let mut text = vec![0; front];
        file.read_exact(&mut text)?;
        let bytes = text.split_off(sizes[0] + sizes[1]);
        let variant = text.split_off(sizes[0]);
        let mut head = ResponseHead::default();
        match ResponseParser::new().parse(&bytes, &mut head) {
            Ok(true) if head.head_len as usize == bytes.len() => {}
            _ => return Ok(None),
        }
        let body = if length - offset <= in_memory {
            let mut body = vec![0; (length - offset) as usize];
            file.read_exact(&mut body)?;
            Stored::Memory(body.into())
        } else {
            Stored::File { offset, length: length - offset }
        };
        Ok(Some(Entry {
            fingerprint: *wanted,
            head,
            bytes: bytes.into(),
            body,
            times,
            vary: text.into(),
            variant: variant.into(),
        }))
    }
}

/// The first bytes of a file: what it is, and the version of its form.
const MAGIC: &[u8] = b"DWCACHE1";

/// What every file starts with: magic, fingerprint, four times, three lengths.
const PREFIX: usize = MAGIC.len() + 32 + 4 * 8 + 3 * 4;

/// No part of a head is longer than this.
const LONGEST: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(body: &[u8]) -> Entry {
        let bytes: Arc<[u8]> = Arc::from(&b"HTTP/1.1 200 Fine\r\nETag: \"a\"\r\nVary: X\r\n\r\n"[..]);
        let mut head = ResponseHead::default();
        assert!(ResponseParser::new().parse(&bytes, &mut head).unwrap());
        Entry {
            fingerprint: fingerprint(b"key"),
            head,
            bytes,
            body: Stored::Memory(body.into()),
            times: Times { valid: 5, updating: 6, error: 7, date: -1 },
            vary: Box::from(&b"X"[..]),
            variant: Box::from(&b"x:1\r\n"[..]),
        }
    }

    #[test]
    fn a_file_holds_the_whole_entry_and_not_its_key() {
        let mut file = Vec::new();
        entry(b"hello").write(&mut file).unwrap();
        assert_eq!(file.len() as u64, entry(b"hello").file_len());
        assert!(!file.windows(3).any(|w| w == b"key"));
        let read = |file: &[u8], key: &[u8], most| {
            Entry::read(&mut &file[..], file.len() as u64, &fingerprint(key), most)
        };
        let back = read(&file, b"key", 100).unwrap().unwrap();
        assert_eq!((back.times, back.etag()), (entry(b"").times, Some(&b"\"a\""[..])));
        assert_eq!((&*back.vary, &*back.variant), (&b"X"[..], &b"x:1\r\n"[..]));
        assert!(matches!(&back.body, Stored::Memory(body) if &**body == b"hello"));
        let large = read(&file, b"key", 4).unwrap().unwrap();
        assert!(
            matches!(large.body, Stored::File { offset, length: 5 } if &file[offset as usize..] == b"hello")
        );
        // Another key under the same name, a damaged file, a cut one: none of them is served.
        assert!(read(&file, b"other", 100).unwrap().is_none());
        for at in 0..file.len() - 5 {
            let cut = read(&file[..at], b"key", 100);
            assert!(cut.is_err() || cut.unwrap().is_none(), "cut at {at}");
        }
    }
}
