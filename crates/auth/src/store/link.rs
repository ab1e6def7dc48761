//! A connection to a server, kept by a thread of its own and made anew when it is lost.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::{Answer, StoreError, TIMEOUT};

/// How long a connection may take to be made, migrations included.
const CONNECTING: Duration = Duration::from_secs(10);

/// The pause before a connection is tried again; it doubles.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A future of the thread.
pub(super) type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A connection, and what moves its bytes until it is lost.
pub(super) type Connected<C> = Result<(C, Task<()>), StoreError>;

/// A connection that is made anew when it is lost.
pub(super) struct Link<C> {
    state: watch::Receiver<State<C>>,
}

enum State<C> {
    /// For the first time, or just lost: it is worth waiting for.
    Connecting,
    Up(Arc<Live<C>>),
    Down(StoreError),
}

struct Live<C> {
    connection: Arc<C>,
    /// Told by whoever has got no answer.
    silent: Notify,
}

impl<C: Send + Sync + 'static> Link<C> {
    /// Starts the thread; it ends when the link is dropped.
    pub(super) fn start(
        name: &str,
        connect: impl Fn() -> Task<Connected<C>> + Send + Sync + 'static,
    ) -> Result<Link<C>, StoreError> {
        let failed = |error: std::io::Error| StoreError::Unavailable(error.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (sender, state) = watch::channel(State::Connecting);
        let wait = async move {
            let (mut kept, mut left) = (pin!(keep(&sender, connect)), pin!(sender.closed()));
            poll_fn(|cx| match left.as_mut().poll(cx) {
                Poll::Pending => kept.as_mut().poll(cx),
                Poll::Ready(()) => Poll::Ready(()),
            })
            .await;
        };
        thread::Builder::new().name(name.into()).spawn(move || runtime.block_on(wait)).map_err(failed)?;
        Ok(Link { state })
    }

    /// Asks by the connection, within [`TIMEOUT`]. While it is down the answer comes at once.
    pub(super) fn ask<T: Send + 'static, F: Future<Output = Result<T, StoreError>> + Send>(
        &self,
        question: impl FnOnce(Arc<C>) -> F + Send + 'static,
    ) -> Answer<T> {
        let mut state = self.state.clone();
        Box::pin(async move {
            let mut asked = None;
            let answer = async {
                let live = match state.wait_for(|state| !matches!(state, State::Connecting)).await.as_deref()
                {
                    Ok(State::Up(live)) => live.clone(),
                    Ok(State::Down(error)) => return Err(error.clone()),
                    Ok(State::Connecting) | Err(_) => {
                        return Err(StoreError::Unavailable("it is closed".into()));
                    }
                };
                let connection = live.connection.clone();
                asked = Some(live);
                question(connection).await
            };
            match timeout(TIMEOUT, answer).await {
                Ok(result) => result,
                Err(_) => {
                    if let Some(live) = asked {
                        live.silent.notify_one();
                    }
                    Err(StoreError::Unavailable("it did not answer in time".into()))
                }
            }
        })
    }
}

/// Makes connections, one after the other.
async fn keep<C>(state: &watch::Sender<State<C>>, connect: impl Fn() -> Task<Connected<C>>) {
    let mut pause = PAUSE;
    loop {
        match timeout(CONNECTING, connect()).await {
            Ok(Ok((connection, mut lost))) => {
                let live = Arc::new(Live { connection: Arc::new(connection), silent: Notify::new() });
                state.send_replace(State::Up(live.clone()));
                let mut silent = pin!(live.silent.notified());
                poll_fn(|cx| match silent.as_mut().poll(cx) {
                    Poll::Pending => lost.as_mut().poll(cx),
                    Poll::Ready(()) => Poll::Ready(()),
                })
                .await;
                state.send_replace(State::Connecting);
                pause = PAUSE;
                // A server that lets go of everyone at once is not asked without a pause.
                sleep(pause).await;
            }
            failed => {
                let silent = || StoreError::Unavailable("no connection is made in time".into());
                let error = failed.ok().and_then(Result::err).unwrap_or_else(silent);
                state.send_replace(State::Down(error));
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}
