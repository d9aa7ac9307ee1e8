//! The grammar of single words: names, VLANs, addresses, prefixes, hardware addresses.

use std::{net::IpAddr, time::Duration};

use enforcer_common::abi::NAME_MAX;
use ipnetwork::IpNetwork;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    fields::{Complaint, nearest},
    link_scoped,
    valid::{Action, GuardMode, Mode, OnNoPolicy, Scope, VlanId},
};
use crate::diagnostics::quote;

/// Names with a meaning of their own.
const RESERVED: [&str; 3] = ["any", "self", "unknown"];

/// A name that is built as names are: lower-case letters, digits and hyphens, not at the ends.
pub(super) fn name(text: &str) -> Result<String, Complaint> {
    let wrong = |message: String| {
        let help = format!("a name has lower-case letters, digits and hyphens (not first or last), {NAME_MAX} at most");
        Err(Complaint::new(message, help))
    };
    let letters = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if text.is_empty() || !text.bytes().all(letters) || text.starts_with('-') || text.ends_with('-') {
        return wrong(format!("{} is not a name", quote(text)));
    }
    if text.len() > NAME_MAX {
        return wrong(format!("a name of {} letters is too long", text.len()));
    }
    Ok(text.to_owned())
}

/// A name that the user may give to something.
pub(super) fn new_name(text: &str) -> Result<String, Complaint> {
    if RESERVED.contains(&text) {
        let message = format!("{} is a word of the language", quote(text));
        return Err(Complaint::new(message, "choose another name"));
    }
    name(text)
}

/// `110` or `2000.110`.
pub(super) fn vlan(text: &str) -> Result<VlanId, Complaint> {
    let tag = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
        let id = text.parse().ok().filter(|_| digits);
        id.filter(|id| (1..=4094).contains(id))
    };
    let (outer, inner) = match text.split_once('.') {
        None => (tag(text), Some(None)),
        Some((outer, inner)) => (tag(outer), tag(inner).map(Some)),
    };
    if let (Some(outer), Some(inner)) = (outer, inner) {
        return Ok(VlanId { outer, inner });
    }
    Err(Complaint::new(
        format!("{} is not a VLAN", quote(text)),
        "a VLAN id is a number from 1 to 4094; `\"2000.110\"` is VLAN 110 inside of VLAN 2000",
    ))
}

/// `10.10.110.21` or `fd00::21`.
pub(super) fn address(text: &str) -> Result<IpAddr, Complaint> {
    text.parse().map_err(|_| {
        Complaint::new(
            format!("{} is not an address", quote(text)),
            "write an IPv4 or IPv6 address without a prefix length, such as 10.10.110.21",
        )
    })
}

/// An address that can be a device's or the gateway's own.
pub(super) fn host_address(text: &str) -> Result<IpAddr, Complaint> {
    let address = address(text)?;
    let one = IpNetwork::from(address);
    let unicast = link_scoped::range_of(one).is_none_or(|range| range.unicast);
    if unicast && !address.is_loopback() {
        return Ok(address);
    }
    let message = format!("{address} cannot be the address of one station");
    Err(Complaint::new(message, "write a unicast address"))
}

/// An address that a device can have for good: link-local ones belong to the zone of the VLAN that a frame is on.
pub(super) fn device_address(text: &str) -> Result<IpAddr, Complaint> {
    let address = host_address(text)?;
    if link_scoped::contains(address) {
        let message = format!("{address} cannot be the address of a device: link-local addresses are no device's own");
        let help = "leave it out: rules reach it by the zone of its VLAN, or by a prefix";
        return Err(Complaint::new(message, help));
    }
    Ok(address)
}

/// `10.10.110.0/24`, without bits behind the prefix.
pub(super) fn prefix(text: &str) -> Result<IpNetwork, Complaint> {
    let long = if text.contains(':') { 128 } else { 32 };
    let parsed = text.contains('/').then(|| text.parse::<IpNetwork>().ok());
    // A mask instead of a length (10.0.0.0/255.0.0.0) is accepted by the parser, but is not of this language.
    let length = text.rsplit('/').next().unwrap_or_default();
    let Some(network) = parsed.flatten().filter(|_| length.bytes().all(|c| c.is_ascii_digit())) else {
        let message = format!("{} is not an address range", quote(text));
        let help = match text.parse::<IpAddr>() {
            Ok(address) => match network_of(address) {
                Some(length) => {
                    format!("write `{text}/{length}` for the range, or `{text}/{long}` for this address alone")
                }
                None => format!("write `{text}/{long}` for this address alone"),
            },
            Err(_) => "write an address, a slash and a length, such as 10.10.110.0/24".to_owned(),
        };
        return Err(Complaint::new(message, help));
    };
    if network.network() == network.ip() {
        return Ok(network);
    }
    Err(Complaint::new(
        format!("{} has bits set behind its prefix", quote(text)),
        format!(
            "write `{}/{}` for the range, or `{}/{long}` for the address alone",
            network.network(),
            network.prefix(),
            network.ip()
        ),
    ))
}

/// The length that an address without one looks as if it had: `10.1.1.0` like a `/24`, `fd00:1::` like a `/64`.
fn network_of(address: IpAddr) -> Option<u8> {
    match address {
        IpAddr::V4(address) => match address.octets() {
            [0, ..] => None,
            [_, 0, 0, 0] => Some(8),
            [_, _, 0, 0] => Some(16),
            [_, _, _, 0] => Some(24),
            _ => None,
        },
        IpAddr::V6(address) => (!address.is_unspecified() && address.to_bits() as u64 == 0).then_some(64),
    }
}

/// An address range that a zone can have.
pub(super) fn subnet(text: &str) -> Result<IpNetwork, Complaint> {
    let network = prefix(text)?;
    match link_scoped::range_of(network) {
        None => Ok(network),
        Some(range) => Err(Complaint::new(
            format!("{network} cannot be a subnet: {} ({})", range.network, range.what),
            "leave it out: link-scoped addresses belong to the zone of the VLAN that a frame is on",
        )),
    }
}

/// `00:1e:3d:00:01:01` or with hyphens.
pub(super) fn mac(text: &str) -> Result<[u8; 6], Complaint> {
    let wrong = || {
        Complaint::new(
            format!("{} is not the hardware address of a station", quote(text)),
            "write six octets in hexadecimal, such as \"00:1e:3d:00:01:01\"; not all zero, not a group address",
        )
    };
    let separator = if text.contains('-') { '-' } else { ':' };
    let mut octets = [0; 6];
    let mut parts = text.split(separator);
    for octet in &mut octets {
        let part = parts.next().ok_or_else(wrong)?;
        let hexadecimal = part.len() == 2 && part.bytes().all(|c| c.is_ascii_hexdigit());
        let value = u8::from_str_radix(part, 16).ok().filter(|_| hexadecimal);
        *octet = value.ok_or_else(wrong)?;
    }
    let group = octets[0] & 1 == 1;
    if parts.next().is_some() || group || octets == [0; 6] {
        return Err(wrong());
    }
    Ok(octets)
}

/// One of a few words.
fn word<T: Copy>(text: &str, words: &[(&'static str, T)]) -> Result<T, Complaint> {
    if let Some(&(_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(value);
    }
    let near = nearest(text, words.iter().map(|&(word, _)| word));
    let help = near.map_or_else(
        || {
            let words: Vec<_> = words.iter().map(|(word, _)| quote(word)).collect();
            format!("write {}", words.join(" or "))
        },
        |near| format!("did you mean `{near}`?"),
    );
    Err(Complaint::new(format!("{} is not possible here", quote(text)), help))
}

/// `monitor` or `enforce`.
pub(super) fn mode(text: &str) -> Result<Mode, Complaint> {
    word(text, &[("monitor", Mode::Monitor), ("enforce", Mode::Enforce)])
}

/// `strict` or `loose`: whether TCP sessions begin with a SYN.
pub(super) fn strict_tcp(text: &str) -> Result<bool, Complaint> {
    word(text, &[("strict", true), ("loose", false)])
}

/// `pass` or `drop`.
pub(super) fn on_no_policy(text: &str) -> Result<OnNoPolicy, Complaint> {
    word(text, &[("pass", OnNoPolicy::Pass), ("drop", OnNoPolicy::Drop)])
}

/// The least that TCP can do with: a segment of 64 octets. The most: a jumbo frame's.
const LEAST_MSS: std::ops::RangeInclusive<u16> = 64..=9000;

/// `536`, or 0 for any.
pub(super) fn least_mss(text: &str) -> Result<u16, Complaint> {
    let digits = text.bytes().all(|c| c.is_ascii_digit());
    let octets = text.parse().ok().filter(|_| digits);
    let octets = octets.filter(|octets| *octets == 0 || LEAST_MSS.contains(octets));
    octets.ok_or_else(|| {
        let message = format!("{} is not a segment size", quote(text));
        let help = format!(
            "write a number of octets from {} to {}, or 0 for any",
            LEAST_MSS.start(),
            LEAST_MSS.end()
        );
        Complaint::new(message, help)
    })
}

/// `off`, `monitor` or `enforce`.
pub(super) fn guard_mode(text: &str) -> Result<GuardMode, Complaint> {
    let modes = [
        ("off", GuardMode::Off),
        ("monitor", GuardMode::Monitor),
        ("enforce", GuardMode::Enforce),
    ];
    word(text, &modes)
}

/// What a device does for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    DhcpServer,
}

/// `dhcp-server`.
pub(super) fn role(text: &str) -> Result<Role, Complaint> {
    word(text, &[("dhcp-server", Role::DhcpServer)])
}

/// `allow` or `deny`.
pub(super) fn action(text: &str) -> Result<Action, Complaint> {
    word(text, &[("allow", Action::Allow), ("deny", Action::Deny)])
}

/// `new`.
pub(super) fn log(text: &str) -> Result<(), Complaint> {
    word(text, &[("new", ())])
}

/// `rule`, `source` or `pair`.
pub(super) fn scope(text: &str) -> Result<Scope, Complaint> {
    let scopes = [("rule", Scope::Rule), ("source", Scope::Source), ("pair", Scope::Pair)];
    word(text, &scopes)
}

/// The class of a rule: `alarm`.
pub(super) fn rule_class(text: &str) -> Result<(), Complaint> {
    word(text, &[("alarm", ())])
}

/// `true` or `false`.
pub(super) fn flag(text: &str) -> Result<bool, Complaint> {
    word(text, &[("true", true), ("false", false)])
}

/// A whole number.
pub(super) fn priority(text: &str) -> Result<i32, Complaint> {
    text.parse().map_err(|_| {
        let message = format!("{} is not a priority", quote(text));
        let help = format!(
            "write a whole number from {} to {}; the default is 0",
            i32::MIN,
            i32::MAX
        );
        Complaint::new(message, help)
    })
}

/// `2027-01-31T00:00:00Z` (RFC 3339), in nanoseconds of Unix time. Never 0.
pub(super) fn time(text: &str) -> Result<u64, Complaint> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok();
    let nanos = time.and_then(|time| u64::try_from(time.unix_timestamp_nanos()).ok());
    nanos.filter(|nanos| *nanos > 0).ok_or_else(|| {
        let message = format!("{} is not a time", quote(text));
        let help = "write date, time and zone, such as 2027-01-31T00:00:00Z or 2027-01-31T00:00:00+01:00";
        Complaint::new(message, help)
    })
}

/// `500ms`, `31s`, `5min`, `2h`.
pub(super) fn duration(text: &str) -> Result<Duration, Complaint> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let millis: Option<u64> = match unit {
        "ms" => Some(1),
        "s" => Some(1000),
        "min" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let total = millis.and_then(|millis| digits.parse::<u64>().ok()?.checked_mul(millis));
    let week = Duration::from_hours(7 * 24);
    let duration = total.map(Duration::from_millis).filter(|duration| *duration <= week);
    duration.ok_or_else(|| {
        let message = format!("{} is not a length of time", quote(text));
        Complaint::new(message, "write such as 500ms, 31s, 5min or 2h; 168h at most")
    })
}

/// For how long something may be silent: not shorter than a controller can tell.
pub(super) fn silence(text: &str) -> Result<Duration, Complaint> {
    let silence = duration(text)?;
    if silence >= Duration::from_secs(1) {
        return Ok(silence);
    }
    let message = format!("a silence of {text} is too short to be noticed");
    Err(Complaint::new(message, "write 1s or more"))
}

/// One entry of a rule's `from` or `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reference {
    Any,
    /// A zone or a device, declared somewhere.
    Name(String),
    Prefix(IpNetwork),
}

/// A name, `any`, a prefix, or an address alone.
pub(super) fn reference(text: &str) -> Result<Reference, Complaint> {
    if text == "any" {
        return Ok(Reference::Any);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Reference::Prefix(address.into()));
    }
    if text.contains(['/', ':', '.']) {
        return prefix(text).map(Reference::Prefix);
    }
    name(text).map(Reference::Name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `10.1.1.0` was taken for a single host: the help named `/32` only.
    #[test]
    fn an_address_that_looks_like_a_range_is_told_its_length() {
        for (text, expected) in [
            ("10.1.1.0", "write `10.1.1.0/24` for the range, or `10.1.1.0/32`"),
            ("10.1.0.0", "write `10.1.0.0/16` for the range"),
            ("10.0.0.0", "write `10.0.0.0/8` for the range"),
            ("fd00:1::", "write `fd00:1::/64` for the range, or `fd00:1::/128`"),
            ("10.1.1.7", "write `10.1.1.7/32` for this address alone"),
            ("0.0.0.0", "write `0.0.0.0/32` for this address alone"),
        ] {
            let complaint = prefix(text).unwrap_err();
            assert!(complaint.help.starts_with(expected), "{text}: {}", complaint.help);
        }
    }
}
