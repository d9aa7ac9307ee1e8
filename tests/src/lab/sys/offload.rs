//! Offloads of an interface, by the ethtool system call: `ethtool` itself is not on every machine.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::ptr::from_mut;

use super::{check, interface_request};

/// An offload that the lab switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    /// `txvlan`: a tag waits beside the frame for the hardware to put it in, and a veth hands it over beside the frame.
    TransmitVlan,
    /// `gro`: received segments are merged.
    Merge,
    /// `tx`: checksums are left to the hardware, and big segments with them.
    Checksum,
}

#[repr(C)]
struct EthtoolValue {
    command: u32,
    value: u32,
}

const GET_FLAGS: u32 = 0x25;
const SET_FLAGS: u32 = 0x26;
const SET_GRO: u32 = 0x2c;
const SET_TRANSMIT_CHECKSUM: u32 = 0x17;
const FLAG_TRANSMIT_VLAN: u32 = 1 << 7;

/// Switches an offload of an interface in the network namespace of the calling thread.
pub fn set_offload(interface: &str, offload: Offload, on: bool) -> io::Result<()> {
    let value = |command| EthtoolValue {
        command,
        value: u32::from(on),
    };
    match offload {
        Offload::TransmitVlan => set_flag(interface, FLAG_TRANSMIT_VLAN, on),
        Offload::Merge => ethtool(interface, &mut value(SET_GRO)),
        Offload::Checksum => ethtool(interface, &mut value(SET_TRANSMIT_CHECKSUM)),
    }
}

fn set_flag(interface: &str, flag: u32, on: bool) -> io::Result<()> {
    let mut flags = EthtoolValue {
        command: GET_FLAGS,
        value: 0,
    };
    ethtool(interface, &mut flags)?;
    let value = if on { flags.value | flag } else { flags.value & !flag };
    ethtool(
        interface,
        &mut EthtoolValue {
            command: SET_FLAGS,
            value,
        },
    )
}

fn ethtool(interface: &str, argument: &mut EthtoolValue) -> io::Result<()> {
    let mut request = interface_request(interface)?;
    request.ifr_ifru.ifru_data = from_mut(argument).cast();
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: the request names the interface and points to the argument, both alive during the call; these commands
    // read and write exactly the two words of the argument.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) })?;
    Ok(())
}
