//! The rule that settles a pair and a service: every rule is asked, and the best one that matches wins.

use std::cmp::Reverse;

use enforcer::policy::DEFAULT_RULE_NAME;
use enforcer::policy::valid::{Action, Rule, Selector, ServiceMatch, ValidPolicy};
use enforcer_common::verdict::{DropReason, Stage};
use ipnetwork::IpNetwork;

use super::place::{Resident, holds, is_link_scoped};

/// What is asked for: a protocol, and its port (or ICMP type and code), if it has any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) protocol: u8,
    pub(super) port: u16,
}

/// What the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ruling<'p> {
    /// The name of the rule, or of the default.
    pub(super) rule: &'p str,
    /// [`DropReason::None`] when permitted.
    pub(super) refusal: DropReason,
    /// The frame opens a flow that is to be logged.
    pub(super) log: bool,
    /// The stage that settled it.
    pub(super) stage: Stage,
    /// The frame answers in a session that the other end opened.
    pub(super) answers: bool,
    /// The rule is in monitor mode, and it is the rule that refuses.
    pub(super) monitored: bool,
    /// The question; none, where the rules were not asked.
    pub(super) question: Option<Question>,
}

/// Who wants what of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    source: Resident,
    destination: Resident,
    wanted: Wanted,
}

impl<'p> Ruling<'p> {
    pub(super) fn permits(&self) -> bool {
        self.refusal == DropReason::None
    }

    /// Refused at a stage, for something else than the rule.
    pub(super) fn refused(self, refusal: DropReason, stage: Stage) -> Self {
        Self {
            refusal,
            stage,
            monitored: false,
            ..self
        }
    }

    /// The same, as long as its rule has not ended; then what the rules say instead.
    pub(super) fn still(self, policy: &'p ValidPolicy, now: u64) -> Self {
        let Some(Question {
            source,
            destination,
            wanted,
        }) = self.question
        else {
            return self;
        };
        let instead = ruling(policy, &source, &destination, wanted, now);
        if instead.rule == self.rule { self } else { instead }
    }

    /// The same, settled by what is known of a flow or a first fragment.
    pub(super) fn known(self) -> Self {
        Self {
            stage: Stage::Flow,
            log: false,
            ..self
        }
    }
}

/// Precedence: a higher priority, then deny, then the closer sender, the closer receiver, the closer service, then the
/// name that sorts first.
type Rank<'p> = (i32, bool, u16, u16, u8, Reverse<&'p str>);

/// The rule for a service from one resident to another, among those that have not ended.
pub(super) fn ruling<'p>(
    policy: &'p ValidPolicy,
    source: &Resident,
    destination: &Resident,
    wanted: Wanted,
    now: u64,
) -> Ruling<'p> {
    let rules = policy.rules.iter();
    let rules = rules.filter(|rule| rule.expires.is_none_or(|end| now < end));
    let ranked = rules.filter_map(|rule| {
        let sender = rule.from.iter().filter_map(|one| closeness(one, source)).max()?;
        let receiver = rule.to.iter().filter_map(|one| closeness(one, destination)).max()?;
        let service = rule.services.iter().filter_map(|one| nearness(*one, wanted)).max()?;
        let denies = rule.action == Action::Deny;
        let rank: Rank<'_> = (rule.priority, denies, sender, receiver, service, Reverse(&rule.name));
        Some((rank, rule))
    });
    let best = ranked.max_by(|(a, _), (b, _)| a.cmp(b)).map(|(_, rule)| rule);
    Ruling {
        question: Some(Question {
            source: *source,
            destination: *destination,
            wanted,
        }),
        ..best.map_or(DEFAULT, of)
    }
}

/// Nothing matches.
pub(super) const DEFAULT: Ruling<'static> = Ruling {
    rule: DEFAULT_RULE_NAME,
    refusal: DropReason::DefaultDeny,
    log: false,
    stage: Stage::Policy,
    answers: false,
    monitored: false,
    question: None,
};

fn of(rule: &Rule) -> Ruling<'_> {
    Ruling {
        rule: &rule.name,
        refusal: match rule.action {
            Action::Allow => DropReason::None,
            Action::Deny => DropReason::DeniedByRule,
        },
        log: rule.log_new,
        stage: Stage::Policy,
        answers: false,
        monitored: rule.monitor,
        question: None,
    }
}

/// How closely a selector names somebody: any, its zone, a prefix (the longer the closer), the device; `None` when
/// it does not.
fn closeness(selector: &Selector, whom: &Resident) -> Option<u16> {
    match *selector {
        Selector::Any => Some(0),
        Selector::Zone(zone) => (zone == whom.zone).then_some(1),
        Selector::Prefix(prefix) => {
            let reaches = !is_link_scoped(whom.address) || is_all_link_scoped(prefix);
            (reaches && holds(prefix, whom.address)).then(|| 2 + u16::from(prefix.prefix()))
        }
        Selector::Device(device) => (Some(device) == whom.device).then_some(1000),
    }
}

/// Whether a prefix holds nothing but link-scoped addresses of one kind: its first and its last are.
fn is_all_link_scoped(prefix: IpNetwork) -> bool {
    let kinds = [
        "0.0.0.0/32",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "255.255.255.255/32",
        "::/128",
        "fe80::/10",
        "ff00::/8",
    ];
    let mut kinds = kinds.iter().filter_map(|kind| kind.parse::<IpNetwork>().ok());
    kinds.any(|kind| holds(kind, prefix.network()) && holds(kind, prefix.broadcast()))
}

/// How closely a rule names a service: `any`, a range or a whole protocol, one port.
fn nearness(service: ServiceMatch, wanted: Wanted) -> Option<u8> {
    match service {
        ServiceMatch::Any => Some(0),
        ServiceMatch::Protocol(protocol) => (protocol == wanted.protocol).then_some(1),
        ServiceMatch::Ports { protocol, first, last } => {
            let matches = protocol == wanted.protocol && (first..=last).contains(&wanted.port);
            matches.then_some(if first == last { 2 } else { 1 })
        }
    }
}
