//! Namespaces: made, entered, given to child processes.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr::null;

use super::{check, text};

/// A file system to mount: type and place.
#[derive(Clone, Copy, Debug)]
pub(in crate::lab) struct Mount {
    pub(in crate::lab) kind: &'static str,
    pub(in crate::lab) place: &'static str,
}

/// Puts the calling thread into a network namespace of its own and returns the descriptor that keeps it alive.
pub(in crate::lab) fn new_network() -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved; only the calling thread changes its network namespace.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
    Ok(File::open("/proc/thread-self/ns/net")?.into())
}

/// Puts the calling thread into a mount namespace of its own with these file systems mounted, unseen from outside.
pub(in crate::lab) fn new_mounts(mounts: &[Mount]) -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved; only the calling thread changes its mount namespace (and stops sharing its
    // working directory, which that implies).
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    mount("none", "/", None, libc::MS_REC | libc::MS_PRIVATE)?;
    for Mount { kind, place } in mounts {
        mount(kind, place, Some(kind), 0)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot mount {kind} on {place}: {error}")))?;
    }
    Ok(File::open("/proc/thread-self/ns/mnt")?.into())
}

fn mount(source: &str, place: &str, kind: Option<&str>, flags: libc::c_ulong) -> io::Result<()> {
    let (source, place) = (text(source)?, text(place)?);
    let kind = kind.map(text).transpose()?;
    let kind = kind.as_ref().map_or(null(), |kind| kind.as_ptr());
    // SAFETY: the strings end in zero and outlive the call; no data argument is given.
    check(unsafe { libc::mount(source.as_ptr(), place.as_ptr(), kind, flags, null()) })?;
    Ok(())
}

/// Moves the calling thread into these namespaces.
pub(in crate::lab) fn enter(network: BorrowedFd<'_>, mounts: Option<BorrowedFd<'_>>) -> io::Result<()> {
    enter_raw(network.as_raw_fd(), mounts.map(|mounts| mounts.as_raw_fd()))
}

/// Allocates nothing, so that it may run between fork and exec.
fn enter_raw(network: RawFd, mounts: Option<RawFd>) -> io::Result<()> {
    // SAFETY: no memory is involved; a bad descriptor is an error.
    check(unsafe { libc::setns(network, libc::CLONE_NEWNET) })?;
    if let Some(mounts) = mounts {
        // SAFETY: as above; a thread that shares its working directory with others may not change its mounts.
        check(unsafe { libc::unshare(libc::CLONE_FS) })?;
        // SAFETY: as above.
        check(unsafe { libc::setns(mounts, libc::CLONE_NEWNS) })?;
    }
    Ok(())
}

/// Lets a command run in these namespaces, and die with the thread that starts it.
///
/// The descriptors must stay open until the command has been started.
pub(in crate::lab) fn in_namespaces(command: &mut Command, network: BorrowedFd<'_>, mounts: Option<BorrowedFd<'_>>) {
    let (network, mounts) = (network.as_raw_fd(), mounts.map(|mounts| mounts.as_raw_fd()));
    let hook = move || {
        enter_raw(network, mounts)?;
        // SAFETY: no memory is involved.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
        Ok(())
    };
    // SAFETY: the hook makes four system calls and neither allocates nor locks.
    unsafe { command.pre_exec(hook) };
}

/// Sends a signal to a process.
pub(in crate::lab) fn send_signal(process: u32, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::kill(process.cast_signed(), signal) })?;
    Ok(())
}
