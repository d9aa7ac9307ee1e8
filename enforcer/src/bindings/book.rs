//! Who has which address, until when: pure, with time as an argument.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

/// An address that a device has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The name of its address space.
    pub realm: String,
    /// The address.
    pub address: Ipv4Addr,
    /// When the lease ends, in nanoseconds of the tick clock; `u64::MAX` for never.
    pub expires: u64,
}

/// What an entry replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replaced {
    /// What the device had before, maybe the same address.
    pub before: Option<Held>,
    /// The other device that had the address until now, and what it had.
    pub loser: Option<(String, Held)>,
}

/// Who has which address: a device has at most one, and an address belongs to at most one device of its realm.
#[derive(Clone, Debug, Default)]
pub struct Book {
    devices: BTreeMap<String, Held>,
    owners: HashMap<(String, Ipv4Addr), String>,
}

impl Book {
    /// Notes that a device has an address from now on, whoever had it before.
    pub fn put(&mut self, device: &str, held: Held) -> Replaced {
        let before = self.remove(device);
        let owner = self.owners.get(&key(&held)).cloned();
        let loser = owner.and_then(|owner| self.remove(&owner).map(|lost| (owner, lost)));
        self.owners.insert(key(&held), device.to_owned());
        self.devices.insert(device.to_owned(), held);
        Replaced { before, loser }
    }

    /// Forgets what a device has.
    pub fn remove(&mut self, device: &str) -> Option<Held> {
        let held = self.devices.remove(device)?;
        self.owners.remove(&key(&held));
        Some(held)
    }

    /// Forgets what is over by `now`, and tells it.
    pub fn expire(&mut self, now: u64) -> Vec<(String, Held)> {
        self.retain(|_, held| now < held.expires)
    }

    /// Forgets what does not fit, and tells it.
    pub fn retain(&mut self, fits: impl Fn(&str, &Held) -> bool) -> Vec<(String, Held)> {
        let unfit = self.iter().filter(|(device, held)| !fits(device, held));
        let names: Vec<_> = unfit.map(|(device, _)| device.to_owned()).collect();
        let forgotten = names.into_iter().filter_map(|device| {
            let held = self.remove(&device)?;
            Some((device, held))
        });
        forgotten.collect()
    }

    /// What a device has.
    pub fn get(&self, device: &str) -> Option<&Held> {
        self.devices.get(device)
    }

    /// Devices and what they have, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Held)> {
        self.devices.iter().map(|(device, held)| (device.as_str(), held))
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Whether nobody has anything.
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }
}

fn key(held: &Held) -> (String, Ipv4Addr) {
    (held.realm.clone(), held.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(last: u8, expires: u64) -> Held {
        in_realm("default", last, expires)
    }

    fn in_realm(realm: &str, last: u8, expires: u64) -> Held {
        Held {
            realm: realm.into(),
            address: [10, 0, 0, last].into(),
            expires,
        }
    }

    /// Both directions agree.
    fn consistent(book: &Book) {
        assert_eq!(book.devices.len(), book.owners.len());
        for (device, held) in book.iter() {
            assert_eq!(book.owners[&key(held)], device);
        }
    }

    #[test]
    fn a_device_has_one_address_the_newest() {
        let mut book = Book::default();
        assert_eq!(book.put("pump", held(1, 10)), Replaced::default());
        assert_eq!(book.put("pump", held(1, 20)).before, Some(held(1, 10)));
        assert_eq!(book.put("pump", held(2, 30)).before, Some(held(1, 20)));
        assert_eq!(book.iter().collect::<Vec<_>>(), [("pump", &held(2, 30))]);
        consistent(&book);
        // The address that it gave up is free.
        assert_eq!(book.put("monitor", held(1, 9)), Replaced::default());
        consistent(&book);
    }

    #[test]
    fn an_address_has_one_device_the_newest() {
        let mut book = Book::default();
        book.put("pump", held(1, 10));
        let replaced = book.put("monitor", held(1, 20));
        assert_eq!(replaced.loser, Some(("pump".into(), held(1, 10))));
        assert_eq!(book.iter().collect::<Vec<_>>(), [("monitor", &held(1, 20))]);
        consistent(&book);
        // The same address in another realm is another address.
        assert_eq!(book.put("guest", in_realm("guests", 1, 5)), Replaced::default());
        assert_eq!(book.len(), 2);
        consistent(&book);
    }

    #[test]
    fn two_devices_that_swap_addresses_keep_one_each() {
        let mut book = Book::default();
        book.put("a", held(1, 10));
        book.put("b", held(2, 10));
        let replaced = book.put("a", held(2, 20));
        assert_eq!(
            (replaced.before, replaced.loser),
            (Some(held(1, 10)), Some(("b".into(), held(2, 10))))
        );
        assert_eq!(book.put("b", held(1, 20)), Replaced::default());
        assert_eq!(book.len(), 2);
        consistent(&book);
    }

    #[test]
    fn leases_end_at_their_time_and_not_before() {
        let mut book = Book::default();
        book.put("short", held(1, 10));
        book.put("long", held(2, 11));
        book.put("ever", held(3, u64::MAX));
        assert_eq!(book.expire(9), []);
        assert_eq!(book.expire(10), [("short".to_owned(), held(1, 10))]);
        assert_eq!(book.expire(u64::MAX - 1).len(), 1);
        assert_eq!(book.iter().next(), Some(("ever", &held(3, u64::MAX))));
        consistent(&book);
    }
}
