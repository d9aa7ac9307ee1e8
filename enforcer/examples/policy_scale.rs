//! Compiles a made-up policy of any size and prints how long each step took.
//!
//! ```text
//! cargo run --release --example policy_scale -- RULES DEVICES ZONES
//! ```

use std::fmt::Write;
use std::time::Instant;

use enforcer::policy::{compile, load_texts};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse());
    let mut next = |default| arguments.next().unwrap_or(Ok(default));
    let (rules, devices, zones) = (next(1_000)?, next(20_000)?, next(100)?);
    let text = policy(rules, devices, zones);
    let started = Instant::now();
    let policy = load_texts([("scale.yaml".into(), text)])?;
    let loaded = started.elapsed();
    let compiling = Instant::now();
    let tables = compile(&policy)?;
    let compiled = compiling.elapsed();
    println!("rules {rules}, devices {devices}, zones {zones}: read {loaded:.0?}, compiled {compiled:.0?}");
    for (name, entries) in tables.sizes() {
        println!("{entries:>10} {name}");
    }
    Ok(())
}

/// Devices spread evenly over zones of 4,096 addresses; rules between zones, and to and from single devices.
fn policy(rules: usize, devices: usize, zones: usize) -> String {
    let mut text = String::from("zones:\n");
    for zone in 0..zones {
        let (high, low) = (zone / 16, zone % 16 * 16);
        let _ = writeln!(text, "  zone-{zone}:");
        let _ = writeln!(text, "    vlan: {}", zone + 2);
        let _ = writeln!(text, "    subnets: [10.{high}.{low}.0/20, \"fd00:0:0:{zone:x}::/64\"]");
    }
    text.push_str("devices:\n");
    for device in 0..devices {
        let (zone, host) = (device % zones, device / zones + 10);
        let (high, low) = (zone / 16, zone % 16 * 16 + host / 256);
        let [_, a, b, c] = (device as u32).to_be_bytes();
        let _ = writeln!(
            text,
            "  device-{device}: {{zone: zone-{zone}, mac: \"02:00:00:{a:02x}:{b:02x}:{c:02x}\", \
             address: [10.{high}.{low}.{}, \"fd00:0:0:{zone:x}::{host:x}\"]}}",
            host % 256
        );
    }
    text.push_str("rules:\n");
    for rule in 0..rules {
        let zone = |salt: usize| format!("zone-{}", (rule * 31 + salt * 17) % zones);
        let device = |salt: usize| format!("device-{}", (rule * 7919 + salt * 104_729) % devices);
        let (from, to) = match rule % 5 {
            0 | 1 => (zone(1), zone(2)),
            2 => (device(1), zone(2)),
            3 => (zone(1), device(2)),
            _ => (device(1), device(2)),
        };
        let port = 1024 + rule % 1000 * 8;
        let action = if rule % 7 == 0 { "deny" } else { "allow" };
        let _ = writeln!(
            text,
            "  rule-{rule}: {{from: {from}, to: {to}, services: [tcp/{port}, udp/{port}-{}], action: {action}}}",
            port + 20
        );
    }
    text
}
