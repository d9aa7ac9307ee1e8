//! Which program runs on which frame, and what it has to answer.

use anyhow::Result;
use aya::programs::Xdp;
use enforcer_tests::kernel::action::{DROP, PASS};
use enforcer_tests::packet::tcp_flags::{ACK, PSH, SYN};
use enforcer_tests::packet::{Builder, Frame, packet};

use super::programs::Programs;
use crate::policy::Device;
use crate::reference::{Frames, Reference};

/// Ports of the frame that the references look up.
pub(super) const PORTS: [u16; 2] = [40_000, 9];

/// The case without any work, and that of frames that differ.
pub(super) const EMPTY: &str = "empty program";
pub(super) const VARY: &str = "frames that differ, empty program";

/// A program, a frame, and the answer that it has to give.
pub(super) struct Case<'a> {
    pub(super) group: &'static str,
    pub(super) name: String,
    pub(super) program: &'a Xdp,
    pub(super) frame: Frame,
    /// What comes before, once each round, and the program for it if it is another.
    pub(super) before: Vec<Frame>,
    pub(super) before_program: Option<&'a Xdp>,
    /// Frames that differ: made by `vary`, which `program` then is, for another program.
    pub(super) stream: Option<(&'a Reference, Frames, &'a Xdp)>,
    pub(super) answer: Option<u32>,
}

impl<'a> Case<'a> {
    pub(super) fn floor(&self) -> &'static str {
        if self.stream.is_some() { VARY } else { EMPTY }
    }

    pub(super) fn is_reference(&self) -> bool {
        self.group == REFERENCES
    }

    fn after(mut self, before: &[&Frame]) -> Self {
        self.before = before.iter().map(|&frame| frame.clone()).collect();
        self
    }

    fn answered(mut self, answer: Option<u32>) -> Self {
        self.answer = answer;
        self
    }

    fn varied(mut self, reference: &'a Reference, frames: Frames) -> Result<Self> {
        self.stream = Some((reference, frames, self.program));
        self.program = reference.program("vary")?;
        Ok(self)
    }
}

/// The cases of one program.
struct Of<'a>(&'static str, &'a Xdp);

impl<'a> Of<'a> {
    fn case(&self, name: impl Into<String>, frame: &Frame, answer: u32) -> Case<'a> {
        Case {
            group: self.0,
            name: name.into(),
            program: self.1,
            frame: frame.clone(),
            before: Vec::new(),
            before_program: None,
            stream: None,
            answer: Some(answer),
        }
    }
}

const REFERENCES: &str = "references";
const REFUSED: &str = "refused";
const PERMITTED: &str = "permitted, IPv4";
const VERSION_6: &str = "permitted, IPv6";
const LIMITED: &str = "limits and budgets";
const OTHER_FRAMES: &str = "other frames";

impl Programs {
    pub(super) fn cases(&self) -> Result<Vec<Case<'_>>> {
        let mut cases = self.references()?;
        cases.extend(self.refused()?);
        cases.extend(self.permitted()?);
        cases.extend(self.version_6()?);
        cases.extend(self.limited()?);
        cases.extend(self.other_frames()?);
        Ok(cases)
    }

    fn references(&self) -> Result<Vec<Case<'_>>> {
        let frame = denied(&self.size.device(0), &self.size.device(1)).build();
        let of = |name| Ok::<_, anyhow::Error>(Of(REFERENCES, self.reference(name)?));
        let varied = of("done")?.case(VARY, &frame, DROP);
        let mut cases = vec![
            of("empty")?.case(EMPTY, &frame, DROP),
            of("parse")?.case("the enforcer's parser alone", &frame, DROP),
            of("hash")?.case("one hash look-up", &frame, DROP),
            of("lru")?.case("one LRU-hash look-up", &frame, DROP),
            of("lpm")?.case("one LPM-trie look-up", &frame, DROP),
            of("lpm_twice")?.case("two LPM-trie look-ups", &frame, DROP),
            varied.varied(&self.reference, many_flows(&frame))?,
        ];
        if let Some(filter) = &self.filter {
            let established = near_to_far().tcp(40_000, 443, ACK | PSH).payload([0; 16]).build();
            let of = Of(REFERENCES, filter.deny_list()?);
            cases.push(
                of.case("xdp-filter, all passes but what is listed", &established, PASS)
                    .answered(None),
            );
            let of = Of(REFERENCES, filter.allow_list()?);
            cases.push(
                of.case("xdp-filter, only what is listed passes", &established, PASS)
                    .answered(None),
            );
        }
        if let Some(bpfilter) = &self.bpfilter {
            // It knows no tags.
            let of = Of(REFERENCES, bpfilter.program());
            let listed = packet().ip("172.16.0.21", "172.17.0.10").tcp(40_000, 443, ACK | PSH);
            let other = packet().ip("172.16.0.21", "172.17.0.10").tcp(40_000, 9, SYN);
            let name = |what| format!("bpfilter, a set of 1,000 addresses and ports, no tags: {what}");
            cases.push(of.case(name("listed"), &listed.payload([0; 16]).build(), PASS));
            cases.push(of.case(name("not listed"), &other.payload([0; 16]).build(), DROP));
        }
        Ok(cases)
    }

    fn refused(&self) -> Result<Vec<Case<'_>>> {
        let of = Of(REFUSED, self.large.stateful.program()?);
        let (from, to) = (self.size.device(0), self.size.device(1));
        let udp = denied(&from, &to);
        let over_6 = udp.clone().ip(&from.address6, &to.address6);
        let malformed = udp.build();
        // A header of 16 octets: shorter than there is any.
        let malformed = malformed.patched(malformed.network, &[0x44]);
        let mut cases = vec![
            of.case("denied new flow, UDP", &udp.build(), DROP),
            of.case(
                "denied new flow, TCP SYN",
                &udp.clone().tcp(40_000, 9, SYN).build(),
                DROP,
            ),
            of.case("denied new flow, IPv6 UDP", &over_6.build(), DROP),
            of.case(
                "denied new flow, IPv6 TCP SYN",
                &over_6.clone().tcp(40_000, 9, SYN).build(),
                DROP,
            ),
            of.case(
                "source guard: another device's MAC",
                &udp.clone().from_mac([2, 0, 0, 0, 0, 0x66]).build(),
                DROP,
            ),
            of.case(
                "source guard: another VLAN's address",
                &udp.clone().ip(&to.address, &from.address).build(),
                DROP,
            ),
            of.case(
                "source guard: another VLAN's address, IPv6",
                &over_6.clone().ip(&to.address6, &from.address6).build(),
                DROP,
            ),
            of.case("malformed", &malformed, DROP),
        ];
        cases.push(self.denied_by_any_device(&of)?);
        let small = crate::policy::Size::SMALL;
        let from_small = denied(&small.device(0), &small.device(1)).build();
        let of = Of(REFUSED, self.small.program()?);
        cases.push(of.case("denied new flow, 10 rules and 10 devices", &from_small, DROP));
        let of = Of(REFUSED, self.hospital.program()?);
        cases.push(of.case("denied new flow, reference hospital", &guest(), DROP));
        if let Some(other) = &self.other {
            let of = Of(REFUSED, other.program()?);
            cases.push(of.case("the other build: denied new flow, UDP", &udp.build(), DROP));
        }
        Ok(cases)
    }

    /// Another device each time: caches are of little help.
    fn denied_by_any_device<'a>(&'a self, of: &Of<'a>) -> Result<Case<'a>> {
        // Hosts of zone 0 have the low 16 bits of their addresses in that of their MACs.
        let frame = denied(&self.size.device(0), &self.size.device(1)).build();
        let hosts = self.size.devices / self.size.zones;
        let mask = (1 << hosts.ilog2()) - 1;
        let frames = Frames::one(&frame).patch(10, 10, 0, mask).patch(32, 10, 0, mask);
        let name = format!("denied new flow, {} devices in turn", mask + 1);
        of.case(name, &frame, DROP).varied(&self.reference, frames)
    }

    fn permitted(&self) -> Result<Vec<Case<'_>>> {
        let program = self.large.stateful.program()?;
        let of = Of(PERMITTED, program);
        let stateless = Of(PERMITTED, self.large.stateless.program()?);
        let (out, back) = (near_to_far(), far_to_near());
        let udp = out.clone().udp(24_105, 24_105).payload([0; 32]).build();
        let answer = back.clone().udp(24_105, 24_105).payload([0; 32]).build();
        let mut cases = vec![
            stateless.case("permitted, stateless", &udp, PASS),
            of.case("UDP flow, to the responder", &udp, PASS)
                .after(&[&udp, &answer]),
            of.case("UDP flow, to the initiator", &answer, PASS)
                .after(&[&udp, &answer]),
        ];
        cases.extend(established(&of, "established TCP", &out, &back));
        let (guarded, served) = (
            between("172.19.0.21", "172.20.0.10", 4004),
            between("172.20.0.10", "172.19.0.21", 4005),
        );
        cases.extend(established(&of, "established TCP with two budgets", &guarded, &served));
        let stacked = packet().service_vlan(4003).vlan(7).ip("172.18.0.21", "172.17.0.10");
        cases.extend(established(
            &of,
            "established TCP, QinQ",
            &stacked,
            &between("172.17.0.10", "172.18.0.21", 4002),
        ));
        let syn = out.clone().tcp(1024, 443, SYN).payload([0; 16]).build();
        let insert = of.case("new permitted flow", &syn, PASS);
        cases.push(insert.varied(&self.reference, many_flows(&syn))?);
        let small = Of(PERMITTED, self.small.program()?);
        let [first, _] = established(&small, "established TCP, 10 rules and 10 devices", &out, &back);
        cases.push(first);
        let hospital = Of(PERMITTED, self.hospital.program()?);
        let pump = packet()
            .vlan(110)
            .from_mac([0, 0x1e, 0x3d, 0, 1, 1])
            .ip("10.10.110.21", "10.20.5.10");
        let gateway = packet().vlan(205).ip("10.20.5.10", "10.10.110.21");
        let [_, reply] = established(&hospital, "reference hospital, established TCP", &pump, &gateway);
        cases.push(reply.answered(None));
        let wave = packet()
            .vlan(120)
            .from_mac([0, 9, 0xfb, 0, 2, 1])
            .ip("10.10.120.21", "10.20.12.10");
        let wave = wave.udp(24_105, 24_105).payload([0; 32]).build();
        cases.push(hospital.case("reference hospital, waveform", &wave, PASS));
        if let Some(other) = &self.other {
            let of = Of(PERMITTED, other.program()?);
            cases.extend(established(&of, "the other build: established TCP", &out, &back));
            let name = "the other build: established TCP with two budgets";
            cases.extend(established(&of, name, &guarded, &served));
        }
        Ok(cases)
    }

    fn version_6(&self) -> Result<Vec<Case<'_>>> {
        let of = Of(VERSION_6, self.large.stateful.program()?);
        let stateless = Of(VERSION_6, self.large.stateless.program()?);
        let out = near_to_far().ip("fd01:0:0:1::21", "fd01:0:0:2::10");
        let back = far_to_near().ip("fd01:0:0:2::10", "fd01:0:0:1::21");
        let udp = out.clone().udp(24_105, 24_105).payload([0; 32]).build();
        let answer = back.clone().udp(24_105, 24_105).payload([0; 32]).build();
        let syn = out.clone().tcp(1024, 443, SYN).payload([0; 16]).build();
        let mut cases = vec![
            stateless.case("permitted, stateless, IPv6", &udp, PASS),
            of.case("UDP flow, to the responder, IPv6", &udp, PASS)
                .after(&[&udp, &answer]),
            of.case("UDP flow, to the initiator, IPv6", &answer, PASS)
                .after(&[&udp, &answer]),
        ];
        cases.extend(established(&of, "established TCP, IPv6", &out, &back));
        let frames = Frames::one(&syn).patch(syn.transport, 1024, 0, 0x7fff);
        cases.push(
            of.case("new permitted flow, IPv6", &syn, PASS)
                .varied(&self.reference, frames)?,
        );
        Ok(cases)
    }

    fn limited(&self) -> Result<Vec<Case<'_>>> {
        let of = Of(LIMITED, self.large.stateful.program()?);
        let to = |port| near_to_far().udp(40_000, port).payload([0; 32]).build();
        let shouted = |vlan, source: &str, target: &str| packet().vlan(vlan).arp_request(source, target).build();
        let emptied = |frame: &Frame| vec![frame.clone(); 64];
        let mut over = of.case("rule's limit, over it", &to(7002), DROP);
        over.before = emptied(&over.frame);
        let storm = shouted(4006, "172.21.0.21", "172.21.0.22");
        let mut stormy = of.case("broadcast ARP, over the storm budget", &storm, DROP);
        stormy.before = emptied(&storm);
        Ok(vec![
            of.case("rule's limit, under it", &to(7001), PASS),
            over.answered(None),
            of.case(
                "broadcast ARP, under the storm budget",
                &shouted(4004, "172.19.0.21", "172.19.0.22"),
                PASS,
            ),
            stormy.answered(None),
        ])
    }

    fn other_frames(&self) -> Result<Vec<Case<'_>>> {
        let of = Of(OTHER_FRAMES, self.large.stateful.program()?);
        let part = |offset, more| {
            near_to_far()
                .udp(24_105, 24_105)
                .fragment(7, offset, more)
                .payload([0; 32])
        };
        let first = part(0, true).udp_length(128).build();
        let resolution = packet().vlan(4001).arp_request("172.16.0.21", "172.16.0.22").build();
        let watched = between("172.22.0.21", "172.23.0.10", 4007)
            .udp(40_000, 9)
            .payload([0; 32])
            .build();
        let group = near_to_far()
            .to_mac([1, 0, 0x5e, 1, 1, 1])
            .ip("172.16.0.21", "239.1.1.1");
        let monitored = Of(OTHER_FRAMES, self.monitored.program()?);
        Ok(vec![
            of.case("ARP request", &resolution, PASS),
            of.case("first fragment", &first, PASS),
            of.case("later fragment", &part(40, true).protocol(17).build(), PASS)
                .after(&[&first]),
            of.case(
                "orphaned fragment",
                &part(40, true).protocol(17).fragment(8, 40, true).build(),
                DROP,
            ),
            of.case(
                "multicast by a rule",
                &group.udp(5000, 5000).payload([0; 32]).build(),
                PASS,
            ),
            of.case("echo request", &near_to_far().echo(1, 1).payload([0; 32]).build(), PASS),
            of.case("monitor mode: would be denied", &watched, PASS),
            monitored.case("monitor mode of the port, reference hospital", &guest(), PASS),
        ])
    }
}

/// A frame between devices that no rule permits.
pub(crate) fn denied(from: &Device, to: &Device) -> Builder {
    let mac: Vec<u8> = from
        .mac
        .split(':')
        .filter_map(|octet| u8::from_str_radix(octet, 16).ok())
        .collect();
    let mac = mac.try_into().unwrap_or_default();
    let vlan = packet().vlan(from.zone as u16 + 2).from_mac(mac);
    vlan.ip(&from.address, &to.address)
        .udp(PORTS[0], PORTS[1])
        .payload([0; 32])
}

/// Both directions of a TCP connection, after its handshake.
fn established<'a>(of: &Of<'a>, name: &str, out: &Builder, back: &Builder) -> [Case<'a>; 2] {
    let forth = |flags| out.clone().tcp(40_000, 443, flags).payload([0; 16]).build();
    let answer = |flags| back.clone().tcp(443, 40_000, flags).payload([0; 16]).build();
    let handshake = [forth(SYN), answer(SYN | ACK), forth(ACK), answer(ACK)];
    let before: Vec<_> = handshake.iter().collect();
    let case = |way: &str, frame| of.case(format!("{name}, to the {way}"), &frame, PASS).after(&before);
    [
        case("responder", forth(ACK | PSH)),
        case("initiator", answer(ACK | PSH)),
    ]
}

/// Between zones of a made-up policy without limits; the source is a device with a declared MAC.
fn near_to_far() -> Builder {
    between("172.16.0.21", "172.17.0.10", 4001)
}

fn far_to_near() -> Builder {
    between("172.17.0.10", "172.16.0.21", 4002)
}

fn between(from: &str, to: &str, vlan: u16) -> Builder {
    packet().vlan(vlan).ip(from, to)
}

/// A guest of the reference hospital who tries a pump.
fn guest() -> Frame {
    let guest = packet().vlan(666).ip("10.66.0.21", "10.10.110.21");
    guest.udp(40_000, 3613).payload([0; 32]).build()
}

/// A million flows of this frame: 16 bits of its source port, 4 of its source address.
fn many_flows(frame: &Frame) -> Frames {
    Frames::one(frame)
        .patch(frame.transport, 0, 0, 0xffff)
        .patch(frame.network + 14, 0x0030, 16, 0xf)
}
