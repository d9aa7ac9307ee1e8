//! What mutations start from: the corpus, what has failed before, and what the project has anyway.

use std::fs;
use std::path::{Path, PathBuf};

use super::Target;
use crate::oracle::Beside;
use crate::random::{self, Random, Traffic};
use crate::shapes;

/// An input and where it is from.
#[derive(Clone, Debug)]
pub struct Seed {
    /// A file, or what made it.
    pub name: String,
    /// The input.
    pub octets: Vec<u8>,
}

/// Inputs of a target, and the words of its language.
///
/// # Panics
/// When a file of the repository cannot be read.
pub fn seeds(target: &Target) -> (Vec<Seed>, &'static [&'static [u8]]) {
    let mut seeds = Vec::new();
    for folder in ["corpus", "regressions"] {
        seeds.extend(files(&repository().join("tests/fuzz").join(folder).join(target.name)));
    }
    let words: &[&[u8]] = match target.name {
        "parse" => {
            seeds.extend(frames().into_iter().map(|(_, octets)| made("a shape", octets)));
            &[
                b"\x81\x00",
                b"\x88\xa8",
                b"\x08\x00\x45",
                b"\x86\xdd\x60",
                b"\x08\x06",
                &[0, 43, 44, 60],
            ]
        }
        "decide" => {
            seeds.extend(sequences());
            &[b"\x81\x00\x00\x6e", b"\x08\x00\x45", b"\x86\xdd\x60"]
        }
        "policy" => {
            seeds.extend(files(&repository().join("policies")));
            seeds.extend(files(&repository().join("tests/fixtures/shapes")));
            let texts = (0..4).map(|seed| random::text(&mut Random::new(seed)));
            seeds.extend(texts.map(|text| made("a random policy", text.into_bytes())));
            &POLICY_WORDS
        }
        "dhcp" => {
            seeds.extend(super::dhcp::messages().map(|octets| made("a DHCP message", octets)));
            &super::dhcp::WORDS
        }
        "config" => {
            seeds.extend(files(&repository().join("deploy")));
            &CONFIG_WORDS
        }
        _ => {
            let change = |order: &str| format!(r#"{{"change":{{"order":{order},"comment":"CHG-17"}}}}"#);
            let verbs = [
                r#""status""#.to_owned(),
                r#""devices""#.to_owned(),
                change(r#""reload""#),
                change(r#""detach""#),
                change(r#"{"apply":{"policy_hash":"00","in_force":"00","confirm_seconds":600}}"#),
                change(r#"{"confirm":{"revision":7}}"#),
                change(r#"{"rollback":{"revision":6,"in_force":"00"}}"#),
            ];
            for verb in verbs {
                let line = format!("{{\"version\":1,\"request\":{verb}}}\n");
                seeds.push(made("a request", line.into_bytes()));
            }
            &[
                b"\"version\"",
                b"\"request\"",
                b":",
                b",",
                b"{",
                b"}",
                b"[",
                b"\n",
                b"null",
                b"1e999",
                b"\\u0000",
            ]
        }
    };
    (seeds, words)
}

const POLICY_WORDS: [&[u8]; 34] = [
    b"zones:",
    b"devices:",
    b"services:",
    b"rules:",
    b"vlan: ",
    b"subnets: ",
    b"gateway: ",
    b"realm: ",
    b"mode: ",
    b"enforce",
    b"monitor",
    b"from: ",
    b"to: ",
    b"action: ",
    b"allow",
    b"deny",
    b"priority: ",
    b"any",
    b"self",
    b"unknown",
    b"tcp/",
    b"udp/0-65535",
    b"icmp/",
    b"0.0.0.0/0",
    b"::/0",
    b"\"2000.130\"",
    b"4095",
    b"-2147483648",
    b"&a",
    b"*a",
    b"!!str ",
    b"\n  ",
    b"{",
    b"]",
];

const CONFIG_WORDS: [&[u8]; 16] = [
    b"[[port]]",
    b"[events]",
    b"[metrics]",
    b"[tables]",
    b"interface = ",
    b"vlans = ",
    b"[1, \"2-4094\"]",
    b"mode = ",
    b"\"native\"",
    b"true",
    b"= 0",
    b"= -1",
    b"= 99999999999999999999",
    b"\"\"",
    b"\n",
    b"\"\"\"",
];

/// The folder of the workspace.
fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files of a folder, by name; none when there is no such folder.
fn files(folder: &Path) -> impl Iterator<Item = Seed> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    paths.into_iter().map(|path| Seed {
        octets: fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
        name: path.display().to_string(),
    })
}

fn made(name: &str, octets: Vec<u8>) -> Seed {
    let name = name.to_owned();
    Seed { name, octets }
}

fn frames() -> Vec<(u32, Vec<u8>)> {
    let steps = shapes::all().into_iter().flat_map(|case| case.steps);
    steps.map(|step| (step.ifindex, step.frame.bytes)).collect()
}

/// The cases of the shapes, and a random conversation, as sequences.
fn sequences() -> Vec<Seed> {
    let joined = |frames: &mut dyn Iterator<Item = (u32, Vec<u8>)>| {
        let mut octets = Vec::new();
        for (ifindex, frame) in frames.filter(|(_, frame)| frame.len() < 256) {
            octets.extend([ifindex as u8 & 3, frame.len() as u8]);
            octets.extend(frame);
        }
        octets
    };
    let cases = shapes::all().into_iter();
    let mut seeds: Vec<_> = cases
        .map(|case| {
            let steps = case.steps.into_iter();
            made(
                case.name,
                joined(&mut steps.map(|step| (step.ifindex, step.frame.bytes))),
            )
        })
        .collect();
    let text = fs::read_to_string(repository().join("tests/fixtures/shapes/policy.yaml")).unwrap_or_default();
    let beside = Beside::default();
    if let Ok(policy) = random::load(&text) {
        let mut traffic = Traffic::new(&policy, &beside, Random::new(1));
        for _ in 0..20 {
            let mut steps = (0..12).map(|_| traffic.step().sent);
            let octets = joined(&mut steps.by_ref().map(|sent| (sent.ifindex, random::frame(&sent).bytes)));
            seeds.push(made("random traffic", octets));
        }
    }
    seeds
}
