use super::inventory::tests::{A, B, inventory};
use super::message::tests::message;
use super::*;

const SECOND: u64 = 1_000_000_000;

fn bindings() -> Bindings {
    let bindings = Bindings::new(Path::new("/nonexistent"));
    bindings.inner().inventory = Arc::new(inventory());
    bindings
}

fn ack(mac: [u8; 6], address: [u8; 4], seconds: u32) -> Vec<u8> {
    let [a, b, c, d] = seconds.to_be_bytes();
    let mut octets = message(address, &[&[53, 1, 5, 51, 4, a, b, c, d, 255]]);
    octets[28..34].copy_from_slice(&mac);
    octets
}

fn counted(bindings: &Bindings) -> Vec<(Ignored, u64)> {
    bindings.ignored().filter(|(_, count)| *count > 0).collect()
}

fn address(bindings: &Bindings, device: &str) -> Option<[u8; 4]> {
    bindings.held(device).map(|held| held.address.octets())
}

#[test]
fn a_lease_begins_when_the_kernel_saw_it_and_ends_with_its_time() {
    let bindings = bindings();
    bindings.hear(&ack(B, [10, 0, 0, 30], 60), None, 5 * SECOND, 9 * SECOND);
    assert_eq!(bindings.held("b").unwrap().expires, 65 * SECOND);
    assert_eq!(bindings.inner().expire(65 * SECOND - 1), []);
    assert_eq!(bindings.inner().expire(65 * SECOND).len(), 1);
    assert_eq!((bindings.count_held(), counted(&bindings)), (0, vec![]));
    bindings.hear(&ack(B, [10, 0, 0, 30], u32::MAX), None, 5 * SECOND, 9 * SECOND);
    assert_eq!(bindings.held("b").unwrap().expires, u64::MAX);
}

#[test]
fn a_message_that_waited_longer_than_its_lease_teaches_nothing() {
    let bindings = bindings();
    bindings.hear(&ack(B, [10, 0, 0, 30], 60), None, 5 * SECOND, 65 * SECOND);
    assert_eq!(bindings.count_held(), 0);
    assert_eq!(counted(&bindings), [(Ignored::LeaseOver, 1)]);
}

#[test]
fn what_is_ignored_is_counted_by_reason_and_changes_nothing() {
    let bindings = bindings();
    bindings.hear(&ack(B, [10, 0, 0, 30], 60), None, 0, 0);
    for octets in [
        b"no DHCP".to_vec(),
        ack([9; 6], [10, 0, 0, 31], 60),
        ack(B, [10, 9, 0, 30], 60),
        ack(B, [10, 0, 0, 21], 60),
        ack(B, [10, 0, 0, 31], 0),
        ack(B, [0; 4], 60),
    ] {
        bindings.hear(&octets, None, 0, 0);
    }
    let reasons = [
        Ignored::Malformed,
        Ignored::NoAddress,
        Ignored::NoLeaseTime,
        Ignored::UnknownDevice,
        Ignored::OutsideZone,
        Ignored::DeclaredAddress,
    ];
    assert_eq!(counted(&bindings), reasons.map(|reason| (reason, 1)));
    assert_eq!(address(&bindings, "b"), Some([10, 0, 0, 30]));
}

#[test]
fn the_newest_word_on_a_device_and_on_an_address_counts() {
    let bindings = bindings();
    bindings.hear(&ack(B, [10, 0, 0, 30], 60), None, 0, 0);
    bindings.hear(&ack(B, [10, 0, 0, 31], 60), None, 0, 0);
    assert_eq!(address(&bindings, "b"), Some([10, 0, 0, 31]));
    bindings.hear(&ack(A, [10, 0, 0, 31], 60), Some("default"), 0, 0);
    assert_eq!(address(&bindings, "a"), Some([10, 0, 0, 31]));
    assert_eq!(address(&bindings, "b"), None);
    // In another realm it is another address, and another device.
    bindings.hear(&ack(A, [10, 0, 0, 31], 60), Some("tenant"), 0, 0);
    assert_eq!(address(&bindings, "d"), Some([10, 0, 0, 31]));
    assert_eq!(bindings.count_held(), 2);
}

#[test]
fn a_policy_without_the_device_forgets_its_lease_and_keeps_the_others() {
    let bindings = bindings();
    bindings.hear(&ack(B, [10, 0, 0, 30], 60), None, 0, 0);
    bindings.hear(&ack(A, [10, 0, 0, 31], 60), Some("tenant"), 0, 0);
    bindings.inner().retain();
    assert_eq!(bindings.count_held(), 2);
    bindings.inner().inventory = Arc::default();
    bindings.inner().retain();
    assert_eq!(bindings.count_held(), 0);
    assert!(bindings.inner().unsaved);
}
