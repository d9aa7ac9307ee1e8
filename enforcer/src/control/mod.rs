//! The control socket: how `enforcer apply`, `status`, `detach` and others talk to the controller.
//!
//! One request a connection, one line of JSON each way, both with a version; behind the answer to some requests come more lines
//! (see `streams.rs`). The socket is mode 0660 in the runtime
//! directory; what changes anything needs the uid of root or of the controller. Size and time are bounded on both
//! sides, so a slow or hostile client stalls nobody.

mod change;
mod client;
mod server;
mod streams;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::audit::Who;
use crate::events::watch::Filter;
use crate::flows::Query;
pub use change::{CONFIRM, Change, Order};
pub use client::{CallError, Lines, call, stream};
pub use server::{bind, serve};

/// The version of requests and answers.
pub const VERSION: u32 = 1;
/// Octets of a request.
const REQUEST_BYTES: u64 = 64 << 10;
/// For a request to arrive, and for an answer to be taken.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);
/// For the controller to do what it was asked: a large policy takes seconds to compile and verify.
const WORK_TIMEOUT: Duration = Duration::from_mins(2);

/// The socket in a runtime directory.
pub fn socket_path(runtime_directory: &Path) -> PathBuf {
    runtime_directory.join("control.sock")
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// [`VERSION`].
    pub version: u32,
    /// What to do.
    pub request: Verb,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Tell of the state. The result is a [`Status`](crate::state::Status).
    Status,
    /// Tell of the devices, their addresses and what they do. The result is a list of
    /// [`DeviceReport`](crate::flows::DeviceReport).
    Devices,
    /// Tell of the counters, those of devices on demand. The result is a
    /// [`CounterReport`](crate::metrics::CounterReport).
    Counters {
        /// Whether devices are asked for.
        devices: bool,
    },
    /// Tell of events as they come, one line each, until the client goes.
    Monitor(Filter),
    /// Tell of flows, one line each, and of their number in the last line: [`fetch`](crate::flows::fetch) reads them.
    Flows(Query),
    /// Change what is enforced: for root, and recorded. The result is the new state, or the list of the ports that were detached.
    Change(Change),
}

/// What the controller answers: what was asked for, or why not.
#[derive(Clone, Debug, Serialize)]
struct Answer {
    version: u32,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Value::is_null")]
    result: Value,
}

impl Answer {
    fn new(result: Result<Value, String>) -> Self {
        let (error, result) = match result {
            Ok(result) => (None, result),
            Err(error) => (Some(error), Value::Null),
        };
        Self {
            version: VERSION,
            ok: error.is_none(),
            error,
            result,
        }
    }
}

/// A change, as the socket hands it to the controller.
pub struct Command {
    /// Who asks.
    pub by: Who,
    /// For what.
    pub change: Change,
    /// Where the result goes: the ports that were detached.
    pub result: oneshot::Sender<Result<Vec<String>, String>>,
}
