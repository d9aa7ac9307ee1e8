//! What the kernel says of an interface, by rtnetlink.

use std::io;

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp, XdpAttached};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::error::Error;
use crate::config::XdpMode;

/// An interface of this network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Whether it is up and has a carrier.
    pub up: bool,
    /// Largest packet, octets.
    pub mtu: u32,
    /// One half of a veth pair.
    pub veth: bool,
    /// Index of the device below or opposite; for a veth its peer.
    pub peer: Option<u32>,
    /// The peer is in another network namespace.
    pub peer_elsewhere: bool,
    /// The XDP program on it.
    pub xdp: Option<Xdp>,
}

/// An XDP program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xdp {
    /// Number of the program.
    pub program: u32,
    /// How it runs; `None` for offloaded to the card, or several at once.
    pub mode: Option<XdpMode>,
}

/// The interface of this name; `None` when there is none.
pub fn by_name(name: &str) -> Result<Option<NetDevice>, Error> {
    let mut request = LinkMessage::default();
    request.attributes.push(LinkAttribute::IfName(name.to_owned()));
    get(request).map_err(|error| Error::system(format!("looking up the interface {name}"), error))
}

/// The interface with this index; `None` when there is none.
pub fn by_index(index: u32) -> Result<Option<NetDevice>, Error> {
    let mut request = LinkMessage::default();
    request.header.index = index;
    get(request).map_err(|error| Error::system(format!("looking up the interface {index}"), error))
}

fn get(request: LinkMessage) -> io::Result<Option<NetDevice>> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let payload = NetlinkPayload::from(RouteNetlinkMessage::GetLink(request));
    let mut message = NetlinkMessage::new(header, payload);
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);

    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&bytes, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map_err(io::Error::other)?;
    match answer.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => Ok(Some(device(link))),
        NetlinkPayload::Error(error) => match error.to_io() {
            error if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            error => Err(error),
        },
        _ => Err(io::Error::other("the kernel's answer is none of a link")),
    }
}

fn device(link: LinkMessage) -> NetDevice {
    let mut device = NetDevice {
        name: String::new(),
        index: link.header.index,
        up: link.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        mtu: 0,
        veth: false,
        peer: None,
        peer_elsewhere: false,
        xdp: None,
    };
    for attribute in link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => device.name = name,
            LinkAttribute::Mtu(mtu) => device.mtu = mtu,
            LinkAttribute::Link(peer) => device.peer = Some(peer),
            LinkAttribute::LinkNetNsId(_) => device.peer_elsewhere = true,
            LinkAttribute::LinkInfo(info) => device.veth = info.contains(&LinkInfo::Kind(InfoKind::Veth)),
            LinkAttribute::Xdp(xdp) => device.xdp = attached(&xdp),
            _ => {}
        }
    }
    device
}

fn attached(attributes: &[LinkXdp]) -> Option<Xdp> {
    let mode = attributes.iter().find_map(|attribute| match attribute {
        LinkXdp::Attached(XdpAttached::None) | LinkXdp::Other(_) => None,
        LinkXdp::Attached(XdpAttached::Driver) => Some(Some(XdpMode::Native)),
        LinkXdp::Attached(XdpAttached::SocketBuffer) => Some(Some(XdpMode::Generic)),
        LinkXdp::Attached(_) => Some(None),
        _ => None,
    })?;
    let program = attributes.iter().find_map(|attribute| match attribute {
        LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id) => Some(*id),
        _ => None,
    });
    Some(Xdp {
        program: program.unwrap_or(0),
        mode,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_found_by_name_and_index() {
        let device = by_name("lo").unwrap().expect("every namespace has lo");
        assert_eq!((device.index, device.veth, device.xdp), (1, false, None));
        assert_eq!(by_index(1).unwrap(), Some(device));
    }

    #[test]
    fn an_interface_that_is_not_there_is_none() {
        assert_eq!(by_name("no-such-if").unwrap(), None);
        assert_eq!(by_index(0x7fff_fff0).unwrap(), None);
    }
}
