//! The system calls behind the lab: the only unsafe code of this package.

mod namespace;
mod offload;
mod packet_socket;
mod tap;

use std::ffi::CString;
use std::io;

pub(super) use namespace::{Mount, enter, in_namespaces, new_mounts, new_network, send_signal};
pub use offload::{Offload, set_offload};
pub use packet_socket::PacketSocket;
pub(super) use packet_socket::readable;
pub(super) use tap::open_tap;

/// The result of a system call that answers -1 on failure.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// A name for the kernel.
fn text(name: &str) -> io::Result<CString> {
    CString::new(name).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("a zero octet in {name:?}")))
}

/// An interface request with the name filled in.
fn interface_request(name: &str) -> io::Result<libc::ifreq> {
    let name = text(name)?;
    let octets = name.as_bytes_with_nul();
    if octets.len() > libc::IFNAMSIZ {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("interface name too long: {name:?}"),
        ));
    }
    // SAFETY: all-zero is a value of this plain C structure.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, octet) in request.ifr_name.iter_mut().zip(octets) {
        *place = libc::c_char::from_ne_bytes([*octet]);
    }
    Ok(request)
}
