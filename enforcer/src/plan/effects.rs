//! What becomes of packets: now, and after rules have ended.

use std::collections::HashMap;
use std::hash::Hash;

use enforcer_common::abi::rule_flags;

use super::side::Side;
use crate::policy::valid::{Limit, Scope};

/// For good.
pub(super) const EVER: u64 = u64::MAX;

/// What becomes of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// They pass.
    Allowed,
    /// They are refused in words: they are counted as `would-drop`, and pass.
    Monitored,
    /// They are dropped.
    Denied,
}

/// On what terms packets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Terms {
    pub(super) limit: Limit,
    pub(super) scope: Scope,
    pub(super) alarm: bool,
    pub(super) log: bool,
    /// What the limit refuses passes.
    pub(super) watched: bool,
}

/// What becomes of packets up to a time, in nanoseconds of Unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Span {
    pub(super) until: u64,
    pub(super) fate: Fate,
    /// The default unless they pass.
    pub(super) terms: Terms,
}

/// One span after the other; the last is for good.
pub(super) type Effect = Vec<Span>;

/// What a rule says.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Deed {
    until: u64,
    allow: bool,
    /// What it refuses passes.
    monitor: bool,
    terms: Terms,
}

/// What stands between a packet and its rule.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Gate {
    /// It is refused, whatever the rules say.
    Closed { monitored: bool },
    /// The rules decide.
    Open {
        /// What they refuse passes.
        monitored: bool,
        /// A guard in monitor mode finds it wrong.
        noted: bool,
    },
}

/// Numbers of things, each once.
pub(super) struct Numbers<T> {
    pub(super) list: Vec<T>,
    known: HashMap<T, u32>,
}

impl<T: Clone + Eq + Hash> Numbers<T> {
    pub(super) fn new() -> Self {
        Self {
            list: Vec::new(),
            known: HashMap::new(),
        }
    }

    pub(super) fn number(&mut self, thing: &T) -> u32 {
        if let Some(&known) = self.known.get(thing) {
            return known;
        }
        let next = self.list.len() as u32;
        self.list.push(thing.clone());
        self.known.insert(thing.clone(), next);
        next
    }
}

/// The effects of the records of both policies.
pub(super) struct Effects {
    /// By side and record: the number of the chain.
    chains: [Vec<u32>; 2],
    deeds: Numbers<Vec<Deed>>,
    pub(super) list: Numbers<Effect>,
    gated: HashMap<(u32, Gate), u32>,
}

impl Effects {
    pub(super) fn new(sides: [&Side<'_>; 2]) -> Self {
        let mut deeds = Numbers::new();
        let chains = sides.map(|side| {
            let records = 0..side.tables().rules.len() as u32;
            records.map(|record| deeds.number(&chain(side, record))).collect()
        });
        Self {
            chains,
            deeds,
            list: Numbers::new(),
            gated: HashMap::new(),
        }
    }

    /// The number of what the rules of a record say: equal ones are equal before and after.
    pub(super) fn chain(&self, side: usize, record: u32) -> u32 {
        self.chains[side][record as usize]
    }

    /// The effect of a chain behind a gate.
    pub(super) fn of(&mut self, chain: u32, gate: Gate) -> u32 {
        // A closed gate makes all chains alike.
        let key = match gate {
            Gate::Closed { .. } => (0, gate),
            Gate::Open { .. } => (chain, gate),
        };
        if let Some(&known) = self.gated.get(&key) {
            return known;
        }
        let effect = behind(&self.deeds.list[chain as usize], gate);
        let number = self.list.number(&effect);
        self.gated.insert(key, number);
        number
    }
}

/// What a record and those that follow it say, one after the other.
fn chain(side: &Side<'_>, first: u32) -> Vec<Deed> {
    let mut deeds = Vec::new();
    let mut record = first;
    loop {
        let rule = side.rule(record);
        let allow = rule.flags & rule_flags::ALLOW != 0;
        let until = if rule.deadline == 0 { EVER } else { rule.deadline };
        deeds.push(Deed {
            until,
            allow,
            monitor: !allow && rule.flags & rule_flags::MONITOR != 0,
            terms: if allow { terms(side, record) } else { Terms::default() },
        });
        if until == EVER {
            return deeds;
        }
        record = rule.otherwise;
    }
}

/// On what terms the rule of a record lets packets pass.
pub(super) fn terms(side: &Side<'_>, record: u32) -> Terms {
    let name = &side.tables().names.rules[record as usize].name;
    let found = side.policy.rules.binary_search_by(|rule| rule.name.cmp(name));
    let Some(rule) = found.ok().map(|number| &side.policy.rules[number]) else {
        return Terms::default();
    };
    let limited = rule.limit != Limit::default();
    Terms {
        limit: rule.limit,
        scope: if limited { rule.scope } else { Scope::default() },
        alarm: rule.alarm,
        log: rule.log_new,
        watched: limited && rule.monitor,
    }
}

fn behind(deeds: &[Deed], gate: Gate) -> Effect {
    let (monitored, noted) = match gate {
        Gate::Closed { monitored } => {
            let fate = if monitored { Fate::Monitored } else { Fate::Denied };
            let terms = Terms::default();
            return vec![Span {
                until: EVER,
                fate,
                terms,
            }];
        }
        Gate::Open { monitored, noted } => (monitored, noted),
    };
    let mut effect = Effect::new();
    for deed in deeds {
        let fate = match deed.allow {
            true if noted => Fate::Monitored,
            true => Fate::Allowed,
            false if monitored || deed.monitor => Fate::Monitored,
            false => Fate::Denied,
        };
        let span = Span {
            until: deed.until,
            fate,
            terms: if fate == Fate::Allowed {
                deed.terms
            } else {
                Terms::default()
            },
        };
        match effect.last_mut() {
            Some(last) if (last.fate, last.terms) == (span.fate, span.terms) => last.until = span.until,
            _ => effect.push(span),
        }
    }
    effect
}
