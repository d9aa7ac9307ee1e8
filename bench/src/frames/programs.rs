//! All programs, loaded.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use aya::programs::Xdp;
use enforcer::kernel::{Generation, LoadOptions, PortSetup};
use enforcer::object::OBJECT;
use enforcer::policy::TableSet;
use enforcer_common::abi::settings_flags;
use enforcer_tests::reference;

use super::bpfilter::Bpfilter;
use super::peers::XdpFilter;
use crate::policy::Size;
use crate::reference::Reference;
use crate::results::Outcome;

/// The interface that test runs come in by: loopback.
pub(super) const LOOPBACK: u32 = 1;

/// The programs that the others are compared with.
const REFERENCES: [&str; 6] = ["empty", "parse", "hash", "lru", "lpm", "lpm_twice"];

/// All programs, loaded.
pub(crate) struct Programs {
    pub(super) reference: Reference,
    pub(super) size: Size,
    pub(super) large: Pair,
    pub(super) small: Generation,
    pub(super) hospital: Generation,
    pub(super) monitored: Generation,
    pub(super) other: Option<Generation>,
    pub(super) filter: Option<XdpFilter>,
    pub(super) bpfilter: Option<Bpfilter>,
}

/// One policy, with flows and without.
pub(super) struct Pair {
    pub(super) stateful: Generation,
    pub(super) stateless: Generation,
}

impl Programs {
    /// Loads references and the shipped object with each policy; `quick` makes the large policy a tenth of its size.
    pub(crate) fn load(quick: bool, other: Option<&Path>) -> Result<Self> {
        let size = if quick {
            Size {
                rules: 1_000,
                devices: 10_000,
                ..Size::LARGE
            }
        } else {
            Size::LARGE
        };
        eprintln!(
            "bench: frames: loading policies, the largest of {} rules and {} devices",
            size.rules, size.devices
        );
        let reference = Reference::load(&[&REFERENCES[..], &["vary", "done"]].concat())?;
        let (source, destination) = (size.device(0).address, size.device(1).address);
        reference.fill(source.parse()?, destination.parse()?, super::cases::PORTS)?;
        let large = size.tables()?;
        let hospital = reference::tables()?;
        let other = other.map(|path| {
            let object = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            load(&object, &large, settings_flags::FLOWS, false)
        });
        Ok(Self {
            reference,
            size,
            small: load(OBJECT, &Size::SMALL.tables()?, settings_flags::FLOWS, false)?,
            monitored: load(OBJECT, &hospital, settings_flags::FLOWS, true)?,
            hospital: load(OBJECT, &hospital, settings_flags::FLOWS, false)?,
            other: other.transpose()?,
            large: Pair {
                stateful: load(OBJECT, &large, settings_flags::FLOWS, false)?,
                stateless: load(OBJECT, &large, 0, false)?,
            },
            filter: None,
            bpfilter: None,
        })
    }

    /// Other packet filters, where they are; bpfilter in a folder that it was unpacked in.
    pub(crate) fn peers(&mut self, bpfilter: Option<&Path>, outcome: &mut Outcome) {
        match XdpFilter::load() {
            Ok(filter) => self.filter = Some(filter),
            Err(error) => outcome.skip("xdp-filter", format!("{error:#}")),
        }
        match Bpfilter::load(bpfilter) {
            Ok(bpfilter) => self.bpfilter = Some(bpfilter),
            Err(error) => outcome.skip("bpfilter", format!("{error:#}")),
        }
    }

    pub(super) fn reference(&self, name: &str) -> Result<&Xdp> {
        self.reference.program(name)
    }
}

/// Loads a build of the enforcer with a policy, on a port that frames of test runs come in by.
pub(super) fn load(object: &[u8], tables: &TableSet, flags: u32, monitor: bool) -> Result<Generation> {
    let port = PortSetup {
        monitor,
        ..PortSetup::new("bench", LOOPBACK)
    };
    let ports = [port];
    let options = LoadOptions {
        object,
        flags,
        ..LoadOptions::new(tables, &ports)
    };
    Ok(Generation::load(&options)?)
}
