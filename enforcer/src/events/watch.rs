//! Clients that watch events as they come.
//!
//! Each has a queue of its own. One that takes its lines too slowly loses events, which are counted and told to it; the
//! reader of the ring, the output and the other clients do not notice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::line::Record;
use crate::policy::nearest;

/// Events that wait for a client.
const QUEUE: usize = 4096;

/// Which events a client wants. A field without values admits all; a field with several admits each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Zones of either end.
    pub zones: Vec<String>,
    /// Devices at either end.
    pub devices: Vec<String>,
    /// Rules that decided.
    pub rules: Vec<String>,
    /// Verdicts, by name.
    pub verdicts: Vec<String>,
    /// Reasons, by name.
    pub reasons: Vec<String>,
    /// VLAN tags: `110`, or `2000.110` for two.
    pub vlans: Vec<String>,
}

impl Filter {
    /// Whether an event is wanted.
    pub(super) fn admits(&self, record: &Record<'_>) -> bool {
        let ends = [&record.source, &record.destination];
        is_among(&self.zones, &ends.map(|end| end.zone))
            && is_among(&self.devices, &ends.map(|end| end.device))
            && is_among(&self.rules, &[record.rule])
            && is_among(&self.verdicts, &[record.verdict])
            && is_among(&self.reasons, &[record.reason])
            && (self.vlans.is_empty() || is_among(&self.vlans, &[vlan(record).as_deref()]))
    }
}

fn is_among(wanted: &[String], values: &[Option<&str>]) -> bool {
    wanted.is_empty() || wanted.iter().any(|one| values.contains(&Some(one.as_str())))
}

fn vlan(record: &Record<'_>) -> Option<String> {
    let outer = record.vlan?;
    Some(match record.inner_vlan {
        None => outer.to_string(),
        Some(inner) => format!("{outer}.{inner}"),
    })
}

/// Complains of the first of `wanted` that is none of `known`; `what` it should be.
///
/// # Errors
/// The complaint.
pub fn check_names<'n>(
    what: &str,
    wanted: &[String],
    known: &(impl Iterator<Item = &'n str> + Clone),
) -> Result<(), String> {
    for name in wanted {
        if known.clone().any(|known| known == name) {
            continue;
        }
        let hint = nearest(name, known.clone()).map(|near| format!("; did you mean `{near}`?"));
        return Err(format!(
            "the policy in force has no {what} `{name}`{}",
            hint.unwrap_or_default()
        ));
    }
    Ok(())
}

/// The clients.
#[derive(Default)]
pub struct Watchers(Mutex<Vec<Watcher>>);

struct Watcher {
    filter: Filter,
    queue: Sender<Arc<str>>,
    lost: Arc<AtomicU64>,
}

/// The client's end of its queue.
pub struct Watch {
    /// The events, as lines of JSON.
    pub lines: Receiver<Arc<str>>,
    lost: Arc<AtomicU64>,
}

impl Watch {
    /// Events lost so far because the queue was full.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Watchers {
    /// A new client. It is forgotten when its end is dropped.
    pub fn watch(&self, filter: Filter) -> Watch {
        let (queue, lines) = channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        self.list().push(Watcher {
            filter,
            queue,
            lost: Arc::clone(&lost),
        });
        Watch { lines, lost }
    }

    /// Hands an event to those who want it. `line` is the record as JSON.
    pub(super) fn offer(&self, record: &Record<'_>, line: &str) {
        let mut shared: Option<Arc<str>> = None;
        self.list().retain(|watcher| {
            if !watcher.filter.admits(record) {
                return !watcher.queue.is_closed();
            }
            let line = Arc::clone(shared.get_or_insert_with(|| line.into()));
            match watcher.queue.try_send(line) {
                Ok(()) => true,
                Err(TrySendError::Full(_)) => {
                    watcher.lost.fetch_add(1, Ordering::Relaxed);
                    true
                }
                Err(TrySendError::Closed(_)) => false,
            }
        });
    }

    fn list(&self) -> MutexGuard<'_, Vec<Watcher>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use enforcer_common::abi::Event;

    use super::super::tests::{drop_event, names};
    use super::*;

    type Field = fn(&mut Filter) -> &mut Vec<String>;

    fn admits(filter: &Filter) -> bool {
        let names = names();
        let event = drop_event(&names);
        filter.admits(&super::super::line::record(
            &event,
            std::time::SystemTime::UNIX_EPOCH,
            Some(&names),
        ))
    }

    #[test]
    fn each_field_admits_its_values_and_refuses_others() {
        let list = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect::<Vec<_>>();
        let fields: [(Field, &[&str], &str); 7] = [
            (|filter| &mut filter.zones, &["guests", "pumps"], "guests"),
            (|filter| &mut filter.zones, &["servers"], "unknown"),
            (|filter| &mut filter.devices, &["pump-1"], "pump-2"),
            (|filter| &mut filter.rules, &["default-deny"], "pumps-to-servers"),
            (|filter| &mut filter.verdicts, &["drop"], "pass"),
            (|filter| &mut filter.reasons, &["default-deny"], "vlan-undeclared"),
            (|filter| &mut filter.vlans, &["20", "110"], "110.7"),
        ];
        assert!(admits(&Filter::default()));
        for (field, good, bad) in fields {
            let mut filter = Filter::default();
            *field(&mut filter) = list(good);
            assert!(admits(&filter), "{filter:?}");
            *field(&mut filter) = list(&[bad]);
            assert!(!admits(&filter), "{filter:?}");
        }
        let both = Filter {
            zones: list(&["pumps"]),
            verdicts: list(&["pass"]),
            ..Filter::default()
        };
        assert!(!admits(&both), "all fields have to fit");
    }

    #[test]
    fn a_client_that_takes_nothing_loses_events_and_takes_none_from_others() {
        let names = names();
        let event = Event { ..drop_event(&names) };
        let record = super::super::line::record(&event, std::time::SystemTime::UNIX_EPOCH, Some(&names));
        let watchers = Watchers::default();
        let slow = watchers.watch(Filter::default());
        let mut quick = watchers.watch(Filter::default());
        let mut taken = 0;
        for _ in 0..QUEUE + 10 {
            watchers.offer(&record, "{}");
            taken += usize::from(quick.lines.try_recv().is_ok());
        }
        assert_eq!((slow.lost(), slow.lines.len()), (10, QUEUE));
        assert_eq!((quick.lost(), taken), (0, QUEUE + 10));
        drop((slow, quick));
        watchers.offer(&record, "{}");
        assert!(watchers.list().is_empty(), "who went away is forgotten");
    }

    #[test]
    fn a_slip_of_the_fingers_is_told() {
        let known = ["pumps", "servers"];
        let check = |name: &str| check_names("zone", &[name.to_owned()], &known.into_iter());
        assert_eq!(check("pumps"), Ok(()));
        assert!(
            check("pmups")
                .unwrap_err()
                .ends_with("no zone `pmups`; did you mean `pumps`?")
        );
    }
}
