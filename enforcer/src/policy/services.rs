//! The grammar of services: `tcp/443`, `udp/49152-65535`, `icmp/echo`, `proto/47`, `any`.

use super::{
    fields::{Complaint, nearest},
    valid::ServiceMatch,
};
use crate::diagnostics::quote;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// Protocols with a name of their own; the others are `proto/NUMBER`.
const PROTOCOLS: [(&str, u8); 13] = [
    ("icmp", ICMP),
    ("igmp", 2),
    ("ipip", 4),
    ("tcp", TCP),
    ("udp", UDP),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmpv6", ICMPV6),
    ("ospf", 89),
    ("pim", 103),
    ("vrrp", 112),
    ("sctp", 132),
];

/// Names of ICMP types, and of codes that are known by themselves.
const ICMP_NAMES: [(&str, u8, Option<u8>); 16] = [
    ("echo-reply", 0, None),
    ("destination-unreachable", 3, None),
    ("network-unreachable", 3, Some(0)),
    ("host-unreachable", 3, Some(1)),
    ("port-unreachable", 3, Some(3)),
    ("fragmentation-needed", 3, Some(4)),
    ("redirect", 5, None),
    ("echo", 8, None),
    ("echo-request", 8, None),
    ("router-advertisement", 9, None),
    ("router-solicitation", 10, None),
    ("time-exceeded", 11, None),
    ("ttl-exceeded", 11, Some(0)),
    ("parameter-problem", 12, None),
    ("timestamp-request", 13, None),
    ("timestamp-reply", 14, None),
];

/// Names of `ICMPv6` types, and of codes that are known by themselves.
const ICMPV6_NAMES: [(&str, u8, Option<u8>); 17] = [
    ("destination-unreachable", 1, None),
    ("port-unreachable", 1, Some(4)),
    ("packet-too-big", 2, None),
    ("time-exceeded", 3, None),
    ("hop-limit-exceeded", 3, Some(0)),
    ("parameter-problem", 4, None),
    ("echo", 128, None),
    ("echo-request", 128, None),
    ("echo-reply", 129, None),
    ("listener-query", 130, None),
    ("listener-report", 131, None),
    ("router-solicitation", 133, None),
    ("router-advertisement", 134, None),
    ("neighbour-solicitation", 135, None),
    ("neighbour-advertisement", 136, None),
    ("redirect", 137, None),
    ("listener-report-v2", 143, None),
];

/// Whether a word is a service by itself, so that no declared service can have it as a name.
pub(super) fn is_reserved(word: &str) -> bool {
    word == "any" || word == "proto" || protocol_named(word).is_some()
}

/// Whether a text is written as a service, and not as the name of one.
pub(super) fn is_expression(text: &str) -> bool {
    text.contains('/') || is_reserved(text)
}

/// A service that is written out.
pub(super) fn expression(text: &str) -> Result<ServiceMatch, Complaint> {
    if text == "any" {
        return Ok(ServiceMatch::Any);
    }
    let (word, rest) = match text.split_once('/') {
        Some((word, rest)) => (word, Some(rest)),
        None => (text, None),
    };
    match (word, rest) {
        ("proto", Some(number)) => Ok(ServiceMatch::Protocol(octet(number, text)?)),
        ("icmp", Some(rest)) => icmp(ICMP, &ICMP_NAMES, rest, text),
        ("icmpv6", Some(rest)) => icmp(ICMPV6, &ICMPV6_NAMES, rest, text),
        ("tcp", Some(rest)) => ports(TCP, rest, text),
        ("udp", Some(rest)) => ports(UDP, rest, text),
        (word, rest) => match (protocol_named(word), rest) {
            (Some(protocol), None) => Ok(ServiceMatch::Protocol(protocol)),
            (Some(_), Some(_)) => Err(Complaint::new(
                format!("ports of {} cannot be matched", quote(word)),
                format!("write `{word}` alone"),
            )),
            (None, _) => Err(unknown(word, text)),
        },
    }
}

fn unknown(word: &str, text: &str) -> Complaint {
    let message = format!("{} is not a service", quote(text));
    let words = PROTOCOLS.iter().map(|&(name, _)| name);
    let help = match nearest(word, words.chain(["proto", "any"])) {
        Some(near) => format!("did you mean `{}`?", text.replacen(word, near, 1)),
        None => "write a protocol and a port, such as tcp/443, udp/5000-5010, icmp/echo, proto/47, \
                 or `any`"
            .to_owned(),
    };
    Complaint::new(message, help)
}

fn protocol_named(word: &str) -> Option<u8> {
    let found = PROTOCOLS.iter().find(|(name, _)| *name == word);
    found.map(|&(_, number)| number)
}

/// How a packet's service is written: `tcp/443`, `icmp/8/0`, `gre`.
pub(super) fn written(protocol: u8, port: u16) -> String {
    let named = PROTOCOLS.iter().find(|(_, number)| *number == protocol);
    match (protocol, named) {
        (TCP | UDP, Some((name, _))) => format!("{name}/{port}"),
        (ICMP | ICMPV6, Some((name, _))) => format!("{name}/{}/{}", port >> 8, port & 0xff),
        (_, Some((name, _))) => (*name).to_owned(),
        (_, None) => format!("proto/{protocol}"),
    }
}

/// A number of digits only: Rust's own parser takes a sign too.
fn number<T: std::str::FromStr>(digits: &str) -> Option<T> {
    let plain = digits.bytes().all(|c| c.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

fn octet(digits: &str, text: &str) -> Result<u8, Complaint> {
    number(digits).ok_or_else(|| {
        let message = format!("{} is not a number in {}", quote(digits), quote(text));
        Complaint::new(message, "write a number from 0 to 255")
    })
}

fn ports(protocol: u8, rest: &str, text: &str) -> Result<ServiceMatch, Complaint> {
    let port = |digits: &str| {
        number::<u16>(digits).ok_or_else(|| {
            let message = format!("{} is not a port in {}", quote(digits), quote(text));
            let help = "write a number from 0 to 65535, or a range such as 5000-5010";
            Complaint::new(message, help)
        })
    };
    let (first, last) = match rest.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(rest)?, port(rest)?),
    };
    if first > last {
        let message = format!("the range in {} runs backwards", quote(text));
        let help = format!("write `{last}-{first}`");
        return Err(Complaint::new(message, help));
    }
    Ok(ServiceMatch::Ports { protocol, first, last })
}

/// `TYPE`, `TYPE/CODE`, by number or by name.
fn icmp(
    protocol: u8,
    names: &[(&'static str, u8, Option<u8>)],
    rest: &str,
    text: &str,
) -> Result<ServiceMatch, Complaint> {
    let (word, code) = match rest.split_once('/') {
        Some((word, code)) => (word, Some(octet(code, text)?)),
        None => (rest, None),
    };
    let (kind, own_code) = match names.iter().find(|(name, ..)| *name == word) {
        Some(&(_, kind, code)) => (kind, code),
        None if word.bytes().all(|c| c.is_ascii_digit()) => (octet(word, text)?, None),
        None => return Err(unknown_type(names, word, text)),
    };
    if own_code.is_some() && code.is_some() {
        let message = format!("{} names a code already", quote(word));
        return Err(Complaint::new(message, format!("leave out what follows `{word}`")));
    }
    let base = u16::from(kind) << 8;
    let (first, last) = match code.or(own_code) {
        Some(code) => (base | u16::from(code), base | u16::from(code)),
        None => (base, base | 0xff),
    };
    Ok(ServiceMatch::Ports { protocol, first, last })
}

fn unknown_type(names: &[(&'static str, u8, Option<u8>)], word: &str, text: &str) -> Complaint {
    let message = format!("{} is not a message type in {}", quote(word), quote(text));
    let near = nearest(word, names.iter().map(|&(name, ..)| name));
    let help = near.map_or_else(
        || {
            let names: Vec<_> = names.iter().map(|&(name, ..)| name).collect();
            format!("write a number, number/code, or one of {}", names.join(", "))
        },
        |near| format!("did you mean `{near}`?"),
    );
    Complaint::new(message, help)
}
