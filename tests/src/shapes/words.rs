//! What single words of policy and configuration do: strict TCP, least MSS, concurrent flows, rules in monitor mode or with
//! an end, leased addresses, management access.

use enforcer_common::abi::{Access, BindingKey};
use enforcer_common::verdict::{DropReason, Stage, Verdict};

use super::{Case, Expected, NO_END, allowed, case, default_denied, dropped, in_flow, monitored, passes_at, sequence};
use crate::packet::tcp_flags::{ACK, FIN, RST, SYN};
use crate::packet::{Builder, Frame, packet};

pub(super) fn cases() -> Vec<Case> {
    [
        strict_tcp(),
        small_segments(),
        concurrent(),
        monitored_rules(),
        ends(),
        leases(),
        management(),
    ]
    .concat()
}

fn to_modern(source: &str, destination: &str) -> Builder {
    packet().vlan(205).ip(source, destination)
}

fn from_modern(source: &str, destination: &str) -> Builder {
    packet().vlan(207).ip(source, destination)
}

const fn refused(rule: &'static str, stage: Stage, reason: DropReason) -> Expected {
    Expected {
        rule,
        ..dropped(stage, reason)
    }
}

fn strict_tcp() -> Vec<Case> {
    let segment = |flags| {
        to_modern("10.20.5.50", "10.40.1.20")
            .tcp(1000, 8000, flags)
            .tcp_options(MSS_1460)
            .build()
    };
    let answer = |flags| {
        from_modern("10.40.1.20", "10.20.5.50")
            .tcp(8000, 1000, flags)
            .tcp_options(MSS_1460)
            .build()
    };
    let unknown = refused("to-modern", Stage::Flow, DropReason::NoSession);
    vec![
        sequence(
            "where TCP is strict, a session is not picked up in the middle",
            [
                (segment(ACK), unknown),
                (segment(SYN | ACK), unknown),
                (answer(ACK), default_denied()),
                (segment(FIN | ACK), unknown),
                (segment(RST), allowed("to-modern")),
                (segment(SYN), allowed("to-modern")),
                (answer(SYN | ACK), in_flow("to-modern")),
                (segment(ACK), in_flow("to-modern")),
                (answer(ACK), in_flow("to-modern")),
            ],
        ),
        case(
            "the other end of a pair may be the strict one",
            from_modern("10.40.1.21", "10.20.5.51").tcp(1000, 8006, ACK).build(),
            refused("from-modern", Stage::Flow, DropReason::NoSession),
        ),
    ]
}

/// Kind 2, length 4, 1460 octets.
const MSS_1460: &[u8] = &[2, 4, 0x05, 0xb4];

fn small_segments() -> Vec<Case> {
    let syn = |port, options: &[u8]| {
        to_modern("10.20.5.52", "10.40.1.22")
            .tcp(port, 8000, SYN)
            .tcp_options(options)
            .build()
    };
    let passes = allowed("to-modern");
    let small = refused("to-modern", Stage::Budget, DropReason::SmallMss);
    vec![
        sequence(
            "a SYN must not announce a smaller MSS than the destination allows",
            [
                (syn(1, MSS_1460), passes),
                (syn(2, &[2, 4, 0x02, 0x18]), passes),
                (syn(3, &[2, 4, 0x02, 0x17]), small),
                (syn(4, &[2, 4, 0, 0]), small),
                // Behind a timestamp, padding, and another MSS.
                (syn(5, &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 2, 4, 0, 48]), small),
                (syn(6, &[2, 4, 0x05, 0xb4, 2, 4, 0, 48]), small),
                (syn(7, &[2, 4, 0, 48, 2, 4, 0x05, 0xb4]), small),
                // Without the option it is 536, and what follows the end of the options is none.
                (syn(8, &[]), passes),
                (syn(9, &[0, 2, 4, 0, 48]), passes),
                (syn(10, &[1; 40]), passes),
            ],
        ),
        sequence(
            "options that contradict themselves hide the MSS",
            [
                (syn(11, &[2, 3, 0x05, 1]), small),
                (syn(12, &[8, 0, 0, 0]), small),
                (syn(13, &[8, 1, 0, 0]), small),
                (syn(14, &[1, 1, 1, 8]), small),
                (syn(15, &[1, 1, 2, 4]), small),
            ],
        ),
        sequence(
            "the answer to a SYN announces one too",
            [
                (
                    from_modern("10.40.1.22", "10.20.5.53").tcp(1, 8006, SYN).build(),
                    allowed("from-modern"),
                ),
                (
                    to_modern("10.20.5.53", "10.40.1.22")
                        .tcp(8006, 1, SYN | ACK)
                        .tcp_options(&[2, 4, 0, 48])
                        .build(),
                    refused("from-modern", Stage::Budget, DropReason::SmallMss),
                ),
                (
                    to_modern("10.20.5.53", "10.40.1.22")
                        .tcp(8006, 1, SYN | ACK)
                        .tcp_options(MSS_1460)
                        .build(),
                    in_flow("from-modern"),
                ),
            ],
        ),
        sequence(
            "over IPv6, SYNs without the option stand for 1220",
            [
                (
                    to_modern("fd00:20:5::52", "fd00:40:1::22").tcp(1, 8000, SYN).build(),
                    allowed("to-modern"),
                ),
                (
                    to_modern("fd00:20:5::52", "fd00:40:1::22")
                        .tcp(2, 8000, SYN)
                        .tcp_options(&[2, 4, 2, 0])
                        .build(),
                    small,
                ),
            ],
        ),
    ]
}

fn concurrent() -> Vec<Case> {
    let segment = |port, flags| {
        to_modern("10.20.5.54", "10.40.1.23")
            .tcp(port, 8001, flags)
            .tcp_options(MSS_1460)
            .build()
    };
    let answer = |port, flags| from_modern("10.40.1.23", "10.20.5.54").tcp(8001, port, flags).build();
    let (opens, goes_on) = (allowed("two-at-a-time"), in_flow("two-at-a-time"));
    let full = refused("two-at-a-time", Stage::Budget, DropReason::RuleLimit);
    vec![sequence(
        "a third session waits until one of two has closed",
        [
            (segment(1, SYN), opens),
            (answer(1, SYN | ACK), goes_on),
            (segment(1, ACK), goes_on),
            (segment(2, SYN), opens),
            (segment(3, SYN), full),
            (segment(1, ACK), goes_on),
            (segment(1, FIN | ACK), goes_on),
            (segment(3, SYN), opens),
            (segment(4, SYN), full),
        ],
    )]
}

fn monitored_rules() -> Vec<Case> {
    let frame = |source: &str, service| to_modern(source, "10.40.1.24").udp(1, service).build();
    let answer = from_modern("10.40.1.24", "10.20.5.55").udp(8002, 1).build();
    let denied = Expected {
        rule: "watched-deny",
        ..dropped(Stage::Policy, DropReason::DeniedByRule)
    };
    vec![
        sequence(
            "what a rule in monitor mode denies passes, and so do the answers",
            [
                (frame("10.20.5.55", 8002), monitored(denied)),
                (
                    answer,
                    Expected {
                        stage: Stage::Flow,
                        ..monitored(denied)
                    },
                ),
            ],
        ),
        sequence(
            "so does what exceeds its limit",
            [
                (frame("10.20.5.56", 8003), allowed("watched-limit")),
                (
                    frame("10.20.5.56", 8003),
                    Expected {
                        verdict: Verdict::WouldDrop,
                        ..refused("watched-limit", Stage::Budget, DropReason::RuleLimit)
                    },
                ),
            ],
        ),
    ]
}

fn ends() -> Vec<Case> {
    let frame = |destination, service| to_modern("10.20.5.57", destination).udp(1, service).build();
    vec![
        case(
            "a rule until its end",
            frame("10.40.1.25", 8005),
            allowed("until-next-century"),
        ),
        case(
            "a rule after its end: the next one decides",
            frame("10.40.1.26", 8007),
            allowed("behind-the-ended"),
        ),
        case("or none", frame("10.40.1.26", 8008), default_denied()),
    ]
}

/// Addresses that devices have got: the key, the place of the device among those with DHCP, the end of the lease.
pub fn bindings() -> Vec<(BindingKey, u32, u64)> {
    let lease = |last, end| {
        let key = BindingKey {
            address: [0, 0, 0, u32::from_be_bytes([10, 40, 1, last])],
            realm: 0,
            family: 4,
            reserved: 0,
        };
        (key, 0, end)
    };
    vec![lease(77, NO_END), lease(78, 1)]
}

const LEASED_MAC: [u8; 6] = [0x00, 0x1e, 0x3d, 0x00, 0x02, 0x01];

fn leases() -> Vec<Case> {
    let toward = |destination| to_modern("10.20.5.58", destination).udp(1, 8004).build();
    let from = |source, mac| from_modern(source, "10.20.5.58").from_mac(mac).udp(1, 8009).build();
    let arp = |address, mac| {
        packet()
            .vlan(207)
            .from_mac(mac)
            .arp(2, (mac, address), (OTHER_MAC, "10.40.1.1"))
            .build()
    };
    vec![
        sequence(
            "a leased address is the device's, while the lease runs",
            [
                (toward("10.40.1.77"), allowed("to-leased")),
                (toward("10.40.1.78"), default_denied()),
                (toward("10.40.1.79"), default_denied()),
            ],
        ),
        sequence(
            "nobody else may use it",
            [
                (from("10.40.1.77", LEASED_MAC), allowed("from-leased")),
                (
                    from("10.40.1.77", OTHER_MAC),
                    dropped(Stage::Source, DropReason::SourceMacMismatch),
                ),
                (arp("10.40.1.77", LEASED_MAC), passes_at(Stage::Link)),
                (arp("10.40.1.77", OTHER_MAC), dropped(Stage::Link, DropReason::ArpSpoof)),
                (arp("10.40.1.78", OTHER_MAC), passes_at(Stage::Link)),
            ],
        ),
    ]
}

const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 7, 7];

/// Management access of the cases: SSH and ICMP from 10.66.9.0/24 on the guests' VLAN, and from 192.0.2.0/24 and `fd00:99::/64` on one
/// that no zone declares.
pub fn accesses() -> Vec<Access> {
    let ssh = |family, outer_vlan, prefix, mask, gateway| Access {
        prefix,
        mask,
        gateway,
        outer_vlan,
        first_port: 22,
        last_port: 22,
        protocol: 6,
        family,
        ..Access::default()
    };
    let four = |a, b, c, d| [0, 0, 0, u32::from_be_bytes([a, b, c, d])];
    let net = [0, 0, 0, 0xffff_ff00];
    let site = [0xfd00_0099, 0, 0, 0];
    vec![
        ssh(4, 666, four(10, 66, 9, 0), net, four(10, 66, 0, 1)),
        Access {
            first_port: 0,
            last_port: u16::MAX,
            protocol: 1,
            ..ssh(4, 666, four(10, 66, 9, 0), net, four(10, 66, 0, 1))
        },
        ssh(4, 999, four(192, 0, 2, 0), net, four(192, 0, 2, 1)),
        ssh(6, 999, site, [u32::MAX, u32::MAX, 0, 0], [0xfd00_0099, 0, 0, 1]),
    ]
}

fn management() -> Vec<Case> {
    let ssh = |vlan, source: &str, gateway: &str, port| -> Frame {
        packet().vlan(vlan).ip(source, gateway).tcp(1, port, SYN).build()
    };
    let passes = passes_at(Stage::Failsafe);
    let undeclared = dropped(Stage::Link, DropReason::VlanUndeclared);
    vec![
        sequence(
            "management access passes where the policy would refuse it",
            [
                (ssh(666, "10.66.9.5", "10.66.0.1", 22), passes),
                (ssh(666, "10.66.9.5", "10.66.0.1", 23), default_denied()),
                (ssh(666, "10.66.8.5", "10.66.0.1", 22), default_denied()),
                (ssh(666, "10.66.9.5", "10.66.0.2", 22), default_denied()),
            ],
        ),
        sequence(
            "also by a VLAN that no zone declares, with what it takes to find the gateway",
            [
                (ssh(999, "192.0.2.9", "192.0.2.1", 22), passes),
                (ssh(999, "192.0.2.9", "192.0.2.1", 443), undeclared),
                (ssh(998, "192.0.2.9", "192.0.2.1", 22), undeclared),
                (packet().vlan(999).arp_request("192.0.2.9", "192.0.2.1").build(), passes),
                (
                    packet().vlan(999).arp_request("192.0.2.9", "192.0.2.2").build(),
                    undeclared,
                ),
                (
                    packet().vlan(999).arp_request("198.51.100.9", "192.0.2.1").build(),
                    undeclared,
                ),
                (ssh(999, "fd00:99::9", "fd00:99::1", 22), passes),
                (
                    packet()
                        .vlan(999)
                        .ip("fd00:99::9", "ff02::1:ff00:1")
                        .ttl(255)
                        .icmp(135, 0)
                        .payload([0; 20])
                        .build(),
                    passes,
                ),
                (
                    packet()
                        .vlan(999)
                        .ip("fd00:99::9", "ff02::1:ff00:2")
                        .ttl(255)
                        .icmp(135, 0)
                        .payload([0; 20])
                        .build(),
                    undeclared,
                ),
            ],
        ),
        case(
            "not by a VLAN that the port does not allow",
            ssh(666, "10.66.9.5", "10.66.0.1", 22),
            dropped(Stage::Link, DropReason::VlanNotAllowed),
        )
        .on(super::ACCESS),
        case(
            "from a pair of ports to the gateway's own stack",
            ssh(999, "192.0.2.9", "192.0.2.1", 22),
            passes,
        )
        .on(super::EAST),
    ]
}
