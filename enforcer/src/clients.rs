//! Serving clients of a listener: a bounded number at a time, and nobody who stays silent keeps others out.
//!
//! Every connection is taken at once. When an owner has as many that have not asked yet as it may have, its oldest one has to go; so
//! thousands of silent connections delay nobody who asks, and one user's never another's.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// After a connection could not be taken: out of descriptors, most likely, and waiting is all that helps.
const PAUSE: Duration = Duration::from_millis(500);

/// What clients come by.
pub(crate) trait Listener {
    /// A connection.
    type Stream;

    /// The next one.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Who has it: of equals, one cannot keep another out.
    fn owner(stream: &Self::Stream) -> Option<u32>;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(stream, _)| stream)
    }

    fn owner(_: &TcpStream) -> Option<u32> {
        None
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }

    fn owner(stream: &UnixStream) -> Option<u32> {
        stream.peer_cred().ok().map(|peer| peer.uid())
    }
}

/// Converses with clients for as long as the task lives. Of each owner, `most` may be about to ask, and [`Place::keep`] lets as many be
/// answered. `what` names the listener in the log.
pub(crate) async fn serve<L: Listener, C: Future<Output = ()> + Send + 'static>(
    listener: L,
    what: &'static str,
    most: usize,
    converse: impl Fn(L::Stream, Place) -> C,
) {
    let seats = Arc::new(Seats {
        most,
        taken: Mutex::default(),
        freed: Notify::new(),
    });
    loop {
        match listener.next().await {
            Ok(stream) => {
                let place = seats.place(L::owner(&stream));
                let number = place.number;
                let client = tokio::spawn(converse(stream, place));
                if let Some(seat) = seats.taken().by_number.get_mut(&number) {
                    seat.client = Some(client.abort_handle());
                }
            }
            Err(error) => {
                tracing::warn!("cannot take a connection to {what}: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

struct Seats {
    most: usize,
    taken: Mutex<Taken>,
    /// A client has gone.
    freed: Notify,
}

#[derive(Default)]
struct Taken {
    next: u64,
    /// The oldest first.
    by_number: BTreeMap<u64, Seat>,
}

struct Seat {
    owner: Option<u32>,
    client: Option<AbortHandle>,
    /// It has asked, and is answered.
    kept: bool,
}

impl Seats {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a client of this owner, whose oldest one that has not asked goes if it has too many.
    fn place(self: &Arc<Self>, owner: Option<u32>) -> Place {
        let mut taken = self.taken();
        if taken.of(owner, false).count() >= self.most {
            let oldest = taken.of(owner, false).next();
            let seat = oldest.and_then(|number| taken.by_number.remove(&number));
            if let Some(client) = seat.and_then(|seat| seat.client) {
                client.abort();
            }
        }
        let number = taken.next;
        taken.next += 1;
        let seat = Seat {
            owner,
            client: None,
            kept: false,
        };
        taken.by_number.insert(number, seat);
        Place {
            seats: Arc::clone(self),
            number,
        }
    }
}

impl Taken {
    fn of(&self, owner: Option<u32>, kept: bool) -> impl Iterator<Item = u64> {
        let seats = self.by_number.iter();
        seats.filter_map(move |(number, seat)| (seat.owner == owner && seat.kept == kept).then_some(*number))
    }
}

/// A client's place, which is free when this is dropped.
pub(crate) struct Place {
    seats: Arc<Seats>,
    number: u64,
}

impl Place {
    /// It has asked: from now on it goes for no newer client. Waits while as many of its owner are being answered as may be, and goes
    /// for a newer one meanwhile.
    pub(crate) async fn keep(&self) {
        loop {
            let freed = self.seats.freed.notified();
            if self.try_keep() {
                return;
            }
            freed.await;
        }
    }

    fn try_keep(&self) -> bool {
        let mut taken = self.seats.taken();
        let Some(owner) = taken.by_number.get(&self.number).map(|seat| seat.owner) else {
            return false;
        };
        let has_room = taken.of(owner, true).count() < self.seats.most;
        if let Some(seat) = taken.by_number.get_mut(&self.number) {
            seat.kept = has_room;
        }
        has_room
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.seats.taken().by_number.remove(&self.number);
        self.seats.freed.notify_waiters();
    }
}
