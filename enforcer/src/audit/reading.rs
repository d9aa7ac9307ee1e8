//! The trail as it is on the disk, and whether it is what was written.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::{CURRENT, Deed, Entry, FILES, ROTATED, entry};
use crate::files;
use crate::words::hexadecimal;

/// Octets of a file that are read: far more than it is written to.
const READ: u64 = 16 << 20;

/// How often all is read again before a finding is told.
const AGAIN: usize = 5;
/// How long a change may take between two files that it writes.
const PAUSE: Duration = Duration::from_millis(200);

/// What stands in the trail.
#[derive(Debug)]
pub struct Reading {
    /// All entries that can be read, oldest first.
    pub entries: Vec<Entry>,
    /// Number of the first line that is there; 1 until the oldest were given up.
    pub first: u64,
    /// Number of the last line; 0 when there is none.
    pub lines: u64,
    /// SHA-256 of the last line.
    pub hash: String,
    /// What is not as it was written.
    pub findings: Vec<String>,
    /// Lines that a kill or a power cut left half. What follows them vouches for them.
    pub halves: Vec<String>,
    /// Octets of the file that is written to.
    pub(super) size: u64,
    /// The last line has no end.
    pub(super) open_end: bool,
    has_begun: bool,
    /// The last change so far, if it is known.
    change: Option<u64>,
}

/// Reads until nothing is wrong, and leaves only findings that stay: who reads while the controller makes a change finds
/// its files at different moments.
///
/// # Errors
/// Those of `read`.
pub fn settled(mut read: impl FnMut() -> io::Result<Reading>) -> io::Result<Reading> {
    let mut reading = read()?;
    for _ in 0..AGAIN {
        if reading.findings.is_empty() {
            break;
        }
        thread::sleep(PAUSE);
        let before = std::mem::replace(&mut reading, read()?);
        reading.findings.retain(|finding| before.findings.contains(finding));
    }
    Ok(reading)
}

/// Reads the trail of a state directory. None at all is an empty one.
pub fn read(state_directory: &Path) -> io::Result<Reading> {
    let mut reading = Reading {
        entries: Vec::new(),
        first: 1,
        lines: 0,
        hash: super::BEGINNING.to_owned(),
        findings: Vec::new(),
        halves: Vec::new(),
        size: 0,
        open_end: false,
        has_begun: false,
        change: Some(0),
    };
    let mut paths = rotated(state_directory)?;
    paths.push(state_directory.join(CURRENT));
    for path in &paths {
        let mut octets = Vec::new();
        match files::regular(path).and_then(|()| File::open(path)) {
            Ok(file) => file.take(READ).read_to_end(&mut octets)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        reading.add(path, &octets);
    }
    let full = paths.len() - 1;
    if reading.first > 1 && full < FILES {
        let before = reading.first - 1;
        reading.findings.push(format!(
            "lines 1 to {before} are missing: files are given up only when there are {FILES} full ones"
        ));
    }
    Ok(reading)
}

/// Files that are full, oldest first.
pub(super) fn rotated(state_directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(state_directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let is_rotated = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.and_then(|name| name.strip_prefix(ROTATED)?.strip_suffix(".ndjson"))
            .is_some_and(|number| number.parse::<u64>().is_ok())
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(is_rotated).collect();
    // Their numbers have leading zeros.
    paths.sort();
    Ok(paths)
}

impl Reading {
    /// The last change of the policy in force that stands there.
    pub fn changes(&self) -> u64 {
        let changes = self.entries.iter().filter_map(|entry| entry.deed.change);
        changes.max().unwrap_or(0)
    }

    /// Holds the trail against the change that the store of revisions knows as the last.
    pub fn compare(&mut self, last: Option<&Deed>) {
        let Some((last, number)) = last.and_then(|last| Some((last, last.change?))) else {
            return;
        };
        let of_number = |entry: &&Entry| entry.deed.change == Some(number);
        match self.entries.iter().find(of_number) {
            Some(entry) if entry.deed == *last => {}
            Some(entry) => self.findings.push(format!(
                "line {}: it is not the change that the store of revisions knows as the last",
                entry.line
            )),
            None => self.findings.push(format!(
                "the last change, `{}` of {}, is missing at the end: it was cut off. If the disk is full, or the enforcer was killed \
                 just then, it is added when there is room, or at the next start",
                last.what.name(),
                last.time
            )),
        }
    }

    fn add(&mut self, path: &Path, octets: &[u8]) {
        self.size = octets.len() as u64;
        self.open_end = octets.last().is_some_and(|octet| *octet != b'\n');
        let mut lines: Vec<&[u8]> = octets.split(|octet| *octet == b'\n').collect();
        if !self.open_end {
            lines.pop();
        }
        for line in lines {
            self.line(path, line);
        }
        // Nothing vouches for the last line; what was cut off has no end.
        if !octets.is_empty()
            && !self.open_end
            && self
                .halves
                .last()
                .is_some_and(|half| half.starts_with(&place(path, self.lines)))
        {
            self.findings.extend(self.halves.pop());
        }
    }

    fn line(&mut self, path: &Path, line: &[u8]) {
        self.lines = if let Ok(entry) = serde_json::from_slice(line) {
            self.entry(path, entry)
        } else {
            // A kill leaves half a line, and the next one vouches for it.
            let number = self.lines + 1;
            self.halves.push(format!("{}it cannot be read", place(path, number)));
            number
        };
        self.has_begun = true;
        self.hash = hash(line);
    }

    /// Holds an entry against those before it, and returns its number.
    fn entry(&mut self, path: &Path, entry: Entry) -> u64 {
        let number = entry.line;
        // What was before the oldest line that is kept is not known.
        let is_oldest = !self.has_begun && number > 1;
        if is_oldest {
            self.first = number;
            self.change = None;
        } else if number != self.lines + 1 {
            let text = format!("it says that it is line {number}: lines are missing before it, or were put in");
            self.tell(path, self.lines + 1, &text);
        }
        if entry.previous != self.hash && !is_oldest {
            self.tell(path, number, "the line before it is not what was written");
        }
        if entry.schema_version != entry::SCHEMA_VERSION {
            self.tell(path, number, "it is of another version of the enforcer");
        }
        // Counted without a gap, so a trail that was begun anew shows.
        if let Some(change) = entry.deed.change {
            let before = self.change.replace(change);
            if before.is_some_and(|before| before + 1 != change) {
                self.tell(
                    path,
                    number,
                    &format!("it is change {change}, and those before it are missing"),
                );
            }
        }
        self.entries.push(entry);
        number
    }

    fn tell(&mut self, path: &Path, line: u64, what: &str) {
        self.findings.push(place(path, line) + what);
    }
}

fn place(path: &Path, line: u64) -> String {
    format!("{}: line {line}: ", path.file_name().unwrap_or_default().display())
}

pub(super) fn hash(line: &[u8]) -> String {
    hexadecimal(&Sha256::digest(line))
}
