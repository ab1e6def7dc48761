//! A configuration that the master has read and the worker process has not taken yet: only its word puts it in force.

use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::sockets::Sockets;
use crate::config::Config;

/// How often the master looks for the worker process's word, and how long it then waits.
pub const LOOK: Duration = Duration::from_millis(5);
const WAIT: Duration = Duration::from_millis(1);

/// Names are looked up while a configuration is compiled, which may take a while where a name server does not answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// No sentence is longer; a worker process may have been taken over.
const MOST: usize = 16384;

/// What is to take the place of the configuration in force.
pub struct Pending {
    /// The configuration.
    pub config: Arc<Config>,
    /// Its sockets.
    pub sockets: Sockets,
    /// What the worker process has said of it so far.
    pub word: Word,
}

/// A sentence, or none, and a zero byte.
pub struct Word {
    bytes: Vec<u8>,
    /// When there is no hope left.
    end: Instant,
}

/// What the worker process says.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It can serve with the configuration.
    Taken,
    /// It goes on with the old one, for this reason.
    Refused(String),
    /// It is gone, and what it was told with it.
    Gone,
    /// It says nothing.
    Late,
}

impl Pending {
    /// A configuration of which the worker process has just been told.
    pub fn new(config: Arc<Config>, sockets: Sockets) -> Pending {
        Pending { config, sockets, word: Word::awaited() }
    }
}

impl Word {
    fn awaited() -> Word {
        Word { bytes: Vec::new(), end: Instant::now() + PATIENCE }
    }

    /// What has arrived on the channel; `None` while there may be one later.
    pub fn hear(&mut self, channel: &UnixStream) -> Option<Verdict> {
        let mut chunk = [0; 1024];
        let read = channel.set_read_timeout(Some(WAIT)).and_then(|()| (&*channel).read(&mut chunk));
        match read {
            Ok(0) => return Some(Verdict::Gone),
            Ok(length) => self.bytes.extend_from_slice(chunk.get(..length).unwrap_or_default()),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(_) => return Some(Verdict::Gone),
        }
        let end = self.bytes.iter().position(|byte| *byte == 0);
        match end.or((self.bytes.len() > MOST).then_some(MOST)) {
            Some(0) => Some(Verdict::Taken),
            Some(end) => {
                let sentence = String::from_utf8_lossy(self.bytes.get(..end).unwrap_or_default());
                // It goes into a log, as one line.
                Some(Verdict::Refused(sentence.replace(char::is_control, " ")))
            }
            None => (Instant::now() > self.end).then_some(Verdict::Late),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_word_may_come_in_parts_and_has_an_end() {
        let (master, mut worker) = UnixStream::pair().unwrap();
        let mut word = Word::awaited();
        assert_eq!(word.hear(&master), None);
        worker.write_all(b"host not\nfound ").unwrap();
        assert_eq!(word.hear(&master), None);
        worker.write_all(b"in upstream\0").unwrap();
        let refused = Verdict::Refused("host not found in upstream".to_owned());
        assert_eq!(word.hear(&master), Some(refused));
    }
}
