//! What holds for every sequence of octets and every packet.

use enforcer_common::abi::{FlowKey, FlowState, Lan, Settings};
use enforcer_common::classify::Service;
use enforcer_common::conntrack::{self, Direction, Opening};
use enforcer_common::frame::Frame;
use enforcer_common::packet::{Fragment, Packet, ethertype, protocol, tcp_flags};
use enforcer_common::verdict::DropReason;
use proptest::prelude::*;

fn parsed(frame: &[u8]) -> (Result<(), DropReason>, Packet) {
    let mut packet = Packet::default();
    let outcome = frame.parse(&mut packet);
    (outcome, packet)
}

/// Frames that get past the first checks more often than random octets do: right types and versions in the right
/// places, everything else random.
fn plausible() -> impl Strategy<Value = Vec<u8>> {
    let tags = prop::collection::vec((prop_oneof![Just(0x8100_u16), Just(0x88a8)], any::<u16>()), 0..4);
    let network = prop_oneof![
        Just(ethertype::IPV4),
        Just(ethertype::IPV6),
        Just(ethertype::ARP),
        any::<u16>()
    ];
    let next = prop_oneof![
        Just(protocol::TCP),
        Just(protocol::UDP),
        Just(protocol::ICMP),
        Just(protocol::ICMPV6),
        prop::sample::select(vec![0_u8, 43, 44, 51, 60]),
        any::<u8>()
    ];
    (
        tags,
        network,
        next,
        prop::collection::vec(any::<u8>(), 0..160),
        any::<bool>(),
    )
        .prop_map(|(tags, network, next, mut body, honest)| {
            let length = body.len() as u16;
            match network {
                ethertype::IPV4 if body.len() >= 20 => {
                    body[0] = 0x45 + (body[0] & 3);
                    body[9] = next;
                    body[6] &= 0x3f;
                    if honest {
                        body[2..4].copy_from_slice(&length.to_be_bytes());
                        body[6..8].fill(0);
                    }
                }
                ethertype::IPV6 if body.len() >= 40 => {
                    body[0] = 0x60;
                    body[6] = next;
                    if honest {
                        body[4..6].copy_from_slice(&(length - 40).to_be_bytes());
                    }
                }
                ethertype::ARP if body.len() >= 8 => body[..8].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]),
                _ => {}
            }
            let mut frame = vec![2; 12];
            for (kind, control) in tags {
                frame.extend(kind.to_be_bytes());
                frame.extend(control.to_be_bytes());
            }
            frame.extend(network.to_be_bytes());
            frame.extend(body);
            frame
        })
}

fn packets() -> impl Strategy<Value = Packet> {
    let protocols = prop::sample::select(vec![protocol::TCP, protocol::UDP, protocol::ICMP, 47]);
    (
        any::<[u32; 4]>(),
        any::<[u32; 4]>(),
        any::<(u16, u16)>(),
        protocols,
        any::<u8>(),
        any::<bool>(),
    )
        .prop_map(|(source, destination, ports, protocol, tcp_flags, v6)| {
            let family = if v6 { 6 } else { 4 };
            // Outside of the multicast ranges of both families.
            let host = |address: [u32; 4]| {
                if v6 {
                    [address[0] & 0x7fff_ffff, address[1], address[2], address[3]]
                } else {
                    [0, 0, 0, address[3] >> 1]
                }
            };
            let (source_port, destination_port) = if protocol == 47 { (0, 0) } else { ports };
            Packet {
                source: host(source),
                destination: host(destination),
                source_port,
                destination_port: if protocol == protocol::ICMP {
                    8 << 8
                } else {
                    destination_port
                },
                family,
                protocol,
                tcp_flags,
                ..Packet::default()
            }
        })
}

/// The frame that answers.
fn answer(packet: &Packet) -> Packet {
    let mut answer = *packet;
    (answer.source, answer.destination) = (packet.destination, packet.source);
    if packet.protocol == protocol::ICMP {
        answer.destination_port = 0;
    } else {
        (answer.source_port, answer.destination_port) = (packet.destination_port, packet.source_port);
    }
    answer
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_parser_takes_every_sequence_of_octets(frame in prop::collection::vec(any::<u8>(), 0..200)) {
        let (outcome, packet) = parsed(&frame);
        prop_assert_eq!(packet.length as usize, if frame.len() < 14 { packet.length as usize } else { frame.len() });
        prop_assert!(outcome != Err(DropReason::None));
    }

    #[test]
    fn padding_behind_the_packet_changes_nothing(frame in plausible(), padding in prop::collection::vec(any::<u8>(), 1..60)) {
        let (outcome, packet) = parsed(&frame);
        if outcome.is_err() {
            return Ok(());
        }
        let (padded_outcome, padded) = parsed(&[frame, padding].concat());
        prop_assert_eq!(padded_outcome, Ok(()));
        prop_assert_eq!(Packet { length: 0, ..padded }, Packet { length: 0, ..packet });
    }

    /// A frame that parses, cut anywhere inside its packet, does not parse to other facts: it is an error, or the
    /// cut octets were not the packet's.
    #[test]
    fn a_cut_frame_is_an_error_or_the_same(frame in plausible(), cut in any::<prop::sample::Index>()) {
        let (outcome, packet) = parsed(&frame);
        if outcome.is_err() {
            return Ok(());
        }
        let (cut_outcome, cut_packet) = parsed(&frame[..cut.index(frame.len())]);
        if cut_outcome.is_ok() {
            prop_assert_eq!(Packet { length: 0, ..cut_packet }, Packet { length: 0, ..packet });
        }
    }

    #[test]
    fn ports_come_only_from_whole_transport_headers(frame in plausible()) {
        let (outcome, packet) = parsed(&frame);
        // What is wrong with a part, or with options, is said when the transport header has been read.
        let behind = [DropReason::SourceRoute, DropReason::MalformedIpv4, DropReason::MalformedIpv6];
        let read = outcome.map_or_else(|reason| behind.contains(&reason), |()| true);
        if !read || matches!(packet.fragment, Fragment::Later) {
            prop_assert_eq!((packet.source_port, packet.destination_port), (0, 0));
        }
    }

    #[test]
    fn reads_stay_inside_of_the_frame(frame in prop::collection::vec(any::<u8>(), 0..40), at in any::<u32>()) {
        prop_assert_eq!(frame.read::<8>(at).is_some(), at as usize + 8 <= frame.len());
    }

    #[test]
    fn both_directions_share_a_key(packet in packets()) {
        let (mut key, mut answered) = (FlowKey::EMPTY, FlowKey::EMPTY);
        let low = conntrack::key(&packet, &Lan::default(), &mut key).expect("forms a flow");
        let answer_low = conntrack::key(&answer(&packet), &Lan::default(), &mut answered).expect("forms a flow");
        prop_assert_eq!(key, answered);
        let both_ends_alike = packet.source == packet.destination && key.low_port == key.high_port;
        prop_assert!(low != answer_low || both_ends_alike);
        prop_assert!((key.low, key.low_port) <= (key.high, key.high_port));
    }

    #[test]
    fn an_answer_names_the_service_that_was_asked_for(packet in packets()) {
        prop_assert_eq!(Service::answered_by(answer(&packet).ports()), Some(Service::of(packet.ports())));
    }

    /// No number of frames from the initiator alone gets a flow into the table of confirmed ones.
    #[test]
    fn an_initiator_alone_confirms_nothing(first in packets(), flags in prop::collection::vec(any::<u8>(), 0..20)) {
        let Opening::Flow(mut state) = conntrack::open(&first) else { return Ok(()) };
        for tcp_flags in flags {
            state = conntrack::next(state, Direction::Initiator, &Packet { tcp_flags, ..first });
            prop_assert!(!conntrack::is_confirmed(state), "{state:?} after flags {tcp_flags:#x}");
        }
    }
}

#[test]
fn every_flow_state_has_a_code_and_a_time() {
    for (code, state) in FlowState::ALL.into_iter().enumerate() {
        assert_eq!(state as usize, code);
        assert_eq!(FlowState::from_code(code as u8), state);
        assert!(state.default_idle_seconds() > 0);
    }
    assert_eq!(FlowState::ALL.len(), Settings::default().idle_seconds.len());
}

#[test]
fn a_handshake_and_its_end() {
    const SYN: u8 = tcp_flags::SYN;
    const ACK: u8 = tcp_flags::ACK;
    const FIN: u8 = tcp_flags::FIN;
    use Direction::{Initiator, Responder};
    use FlowState::{Closing, Established, SynReceived, SynSent};
    let segment = |tcp_flags| Packet {
        protocol: protocol::TCP,
        tcp_flags,
        ..Packet::default()
    };
    assert_eq!(conntrack::open(&segment(SYN)), Opening::Flow(SynSent));
    let steps = [
        (Initiator, SYN, SynSent),
        (Responder, SYN | ACK, SynReceived),
        (Responder, SYN | ACK, SynReceived),
        (Initiator, ACK, Established),
        (Responder, ACK, Established),
        (Responder, FIN | ACK, Closing),
        (Initiator, ACK, Closing),
        (Initiator, FIN | ACK, Closing),
    ];
    let mut state = SynSent;
    for (direction, flags, expected) in steps {
        state = conntrack::next(state, direction, &segment(flags));
        assert_eq!(state, expected, "{direction:?} sent {flags:#x}");
    }
    assert!(conntrack::reopens(state, &segment(SYN)));
    assert!(!conntrack::reopens(state, &segment(SYN | ACK)));
}
