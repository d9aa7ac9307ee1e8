//! The policies that were in force, on disk: the last [`KEPT`], with their texts.
//!
//! A revision is a file of its own, `revisions/NUMBER.revision` in the state directory; `revisions/pointer` says which is in
//! force. Each is written under another name, synced, and renamed, so that a kill or a power cut leaves the old state or the
//! new one; a full disk leaves the old one. What is damaged is skipped, and told.

mod pointer;
mod record;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

pub use pointer::{Pending, Pointer};
pub use record::{Change, FileHeader, Header, Revision};

/// Revisions that are kept.
pub const KEPT: usize = 50;
/// Names of files in the making start so.
const UNFINISHED: &str = ".unfinished";
const ENDING: &str = ".revision";
const POINTER: &str = "pointer";

/// Why a revision cannot be kept or had.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk.
    #[error("{doing} {path}: {error}")]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: String,
        /// What happened.
        error: io::Error,
    },
    /// There is no such revision.
    #[error("there is no revision {0}: `enforcer history` lists those there are")]
    Missing(u32),
    /// It is not what was written.
    #[error("revision {number} is damaged: {why}")]
    Damaged {
        /// Its number.
        number: u32,
        /// What is wrong.
        why: String,
    },
}

/// The store of a state directory.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// The store in a state directory. Nothing is made or read yet.
    pub fn new(state_directory: &Path) -> Self {
        Self {
            folder: state_directory.join("revisions"),
        }
    }

    /// Makes the folder, and clears away what a kill left unfinished. For the one controller that writes.
    pub fn prepare(&self) -> Result<(), StoreError> {
        let unmade = |error| failed("making", &self.folder, error);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(unmade)?;
        for entry in fs::read_dir(&self.folder).map_err(unmade)?.flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// Keeps a revision, and returns its number. Of the older ones, as many as [`KEPT`] allows stay, and those that `pointer` needs.
    pub fn add(&self, change: &Change, pointer: &Pointer) -> Result<u32, StoreError> {
        let numbers = self.numbers();
        let number = numbers.first().copied().unwrap_or(0).max(pointer.in_force) + 1;
        self.write(&format!("{number:08}{ENDING}"), &record::encode(number, change))?;
        let needed = |number: u32| {
            number == pointer.in_force
                || pointer
                    .pending
                    .as_ref()
                    .is_some_and(|pending| number == pending.previous)
        };
        for old in numbers.iter().skip(KEPT - 1).filter(|old| !needed(**old)) {
            let _ = fs::remove_file(self.path(*old));
        }
        Ok(number)
    }

    /// A revision with its texts.
    pub fn read(&self, number: u32) -> Result<Revision, StoreError> {
        let octets = self.octets(number)?;
        record::decode(&octets).map_err(|why| StoreError::Damaged { number, why })
    }

    /// All revisions, newest first, damaged ones as errors.
    pub fn list(&self) -> Vec<Result<Header, StoreError>> {
        let header = |number| {
            let octets = self.octets(number)?;
            let header = record::decode_header(&octets).map(|(header, _)| header);
            header.map_err(|why| StoreError::Damaged { number, why })
        };
        self.numbers().into_iter().map(header).collect()
    }

    /// The newest revision that can be read, from `number` downward.
    pub fn newest_good(&self, number: u32) -> Option<Revision> {
        let older = self.numbers().into_iter().filter(|candidate| *candidate <= number);
        let mut read = older.map(|number| self.read(number).inspect_err(|error| tracing::error!("{error}")));
        read.find_map(Result::ok)
    }

    /// Which revision is in force. Without a pointer that can be read, the newest one.
    pub fn pointer(&self) -> Pointer {
        let newest = || Pointer {
            in_force: self.numbers().first().copied().unwrap_or(0),
            ..Pointer::default()
        };
        let path = self.folder.join(POINTER);
        match fs::read(&path).map(|octets| record::unseal(&octets).map(|(pointer, _)| pointer)) {
            Ok(Ok(pointer)) => pointer,
            Ok(Err(error)) => {
                tracing::error!("{}: {error}; the newest revision counts", path.display());
                newest()
            }
            Err(_) => newest(),
        }
    }

    /// Says which revision is in force.
    pub fn point(&self, pointer: &Pointer) -> Result<(), StoreError> {
        self.write(POINTER, &record::seal(pointer))
    }

    /// Numbers of the revisions, newest first.
    fn numbers(&self) -> Vec<u32> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let number = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_suffix(ENDING)?.parse().ok();
        let mut numbers: Vec<u32> = entries.filter_map(number).collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        numbers
    }

    fn path(&self, number: u32) -> PathBuf {
        self.folder.join(format!("{number:08}{ENDING}"))
    }

    fn octets(&self, number: u32) -> Result<Vec<u8>, StoreError> {
        let path = self.path(number);
        fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Missing(number),
            _ => failed("reading", &path, error),
        })
    }

    /// Writes a file whole or not at all.
    fn write(&self, name: &str, octets: &[u8]) -> Result<(), StoreError> {
        let unfinished = self.folder.join(format!("{UNFINISHED}-{name}"));
        let path = self.folder.join(name);
        let written = (|| {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&unfinished)?;
            file.write_all(octets)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            File::open(&self.folder)?.sync_all()
        })();
        written.map_err(|error| {
            let _ = fs::remove_file(&unfinished);
            failed("writing", &path, error)
        })
    }
}

fn failed(doing: &'static str, path: &Path, error: io::Error) -> StoreError {
    StoreError::Disk {
        doing,
        path: path.display().to_string(),
        error,
    }
}
