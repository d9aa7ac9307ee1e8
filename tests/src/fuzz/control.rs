//! The control protocol, over a real socket.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;

use enforcer::control::{Command, bind, serve, socket_path};
use enforcer::state::State;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;

const CONFIGURATION: &str = "policy = [\"policy\"]\n[[port]]\ninterface = \"trunk0\"\n";

/// Every request gets one line of JSON, and only those that say what they want get a yes.
pub fn control(octets: &[u8]) {
    let mut stream = UnixStream::connect(socket()).expect("the server listens");
    // The server may have said no before all was sent.
    let _ = stream.write_all(octets);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let answer: Value = serde_json::from_str(answer.trim_end())
        .unwrap_or_else(|error| panic!("the answer {answer:?} is no JSON: {error}"));
    assert_eq!(answer["version"], 1, "{answer}");
    match answer["ok"].as_bool() {
        Some(true) => assert!(is_request(octets), "a yes to {:?}", String::from_utf8_lossy(octets)),
        Some(false) => assert!(
            answer["error"].as_str().is_some_and(|error| !error.is_empty()),
            "{answer}"
        ),
        None => panic!("neither yes nor no: {answer}"),
    }
}

/// Whether the first line is one of the requests, read without the controller's types.
fn is_request(octets: &[u8]) -> bool {
    let line = octets.split(|&octet| octet == b'\n').next().unwrap_or_default();
    let Ok(Value::Object(fields)) = serde_json::from_slice(line) else {
        return false;
    };
    let is_asked = match fields.get("request") {
        Some(Value::String(verb)) => ["status", "devices"].contains(&verb.as_str()),
        Some(Value::Object(verb)) => verb.len() == 1 && verb.get("change").is_some_and(is_change),
        _ => false,
    };
    fields.len() == 2 && fields.get("version") == Some(&1.into()) && is_asked
}

/// Whether it is an order with a comment, for those orders that the seeds have.
fn is_change(change: &Value) -> bool {
    let order = change.get("order").or(change.get(0)).and_then(|order| match order {
        Value::String(order) => Some(order.as_str()),
        Value::Object(order) => order.keys().next().map(String::as_str),
        _ => None,
    });
    let comment = change.get("comment").or(change.get(1)).and_then(Value::as_str);
    let is_line = comment.is_some_and(|comment| !comment.chars().any(char::is_control));
    is_line && order.is_some_and(|order| ["reload", "apply", "confirm", "rollback", "detach"].contains(&order))
}

/// The socket of a server that says yes to everything, for as long as the process lives.
fn socket() -> &'static Path {
    static SERVER: OnceLock<(PathBuf, TempDir)> = OnceLock::new();
    let (socket, _) = SERVER.get_or_init(|| {
        let folder = TempDir::new().expect("a folder for the socket");
        let directory = folder.path().to_owned();
        let (ready, is_ready) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let listener = bind(&directory).expect("a socket");
                let (sender, mut commands) = mpsc::channel(1);
                let _ = ready.send(());
                tokio::spawn(serve(listener, Arc::new(state()), sender));
                while let Some(command) = commands.recv().await {
                    let Command { result, .. } = command;
                    let _ = result.send(Ok(vec!["trunk0".into()]));
                }
            });
        });
        is_ready.recv().expect("a server");
        (socket_path(folder.path()), folder)
    });
    socket
}

fn state() -> State {
    let config = enforcer::config::parse(Path::new("enforcer.toml"), CONFIGURATION.into());
    State::new(&config.unwrap_or_else(|findings| panic!("{findings}")))
}
