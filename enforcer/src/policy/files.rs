//! Finds and reads policy files: bounded, and safe from symbolic links that go round in circles.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::limits;
use crate::diagnostics::{Diagnostic, Sources, quote};
use crate::files::read_at_most;

/// The texts of a policy.
#[derive(Default)]
pub(super) struct Texts {
    /// In the order of their paths.
    pub(super) sources: Sources,
    /// See [`super::ValidPolicy::hash`].
    pub(super) hash: [u8; 32],
}

impl Texts {
    pub(super) fn new(texts: impl IntoIterator<Item = (PathBuf, String)>) -> Self {
        let mut sources = Sources::default();
        let mut digests = Vec::new();
        for (path, text) in texts {
            digests.push(Sha256::digest(&text).into());
            sources.add(path, text);
        }
        let hash = combined(digests);
        Self { sources, hash }
    }
}

/// One hash of all contents, whatever their order.
fn combined(mut digests: Vec<[u8; 32]>) -> [u8; 32] {
    digests.sort_unstable();
    Sha256::digest(digests.concat()).into()
}

/// Reads files, and folders with all their `*.yaml` and `*.yml`. Names that start with a dot are skipped in folders.
pub(super) fn read(paths: &[PathBuf], findings: &mut Vec<Diagnostic>) -> Texts {
    let mut search = Search::default();
    for path in paths {
        search.start(path, findings);
    }
    search.found.sort();
    let mut sources = Sources::default();
    let mut digests = Vec::new();
    let mut room = limits::TOTAL_BYTES;
    for path in search.found {
        match contents(&path, &mut room) {
            Ok(bytes) => {
                digests.push(Sha256::digest(&bytes).into());
                findings.extend(sources.add_octets(path, bytes).err());
            }
            Err(error) => findings.push(unreadable(&path, &error)),
        }
    }
    let hash = combined(digests);
    Texts { sources, hash }
}

#[derive(Default)]
struct Search {
    /// Files and folders that were visited, by canonical path.
    seen: HashSet<PathBuf>,
    found: Vec<PathBuf>,
}

impl Search {
    /// Visits what a user named.
    fn start(&mut self, path: &Path, findings: &mut Vec<Diagnostic>) {
        let before = (self.found.len(), findings.len());
        if let Err(error) = self.visit(path, findings) {
            findings.push(unreadable(path, &error));
        }
        if before == (self.found.len(), findings.len()) && path.is_dir() && !self.any_under(path) {
            let message = format!("no policy file in {}", quote(&path.to_string_lossy()));
            findings.push(
                Diagnostic::general(message).help("policy files end in .yaml or .yml and do not start with a dot"),
            );
        }
    }

    /// Whether an earlier visit found files under a folder.
    fn any_under(&self, folder: &Path) -> bool {
        let folder = folder.canonicalize().unwrap_or_default();
        self.seen.iter().any(|path| path.starts_with(&folder) && path.is_file())
    }

    fn visit(&mut self, path: &Path, findings: &mut Vec<Diagnostic>) -> io::Result<()> {
        let canonical = path.canonicalize()?;
        if !self.seen.insert(canonical) {
            return Ok(());
        }
        if !path.is_dir() {
            self.found.push(path.to_owned());
            return if self.found.len() > limits::FILES {
                let limit = limits::FILES;
                Err(io::Error::other(format!("more than {limit} policy files")))
            } else {
                Ok(())
            };
        }
        let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let inner = entry.path();
            if wanted(&inner)
                && let Err(error) = self.visit(&inner, findings)
            {
                findings.push(unreadable(&inner, &error));
            }
        }
        Ok(())
    }
}

/// Whether an entry of a folder is a policy file or a folder to look into.
fn wanted(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let policy = path
        .extension()
        .is_some_and(|extension| extension == "yaml" || extension == "yml");
    !hidden && (policy || path.is_dir())
}

fn contents(path: &Path, room: &mut u64) -> io::Result<Vec<u8>> {
    let limit = limits::FILE_BYTES.min(*room);
    let Some(bytes) = read_at_most(path, limit)? else {
        let (what, limit) = if limit < limits::FILE_BYTES {
            ("all policy files together are", limits::TOTAL_BYTES)
        } else {
            ("the file is", limits::FILE_BYTES)
        };
        let limit = limit >> 20;
        return Err(io::Error::other(format!("{what} larger than the limit of {limit} MiB")));
    };
    *room -= bytes.len() as u64;
    Ok(bytes)
}

fn unreadable(path: &Path, error: &io::Error) -> Diagnostic {
    let path = quote(&path.to_string_lossy());
    Diagnostic::general(format!("cannot read {path}: {error}"))
}
