//! DICOM over TCP: an association is negotiated, C-ECHO verifies it, it is released.
//!
//! Layout: DICOM PS3.8 section 9.3 for the units, PS3.7 section 9.3.5 for C-ECHO.

use std::io::{self, Read, Write};

use super::broken;

const ASSOCIATE_REQUEST: u8 = 1;
const ASSOCIATE_ACCEPT: u8 = 2;
const DATA: u8 = 4;
const RELEASE_REQUEST: u8 = 5;
const RELEASE_RESPONSE: u8 = 6;

const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";
const VERIFICATION: &str = "1.2.840.10008.1.1";
const IMPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2";

/// The presentation context that both ends use.
const CONTEXT: u8 = 1;
const ECHO_REQUEST: u16 = 0x0030;
const ECHO_RESPONSE: u16 = 0x8030;

/// Verifies the peer: association, C-ECHO, release.
pub fn verify(mut stream: impl Read + Write) -> io::Result<()> {
    write_unit(&mut stream, ASSOCIATE_REQUEST, &association(0x20))?;
    let (kind, _) = read_unit(&mut stream)?;
    expect(kind, ASSOCIATE_ACCEPT, "an accepted association")?;
    write_unit(&mut stream, DATA, &command(ECHO_REQUEST))?;
    let (kind, body) = read_unit(&mut stream)?;
    expect(kind, DATA, "an answer to C-ECHO")?;
    if body != command(ECHO_RESPONSE) {
        return Err(broken("an answer to C-ECHO that is not success"));
    }
    write_unit(&mut stream, RELEASE_REQUEST, &[0; 4])?;
    let (kind, _) = read_unit(&mut stream)?;
    expect(kind, RELEASE_RESPONSE, "a release")
}

/// Serves one association until it is released.
pub fn answer_verification(mut stream: impl Read + Write) -> io::Result<()> {
    loop {
        let (kind, body) = read_unit(&mut stream)?;
        match kind {
            ASSOCIATE_REQUEST => write_unit(&mut stream, ASSOCIATE_ACCEPT, &association(0x21))?,
            DATA if body == command(ECHO_REQUEST) => write_unit(&mut stream, DATA, &command(ECHO_RESPONSE))?,
            RELEASE_REQUEST => return write_unit(&mut stream, RELEASE_RESPONSE, &[0; 4]),
            _ => return Err(broken(format!("an unexpected unit of type {kind}"))),
        }
    }
}

/// A file with a secondary capture image (PS3.10, explicit little endian) whose last element is `pixels`, which are
/// of an even number.
pub fn image(instance: u32, pixels: &[u8]) -> Vec<u8> {
    const CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";
    const EXPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";
    let identifier = format!("2.25.4711.{instance}");
    let mut meta = long_value([2, 1], *b"OB", &[0, 1]);
    meta.extend(value([2, 2], *b"UI", CAPTURE.as_bytes()));
    meta.extend(value([2, 3], *b"UI", identifier.as_bytes()));
    meta.extend(value([2, 0x10], *b"UI", EXPLICIT_LITTLE_ENDIAN.as_bytes()));
    let mut file = [&[0; 128][..], b"DICM"].concat();
    file.extend(value([2, 0], *b"UL", &(meta.len() as u32).to_le_bytes()));
    file.extend(meta);
    file.extend(value([8, 0x16], *b"UI", CAPTURE.as_bytes()));
    file.extend(value([8, 0x18], *b"UI", identifier.as_bytes()));
    file.extend(value([0x10, 0x20], *b"LO", b"000042"));
    file.extend(value([0x20, 0xd], *b"UI", b"2.25.4711"));
    file.extend(long_value([0x7fe0, 0x10], *b"OB", pixels));
    file
}

/// A data element with a short length: tag, type, length, value padded to an even length.
fn value([group, number]: [u16; 2], kind: [u8; 2], text: &[u8]) -> Vec<u8> {
    let padding = if kind == *b"UI" { 0 } else { b' ' };
    let mut padded = text.to_vec();
    padded.resize(text.len().next_multiple_of(2), padding);
    let tag = [group.to_le_bytes(), number.to_le_bytes()].concat();
    [&tag, &kind[..], &(padded.len() as u16).to_le_bytes(), &padded].concat()
}

/// A data element with a long length.
fn long_value([group, number]: [u16; 2], kind: [u8; 2], octets: &[u8]) -> Vec<u8> {
    let tag = [group.to_le_bytes(), number.to_le_bytes()].concat();
    [&tag, &kind[..], &[0, 0], &(octets.len() as u32).to_le_bytes(), octets].concat()
}

fn expect(kind: u8, wanted: u8, name: &str) -> io::Result<()> {
    if kind == wanted {
        Ok(())
    } else {
        Err(broken(format!("a unit of type {kind} instead of {name}")))
    }
}

/// The body of an association request, or with `context_item` 0x21 of its acceptance.
fn association(context_item: u8) -> Vec<u8> {
    let mut body = vec![0, 1, 0, 0];
    body.extend(b"ARCHIVE         ");
    body.extend(b"CT01            ");
    body.extend([0; 32]);
    body.extend(item(0x10, APPLICATION_CONTEXT.as_bytes()));
    let mut context = vec![CONTEXT, 0, 0, 0];
    if context_item == 0x20 {
        context.extend(item(0x30, VERIFICATION.as_bytes()));
    }
    context.extend(item(0x40, IMPLICIT_LITTLE_ENDIAN.as_bytes()));
    body.extend(item(context_item, &context));
    body.extend(item(0x50, &item(0x51, &16_384_u32.to_be_bytes())));
    body
}

fn item(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind, 0], &(content.len() as u16).to_be_bytes()[..], content].concat()
}

/// The body of a data unit with a C-ECHO command set: one fragment, the last, in implicit little endian.
fn command(field: u16) -> Vec<u8> {
    let mut class = VERIFICATION.as_bytes().to_vec();
    class.push(0);
    let mut elements = element(0x0002, &class);
    elements.extend(element(0x0100, &field.to_le_bytes()));
    // Message id in the request, message id being responded to in the response.
    let id = if field == ECHO_REQUEST { 0x0110 } else { 0x0120 };
    elements.extend(element(id, &1_u16.to_le_bytes()));
    elements.extend(element(0x0800, &0x0101_u16.to_le_bytes()));
    if field == ECHO_RESPONSE {
        elements.extend(element(0x0900, &0_u16.to_le_bytes()));
    }
    let length = element(0x0000, &(elements.len() as u32).to_le_bytes());
    let value = [&[CONTEXT, 0x03], &length[..], &elements].concat();
    [&(value.len() as u32).to_be_bytes()[..], &value].concat()
}

/// A data element of the command group.
fn element(number: u16, value: &[u8]) -> Vec<u8> {
    [
        &[0, 0],
        &number.to_le_bytes()[..],
        &(value.len() as u32).to_le_bytes(),
        value,
    ]
    .concat()
}

fn write_unit(stream: &mut impl Write, kind: u8, body: &[u8]) -> io::Result<()> {
    stream.write_all(&[&[kind, 0], &(body.len() as u32).to_be_bytes()[..], body].concat())
}

fn read_unit(stream: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut header = [0; 6];
    stream.read_exact(&mut header)?;
    let length = u32::from_be_bytes([header[2], header[3], header[4], header[5]]) as usize;
    if length > 65_536 {
        return Err(broken(format!("a unit of {length} octets")));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((header[0], body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;
    use std::thread;

    #[test]
    fn an_archive_is_verified_and_a_stranger_is_not() {
        let (client, server) = UnixStream::pair().expect("a pair of sockets");
        let archive = thread::spawn(move || answer_verification(server));
        verify(client).expect("verified");
        archive.join().expect("no panic").expect("released");
        let (client, mut server) = UnixStream::pair().expect("a pair of sockets");
        server.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("written");
        assert!(verify(client).is_err());
    }
}
