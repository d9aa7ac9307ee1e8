//! What it takes to bring a policy into force, and what the controller takes to keep it there.

use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use enforcer::kernel::{Generation, Sizes, netdev, sys};
use enforcer_tests::lab::crossing::Crossing;
use enforcer_tests::lab::{Enforcer, Namespace};

use super::{field, load, rounds};
use crate::policy::Size;
use crate::results::{Aim, Case, Outcome};
use crate::stats::Spread;

/// What it takes to bring a policy into force, without the controller.
pub(super) fn swaps(size: Size, quick: bool, outcome: &mut Outcome) -> Result<()> {
    eprintln!(
        "bench: scale: swaps of {} rules and {} devices",
        size.rules, size.devices
    );
    let namespace = Namespace::new("swap")?;
    namespace.ip("link add p0 type veth peer name g0\nlink set p0 up")?;
    let text = size.text();
    let (mut compile, mut swap, mut replace) = (Vec::new(), Vec::new(), Vec::new());
    let mut before: Option<Generation> = None;
    let mut link = None;
    for _ in 0..rounds(quick) {
        let started = Instant::now();
        let tables = crate::policy::compiled(text.clone())?;
        compile.push(started.elapsed().as_secs_f64());
        let started = Instant::now();
        let next = load(&tables, &Sizes::default())?;
        let new = next.program_fd()?;
        let replacing = Instant::now();
        match (&link, &before) {
            (Some(link), Some(before)) => {
                let link: &OwnedFd = link;
                sys::link_update(link.as_fd(), new.as_fd(), before.program_fd()?.as_fd())?;
                swap.push(started.elapsed().as_secs_f64());
                replace.push(replacing.elapsed().as_secs_f64() * 1e3);
            }
            _ => {
                link = Some(namespace.enter(|| -> Result<_> {
                    let index = netdev::by_name("p0")?.context("no interface p0")?.index;
                    Ok(sys::link_create(new.as_fd(), index, 1 << 2)?)
                })?);
            }
        }
        before = Some(next);
    }
    let named = format!("{} rules and {} devices", size.rules, size.devices);
    let group = "a policy comes into force";
    outcome.cases.extend([
        Case::new(group, &format!("read and compile {named}"), "s", &compile),
        Case::new(group, "load beside the running one, read back, swap", "s", &swap),
        Case::new("the swap itself", "replace the program of a link", "ms", &replace),
    ]);
    outcome.aims.extend([
        Aim::at_most(&format!("read and compile {named}"), 2.0, "s", Spread::of(&compile)),
        Aim::at_most("swap after it", 1.0, "s", Spread::of(&swap)),
    ]);
    Ok(())
}

/// The controller itself with a policy: start, memory, scrape.
pub(super) fn controller(largest: Size, outcome: &mut Outcome) -> Result<()> {
    for size in [Size::SMALL, largest] {
        let name = format!("{} rules and {} devices", size.rules, size.devices);
        eprintln!("bench: scale: controller, {name}");
        let crossing = Crossing::build()?;
        crossing.set_policy(&size.text())?;
        let started = Instant::now();
        let mut enforcer = Enforcer::start(crossing.gateway.inside(), &Crossing::config())?;
        let start = started.elapsed().as_secs_f64();
        let process = enforcer.process().id();
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let kib = |name| field(&status, name).map_or(0.0, |kib| f64::from(kib as u32));
        let mut scrapes = Vec::new();
        let mut octets = 0;
        for _ in 0..7 {
            let started = Instant::now();
            octets = enforcer.get("/metrics")?.body.len();
            scrapes.push(started.elapsed().as_secs_f64() * 1e3);
            std::thread::sleep(Duration::from_millis(20));
        }
        let started = Instant::now();
        enforcer.reload()?;
        outcome.cases.push(
            Case::new("controller, scrape", &name, "ms", &scrapes)
                .figure("page, KiB", f64::from(octets as u32) / 1024.0)
                .figure("start, s", start)
                .figure("reload, s", started.elapsed().as_secs_f64())
                .figure("resident, MiB", kib("VmRSS") / 1024.0)
                .figure("resident at most, MiB", kib("VmHWM") / 1024.0),
        );
    }
    Ok(())
}
