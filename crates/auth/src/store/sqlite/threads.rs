//! The threads that ask SQLite, and what waits for them.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use rusqlite::Connection;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::failed;
use crate::store::{Answer, StoreError, TIMEOUT};

/// Calls that may wait for a thread: more are refused.
const QUEUE: usize = 4096;

/// Calls that are written in one transaction.
const GROUP: usize = 256;

/// What a thread is to do.
trait Call: Send {
    /// Whether nobody waits for it any more.
    fn is_left(&self) -> bool;
    /// Does it.
    fn run(self: Box<Self>, connection: &Connection) -> Done;
    /// Tells that it cannot be done.
    fn refuse(self: Box<Self>, error: StoreError);
}

/// What was done, and is not told yet.
struct Done {
    good: bool,
    /// Tells it, or that it did not come to stay.
    tell: Box<dyn FnOnce(Result<(), StoreError>)>,
}

struct Asked<F, T> {
    what: F,
    asker: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send + 'static, F: FnOnce(&Connection) -> Result<T, StoreError> + Send> Call for Asked<F, T> {
    fn is_left(&self) -> bool {
        self.asker.is_closed()
    }

    fn run(self: Box<Self>, connection: &Connection) -> Done {
        let (result, asker) = ((self.what)(connection), self.asker);
        Done {
            good: result.is_ok(),
            // Whoever does not wait any more does not hear it.
            tell: Box::new(move |stays| drop(asker.send(stays.and(result)))),
        }
    }

    fn refuse(self: Box<Self>, error: StoreError) {
        drop(self.asker.send(Err(error)));
    }
}

/// A thread that has a connection.
pub(super) struct Thread {
    calls: SyncSender<Box<dyn Call>>,
}

impl Thread {
    /// One that reads.
    pub(super) fn reading(connection: Connection) -> Result<Thread, StoreError> {
        Self::start("store-read", connection, read)
    }

    /// One that writes.
    pub(super) fn writing(connection: Connection) -> Result<Thread, StoreError> {
        Self::start("store-write", connection, write)
    }

    /// It ends when this is dropped.
    fn start(
        name: &str,
        connection: Connection,
        serve: fn(&Connection, &Receiver<Box<dyn Call>>),
    ) -> Result<Thread, StoreError> {
        let (calls, waiting) = sync_channel(QUEUE);
        thread::Builder::new()
            .name(name.into())
            .spawn(move || serve(&connection, &waiting))
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Thread { calls })
    }

    /// Has it do something, and waits for that.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        let (asker, answer) = oneshot::channel();
        let sent = self.calls.try_send(Box::new(Asked { what, asker }));
        Box::pin(async move {
            let unavailable = |why: &str| StoreError::Unavailable(why.into());
            match sent {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => return Err(unavailable("too many calls wait for it")),
                Err(TrySendError::Disconnected(_)) => return Err(unavailable("its thread has ended")),
            }
            match timeout(TIMEOUT, answer).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(unavailable("its thread has ended")),
                Err(_) => Err(unavailable("it did not answer in time")),
            }
        })
    }
}

/// The thread that reads.
fn read(connection: &Connection, calls: &Receiver<Box<dyn Call>>) {
    for call in calls.iter().filter(|call| !call.is_left()) {
        (call.run(connection).tell)(Ok(()));
    }
}

/// The thread that writes: all that waits, in one transaction.
fn write(connection: &Connection, calls: &Receiver<Box<dyn Call>>) {
    while let Ok(first) = calls.recv() {
        let waiting = std::iter::once(first).chain(calls.try_iter().take(GROUP - 1));
        let group = waiting.filter(|call| !call.is_left());
        if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE").map_err(failed) {
            group.for_each(|call| call.refuse(error.clone()));
            continue;
        }
        let done: Vec<Done> = group.map(|call| apart(connection, call)).collect();
        let stays = connection.execute_batch("COMMIT").map_err(failed);
        if stays.is_err() && !connection.is_autocommit() {
            // What this fails with, the next transaction will fail with, too.
            let _ = connection.execute_batch("ROLLBACK");
        }
        for done in done {
            let stays = if done.good { stays.clone() } else { Ok(()) };
            (done.tell)(stays);
        }
    }
}

/// Does a call so that its failure undoes nothing of the others in the same transaction.
fn apart(connection: &Connection, call: Box<dyn Call>) -> Done {
    let begun = connection.execute_batch("SAVEPOINT one");
    let done = call.run(connection);
    let end = if done.good { "RELEASE one" } else { "ROLLBACK TO one; RELEASE one" };
    match begun.and_then(|()| connection.execute_batch(end)) {
        Ok(()) => done,
        Err(error) => {
            let error = failed(error);
            Done { good: true, tell: Box::new(move |_| (done.tell)(Err(error))) }
        }
    }
}
