//! DHCP messages of servers (RFC 2131, options by RFC 2132), as far as a lease can be read from them.
//!
//! Hand-written, because the libraries for it bring a whole DNS implementation along for what is a fixed header and a
//! list of options. It believes what a client would believe: octets behind the options that matter are nobody's concern.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::Ignored;

/// `op` of what servers send.
const BOOTREPLY: u8 = 2;
/// `htype` of Ethernet.
const ETHERNET: u8 = 1;
/// Where the options begin: behind the header of BOOTP (236 octets) and the magic cookie.
const OPTIONS: usize = 240;
const MAGIC: [u8; 4] = [99, 130, 83, 99];
/// `DHCPACK` in option 53.
const ACK: u8 = 5;
/// A lease without end, in option 51.
const INFINITE: u32 = u32::MAX;

/// Numbers of options.
mod option {
    pub(super) const PAD: u8 = 0;
    pub(super) const LEASE_TIME: u8 = 51;
    pub(super) const OVERLOAD: u8 = 52;
    pub(super) const MESSAGE_TYPE: u8 = 53;
    pub(super) const END: u8 = 255;
}

/// A server's word that a device has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The device's hardware address (`chaddr`).
    pub mac: [u8; 6],
    /// Its address (`yiaddr`), never 0.0.0.0.
    pub address: Ipv4Addr,
    /// For how long, from when the message was sent; `None` for ever. Never zero.
    pub lease: Option<Duration>,
}

/// Reads the payload of a UDP datagram that a server sent.
///
/// # Errors
/// Why there is no lease in it.
pub fn read(octets: &[u8]) -> Result<Ack, Ignored> {
    if octets.len() < OPTIONS || octets[0] != BOOTREPLY || octets[236..OPTIONS] != MAGIC {
        return Err(Ignored::Malformed);
    }
    let options = Options::of(octets);
    match options.message_type {
        None => return Err(Ignored::Malformed),
        Some(ACK) => {}
        Some(_) => return Err(Ignored::NoAck),
    }
    let (Some(&mac), [ETHERNET, 6]) = (octets[28..].first_chunk(), &octets[1..3]) else {
        return Err(Ignored::NoEthernet);
    };
    let address = Ipv4Addr::new(octets[16], octets[17], octets[18], octets[19]);
    if address.is_unspecified() {
        return Err(Ignored::NoAddress);
    }
    let lease = match options.lease_time {
        None | Some(0) => return Err(Ignored::NoLeaseTime),
        Some(INFINITE) => None,
        Some(seconds) => Some(Duration::from_secs(seconds.into())),
    };
    Ok(Ack { mac, address, lease })
}

/// The options that matter. Of several with one number the first counts, as clients have it.
#[derive(Default)]
struct Options {
    message_type: Option<u8>,
    lease_time: Option<u32>,
    overload: Option<u8>,
}

impl Options {
    fn of(octets: &[u8]) -> Self {
        let mut options = Self::default();
        options.take(&octets[OPTIONS..]);
        // The fields for a file name and a server name may hold options too, in this order (RFC 2131, 4.1).
        let overload = options.overload.unwrap_or(0);
        if overload & 1 != 0 {
            options.take(&octets[108..236]);
        }
        if overload & 2 != 0 {
            options.take(&octets[44..108]);
        }
        options
    }

    /// Takes the options of a field, up to one that is cut off.
    fn take(&mut self, mut rest: &[u8]) {
        while let [number, behind @ ..] = rest {
            rest = behind;
            match *number {
                option::PAD => continue,
                option::END => return,
                _ => {}
            }
            let Some((&length, behind)) = rest.split_first() else {
                return;
            };
            let Some((value, behind)) = behind.split_at_checked(length.into()) else {
                return;
            };
            self.set(*number, value);
            rest = behind;
        }
    }

    fn set(&mut self, number: u8, value: &[u8]) {
        match (number, value) {
            (option::MESSAGE_TYPE, &[kind]) => _ = self.message_type.get_or_insert(kind),
            (option::OVERLOAD, &[fields]) => _ = self.overload.get_or_insert(fields),
            (option::LEASE_TIME, &[a, b, c, d]) => {
                _ = self.lease_time.get_or_insert(u32::from_be_bytes([a, b, c, d]));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) const MAC: [u8; 6] = [0x02, 0, 0, 0, 0x6e, 0x1e];

    /// A message for [`MAC`] with these options behind the cookie.
    pub(crate) fn message(address: [u8; 4], options: &[&[u8]]) -> Vec<u8> {
        let mut octets = vec![0; OPTIONS];
        octets[..3].copy_from_slice(&[BOOTREPLY, ETHERNET, 6]);
        octets[16..20].copy_from_slice(&address);
        octets[28..34].copy_from_slice(&MAC);
        octets[236..].copy_from_slice(&MAGIC);
        octets.extend(options.concat());
        octets
    }

    const IS_ACK: &[u8] = &[53, 1, ACK];
    const HOUR: &[u8] = &[51, 4, 0, 0, 0x0e, 0x10];
    const END: &[u8] = &[255];
    const ADDRESS: [u8; 4] = [10, 10, 110, 30];

    fn lease(options: &[&[u8]]) -> Result<Option<u64>, Ignored> {
        let ack = read(&message(ADDRESS, options))?;
        assert_eq!((ack.mac, ack.address), (MAC, Ipv4Addr::from(ADDRESS)));
        Ok(ack.lease.map(|lease| lease.as_secs()))
    }

    #[test]
    fn an_acknowledgement_names_device_address_and_time() {
        assert_eq!(lease(&[IS_ACK, HOUR, END]), Ok(Some(3600)));
        assert_eq!(
            lease(&[HOUR, &[0, 0], &[54, 4, 10, 10, 110, 1], IS_ACK, END]),
            Ok(Some(3600))
        );
        assert_eq!(lease(&[IS_ACK, &[51, 4, 255, 255, 255, 255], END]), Ok(None));
        assert_eq!(
            lease(&[IS_ACK, &[51, 4, 255, 255, 255, 254], END]),
            Ok(Some(u64::from(u32::MAX) - 1))
        );
    }

    #[test]
    fn the_first_of_two_equal_options_counts_and_nothing_behind_the_end() {
        assert_eq!(lease(&[IS_ACK, HOUR, &[51, 4, 0, 0, 0, 1], END]), Ok(Some(3600)));
        assert_eq!(lease(&[IS_ACK, END, HOUR]), Err(Ignored::NoLeaseTime));
        assert_eq!(lease(&[IS_ACK, &[51, 2, 0, 1], HOUR, END]), Ok(Some(3600)));
    }

    #[test]
    fn what_comes_behind_a_cut_is_gone_and_what_came_before_counts() {
        assert_eq!(lease(&[IS_ACK, HOUR, &[43, 200, 1, 2]]), Ok(Some(3600)));
        assert_eq!(lease(&[IS_ACK, HOUR]), Ok(Some(3600)));
        assert_eq!(lease(&[IS_ACK, HOUR, &[43]]), Ok(Some(3600)));
        assert_eq!(lease(&[IS_ACK, &HOUR[..5]]), Err(Ignored::NoLeaseTime));
    }

    #[test]
    fn options_overflow_into_the_fields_of_names_when_the_message_says_so() {
        for (overload, at) in [(1, 108), (2, 44), (3, 44)] {
            let mut octets = message(ADDRESS, &[&[52, 1, overload], IS_ACK, END]);
            octets[at..at + HOUR.len()].copy_from_slice(HOUR);
            assert_eq!(
                read(&octets).unwrap().lease,
                Some(Duration::from_hours(1)),
                "{overload}"
            );
        }
        let mut octets = message(ADDRESS, &[IS_ACK, END]);
        octets[108..108 + HOUR.len()].copy_from_slice(HOUR);
        assert_eq!(read(&octets), Err(Ignored::NoLeaseTime));
    }

    #[test]
    fn what_is_no_lease_says_why() {
        assert_eq!(lease(&[&[53, 1, 2], HOUR, END]), Err(Ignored::NoAck));
        assert_eq!(lease(&[HOUR, END]), Err(Ignored::Malformed));
        assert_eq!(lease(&[IS_ACK, END]), Err(Ignored::NoLeaseTime));
        assert_eq!(lease(&[IS_ACK, &[51, 4, 0, 0, 0, 0], END]), Err(Ignored::NoLeaseTime));
        // The answer to DHCPINFORM: the client has an address by other means.
        assert_eq!(read(&message([0; 4], &[IS_ACK, HOUR, END])), Err(Ignored::NoAddress));
        let good = message(ADDRESS, &[IS_ACK, HOUR, END]);
        for (at, octet, reason) in [
            (0, 1, Ignored::Malformed),
            (1, 6, Ignored::NoEthernet),
            (2, 16, Ignored::NoEthernet),
            (236, 0, Ignored::Malformed),
        ] {
            let mut octets = good.clone();
            octets[at] = octet;
            assert_eq!(read(&octets), Err(reason), "octet {at}");
        }
        for length in 0..OPTIONS {
            assert_eq!(read(&good[..length]), Err(Ignored::Malformed));
        }
    }
}
