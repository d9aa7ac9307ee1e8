//! The words of a frame, and their grammar.

use enforcer_common::packet::{protocol, tcp_flags};

use crate::diagnostics::{Diagnostic, Location, quote};
use crate::policy::{
    fields::{Complaint, Fields, Known, nearest, text},
    services,
    valid::{ServiceMatch, ValidPolicy},
    yaml::Node,
};

const SEND: Known = Known {
    what: "`send`",
    keys: &[
        "vlan", "src", "dst", "service", "sport", "mac", "dst_mac", "flags", "size",
    ],
    later: &[],
};
const REPLY: Known = Known {
    what: "`reply`",
    keys: &["vlan", "mac", "dst_mac", "flags", "size"],
    later: &[],
};

/// Octets behind the transport header at most, so that a frame keeps to 65,535 octets with all headers.
const SIZE: u16 = 65_000;

/// What is wrong, and with which of the words.
pub(in crate::policy) type Wrong = (&'static str, Complaint);

/// Keys and their texts, from a policy or from the command line.
#[derive(Debug, Default)]
pub struct Words(Vec<(&'static str, String, Option<Location>)>);

impl Words {
    /// Words that stand in no file. Keys: `vlan`, `src`, `dst`, `service`, `sport`, `mac`, `dst_mac`, `flags`, `size`.
    pub fn new(words: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self(words.into_iter().map(|(key, text)| (key, text, None)).collect())
    }

    pub(in crate::policy) fn read(node: &Node<'_>, reply: bool, findings: &mut Vec<Diagnostic>) -> Self {
        let known = if reply { &REPLY } else { &SEND };
        let fields = Fields::read(node, node.at, known, findings);
        let word = |&key: &&'static str| {
            let node = fields.get(key)?;
            Some((key, text(node, findings)?.to_owned(), Some(node.at)))
        };
        Self(known.keys.iter().filter_map(word).collect())
    }

    /// Where a word stands.
    pub(in crate::policy) fn place(&self, key: &str) -> Option<Location> {
        self.0.iter().find(|word| word.0 == key)?.2
    }

    pub(super) fn get<T>(
        &self,
        key: &'static str,
        grammar: impl Fn(&str) -> Result<T, Complaint>,
    ) -> Result<Option<T>, Wrong> {
        let word = self.0.iter().find(|word| word.0 == key);
        word.map(|(_, text, _)| grammar(text).map_err(|complaint| (key, complaint)))
            .transpose()
    }

    pub(super) fn require<T>(
        &self,
        key: &'static str,
        example: &str,
        grammar: impl Fn(&str) -> Result<T, Complaint>,
    ) -> Result<T, Wrong> {
        self.get(key, grammar)?.ok_or_else(|| {
            let message = format!("a frame needs {}", quote(key));
            (key, Complaint::new(message, format!("for example {example}")))
        })
    }
}

/// Protocol and port of a service that is one: `tcp/443`, `icmp/echo`, `gre`, or the name of such a service.
pub(super) fn service(text: &str, policy: &ValidPolicy) -> Result<(u8, u16), Complaint> {
    if services::is_expression(text) {
        return expression(text);
    }
    let Some(service) = policy.services.iter().find(|service| service.name == text) else {
        let names = policy.services.iter().map(|service| service.name.as_str());
        let help = match nearest(text, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write such as tcp/443, or the name of a service".to_owned(),
        };
        return Err(Complaint::new(format!("no service is named {}", quote(text)), help));
    };
    if let &[one] = service.matches.as_slice() {
        return single(one, text);
    }
    let message = format!("{} is more than one service, and a frame has one", quote(text));
    Err(Complaint::new(message, "write one of them, such as tcp/443"))
}

/// The same of a service that is written out.
pub(super) fn expression(text: &str) -> Result<(u8, u16), Complaint> {
    single(services::expression(text)?, text)
}

fn single(service: ServiceMatch, text: &str) -> Result<(u8, u16), Complaint> {
    match service {
        // All codes of a message type: a frame has code 0, as those with one code do.
        ServiceMatch::Ports { protocol, first, last }
            if first == last || matches!(protocol, protocol::ICMP | protocol::ICMPV6) && last - first <= 0xff =>
        {
            Ok((protocol, first))
        }
        ServiceMatch::Protocol(protocol)
            if !matches!(
                protocol,
                protocol::TCP | protocol::UDP | protocol::ICMP | protocol::ICMPV6
            ) =>
        {
            Ok((protocol, 0))
        }
        _ => {
            let message = format!("{} is more than one port, and a frame has one", quote(text));
            Err(Complaint::new(message, "write such as tcp/443 or icmp/echo"))
        }
    }
}

pub(super) fn number(text: &str) -> Result<u16, Complaint> {
    let message = || format!("{} is not a port", quote(text));
    text.parse()
        .map_err(|_| Complaint::new(message(), "write a number from 0 to 65535"))
}

pub(super) fn size(text: &str) -> Result<u16, Complaint> {
    let size = text.parse().ok().filter(|size| *size <= SIZE);
    size.ok_or_else(|| {
        let message = format!("{} is not a number of octets", quote(text));
        Complaint::new(message, format!("write a whole number, {SIZE} at most"))
    })
}

/// Any hardware address: frames may be wrong, so that policies can be tested on them.
pub(super) fn hardware(text: &str) -> Result<[u8; 6], Complaint> {
    let octets: Option<Vec<u8>> = text
        .split([':', '-'])
        .map(|octet| u8::from_str_radix(octet, 16).ok().filter(|_| octet.len() == 2))
        .collect();
    octets.and_then(|octets| octets.try_into().ok()).ok_or_else(|| {
        let message = format!("{} is not a hardware address", quote(text));
        Complaint::new(
            message,
            "write six octets in hexadecimal, such as \"00:1e:3d:00:01:01\"",
        )
    })
}

/// `syn`, `syn-ack`, `ack`, `fin-ack`, `rst`, or none at all.
pub(super) fn flags(text: &str) -> Result<u8, Complaint> {
    let flag = |word: &str| match word {
        "none" if text == "none" => Some(0),
        "fin" => Some(tcp_flags::FIN),
        "syn" => Some(tcp_flags::SYN),
        "rst" => Some(tcp_flags::RST),
        "psh" => Some(0x08),
        "ack" => Some(tcp_flags::ACK),
        "urg" => Some(0x20),
        _ => None,
    };
    let all = text.split('-').map(flag).try_fold(0, |all, flag| Some(all | flag?));
    all.ok_or_else(|| {
        let message = format!("{} are not TCP flags", quote(text));
        Complaint::new(
            message,
            "write such as syn, syn-ack, ack, psh-ack, fin-ack, rst or none",
        )
    })
}
