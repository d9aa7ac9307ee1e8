//! Clients of the control socket that say nothing, half of something, or anything: the controller goes on answering others. Needs root.

mod gateway;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use enforcer::control::socket_path;
use gateway::Gateway;
use gateway::ward::{ACK, RUNTIME, SYN, to_pump, to_server, ward};

/// As many as a process may have files open, nearly.
const CLIENTS: usize = 900;

/// Connections that have said this much.
fn clients(gateway: &Gateway, words: &[u8]) -> Result<Vec<UnixStream>> {
    let connect = || -> Result<UnixStream> {
        let mut stream = UnixStream::connect(socket_path(Path::new(RUNTIME)))?;
        stream.set_write_timeout(Some(Duration::from_millis(10)))?;
        // Cut off while it is written, perhaps.
        let _ = stream.write_all(words);
        Ok(stream)
    };
    gateway.namespace.enter(|| (0..CLIENTS).map(|_| connect()).collect())
}

#[test]
fn clients_that_never_ask_keep_nobody_from_asking() -> Result<()> {
    let (gateway, _switch) = ward()?;
    let enforcer = gateway.start(&["trunk0"])?;
    // Were it to wait for each of them, an answer would take minutes, and the command gives up before.
    for words in [&b""[..], b"{\"version\":1,\"request\":\"sta", &vec![0xff; 70_000]] {
        let crowd = clients(&gateway, words)?;
        let (code, text, told) = gateway.command("status")?;
        assert_eq!(code, 0, "{told}");
        assert!(text.contains("in force since"), "{text}");
        enforcer.reload()?;
        drop(crowd);
    }
    Ok(())
}

#[test]
fn clients_that_do_not_listen_keep_nobody_from_listening() -> Result<()> {
    let (gateway, switch) = ward()?;
    let _enforcer = gateway.start(&["trunk0"])?;
    switch.send(&to_server(40_001, 443, SYN))?;
    switch.send(&to_pump(40_001, SYN | ACK))?;
    for request in ["{\"monitor\":{}}", "{\"flows\":{\"limit\":0}}", "\"devices\""] {
        let words = format!("{{\"version\":1,\"request\":{request}}}\n");
        let mut crowd = clients(&gateway, words.as_bytes())?;
        let (code, _, told) = gateway.command("status")?;
        assert_eq!(code, 0, "{told}");
        // Whoever finds no place is told so at once.
        let last = crowd.last_mut().expect("a client");
        last.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut octets = [0; 200];
        let read = last.read(&mut octets)?;
        let answer = String::from_utf8_lossy(&octets[..read]);
        assert!(answer.starts_with("{\"version\":1,\"ok\":"), "{answer}");
    }
    Ok(())
}
