//! What comparable systems got wrong, as far as no other test fits, and the page that tells which test holds what:
//! docs/pitfalls.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use enforcer::diagnostics::Diagnostics;
use enforcer::engine::Engine;
use enforcer::kernel::{PortSetup, ports};
use enforcer::policy::{self, TableSet};
use enforcer_common::verdict::{DropReason, Verdict};
use enforcer_tests::kernel::{Kernel, action};
use enforcer_tests::lab::enforcer::repository;
use enforcer_tests::packet::packet;

/// Interface 1 of the test runs.
const PORT: u32 = 1;

fn tables(text: &str) -> Result<TableSet> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("policy.yaml"), text)?;
    let readable = |errors: Diagnostics| anyhow!("{}", errors.render(false));
    let policy = policy::load(&[folder.path().to_owned()]).map_err(readable)?;
    policy::compile(&policy).map_err(readable)
}

/// Pitfalls 1 and 4: VLANs reuse address ranges; and in some map key the octets of the VLAN id stood the wrong way
/// round. 258 is 0x0102, and 513 is 0x0201: whoever swaps octets, or leaves the VLAN out, mistakes one for the other.
#[test]
fn a_vlan_and_its_octets_swapped_are_two_zones_in_both_builds() -> Result<()> {
    let tables = tables(
        "zones:
  pumps: {vlan: 258, subnets: [10.0.0.0/24], realm: east, mode: enforce}
  guests: {vlan: 513, subnets: [10.0.0.0/24], realm: west, mode: enforce}
rules:
  inside: {from: pumps, to: pumps, services: any, action: allow}
",
    )?;
    let port = PortSetup::new("trunk", PORT);
    let engine = Engine::new(
        tables.clone(),
        ports::table(&[port.entry(0)]).map_err(|error| anyhow!("{error}"))?,
    );
    let mut kernel = Kernel::load(&tables, &[port]).context("wants root")?;
    let frame = packet().ip("10.0.0.21", "10.0.0.22").udp(1, 2);
    for (vlans, verdict, reason) in [
        (vec![258], Verdict::Pass, DropReason::None),
        (vec![513], Verdict::Drop, DropReason::DefaultDeny),
        (vec![], Verdict::Drop, DropReason::VlanNotAllowed),
        (vec![258, 513], Verdict::Drop, DropReason::VlanUndeclared),
    ] {
        let tagged = vlans
            .iter()
            .fold(frame.clone(), |frame, vlan| frame.vlan(*vlan))
            .build();
        let (decision, _) = engine.decide(&tagged, PORT, 1);
        assert_eq!((decision.verdict, decision.reason), (verdict, reason), "{vlans:?}");
        let (done, event) = kernel.run(&tagged, PORT)?;
        let expected = if verdict == Verdict::Pass {
            action::PASS
        } else {
            action::DROP
        };
        assert_eq!(
            (done, event.reason),
            (expected, reason as u8),
            "{vlans:?} in the kernel"
        );
        let outer = vlans.first().copied().unwrap_or(0);
        assert_eq!(event.outer_vlan, outer, "the event has the id as it is written");
    }
    Ok(())
}

/// The settings of a section of a unit file, by key; lists in several lines are one.
fn settings(unit: &str, section: &str) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::<String, String>::new();
    let lines = unit.lines().map(str::trim);
    let lines = lines.skip_while(|line| *line != format!("[{section}]"));
    for line in lines.skip(1).take_while(|line| !line.starts_with('[')) {
        if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
            let all = settings.entry(key.to_owned()).or_default();
            all.push(' ');
            all.push_str(value);
        }
    }
    settings
}

/// Pitfall 18: `ProtectKernelTunables=yes` makes a bpffs read-only, `@system-service` leaves `bpf` out, and without
/// `AF_NETLINK` an interface "does not exist".
#[test]
fn the_unit_file_s_hardening_leaves_what_the_enforcer_needs() -> Result<()> {
    let unit = fs::read_to_string(repository().join("deploy/enforcer.service"))?;
    let service = settings(&unit, "Service");
    let value = |key: &str| service.get(key).map_or("", String::as_str);
    let has = |key: &str, word: &str| {
        let words: Vec<_> = value(key).split_whitespace().collect();
        assert!(words.contains(&word), "{key} lacks {word}: {words:?}");
    };
    has("SystemCallFilter", "bpf");
    for family in ["AF_NETLINK", "AF_INET", "AF_INET6", "AF_UNIX"] {
        has("RestrictAddressFamilies", family);
    }
    for capability in ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON", "CAP_SYS_ADMIN"] {
        has("CapabilityBoundingSet", capability);
    }
    // Strict makes all but these read-only: policy generations live under /sys/fs/bpf, sockets and state elsewhere.
    has("ReadWritePaths", "/sys/fs/bpf");
    for directory in ["RuntimeDirectory", "StateDirectory", "LogsDirectory"] {
        has(directory, "enforcer");
    }
    // Each of these takes the bpffs, the interfaces or the kernel's rights away.
    for harmful in [
        "ProtectKernelTunables",
        "PrivateNetwork",
        "PrivateUsers",
        "PrivateMounts",
        "DynamicUser",
    ] {
        assert!(
            matches!(value(harmful).trim(), "" | "no" | "false"),
            "{harmful}={}",
            value(harmful)
        );
    }
    assert!(!value("InaccessiblePaths").contains("/sys"));
    Ok(())
}

/// A row of the page: the number, and its tests, as a file's name and what to look for in it.
fn rows(page: &str) -> Vec<(u32, Vec<(String, String)>)> {
    let row = |line: &str| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let number = cells.first()?.parse().ok()?;
        let tests = cells.last()?.split('`').skip(1).step_by(2);
        let tests = tests.map(|test| {
            let (file, name) = test.split_once("::").unwrap_or((test, ""));
            (format!("{file}.rs"), name.to_owned())
        });
        Some((number, tests.collect()))
    };
    page.lines().filter_map(row).collect()
}

/// All sources below a folder, build folders aside.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// Whether a source has this test or case, and a comment close above names the pitfall.
fn proves(source: &str, name: &str, number: u32) -> bool {
    let needle = if name.starts_with('"') {
        name.to_owned()
    } else {
        format!("fn {name}(")
    };
    let Some(at) = source.find(&needle) else {
        return false;
    };
    let above: Vec<_> = source[..at].lines().rev().take(8).collect();
    let numbers = |line: &&str| {
        let (_, after) = line.split_once("itfall").unwrap_or_default();
        let named = after.split(':').next().unwrap_or_default();
        named
            .split(|character: char| !character.is_ascii_digit())
            .any(|digits| digits == number.to_string())
    };
    above.iter().any(numbers)
}

#[test]
fn every_pitfall_has_tests_that_name_it() -> Result<()> {
    let page = fs::read_to_string(repository().join("docs/pitfalls.md"))?;
    let mut files = Vec::new();
    for folder in ["enforcer", "enforcer-common", "tests"] {
        sources(&repository().join(folder), &mut files)?;
    }
    let rows = rows(&page);
    let numbers: BTreeSet<u32> = rows.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=19).collect(), "the page has them all");
    let mut wrong = Vec::new();
    for (number, tests) in rows {
        if tests.is_empty() {
            wrong.push(format!("pitfall {number} has no test"));
        }
        for (file, name) in tests {
            let candidates = files.iter().filter(|path| path.ends_with(&file));
            let texts = candidates.map(fs::read_to_string).collect::<Result<Vec<_>, _>>()?;
            if !texts.iter().any(|text| proves(text, &name, number)) {
                wrong.push(format!("pitfall {number}: no {name} under that number in {file}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
