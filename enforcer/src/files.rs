//! Reads files that somebody else may have put in place: regular ones only, and no more of them than a limit.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

/// The contents of a regular file; `None` when there is more than the limit.
///
/// # Errors
/// When it cannot be read, or is a pipe, a device or a folder.
pub(crate) fn read_at_most(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    regular(path)?;
    let mut octets = Vec::new();
    File::open(path)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut octets)?;
    Ok((octets.len() as u64 <= limit).then_some(octets))
}

/// The same, with an error for what is too large. The limit is in MiB.
pub(crate) fn read_small(path: &Path, mebibytes: u64) -> io::Result<Vec<u8>> {
    let too_large = || io::Error::other(format!("the file is larger than the limit of {mebibytes} MiB"));
    read_at_most(path, mebibytes << 20)?.ok_or_else(too_large)
}

/// Asked before opening: opening a pipe would wait for its other end.
pub(crate) fn regular(path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.is_file() {
        Ok(())
    } else {
        Err(io::Error::other("not a regular file"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_within_the_limit_are_read() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "four").unwrap();
        assert_eq!(read_at_most(&path, 4).unwrap().unwrap(), b"four");
        assert_eq!(read_at_most(&path, 3).unwrap(), None);
        let refused = |path: &Path| read_small(path, 1).unwrap_err().to_string();
        assert_eq!(refused(Path::new("/dev/zero")), "not a regular file");
        assert_eq!(refused(folder.path()), "not a regular file");
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        assert_eq!(refused(&pipe), "not a regular file");
        fs::write(&path, vec![b' '; (1 << 20) + 1]).unwrap();
        assert_eq!(refused(&path), "the file is larger than the limit of 1 MiB");
    }
}
