//! The oldest kernel that the enforcer runs on.
//!
//! The kernel is asked, not its number: distributions backport. Only when it refuses does the number explain why.

use std::fmt::Write as _;

use super::error::Error;

/// The oldest version that is supported, and the one whose features decide.
const OLDEST: &str = "5.18";

/// What the program needs, and the version that brought it, newest first.
const NEEDS: [((u32, u32), &str); 4] = [
    (
        (5, 18),
        "frames in several buffers (XDP frags, bpf_xdp_get_buff_len), without which jumbo frames could not be decided",
    ),
    ((5, 12), "atomic compare-and-swap, which budgets and flows need"),
    ((5, 9), "links for XDP, which let enforcement outlive the controller"),
    ((5, 8), "the ring buffer of events"),
];

/// Says of a refusal by a kernel that is too old that this is the reason.
pub(crate) fn explain(error: Error) -> Error {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    explain_on(release, error)
}

fn explain_on(release: String, error: Error) -> Error {
    let kernel_said_no = matches!(
        error,
        Error::System { .. } | Error::Verifier { .. } | Error::Object(_) | Error::Environment(_)
    );
    match missing(&release) {
        Some(reason) if kernel_said_no => Error::TooOld {
            release,
            needed: OLDEST,
            reason,
            cause: Box::new(error),
        },
        _ => error,
    }
}

/// What a release of the kernel lacks, unless it was backported.
pub(crate) fn missing(release: &str) -> Option<String> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    let version = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    let mut text = String::new();
    for (since, what) in NEEDS.iter().filter(|(since, _)| version < *since) {
        let separator = if text.is_empty() { "it lacks " } else { "; " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{what} (Linux {}.{})", since.0, since.1);
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kernel_is_told_what_it_lacks() {
        let lacks = missing("5.10.0-32-cloud-amd64").unwrap_or_default();
        assert!(lacks.contains("XDP frags") && lacks.contains("(Linux 5.12)"), "{lacks}");
        assert!(!lacks.contains("ring buffer"), "5.10 has it: {lacks}");
        assert_eq!(missing("5.18.0"), None);
        assert_eq!(missing("6.1.0-50-cloud-amd64"), None);
        assert_eq!(missing("7.3.4+deb13-cloud-amd64"), None);
    }

    #[test]
    fn only_refusals_by_the_kernel_are_explained_by_its_age() {
        let refused = || Error::Verifier {
            error: std::io::Error::from_raw_os_error(libc::EINVAL),
            log: String::new(),
        };
        let told = explain_on("5.10.0".into(), refused());
        assert!(
            told.to_string()
                .starts_with("Linux 5.10.0 is too old for the enforcer, which needs 5.18"),
            "{told}"
        );
        assert!(matches!(explain_on("6.1.0".into(), refused()), Error::Verifier { .. }));
        let rights = explain_on("5.10.0".into(), Error::Permission("loading".into()));
        assert!(matches!(rights, Error::Permission(_)));
    }
}
