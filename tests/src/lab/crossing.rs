//! A gateway between two trunks with numbered streams in both directions, for tests of what happens meanwhile.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::packet::{Builder, packet};

use super::stream::{Flowing, Report};
use super::{Config, Gateway, Stream};

/// The gateway, its trunks `east` and `west`, and a policy in its private /run.
#[derive(Debug)]
pub struct Crossing {
    /// The gateway.
    pub gateway: Gateway,
}

/// Two streams, one on each trunk.
#[derive(Debug)]
pub struct Traffic {
    east: Flowing,
    west: Flowing,
}

impl Crossing {
    /// The policy file.
    pub const POLICY: &'static str = "/run/policy.yaml";
    /// The rule that permits the stream of trunk `east`.
    pub const EAST_RULE: &'static str = "pumps-to-servers";
    /// The rule that permits the stream of trunk `west`.
    pub const WEST_RULE: &'static str = "servers-to-pumps";

    /// A gateway whose policy is variant 0.
    pub fn build() -> Result<Self> {
        let crossing = Self {
            gateway: Gateway::build(&["east", "west"])?,
        };
        crossing.set_policy(&policy(0))?;
        Ok(crossing)
    }

    /// The configuration that enforces the policy on both trunks.
    pub fn config() -> Config {
        Config::new(&["east", "west"], Self::POLICY)
    }

    /// Replaces the policy file, in one step.
    pub fn set_policy(&self, text: &str) -> Result<()> {
        let next = Path::new(Self::POLICY).with_extension("next");
        let write = || fs::write(&next, text).and_then(|()| fs::rename(&next, Self::POLICY));
        self.gateway.inside().enter(write).context("cannot write the policy")
    }

    /// Starts both streams.
    pub fn start_traffic(&self) -> Result<Traffic> {
        let stream = |trunk: &str, permitted: Builder, refused: Builder| -> Result<Stream> {
            let (front, behind) = (self.gateway.in_front_of(trunk)?, self.gateway.behind(trunk)?);
            Ok(Stream {
                front,
                behind,
                permitted,
                refused,
            })
        };
        // Two flows: the answers to a flow count for the rule that permitted its first frame.
        let pumps = packet().vlan(110).ip("10.10.110.21", "10.20.5.10").udp(40_001, 3613);
        let servers = packet().vlan(205).ip("10.20.5.10", "10.10.110.21").udp(40_002, 3613);
        let guests = packet().vlan(666).ip("10.66.0.42", "10.10.110.21").udp(3613, 3613);
        let liars = packet().vlan(666).ip("10.10.110.21", "10.20.5.10").udp(3613, 3613);
        let (east, west) = (stream("east", pumps, guests)?, stream("west", servers, liars)?);
        Ok(Traffic {
            east: east.start(),
            west: west.start(),
        })
    }
}

impl Traffic {
    /// Stops both streams, whatever became of them.
    pub fn finish(self) -> Result<[Report; 2]> {
        Ok([self.east.stop()?, self.west.stop()?])
    }

    /// Stops both streams, and holds them to their promise: at least so many frames each way, nothing lost, nothing
    /// doubled, nothing wrongly passed.
    pub fn stop(self, at_least: u64) -> Result<[Report; 2]> {
        let reports = self.finish()?;
        for (trunk, report) in ["east", "west"].iter().zip(&reports) {
            ensure!(
                report.sent >= at_least,
                "too few frames on {trunk} to tell anything: {report:?}"
            );
            ensure!(report.lost == 0, "frames were lost on {trunk}: {report:?}");
            ensure!(report.odd == 0, "frames were doubled or changed on {trunk}: {report:?}");
            ensure!(report.leaked == 0, "refused frames passed on {trunk}: {report:?}");
        }
        Ok(reports)
    }
}

/// A policy under which the streams fare alike, whatever the variant; the rest of it differs.
pub fn policy(variant: u16) -> String {
    let port = 10_000 + variant;
    format!(
        "zones:
  pumps: {{vlan: 110, subnets: [10.10.110.0/24], mode: enforce}}
  servers: {{vlan: 205, subnets: [10.20.5.0/24], mode: enforce}}
  guests: {{vlan: 666, subnets: [10.66.0.0/16], mode: enforce}}
services:
  pump-server: udp/3613
  variant: tcp/{port}
rules:
  pumps-to-servers: {{from: pumps, to: servers, services: pump-server, action: allow}}
  servers-to-pumps: {{from: servers, to: pumps, services: pump-server, action: allow}}
  variant-{variant}: {{from: guests, to: servers, services: variant, action: allow}}
"
    )
}
