//! Small exchanges: a status report over HTTP, a name lookup.

use std::io::{self, Read, Write};
use std::net::UdpSocket;

use super::broken;

/// Posts a pump's status; the server must have taken it.
///
/// The lab has no certificates, so what runs on the HTTPS port is HTTP: the enforcer decides by addresses and ports.
pub fn post_status(mut stream: impl Read + Write) -> io::Result<()> {
    let body = r#"{"pump":"icu-01","state":"infusing","rate_ml_per_h":12.5}"#;
    let length = body.len();
    write!(
        stream,
        "POST /status HTTP/1.1\r\nHost: pump-gateway\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    if answer == *b"HTTP/1.1 204" {
        Ok(())
    } else {
        Err(broken("the status report was not taken"))
    }
}

/// Takes one status report.
pub fn take_status(mut stream: impl Read + Write) -> io::Result<()> {
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.ends_with(b"}") {
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            length => request.extend(&piece[..length]),
        }
    }
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
}

/// A query for the address of a name.
pub fn name_query(id: u16, name: &str) -> Vec<u8> {
    let mut query = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.split('.') {
        query.push(label.len() as u8);
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    query
}

/// Asks a server that the socket is connected to; the answer must be to this question and have an address in it.
pub fn resolve(socket: &UdpSocket, id: u16, name: &str) -> io::Result<[u8; 4]> {
    socket.send(&name_query(id, name))?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer)?;
    let answer = &answer[..length];
    if length < 16 || answer[..2] != id.to_be_bytes() || answer[2] & 0x80 == 0 || answer[6..8] != [0, 1] {
        return Err(broken("not an answer to the question"));
    }
    answer[length - 4..].try_into().map_err(|_| broken("no address"))
}

/// Answers one query with an address; nothing when none waits.
pub fn answer_query(socket: &UdpSocket, address: [u8; 4]) -> io::Result<()> {
    let mut query = [0; 512];
    let (length, from) = socket.recv_from(&mut query)?;
    let mut answer = query[..length].to_vec();
    if length < 12 {
        return Err(broken("a query without a header"));
    }
    answer[2..4].copy_from_slice(&[0x84, 0]);
    answer[6..8].copy_from_slice(&[0, 1]);
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    answer.extend(address);
    socket.send_to(&answer, from).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;
    use std::thread;

    #[test]
    fn a_status_report_is_taken() {
        let (client, server) = UnixStream::pair().expect("a pair of sockets");
        let taker = thread::spawn(move || take_status(server));
        post_status(client).expect("taken");
        taker.join().expect("no panic").expect("served");
    }

    #[test]
    fn a_name_is_resolved() -> io::Result<()> {
        let (client, server) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        client.connect(server.local_addr()?)?;
        let answering = thread::spawn(move || answer_query(&server, [10, 20, 5, 10]));
        assert_eq!(
            resolve(&client, 77, "pump-gateway-01.hospital.example")?,
            [10, 20, 5, 10]
        );
        answering.join().expect("no panic")
    }
}
