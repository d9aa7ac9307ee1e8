//! What happens in the demo, as data.

use std::io;
use std::net::TcpStream;

use enforcer_common::verdict::DropReason;

use crate::clinical::{dicom, hl7, simple};

use super::frames;
use super::step::Action::{Flood, Frames, Ping, Resolve, Scan, Tcp, TrunkFrames, Waveforms};
use super::step::{Action, Chapter, Expect, Step};

/// The whole demo.
pub fn chapters() -> Vec<Chapter> {
    vec![
        Chapter {
            title: "Care goes on",
            steps: clinical(),
        },
        Chapter {
            title: "Monitor mode: noted, not stopped",
            steps: monitored(),
        },
        Chapter {
            title: "Guests and intruders",
            steps: intruders(),
        },
        Chapter {
            title: "Forged and broken frames",
            steps: forged(),
        },
        Chapter {
            title: "A device that fails under load",
            steps: loaded(),
        },
    ]
}

fn clinical() -> Vec<Step> {
    let pass = |rule| Expect::Pass { rule };
    vec![
        step(
            "status report to its server",
            "pump-icu-01",
            "pump-gateway-01",
            POST,
            pass("pumps-to-gateway"),
        ),
        step(
            "HL7 observation, acknowledged",
            "pump-gateway-01",
            "hl7-engine-01",
            HL7,
            pass("pump-gateway-to-record"),
        ),
        step(
            "DICOM association and C-ECHO",
            "ct-01",
            "pacs-01",
            DICOM,
            pass("imaging-to-archive"),
        ),
        step(
            "200 waveform datagrams, none missing",
            "monitor-icu-01",
            "central-station-01",
            Waveforms { count: 200 },
            pass("monitors-to-central"),
        ),
        step(
            "looks up a name",
            "pump-icu-01",
            "dns-01",
            Resolve,
            pass("name-resolution"),
        ),
        step("pings its gateway", "pump-icu-01", "", Ping, pass("ping-gateway")),
        step(
            "network team pings a pump",
            "jump-01",
            "pump-icu-01",
            Ping,
            pass("ping-clinical"),
        ),
        step(
            "HL7 result, acknowledged",
            "analyser-01",
            "lis-01",
            HL7,
            pass("analysers-to-laboratory"),
        ),
        step(
            "guest browses the internet",
            "guest",
            "internet",
            POST,
            pass("guests-to-internet"),
        ),
    ]
}

fn monitored() -> Vec<Step> {
    let talk = Tcp { port: 8080, talk: post };
    let expect = Expect::WouldDrop {
        reason: DropReason::DefaultDeny,
        rule: Some("default-deny"),
    };
    vec![step(
        "undeclared web page of the laboratory",
        "analyser-01",
        "lis-01",
        talk,
        expect,
    )]
}

fn intruders() -> Vec<Step> {
    let guests = denied("guests-nowhere-inside");
    let to_port = |port| Tcp { port, talk: post };
    vec![
        step(
            "guest opens a pump's web page",
            "guest",
            "pump-icu-01",
            to_port(80),
            guests,
        ),
        step(
            "guest scans a pump, 100 ports",
            "guest",
            "pump-icu-01",
            Scan { ports: 1..=100 },
            guests,
        ),
        step(
            "guest posts as if it were a pump",
            "guest",
            "pump-gateway-01",
            POST,
            guests,
        ),
        step("guest pings a monitor", "guest", "monitor-icu-01", Ping, guests),
        step(
            "internet reaches for a pump",
            "internet",
            "pump-icu-01",
            to_port(3613),
            denied("internet-inwards"),
        ),
        step(
            "infected pump tries a monitor's SSH",
            "pump-icu-01",
            "monitor-icu-01",
            to_port(22),
            by_default(),
        ),
        step(
            "pump sends HL7 past its gateway",
            "pump-icu-01",
            "hl7-engine-01",
            HL7,
            by_default(),
        ),
        step(
            "reply that nobody asked for",
            "pacs-01",
            "monitor-icu-01",
            Frames(frames::stray_reply),
            by_default(),
        ),
    ]
}

fn forged() -> Vec<Step> {
    let refused = |reason| Expect::Drop { reason, rule: None };
    vec![
        step(
            "guest with a pump's address",
            "guest",
            "",
            Frames(frames::spoofed),
            refused(DropReason::SourceNotInVlan),
        ),
        step(
            "stranger with a pump's address",
            "pump-icu-01",
            "",
            Frames(frames::cloned),
            refused(DropReason::SourceMacMismatch),
        ),
        step(
            "double tag to hop into the pumps' VLAN",
            "guest",
            "",
            Frames(frames::hopping),
            refused(DropReason::VlanUndeclared),
        ),
        step(
            "three tags",
            "guest",
            "",
            Frames(frames::stacked),
            refused(DropReason::TooManyTags),
        ),
        step(
            "VLAN that nobody declared",
            "",
            "",
            TrunkFrames(frames::undeclared),
            refused(DropReason::VlanNotAllowed),
        ),
        step(
            "untagged frame on the trunk",
            "",
            "",
            TrunkFrames(frames::untagged),
            refused(DropReason::VlanNotAllowed),
        ),
        step(
            "IPv4 header cut short",
            "guest",
            "",
            Frames(frames::cut),
            refused(DropReason::TruncatedIpv4),
        ),
        step(
            "IPv4 lengths that contradict",
            "guest",
            "",
            Frames(frames::contradictory),
            refused(DropReason::MalformedIpv4),
        ),
        step(
            "fragment whose first one never came",
            "guest",
            "",
            Frames(frames::fragment),
            refused(DropReason::FragmentOrphan),
        ),
        step(
            "guest claims the gateway's address by ARP",
            "guest",
            "",
            Frames(frames::arp_spoof),
            refused(DropReason::ArpSpoof),
        ),
        step(
            "spanning tree from a guest",
            "guest",
            "",
            Frames(frames::spanning_tree),
            refused(DropReason::ControlProtocol),
        ),
    ]
}

/// The shield of `policies/zones.yaml`: 500 a second, and a quarter of a second's worth at once.
fn loaded() -> Vec<Step> {
    let held = Expect::Held {
        rule: "pump-gateway-to-pumps",
        reason: DropReason::TowardLimit,
        rate: 500,
        burst: 125,
    };
    let flood = Flood {
        rate: 10_000,
        frame: frames::library_update,
    };
    vec![
        step(
            "its own server floods a pump",
            "pump-gateway-01",
            "pump-icu-01",
            flood,
            held,
        ),
        step(
            "a second later it reports as before",
            "pump-icu-01",
            "pump-gateway-01",
            POST,
            Expect::Pass {
                rule: "pumps-to-gateway",
            },
        ),
    ]
}

const POST: Action = Tcp { port: 443, talk: post };
const HL7: Action = Tcp {
    port: 2575,
    talk: observe,
};
const DICOM: Action = Tcp {
    port: 11_112,
    talk: verify,
};

fn step(title: &'static str, from: &'static str, to: &'static str, action: Action, expect: Expect) -> Step {
    Step {
        title,
        from,
        to,
        action,
        expect,
    }
}

fn denied(rule: &'static str) -> Expect {
    Expect::Drop {
        reason: DropReason::DeniedByRule,
        rule: Some(rule),
    }
}

fn by_default() -> Expect {
    Expect::Drop {
        reason: DropReason::DefaultDeny,
        rule: Some("default-deny"),
    }
}

fn post(stream: TcpStream) -> io::Result<()> {
    simple::post_status(stream)
}

fn observe(stream: TcpStream) -> io::Result<()> {
    hl7::send_observation(stream, "4711")
}

fn verify(stream: TcpStream) -> io::Result<()> {
    dicom::verify(stream)
}
