use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;
use crate::state::tests::state;

/// A served socket, and a controller that refuses reloads and detaches one port.
fn served() -> TempDir {
    let folder = TempDir::new().unwrap();
    let listener = bind(folder.path()).unwrap();
    let (sender, mut commands) = mpsc::channel(1);
    tokio::spawn(serve(listener, Arc::new(state()), sender));
    tokio::spawn(async move {
        while let Some(command) = commands.recv().await {
            let _ = command.result.send(match command.change.order {
                Order::Detach => Ok(vec!["trunk0".into()]),
                _ => Err("two zones claim 10.0.0.1".into()),
            });
        }
    });
    folder
}

async fn ask(folder: &TempDir, verb: Verb) -> Result<Value, CallError> {
    let path = folder.path().to_owned();
    tokio::task::spawn_blocking(move || call(&path, verb)).await.unwrap()
}

async fn change(folder: &TempDir, order: Order) -> Result<Value, CallError> {
    ask(folder, Verb::Change(Change::of(order))).await
}

/// Sends raw bytes and reads the answer.
async fn raw(folder: &TempDir, bytes: &[u8]) -> Value {
    let (path, bytes) = (socket_path(folder.path()), bytes.to_owned());
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = UnixStream::connect(path).unwrap();
        let _ = stream.write_all(&bytes);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    });
    serde_json::from_str(&answer.await.unwrap()).unwrap()
}

#[tokio::test]
async fn the_status_comes_with_the_version_of_its_shape() {
    let folder = served();
    let answer = ask(&folder, Verb::Status).await.unwrap();
    assert_eq!(answer["schema_version"], 1);
    assert_eq!(answer["ports"][1]["name"], "trunk1");
    assert_eq!(answer["ready"], false);
}

#[tokio::test]
async fn a_refusal_reaches_the_caller_with_its_reason() {
    let folder = served();
    let error = change(&folder, Order::Reload).await.unwrap_err();
    assert!(
        matches!(&error, CallError::Refused(text) if text.contains("10.0.0.1")),
        "{error}"
    );
    assert_eq!(change(&folder, Order::Detach).await.unwrap(), json!(["trunk0"]));
}

#[tokio::test]
async fn what_is_no_request_is_answered_and_does_no_harm() {
    let folder = served();
    for (bytes, expected) in [
        (&b"hello\n"[..], "a JSON object"),
        (b"{\"version\":1,\"request\":\"format-disk\"}\n", "no such request"),
        (
            b"{\"version\":1,\"request\":\"status\",\"extra\":1}\n",
            "no such request",
        ),
        (
            b"{\"version\":1,\"request\":{\"change\":{\"order\":\"reload\",\"comment\":\"\\u001b[2J\"}}}\n",
            "one line without control characters",
        ),
        (b"{\"version\":2,\"request\":\"status\"}\n", "version 2"),
        (b"\xff\xfe\n", "a JSON object"),
    ] {
        let answer = raw(&folder, bytes).await;
        assert_eq!(answer["ok"], false);
        assert!(answer["error"].as_str().unwrap().contains(expected), "{answer}");
    }
    assert!(ask(&folder, Verb::Status).await.is_ok());
}

#[tokio::test]
async fn a_request_without_end_is_cut() {
    let folder = served();
    let answer = raw(&folder, &vec![b' '; REQUEST_BYTES as usize]).await;
    assert!(answer["error"].as_str().unwrap().contains("65536 octets"), "{answer}");
}

#[tokio::test]
async fn silent_clients_do_not_shut_others_out() {
    let folder = served();
    let path = socket_path(folder.path());
    let connect = move || (0..500).map(|_| UnixStream::connect(&path).unwrap()).collect();
    let silent: Vec<_> = tokio::task::spawn_blocking(connect).await.unwrap();
    // Were they to wait until the silent ones are given up, this would take more than two minutes.
    let answer = tokio::time::timeout(CLIENT_TIMEOUT * 3, ask(&folder, Verb::Status)).await;
    assert!(answer.expect("an answer in time").is_ok());
    drop(silent);
}

#[tokio::test]
async fn the_socket_is_for_owner_and_group_and_only_one_controller_has_it() {
    let folder = served();
    let mode = std::fs::metadata(socket_path(folder.path()))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
    assert_eq!(bind(folder.path()).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn what_a_dead_controller_left_is_replaced_and_absence_is_said() {
    let folder = TempDir::new().unwrap();
    drop(bind(folder.path()).unwrap());
    let error = ask(&folder, Verb::Status).await.unwrap_err();
    assert!(matches!(error, CallError::Absent(_)), "{error}");
    assert!(bind(folder.path()).is_ok());
}

#[tokio::test]
async fn a_controller_that_ends_before_it_answers_leaves_no_riddle() {
    for part in ["", "{\"ok\": tr"] {
        let folder = TempDir::new().unwrap();
        let listener = std::os::unix::net::UnixListener::bind(socket_path(folder.path())).unwrap();
        let dies = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).unwrap() > 0);
            stream.write_all(part.as_bytes()).unwrap();
        });
        let error = change(&folder, Order::Confirm { revision: 2 }).await.unwrap_err();
        dies.join().unwrap();
        assert!(matches!(error, CallError::Ended(_)), "{error}");
        assert!(error.to_string().contains("`enforcer history` tells"), "{error}");
    }
}
