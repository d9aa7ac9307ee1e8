//! Frames a second through veth: dropped, and forwarded.

mod contenders;
mod path;
mod rules;

use std::time::Duration;

use anyhow::{Result, ensure};
use enforcer_tests::reference;

use crate::policy::Size;
use crate::results::{Aim, Case, Outcome};
use crate::stats::Spread;
use contenders::Contender;
use path::Mode;
pub(crate) use path::{END, SENDER, Way};

const DROP: &str = "dropped at ingress";
const FORWARD: &str = "forwarded inline";

/// How often each contender's turn comes in a round. The middle one stands for the round: a turn in which a neighbour of this
/// virtual machine took the processor's other half says nothing about the contender.
const TURNS: u32 = 3;

/// The rates of one contender.
struct Series<'a> {
    contender: &'a Contender,
    forward: bool,
    cpus: usize,
    /// Of this round's turns.
    turns: Vec<f64>,
    /// A value a round.
    rates: Vec<f64>,
    /// Why there is no more of it: what fails in one turn is left out whole.
    failed: Option<String>,
}

impl Series<'_> {
    fn group(&self) -> String {
        let way = if self.forward { FORWARD } else { DROP };
        format!("{way}, {} CPU{}", self.cpus, if self.cpus == 1 { "" } else { "s" })
    }

    /// One turn, unless one has failed.
    fn turn(&mut self, time: Duration) {
        if self.failed.is_none() {
            self.failed = self.measure(time).err().map(|error| format!("{error:#}"));
        }
    }

    /// One measurement. What is refused must not come through, and what is permitted must.
    fn measure(&mut self, time: Duration) -> Result<()> {
        let frames = self.contender.frames(self.forward);
        if self.forward {
            // Flows begin, and are answered.
            self.contender.way.run(&frames, self.cpus, Duration::from_millis(2))?;
            self.contender.establish()?;
        }
        let flowed = self.contender.way.run(&frames, self.cpus, time)?;
        let name = &self.contender.name;
        if self.forward {
            ensure!(
                flowed.share() > 0.2,
                "{name} forwards {:.0} % only",
                flowed.share() * 100.0
            );
            self.turns.push(flowed.rate_out());
        } else {
            ensure!(flowed.left == 0, "{name} lets {} refused frames pass", flowed.left);
            self.turns.push(flowed.rate_in());
        }
        Ok(())
    }

    fn end_round(&mut self) {
        self.rates.push(Spread::of(&self.turns).median);
        self.turns.clear();
    }
}

/// Measures all contenders in turn.
pub(crate) fn run(quick: bool) -> Result<Outcome> {
    let (rounds, time) = if quick {
        (3, Duration::from_millis(10))
    } else {
        (9, Duration::from_millis(50))
    };
    let mut outcome = Outcome {
        how: format!(
            "{rounds} rounds of {TURNS} turns of {} ms each, of which the middle one counts, contenders in turn; 64-byte UDP frames without tag, 1,024 flows; \
             one CPU generates, decides and counts, or two do so side by side",
            time.as_millis()
        ),
        ..Outcome::default()
    };
    let contenders = contenders(quick, &mut outcome)?;
    let cpus = std::thread::available_parallelism().map_or(1, usize::from).min(2);
    let mut all = Vec::new();
    for cpus in 1..=cpus {
        for forward in [false, true] {
            let takes_part = |contender: &&Contender| if forward { contender.forwards } else { contender.refuses };
            all.extend(contenders.iter().filter(takes_part).map(|contender| Series {
                contender,
                forward,
                cpus,
                turns: Vec::new(),
                rates: Vec::new(),
                failed: None,
            }));
        }
    }
    for round in 0..rounds {
        eprintln!(
            "bench: throughput: round {} of {rounds}, {} cases",
            round + 1,
            all.len()
        );
        for _ in 0..TURNS {
            for series in &mut all {
                series.turn(time);
            }
        }
        all.iter_mut().for_each(Series::end_round);
    }
    for series in &all {
        if let Some(error) = &series.failed {
            outcome.skip(format!("{}: {}", series.group(), series.contender.name), error.clone());
        }
    }
    all.retain(|series| series.failed.is_none());
    report(&all, &mut outcome);
    Ok(outcome)
}

/// All that can be set up here.
fn contenders(quick: bool, outcome: &mut Outcome) -> Result<Vec<Contender>> {
    eprintln!("bench: throughput: setting up");
    let large = if quick {
        Size {
            rules: 2_000,
            devices: 10_000,
            ..Size::LARGE
        }
    } else {
        Size::LARGE
    };
    let medium = Size::MEDIUM;
    let (large_tables, medium_tables) = (large.tables()?, medium.tables()?);
    let mut contenders = vec![
        contenders::ceiling(false)?,
        contenders::ceiling(true)?,
        contenders::enforcer_hospital(&reference::tables()?)?,
        contenders::enforcer_made_up(medium, &medium_tables, Mode::Native)?,
        contenders::enforcer_made_up(large, &large_tables, Mode::Native)?,
        contenders::enforcer_made_up(large, &large_tables, Mode::Generic)?,
    ];
    let others: [(&str, &dyn Fn() -> Result<Contender>); 8] = [
        ("bridge", &contenders::bridge),
        ("nftables, netdev, 1,000 rules", &|| contenders::nft_netdev(medium)),
        ("nftables, netdev, 10,000 rules", &|| contenders::nft_netdev(large)),
        ("nftables, bridge", &|| contenders::nft_bridge(large)),
        ("nftables, route, 1,000 rules", &|| contenders::nft_route(medium)),
        ("nftables, route, 10,000 rules", &|| contenders::nft_route(large)),
        ("iptables with ipset", &|| contenders::iptables_set(large)),
        ("iptables", &|| contenders::iptables_list(medium)),
    ];
    for (name, build) in others {
        match build() {
            Ok(contender) => contenders.push(contender),
            Err(error) => outcome.skip(name, format!("{error:#}")),
        }
    }
    outcome.notes.push(format!(
        "nftables and iptables get the rules of the same policy that permit, {} of {}: sets of ranges refuse elements that overlap. \
         nftables at ingress also checks pairs of MAC and address, as the enforcer does.",
        rules::permitted(large).len(),
        large.rules
    ));
    outcome.notes.push(
        "The generator takes its share of the same CPUs, so a ratio between two programs looks nearer to 1 than their costs are. Its \
         rate is by the kernel's clock around the loop that sends: each system call of a test run also waits for all CPUs twice \
         (the program enters the kernel's dispatcher and leaves it), and calls of some ten thousand frames, timed from outside, spend \
         most of their time there. So timed, everything looks slow and alike."
            .into(),
    );
    Ok(contenders)
}

fn report(all: &[Series<'_>], outcome: &mut Outcome) {
    let find = |forward, cpus, name: &str| {
        all.iter()
            .find(|series| series.forward == forward && series.cpus == cpus && series.contender.name.starts_with(name))
    };
    let ceiling = |series: &Series<'_>| {
        let name = if series.forward {
            "plain XDP redirect"
        } else {
            "empty XDP drop"
        };
        find(series.forward, series.cpus, name).map(|ceiling| (name, ceiling))
    };
    for series in all {
        let mut case = Case::new(&series.group(), &series.contender.name, "frames/s", &series.rates);
        if let Some((name, ceiling)) = ceiling(series) {
            case = case.ratio(name, quotient(series, ceiling));
        }
        if let Some(one) = find(series.forward, 1, &series.contender.name).filter(|_| series.cpus == 2) {
            case = case.ratio("one CPU", quotient(series, one));
        }
        outcome.cases.push(case);
    }
    let mut aims = Vec::new();
    for cpus in [1, 2] {
        let Some(large) = enforcers(all, cpus) else { continue };
        let on = format!("on {cpus} CPU{}", if cpus == 1 { "" } else { "s" });
        let mut at_least = |what: &str, limit, one: Option<&Series<'_>>, other: Option<&Series<'_>>| {
            if let (Some(one), Some(other)) = (one, other) {
                aims.push(Aim::at_least(&format!("{what}, {on}"), limit, quotient(one, other)));
            }
        };
        let [drop, forward] = large;
        at_least(
            "drop throughput, largest policy, against an empty XDP drop",
            0.85,
            drop,
            find(false, cpus, "empty"),
        );
        at_least(
            "drop throughput against nftables at ingress with the same policy",
            2.5,
            drop,
            largest(all, false, cpus, "nftables, netdev"),
        );
        at_least(
            "inline forwarding against plain XDP redirect",
            0.85,
            forward,
            find(true, cpus, "plain"),
        );
        at_least(
            "inline forwarding against a bridge with nftables",
            4.0,
            forward,
            largest(all, true, cpus, "nftables, bridge"),
        );
        at_least(
            "inline forwarding against a route with nftables and conntrack",
            4.0,
            forward,
            largest(all, true, cpus, "nftables, route"),
        );
    }
    if let (Some([drop, forward]), Some([drop_2, forward_2])) = (enforcers(all, 1), enforcers(all, 2)) {
        for (what, one, two) in [("dropping", drop, drop_2), ("forwarding", forward, forward_2)] {
            if let (Some(one), Some(two)) = (one, two) {
                aims.push(Aim::at_least(
                    &format!("two CPUs against one, {what}"),
                    1.8,
                    quotient(two, one),
                ));
            }
        }
    }
    outcome.aims = aims;
}

/// The enforcer with the largest policy, dropping and forwarding.
fn enforcers<'a, 'b>(all: &'a [Series<'b>], cpus: usize) -> Option<[Option<&'a Series<'b>>; 2]> {
    let of = |forward| {
        all.iter().rfind(|series| {
            let name = &series.contender.name;
            series.forward == forward && series.cpus == cpus && name.starts_with("enforcer") && !name.ends_with("XDP")
        })
    };
    let pair = [of(false), of(true)];
    pair.iter().any(Option::is_some).then_some(pair)
}

/// The last of those, which has the largest policy.
fn largest<'a, 'b>(all: &'a [Series<'b>], forward: bool, cpus: usize, name: &str) -> Option<&'a Series<'b>> {
    all.iter()
        .rfind(|series| series.forward == forward && series.cpus == cpus && series.contender.name.starts_with(name))
}

fn quotient(one: &Series<'_>, other: &Series<'_>) -> Spread {
    Spread::of_rounds(one.rates.len().min(other.rates.len()), |round| {
        one.rates[round] / other.rates[round]
    })
}
