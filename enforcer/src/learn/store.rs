//! The observations, in memory and on disk.
//!
//! A store never grows over its limit. A full one keeps what it has, because a job that runs once a month is not seen again
//! soon, and counts what it leaves out. Connections that nobody answered, of which a scan makes thousands, get at most half
//! of the places, and few from one source; they make room for answered ones.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The version of the file.
const VERSION: u32 = 1;

/// Observations that a store keeps, unless it is told otherwise.
pub const LIMIT: usize = 65_536;

/// Unanswered ones that it keeps from one source.
pub const UNANSWERED_A_SOURCE: usize = 256;

/// An end of a connection: a device by its name, so that a change of its address makes nobody new; else an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct End {
    /// Its zone; `None` when no zone declares the address.
    pub zone: Option<String>,
    /// The device.
    pub device: Option<String>,
    /// The address, of ends that are no device.
    pub address: Option<IpAddr>,
}

/// What makes two connections the same observation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// Who opened it.
    pub from: End,
    /// Toward whom.
    pub to: End,
    /// What was asked for: `tcp/443`, `icmp/8/0`.
    pub service: String,
}

/// What is known of the connections of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// Whether any of them was answered.
    pub answered: bool,
    /// Unix seconds of the first.
    pub first: u64,
    /// Unix seconds of the last.
    pub last: u64,
    /// How often they were seen.
    pub count: u64,
}

/// The observations, bounded.
#[derive(Debug)]
pub struct Store {
    seen: BTreeMap<Key, Observation>,
    unanswered: BTreeMap<End, usize>,
    limit: usize,
    left_out: u64,
}

/// A store as it was read from a file.
#[derive(Debug)]
pub struct Loaded {
    /// What the file held.
    pub store: Store,
    /// Lines that were damaged or over the limit, and are left out.
    pub lost: usize,
}

#[derive(Serialize, Deserialize)]
struct Header {
    schema_version: u32,
    entries: usize,
    left_out: u64,
}

#[derive(Serialize, Deserialize)]
struct Body {
    #[serde(flatten)]
    key: Key,
    #[serde(flatten)]
    observation: Observation,
}

/// A line of the file: what is sealed, and the SHA-256 of its JSON.
#[derive(Serialize, Deserialize)]
struct Sealed<T> {
    sha256: String,
    record: T,
}

impl Store {
    /// An empty one, for so many observations.
    pub fn new(limit: usize) -> Self {
        Self {
            seen: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            limit,
            left_out: 0,
        }
    }

    /// The observations, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Observation)> {
        self.seen.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// How often something was left out for want of a place.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Adds what was seen. Returns whether there was a place for it.
    pub fn note(&mut self, key: Key, seen: &Observation) -> bool {
        if self.seen.contains_key(&key) || self.make_room(&key.from, seen.answered) {
            self.put(key, seen);
            return true;
        }
        self.left_out = self.left_out.saturating_add(1);
        false
    }

    /// Whether there is a place for an observation that is new; for an answered one an unanswered one may go.
    fn make_room(&mut self, from: &End, answered: bool) -> bool {
        if !answered {
            let of_source = self.unanswered.get(from).copied().unwrap_or(0);
            let all: usize = self.unanswered.values().sum();
            return self.len() < self.limit && all < self.limit / 2 && of_source < UNANSWERED_A_SOURCE;
        }
        if self.len() < self.limit {
            return true;
        }
        let unanswered = self.seen.iter().filter(|(_, known)| !known.answered);
        let Some(oldest) = unanswered
            .min_by_key(|(_, known)| known.last)
            .map(|(key, _)| key.clone())
        else {
            return false;
        };
        self.seen.remove(&oldest);
        self.forget_unanswered(&oldest.from);
        self.left_out = self.left_out.saturating_add(1);
        true
    }

    fn put(&mut self, key: Key, seen: &Observation) {
        let from = key.from.clone();
        match self.seen.entry(key) {
            Entry::Vacant(place) => {
                place.insert(seen.clone());
                if !seen.answered {
                    *self.unanswered.entry(from).or_default() += 1;
                }
            }
            Entry::Occupied(mut place) => {
                let known = place.get_mut();
                let becomes_answered = seen.answered && !known.answered;
                known.answered |= seen.answered;
                known.first = known.first.min(seen.first);
                known.last = known.last.max(seen.last);
                known.count = known.count.saturating_add(seen.count);
                if becomes_answered {
                    self.forget_unanswered(&from);
                }
            }
        }
    }

    fn forget_unanswered(&mut self, from: &End) {
        if let Some(count) = self.unanswered.get_mut(from) {
            *count -= 1;
            if *count == 0 {
                self.unanswered.remove(from);
            }
        }
    }

    /// Writes the file whole: aside, to the disk, then renamed. When that fails the old file stays as it was.
    ///
    /// # Errors
    /// When it cannot be written: a full disk.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let aside = path.with_extension("new");
        let written = self.write(&aside).and_then(|()| fs::rename(&aside, path));
        if written.is_err() {
            // A full disk gets back what the attempt took of it.
            let _ = fs::remove_file(&aside);
        }
        written?;
        path.parent()
            .map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let mut writer = io::BufWriter::new(fs::File::create(path)?);
        let header = Header {
            schema_version: VERSION,
            entries: self.len(),
            left_out: self.left_out,
        };
        write_line(&mut writer, header)?;
        for (key, observation) in &self.seen {
            let body = Body {
                key: key.clone(),
                observation: observation.clone(),
            };
            write_line(&mut writer, body)?;
        }
        writer.into_inner()?.sync_all()
    }

    /// What the file holds; nothing without a file. Damaged lines are left out and counted.
    ///
    /// # Errors
    /// When it cannot be read, or is no store of this version.
    pub fn load(path: &Path, limit: usize) -> Result<Loaded, String> {
        let mut store = Self::new(limit);
        let octets = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded { store, lost: 0 }),
            octets => octets.map_err(|error| error.to_string())?,
        };
        let mut lines = octets.split(|octet| *octet == b'\n');
        let header: Header = lines.next().and_then(unseal).ok_or("its first line is damaged")?;
        if header.schema_version != VERSION {
            return Err(format!("it has version {}, not {VERSION}", header.schema_version));
        }
        let mut good: usize = 0;
        for Body { key, observation } in lines.filter_map(unseal) {
            good += usize::from(store.note(key, &observation));
        }
        store.left_out = store.left_out.saturating_add(header.left_out);
        let lost = header.entries.saturating_sub(good);
        Ok(Loaded { store, lost })
    }
}

fn write_line<T: Serialize>(writer: &mut impl io::Write, record: T) -> io::Result<()> {
    let sha256 = seal(&record)?;
    serde_json::to_writer(&mut *writer, &Sealed { sha256, record })?;
    writer.write_all(b"\n")
}

fn seal<T: Serialize>(record: &T) -> serde_json::Result<String> {
    let digest = Sha256::digest(serde_json::to_vec(record)?);
    let hex = |text: String, octet: &u8| text + &format!("{octet:02x}");
    Ok(digest.iter().fold(String::new(), hex))
}

/// The record of a line that is whole.
fn unseal<T: Serialize + for<'a> Deserialize<'a>>(line: &[u8]) -> Option<T> {
    let line: Sealed<T> = serde_json::from_slice(line).ok()?;
    (seal(&line.record).ok()? == line.sha256).then_some(line.record)
}

#[cfg(test)]
mod tests;
