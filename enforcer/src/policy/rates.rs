//! Limits: `{packets: 200/s, bits: 2M/s, flows: 10/s, concurrent: 20, burst: 50}`, and the same as `{rate: 200pps, burst: 50}`.

use super::{
    fields::{Complaint, Fields, Known, Spanned, scalar, text},
    grammar,
    valid::{FULL_FRAME_BITS, Limit, Limits, Pace, Scope},
    yaml::{Node, Value},
};
use crate::diagnostics::{Diagnostic, quote};

const LIMIT: Known = Known {
    what: "a limit",
    keys: &["rate", "packets", "bits", "flows", "concurrent", "burst"],
    later: &[],
};
const RULE_LIMIT: Known = Known {
    keys: &["rate", "packets", "bits", "flows", "concurrent", "burst", "scope"],
    ..LIMIT
};
const GROUP_LIMIT: Known = Known {
    what: "`broadcast`",
    keys: &["rate", "packets", "bits", "flows", "burst"],
    later: &[],
};
const LIMITS: Known = Known {
    what: "`limits`",
    keys: &["from", "toward"],
    later: &[],
};

/// A burst that nobody gives is so many units at least: as many frames as a TCP connection may start with (RFC 6928).
const LEAST_BURST: u64 = 10;
/// The longest time, in seconds, that a burst may stand for: a week. It keeps the clock arithmetic of the data path far
/// from overflowing.
const LONGEST: u128 = 7 * 24 * 3600;
/// Flows at the same time that can be counted: far more than the flow tables hold.
const CONCURRENT: u32 = 1_000_000_000;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    Packets,
    Bits,
    Flows,
}

impl Measure {
    const ALL: [Self; 3] = [Self::Packets, Self::Bits, Self::Flows];

    const fn key(self) -> &'static str {
        match self {
            Self::Packets => "packets",
            Self::Bits => "bits",
            Self::Flows => "flows",
        }
    }

    /// The fastest rate, in units a second. A unit costs whole nanoseconds: 50 at 20 million a second, so that rounding
    /// stays within 1 %. Of bits, 1024 octets are a unit: 819 ns at 10 Gbit/s.
    const fn fastest(self) -> (u64, &'static str) {
        match self {
            Self::Packets | Self::Flows => (20_000_000, "20M/s"),
            Self::Bits => (10_000_000_000, "10G/s"),
        }
    }

    /// Units of the shortest burst that lets anything pass.
    const fn one(self) -> u64 {
        match self {
            Self::Packets | Self::Flows => 1,
            Self::Bits => FULL_FRAME_BITS,
        }
    }
}

/// So many units in so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quantity {
    units: u64,
    seconds: u64,
}

/// `200`, `64k`, `2M`, `10G`; a number too large for 64 bits becomes the largest one, which every check refuses.
fn whole(text: &str) -> Option<u64> {
    let (digits, factor) = match text.as_bytes().last()? {
        b'k' => (&text[..text.len() - 1], 1_000),
        b'M' => (&text[..text.len() - 1], 1_000_000),
        b'G' => (&text[..text.len() - 1], 1_000_000_000),
        _ => (text, 1),
    };
    if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().unwrap_or(u64::MAX);
    Some(number.saturating_mul(factor))
}

/// `200/s`, `2M/s`, `30/min`, `1/h`, within what the data path can keep.
fn quantity(text: &str, measure: Measure) -> Result<Quantity, Complaint> {
    let parsed = text.split_once('/').and_then(|(units, time)| {
        let seconds = match time {
            "s" => 1,
            "min" => 60,
            "h" => 3600,
            _ => return None,
        };
        let units = whole(units)?;
        Some(Quantity { units, seconds })
    });
    let Some(quantity) = parsed else {
        return Err(Complaint::new(
            format!("{} is not a rate", quote(text)),
            "write a whole number, if need be with k, M or G, and /s, /min or /h, such as `200/s` or `2M/s`",
        ));
    };
    in_range(text, quantity, measure)
}

/// `200pps`, `2Mbit/s`.
fn rate(text: &str) -> Result<(Measure, Quantity), Complaint> {
    let suffixes = [("pps", Measure::Packets), ("bit/s", Measure::Bits)];
    let parsed = suffixes.iter().find_map(|&(suffix, measure)| {
        let units = whole(text.strip_suffix(suffix)?)?;
        Some((measure, Quantity { units, seconds: 1 }))
    });
    let Some((measure, quantity)) = parsed else {
        return Err(Complaint::new(
            format!("{} is not a rate", quote(text)),
            "write a whole number, if need be with k, M or G, and pps or bit/s, such as `200pps` or `2Mbit/s`",
        ));
    };
    Ok((measure, in_range(text, quantity, measure)?))
}

fn in_range(text: &str, quantity: Quantity, measure: Measure) -> Result<Quantity, Complaint> {
    let Quantity { units, seconds } = quantity;
    let (fastest, shown) = measure.fastest();
    if units == 0 {
        let help = "to refuse the traffic, use a rule that denies; to do without a limit, leave it out";
        return Err(Complaint::new(format!("{} lets nothing pass", quote(text)), help));
    }
    if units > fastest.saturating_mul(seconds) {
        let message = format!("{} is faster than a limit can be", quote(text));
        let help = format!("write at most {shown} for {}, or leave it out", measure.key());
        return Err(Complaint::new(message, help));
    }
    if measure == Measure::Bits && units < seconds {
        let message = format!("{} is slower than a limit of bits can be", quote(text));
        return Err(Complaint::new(message, "write at least 1/s"));
    }
    Ok(quantity)
}

/// Flows at the same time: `20`, `2k`.
fn concurrent(text: &str) -> Result<u32, Complaint> {
    let number = whole(text).and_then(|number| u32::try_from(number).ok());
    let number = number.filter(|number| (1..=CONCURRENT).contains(number));
    number.ok_or_else(|| {
        let message = format!("{} is not a number of flows", quote(text));
        let help =
            "write a whole number from 1, if need be with k or M, such as 20; to do without a limit, leave it out";
        Complaint::new(message, help)
    })
}

/// The number of units that may come at once.
fn burst(text: &str, measure: Measure, quantity: Quantity) -> Result<u64, Complaint> {
    let Some(units) = whole(text) else {
        return Err(Complaint::new(
            format!("{} is not a burst", quote(text)),
            "write a whole number, if need be with k, M or G, such as 50",
        ));
    };
    if units == 0 {
        let help = format!("write at least {}", measure.one());
        return Err(Complaint::new("a burst of 0 lets nothing pass", help));
    }
    if units < measure.one() {
        let message = format!("a burst of {units} bits has no room for a full frame");
        let help = format!("write at least {}: 1514 octets", measure.one());
        return Err(Complaint::new(message, help));
    }
    let longest = LONGEST * u128::from(quantity.units) / u128::from(quantity.seconds);
    // The rate is at least one unit an hour, so that a week has some.
    if u128::from(units) > longest.max(u128::from(measure.one())) {
        let message = format!("{} is more than what the rate gives in a week", quote(text));
        return Err(Complaint::new(message, format!("write at most {longest}")));
    }
    Ok(units)
}

/// A quarter of a second's worth, but a handful at least.
fn usual_burst(measure: Measure, quantity: Quantity) -> u64 {
    (quantity.units / quantity.seconds / 4).max(LEAST_BURST * measure.one())
}

/// The limit of frames to groups.
pub(super) fn group_limit(node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> Limit {
    read(node, &GROUP_LIMIT, findings).0
}

/// The limit of something; without what is wrong, which has been complained about.
fn limit(node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> Limit {
    read(node, &LIMIT, findings).0
}

/// The limit of a rule, and whom it is for.
pub(super) fn rule_limit(node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> (Limit, Scope) {
    let (limit, fields) = read(node, &RULE_LIMIT, findings);
    let scope = fields.get("scope");
    let scope = scope.and_then(|node| scalar(node, grammar::scope, findings));
    (limit, scope.map(|scope| scope.value).unwrap_or_default())
}

/// The limits of each address of a zone or device: those that are given, `none` among them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LimitsText {
    from: Option<Limit>,
    toward: Option<Limit>,
}

impl LimitsText {
    /// `limits: {from: …, toward: …}`.
    pub(super) fn read(node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> Self {
        let fields = Fields::read(node, node.at, &LIMITS, findings);
        let mut side = |key| fields.get(key).map(|node| limit_or_none(node, findings));
        Self {
            from: side("from"),
            toward: side("toward"),
        }
    }

    pub(super) fn says_something(&self) -> bool {
        self.from.is_some() || self.toward.is_some()
    }

    /// What is given here, and of the rest what is given there.
    pub(super) fn or(self, general: Self) -> Self {
        Self {
            from: self.from.or(general.from),
            toward: self.toward.or(general.toward),
        }
    }

    /// What holds, with the limits of the zone for what is not given.
    pub(super) fn over(self, general: Limits) -> Limits {
        Limits {
            from: self.from.unwrap_or(general.from),
            toward: self.toward.unwrap_or(general.toward),
        }
    }
}

fn limit_or_none(node: &Node<'_>, findings: &mut Vec<Diagnostic>) -> Limit {
    if matches!(&node.value, Value::Scalar { text, .. } if text == "none") {
        return Limit::default();
    }
    limit(node, findings)
}

fn read<'t, 'a>(node: &'t Node<'a>, known: &Known, findings: &mut Vec<Diagnostic>) -> (Limit, Fields<'t, 'a>) {
    let before = findings.len();
    let fields = Fields::read(node, node.at, known, findings);
    let quantities = quantities(&fields, findings);
    let flows = fields.get("concurrent").filter(|_| known.keys.contains(&"concurrent"));
    let flows = flows.and_then(|node| scalar(node, concurrent, findings));
    if quantities.is_empty() && flows.is_none() && findings.len() == before {
        let finding = Diagnostic::at(node.at, "a limit needs a rate");
        findings.push(finding.help("for example `packets: 200/s`, `bits: 2M/s`, `flows: 10/s` or `rate: 200pps`"));
    }
    // What a burst is of is not clear when a rate is missing.
    let bursts = if findings.len() == before {
        bursts(&fields, &quantities, findings)
    } else {
        Vec::new()
    };
    let mut limit = Limit {
        concurrent: flows.map(|flows| flows.value),
        ..Limit::default()
    };
    for (measure, Spanned { value: quantity, .. }) in quantities {
        let given = bursts.iter().find(|(of, _)| *of == measure);
        let pace = Pace {
            units: quantity.units,
            seconds: quantity.seconds,
            burst: given.map_or_else(|| usual_burst(measure, quantity), |&(_, burst)| burst),
        };
        match measure {
            Measure::Packets => limit.packets = Some(pace),
            Measure::Bits => limit.bits = Some(pace),
            Measure::Flows => limit.flows = Some(pace),
        }
    }
    (limit, fields)
}

/// The rates of a limit, one a measure at most.
fn quantities(fields: &Fields<'_, '_>, findings: &mut Vec<Diagnostic>) -> Vec<(Measure, Spanned<Quantity>)> {
    let mut quantities: Vec<(Measure, Spanned<Quantity>)> = Vec::new();
    for measure in Measure::ALL {
        let node = fields.get(measure.key());
        let value = node.and_then(|node| scalar(node, |text| quantity(text, measure), findings));
        quantities.extend(value.map(|value| (measure, value)));
    }
    let rate = fields.get("rate").and_then(|node| scalar(node, rate, findings));
    if let Some(Spanned {
        value: (measure, value),
        at,
    }) = rate
    {
        if let Some((_, other)) = quantities.iter().find(|(of, _)| *of == measure) {
            let message = format!("a second limit of {}", measure.key());
            let finding = Diagnostic::at(at, message).related(other.at, "the first one");
            findings.push(finding.help("keep one of them"));
        } else {
            quantities.push((measure, Spanned { value, at }));
        }
    }
    quantities
}

/// The bursts that are given: a number when there is one rate, else a map from measures to numbers.
fn bursts(
    fields: &Fields<'_, '_>,
    quantities: &[(Measure, Spanned<Quantity>)],
    findings: &mut Vec<Diagnostic>,
) -> Vec<(Measure, u64)> {
    let Some(node) = fields.get("burst") else {
        return Vec::new();
    };
    if let Value::Map(_) = node.value {
        return burst_map(node, quantities, findings);
    }
    if let [(measure, quantity)] = *quantities {
        let units = scalar(node, |text| burst(text, measure, quantity.value), findings);
        return units.map(|units| (measure, units.value)).into_iter().collect();
    }
    if text(node, findings).is_some() {
        let keys: Vec<_> = quantities
            .iter()
            .map(|(measure, _)| format!("{}: …", measure.key()))
            .collect();
        let help = format!("write `burst: {{{}}}`", keys.join(", "));
        findings.push(Diagnostic::at(node.at, "a burst of what? The limit has more than one rate").help(help));
    }
    Vec::new()
}

fn burst_map(
    node: &Node<'_>,
    quantities: &[(Measure, Spanned<Quantity>)],
    findings: &mut Vec<Diagnostic>,
) -> Vec<(Measure, u64)> {
    const BURST: Known = Known {
        what: "a burst",
        keys: &["packets", "bits", "flows"],
        later: &[],
    };
    let fields = Fields::read(node, node.at, &BURST, findings);
    let mut bursts = Vec::new();
    for measure in Measure::ALL {
        let Some(node) = fields.get(measure.key()) else {
            continue;
        };
        let Some((_, quantity)) = quantities.iter().find(|(of, _)| *of == measure) else {
            let message = format!("a burst of {} needs a rate of {0}", measure.key());
            findings.push(Diagnostic::at(node.at, message).help("add the rate, or remove the burst"));
            continue;
        };
        let units = scalar(node, |text| burst(text, measure, quantity.value), findings);
        bursts.extend(units.map(|units| (measure, units.value)));
    }
    bursts
}

#[cfg(test)]
mod tests;
