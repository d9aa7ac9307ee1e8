//! DHCP messages, and what is learnt from them.

use std::collections::HashSet;

use enforcer::bindings::book::{Book, Held};
use enforcer::bindings::message::{Ack, read};

/// Where the options begin.
const OPTIONS: usize = 240;

/// Octets at which messages are interesting: options, lengths, the magic cookie.
pub(super) const WORDS: [&[u8]; 8] = [
    &[53, 1, 5],
    &[51, 4],
    &[255, 255, 255, 255],
    &[52, 1, 1],
    &[52, 1, 3],
    &[99, 130, 83, 99],
    &[0, 0, 0, 0],
    &[255],
];

/// A message is a lease that stands in its octets, or none; and whoever gets which of its addresses, a device has one, and an
/// address one device.
pub fn dhcp(octets: &[u8]) {
    if let Ok(ack) = read(octets) {
        stands_there(octets, &ack);
    }
    let mut book = Book::default();
    for (turn, octets) in octets.chunks_exact(3).enumerate() {
        let (device, held) = step(octets, turn as u64);
        book.put(&device, held.clone());
        assert_eq!(book.get(&device), Some(&held));
        book.expire(turn as u64);
        let owned: HashSet<_> = book.iter().map(|(_, held)| (&held.realm, held.address)).collect();
        assert_eq!(owned.len(), book.len(), "an address with two devices");
        assert!(book.iter().all(|(_, held)| held.expires > turn as u64));
    }
}

/// What was read is what the octets say, read once more without the parser.
fn stands_there(octets: &[u8], ack: &Ack) {
    assert!(octets.len() >= OPTIONS && octets[0] == 2);
    assert_eq!(octets[16..20], ack.address.octets());
    assert_eq!(octets[28..34], ack.mac);
    assert!(!ack.address.is_unspecified());
    let seconds = ack.lease.map_or(u64::from(u32::MAX), |lease| lease.as_secs());
    assert!(seconds > 0);
    let seconds = u32::try_from(seconds).expect("four octets").to_be_bytes();
    let option = [&[51, 4], &seconds[..]].concat();
    assert!(octets[44..].windows(6).any(|window| window == option), "no such option");
    assert!(octets[44..].windows(3).any(|window| window == [53, 1, 5]), "no DHCPACK");
}

/// One of eight devices gets one of eight addresses in one of two realms.
fn step(octets: &[u8], turn: u64) -> (String, Held) {
    let held = Held {
        realm: if octets[0] & 8 == 0 { "default" } else { "tenant" }.to_owned(),
        address: [10, 0, 0, octets[1] & 7].into(),
        expires: turn + 1 + u64::from(octets[2] & 15),
    };
    (format!("device-{}", octets[0] & 7), held)
}

/// Messages of servers: header, then these options.
pub(super) fn messages() -> impl Iterator<Item = Vec<u8>> {
    let options: [&[u8]; 4] = [
        &[53, 1, 5, 51, 4, 0, 0, 14, 16, 54, 4, 10, 10, 110, 1, 255],
        &[53, 1, 2, 51, 4, 0, 0, 14, 16, 255],
        &[53, 1, 5, 51, 4, 255, 255, 255, 255],
        &[52, 1, 3, 53, 1, 5],
    ];
    options.into_iter().map(|options| {
        let mut octets = vec![0; OPTIONS];
        octets[..3].copy_from_slice(&[2, 1, 6]);
        octets[16..20].copy_from_slice(&[10, 10, 110, 30]);
        octets[28..34].copy_from_slice(&[2, 0, 0, 0, 0x6e, 0x1e]);
        octets[108..114].copy_from_slice(&[51, 4, 0, 0, 14, 16]);
        octets[236..OPTIONS].copy_from_slice(&[99, 130, 83, 99]);
        octets.extend(options);
        octets
    })
}
