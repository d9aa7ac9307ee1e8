//! Addresses learnt from DHCP, between the controller's record and the kernel's table: through swaps, restarts and reboots. No
//! frame is sent. Wants to be root.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use aya::maps::{HashMap, Map};
use enforcer::bindings::{Bindings, Ignored, Inventory};
use enforcer::kernel::ticks::TickClock;
use enforcer::kernel::{Generation, LoadOptions, PortSetup, SharedMaps, Sizes, SlotNames};
use enforcer::object::OBJECT;
use enforcer::policy::{compile, load_texts};
use enforcer_common::abi::{Binding, BindingKey};
use tempfile::TempDir;

const SECOND: u64 = 1_000_000_000;

/// A bpffs and a state directory of a test's own; the bpffs is unmounted at the end.
struct Gateway {
    pins: TempDir,
    state: TempDir,
    sizes: Sizes,
    clock: TickClock,
}

impl Gateway {
    fn new() -> Result<Self> {
        let pins = TempDir::new()?;
        rustix::mount::mount("bpf", pins.path(), "bpf", rustix::mount::MountFlags::empty(), None)?;
        Ok(Self {
            pins,
            state: TempDir::new()?,
            sizes: Sizes::default(),
            clock: TickClock::measure(OBJECT)?,
        })
    }

    /// Loads a policy with these devices, beside those of `running`, and has the bindings follow.
    fn load(&self, devices: &[&str], running: Option<&SlotNames>, bindings: &Bindings) -> Result<Generation> {
        let lines = devices.iter().map(|name| {
            let last = name.bytes().last().unwrap_or_default();
            format!(
                "  {name}: {{zone: pumps, mac: '{}', dhcp: true}}\n",
                enforcer::words::mac(mac(last))
            )
        });
        let text = format!(
            "zones:\n  pumps: {{vlan: 110, subnets: [10.0.0.0/24]}}\n  others: {{vlan: 20, subnets: [10.1.0.0/24], realm: a-realm}}\n\
             devices:\n  server: {{zone: pumps, address: 10.0.0.1, roles: [dhcp-server]}}\n{}",
            lines.collect::<String>()
        );
        let policy = load_texts([("policy.yaml".into(), text)]).unwrap_or_else(|errors| panic!("{errors}"));
        let tables = compile(&policy).unwrap_or_else(|errors| panic!("{errors}"));
        let ports = [PortSetup::new("test0", 1)];
        let generation = Generation::load(&LoadOptions {
            shared: SharedMaps::Pinned(self.path().to_owned()),
            sizes: self.sizes,
            running,
            ..LoadOptions::new(&tables, &ports)
        })?;
        bindings.follow(&generation, Arc::new(Inventory::new(&policy, &tables)))?;
        Ok(generation)
    }

    fn path(&self) -> &Path {
        self.pins.path()
    }

    fn bindings(&self) -> Bindings {
        Bindings::new(self.state.path())
    }

    /// The server gives 10.0.0.`last` to a device.
    fn acknowledge(&self, bindings: &Bindings, device: u8, last: u8, seconds: u32) {
        let mut octets = vec![0; 240];
        octets[..3].copy_from_slice(&[2, 1, 6]);
        octets[16..20].copy_from_slice(&[10, 0, 0, last]);
        octets[28..34].copy_from_slice(&mac(device));
        octets[236..].copy_from_slice(&[99, 130, 83, 99]);
        octets.extend([53, 1, 5, 51, 4]);
        octets.extend(seconds.to_be_bytes());
        let now = self.clock.now();
        bindings.hear(&octets, Some("default"), now, now);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let path: PathBuf = self.path().to_path_buf();
        let _ = rustix::mount::unmount(path, rustix::mount::UnmountFlags::DETACH);
    }
}

fn mac(last: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, last]
}

/// The kernel's table: last octets of addresses, and the device that each number stands for.
fn table(generation: &Generation) -> Result<Vec<(u8, String)>> {
    let table: HashMap<_, BindingKey, Binding> = HashMap::try_from(Map::HashMap(generation.map("BINDINGS")?))?;
    let slots = generation.slots();
    let mut rows = Vec::new();
    for entry in &table {
        let (key, binding) = entry?;
        let realm = slots.realms.iter().find(|(_, slot)| *slot == u32::from(key.realm));
        assert_eq!(realm.map(|(name, _)| name.as_str()), Some("default"));
        assert_eq!((key.family, key.address[3] >> 8), (4, 0x0a_0000));
        let device = slots.devices.iter().find(|(_, slot)| *slot == binding.device);
        let device = device.map_or("nobody", |(name, _)| name.as_str());
        rows.push((key.address[3] as u8, device.to_owned()));
    }
    rows.sort();
    Ok(rows)
}

fn rows<const N: usize>(rows: [(u8, &str); N]) -> Vec<(u8, String)> {
    rows.map(|(last, device)| (last, device.to_owned())).into()
}

#[test]
fn the_kernels_table_follows_every_lease() -> Result<()> {
    let gateway = Gateway::new()?;
    let bindings = gateway.bindings();
    let generation = gateway.load(&["a", "b"], None, &bindings)?;
    gateway.acknowledge(&bindings, b'a', 30, 60);
    gateway.acknowledge(&bindings, b'b', 31, 60);
    assert_eq!(table(&generation)?, rows([(30, "a"), (31, "b")]));
    // Another address; the address of another; the other's own.
    gateway.acknowledge(&bindings, b'a', 32, 60);
    assert_eq!(table(&generation)?, rows([(31, "b"), (32, "a")]));
    gateway.acknowledge(&bindings, b'a', 31, 60);
    assert_eq!(table(&generation)?, rows([(31, "a")]));
    gateway.acknowledge(&bindings, b'b', 32, 60);
    assert_eq!(table(&generation)?, rows([(31, "a"), (32, "b")]));
    // What is ignored changes nothing.
    gateway.acknowledge(&bindings, b'b', 1, 60);
    gateway.acknowledge(&bindings, b'x', 33, 60);
    assert_eq!(table(&generation)?, rows([(31, "a"), (32, "b")]));
    Ok(())
}

#[test]
fn a_swap_keeps_the_leases_of_devices_that_stay() -> Result<()> {
    let gateway = Gateway::new()?;
    let bindings = gateway.bindings();
    let first = gateway.load(&["m", "n"], None, &bindings)?;
    gateway.acknowledge(&bindings, b'm', 30, 60);
    gateway.acknowledge(&bindings, b'n', 31, 60);
    // A device before the others in the alphabet; one is gone.
    let second = gateway.load(&["a", "n"], Some(first.slots()), &bindings)?;
    assert_eq!(table(&second)?, rows([(31, "n")]));
    assert_eq!(bindings.held("m"), None);
    gateway.acknowledge(&bindings, b'a', 30, 60);
    assert_eq!(table(&second)?, rows([(30, "a"), (31, "n")]));
    Ok(())
}

#[test]
fn the_next_controller_adopts_what_is_in_the_kernel_by_names() -> Result<()> {
    let gateway = Gateway::new()?;
    let bindings = gateway.bindings();
    let first = gateway.load(&["m", "n", "o"], None, &bindings)?;
    gateway.acknowledge(&bindings, b'm', 30, 60);
    gateway.acknowledge(&bindings, b'n', 31, u32::MAX);
    gateway.acknowledge(&bindings, b'o', 32, 60);
    let held = ["m", "n"].map(|device| bindings.held(device));
    drop((first, bindings));
    // Nothing was written to the disk.
    let next = gateway.bindings();
    next.adopt(gateway.path());
    let generation = gateway.load(&["a", "m", "n"], None, &next)?;
    assert_eq!(["m", "n"].map(|device| next.held(device)), held);
    assert_eq!(table(&generation)?, rows([(30, "m"), (31, "n")]));
    Ok(())
}

#[test]
fn after_a_reboot_the_file_is_believed_and_the_kernel_rather_than_the_file() -> Result<()> {
    let gateway = Gateway::new()?;
    let bindings = gateway.bindings();
    let first = gateway.load(&["a", "b"], None, &bindings)?;
    gateway.acknowledge(&bindings, b'a', 30, 60);
    gateway.acknowledge(&bindings, b'b', 31, 60);
    bindings.sweep();
    // Newer than the file, in the kernel only.
    let acknowledged = gateway.clock.now();
    gateway.acknowledge(&bindings, b'a', 31, 60);
    let granted = bindings.held("a").map(|held| held.expires);
    assert!(granted >= Some(acknowledged + 60 * SECOND));
    drop((first, bindings));

    let adopted = gateway.bindings();
    adopted.adopt(gateway.path());
    let generation = gateway.load(&["a", "b"], None, &adopted)?;
    assert_eq!(table(&generation)?, rows([(31, "a")]));
    adopted.sweep();
    drop(generation);

    let elsewhere = Gateway::new()?;
    let rebooted = gateway.bindings();
    rebooted.adopt(elsewhere.path());
    let generation = elsewhere.load(&["a", "b"], None, &rebooted)?;
    assert_eq!(table(&generation)?, rows([(31, "a")]));
    // The file knows whole seconds.
    let ends = rebooted.held("a").map(|held| held.expires);
    let off = granted.zip(ends).map(|(granted, ends)| granted.abs_diff(ends));
    assert!(off.is_some_and(|off| off < 2 * SECOND), "{off:?}");
    Ok(())
}

#[test]
fn a_full_table_is_counted_and_takes_the_next_when_there_is_room() -> Result<()> {
    let mut gateway = Gateway::new()?;
    gateway.sizes.bindings = 1;
    let bindings = gateway.bindings();
    let generation = gateway.load(&["a", "b"], None, &bindings)?;
    gateway.acknowledge(&bindings, b'a', 30, 60);
    gateway.acknowledge(&bindings, b'b', 31, 60);
    let full = |bindings: &Bindings| {
        let count = bindings.ignored().find(|(reason, _)| *reason == Ignored::TableFull);
        count.map(|(_, count)| count)
    };
    assert_eq!((full(&bindings), bindings.held("b")), (Some(1), None));
    assert_eq!(table(&generation)?, rows([(30, "a")]));
    // The one that has an entry can move, and lose it.
    gateway.acknowledge(&bindings, b'a', 32, 60);
    assert_eq!(table(&generation)?, rows([(32, "a")]));
    gateway.acknowledge(&bindings, b'b', 32, 60);
    assert_eq!(table(&generation)?, rows([(32, "b")]));
    assert_eq!((full(&bindings), bindings.count_held()), (Some(1), 1));
    Ok(())
}
