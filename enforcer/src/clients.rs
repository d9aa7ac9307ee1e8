//! Serving clients of a listener: a bounded number at a time.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// After a connection could not be taken: out of descriptors, most likely, and waiting is all that helps.
const PAUSE: Duration = Duration::from_millis(500);

/// What clients come by.
pub(crate) trait Listener {
    /// A connection.
    type Stream;

    /// The next one.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// Converses with clients for as long as the task lives, with `most` of them at a time; more wait in the kernel's queue. `what`
/// names the listener in the log.
pub(crate) async fn serve<L: Listener, C: Future<Output = ()> + Send + 'static>(
    listener: L,
    what: &'static str,
    most: usize,
    converse: impl Fn(L::Stream) -> C,
) {
    let slots = Arc::new(Semaphore::new(most));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        match listener.next().await {
            Ok(stream) => {
                let conversation = converse(stream);
                tokio::spawn(async move {
                    conversation.await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!("cannot take a connection to {what}: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
