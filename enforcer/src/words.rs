//! How the numbers of frames are written: in events, on the command line, and in the policy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use enforcer_common::abi::Address;
use enforcer_common::packet::protocol as number;

/// SCTP, which has ports that no rule can tell apart.
const SCTP: u8 = 132;

/// TCP flags by their letters, as tcpdump has them.
const TCP_FLAGS: [(u8, char); 8] = [
    (2, 'S'),
    (1, 'F'),
    (4, 'R'),
    (8, 'P'),
    (16, 'A'),
    (32, 'U'),
    (64, 'E'),
    (128, 'C'),
];

/// An address of family 4 or 6; `None` of any other.
pub fn address(family: u8, words: Address) -> Option<IpAddr> {
    match family {
        4 => Some(Ipv4Addr::from(words[3]).into()),
        6 => {
            let number = words
                .iter()
                .fold(0_u128, |number, word| number << 32 | u128::from(*word));
            Some(Ipv6Addr::from(number).into())
        }
        _ => None,
    }
}

/// The family of an address, and the address as [`address`] takes it.
pub fn of_address(address: IpAddr) -> (u8, Address) {
    match address {
        IpAddr::V4(address) => (4, [0, 0, 0, address.to_bits()]),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            (6, [96, 64, 32, 0].map(|shift| (bits >> shift) as u32))
        }
    }
}

/// `00:1e:3d:00:01:01`.
pub fn mac(octets: [u8; 6]) -> String {
    octets.map(|octet| format!("{octet:02x}")).join(":")
}

/// `tcp`, or `proto/47` for protocols without a short name.
pub fn protocol(number: u8) -> String {
    match number {
        number::ICMP => "icmp".to_owned(),
        number::TCP => "tcp".to_owned(),
        number::UDP => "udp".to_owned(),
        number::ICMPV6 => "icmpv6".to_owned(),
        SCTP => "sctp".to_owned(),
        other => format!("proto/{other}"),
    }
}

/// Whether the protocol's packets name ports.
pub fn has_ports(protocol: u8) -> bool {
    matches!(protocol, number::TCP | number::UDP | SCTP)
}

/// What is asked for, as a policy would write it: `tcp/443`, `icmp/8/0`. `port` is `type << 8 | code` of ICMP.
pub fn service(protocol: u8, port: u16) -> String {
    match protocol {
        number::TCP => format!("tcp/{port}"),
        number::UDP => format!("udp/{port}"),
        number::ICMP => format!("icmp/{}/{}", port >> 8, port & 0xff),
        number::ICMPV6 => format!("icmpv6/{}/{}", port >> 8, port & 0xff),
        other => self::protocol(other),
    }
}

/// The flags by their letters, as tcpdump has them: `S`, `SA`.
pub fn tcp_flags(flags: u8) -> String {
    let set = TCP_FLAGS.iter().filter(|(bit, _)| flags & bit != 0);
    set.map(|(_, letter)| *letter).collect()
}

/// Octets as hexadecimal digits.
pub fn hexadecimal(octets: &[u8]) -> String {
    octets
        .iter()
        .fold(String::new(), |text, octet| text + &format!("{octet:02x}"))
}

/// A number of octets for people: `987`, `1.2k`, `34M`.
pub fn short(number: u64) -> String {
    let mut value = number;
    let mut rest = 0;
    let mut unit = "";
    for larger in ["k", "M", "G", "T", "P"] {
        if value < 1000 {
            break;
        }
        (rest, value, unit) = (value % 1000 / 100, value / 1000, larger);
    }
    if unit.is_empty() || value >= 10 {
        format!("{value}{unit}")
    } else {
        format!("{value}.{rest}{unit}")
    }
}

/// `1 file`, `2 files`.
pub fn counted(count: usize, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        assert_eq!(
            [0, 1, 2].map(|count| counted(count, "file")),
            ["0 files", "1 file", "2 files"]
        );
    }

    #[test]
    fn numbers_are_short() {
        let all = [0, 999, 1000, 1999, 10_999, 999_999, 1_000_000, 34_567_890].map(short);
        assert_eq!(all, ["0", "999", "1.0k", "1.9k", "10k", "999k", "1.0M", "34M"]);
    }
}
