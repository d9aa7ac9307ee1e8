//! The shipped policies.

use std::path::PathBuf;

use enforcer::policy::check;

#[test]
fn the_reference_hospital_compiles() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../policies"));
    let summary = check(&[folder]).unwrap_or_else(|findings| panic!("{findings}"));
    assert!(summary.policy.zones.len() >= 12, "the hospital shrank");
    println!("{summary}");
}
