//! The controller's side of the control socket.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::timeout;

use super::streams::{self, Stream, Streams};
use super::{Answer, CLIENT_TIMEOUT, Command, REQUEST_BYTES, Request, VERSION, Verb, WORK_TIMEOUT, socket_path};
use crate::clients;
use crate::flows::DeviceReport;
use crate::metrics::CounterReport;
use crate::state::State;

/// Clients at a time.
const CLIENTS: usize = 16;

/// Makes the runtime directory and the socket in it. What a dead controller left is replaced.
///
/// # Errors
/// `AddrInUse` while another controller answers there.
pub fn bind(runtime_directory: &Path) -> io::Result<UnixListener> {
    fs::create_dir_all(runtime_directory)?;
    let path = socket_path(runtime_directory);
    if StdUnixStream::connect(&path).is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Answers clients for as long as the task lives.
pub async fn serve(listener: UnixListener, state: Arc<State>, commands: mpsc::Sender<Command>) {
    let streams = Streams::new();
    clients::serve(listener, "the control socket", CLIENTS, |stream| {
        let (state, commands, streams) = (Arc::clone(&state), commands.clone(), streams.clone());
        async move {
            let mut stream = BufReader::new(stream);
            let more = converse(&mut stream, &state, &commands, &streams).await;
            if let Some((lines, place)) = more {
                // A task of its own: streams have places of their own, and do not take those of short requests.
                tokio::spawn(async move {
                    streams::send(lines, &mut stream, &state).await;
                    drop(place);
                });
            }
        }
    })
    .await;
}

/// One request and its answer, and what is to follow it. A client that does not listen is its own problem.
async fn converse(
    stream: &mut BufReader<UnixStream>,
    state: &Arc<State>,
    commands: &mpsc::Sender<Command>,
    streams: &Streams,
) -> Option<(Stream, OwnedSemaphorePermit)> {
    let uid = stream.get_ref().peer_cred().map(|peer| peer.uid());
    let mut more = None;
    let result = match (timeout(CLIENT_TIMEOUT, read(stream)).await, uid) {
        (Ok(Ok(request)), Ok(uid)) => match streams.open(&request.request, state) {
            None => answer(&request, uid, state, commands).await,
            Some(opened) => opened.map(|opened| {
                more = Some(opened);
                Value::Null
            }),
        },
        (Ok(Err(error)), _) => Err(error),
        (Err(_), _) => Err("the request did not arrive in time".to_owned()),
        (_, Err(error)) => Err(format!("who asks is unknown: {error}")),
    };
    let mut line = serde_json::to_vec(&Answer::new(result)).ok()?;
    line.push(b'\n');
    match timeout(CLIENT_TIMEOUT, stream.get_mut().write_all(&line)).await {
        Ok(Ok(())) => more,
        _ => None,
    }
}

/// The request, or what is wrong with it.
async fn read(stream: &mut BufReader<UnixStream>) -> Result<Request, String> {
    let mut line = Vec::new();
    let mut bounded = stream.take(REQUEST_BYTES);
    bounded
        .read_until(b'\n', &mut line)
        .await
        .map_err(|error| error.to_string())?;
    if line.last() != Some(&b'\n') {
        return Err(format!("a request is one line of at most {REQUEST_BYTES} octets"));
    }
    // Serde also takes an array for the fields in order.
    if !line.trim_ascii_start().starts_with(b"{") {
        return Err("a request is a JSON object".to_owned());
    }
    let request: Request = serde_json::from_slice(&line).map_err(|error| format!("no such request: {error}"))?;
    if request.version != VERSION {
        return Err(format!(
            "the request has version {}, this controller speaks {VERSION}: use the `enforcer` that it was started with",
            request.version
        ));
    }
    Ok(request)
}

async fn answer(
    request: &Request,
    uid: u32,
    state: &Arc<State>,
    commands: &mpsc::Sender<Command>,
) -> Result<Value, String> {
    if request.request.is_mutating() {
        if uid != 0 && uid != rustix::process::geteuid().as_raw() {
            return Err(format!(
                "uid {uid} may read the status, and nothing else: run it as root"
            ));
        }
        tracing::info!(uid, request = ?request.request, "asked through the control socket");
    }
    match request.request {
        Verb::Status => json(&*state.status()),
        Verb::Devices => json(&with_flows(state, DeviceReport::all).await?),
        Verb::Counters { devices } => json(&with_flows(state, move |state| CounterReport::read(state, devices)).await?),
        Verb::Monitor(_) | Verb::Flows(_) => Err("an answer of many lines".to_owned()),
        Verb::Reload => {
            ask(commands, Command::Reload).await?;
            json(&*state.status())
        }
        Verb::Detach => json(&ask(commands, Command::Detach).await?),
    }
}

/// Runs what reads the flows in a thread that may block.
async fn with_flows<T: Send + 'static>(
    state: &Arc<State>,
    work: impl FnOnce(&State) -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let state = Arc::clone(state);
    let worked = tokio::task::spawn_blocking(move || work(&state)).await;
    worked.unwrap_or_else(|error| Err(error.to_string()))
}

fn json(result: &impl Serialize) -> Result<Value, String> {
    serde_json::to_value(result).map_err(|error| error.to_string())
}

/// Hands a command to the controller and waits for its result.
async fn ask<T>(
    commands: &mpsc::Sender<Command>,
    command: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Command,
) -> Result<T, String> {
    let (result, answer) = oneshot::channel();
    let asked = async {
        commands.send(command(result)).await.ok()?;
        answer.await.ok()
    };
    match timeout(WORK_TIMEOUT, asked).await {
        Ok(Some(result)) => result,
        Ok(None) => Err("the controller is ending".to_owned()),
        Err(_) => Err(format!(
            "the controller did not get to it within {} s",
            WORK_TIMEOUT.as_secs()
        )),
    }
}
