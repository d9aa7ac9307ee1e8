//! Limits, with bursts so small that a few frames reach them and rates so slow that no time of a test refills them.

use enforcer_common::verdict::{DropReason, Stage, Verdict};

use super::{Case, Expected, allowed, in_flow, monitored, passes_at, sequence};
use crate::packet::{BROADCAST, Builder, Frame, packet};

pub(super) fn cases() -> Vec<Case> {
    [rules(), shields(), groups()].concat()
}

fn over(expected: Expected, reason: DropReason) -> Expected {
    Expected {
        verdict: Verdict::Drop,
        reason,
        stage: Stage::Budget,
        ..expected
    }
}

fn to_shielded(source: &str, destination: &str) -> Builder {
    packet().vlan(205).ip(source, destination)
}

fn rules() -> Vec<Case> {
    let frame = |source: &str, destination: &str, port: u16, service: u16| {
        to_shielded(source, destination)
            .udp(port, service)
            .payload([0; 10])
            .build()
    };
    let refused = |rule| over(allowed(rule), DropReason::RuleLimit);
    let on_link = |vlan, group: &str| packet().vlan(vlan).ip("fe80::9", group).udp(1, 7010).build();
    let alarm = |port| frame("10.20.5.31", "10.30.1.21", port, 7100);
    vec![
        sequence(
            "a limit of each source",
            [
                (frame("10.20.5.21", "10.30.1.5", 1, 7000), allowed("limited-by-source")),
                (frame("10.20.5.21", "10.30.1.6", 1, 7000), allowed("limited-by-source")),
                (frame("10.20.5.21", "10.30.1.7", 1, 7000), refused("limited-by-source")),
                (frame("10.20.5.22", "10.30.1.8", 1, 7000), allowed("limited-by-source")),
            ],
        ),
        sequence(
            "a limit of each pair",
            [
                (frame("10.20.5.23", "10.30.1.9", 1, 7001), allowed("limited-by-pair")),
                (frame("10.20.5.23", "10.30.1.9", 2, 7001), allowed("limited-by-pair")),
                (frame("10.20.5.23", "10.30.1.9", 3, 7001), refused("limited-by-pair")),
                (frame("10.20.5.23", "10.30.1.10", 4, 7001), allowed("limited-by-pair")),
            ],
        ),
        sequence(
            "a limit of each source, of an address that two VLANs have",
            [
                (on_link(666, "ff02::9"), allowed("limited-on-links")),
                (on_link(666, "ff02::a"), refused("limited-on-links")),
                (on_link(207, "ff02::9"), allowed("limited-on-links")),
                (on_link(207, "ff02::a"), refused("limited-on-links")),
            ],
        ),
        sequence(
            "a limit of all together; answers are not the initiator's",
            [
                (frame("10.20.5.24", "10.30.1.11", 1, 7002), allowed("limited-in-all")),
                (
                    packet().vlan(206).ip("10.30.1.11", "10.20.5.24").udp(7002, 1).build(),
                    in_flow("limited-in-all"),
                ),
                (frame("10.20.5.25", "10.30.1.12", 1, 7002), allowed("limited-in-all")),
                (frame("10.20.5.26", "10.30.1.13", 1, 7002), refused("limited-in-all")),
            ],
        ),
        sequence(
            "a limit in octets",
            [
                (
                    to_shielded("10.20.5.27", "10.30.1.14")
                        .udp(1, 7003)
                        .payload([0; 900])
                        .build(),
                    allowed("limited-in-octets"),
                ),
                (
                    to_shielded("10.20.5.27", "10.30.1.14")
                        .udp(1, 7003)
                        .payload([0; 900])
                        .build(),
                    in_flow("limited-in-octets"),
                ),
                (
                    to_shielded("10.20.5.27", "10.30.1.14")
                        .udp(1, 7003)
                        .payload([0; 900])
                        .build(),
                    over(in_flow("limited-in-octets"), DropReason::RuleLimit),
                ),
            ],
        ),
        sequence(
            "alarms pass a shield that is used up",
            [
                (alarm(1), allowed("alarms")),
                (alarm(2), allowed("alarms")),
                (alarm(3), allowed("alarms")),
                (alarm(4), allowed("alarms")),
            ],
        ),
        sequence(
            "in monitor mode, what exceeds a limit passes",
            [
                (watched(1), allowed("watched")),
                (watched(2), allowed("watched")),
                (watched(3), monitored(over(allowed("watched"), DropReason::RuleLimit))),
            ],
        ),
    ]
}

fn watched(port: u16) -> Frame {
    packet()
        .vlan(120)
        .ip("10.10.120.90", "10.10.121.90")
        .udp(port, 7200)
        .build()
}

fn shields() -> Vec<Case> {
    let rule = "to-shielded";
    let frame = |port| to_shielded("10.20.5.41", "10.30.1.50").udp(port, 7300).build();
    let opened = |port| {
        packet()
            .vlan(206)
            .ip("10.30.1.60", "10.20.5.42")
            .udp(port, 7301)
            .build()
    };
    let refused = over(allowed(rule), DropReason::TowardLimit);
    vec![
        sequence(
            "the shield of a device holds whoever sends",
            [
                (frame(1), allowed(rule)),
                (frame(2), allowed(rule)),
                (
                    to_shielded("10.20.5.43", "10.30.1.50").udp(1, 7300).build(),
                    allowed(rule),
                ),
                (frame(3), refused),
                // The refused frame opened no flow, so it is a new one again.
                (frame(3), refused),
                (
                    to_shielded("10.20.5.41", "10.30.1.51").udp(1, 7300).build(),
                    allowed(rule),
                ),
            ],
        ),
        sequence(
            "new flows of a device are limited, its frames are not",
            [
                (opened(1), allowed("from-shielded")),
                (opened(2), allowed("from-shielded")),
                (opened(3), over(allowed("from-shielded"), DropReason::FromLimit)),
                (opened(2), in_flow("from-shielded")),
                (opened(1), in_flow("from-shielded")),
            ],
        ),
    ]
}

/// Broadcasts of a VLAN, ARP and IP together.
fn groups() -> Vec<Case> {
    let arp = packet().vlan(206).arp_request("10.30.1.70", "10.30.1.1").build();
    let discovery = packet()
        .vlan(206)
        .to_mac(BROADCAST)
        .ip("10.30.1.71", "255.255.255.255")
        .udp(1, 7302)
        .build();
    let limited = |expected| over(expected, DropReason::GroupLimit);
    vec![sequence(
        "a storm",
        [
            (arp.clone(), passes_at(Stage::Link)),
            (discovery.clone(), allowed("inside-shielded")),
            (discovery, limited(allowed("inside-shielded"))),
            (arp, limited(passes_at(Stage::Link))),
            (
                packet().vlan(206).ip("10.30.1.71", "10.20.5.44").udp(9, 7301).build(),
                allowed("from-shielded"),
            ),
        ],
    )]
}
