//! The audit trail: who changed what is enforced, when, and why; and who was refused.
//!
//! `audit.ndjson` in the state directory, one line of JSON for each, appended and synced. Each line carries the SHA-256 of the one
//! before, so a line that is changed, taken out or put in later does not fit; the store of revisions knows the last change, so the end
//! cannot be cut off unseen either; and each line's hash goes to the log as well, which may leave the machine. A full file gets another
//! name, `audit-LINE.ndjson` after its last line, and the oldest are removed.
//!
//! Callers who are refused cannot fill it: of theirs, few an hour are written and the rest is counted.

mod allowance;
mod entry;
mod reading;
#[cfg(test)]
mod tests;
mod who;

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::files;
use crate::private;
use allowance::Allowance;
pub use entry::{Deed, Entry, Outcome, What};
pub use reading::{Reading, read, settled};
pub use who::Who;

/// The file that is written to.
const CURRENT: &str = "audit.ndjson";
/// Names of full ones start so.
const ROTATED: &str = "audit-";
/// Octets after which a file is full.
const FULL: u64 = 1 << 20;
/// Full files that are kept.
const FILES: usize = 8;
/// What comes before the first line.
const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Lines that wait for room on the disk.
const WAITING: usize = 256;
/// Refused calls an hour that are recorded, of root and of the controller itself.
const REFUSED_PRIVILEGED: u32 = 60;
/// The same of all others together. Of 2500 octets at most, they need two weeks to fill what is kept.
const REFUSED_OTHERS: u32 = 10;

/// The trail of a state directory. For the one process that writes.
#[derive(Debug)]
pub struct Trail {
    folder: PathBuf,
    full: u64,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Its end is known. Before, all lines wait.
    is_open: bool,
    /// Number of the last line, and its hash.
    lines: u64,
    hash: String,
    /// Octets of the file.
    size: u64,
    /// The last line has no end.
    open_end: bool,
    waiting: VecDeque<Waiting>,
    /// Why they wait.
    error: Option<String>,
    privileged: Allowance,
    others: Allowance,
}

/// A line that is not written yet.
#[derive(Debug)]
struct Waiting {
    deed: Deed,
    outcome: Outcome,
    error: Option<String>,
    left_out: u64,
}

impl Trail {
    /// The trail in a state directory. Nothing is read or written yet.
    pub fn new(state_directory: &Path) -> Self {
        Self {
            folder: state_directory.to_owned(),
            full: FULL,
            inner: Mutex::new(Inner {
                is_open: false,
                lines: 0,
                hash: BEGINNING.to_owned(),
                size: 0,
                open_end: false,
                waiting: VecDeque::new(),
                error: None,
                privileged: Allowance::new(REFUSED_PRIVILEGED),
                others: Allowance::new(REFUSED_OTHERS),
            }),
        }
    }

    /// Finds its end. `last` is the change that the store of revisions knows as the last: a kill may have come before it was written
    /// here, and then it is written now. Returns the number of the last change.
    pub fn open(&self, last: Option<&Deed>) -> u64 {
        let known = last.and_then(|last| last.change).unwrap_or(0);
        let reading = match read(&self.folder) {
            Ok(reading) => reading,
            Err(error) => {
                self.inner().error = Some(error.to_string());
                return known;
            }
        };
        for finding in &reading.findings {
            tracing::error!("the audit trail is not as it was written: {finding}");
        }
        let changes = reading.changes();
        {
            let mut inner = self.inner();
            (inner.lines, inner.size, inner.open_end) = (reading.lines, reading.size, reading.open_end);
            (inner.hash, inner.is_open) = (reading.hash, true);
        }
        if let Some(last) = last.filter(|_| known > changes) {
            self.done(last.clone());
        }
        changes.max(known)
    }

    /// Records what was done.
    pub fn done(&self, deed: Deed) {
        self.record(Waiting {
            deed,
            outcome: Outcome::Done,
            error: None,
            left_out: 0,
        });
    }

    /// Records what was not done, unless that happens too often.
    pub fn not_done(&self, by: Option<Who>, what: What, comment: &str, outcome: Outcome, error: &str) {
        let mut inner = self.inner();
        let privileged = by.as_ref().is_none_or(|who| is_privileged(who.uid));
        let allowance = if privileged {
            &mut inner.privileged
        } else {
            &mut inner.others
        };
        let Some(left_out) = allowance.take(Instant::now()) else {
            return;
        };
        drop(inner);
        self.record(Waiting {
            deed: Deed::now(by, what, comment),
            outcome,
            error: Some(entry::shortened(error)),
            left_out,
        });
    }

    fn record(&self, waiting: Waiting) {
        let mut inner = self.inner();
        if inner.waiting.len() < WAITING {
            inner.waiting.push_back(waiting);
        }
        self.write(&mut inner);
    }

    /// Writes what waits. An error says why it goes on waiting.
    pub fn flush(&self) -> Result<(), String> {
        let mut inner = self.inner();
        self.write(&mut inner);
        inner.error.clone().map_or(Ok(()), Err)
    }

    fn write(&self, inner: &mut Inner) {
        while inner.is_open
            && let Some(waiting) = inner.waiting.front()
        {
            let entry = Entry {
                schema_version: entry::SCHEMA_VERSION,
                line: inner.lines + 1,
                deed: waiting.deed.clone(),
                outcome: waiting.outcome,
                error: waiting.error.clone(),
                left_out: waiting.left_out,
                previous: inner.hash.clone(),
            };
            // Numbers, strings and lists always have a JSON text.
            let line = serde_json::to_string(&entry).unwrap_or_default();
            if let Err(error) = self.append(inner, &line) {
                if inner.error.is_none() {
                    tracing::error!("the audit trail cannot be written: {error}");
                }
                inner.error = Some(error.to_string());
                return;
            }
            inner.lines = entry.line;
            inner.hash = reading::hash(line.as_bytes());
            inner.waiting.pop_front();
            tracing::info!(line = entry.line, sha256 = inner.hash, "audit: {line}");
        }
        if inner.is_open {
            inner.error = None;
        }
    }

    /// Appends a line whole or not at all, as far as that is up to us.
    fn append(&self, inner: &mut Inner, line: &str) -> io::Result<()> {
        if inner.size >= self.full {
            self.rotate(inner)?;
        }
        let path = self.folder.join(CURRENT);
        let is_new = inner.size == 0;
        match files::regular(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if is_new {
            private::folder(&self.folder)?;
        }
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        let ended = if inner.open_end { "\n" } else { "" };
        let text = format!("{ended}{line}\n");
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_data());
        if let Err(error) = written {
            file.set_len(inner.size)?;
            return Err(error);
        }
        if is_new {
            File::open(&self.folder)?.sync_all()?;
        }
        inner.open_end = false;
        inner.size += text.len() as u64;
        Ok(())
    }

    fn rotate(&self, inner: &mut Inner) -> io::Result<()> {
        let name = format!("{ROTATED}{:010}.ndjson", inner.lines);
        fs::rename(self.folder.join(CURRENT), self.folder.join(name))?;
        (inner.size, inner.open_end) = (0, false);
        let files = reading::rotated(&self.folder)?;
        for old in files.iter().rev().skip(FILES) {
            fs::remove_file(old)?;
        }
        Ok(())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a uid may change what is enforced: root, and that of the controller.
pub fn is_privileged(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}
