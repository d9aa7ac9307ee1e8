//! A generation in the real kernel: loaded, filled, read back, its counters carried over by name. Needs root.

use std::fs;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray};
use aya::programs::{TestRun as _, TestRunOptions};
use enforcer::kernel::{Generation, LoadOptions, PortSetup, SharedMaps, Sizes};
use enforcer::policy::{self, TableSet};
use enforcer_common::abi::{Counter, Name, Rule, TrieNode, Zone};
use enforcer_tests::kernel::whole;
use tempfile::TempDir;

/// A frame that the loopback port (index 1, as test runs have it) drops: an unknown EtherType.
const FRAME: [u8; 64] = [0; 64];

fn tables(text: &str) -> TableSet {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("policy.yaml"), text).unwrap();
    let policy =
        policy::load(&[folder.path().to_path_buf()]).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    policy::compile(&policy).unwrap_or_else(|errors| panic!("{}", errors.render(false)))
}

fn hospital(rules: &str) -> TableSet {
    tables(&format!(
        "zones:\n  pumps: {{vlan: 110, subnets: [10.10.110.0/24], mode: enforce}}\n  \
         servers: {{vlan: 20, subnets: [10.20.0.0/16], mode: enforce}}\nrules:\n{rules}"
    ))
}

fn rule(name: &str) -> String {
    format!("  {name}: {{from: pumps, to: servers, services: [tcp/443], action: allow}}\n")
}

fn ports() -> Vec<PortSetup> {
    vec![PortSetup::new("test0", 1)]
}

fn array<V: aya::Pod>(map: MapData) -> Array<MapData, V> {
    Map::from_map_data(map).unwrap().try_into().unwrap()
}

fn counters(generation: &Generation, map: &str, slot: u32) -> u64 {
    let map: PerCpuArray<MapData, Counter> = Map::from_map_data(generation.map(map).unwrap())
        .unwrap()
        .try_into()
        .unwrap();
    map.get(&slot, 0).unwrap().iter().map(|counter| counter.packets).sum()
}

fn run(generation: &Generation, times: u32) -> u32 {
    let options = TestRunOptions {
        data_in: Some(&FRAME),
        repeat: times,
        ..TestRunOptions::new()
    };
    generation.program().unwrap().test_run(options).unwrap().return_value
}

/// A bpffs of its own, unmounted at the end.
struct Pins(TempDir);

impl Pins {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        rustix::mount::mount("bpf", folder.path(), "bpf", rustix::mount::MountFlags::empty(), None).unwrap();
        Self(folder)
    }

    fn shared(&self) -> SharedMaps {
        SharedMaps::Pinned(self.path().to_path_buf())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let path: PathBuf = self.path().to_path_buf();
        let _ = rustix::mount::unmount(path, rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn tables_are_in_the_kernel_as_compiled() -> Result<()> {
    let tables = hospital(&rule("pumps-to-servers"));
    let ports = ports();
    let generation = Generation::load(&LoadOptions::new(&tables, &ports))?;
    assert_eq!(generation.number(), 1);
    assert!([10_000_000, 4_000_000, 3_333_333, 1_000_000].contains(&generation.settings().tick_nanos));

    let zones: Vec<Zone> = whole(&generation.map("ZONES")?)?;
    for (number, (name, slot)) in generation.slots().zones.iter().enumerate() {
        assert_eq!(*name, tables.names.zones[number]);
        assert_eq!(zones[number], Zone { slot: *slot });
    }
    let rules: Vec<Rule> = whole(&generation.map("RULES")?)?;
    assert_eq!(rules[1].flags, tables.rules[1].flags);
    let trie: Vec<TrieNode> = whole(&generation.map("TRIE")?)?;
    assert_eq!(trie[..tables.trie.len()], tables.trie);
    Ok(())
}

#[test]
fn a_dropped_frame_is_counted_by_its_port() -> Result<()> {
    let tables = hospital(&rule("pumps-to-servers"));
    let ports = ports();
    let generation = Generation::load(&LoadOptions::new(&tables, &ports))?;
    let xdp_drop = 1;
    assert_eq!(run(&generation, 5), xdp_drop);
    let slot = generation.slots().ports[0].1;
    let drop = enforcer_common::verdict::Verdict::Drop as u32;
    assert_eq!(counters(&generation, "PORT_COUNTERS", slot * 4 + drop), 5);
    Ok(())
}

/// Pitfall 13: an update reset the counters.
#[test]
fn counters_carry_over_by_name() -> Result<()> {
    let pins = Pins::new();
    let ports = ports();
    let first_tables = hospital(&(rule("zulu") + &rule("mike")));
    let shared = pins.shared();
    let first = Generation::load(&LoadOptions {
        shared: shared.clone(),
        ..LoadOptions::new(&first_tables, &ports)
    })?;
    run(&first, 3);
    let slots = first.slots().clone();
    drop(first);

    // `alfa` sorts before the others, so every rule id moves.
    let second_tables = hospital(&(rule("alfa") + &rule("zulu") + &rule("mike")));
    let options = LoadOptions {
        shared,
        number: 2,
        running: Some(&slots),
        ..LoadOptions::new(&second_tables, &ports)
    };
    let second = Generation::load(&options)?;
    for (name, slot) in &slots.rules {
        assert!(second.slots().rules.contains(&(name.clone(), *slot)), "{name} moved");
    }
    assert_eq!(counters(&second, "PORT_COUNTERS", slots.ports[0].1 * 4 + 2), 3);
    run(&second, 2);
    assert_eq!(counters(&second, "PORT_COUNTERS", slots.ports[0].1 * 4 + 2), 5);
    Ok(())
}

#[test]
fn a_recycled_slot_starts_at_zero() -> Result<()> {
    let pins = Pins::new();
    let ports = ports();
    // Room for default-deny and one rule more.
    let sizes = Sizes {
        rule_slots: 2,
        ..Sizes::default()
    };
    let load = |tables: &TableSet, running: Option<&_>| {
        Generation::load(&LoadOptions {
            shared: pins.shared(),
            sizes,
            running,
            ..LoadOptions::new(tables, &ports)
        })
    };
    let first = load(&hospital(&rule("old")), None)?;
    let slot = first.slots().rules.iter().find(|(name, _)| name == "old").unwrap().1;
    let mut map: PerCpuArray<MapData, Counter> = Map::from_map_data(first.map("RULE_COUNTERS")?)?.try_into()?;
    let cpus = aya::util::nr_cpus().unwrap();
    let full = vec![Counter { packets: 7, bytes: 700 }; cpus];
    map.set(slot, full.try_into()?, 0)?;

    let refused = load(&hospital(&rule("new")), Some(first.slots()))
        .err()
        .expect("the running policy uses all slots");
    assert!(refused.to_string().contains("rule_slots"), "{refused}");
    assert_eq!(counters(&first, "RULE_COUNTERS", slot), 7 * cpus as u64);

    let second = load(&hospital(&rule("new")), None)?;
    assert!(second.slots().rules.contains(&("new".into(), slot)));
    assert_eq!(counters(&second, "RULE_COUNTERS", slot), 0);
    let names: Array<_, Name> = array(second.map("NAMES_RULES")?);
    assert_eq!(enforcer::kernel::slots::decode(&names.get(&slot, 0)?), "new");
    Ok(())
}

#[test]
fn a_pinned_map_of_another_size_is_refused_by_name() -> Result<()> {
    let pins = Pins::new();
    let ports = ports();
    let tables = hospital(&rule("pumps-to-servers"));
    let options = LoadOptions {
        shared: pins.shared(),
        ..LoadOptions::new(&tables, &ports)
    };
    drop(Generation::load(&options)?);
    let sizes = Sizes {
        flows: 1000,
        ..options.sizes
    };
    let error = Generation::load(&LoadOptions { sizes, ..options })
        .err()
        .expect("sizes differ");
    let text = error.to_string();
    assert!(
        text.contains("FLOWS: entries: pinned 131072, wanted 1000 (setting flows)"),
        "{text}"
    );
    assert!(text.contains("enforcer detach"), "{text}");
    Ok(())
}

#[test]
fn an_object_of_something_else_is_refused() {
    let tables = hospital(&rule("pumps-to-servers"));
    let ports = ports();
    let error = Generation::load(&LoadOptions {
        object: b"not an object",
        ..LoadOptions::new(&tables, &ports)
    });
    assert!(error.err().expect("garbage").to_string().contains("cargo xtask build"));
}

/// Pitfall 9: the pressure of a table was shown as 0.
#[test]
fn entries_of_a_flow_table_are_counted_whole() -> Result<()> {
    use enforcer_common::abi::{Flow, FlowKey};
    let tables = hospital(&rule("pumps-to-servers"));
    let ports = ports();
    let generation = Generation::load(&LoadOptions::new(&tables, &ports))?;
    let count = || -> Result<u64> {
        let map = generation.map("FLOWS")?;
        Ok(enforcer::kernel::sys::count_entries::<FlowKey, Flow>(map.fd().as_fd())?)
    };
    assert_eq!(count()?, 0);
    let mut flows: HashMap<MapData, FlowKey, [u8; 64]> = Map::LruHashMap(generation.map("FLOWS")?).try_into()?;
    // More than one batch.
    for number in 0..10_000 {
        let key = FlowKey {
            low: [0, 0, 0, number],
            family: 4,
            ..FlowKey::default()
        };
        flows.insert(key, [0; 64], 0)?;
    }
    assert_eq!(count()?, 10_000);
    Ok(())
}

/// Pitfall 19: "Argument list too long" says neither which table nor which limit.
#[test]
fn a_table_that_is_too_large_is_named() {
    let tables = hospital(&rule("pumps-to-servers"));
    let ports = ports();
    let sizes = Sizes {
        flows: u32::MAX,
        ..Sizes::default()
    };
    let error = Generation::load(&LoadOptions {
        sizes,
        ..LoadOptions::new(&tables, &ports)
    });
    let text = error.err().expect("no machine has this much memory").to_string();
    assert!(text.contains("`FLOWS`") && text.contains("lower its size"), "{text}");
}
