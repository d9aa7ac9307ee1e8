//! Whether this process may do what the enforcer has to do.

use rustix::thread::{CapabilitySet, capabilities};

use super::error::Error;

/// What is needed, and for what: maps and programs; attaching and offloads; pointer arithmetic on packets; replacing
/// the program of a pinned link, and mounting a bpffs.
const NEEDED: [(CapabilitySet, &str); 4] = [
    (CapabilitySet::BPF, "CAP_BPF"),
    (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
    (CapabilitySet::PERFMON, "CAP_PERFMON"),
    (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN"),
];

/// Asks before anything is touched, so that a refusal names the capability and not the step that failed.
pub fn check() -> Result<(), Error> {
    let held = capabilities(None).map_err(|error| Error::system("reading the capabilities", error.into()))?;
    let missing = missing(held.effective);
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::Permission(format!("this process lacks {}", missing.join(", "))))
}

fn missing(held: CapabilitySet) -> Vec<&'static str> {
    NEEDED
        .iter()
        .filter(|(needed, _)| !held.contains(*needed))
        .map(|(_, name)| *name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(missing(CapabilitySet::all()), [""; 0]);
        assert_eq!(
            missing(CapabilitySet::BPF | CapabilitySet::SYS_ADMIN),
            ["CAP_NET_ADMIN", "CAP_PERFMON"]
        );
        assert_eq!(missing(CapabilitySet::empty()).len(), 4);
    }
}
