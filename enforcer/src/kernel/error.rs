//! What can go wrong between a compiled policy and the kernel, told to people.

use std::error::Error as StdError;
use std::io;

use super::ports::PortError;
use super::slots::SlotError;

/// Why a generation could not be loaded or attached. Nothing that ran before is touched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process may not use BPF.
    #[error(
        "{0}: not permitted. The enforcer needs the capabilities CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_SYS_ADMIN: run it as root, or by the unit file deploy/enforcer.service"
    )]
    Permission(String),
    /// The kernel refused the program.
    #[error(
        "the kernel's verifier refused the program ({error}). Please report it with the kernel version (uname -r). The end of the verifier's log:\n{log}"
    )]
    Verifier {
        /// The system error.
        error: io::Error,
        /// Last lines of the verifier's log.
        log: String,
    },
    /// The kernel lacks what the program needs.
    #[error(
        "Linux {release} is too old for the enforcer, which needs {needed} or newer: {reason}. What this kernel answered: {cause}"
    )]
    TooOld {
        /// The kernel's release, as `uname -r` says.
        release: String,
        /// The oldest version that is supported.
        needed: &'static str,
        /// What it lacks.
        reason: String,
        /// What failed.
        cause: Box<Error>,
    },
    /// Pinned maps of another shape.
    #[error("the state that an earlier run left pinned under {directory} does not fit:\n{}\nEither restore the earlier settings under [tables] in enforcer.toml, or give the state up, flows and counters included: `enforcer detach`, then `enforcer run`", differences.join("\n"))]
    Incompatible {
        /// Where the maps are pinned.
        directory: String,
        /// One line a difference.
        differences: Vec<String>,
    },
    /// No slots left.
    #[error(transparent)]
    Slots(#[from] SlotError),
    /// The port table.
    #[error(transparent)]
    Ports(#[from] PortError),
    /// The object is not what this controller was made for.
    #[error("the kernel program does not fit this controller: {0}. Build both anew: cargo xtask build")]
    Object(String),
    /// What was written is not what is there.
    #[error("table {table}: entry {entry} does not read back as it was written; the generation is not used")]
    ReadBack {
        /// The map.
        table: &'static str,
        /// The first entry that differs.
        entry: usize,
    },
    /// A system error, with what was being done.
    #[error("{doing}: {error}")]
    System {
        /// What was being done, and to what.
        doing: String,
        /// The error.
        error: io::Error,
    },
    /// Another process works with the pin directory.
    #[error(
        "another enforcer is at work on {0}. Only one may be: see `enforcer status`, or `systemctl status enforcer`"
    )]
    Locked(String),
    /// Something about an interface, the pins or the offloads, with what to do.
    #[error("{0}")]
    Environment(String),
}

impl Error {
    /// A failed system call: "not permitted" if that is why.
    pub fn system(doing: impl Into<String>, error: io::Error) -> Self {
        let doing = doing.into();
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::Permission(doing),
            _ => Self::System { doing, error },
        }
    }

    /// An error of aya: the system error below it, if there is one, with what aya says of it (which map, which call).
    pub fn aya(doing: impl Into<String>, error: &(dyn StdError + 'static)) -> Self {
        let doing = format!("{}: {}", doing.into(), chain(error));
        match errno(error) {
            Some(code) => Self::system(doing, io::Error::from_raw_os_error(code)),
            None => Self::Object(doing),
        }
    }
}

/// The system error code at the root of an error, if there is one.
pub fn errno(error: &(dyn StdError + 'static)) -> Option<i32> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io.raw_os_error();
        }
        current = error.source();
    }
    None
}

/// The name of a system error code, as `errno.h` has it; `errno-N` of one that no map gives.
pub fn errno_name(code: u32) -> String {
    let name = match code.cast_signed() {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::E2BIG => "E2BIG",
        libc::EAGAIN => "EAGAIN",
        libc::ENOMEM => "ENOMEM",
        libc::EBUSY => "EBUSY",
        libc::EEXIST => "EEXIST",
        libc::EINVAL => "EINVAL",
        libc::ENOSPC => "ENOSPC",
        libc::EDEADLK => "EDEADLK",
        _ => return format!("errno-{code}"),
    };
    name.to_owned()
}

/// An error and its causes on one line, without the system error at the root and without repetitions.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut current = Some(error);
    while let Some(error) = current.filter(|error| !error.is::<io::Error>()) {
        let text = error.to_string();
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        current = error.source();
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("failed to create map `FLOWS`")]
    struct Create(#[source] io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    struct Outer(Create);

    /// Pitfalls 10 and 19: the system's error stays, and the table is named.
    #[test]
    fn the_map_and_the_system_error_are_both_said() {
        let error = Outer(Create(io::Error::from_raw_os_error(libc::E2BIG)));
        assert_eq!(
            Error::aya("making the kernel tables", &error).to_string(),
            "making the kernel tables: failed to create map `FLOWS`: Argument list too long (os error 7)"
        );
        let refused = Outer(Create(io::Error::from_raw_os_error(libc::EPERM)));
        let text = Error::aya("making the kernel tables", &refused).to_string();
        assert!(
            text.contains("`FLOWS`: not permitted") && text.contains("CAP_BPF"),
            "{text}"
        );
    }
}
