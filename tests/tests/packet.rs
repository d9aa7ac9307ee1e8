//! The packet builder, read back by an independent parser.

use enforcer_tests::packet::{Frame, arp, packet, protocol, tcp_flags};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};

fn parsed(frame: &Frame) -> SlicedPacket<'_> {
    SlicedPacket::from_ethernet(frame).expect("the parser takes the frame")
}

#[test]
fn tcp_in_two_tags_has_right_checksums() {
    let frame = packet()
        .service_vlan(300)
        .vlan(110)
        .ip("10.10.110.21", "10.20.5.10")
        .options(&[7, 3, 4])
        .tcp(40_000, 443, tcp_flags::SYN)
        .tcp_options(&[2, 4, 5, 180])
        .payload(b"odd")
        .build();
    let packet = parsed(&frame);
    let tags: Vec<u16> = packet.vlan_ids().iter().map(|id| id.value()).collect();
    assert_eq!(tags, [300, 110]);
    let Some(NetSlice::Ipv4(ip)) = &packet.net else {
        panic!("IPv4 expected")
    };
    assert_eq!(
        ip.header().to_header().calc_header_checksum(),
        ip.header().header_checksum()
    );
    let Some(TransportSlice::Tcp(tcp)) = &packet.transport else {
        panic!("TCP expected")
    };
    assert_eq!(
        (tcp.source_port(), tcp.destination_port(), tcp.syn(), tcp.ack()),
        (40_000, 443, true, false)
    );
    assert_eq!(
        tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination()),
        Ok(tcp.checksum())
    );
    assert_eq!(tcp.payload(), b"odd");
    assert_eq!(&frame[frame.payload..], b"odd");
}

#[test]
fn udp_behind_extension_headers_has_a_right_checksum() {
    let frame = packet()
        .vlan(120)
        .ip("fd00:10:120::5", "fd00:20:5::10")
        .extension(protocol::HOP_BY_HOP, &[1, 4, 0, 0, 0, 0])
        .extension(
            protocol::DESTINATION_OPTIONS,
            &[1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        )
        .udp(24_105, 24_105)
        .payload([7; 33])
        .build();
    let packet = parsed(&frame);
    let Some(NetSlice::Ipv6(ip)) = &packet.net else {
        panic!("IPv6 expected")
    };
    assert_eq!(ip.extensions().clone().into_iter().count(), 2);
    let Some(TransportSlice::Udp(udp)) = &packet.transport else {
        panic!("UDP expected")
    };
    let header = udp.to_header();
    let sum = header.calc_checksum_ipv6(&ip.header().to_header(), udp.payload());
    assert_eq!(sum, Ok(udp.checksum()));
    assert_eq!(udp.payload(), [7; 33]);
    assert_eq!(frame.payload - frame.transport, 8);
}

#[test]
fn echo_requests_of_both_families_have_right_checksums() {
    let four = packet().ip("10.0.0.1", "10.0.0.2").echo(7, 1).payload(b"hello").build();
    let Some(TransportSlice::Icmpv4(message)) = parsed(&four).transport else {
        panic!("ICMP expected")
    };
    assert!(message.header().icmp_type.calc_checksum(message.payload()) == message.checksum());
    let six = packet().ip("fd00::1", "fd00::2").echo(7, 1).payload(b"hello").build();
    let packet = parsed(&six);
    let Some(NetSlice::Ipv6(ip)) = &packet.net else {
        panic!("IPv6 expected")
    };
    let Some(TransportSlice::Icmpv6(message)) = &packet.transport else {
        panic!("ICMPv6 expected")
    };
    assert!(message.is_checksum_valid(ip.header().source(), ip.header().destination()));
    assert_eq!((message.type_u8(), message.code_u8()), (128, 0));
}

#[test]
fn fragments_of_both_families_say_so() {
    let four = packet()
        .ip("10.0.0.1", "10.0.0.2")
        .fragment(77, 1480, true)
        .protocol(17)
        .payload([1; 16])
        .build();
    let four = parsed(&four);
    let Some(NetSlice::Ipv4(ip)) = &four.net else {
        panic!("IPv4 expected")
    };
    assert!(ip.header().more_fragments());
    assert_eq!(ip.header().fragments_offset().byte_offset(), 1480);
    assert_eq!(ip.header().identification(), 77);
    let six = packet()
        .ip("fd00::1", "fd00::2")
        .fragment(77, 8, false)
        .protocol(17)
        .payload([1; 16])
        .build();
    let six = parsed(&six);
    let Some(NetSlice::Ipv6(ip)) = &six.net else {
        panic!("IPv6 expected")
    };
    assert!(ip.is_payload_fragmented());
}

#[test]
fn arp_and_raw_frames_are_laid_out_as_written() {
    let mac = [2, 0, 0, 0, 0, 9];
    let request = packet()
        .from_mac(mac)
        .vlan(110)
        .arp_request("10.10.110.21", "10.10.110.1")
        .build();
    let Some(NetSlice::Arp(message)) = parsed(&request).net else {
        panic!("ARP expected")
    };
    assert_eq!(message.operation().0, arp::REQUEST);
    assert_eq!(message.sender_hw_addr(), mac);
    assert_eq!(message.target_protocol_addr(), [10, 10, 110, 1]);
    let spanning_tree = packet().llc().payload([0x42, 0x42, 3]).build();
    assert_eq!(spanning_tree[12..], [0, 3, 0x42, 0x42, 3]);
    let three_tags = packet().vlan(1).vlan(2).vlan(3).ethertype(0x88cc).build().padded(60);
    assert_eq!(three_tags.network, 26);
    assert_eq!(three_tags.len(), 60);
}
