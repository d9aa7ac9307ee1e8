//! Addresses that devices get by DHCP, learnt from what declared servers acknowledge.
//!
//! ```text
//! ring DHCP ──reader──▶ message::read ──▶ Inventory::owner ──▶ Book ──▶ table BINDINGS of the kernel
//!                       octets to Ack      which device?        who has what        └──▶ bindings.json
//! ```
//!
//! Only the kernel program decides by them, and only until a lease ends, whether or not a controller runs. The book here is
//! the controller's own record: by names, so that it outlives generations and their numbers.

pub mod book;
mod ignored;
pub mod inventory;
pub mod message;
mod reader;
mod status;
pub mod store;
mod table;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::kernel::ticks::TickClock;
use crate::kernel::{Error, Generation};
use crate::object::OBJECT;
use book::{Book, Held, Replaced};
pub use ignored::Ignored;
pub use inventory::Inventory;
pub use reader::read;
pub use status::DeviceStatus;
use store::Moment;
use table::{Numbers, Table};

/// What the controller knows of leases.
pub struct Bindings {
    path: PathBuf,
    inner: Mutex<Inner>,
    ignored: [AtomicU64; Ignored::ALL.len()],
}

#[derive(Default)]
struct Inner {
    book: Book,
    /// What the book says and the disk does not.
    unsaved: bool,
    inventory: Arc<Inventory>,
    numbers: Numbers,
    /// `None` before the first policy, and in tests.
    table: Option<Table>,
}

impl Bindings {
    /// Nothing, to be kept in the state directory.
    pub fn new(state_directory: &Path) -> Self {
        Self {
            path: state_directory.join("bindings.json"),
            inner: Mutex::default(),
            ignored: Default::default(),
        }
    }

    /// Takes up what was known before: by the file, and rather by the kernel, where an earlier controller has left it.
    /// What cannot be read is logged, and learnt anew when leases are renewed.
    pub fn adopt(&self, maps: &Path) {
        let Ok(now) = now() else {
            return;
        };
        let on_disk = store::load(&self.path, now).unwrap_or_else(|error| {
            let path = self.path.display();
            tracing::error!(
                "{path} is not used: {error}. Devices get their addresses back when their leases are renewed"
            );
            Vec::new()
        });
        let pinned = table::pinned(maps).unwrap_or_else(|error| {
            tracing::error!("the kernel's bindings are not adopted: {error}");
            Vec::new()
        });
        let mut inner = self.inner();
        for (device, held) in on_disk.into_iter().chain(pinned) {
            if now.ticks < held.expires {
                inner.book.put(&device, held);
            }
        }
        inner.unsaved = true;
    }

    /// Follows a policy that has just been put in force: devices that it has no more lose what they had, the others keep it.
    ///
    /// # Errors
    /// When the kernel's table cannot be opened or read.
    pub fn follow(&self, generation: &Generation, inventory: Arc<Inventory>) -> Result<(), Error> {
        let mut inner = self.inner();
        if inner.table.is_none() {
            inner.table = Some(Table::open(generation)?);
        }
        inner.numbers = Numbers::of(generation.slots());
        inner.inventory = inventory;
        inner.retain();
        let refused = inner.sync()?;
        drop(inner);
        for (device, reason) in refused {
            tracing::error!(device, "the device loses its address: {reason}");
            self.count(reason);
        }
        Ok(())
    }

    /// Learns from a DHCP message. `realm` is that of the VLAN where it was seen; `at`, on the tick clock, when.
    pub fn hear(&self, octets: &[u8], realm: Option<&str>, at: u64, now: u64) {
        let outcome = message::read(octets);
        let learnt = outcome.and_then(|ack| {
            let learnt = self.inner().learn(&ack, realm, at, now);
            learnt.inspect_err(|reason| tell_ignored(&ack, *reason))
        });
        match learnt {
            Ok(learnt) => learnt.log(),
            Err(reason) => self.count(reason),
        }
    }

    /// Forgets leases that are over, and writes to the disk what is new.
    pub fn sweep(&self) {
        let Ok(now) = now() else {
            return;
        };
        let over = self.inner().expire(now.ticks);
        for (device, held) in over {
            tracing::info!(device, address = %held.address, "the lease is over");
        }
        self.save(now);
    }

    /// Devices that have an address by DHCP now.
    pub fn count_held(&self) -> usize {
        self.inner().book.len()
    }

    /// What a device has, on the tick clock.
    pub fn held(&self, device: &str) -> Option<Held> {
        self.inner().book.get(device).cloned()
    }

    /// Messages that taught nothing, by reason.
    pub fn ignored(&self) -> impl Iterator<Item = (Ignored, u64)> {
        Ignored::ALL
            .into_iter()
            .map(|reason| (reason, self.ignored[reason as usize].load(Ordering::Relaxed)))
    }

    fn count(&self, reason: Ignored) {
        self.ignored[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The disk is slow, so the book is not locked while it is written.
    fn save(&self, now: Moment) {
        let book = {
            let mut inner = self.inner();
            if !std::mem::take(&mut inner.unsaved) {
                return;
            }
            inner.book.clone()
        };
        if let Err(error) = store::save(&self.path, &book, now) {
            tracing::error!(
                "cannot write {}: {error}; a reboot would forget leases",
                self.path.display()
            );
            self.inner().unsaved = true;
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of an acknowledgement.
struct Learnt {
    device: String,
    address: Ipv4Addr,
    until: Option<u64>,
    replaced: Replaced,
}

impl Inner {
    fn learn(&mut self, ack: &message::Ack, realm: Option<&str>, at: u64, now: u64) -> Result<Learnt, Ignored> {
        let inventory = Arc::clone(&self.inventory);
        let device = inventory.owner(ack.mac, ack.address, realm)?;
        let length = ack.lease.map(|lease| lease.as_nanos() as u64);
        let held = Held {
            realm: device.realm.clone(),
            address: ack.address,
            expires: length.map_or(u64::MAX, |length| at.saturating_add(length)),
        };
        if held.expires <= now {
            return Err(Ignored::LeaseOver);
        }
        let learnt = Learnt {
            device: device.name.clone(),
            address: held.address,
            until: length.map(|length| length / 1_000_000_000),
            replaced: self.book.put(&device.name, held.clone()),
        };
        self.unsaved = true;
        self.write(&device.name, &held, &learnt.replaced)?;
        Ok(learnt)
    }

    /// Makes the kernel's table follow the book.
    fn write(&mut self, device: &str, held: &Held, replaced: &Replaced) -> Result<(), Ignored> {
        let Some(table) = &mut self.table else {
            return Ok(());
        };
        let (key, binding) = self.numbers.entry(device, held).ok_or(Ignored::UnknownDevice)?;
        let before = replaced.before.as_ref().and_then(|before| self.numbers.key(before));
        // First out, then in: a full table has room for it then.
        if let Some(before) = before.filter(|before| *before != key) {
            table.remove(&before);
        }
        table.set(&key, &binding).inspect_err(|_| {
            self.book.remove(device);
        })
    }

    fn expire(&mut self, now: u64) -> Vec<(String, Held)> {
        let over = self.book.expire(now);
        self.forget(&over);
        over
    }

    fn retain(&mut self) {
        let inventory = Arc::clone(&self.inventory);
        let gone = self
            .book
            .retain(|device, held| inventory.permits(device, &held.realm, held.address));
        for (device, held) in &gone {
            tracing::info!(device, address = %held.address, "the policy has no place for this lease any more");
        }
        self.unsaved |= !gone.is_empty();
    }

    /// Takes what the book has forgotten out of the kernel's table.
    fn forget(&mut self, forgotten: &[(String, Held)]) {
        self.unsaved |= !forgotten.is_empty();
        let Some(table) = &mut self.table else {
            return;
        };
        for key in forgotten.iter().filter_map(|(_, held)| self.numbers.key(held)) {
            table.remove(&key);
        }
    }

    /// Makes the kernel's table hold the book, and the book what the table has room for. Returns what it has not.
    fn sync(&mut self) -> Result<Vec<(String, Ignored)>, Error> {
        let Some(table) = &mut self.table else {
            return Ok(Vec::new());
        };
        let synced = table.sync(&self.book, &self.numbers);
        let refused = synced.map_err(|error| Error::aya("reading BINDINGS", &error))?;
        for (device, _) in &refused {
            self.book.remove(device);
        }
        Ok(refused)
    }
}

impl Learnt {
    fn log(&self) {
        let Self { device, address, .. } = self;
        let lease = self
            .until
            .map_or_else(|| "for ever".to_owned(), |seconds| format!("{seconds} s"));
        match &self.replaced.before {
            None => tracing::info!(device, %address, lease, "address learnt by DHCP"),
            Some(before) if before.address == *address => tracing::debug!(device, %address, lease, "lease renewed"),
            Some(before) => {
                tracing::info!(device, %address, lease, before = %before.address, "another address learnt by DHCP");
            }
        }
        if let Some((loser, _)) = &self.replaced.loser {
            tracing::warn!(device, %address, from = loser, "the address was another device's until now");
        }
    }
}

fn tell_ignored(ack: &message::Ack, reason: Ignored) {
    let (mac, address) = (crate::words::mac(ack.mac), ack.address);
    if reason.is_finding() {
        tracing::warn!(mac, %address, "a DHCP lease is ignored: {reason}");
    } else {
        tracing::debug!(mac, %address, "a DHCP lease is ignored: {reason}");
    }
}

/// Both clocks now. The tick clock was measured before any policy was loaded.
fn now() -> Result<Moment, Error> {
    let clock = TickClock::measure(OBJECT)?;
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Ok(Moment {
        ticks: clock.now(),
        unix: wall.map_or(0, |since| since.as_nanos() as u64),
    })
}

#[cfg(test)]
mod tests;
