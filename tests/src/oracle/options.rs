//! TCP options: what a segment announces, and what is wrong with it.

/// One option of a TCP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpOption {
    /// Nothing follows.
    End,
    /// Padding.
    Nothing,
    /// The largest segment that the sender takes, in octets.
    Mss(u16),
    /// Another option, with so many octets of value.
    Other(u8),
    /// An MSS option that says another length than 4, with as many octets.
    MssOfLength(u8),
    /// An option that says a length of 0 or 1.
    Short(u8),
    /// An option that says to be longer than the header.
    Long,
    /// The last octet of the header is the kind of an option, without a length.
    Cut,
}

/// Octets of options that a header has room for.
const ROOM: usize = 40;
/// An option that nobody knows (RFC 4727).
const EXPERIMENT: u8 = 253;

/// The options on the wire, padded to whole words.
pub fn octets(options: &[TcpOption]) -> Vec<u8> {
    let mut octets = Vec::new();
    for option in options {
        match *option {
            TcpOption::End => octets.push(0),
            TcpOption::Nothing => octets.push(1),
            TcpOption::Mss(mss) => octets.extend([2, 4, (mss >> 8) as u8, mss as u8]),
            TcpOption::Other(value) => with_value(&mut octets, EXPERIMENT, value + 2),
            TcpOption::MssOfLength(length) => with_value(&mut octets, 2, length),
            TcpOption::Short(length) => octets.extend([EXPERIMENT, length]),
            TcpOption::Long => octets.extend([EXPERIMENT, ROOM as u8 + 1]),
            TcpOption::Cut => {
                while octets.len() % 4 != 3 {
                    octets.push(1);
                }
                octets.push(EXPERIMENT);
            }
        }
    }
    octets.resize(octets.len().next_multiple_of(4), 0);
    octets
}

fn with_value(octets: &mut Vec<u8>, kind: u8, length: u8) {
    octets.extend([kind, length]);
    octets.extend((2..length).map(|_| 0xff));
}

/// Whether a header has room for them.
pub fn fit(options: &[TcpOption]) -> bool {
    octets(options).len() <= ROOM
}

/// The smallest MSS that they announce, `default` where they announce none; `None` when receivers may read them
/// differently.
pub(super) fn announced(options: &[TcpOption], default: u16) -> Option<u16> {
    let read = options.iter().take_while(|option| **option != TcpOption::End);
    let mut all = Vec::new();
    for option in read {
        match *option {
            TcpOption::Mss(mss) => all.push(mss),
            TcpOption::Nothing | TcpOption::Other(_) | TcpOption::End => {}
            TcpOption::MssOfLength(_) | TcpOption::Short(_) | TcpOption::Long | TcpOption::Cut => return None,
        }
    }
    Some(all.into_iter().min().unwrap_or(default))
}
