//! A short run of each fuzz target: everything that is in its folders, then mutations of it, always the same ones.
//!
//! `ENFORCER_FUZZ=N` does N times as many; `cargo +nightly fuzz run NAME` in `tests/fuzz` looks for more with coverage.

use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, fs};

use enforcer_tests::fuzz::{TARGETS, Target, mutated, seeds};
use enforcer_tests::random::Random;

/// A short run ends after this time, whatever it has done.
const LIMIT: Duration = Duration::from_secs(5);

fn fuzz(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let (seeds, words) = seeds(target);
    assert!(!seeds.is_empty(), "nothing to start from");
    for seed in &seeds {
        attempt(target, &seed.name, &seed.octets);
    }
    let inputs: Vec<_> = seeds.into_iter().map(|seed| seed.octets).collect();
    let times: usize = env::var("ENFORCER_FUZZ").map_or(1, |times| times.parse().expect("ENFORCER_FUZZ is a number"));
    let mut random = Random::new(0);
    let started = Instant::now();
    for number in 0..target.count * times {
        if started.elapsed() > LIMIT * times as u32 {
            println!("{name}: {number} mutations of {}", target.count * times);
            return;
        }
        attempt(target, "a mutation", &mutated(&mut random, &inputs, words));
    }
}

fn attempt(target: &Target, name: &str, octets: &[u8]) {
    let Target { name: folder, run, .. } = *target;
    if let Err(cause) = panic::catch_unwind(AssertUnwindSafe(|| run(octets))) {
        let path = env::temp_dir().join(format!("enforcer-fuzz-{folder}"));
        let kept = fs::write(&path, octets).map_or_else(|error| error.to_string(), |()| path.display().to_string());
        eprintln!("{folder} fails on {name}: {:?}", String::from_utf8_lossy(octets));
        eprintln!("the octets: {kept}; once fixed, keep them in tests/fuzz/regressions/{folder}/");
        panic::resume_unwind(cause);
    }
}

#[test]
fn parser() {
    fuzz("parse");
}

#[test]
fn decision() {
    fuzz("decide");
}

#[test]
fn policy_text() {
    fuzz("policy");
}

#[test]
fn configuration_text() {
    fuzz("config");
}

#[test]
fn control_protocol() {
    fuzz("control");
}

#[test]
fn dhcp_messages() {
    fuzz("dhcp");
}

/// A folder that no target has is a corpus that nobody runs.
#[test]
fn every_folder_has_its_target() {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for folder in ["corpus", "regressions"] {
        for entry in fs::read_dir(here.join(folder)).expect("a folder") {
            let name = entry.expect("an entry").file_name();
            if name == "README.md" {
                continue;
            }
            assert!(TARGETS.iter().any(|target| *target.name == *name), "{name:?}");
        }
    }
    for target in TARGETS {
        let source = here.join("fuzz_targets").join(target.name).with_extension("rs");
        assert!(source.is_file(), "{} is missing", source.display());
    }
}
