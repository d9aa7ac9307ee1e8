//! Where policies come from.

use serde::Serialize;

/// Where the policy in force comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicySource {
    /// The files that the configuration names.
    Files,
    /// A revision that was kept: after a rollback, or a start at which the files did not count or were not valid.
    Revision,
    /// None: zones and undeclared VLANs follow `on_no_policy`.
    Fallback,
    /// An earlier controller's, whose policy is known to the kernel only.
    Adopted,
}

impl PolicySource {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Files, Self::Revision, Self::Fallback, Self::Adopted];

    /// The word in metrics and in the status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Revision => "revision",
            Self::Fallback => "fallback",
            Self::Adopted => "adopted",
        }
    }
}
