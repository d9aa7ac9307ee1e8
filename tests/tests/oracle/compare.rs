//! One policy and one sequence of frames, through the oracle, the engine and the kernel program.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use enforcer::engine::Engine;
use enforcer::kernel::{PortSetup, ports};
use enforcer::policy::{self, TableSet, ValidPolicy};
use enforcer_common::abi::{Event, NO_RULE};
use enforcer_common::pipeline::Decision;
use enforcer_common::verdict::{DropReason, Stage, Verdict};
use enforcer_tests::kernel::{Kernel, SHORTEST, action};
use enforcer_tests::oracle::{Beside, Oracle, Outcome};
use enforcer_tests::random::{self, BEGIN, MONITOR_TRUNK, Random, Step, TRUNK, Traffic};

use crate::counts::Counts;

/// Frames that the kernel gets at once; the event ring holds many more.
const BATCH: usize = 100;

/// A policy, and the frames that its seed brings.
pub(crate) struct Round {
    seed: u64,
    text: String,
    policy: ValidPolicy,
    tables: TableSet,
    ports: Vec<PortSetup>,
    beside: Beside,
    /// The policy that comes into force at a swap.
    next: Option<Box<Round>>,
}

impl Round {
    pub(crate) fn new(seed: u64) -> Self {
        Self::of(seed, random::text(&mut Random::new(seed)))
    }

    fn of(seed: u64, text: String) -> Self {
        let policy = random::load(&text).unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
        let tables = policy::compile(&policy).unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
        let beside = random::beside(&policy, &mut Random::new(seed.rotate_left(32) ^ 1));
        Self {
            seed,
            text,
            beside,
            policy,
            tables,
            ports: random::ports(),
            next: None,
        }
    }

    /// The same with another policy for the second half: rules are gone, or say the opposite.
    pub(crate) fn with_swap(mut self) -> Self {
        let mut random = Random::new(self.seed);
        let (head, rules) = self.text.split_once("rules:\n").unwrap_or((&self.text, ""));
        let changed = rules
            .lines()
            .enumerate()
            .filter_map(|(index, rule)| match random.below(4) {
                0 => {
                    // What only rules have that allow.
                    let bare = random::without_limits(rule, |_| None);
                    let bare = bare.replace(", log: new", "").replace(", class: alarm", "");
                    Some(bare.replace("action: allow", "action: deny"))
                }
                1 => Some(rule.replace("action: deny", "action: allow")),
                2 if index > 0 => None,
                _ => Some(rule.to_owned()),
            });
        let changed: Vec<_> = changed.collect();
        let mut text = format!("{head}rules:\n{}\n", changed.join("\n"));
        // A flow takes its place among concurrent ones by the rule of its first frame, and gives it back by that of its last.
        if text.contains("concurrent") {
            text = random::without_limits(&text, |_| None);
            self = Self::of(self.seed, random::without_limits(&self.text, |_| None));
        }
        self.next = Some(Box::new(Self::of(self.seed, text)));
        self
    }

    /// The same with every zone in one mode, and without floors of the MSS: a SYN that only monitor mode lets pass
    /// begins a session there.
    pub(crate) fn in_mode(&self, mode: &str) -> Self {
        let (head, rules) = self.text.split_once("rules:\n").unwrap_or((&self.text, ""));
        let head = head
            .replace("mode: monitor", "mode: enforce")
            .replace("least_mss", "ticket");
        let head = head.replace("mode: enforce", &format!("mode: {mode}"));
        // What a limit refuses opens no flow in enforce mode, and may be another flow's first frame later.
        let text = format!("{head}rules:\n{rules}");
        Self::of(self.seed, random::without_limits(&text, |_| None))
    }

    /// The same with limits that no time of a test refills, and none that goes by windows of time or single bits: the kernel
    /// has a clock of its own.
    pub(crate) fn with_slow_limits(&self) -> Self {
        let slow = |limit: &str| {
            let timeless = !limit.contains("bits") && !limit.contains("concurrent");
            timeless.then(|| random::per_hour(limit))
        };
        Self::of(self.seed, random::without_limits(&self.text, slow))
    }

    pub(crate) fn steps(&self, count: usize) -> Vec<Step> {
        let mut traffic = Traffic::new(&self.policy, &self.beside, Random::new(!self.seed));
        let mut steps: Vec<_> = (0..count).map(|_| traffic.step()).collect();
        steps[count / 2].swap = self.next.is_some();
        steps
    }

    fn engine(&self) -> Engine {
        let entries: Vec<_> = self
            .ports
            .iter()
            .zip(0..)
            .map(|(port, slot)| port.entry(slot))
            .collect();
        let ports = ports::table(&entries).expect("ports that a mask keeps apart");
        let mut engine = Engine::new(self.tables.clone(), ports);
        engine.set_accesses(random::accesses(&self.beside));
        for (key, device, end) in random::bindings(&self.policy, &self.beside) {
            engine.bind(key, device, end);
        }
        engine
    }

    fn outcome_of(&self, decision: &Decision) -> Outcome<'_> {
        let rule = match decision.rule {
            NO_RULE => "",
            rule => &self.tables.names.rules[rule as usize].name,
        };
        Outcome {
            verdict: decision.verdict,
            reason: decision.reason,
            stage: decision.stage,
            rule,
            zone: usize::from(decision.zone),
            log: decision.log && decision.reason == DropReason::None,
        }
    }

    /// What the oracle and the engine say about each frame, until they differ.
    fn verdicts(&self, steps: &[Step]) -> Vec<(Outcome<'_>, Outcome<'_>)> {
        let mut round = self;
        let mut engine = self.engine();
        let mut oracle = Oracle::new(&self.policy, &self.ports, &self.beside);
        let mut now = BEGIN;
        let mut verdicts = Vec::with_capacity(steps.len());
        for step in steps {
            now += step.pause;
            if step.swap
                && let Some(next) = &self.next
            {
                round = next;
                engine.swap(next.tables.clone());
                oracle.swap(&next.policy);
            }
            let frame = random::frame(&step.sent);
            let mut wanted = oracle.decide(&step.sent, frame.len(), now);
            wanted.log &= wanted.reason == DropReason::None;
            let (decision, _) = engine.decide(&frame, step.sent.ifindex, now);
            let got = round.outcome_of(&decision);
            verdicts.push((wanted, got));
            if wanted != got {
                break;
            }
        }
        verdicts
    }

    /// What oracle and engine say about each frame, or the first frame that they decide differently.
    pub(crate) fn agreed(&self, steps: &[Step]) -> Result<Vec<(Verdict, DropReason, Stage)>, usize> {
        let verdicts = self.verdicts(steps);
        match verdicts.iter().position(|(wanted, got)| wanted != got) {
            Some(index) => Err(index),
            None => Ok(verdicts
                .iter()
                .map(|(_, got)| (got.verdict, got.reason, got.stage))
                .collect()),
        }
    }

    /// What is wrong with each frame, and by which rule, whatever the mode makes of it. All ports enforce.
    pub(crate) fn permitted(&self, steps: &[Step]) -> Vec<(bool, Outcome<'_>)> {
        let engine = self.engine();
        let mut now = BEGIN;
        let decide = |step: &Step| {
            now += step.pause;
            let ifindex = match step.sent.ifindex {
                MONITOR_TRUNK => TRUNK,
                ifindex => ifindex,
            };
            let (decision, _) = engine.decide(&random::frame(&step.sent), ifindex, now);
            (decision.reason == DropReason::None, self.outcome_of(&decision))
        };
        steps.iter().map(decide).collect()
    }

    /// What a person needs to see of a disagreement at the last of these frames: no frame that it does not take.
    pub(crate) fn report(&self, steps: &[Step]) -> String {
        let steps = shortened(steps.to_vec(), |fewer| self.agreed(fewer) == Err(fewer.len() - 1));
        let verdicts = self.verdicts(&steps);
        let lines = verdicts.iter().map(|(wanted, got)| {
            if wanted == got {
                format!("    both: {got:?}")
            } else {
                format!("  oracle: {wanted:?}\n  engine: {got:?}")
            }
        });
        self.story("engine and oracle disagree", &steps, lines)
    }

    /// The same for a frame that enforce mode (this round) decides otherwise than monitor mode.
    pub(crate) fn report_foretold(&self, monitor: &Self, steps: &[Step]) -> String {
        let verdicts = |steps: &[Step]| (monitor.permitted(steps), self.permitted(steps));
        let steps = shortened(steps.to_vec(), |fewer| {
            let (foretold, enforced) = verdicts(fewer);
            foretold.last().map(|last| last.0) != enforced.last().map(|last| last.0)
        });
        let (foretold, enforced) = verdicts(&steps);
        let lines = foretold.iter().zip(&enforced);
        let lines = lines.map(|(foretold, enforced)| format!("  foretold: {foretold:?}\n  enforced: {enforced:?}"));
        self.story("monitor mode does not foretell enforce mode", &steps, lines)
    }

    fn story(&self, what: &str, steps: &[Step], lines: impl Iterator<Item = String>) -> String {
        let Self { seed, text, .. } = self;
        let mut story = format!("seed {seed}: {what}; again with ENFORCER_SEED={seed}\n{text}");
        for (step, line) in steps.iter().zip(lines) {
            if let Some(next) = self.next.as_ref().filter(|_| step.swap) {
                let _ = write!(story, "\nnow this comes into force:\n{}", next.text);
            }
            let _ = write!(story, "\nafter {} ns: {:?}\n{line}\n", step.pause, step.sent);
        }
        story
    }

    /// Runs the frames without pauses through the kernel program and the engine, and holds the one to the other.
    pub(crate) fn agreed_in_kernel(&self, steps: &[Step]) -> Vec<(Verdict, DropReason, Stage)> {
        let (outcomes, difference) = self.run_in_kernel(steps, Counts::compare);
        if difference.is_none() {
            return outcomes;
        }
        let steps = shortened(steps[..=outcomes.len()].to_vec(), |fewer| {
            let (outcomes, difference) = self.run_in_kernel(fewer, |_, _| ());
            difference.is_some() && outcomes.len() + 1 == fewer.len()
        });
        let (outcomes, difference) = self.run_in_kernel(&steps, |_, _| ());
        let lines = outcomes.iter().map(|outcome| format!("    both: {outcome:?}"));
        panic!(
            "{}",
            self.story("kernel and engine disagree", &steps, lines.chain(difference))
        );
    }

    /// The outcomes on which both agree, then the first on which they do not. `compare` is for when they always do.
    fn run_in_kernel(
        &self,
        steps: &[Step],
        compare: impl Fn(&Counts, &Kernel),
    ) -> (Vec<(Verdict, DropReason, Stage)>, Option<String>) {
        let mut kernel = Kernel::load_with(&self.tables, &self.ports, &random::accesses(&self.beside))
            .expect("the kernel takes the program: this test wants root");
        let engine = self.engine();
        // The kernel goes by its own clock, so rules have ended, or not, as of today.
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.expect("a clock past 1970").as_nanos() as u64;
        for (key, device, end) in random::bindings(&self.policy, &self.beside) {
            let end = if now < end { u64::MAX } else { 1 };
            kernel.bind(key, device, end).expect("an entry of the kernel's table");
        }
        let mut counts = Counts::default();
        let mut outcomes = Vec::new();
        for steps in steps.chunks(BATCH) {
            let frames: Vec<_> = steps.iter().map(|step| random::frame(&step.sent)).collect();
            let batch = frames.iter().zip(steps);
            let batch = batch.filter(|(frame, _)| frame.len() >= SHORTEST);
            let batch: Vec<_> = batch.map(|(frame, step)| (&**frame, step.sent.ifindex)).collect();
            let mut results = kernel.run_all(&batch).expect("test runs").into_iter();
            for (frame, step) in frames.iter().zip(steps) {
                let ifindex = step.sent.ifindex;
                let (decision, packet) = engine.decide(frame, ifindex, now);
                if frame.len() >= SHORTEST {
                    let (action, event) = results.next().expect("a result a frame");
                    let wanted_action = match (decision.verdict, decision.peer) {
                        (Verdict::Drop, _) => action::DROP,
                        (_, 0) => action::PASS,
                        _ => action::REDIRECT,
                    };
                    let wanted = Event::new(&decision, &packet, ifindex, event.generation, event.boot_nanos);
                    if event != wanted || action != wanted_action {
                        let difference = format!("  kernel: {action} {event:?}\n  engine: {wanted_action} {wanted:?}");
                        return (outcomes, Some(difference));
                    }
                    counts.add(&decision, packet.length);
                }
                outcomes.push((decision.verdict, decision.reason, decision.stage));
            }
        }
        compare(&counts, &kernel);
        (outcomes, None)
    }
}

/// Leaves out frames for as long as the last one still fails. A pause stays with the next frame.
fn shortened(mut steps: Vec<Step>, fails: impl Fn(&[Step]) -> bool) -> Vec<Step> {
    let mut chunk = steps.len() / 2;
    while chunk > 0 {
        let mut start = 0;
        while start + chunk < steps.len() {
            let mut fewer = steps.clone();
            let (pause, swap) = fewer
                .drain(start..start + chunk)
                .fold((0, false), |(pause, swap), step| (pause + step.pause, swap | step.swap));
            fewer[start].pause += pause;
            fewer[start].swap |= swap;
            if fails(&fewer) {
                steps = fewer;
            } else {
                start += chunk;
            }
        }
        chunk /= 2;
    }
    steps
}
