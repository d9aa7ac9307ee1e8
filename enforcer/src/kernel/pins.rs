//! The pin directory: what of the enforcer outlives the controller.
//!
//! ```text
//! <pin directory>/v1/maps/FLOWS …     state shared by all generations
//! <pin directory>/v1/links/<port>     the attachment of the program to a port
//! ```
//! The number is the version of the interface between kernel program and controller. Who changes anything here
//! holds a lock on the directory; the controller does for as long as it runs.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use enforcer_common::abi::ABI_VERSION;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::mount::{MountFlags, mount};

use super::error::Error;

/// `BPF_FS_MAGIC`.
const BPF_FS_MAGIC: u32 = 0xcafe_4a11;
/// Where systems mount their bpffs.
const SYSTEM_BPFFS: &str = "/sys/fs/bpf";

/// The pin directory, locked.
#[derive(Debug)]
pub struct Pins {
    root: PathBuf,
    /// Held for its lock.
    _lock: OwnedFd,
}

impl Pins {
    /// Makes the directories, on a bpffs that is mounted if there is none, and locks them.
    ///
    /// # Errors
    /// [`Error::Locked`] while another process holds the lock.
    pub fn create(directory: &Path) -> Result<Self, Error> {
        ensure_bpffs(directory)?;
        make(directory)?;
        let pins = Self {
            root: directory.to_owned(),
            _lock: lock(directory)?,
        };
        pins.make_folders()?;
        Ok(pins)
    }

    /// Makes the folders for maps and links, where they are missing.
    pub(super) fn make_folders(&self) -> Result<(), Error> {
        make(&self.maps())?;
        make(&self.links_directory())
    }

    /// Locks a pin directory that is there; `None` when nothing is pinned.
    ///
    /// # Errors
    /// [`Error::Locked`] while another process holds the lock.
    pub fn open(directory: &Path) -> Result<Option<Self>, Error> {
        if !directory.is_dir() {
            return Ok(None);
        }
        Ok(Some(Self {
            root: directory.to_owned(),
            _lock: lock(directory)?,
        }))
    }

    /// Where the shared maps are pinned.
    pub fn maps(&self) -> PathBuf {
        self.version().join("maps")
    }

    /// Where the link of a port is pinned.
    pub fn link(&self, port: &str) -> PathBuf {
        self.links_directory().join(pin_name(port))
    }

    /// The ports whose links are pinned.
    pub fn links(&self) -> Result<Vec<String>, Error> {
        Ok(names(&self.links_directory())?
            .iter()
            .map(|name| port_name(name))
            .collect())
    }

    /// Removes all that is pinned, of this version and of others: links first, so that no frame is decided by a
    /// program whose state goes away. Returns the ports that were detached.
    pub fn remove_all(self) -> Result<Vec<String>, Error> {
        let removing = |path: &Path, error| Error::system(format!("removing {}", path.display()), error);
        let mut ports = Vec::new();
        for version in names(&self.root)?.into_iter().filter(|name| is_version(name)) {
            let version = self.root.join(version);
            for kind in ["links", "maps"] {
                let folder = version.join(kind);
                for name in names(&folder)? {
                    let path = folder.join(&name);
                    fs::remove_file(&path).map_err(|error| removing(&path, error))?;
                    if kind == "links" {
                        ports.push(port_name(&name));
                    }
                }
                let _ = fs::remove_dir(&folder);
            }
            fs::remove_dir(&version).map_err(|error| removing(&version, error))?;
        }
        // A bpffs mounted on the directory itself keeps it busy; an empty directory does no harm.
        let _ = fs::remove_dir(&self.root);
        Ok(ports)
    }

    fn version(&self) -> PathBuf {
        self.root.join(format!("v{ABI_VERSION}"))
    }

    fn links_directory(&self) -> PathBuf {
        self.version().join("links")
    }
}

fn make(folder: &Path) -> Result<(), Error> {
    let making = |error| Error::system(format!("making the pin directory {}", folder.display()), error);
    fs::create_dir_all(folder).map_err(making)
}

/// The file name for the link of a port. A bpffs refuses names with a dot, interfaces refuse names with a colon.
pub(crate) fn pin_name(port: &str) -> String {
    port.replace('.', ":")
}

/// The port whose link has this file name.
fn port_name(pin: &str) -> String {
    pin.replace(':', ".")
}

/// Whether a name in the pin directory is one of ours; a bpffs has files of its own at its root.
fn is_version(name: &str) -> bool {
    name.strip_prefix('v')
        .is_some_and(|number| number.parse::<u32>().is_ok())
}

/// The names in a directory; none when it is not there.
fn names(directory: &Path) -> Result<Vec<String>, Error> {
    let reading = |error| Error::system(format!("reading {}", directory.display()), error);
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(reading)?,
    };
    let mut names = entries
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(reading)?;
    names.sort();
    Ok(names)
}

fn lock(directory: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opening = |error: rustix::io::Errno| Error::system(format!("opening {}", directory.display()), error.into());
    let fd = rustix::fs::open(directory, flags, Mode::empty()).map_err(opening)?;
    match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(fd),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Locked(directory.display().to_string())),
        Err(error) => Err(Error::system(format!("locking {}", directory.display()), error.into())),
    }
}

/// Sees to it that `directory` will be on a bpffs.
fn ensure_bpffs(directory: &Path) -> Result<(), Error> {
    if on_bpffs(directory)? {
        return Ok(());
    }
    let target = if directory.starts_with(SYSTEM_BPFFS) {
        Path::new(SYSTEM_BPFFS)
    } else {
        directory
    };
    let mounting = |error| Error::system(format!("mounting a bpffs on {}", target.display()), error);
    fs::create_dir_all(target).map_err(mounting)?;
    mount(
        "bpf",
        target,
        "bpf",
        MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
        None,
    )
    .map_err(|error| mounting(error.into()))?;
    tracing::info!(path = %target.display(), "mounted a bpffs");
    if in_private_mount_namespace() {
        tracing::warn!(
            "this bpffs is in a mount namespace of its own: enforcement ends when the last process in it ends. Mount \
             a bpffs on the host (mount -t bpf bpf {SYSTEM_BPFFS}) for enforcement that outlives the controller"
        );
    }
    Ok(())
}

/// Whether the directory, or where it would be made, is on a bpffs.
fn on_bpffs(directory: &Path) -> Result<bool, Error> {
    let existing = directory
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"));
    let status = rustix::fs::statfs(existing)
        .map_err(|error| Error::system(format!("looking at {}", existing.display()), error.into()))?;
    Ok(u32::try_from(status.f_type).is_ok_and(|kind| kind == BPF_FS_MAGIC))
}

fn in_private_mount_namespace() -> bool {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    namespace("1") != namespace("self")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_with_dots_have_pins_without() {
        for port in ["eth0", "eth0.100", "a.b.c"] {
            assert!(!pin_name(port).contains('.'));
            assert_eq!(port_name(&pin_name(port)), port);
        }
    }

    #[test]
    fn only_our_own_directories_are_removed() {
        for name in ["v1", "v27"] {
            assert!(is_version(name), "{name}");
        }
        for name in ["maps.debug", "progs.debug", "v", "vx", "1", "v1x", ""] {
            assert!(!is_version(name), "{name}");
        }
    }
}
