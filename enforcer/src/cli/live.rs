//! The program that runs, and beside it the engine in userspace with the same policy, ports and leases.

use std::fmt;

use enforcer_common::abi::{BindingKey, Event, NO_RULE, settings_flags};
use enforcer_common::verdict::{DropReason, Stage, Verdict};

use super::{Exit, plan};
use crate::config::Config;
use crate::controller::{Compiled, port_setups};
use crate::engine::Engine;
use crate::kernel::netdev::{self, NetDevice};
use crate::kernel::replica::Replica;
use crate::kernel::ticks::TickClock;
use crate::kernel::{LoadOptions, ports, privileges};
use crate::object::OBJECT;
use crate::offline::{Outcome, Rig};

/// What one of the two says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    verdict: &'static str,
    reason: &'static str,
    stage: &'static str,
    rule: Option<String>,
}

impl Answer {
    /// What the engine says.
    pub(super) fn of(outcome: &Outcome<'_>) -> Self {
        Self {
            verdict: outcome.verdict.name(),
            reason: outcome.reason.name(),
            stage: outcome.stage.name(),
            rule: outcome.rule.map(|rule| rule.name.to_owned()),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            verdict,
            reason,
            stage,
            rule,
        } = self;
        write!(formatter, "{verdict} ({reason}) in stage {stage}")?;
        rule.iter().try_for_each(|rule| write!(formatter, " by rule {rule}"))
    }
}

/// Both of them.
pub(super) struct Live {
    rig: Rig,
    replica: Replica,
    ifindex: u32,
}

impl Live {
    /// Copies what runs on a port, and sets the engine up alike.
    pub(super) fn open(config: &Config, port: Option<&str>) -> Result<Self, Exit> {
        privileges::check()?;
        let policy = plan::running(config)?;
        let compiled = Compiled::of_running(&policy)?;
        let devices = devices(config)?;
        let device = chosen(&devices, port)?;
        let program = device.xdp.map(|xdp| xdp.program).ok_or_else(|| {
            Exit::environment(format!(
                "no program runs on port {}: see `enforcer status`",
                device.name
            ))
        })?;
        let devices: Vec<&NetDevice> = devices.iter().collect();
        let setups = port_setups(config, &devices, &compiled);
        let options = LoadOptions {
            sizes: config.sizes,
            idle_seconds: config.idle_seconds,
            accesses: &config.management,
            flags: settings_flags::FLOWS,
            ..LoadOptions::new(compiled.tables(), &setups)
        };
        let replica = Replica::load(program, &options)?;
        let entries: Vec<_> = setups.iter().map(|setup| setup.entry(0)).collect();
        let table = ports::table(&entries).map_err(|error| Exit::environment(error.to_string()))?;
        let mut engine = Engine::new(compiled.tables().as_ref().clone(), table);
        engine.set_accesses(config.management.clone());
        bind(&mut engine, &replica)?;
        Ok(Self {
            rig: Rig::of_engine(policy, engine, device.index),
            replica,
            ifindex: device.index,
        })
    }

    /// The engine, with the policy in force.
    pub(super) fn rig(&self) -> &Rig {
        &self.rig
    }

    /// What the program says to a frame.
    pub(super) fn ask(&mut self, frame: &[u8]) -> Result<Answer, Exit> {
        let Event {
            verdict,
            reason,
            stage,
            rule,
            ..
        } = self.replica.ask(frame, self.ifindex)?;
        let rules = &self.rig.tables().names.rules;
        let named = rules.get(rule as usize).filter(|_| rule != NO_RULE);
        let unknown = "of an unknown number";
        let told = |name: Option<&'static str>| name.unwrap_or(unknown);
        Ok(Answer {
            verdict: told(
                Verdict::ALL
                    .into_iter()
                    .find(|known| *known as u8 == verdict)
                    .map(Verdict::name),
            ),
            reason: told(
                DropReason::ALL
                    .iter()
                    .find(|known| **known as u8 == reason)
                    .map(|known| known.name()),
            ),
            stage: told(
                Stage::ALL
                    .into_iter()
                    .find(|known| *known as u8 == stage)
                    .map(Stage::name),
            ),
            rule: named.map(|rule| rule.name.clone()),
        })
    }
}

/// The interfaces of the ports that are there.
fn devices(config: &Config) -> Result<Vec<NetDevice>, Exit> {
    let found = config.ports.iter().map(|port| netdev::by_name(&port.interface));
    let found: Vec<_> = found.collect::<Result<_, _>>()?;
    Ok(found.into_iter().flatten().collect())
}

fn chosen<'d>(devices: &'d [NetDevice], port: Option<&str>) -> Result<&'d NetDevice, Exit> {
    let found = match port {
        None => devices.first(),
        Some(name) => devices.iter().find(|device| device.name == name),
    };
    found.ok_or_else(|| {
        Exit::input(format!(
            "no such port is there: {}",
            port.unwrap_or("the configuration's first")
        ))
    })
}

/// Gives devices the addresses that they have got by DHCP, in the engine's numbers.
fn bind(engine: &mut Engine, replica: &Replica) -> Result<(), Exit> {
    let now = TickClock::measure(OBJECT)?.now();
    for (key, binding) in replica.bindings() {
        let tables = engine.tables();
        let mut lans = replica.lans().iter().zip(&tables.lans);
        let realm = lans.find(|(lan, _)| lan.realm == key.realm).map(|(_, own)| own.realm);
        let endpoint = replica
            .dynamic()
            .get(binding.device as usize)
            .filter(|endpoint| **endpoint != 0);
        let device =
            endpoint.and_then(|endpoint| tables.dynamic.iter().position(|device| device.endpoint == *endpoint));
        if let (Some(realm), Some(device), true) = (realm, device, binding.expires > now) {
            engine.bind(BindingKey { realm, ..*key }, device as u32, u64::MAX);
        }
    }
    Ok(())
}
