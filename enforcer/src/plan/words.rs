//! Limits and effects in words.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::effects::{EVER, Effect, Span};
use super::{Fate, Terms};
use crate::policy::valid::{Limit, Limits, Pace, Scope};

/// What packets meet with now, and what then.
pub(super) fn terms(effect: &Effect) -> Terms {
    let [now, later @ ..] = effect.as_slice() else {
        return of_span(&Span {
            until: EVER,
            fate: Fate::Denied,
            terms: super::effects::Terms::default(),
        });
    };
    Terms {
        then: later.iter().map(of_span).collect(),
        ..of_span(now)
    }
}

fn of_span(span: &Span) -> Terms {
    let limited = span.terms.limit != Limit::default();
    let sharers = match span.terms.scope {
        _ if !limited => "",
        Scope::Rule => ", shared by all senders",
        Scope::Source => ", each source",
        Scope::Pair => ", each pair",
    };
    let watched = if span.terms.watched { ", watched only" } else { "" };
    Terms {
        fate: span.fate,
        limit: limited.then(|| format!("{}{sharers}{watched}", limit(span.terms.limit))),
        alarm: span.terms.alarm,
        log: span.terms.log,
        until: (span.until != EVER).then(|| moment(span.until)),
        then: Vec::new(),
    }
}

/// `2027-01-31T00:00:00Z`.
fn moment(nanos: u64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos.into()).ok();
    time.and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{nanos} ns of Unix time"))
}

/// `200 packets/s (burst 50), 2M bits/s (burst 24224)`.
pub(super) fn limit(limit: Limit) -> String {
    let paces = [
        (limit.packets, "packets"),
        (limit.bits, "bits"),
        (limit.flows, "new flows"),
    ];
    let paces = paces.into_iter().filter_map(|(limit, what)| Some(pace(limit?, what)));
    let concurrent = limit.concurrent.map(|flows| format!("{flows} flows at a time"));
    let all: Vec<_> = paces.chain(concurrent).collect();
    if all.is_empty() {
        return "none".to_owned();
    }
    all.join(", ")
}

fn pace(pace: Pace, what: &str) -> String {
    let every = match pace.seconds {
        1 => "s",
        60 => "min",
        _ => "h",
    };
    let Pace { units, burst, .. } = pace;
    let (units, large) = match units {
        units if units >= 1_000_000 && units.is_multiple_of(1_000_000) => (units / 1_000_000, "M"),
        units if units >= 10_000 && units.is_multiple_of(1_000) => (units / 1_000, "k"),
        units => (units, ""),
    };
    format!("{units}{large} {what}/{every} (burst {burst})")
}

/// `from 200 packets/s (burst 50); toward none`.
pub(super) fn limits(limits: Limits) -> String {
    if limits == Limits::default() {
        return "none".to_owned();
    }
    format!("from {}; toward {}", limit(limits.from), limit(limits.toward))
}
