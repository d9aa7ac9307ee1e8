//! HL7 version 2 over MLLP: an observation goes out, an acknowledgement comes back.

use std::io::{self, Read, Write};

use super::broken;

const START: u8 = 0x0b;
const END: [u8; 2] = [0x1c, b'\r'];

/// Sends an observation (ORU^R01) of an infusion and waits for the receiver's acknowledgement of that very message.
pub fn send_observation(mut stream: impl Read + Write, control_id: &str) -> io::Result<()> {
    let message = [
        format!("MSH|^~\\&|PUMPGW|ICU|EHR|HOSPITAL|20260101120000||ORU^R01^ORU_R01|{control_id}|P|2.6"),
        "PID|||000042^^^HOSPITAL^PI||Example^Patient".to_owned(),
        "OBR|1|||69985^MDC_DEV_PUMP_INFUS_MDS^MDC|||20260101120000".to_owned(),
        "OBX|1|NM|158014^MDC_RATE_DELIV^MDC|1.1.1.1|12.5|265266^MDC_DIM_MILLI_L_PER_HR^MDC|||||R".to_owned(),
    ]
    .map(|segment| segment + "\r")
    .concat();
    write_message(&mut stream, &message)?;
    await_acknowledgement(stream, control_id)
}

/// Waits for the receiver's acknowledgement of a message that was sent before.
pub fn await_acknowledgement(mut stream: impl Read, control_id: &str) -> io::Result<()> {
    let answer = read_message(&mut stream)?;
    let acknowledged = field(&answer, "MSA", 1) == Some("AA") && field(&answer, "MSA", 2) == Some(control_id);
    if acknowledged {
        Ok(())
    } else {
        Err(broken(format!("not an acknowledgement of {control_id}: {answer:?}")))
    }
}

/// Acknowledges every message of a connection until the sender closes it.
pub fn acknowledge(mut stream: impl Read + Write) -> io::Result<()> {
    loop {
        let message = match read_message(&mut stream) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            message => message?,
        };
        let control_id = field(&message, "MSH", 9).ok_or_else(|| broken("a message without a control id"))?;
        let answer = format!(
            "MSH|^~\\&|EHR|HOSPITAL|PUMPGW|ICU|20260101120000||ACK^R01^ACK|A{control_id}|P|2.6\rMSA|AA|{control_id}\r"
        );
        write_message(&mut stream, &answer)?;
    }
}

/// A field of the first segment with this name; field 0 is the name.
fn field<'a>(message: &'a str, segment: &str, number: usize) -> Option<&'a str> {
    message
        .split('\r')
        .find(|line| line.starts_with(segment))?
        .split('|')
        .nth(number)
}

fn write_message(stream: &mut impl Write, message: &str) -> io::Result<()> {
    stream.write_all(&[&[START], message.as_bytes(), &END].concat())
}

fn read_message(stream: &mut impl Read) -> io::Result<String> {
    let mut octet = [0];
    stream.read_exact(&mut octet)?;
    if octet != [START] {
        return Err(broken("an MLLP block that does not start with VT"));
    }
    let mut message = Vec::new();
    while !message.ends_with(&END) {
        stream.read_exact(&mut octet)?;
        message.push(octet[0]);
        if message.len() > 65_536 {
            return Err(broken("an MLLP block without an end"));
        }
    }
    message.truncate(message.len() - END.len());
    String::from_utf8(message).map_err(|_| broken("a message that is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;
    use std::thread;

    #[test]
    fn observations_are_acknowledged_by_their_id() {
        let (client, server) = UnixStream::pair().expect("a pair of sockets");
        let receiver = thread::spawn(move || acknowledge(server));
        send_observation(&client, "7001").expect("acknowledged");
        send_observation(&client, "7002").expect("acknowledged");
        drop(client);
        receiver.join().expect("no panic").expect("ended by the sender");
    }

    #[test]
    fn another_answer_is_no_acknowledgement() {
        let (client, mut server) = UnixStream::pair().expect("a pair of sockets");
        write_message(&mut server, "MSH|^~\\&|EHR\rMSA|AE|7001\r").expect("written");
        assert!(send_observation(client, "7001").is_err());
    }
}
