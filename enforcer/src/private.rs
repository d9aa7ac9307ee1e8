//! Files that only the controller's user can read, whatever the umask: they say who talks to whom.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
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
