//! The file: a line of JSON each, with its SHA-256.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Key, Mark, Observation, Refusal, Refused, Store};
use crate::files::read_at_most;
use crate::private;
use crate::words::hexadecimal;

/// The version of the file.
const VERSION: u32 = 1;

/// No file that this program writes is as large: 65,536 observations of at most a thousand octets.
const LARGEST: u64 = 256 << 20;

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
    mark: Mark,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record {
    Seen {
        #[serde(flatten)]
        key: Key,
        #[serde(flatten)]
        observation: Observation,
    },
    Refused {
        #[serde(flatten)]
        refusal: Refusal,
        #[serde(flatten)]
        refused: Refused,
    },
}

/// A line of the file: what is sealed, and the SHA-256 of its JSON.
#[derive(Serialize, Deserialize)]
struct Sealed<T> {
    sha256: String,
    record: T,
}

impl Store {
    /// The file as it is to be written.
    ///
    /// # Errors
    /// None that is known: a record always has a text.
    pub fn text(&self) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        let header = Header {
            schema_version: VERSION,
            entries: self.len() + self.refusals.len(),
            left_out: self.left_out,
            mark: self.mark.clone(),
        };
        write_line(&mut text, header)?;
        // Unanswered ones in the order in which they came, which is that in which they go.
        let arrivals = self
            .arrivals
            .iter()
            .filter_map(|key| self.unanswered.get_key_value(key));
        for (key, observation) in self.answered.iter().chain(arrivals) {
            let (key, observation) = (key.clone(), observation.clone());
            write_line(&mut text, Record::Seen { key, observation })?;
        }
        for (refusal, refused) in &self.refusals {
            let (refusal, refused) = (refusal.clone(), refused.clone());
            write_line(&mut text, Record::Refused { refusal, refused })?;
        }
        Ok(text)
    }

    /// Writes the file whole: aside, to the disk, then renamed. When that fails the old file stays as it was.
    ///
    /// # Errors
    /// When it cannot be written: a full disk.
    pub fn save(text: &[u8], path: &Path) -> io::Result<()> {
        private::replace(path, text)
    }

    /// What the file holds. Damaged lines are left out and counted.
    ///
    /// # Errors
    /// When it cannot be read, [`io::ErrorKind::InvalidData`] when it is no store of this version.
    pub fn load(path: &Path, limit: usize) -> io::Result<Loaded> {
        let wrong = |message: String| io::Error::new(io::ErrorKind::InvalidData, message);
        let too_large = || wrong(format!("it has more than {LARGEST} octets, as no such file has"));
        let octets = read_at_most(path, LARGEST)?.ok_or_else(too_large)?;
        let mut lines = octets.split(|octet| *octet == b'\n');
        let header: Header = lines
            .next()
            .and_then(unseal)
            .ok_or_else(|| wrong("its first line is damaged".into()))?;
        if header.schema_version != VERSION {
            return Err(wrong(format!(
                "it has version {}, not {VERSION}",
                header.schema_version
            )));
        }
        let mut store = Self::new(limit);
        for record in lines.filter_map(unseal) {
            match record {
                Record::Seen { key, observation } => store.note(key, &observation),
                Record::Refused { refusal, refused } => store.note_refusal(refusal, &refused),
            };
        }
        store.left_out = header.left_out;
        store.mark = header.mark;
        let lost = header.entries.saturating_sub(store.len() + store.refusals.len());
        Ok(Loaded { store, lost })
    }
}

fn write_line<T: Serialize>(text: &mut Vec<u8>, record: T) -> io::Result<()> {
    let sha256 = seal(&record)?;
    serde_json::to_writer(&mut *text, &Sealed { sha256, record })?;
    text.push(b'\n');
    Ok(())
}

fn seal<T: Serialize>(record: &T) -> serde_json::Result<String> {
    Ok(hexadecimal(&Sha256::digest(serde_json::to_vec(record)?)))
}

/// The record of a line that is whole.
fn unseal<T: Serialize + for<'a> Deserialize<'a>>(line: &[u8]) -> Option<T> {
    let line: Sealed<T> = serde_json::from_slice(line).ok()?;
    (seal(&line.record).ok()? == line.sha256).then_some(line.record)
}
