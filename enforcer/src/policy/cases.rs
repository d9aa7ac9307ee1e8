//! `tests:` of a policy: frames, and what has to become of them.
//!
//! The words of a frame are the same on the command line: `enforcer explain` reads them by [`Probe::from_command_line`].

use std::{fmt, time::Duration};

use enforcer_common::packet::protocol;
use enforcer_common::verdict::{DropReason, Stage};

use super::{
    fields::{Complaint, Fields, Known, Spanned, nearest, scalar, text},
    grammar,
    probe::{Probe, Words},
    valid::ValidPolicy,
    yaml::{Node, Value},
};
use crate::diagnostics::{Diagnostic, Location, quote};

const CASE: Known = Known {
    what: "a test",
    keys: &["name", "send", "steps", "expect", "comment", "owner", "ticket"],
    later: &[],
};
const STEP: Known = Known {
    what: "a step",
    keys: &["send", "reply", "after", "repeat", "expect"],
    later: &[],
};
const EXPECT: Known = Known {
    what: "`expect`",
    keys: &["verdict", "rule", "reason", "stage"],
    later: &[],
};

/// Frames that one step may stand for.
const REPEAT: u32 = 1_000_000;

/// A test of the policy: frames that come one after the other, to an enforcer that has seen none before.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it shows; free text.
    pub name: String,
    /// At least one.
    pub steps: Vec<Step>,
    /// Where the name stands.
    pub at: Location,
}

/// A frame, and what has to become of it.
#[derive(Debug, Clone)]
pub struct Step {
    /// The frame.
    pub probe: Probe,
    /// How long after the step before.
    pub after: Duration,
    /// How many of it come at once; `expect` is about the last. At least 1.
    pub repeat: u32,
    /// What has to become of it.
    pub expect: Expect,
    /// Where the step stands.
    pub at: Location,
}

/// What has to become of a frame; what is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expect {
    /// The verdict.
    pub verdict: Option<Expected>,
    /// The name of the rule that decides; a rule of the policy, or `default-deny`.
    pub rule: Option<String>,
    /// The reason of a refusal.
    pub reason: Option<DropReason>,
    /// The stage that settles it.
    pub stage: Option<Stage>,
}

/// A verdict that a test can ask for. The first two do not depend on the modes of zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Permitted: `pass` or `redirect`.
    Allow,
    /// Refused: `drop` or `would-drop`.
    Deny,
    /// Refused, and gone.
    Drop,
    /// Refused, but in monitor mode.
    WouldDrop,
}

impl Expected {
    /// Name and value of each.
    pub const WORDS: [(&str, Self); 4] = [
        ("allow", Self::Allow),
        ("deny", Self::Deny),
        ("drop", Self::Drop),
        ("would-drop", Self::WouldDrop),
    ];

    /// The word in the policy.
    pub fn name(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(_, value)| *value == self)
            .map_or("", |(word, _)| word)
    }
}

/// A test as it is written, names not looked up.
#[derive(Debug)]
pub(super) struct CaseText {
    name: Spanned<String>,
    steps: Vec<StepText>,
}

#[derive(Debug)]
struct StepText {
    frame: FrameText,
    after: Duration,
    repeat: u32,
    expect: Expect,
    rule_at: Option<Location>,
    at: Location,
}

/// A frame as it is written.
#[derive(Debug)]
struct FrameText {
    /// It answers the last one that was sent.
    reply: bool,
    words: Words,
    at: Location,
}

/// Reads the list of tests.
pub(super) fn read(node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> Vec<CaseText> {
    let nodes = match &node.value {
        Value::List(nodes) => nodes.as_slice(),
        Value::Null => &[],
        _ => {
            let finding = Diagnostic::at(node.at, "`tests` must be a list");
            findings.push(finding.help("write each test as `- name: …`"));
            &[]
        }
    };
    nodes.iter().filter_map(|node| case(node, findings)).collect()
}

fn case(node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> Option<CaseText> {
    let fields = Fields::read(node, node.at, &CASE, findings);
    fields.free_text(findings);
    let name = fields.require("name", "a pump posts to its gateway", findings)?;
    let name = scalar(name, |text| Ok(text.to_owned()), findings)?;
    let steps = match (fields.get("send"), fields.get("steps")) {
        (Some(_), None) => {
            fields.require("expect", "{verdict: allow, rule: pumps-to-gateway}", findings);
            step_of(&fields, name.at, findings).into_iter().collect()
        }
        (None, Some(steps)) => {
            if let Some(expect) = fields.get("expect") {
                let finding = Diagnostic::at(expect.at, "with `steps`, each step has an `expect` of its own");
                findings.push(finding.help("move it to the step that it is about"));
            }
            steps_of(steps, findings)
        }
        (send, _) => {
            let message = match send {
                Some(_) => "a test has either `send` or `steps`",
                None => "a test needs `send` or `steps`",
            };
            let help = "for example `send: {src: 10.10.110.21, dst: 10.20.5.10, service: tcp/443}`";
            findings.push(Diagnostic::at(name.at, message).help(help));
            return None;
        }
    };
    Some(CaseText { name, steps })
}

fn steps_of(node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> Vec<StepText> {
    let Value::List(nodes) = &node.value else {
        let finding = Diagnostic::at(node.at, "`steps` must be a list");
        findings.push(finding.help("write each step as `- send: …` or `- reply: …`"));
        return Vec::new();
    };
    if nodes.is_empty() {
        findings.push(Diagnostic::at(node.at, "the list is empty"));
    }
    let step = |node| {
        let fields = Fields::read(node, node.at, &STEP, findings);
        step_of(&fields, node.at, findings)
    };
    nodes.iter().filter_map(step).collect()
}

fn step_of(fields: &Fields<'_, '_>, at: Location, findings: &mut Vec<Diagnostic>) -> Option<StepText> {
    let (reply, node) = match (fields.get("send"), fields.get("reply")) {
        (Some(send), None) => (false, send),
        (None, Some(reply)) => (true, reply),
        _ => {
            findings.push(Diagnostic::at(at, "a step has either `send` or `reply`"));
            return None;
        }
    };
    let after = fields
        .get("after")
        .and_then(|node| scalar(node, grammar::duration, findings));
    let repeat = fields.get("repeat").and_then(|node| scalar(node, repeat, findings));
    let expect = fields.get("expect");
    let (expect, rule_at) = expect.map(|node| expected(node, findings)).unwrap_or_default();
    let frame = FrameText {
        reply,
        words: Words::read(node, reply, findings),
        at: node.at,
    };
    Some(StepText {
        frame,
        after: after.map_or(Duration::ZERO, |after| after.value),
        repeat: repeat.map_or(1, |repeat| repeat.value),
        expect,
        rule_at,
        at,
    })
}

fn expected(node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> (Expect, Option<Location>) {
    let fields = Fields::read(node, node.at, &EXPECT, findings);
    let verdict = fields.get("verdict");
    let verdict = verdict.and_then(|node| scalar(node, |text| word(text, &Expected::WORDS), findings));
    let reasons: Vec<_> = DropReason::ALL.iter().map(|&reason| (reason.name(), reason)).collect();
    let reason = fields.get("reason");
    let reason = reason.and_then(|node| scalar(node, |text| word(text, &reasons), findings));
    let stages = Stage::ALL.map(|stage| (stage.name(), stage));
    let stage = fields.get("stage");
    let stage = stage.and_then(|node| scalar(node, |text| word(text, &stages), findings));
    let rule = fields.get("rule");
    let name = rule.and_then(|node| text(node, findings));
    let expect = Expect {
        verdict: verdict.map(|verdict| verdict.value),
        rule: name.map(str::to_owned),
        reason: reason.map(|reason| reason.value),
        stage: stage.map(|stage| stage.value),
    };
    if expect == Expect::default() {
        let finding = Diagnostic::at(node.at, "`expect` expects nothing");
        findings.push(finding.help("for example `{verdict: allow, rule: pumps-to-gateway}`"));
    }
    (expect, rule.map(|node| node.at))
}

/// One of some words.
fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, Complaint> {
    if let Some(&(_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(value);
    }
    let names = || words.iter().map(|(word, _)| *word);
    let help = match nearest(text, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write one of {}", names().collect::<Vec<_>>().join(", ")),
    };
    Err(Complaint::new(format!("{} is not possible here", quote(text)), help))
}

fn repeat(text: &str) -> Result<u32, Complaint> {
    let count = text.parse().ok().filter(|count| (1..=REPEAT).contains(count));
    count.ok_or_else(|| {
        let message = format!("{} is not a number of frames", quote(text));
        Complaint::new(message, format!("write a whole number from 1 to {REPEAT}"))
    })
}

/// Looks up the names in the tests.
pub(super) fn resolve(texts: &[CaseText], policy: &ValidPolicy, findings: &mut Vec<Diagnostic>) -> Vec<Case> {
    let case = |text: &CaseText| Case {
        name: text.name.value.clone(),
        steps: steps(&text.steps, policy, findings),
        at: text.name.at,
    };
    let mut cases: Vec<_> = texts.iter().map(case).collect();
    cases.sort_by_key(|case| case.at);
    cases
}

fn steps(texts: &[StepText], policy: &ValidPolicy, findings: &mut Vec<Diagnostic>) -> Vec<Step> {
    let mut steps = Vec::with_capacity(texts.len());
    let mut opener: Option<Probe> = None;
    for text in texts {
        if let Some(at) = text.rule_at {
            known_rule(text.expect.rule.as_deref(), at, policy, findings);
        }
        let Some(probe) = frame(&text.frame, opener.as_ref(), policy, findings) else {
            continue;
        };
        if !text.frame.reply {
            opener = Some(probe.clone());
        }
        reachable(&text.expect, &probe, text.at, findings);
        steps.push(Step {
            probe,
            after: text.after,
            repeat: text.repeat,
            expect: text.expect.clone(),
            at: text.at,
        });
    }
    steps
}

fn frame(
    text: &FrameText,
    opener: Option<&Probe>,
    policy: &ValidPolicy,
    findings: &mut Vec<Diagnostic>,
) -> Option<Probe> {
    let probe = match (text.reply, opener) {
        (false, _) => Probe::from_words(&text.words, policy),
        (true, Some(opener)) => opener.reply(&text.words, policy),
        (true, None) => {
            let finding = Diagnostic::at(text.at, "there is nothing to reply to");
            findings.push(finding.help("put a step with `send` before it"));
            return None;
        }
    };
    probe
        .map_err(|(key, complaint)| findings.push(complaint.at(text.words.place(key).unwrap_or(text.at))))
        .ok()
}

fn known_rule(name: Option<&str>, at: Location, policy: &ValidPolicy, findings: &mut Vec<Diagnostic>) {
    let Some(name) = name.filter(|name| *name != super::DEFAULT_RULE_NAME) else {
        return;
    };
    if policy
        .rules
        .binary_search_by(|rule| rule.name.as_str().cmp(name))
        .is_ok()
    {
        return;
    }
    let names = policy.rules.iter().map(|rule| rule.name.as_str());
    let help = match nearest(name, names.chain([super::DEFAULT_RULE_NAME])) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "declare it, or correct the name".to_owned(),
    };
    findings.push(Diagnostic::at(at, format!("no rule is named {}", quote(name))).help(help));
}

/// Complains about expectations that contradict each other: such a test could never pass.
fn reachable(expect: &Expect, probe: &Probe, at: Location, findings: &mut Vec<Diagnostic>) {
    let refused = expect.reason.is_some_and(|reason| reason != DropReason::None);
    if refused && expect.verdict == Some(Expected::Allow) {
        let finding = Diagnostic::at(at, "a frame that is allowed has no `reason`");
        findings.push(finding.help("expect `deny`, or leave out the reason"));
    }
    if probe.flags.is_some() && probe.protocol != protocol::TCP {
        findings.push(Diagnostic::at(at, "only TCP has `flags`").help("remove them"));
    }
}

/// `deny (default-deny) in stage policy by rule default-deny`, as far as it is expected.
impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verdict.map_or("any verdict", Expected::name))?;
        if let Some(reason) = self.reason {
            write!(f, " ({})", reason.name())?;
        }
        if let Some(stage) = self.stage {
            write!(f, " in stage {}", stage.name())?;
        }
        match &self.rule {
            Some(rule) => write!(f, " by rule {rule}"),
            None => Ok(()),
        }
    }
}
