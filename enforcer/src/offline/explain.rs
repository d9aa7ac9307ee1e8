//! Why a frame meets with what it meets with.

use enforcer_common::abi::NO_LAN;
use enforcer_common::frame::Frame;
use enforcer_common::packet::Packet;
use enforcer_common::pipeline::Decision;
use enforcer_common::verdict::{DropReason, Stage, Verdict};
use serde::Serialize;

use super::misses::{self, Neighbours};
use super::{Outcome, Rig};
use crate::policy::TableSet;
use crate::words;

/// A decision, and all that led to it.
#[derive(Debug, Serialize)]
pub struct Explanation<'r> {
    /// What became of the frame.
    #[serde(flatten)]
    pub outcome: Outcome<'r>,
    /// The stages that it met, in order. Those behind the last were not asked.
    pub stages: Vec<StageReport>,
    /// The rules around the decision.
    #[serde(flatten)]
    pub neighbours: Neighbours<'r>,
}

/// What a stage found.
#[derive(Debug, Serialize)]
pub struct StageReport {
    /// The stage.
    pub stage: &'static str,
    /// `passed`, `permitted`, `refused`, or `noted` by a guard in monitor mode.
    pub result: &'static str,
    /// Why.
    pub text: String,
}

/// Decides a frame at `now`, and explains it.
pub fn explain<'r>(rig: &'r Rig, frame: &(impl Frame + ?Sized), now: u64) -> Explanation<'r> {
    let (decision, packet) = rig.decide(frame, now);
    let outcome = Outcome::new(&decision, &packet, rig.tables());
    let story = Story {
        decision: &decision,
        packet: &packet,
        tables: rig.tables(),
        outcome: &outcome,
    };
    Explanation {
        stages: story.stages(),
        neighbours: misses::neighbours(rig.policy(), rig.tables(), &decision, &packet),
        outcome,
    }
}

struct Story<'a> {
    decision: &'a Decision,
    packet: &'a Packet,
    tables: &'a TableSet,
    outcome: &'a Outcome<'a>,
}

impl Story<'_> {
    fn stages(&self) -> Vec<StageReport> {
        let settled = self.decision.stage;
        let before = Stage::ALL.into_iter().take_while(|stage| *stage != settled);
        let mut stages: Vec<_> = before.map(|stage| self.passed(stage)).collect();
        stages.push(self.settled(settled));
        // Flows and rules permit, budgets have the last word.
        if self.outcome.is_permitted() && matches!(settled, Stage::Flow | Stage::Policy) {
            stages.push(report(Stage::Budget, "passed", "no limit is used up".to_owned()));
        }
        stages
    }

    fn passed(&self, stage: Stage) -> StageReport {
        if Some(stage) == self.noted() {
            return report(stage, "noted", self.refusal());
        }
        let text = match stage {
            Stage::Parse => self.parsed(),
            Stage::Link => self.link(),
            Stage::Failsafe => "no management access".to_owned(),
            Stage::Source => format!("{} may send here", self.outcome.source),
            Stage::Flow => "no flow is known".to_owned(),
            Stage::Policy | Stage::Budget => self.rule("permits it"),
        };
        report(stage, "passed", text)
    }

    /// The guard whose finding makes a frame `would-drop` that the rules permit.
    fn noted(&self) -> Option<Stage> {
        let stage = match self.decision.reason {
            DropReason::SourceNotInVlan
            | DropReason::SourceMacMismatch
            | DropReason::DhcpServer
            | DropReason::RouterAdvertisement => Stage::Source,
            DropReason::ArpSpoof | DropReason::NeighbourSpoof => Stage::Link,
            _ => return None,
        };
        let later = stage as u8 != self.decision.stage as u8;
        (later && self.decision.verdict == Verdict::WouldDrop).then_some(stage)
    }

    fn settled(&self, stage: Stage) -> StageReport {
        if self.outcome.is_permitted() || self.noted().is_some() {
            let text = match stage {
                Stage::Flow => format!("it belongs to a known flow, and {}", self.rule("still permits that")),
                Stage::Link => "no matter of rules".to_owned(),
                Stage::Failsafe => "management access to the gateway".to_owned(),
                _ => self.rule("permits it"),
            };
            return report(stage, "permitted", text);
        }
        let monitored = match self.decision.verdict {
            Verdict::WouldDrop => "; in monitor mode, so it passes",
            _ => "",
        };
        report(stage, "refused", self.refusal() + monitored)
    }

    fn parsed(&self) -> String {
        let Outcome {
            service,
            tcp_flags,
            length,
            ..
        } = self.outcome;
        let flags = tcp_flags.as_deref().map(|flags| format!(" with flags {flags}"));
        format!("{service}{}, {length} octets", flags.unwrap_or_default())
    }

    fn link(&self) -> String {
        if self.decision.lan == NO_LAN {
            return "a link-local control protocol".to_owned();
        }
        let names = &self.tables.names;
        let zones = names.lans.get(usize::from(self.decision.lan)).map(|lan| &lan.zones);
        let zones = zones.into_iter().flatten();
        let zones: Vec<_> = zones
            .filter_map(|zone| names.zones.get(usize::from(*zone)))
            .map(String::as_str)
            .collect();
        format!("VLAN {} has {}", self.vlan(), zones.join(" and "))
    }

    /// The VLAN that the frame came by: of an untagged frame, the port's own.
    fn vlan(&self) -> String {
        let lan = self.tables.names.lans.get(usize::from(self.decision.lan));
        let vlan = lan.and_then(|lan| lan.vlan);
        vlan.map_or_else(|| "unknown".to_owned(), |vlan| vlan.to_string())
    }

    fn rule(&self, does: &str) -> String {
        match self.outcome.rule {
            Some(rule) => format!("rule {} {does}", rule.name),
            None => "no rule is needed".to_owned(),
        }
    }

    /// Why it is refused, and where it can be said, what the policy has instead.
    fn refusal(&self) -> String {
        let text = self.decision.reason.text().trim_end_matches('.');
        let endpoint = self.tables.endpoints.get(self.decision.source as usize);
        let source = &self.outcome.source;
        let detail = match (self.decision.reason, endpoint, source.address) {
            (DropReason::SourceNotInVlan, Some(endpoint), Some(address)) => {
                let lan = self.tables.names.lans.get(usize::from(endpoint.lan));
                let home = match lan.and_then(|lan| lan.vlan) {
                    Some(vlan) => format!("lives on VLAN {vlan}"),
                    None => "lives on no declared VLAN".to_owned(),
                };
                format!(": {address} {home}, and the frame came by VLAN {}", self.vlan())
            }
            (DropReason::SourceMacMismatch, Some(endpoint), _) => {
                let device = source.device.unwrap_or("the device");
                format!(
                    ": {device} has {}, and the frame came from {}",
                    words::mac(endpoint.mac),
                    source.mac
                )
            }
            (DropReason::DeniedByRule, ..) => {
                let rule = self.outcome.rule.map(|rule| format!(": {}", rule.name));
                rule.unwrap_or_default()
            }
            (DropReason::VlanUndeclared | DropReason::VlanNotAllowed, ..) => match self.packet.tags {
                0 => ": the frame has no tag".to_owned(),
                _ => format!(": {}", self.outcome.vlan.as_deref().unwrap_or_default()),
            },
            _ => String::new(),
        };
        format!("{text}{detail}")
    }
}

fn report(stage: Stage, result: &'static str, text: String) -> StageReport {
    StageReport {
        stage: stage.name(),
        result,
        text,
    }
}
