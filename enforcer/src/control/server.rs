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
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::timeout;

use super::streams::{self, Stream, Streams};
use super::{
    Answer, CLIENT_TIMEOUT, Change, Command, Order, REQUEST_BYTES, Request, VERSION, Verb, WORK_TIMEOUT, socket_path,
};
use crate::audit::{self, Outcome, Who};
use crate::clients::{self, Place};
use crate::flows::DeviceReport;
use crate::metrics::CounterReport;
use crate::state::State;

/// Clients of a user that are about to ask, and that are being answered, at a time.
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
    clients::serve(listener, "the control socket", CLIENTS, |stream, place| {
        let (state, commands, streams) = (Arc::clone(&state), commands.clone(), streams.clone());
        async move {
            let mut stream = BufReader::new(stream);
            let more = converse(&mut stream, &place, &state, &commands, &streams).await;
            if let Some((lines, permit)) = more {
                // A task of its own: streams have places of their own, and do not take those of short requests.
                tokio::spawn(async move {
                    streams::send(lines, &mut stream, &state).await;
                    drop(permit);
                });
            }
            drop(place);
        }
    })
    .await;
}

/// One request and its answer, and what is to follow it. A client that does not listen is its own problem.
async fn converse(
    stream: &mut BufReader<UnixStream>,
    place: &Place,
    state: &Arc<State>,
    commands: &mpsc::Sender<Command>,
    streams: &Streams,
) -> Option<(Stream, OwnedSemaphorePermit)> {
    let peer = stream.get_ref().peer_cred();
    let mut more = None;
    let request = timeout(CLIENT_TIMEOUT, read(stream)).await;
    place.keep().await;
    let result = match (request, peer) {
        (Ok(Ok(request)), Ok(peer)) => match streams.open(&request.request, peer.uid(), state) {
            None => answer(request.request, peer, state, commands).await,
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
    request: Verb,
    peer: UCred,
    state: &Arc<State>,
    commands: &mpsc::Sender<Command>,
) -> Result<Value, String> {
    match request {
        Verb::Status => json(&*state.status()),
        Verb::Devices => json(&with_state(state, DeviceReport::all).await?),
        Verb::Counters { devices } => json(&with_state(state, move |state| CounterReport::read(state, devices)).await?),
        Verb::Monitor(_) | Verb::Flows(_) => Err("an answer of many lines".to_owned()),
        Verb::Change(change) => {
            let by = Who::peer(peer.uid(), peer.pid());
            let is_detach = change.order == Order::Detach;
            let ports = self::change(by, change, state, commands).await?;
            if is_detach {
                json(&ports)
            } else {
                json(&*state.status())
            }
        }
    }
}

/// Hands a change to the controller and waits for its result. One that may not be asked for is recorded here.
async fn change(
    by: Who,
    change: Change,
    state: &Arc<State>,
    commands: &mpsc::Sender<Command>,
) -> Result<Vec<String>, String> {
    let permitted = if audit::is_privileged(by.uid) {
        change.check()
    } else {
        Err(format!("{by} may read the status, and nothing else: run it as root"))
    };
    if let Err(error) = permitted {
        let refuse = move |state: &State| {
            let (what, comment) = (change.order.what(), &change.comment);
            state.audit.not_done(Some(by), what, comment, Outcome::Refused, &error);
            Err(error)
        };
        return with_state(state, refuse).await;
    }
    tracing::info!(%by, ?change, "asked through the control socket");
    let (result, answer) = oneshot::channel();
    let asked = async {
        commands.send(Command { by, change, result }).await.ok()?;
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

/// Runs what may block in a thread of its own.
async fn with_state<T: Send + 'static>(
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
