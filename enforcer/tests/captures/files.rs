//! Captures as octets: pcap (libpcap's savefile(5)) and pcapng (draft-ietf-opsawg-pcapng).

/// A frame, and when it was seen, in nanoseconds.
pub(super) type Frame<'a> = (u64, &'a [u8]);

/// A number in either byte order.
fn word(number: u32, big: bool) -> [u8; 4] {
    if big {
        number.to_be_bytes()
    } else {
        number.to_le_bytes()
    }
}

/// A pcap file.
pub(super) fn pcap(frames: &[Frame<'_>], nanoseconds: bool, big: bool, link: u32) -> Vec<u8> {
    let magic = if nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
    let version = if big { 2 << 16 | 4 } else { 4 << 16 | 2 };
    let mut file = Vec::new();
    for number in [magic, version, 0, 0, 262_144, link] {
        file.extend(word(number, big));
    }
    for (nanos, octets) in frames {
        let unit = if nanoseconds { 1 } else { 1000 };
        let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000 / unit);
        for number in [
            seconds as u32,
            fraction as u32,
            octets.len() as u32,
            octets.len() as u32,
        ] {
            file.extend(word(number, big));
        }
        file.extend(*octets);
    }
    file
}

/// A block of pcapng, padded, with its length before and behind.
pub(super) fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let length = (12 + padded) as u32;
    let mut block = Vec::new();
    block.extend(kind.to_le_bytes());
    block.extend(length.to_le_bytes());
    block.extend(body);
    block.resize(8 + padded, 0);
    block.extend(length.to_le_bytes());
    block
}

/// A section header.
pub(super) fn section() -> Vec<u8> {
    let mut body = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
    body.extend([1, 0, 0, 0]);
    body.extend([0xff; 8]);
    block(0x0a0d_0d0a, &body)
}

/// An interface of Ethernet whose clock ticks in units of `resolution`.
pub(super) fn interface(resolution: u8) -> Vec<u8> {
    let mut body = vec![1, 0, 0, 0, 0, 0, 4, 0];
    body.extend(option(9, &[resolution]));
    body.extend(option(0, &[]));
    block(1, &body)
}

fn option(code: u16, value: &[u8]) -> Vec<u8> {
    let mut option = code.to_le_bytes().to_vec();
    option.extend((value.len() as u16).to_le_bytes());
    option.extend(value);
    option.resize(option.len().next_multiple_of(4), 0);
    option
}

/// A frame of `length` octets on the wire; with `flags` as the capture has them.
pub(super) fn enhanced(interface: u32, ticks: u64, octets: &[u8], length: u32, flags: Option<u32>) -> Vec<u8> {
    let mut body = interface.to_le_bytes().to_vec();
    for number in [(ticks >> 32) as u32, ticks as u32, octets.len() as u32, length] {
        body.extend(number.to_le_bytes());
    }
    body.extend(octets);
    body.resize(body.len().next_multiple_of(4), 0);
    if let Some(flags) = flags {
        body.extend(option(2, &flags.to_le_bytes()));
        body.extend(option(0, &[]));
    }
    block(6, &body)
}

/// A frame without a time.
pub(super) fn simple(octets: &[u8]) -> Vec<u8> {
    let mut body = (octets.len() as u32).to_le_bytes().to_vec();
    body.extend(octets);
    block(3, &body)
}
