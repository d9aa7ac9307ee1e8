//! From what is meant to the octets that say it.

use crate::oracle::options::octets;
use crate::oracle::{About, Content, Control, Damage, Ip, Neighbour, Part, Quote, Sent, Transport};
use crate::packet::{Builder, Frame, ethertype, packet, protocol};

/// The octets of a frame, its damage included.
pub fn frame(sent: &Sent) -> Frame {
    let mut builder = packet().macs(sent.source_mac, sent.destination_mac);
    for (index, &control) in sent.tags.iter().enumerate() {
        let service = index == 0 && sent.tags.len() > 1;
        let kind = if service {
            ethertype::SERVICE_VLAN
        } else {
            ethertype::VLAN
        };
        builder = builder.tag(kind, control);
    }
    let whole = match &sent.content {
        Content::Control(control) => control_frame(builder, *control),
        Content::Other(kind) => builder.ethertype(*kind).payload([0; 46]).build(),
        Content::Arp(arp) => {
            let (sender, target) = (arp.sender.1.to_string(), arp.target.1.to_string());
            builder
                .arp(arp.operation, (arp.sender.0, &sender), (arp.target.0, &target))
                .build()
        }
        Content::Ip(ip) => ip_packet(builder, ip).build(),
    };
    damaged(sent, whole)
}

fn control_frame(builder: Builder, control: Control) -> Frame {
    let builder = match control {
        Control::Lldp => builder.ethertype(0x88cc),
        Control::Slow => builder.ethertype(0x8809),
        Control::Eapol => builder.ethertype(0x888e),
        Control::SpanningTree => builder.to_mac([0x01, 0x80, 0xc2, 0, 0, 0]).llc(),
        Control::PerVlanSpanningTree => builder.to_mac([0x01, 0, 0x0c, 0xcc, 0xcc, 0xcd]).llc(),
    };
    builder.payload([0x42; 46]).build()
}

fn ip_packet(builder: Builder, ip: &Ip) -> Builder {
    let mut builder = builder
        .ip(&ip.source.to_string(), &ip.destination.to_string())
        .ttl(ip.hops)
        .payload(vec![0; ip.payload]);
    if ip.source.is_ipv4() {
        // Options that do nothing.
        builder = builder.options(&vec![1; ip.extensions * 4]);
    } else {
        for _ in 0..ip.extensions {
            // One option, of six octets of padding.
            builder = builder.extension(protocol::DESTINATION_OPTIONS, &[1, 4, 0, 0, 0, 0]);
        }
    }
    builder = match ip.part {
        Part::Whole => builder,
        Part::First(id) => builder.fragment(id, 0, true),
        Part::Later { id, offset, more } => return builder.protocol(ip.protocol()).fragment(id, offset, more),
    };
    match &ip.transport {
        Transport::Tcp {
            source,
            destination,
            flags,
            options,
        } => builder.tcp(*source, *destination, *flags).tcp_options(&octets(options)),
        Transport::Udp { source, destination } => builder.udp(*source, *destination),
        Transport::Icmp { kind, code, id, about } => {
            let mut body = match about {
                About::Nothing => Vec::new(),
                About::Quote(quote) => quoted(quote),
                About::Neighbour(neighbour) => discovery(*kind, neighbour),
            };
            body.resize(body.len() + ip.payload, 0);
            builder.icmp(*kind, *code).identifier(*id).payload(body)
        }
        Transport::Other(number) => builder.protocol(*number),
    }
}

fn discovery(kind: u8, neighbour: &Neighbour) -> Vec<u8> {
    let target = if kind == 133 {
        Vec::new()
    } else {
        neighbour.target.octets().to_vec()
    };
    let options = neighbour.options.iter().flat_map(|mac| {
        // Type, length in units of eight octets, address.
        let kind = if kind == 136 { 2 } else { 1 };
        [&[kind, 1], &mac[..]].concat()
    });
    let nonce: &[u8] = if neighbour.nonce {
        &[14, 1, 7, 7, 7, 7, 7, 7]
    } else {
        &[]
    };
    target.into_iter().chain(nonce.iter().copied()).chain(options).collect()
}

fn quoted(quote: &Quote) -> Vec<u8> {
    let frame = ip_packet(packet(), &quote.ip).build();
    let end = frame.len().min(frame.transport + quote.left);
    frame[frame.network..end].to_vec()
}

fn damaged(sent: &Sent, whole: Frame) -> Frame {
    let (network, transport, length) = (whole.network, whole.transport, whole.len());
    let Content::Ip(ip) = &sent.content else {
        return match sent.damage {
            Damage::CutEthernet => whole.truncated(13),
            Damage::CutTag(tag) => whole.truncated(14 + 4 * tag + 2),
            Damage::CutHeader => whole.truncated(network + 10),
            _ => whole,
        };
    };
    let six = ip.source.is_ipv6();
    match sent.damage {
        Damage::None => whole,
        Damage::CutEthernet => whole.truncated(13),
        Damage::CutTag(tag) => whole.truncated(14 + 4 * tag + 2),
        Damage::CutHeader => whole.truncated(network + 10),
        Damage::CutPacket => whole.truncated(length - 1),
        Damage::Version => whole.patched(network, &[0x75]),
        Damage::ExtensionLength => whole.patched(network + 41, &[0xff]),
        Damage::CutTransport => {
            let end = transport + ip.header() - 1;
            let start = if six { network + 40 } else { network };
            let octets = ((end - start) as u16).to_be_bytes();
            let at = network + if six { 4 } else { 2 };
            whole.patched(at, &octets).truncated(end)
        }
        Damage::SourceRoute if six => whole.patched(network + 6, &[43]).patched(network + 43, &[1]),
        Damage::SourceRoute => whole.patched(network + 20, &[1, 131, 7, 4, 10, 1, 1, 1]),
        Damage::TransportLength => match ip.transport {
            Transport::Tcp { .. } => whole.patched(transport + 12, &[0x40]),
            _ => whole.patched(transport + 4, &[0, 7]),
        },
    }
}
