//! Sockets that send and receive whole frames.

use std::io;
use std::mem::{size_of, size_of_val, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use super::{check, text};

/// A raw socket on one interface.
///
/// It receives what comes in, not what goes out, after native XDP has passed it. The kernel takes the outer tag out of
/// a frame before any socket sees it; [`PacketSocket::receive`] puts it back, so that frames look as on the wire.
#[derive(Debug)]
pub struct PacketSocket {
    socket: OwnedFd,
}

/// The longest frame that a socket takes, in octets.
const LONGEST: usize = 16_384;
/// Room for what comes in while nobody reads, in octets.
const BUFFER: libc::c_int = 64 << 20;

impl PacketSocket {
    /// Opens a socket on an interface of the network namespace of the calling thread; it may be used from any.
    pub fn open(interface: &str) -> io::Result<Self> {
        let all = (libc::ETH_P_ALL as u16).to_be();
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no memory is involved. Protocol 0: nothing is received before the socket is bound.
        let socket = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
        // SAFETY: the descriptor was just made, and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let socket = Self { socket };
        let name = text(interface)?;
        // SAFETY: the name ends in zero and outlives the call.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        if index == 0 {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("no interface {interface} here"),
            ));
        }
        socket.set(libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
        socket.set(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
        socket.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, BUFFER)?;
        // SAFETY: all-zero is a value of this plain C structure.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = all;
        address.sll_ifindex = index.cast_signed();
        let length = size_of_val(&address) as libc::socklen_t;
        // SAFETY: address and length belong together and outlive the call.
        check(unsafe { libc::bind(socket.raw(), (&raw const address).cast(), length) })?;
        Ok(socket)
    }

    fn raw(&self) -> libc::c_int {
        self.socket.as_raw_fd()
    }

    fn set(&self, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
        let length = size_of_val(&value) as libc::socklen_t;
        // SAFETY: value and length belong together and outlive the call.
        check(unsafe { libc::setsockopt(self.raw(), level, option, (&raw const value).cast(), length) })?;
        Ok(())
    }

    /// Sends a frame as it is, tags included.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        loop {
            // SAFETY: pointer and length describe the frame, which outlives the call.
            let sent = unsafe { libc::send(self.raw(), frame.as_ptr().cast(), frame.len(), 0) };
            if sent >= 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EAGAIN | libc::ENOBUFS | libc::EINTR) => std::thread::yield_now(),
                _ => return Err(error),
            }
        }
    }

    /// The next frame that waits, without waiting for one.
    pub fn receive(&self) -> io::Result<Option<Vec<u8>>> {
        let mut frame = vec![0_u8; LONGEST];
        // As 64-bit words, so that the control messages are aligned.
        let mut control = [0_u64; 16];
        let mut part = libc::iovec {
            iov_base: frame.as_mut_ptr().cast(),
            iov_len: frame.len(),
        };
        // SAFETY: all-zero is a value of this plain C structure.
        let mut message: libc::msghdr = unsafe { zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        // SAFETY: the message points to the two buffers with their lengths, and all outlive the call.
        let length = unsafe { libc::recvmsg(self.raw(), &raw mut message, 0) };
        if length < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
                _ => Err(error),
            };
        }
        if message.msg_flags & libc::MSG_TRUNC != 0 {
            let problem = "a frame of more than 16 KiB: merged segments? Switch GRO off on the receiver";
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        frame.truncate(length.cast_unsigned());
        if let Some(tag) = tag_beside(&message)
            && frame.len() >= 12
        {
            frame.splice(12..12, tag);
        }
        Ok(Some(frame))
    }

    /// The next frame that `wanted` accepts, others thrown away; `None` when the time is up.
    pub fn wait_for(&self, limit: Duration, mut wanted: impl FnMut(&[u8]) -> bool) -> io::Result<Option<Vec<u8>>> {
        let end = Instant::now() + limit;
        loop {
            while let Some(frame) = self.receive()? {
                if wanted(&frame) {
                    return Ok(Some(frame));
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            readable(&[self.as_fd()], left)?;
        }
    }

    /// Frames that this socket lost since the last call, because its buffer was full.
    pub fn lost(&self) -> io::Result<u32> {
        let mut statistics = libc::tpacket_stats {
            tp_packets: 0,
            tp_drops: 0,
        };
        let mut length = size_of_val(&statistics) as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` octets, the size of the structure.
        check(unsafe {
            libc::getsockopt(
                self.raw(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &raw mut length,
            )
        })?;
        Ok(statistics.tp_drops)
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The tag that the kernel took out of a frame, as it stood on the wire.
fn tag_beside(message: &libc::msghdr) -> Option<[u8; 4]> {
    // SAFETY: recvmsg() filled the message; the macro looks only at its control buffer and length.
    let header = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: not null, so the macro vouches for a whole header inside the control buffer.
    let control = unsafe { header.as_ref() }?;
    let whole = control.cmsg_len as usize >= size_of::<libc::tpacket_auxdata>();
    if (control.cmsg_level, control.cmsg_type, whole) != (libc::SOL_PACKET, libc::PACKET_AUXDATA, true) {
        return None;
    }
    // SAFETY: the message is of the right kind and as long as the structure that is read from behind its header.
    let beside: libc::tpacket_auxdata =
        unsafe { libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>().read_unaligned() };
    if beside.tp_status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let known = beside.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
    let tag_type = if known { beside.tp_vlan_tpid } else { 0x8100 };
    let [[a, b], [c, d]] = [tag_type.to_be_bytes(), beside.tp_vlan_tci.to_be_bytes()];
    Some([a, b, c, d])
}

/// Waits until one of them can be read; says which can.
pub(in crate::lab) fn readable(descriptors: &[BorrowedFd<'_>], limit: Duration) -> io::Result<Vec<bool>> {
    let entry = |descriptor: &BorrowedFd<'_>| libc::pollfd {
        fd: descriptor.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut polled: Vec<_> = descriptors.iter().map(entry).collect();
    let limit = libc::c_int::try_from(limit.as_millis())
        .unwrap_or(libc::c_int::MAX)
        .max(1);
    // SAFETY: pointer and length describe the list, which outlives the call.
    let ready = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, limit) };
    if ready < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(polled.iter().map(|entry| entry.revents != 0).collect())
}
