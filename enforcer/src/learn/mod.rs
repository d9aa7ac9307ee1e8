//! What was seen in monitor mode and no rule permits: kept for weeks, so that rules can be made of it.
//!
//! Only the store is here so far: nothing fills it yet.

mod store;

pub use store::{End, Key, LIMIT, Loaded, Observation, Store, UNANSWERED_A_SOURCE};
