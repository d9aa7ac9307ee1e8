//! Reading and switching the features of an interface, by the `ethtool` ioctl.
//!
//! The layout of the requests is that of `linux/ethtool.h`; they are built as bytes, because all of them end in an
//! array whose length only the kernel knows.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use rustix::net::{AddressFamily, SocketType, socket};

const SIOCETHTOOL: libc::c_ulong = 0x8946;
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETHTOOL_SFEATURES: u32 = 0x3b;
const ETH_SS_FEATURES: u32 = 4;
/// `ETH_GSTRING_LEN`: octets a name.
const NAME_LENGTH: usize = 32;

/// A feature of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Feature {
    /// Its name, as `ethtool -k` does not shorten it: `rx-vlan-hw-parse`.
    pub(crate) name: String,
    /// Whether it is on.
    pub(crate) on: bool,
    /// Whether it can be switched.
    pub(super) switchable: bool,
}

/// A request: words, then room for the answer.
struct Request(Vec<u32>);

impl Request {
    fn new(words: &[u32], room: usize) -> Self {
        let mut request = words.to_vec();
        request.resize(words.len() + room, 0);
        Self(request)
    }

    /// Sends the request; the answer replaces it. The result is not negative.
    fn send(&mut self, interface: &str) -> io::Result<i32> {
        let socket: OwnedFd = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
        // SAFETY: all zero is a valid `ifreq`.
        let mut ifreq: libc::ifreq = unsafe { std::mem::zeroed() };
        if interface.len() >= ifreq.ifr_name.len() {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        for (to, from) in ifreq.ifr_name.iter_mut().zip(interface.bytes()) {
            *to = from.cast_signed();
        }
        ifreq.ifr_ifru.ifru_data = self.0.as_mut_ptr().cast();
        // SAFETY: the request tells the kernel how many entries there is room for behind its head, and `self.0` has
        // that room; both live until the call returns.
        let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), SIOCETHTOOL, &raw mut ifreq) };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(result)
        }
    }
}

/// The features of an interface, in the order of the kernel's feature bits.
pub(crate) fn features(interface: &str) -> io::Result<Vec<Feature>> {
    let names = names(interface)?;
    let blocks = names.len().div_ceil(32);
    let mut request = Request::new(&[ETHTOOL_GFEATURES, blocks as u32], blocks * 4);
    request.send(interface)?;
    // Each block of 32 features: available, requested, active, never changed.
    let bit = |feature: usize, kind: usize| request.0[2 + feature / 32 * 4 + kind] >> (feature % 32) & 1 == 1;
    let feature = |(number, name): (usize, String)| Feature {
        name,
        on: bit(number, 2),
        switchable: bit(number, 0) && !bit(number, 3),
    };
    Ok(names.into_iter().enumerate().map(feature).collect())
}

/// The driver of an interface: `mlx5_core`, `veth`.
pub(crate) fn driver(interface: &str) -> io::Result<String> {
    // `struct ethtool_drvinfo` has 196 octets: the command, then the driver's name in 32.
    let mut request = Request::new(&[ETHTOOL_GDRVINFO], 48);
    request.send(interface)?;
    let name: Vec<u8> = request.0[1..9].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let end = name.iter().position(|&octet| octet == 0).unwrap_or(name.len());
    Ok(String::from_utf8_lossy(&name[..end]).into_owned())
}

/// Switches features; all others stay.
pub(super) fn switch(interface: &str, wanted: &[(&str, bool)]) -> io::Result<()> {
    let names = names(interface)?;
    let blocks = names.len().div_ceil(32);
    let mut request = Request::new(&[ETHTOOL_SFEATURES, blocks as u32], blocks * 2);
    for (name, on) in wanted {
        let number = names
            .iter()
            .position(|known| known == name)
            .ok_or_else(|| io::Error::other(format!("the kernel knows no feature {name}")))?;
        // Each block of 32 features: valid, requested.
        let block = 2 + number / 32 * 2;
        request.0[block] |= 1 << (number % 32);
        request.0[block + 1] |= u32::from(*on) << (number % 32);
    }
    match request.send(interface)? {
        0 => Ok(()),
        // ETHTOOL_F_UNSUPPORTED, ETHTOOL_F_WISH, ETHTOOL_F_COMPAT.
        _ => Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
    }
}

/// The names of the feature bits; a bit without a name has an empty one.
fn names(interface: &str) -> io::Result<Vec<String>> {
    // Command, reserved, mask of sets in 64 bits; the answer has one word a set.
    let mut count = Request::new(&[ETHTOOL_GSSET_INFO, 0, 1 << ETH_SS_FEATURES, 0], 1);
    count.send(interface)?;
    let count = count.0[4];
    let room = count as usize * NAME_LENGTH / 4;
    let mut strings = Request::new(&[ETHTOOL_GSTRINGS, ETH_SS_FEATURES, count], room);
    strings.send(interface)?;
    let bytes: Vec<u8> = strings.0[3..].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let name = |bytes: &[u8]| {
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    };
    Ok(bytes.chunks(NAME_LENGTH).map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_has_features_that_are_known_by_name() {
        let features = features("lo").unwrap();
        assert!(features.iter().any(|feature| feature.name == "rx-vlan-hw-parse"));
        // Loopback cannot do without.
        let scatter = features
            .iter()
            .find(|feature| feature.name == "tx-scatter-gather")
            .unwrap();
        assert!(scatter.on);
    }

    #[test]
    fn an_interface_that_is_not_there_is_an_error() {
        assert!(features("no-such-if").is_err());
        assert!(features("a-name-that-is-much-too-long").is_err());
    }
}
