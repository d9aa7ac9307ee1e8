//! What waits to be confirmed.

use serde::{Serialize, Serializer};

use crate::revisions::Pending;

/// A change that goes back by itself unless it is confirmed.
#[derive(Clone, Debug, Serialize)]
pub struct PendingStatus {
    /// The revision that waits.
    pub revision: u32,
    /// The one to go back to.
    pub previous: u32,
    /// How long it waits: told as the seconds that are left at the moment of telling.
    #[serde(rename = "seconds_left", serialize_with = "seconds_left")]
    pub left: Pending,
}

fn seconds_left<S: Serializer>(pending: &Pending, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(pending.remaining())
}
