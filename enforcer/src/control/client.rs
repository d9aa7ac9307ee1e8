//! The command line's side of the control socket.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::{CLIENT_TIMEOUT, Request, VERSION, Verb, WORK_TIMEOUT, socket_path};

/// Octets of an answer.
const ANSWER_BYTES: u64 = 16 << 20;
/// Octets of a line behind it.
const LINE_BYTES: u64 = 64 << 10;

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
    /// It takes connections, and does not answer.
    #[error("{0}: the enforcer does not answer; enforcement goes on. Its log may say why: journalctl -u enforcer")]
    Silent(String),
    /// It took the request, and is gone.
    #[error(
        "{0}: the controller ended before it answered. Whether a change that was asked for is in force is not known: `enforcer history` tells"
    )]
    Ended(String),
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
    let (answer, _) = converse(&path, request).map_err(|error| explain(&name, error))?;
    result(answer)
}

/// Asks the controller for lines, which come behind its answer.
pub fn stream(runtime_directory: &Path, request: Verb) -> Result<Lines, CallError> {
    let path = socket_path(runtime_directory);
    let name = path.display().to_string();
    let (answer, reader) = converse(&path, request).map_err(|error| explain(&name, error))?;
    result(answer)?;
    // Whether a line comes soon is up to what is asked for.
    let lines = Lines { name, reader };
    let reader = lines.reader.get_ref();
    reader.set_read_timeout(None).map_err(|error| lines.broken(error))?;
    Ok(lines)
}

/// Lines that come from the controller.
pub struct Lines {
    name: String,
    reader: BufReader<UnixStream>,
}

impl Lines {
    /// The next line, without its end; `None` when the controller has ended the stream. Waits for it.
    pub fn next_line(&mut self) -> Result<Option<String>, CallError> {
        let mut line = String::new();
        let mut bounded = (&mut self.reader).take(LINE_BYTES);
        let read = bounded.read_line(&mut line);
        match read.map_err(|error| self.broken(error))? {
            0 => Ok(None),
            _ if line.pop() == Some('\n') => Ok(Some(line)),
            _ => Err(self.broken(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// The error for a stream that is not what it should be.
    pub fn broken(&self, error: io::Error) -> CallError {
        explain(&self.name, error)
    }
}

fn explain(name: &str, error: io::Error) -> CallError {
    let path = name.to_owned();
    match error.kind() {
        // What a socket says whose time is over.
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => CallError::Silent(path),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            CallError::Ended(path)
        }
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => CallError::Absent(path),
        io::ErrorKind::PermissionDenied => CallError::Permission(path),
        _ => CallError::Broken { path, error },
    }
}

fn result(mut answer: Value) -> Result<Value, CallError> {
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

fn converse(path: &Path, request: Verb) -> io::Result<(Value, BufReader<UnixStream>)> {
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
    let mut reader = BufReader::new(stream);
    (&mut reader).take(ANSWER_BYTES).read_line(&mut answer)?;
    if !answer.ends_with('\n') && (answer.len() as u64) < ANSWER_BYTES {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    let answer = serde_json::from_str(&answer);
    let answer = answer.map_err(|error| io::Error::other(format!("an answer that is none: {error}")))?;
    Ok((answer, reader))
}
