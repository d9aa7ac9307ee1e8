//! The command line's side of the control socket.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::{CLIENT_TIMEOUT, Request, VERSION, Verb, WORK_TIMEOUT, socket_path};

/// Octets of an answer.
const ANSWER_BYTES: u64 = 16 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody answers.
    #[error(
        "no enforcer runs here: nothing answers at {0}. See `systemctl status enforcer`, or start it: enforcer run --config FILE"
    )]
    Absent(String),
    /// The socket is not for us.
    #[error("{0}: not permitted. The control socket is for root and its group: run it as root")]
    Permission(String),
    /// The controller refused, or failed.
    #[error("{0}")]
    Refused(String),
    /// Anything else.
    #[error("talking to the enforcer at {path}: {error}")]
    Broken {
        /// The socket.
        path: String,
        /// What happened.
        error: io::Error,
    },
}

/// Asks the controller and returns the result of its answer.
pub fn call(runtime_directory: &Path, request: Verb) -> Result<Value, CallError> {
    let path = socket_path(runtime_directory);
    let name = path.display().to_string();
    let mut answer = converse(&path, request).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => CallError::Absent(name.clone()),
        io::ErrorKind::PermissionDenied => CallError::Permission(name.clone()),
        _ => CallError::Broken {
            path: name.clone(),
            error,
        },
    })?;
    if answer["ok"] == true {
        return Ok(answer["result"].take());
    }
    Err(CallError::Refused(
        answer["error"]
            .as_str()
            .unwrap_or("the enforcer refused, and does not say why")
            .to_owned(),
    ))
}

fn converse(path: &Path, request: Verb) -> io::Result<Value> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_write_timeout(Some(CLIENT_TIMEOUT))?;
    stream.set_read_timeout(Some(WORK_TIMEOUT + Duration::from_secs(1)))?;
    let mut line = serde_json::to_vec(&Request {
        version: VERSION,
        request,
    })?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream.take(ANSWER_BYTES)).read_line(&mut answer)?;
    serde_json::from_str(&answer).map_err(|error| io::Error::other(format!("an answer that is none: {error}")))
}
