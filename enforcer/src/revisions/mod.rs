//! The policies that were in force, on disk: the last [`KEPT`], with their texts.
//!
//! A revision is a file of its own, `revisions/NUMBER.revision` in the state directory; `revisions/pointer` says which is in
//! force. Each is written under another name, synced, and renamed, so that a kill or a power cut leaves the old state or the
//! new one; a full disk leaves the old one. What is damaged is skipped, and told; of the pointer, which alone knows what waits to
//! be confirmed and what is held, there is a copy.

mod pointer;
mod record;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::files::read_small;
use crate::policy::limits;
use crate::private;
pub use pointer::{Pending, Pointer};
pub use record::{Change, FileHeader, Header, Revision};

/// Revisions that are kept.
pub const KEPT: usize = 50;
/// A revision is no larger: the texts of a policy, and who, when and why.
const MEBIBYTES: u64 = (limits::TOTAL_BYTES >> 20) + 16;
/// Names of files in the making start so.
const UNFINISHED: &str = ".unfinished";
const ENDING: &str = ".revision";
const POINTER: &str = "pointer";
/// Read where the pointer cannot be. A kill may leave it one step behind.
const COPY: &str = "pointer.copy";

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

    /// Makes the folder, and clears away what a kill left: files in the making, and revisions that were never in force. For
    /// the one controller that writes.
    pub fn prepare(&self) -> Result<(), StoreError> {
        let unmade = |error| failed("making", &self.folder, error);
        private::folder(&self.folder).map_err(unmade)?;
        for entry in fs::read_dir(&self.folder).map_err(unmade)?.flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
                let _ = fs::remove_file(entry.path());
            }
        }
        // The copy may be a step behind, and what it does not know of may have been in force.
        if let Ok(pointer) = self.read_pointer(POINTER) {
            let never = self.numbers().into_iter().filter(|number| *number > pointer.newest);
            never.for_each(|number| self.remove(number));
        }
        Ok(())
    }

    /// Forgets a revision that did not come into force.
    pub fn remove(&self, number: u32) {
        let _ = fs::remove_file(self.path(number));
    }

    /// Keeps a revision, and returns its number. Of the older ones, as many as [`KEPT`] allows stay, and those that `pointer` needs.
    pub fn add(&self, change: &Change, pointer: &Pointer) -> Result<u32, StoreError> {
        let numbers = self.numbers();
        let number = numbers.first().copied().unwrap_or(0).max(pointer.newest) + 1;
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

    /// All revisions, newest first, damaged ones as errors. A folder that cannot be read is an error of its own; one that is not there
    /// holds none.
    pub fn list(&self) -> Vec<Result<Header, StoreError>> {
        if let Err(error) = fs::read_dir(&self.folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            return vec![Err(failed("reading", &self.folder, error))];
        }
        let header = |number| self.read(number).map(|revision| revision.header);
        self.numbers().into_iter().map(header).collect()
    }

    /// What was in force before a revision came: the one that it replaced, or, when that cannot be read, the newest before that one.
    pub fn before(&self, number: u32) -> Option<u32> {
        let replaced = self.read(number).ok().and_then(|revision| revision.header.replaced);
        let from = replaced.or_else(|| number.checked_sub(1))?;
        self.newest_good(from).map(|revision| revision.header.number)
    }

    /// The newest revision that can be read, from `number` downward.
    pub fn newest_good(&self, number: u32) -> Option<Revision> {
        let older = self.numbers().into_iter().filter(|candidate| *candidate <= number);
        let mut read = older.map(|number| self.read(number).inspect_err(|error| tracing::error!("{error}")));
        read.find_map(Result::ok)
    }

    /// Which revision is in force. Without a pointer that can be read, what its copy says; without that one too, the newest revision.
    pub fn pointer(&self) -> Pointer {
        let damaged = match self.read_pointer(POINTER) {
            Ok(pointer) => return pointer,
            Err(error) => error,
        };
        let numbers = self.numbers();
        match self.read_pointer(COPY) {
            Ok(pointer) => {
                tracing::error!("{damaged}; its copy counts, which may be one change behind");
                return pointer;
            }
            // Before the first policy there is nothing to tell.
            Err(_) if numbers.is_empty() => {}
            Err(error) => {
                tracing::error!("{damaged}; {error}; the newest revision counts, as neither held nor to be confirmed");
            }
        }
        let newest = numbers.first().copied().unwrap_or(0);
        Pointer {
            in_force: newest,
            newest,
            ..Pointer::default()
        }
    }

    fn read_pointer(&self, name: &str) -> Result<Pointer, String> {
        let path = self.folder.join(name);
        let pointer = read_small(&path, MEBIBYTES)
            .map_err(|error| error.to_string())
            .and_then(|octets| record::unseal(&octets).map(|(pointer, _)| pointer));
        pointer.map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Says which revision is in force.
    pub fn point(&self, pointer: &Pointer) -> Result<(), StoreError> {
        self.stage("point", pointer)?.commit()
    }

    /// Writes what [`Staged::commit`] then makes true without needing room on the disk. `name` keeps several apart.
    pub fn stage(&self, name: &str, pointer: &Pointer) -> Result<Staged, StoreError> {
        let octets = record::seal(pointer);
        let unfinished = self.unfinished(&format!("{POINTER}-{name}"), &octets)?;
        Ok(Staged {
            unfinished,
            octets,
            store: self.clone(),
        })
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
        read_small(&path, MEBIBYTES).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Missing(number),
            _ => failed("reading", &path, error),
        })
    }

    /// Writes a file whole or not at all.
    fn write(&self, name: &str, octets: &[u8]) -> Result<(), StoreError> {
        let unfinished = self.unfinished(name, octets)?;
        let path = self.folder.join(name);
        rename(&unfinished, &path)
    }

    /// Writes a file under the name of one in the making.
    fn unfinished(&self, name: &str, octets: &[u8]) -> Result<PathBuf, StoreError> {
        let path = self.folder.join(format!("{UNFINISHED}-{name}"));
        let written = (|| {
            let mut file = private::file(&path)?;
            file.write_all(octets)?;
            file.sync_all()
        })();
        written.map_err(|error| {
            let _ = fs::remove_file(&path);
            failed("writing", &path, error)
        })?;
        Ok(path)
    }
}

/// A pointer that is on the disk and does not count yet. Dropped, it never does.
#[derive(Debug)]
pub struct Staged {
    unfinished: PathBuf,
    octets: Vec<u8>,
    store: Store,
}

impl Staged {
    /// Makes it count. That there is a copy needs room, and nothing depends on it.
    pub fn commit(self) -> Result<(), StoreError> {
        rename(&self.unfinished, &self.store.folder.join(POINTER))?;
        if let Err(error) = self.store.write(COPY, &self.octets) {
            tracing::error!("there is no new copy of the pointer: {error}");
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.unfinished);
    }
}

/// Gives a file its name for good.
fn rename(unfinished: &Path, path: &Path) -> Result<(), StoreError> {
    let renamed = (|| {
        fs::rename(unfinished, path)?;
        File::open(path.parent().unwrap_or(path))?.sync_all()
    })();
    renamed.map_err(|error| {
        let _ = fs::remove_file(unfinished);
        failed("writing", path, error)
    })
}

fn failed(doing: &'static str, path: &Path, error: io::Error) -> StoreError {
    StoreError::Disk {
        doing,
        path: path.display().to_string(),
        error,
    }
}
