//! Files that only the controller's user can read, whatever the umask: they say who talks to whom.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// A file to be written from its beginning.
pub(crate) fn file(path: &Path) -> io::Result<fs::File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

/// Writes a file whole: aside, to the disk, then renamed. When that fails the old file stays as it was, and a full disk gets back
/// what the attempt took of it.
pub(crate) fn replace(path: &Path, octets: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("new");
    let write = || {
        let mut file = file(&aside)?;
        file.write_all(octets)?;
        file.sync_all()?;
        fs::rename(&aside, path)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&aside);
    })?;
    path.parent()
        .map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
}

/// Makes a folder if it is missing.
pub(crate) fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::kernel::offload::Offloads;
    use crate::learn::Store;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_made_is_for_the_owner_only() {
        let place = tempfile::TempDir::new().unwrap();
        let state = place.path().join("state");
        Offloads::open(&state).unwrap();
        assert_eq!(mode(&state), 0o700);
        let learned = state.join("learned.ndjson");
        Store::save(b"x", &learned).unwrap();
        assert_eq!(mode(&learned), 0o600);
    }
}
