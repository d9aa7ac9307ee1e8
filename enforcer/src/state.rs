//! What the controller tells of itself: the one source of metrics, `/readyz`, `enforcer status` and event names.

mod pending;
mod source;
mod table_use;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, SystemTime};

use aya::maps::{MapData, PerCpuArray};
use enforcer_common::abi::Counter;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::audit::Trail;
use crate::bindings::Bindings;
use crate::config::{Config, EventOutput};
use crate::events::watch::Watchers;
use crate::flows::{ActivityCache, Sightings};
use crate::kernel::generation::typed;
use crate::kernel::{Error, Generation, Sizes, SlotNames};
use crate::learn::{self, Recorder};
use crate::policy::TableSet;
use crate::silence::Standing;
pub use pending::PendingStatus;
pub use source::PolicySource;
pub use table_use::{TableCount, TableUse};

/// Generations whose names are kept for events that are still in the ring.
const NAMES_KEPT: usize = 4;

/// Shared by the controller, which writes it, and by all who tell of it.
pub struct State {
    status: RwLock<Status>,
    names: RwLock<Vec<Arc<GenerationNames>>>,
    counters: OnceLock<Counters>,
    /// What became of the events that came out of the ring.
    pub events: EventCounts,
    /// Whether the kernel program sends events.
    pub sends_events: bool,
    /// Clients that watch events.
    pub watchers: Watchers,
    /// What events tell of devices.
    pub sightings: Sightings,
    /// What devices and zones do.
    pub activity: ActivityCache,
    /// What no rule permits and monitor mode lets pass, kept for `enforcer learn`.
    pub learned: Recorder,
    /// Idle seconds after which a flow is forgotten, by the code of a `FlowState`.
    pub idle_seconds: [u32; 8],
    /// Addresses learnt by DHCP.
    pub bindings: Bindings,
    /// Who changed what is enforced, and who was refused.
    pub audit: Trail,
    /// How full the tables of state are.
    pub table_use: TableUse,
    /// Sizes of the shared maps.
    pub sizes: Sizes,
}

/// What became of the events that came out of the ring.
#[derive(Debug, Default)]
pub struct EventCounts {
    /// Handed to the output.
    pub written: AtomicU64,
    /// Lost because the output was too slow, or failed.
    pub lost: AtomicU64,
    /// Records of a size that no known version of the kernel program sends.
    pub malformed: AtomicU64,
}

/// The state of the controller at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// Version of this record.
    pub schema_version: u32,
    /// Version of the enforcer.
    pub version: &'static str,
    /// The controller's process.
    pub pid: u32,
    /// Whether `/readyz` says yes.
    pub ready: bool,
    /// Why it does not.
    pub not_ready_because: Vec<String>,
    /// The policy in force.
    pub generation: Option<GenerationStatus>,
    /// Where the policy in force comes from; `None` before the first.
    pub policy_source: Option<PolicySource>,
    /// The revision that it is kept as; `None` when it is none.
    pub revision: Option<u32>,
    /// Why the policy in force is not kept as a revision, when it should be.
    pub not_kept: Option<String>,
    /// Why changes are not in the audit trail.
    pub not_recorded: Option<String>,
    /// The revision in force is not what the files say, and goes before them at a start.
    pub held: bool,
    /// The change that goes back by itself unless it is confirmed.
    pub pending: Option<PendingStatus>,
    /// The ports, in the order of the configuration.
    pub ports: Vec<PortStatus>,
    /// The promises that are watched for silence, by name.
    pub must_flow: BTreeMap<String, Standing>,
    /// The last attempt to load a policy.
    pub last_reload: Option<ReloadStatus>,
    /// Attempts that succeeded.
    pub reloads_succeeded: u64,
    /// Attempts that failed.
    pub reloads_failed: u64,
}

/// The policy in force.
#[derive(Clone, Debug, Serialize)]
pub struct GenerationStatus {
    /// Number of the generation.
    pub number: u32,
    /// SHA-256 of the policy, hexadecimal.
    pub policy_hash: String,
    /// When it was put on the ports, RFC 3339.
    pub attached_at: String,
    /// The same, Unix seconds.
    #[serde(skip)]
    pub attached_unix: u64,
    /// Instructions that the verifier looked at.
    pub verified_instructions: Option<u32>,
    /// Entries of each policy table.
    pub tables: BTreeMap<&'static str, usize>,
    /// Names and counter slots.
    #[serde(skip)]
    pub slots: Arc<SlotNames>,
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PortStatus {
    /// The interface's name.
    pub name: String,
    /// The interface's index; `None` while there is none.
    pub ifindex: Option<u32>,
    /// `native` or `generic`.
    pub mode: &'static str,
    /// Whether the program is on it.
    pub attached: bool,
    /// Whether the interface is up and has a carrier.
    pub up: bool,
    /// Whether VLAN tags are known to be visible; false when the other end of a veth is out of reach.
    pub tags_checked: bool,
}

/// An attempt to load a policy.
#[derive(Clone, Debug, Serialize)]
pub struct ReloadStatus {
    /// When, RFC 3339.
    pub at: String,
    /// The same, Unix seconds.
    #[serde(skip)]
    pub unix: u64,
    /// Whether it is in force.
    pub ok: bool,
    /// What was wrong.
    pub error: Option<String>,
}

/// The names behind the numbers in the events of a generation.
pub struct GenerationNames {
    /// Number of the generation.
    pub number: u32,
    /// Its tables with their names.
    pub tables: Arc<TableSet>,
    /// Port names by interface index.
    pub ports: BTreeMap<u32, String>,
}

/// The counters in the kernel, the same for all generations.
pub struct Counters {
    /// By port slot and verdict.
    pub ports: PerCpuArray<MapData, Counter>,
    /// By port slot: frames that came in there, and that the paired port did not take.
    pub losses: PerCpuArray<MapData, u64>,
    /// By zone slot, reason and whether it would only have been dropped.
    pub drops: PerCpuArray<MapData, Counter>,
    /// By rule slot.
    pub rules: PerCpuArray<MapData, Counter>,
    /// By `Stat`.
    pub stats: PerCpuArray<MapData, u64>,
    /// By table of state: what was entered, removed and refused.
    pub tables: PerCpuArray<MapData, u64>,
    /// The tables of state, in the order of [`TableUse::NAMES`].
    pub state_tables: [MapData; 5],
}

impl Counters {
    fn open(generation: &Generation) -> Result<Self, Error> {
        Ok(Self {
            ports: typed(generation.map("PORT_COUNTERS")?, "PORT_COUNTERS")?,
            losses: typed(generation.map("REDIRECT_LOSSES")?, "REDIRECT_LOSSES")?,
            drops: typed(generation.map("DROP_COUNTERS")?, "DROP_COUNTERS")?,
            rules: typed(generation.map("RULE_COUNTERS")?, "RULE_COUNTERS")?,
            stats: typed(generation.map("STATS")?, "STATS")?,
            tables: typed(generation.map("TABLE_COUNTERS")?, "TABLE_COUNTERS")?,
            state_tables: [
                generation.map("FLOWS")?,
                generation.map("HALF_OPEN")?,
                generation.map("FRAGMENTS")?,
                generation.map("BUCKETS")?,
                generation.map("BINDINGS")?,
            ],
        })
    }
}

impl State {
    /// The state before anything is loaded.
    pub fn new(config: &Config) -> Self {
        let ports = config
            .ports
            .iter()
            .map(|port| PortStatus {
                name: port.interface.clone(),
                ifindex: None,
                mode: port.mode.name(),
                attached: false,
                up: false,
                tags_checked: false,
            })
            .collect();
        let mut status = Status {
            schema_version: 1,
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            ports,
            ..Status::default()
        };
        status.judge();
        Self {
            status: RwLock::new(status),
            names: RwLock::default(),
            counters: OnceLock::new(),
            events: EventCounts::default(),
            sends_events: config.events.output != EventOutput::None,
            watchers: Watchers::default(),
            sightings: Sightings::default(),
            activity: ActivityCache::default(),
            learned: Recorder::new(learn::path(&config.state_directory)),
            idle_seconds: config.idle_seconds,
            bindings: Bindings::new(&config.state_directory),
            audit: Trail::new(&config.state_directory),
            table_use: TableUse::default(),
            sizes: config.sizes,
        }
    }

    /// The state now.
    pub fn status(&self) -> RwLockReadGuard<'_, Status> {
        self.status.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and judges anew whether it is ready.
    pub fn update(&self, change: impl FnOnce(&mut Status)) {
        let mut status = self.status.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut status);
        status.judge();
    }

    /// The counters; `None` before a generation was loaded.
    pub fn counters(&self) -> Option<&Counters> {
        self.counters.get()
    }

    /// Opens the counters through a generation, the first time.
    pub fn open_counters(&self, generation: &Generation) -> Result<(), Error> {
        if self.counters.get().is_none() {
            let _ = self.counters.set(Counters::open(generation)?);
        }
        Ok(())
    }

    /// Makes the names of a generation known, before its first event can come.
    pub fn publish_names(&self, names: GenerationNames) {
        let mut kept = self.names.write().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|known| known.number != names.number);
        kept.push(Arc::new(names));
        let excess = kept.len().saturating_sub(NAMES_KEPT);
        kept.drain(..excess);
    }

    /// The names of a generation, while they are kept.
    pub fn names(&self, generation: u32) -> Option<Arc<GenerationNames>> {
        let kept = self.names.read().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|names| names.number == generation).cloned()
    }
}

impl EventCounts {
    /// Adds one to a count.
    pub fn add(count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Status {
    fn judge(&mut self) {
        let mut reasons = Vec::new();
        if self.generation.is_none() {
            reasons.push("no policy is in force".to_owned());
        }
        for port in self.ports.iter().filter(|port| !port.attached) {
            reasons.push(format!("the program is not on port {}", port.name));
        }
        let failed = self.last_reload.as_ref().is_some_and(|reload| !reload.ok);
        match self.policy_source {
            Some(PolicySource::Fallback) => {
                reasons.push("no policy is valid: zones and undeclared VLANs follow on_no_policy".to_owned());
            }
            Some(PolicySource::Adopted) => {
                reasons.push("the policy files are not valid: what an earlier controller enforced goes on".to_owned());
            }
            _ if failed => reasons.push("the last reload failed; the policy before it is in force".to_owned()),
            _ => {}
        }
        if let Some(error) = &self.not_kept {
            reasons.push(format!("the policy in force is not kept as a revision: {error}"));
        }
        if let Some(error) = &self.not_recorded {
            reasons.push(format!("changes are not in the audit trail: {error}"));
        }
        self.ready = reasons.is_empty();
        self.not_ready_because = reasons;
    }
}

/// A moment as RFC 3339, UTC, to the second.
pub fn rfc3339_seconds(at: SystemTime) -> String {
    rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(unix(at)))
}

/// The monotonic clock in milliseconds, to tell how long has passed between two readings.
pub fn monotonic_millis() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1000 + now.tv_nsec.cast_unsigned() / 1_000_000
}

/// A moment as RFC 3339, UTC.
pub fn rfc3339(at: SystemTime) -> String {
    OffsetDateTime::from(at).format(&Rfc3339).unwrap_or_default()
}

/// Unix seconds of a moment.
pub fn unix(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;

    pub(crate) fn state() -> State {
        let text = "policy = [\"p\"]\n[[port]]\ninterface = \"trunk0\"\n[[port]]\ninterface = \"trunk1\"\n";
        State::new(&crate::config::parse(Path::new("enforcer.toml"), text.into()).unwrap())
    }

    pub(crate) fn make_ready(status: &mut Status) {
        status.generation = Some(GenerationStatus {
            number: 3,
            policy_hash: "ab".into(),
            attached_at: String::new(),
            attached_unix: 17,
            verified_instructions: None,
            tables: BTreeMap::from([("trie", 5)]),
            slots: Arc::default(),
        });
        status.ports.iter_mut().for_each(|port| port.attached = true);
        status.last_reload = Some(ReloadStatus {
            at: String::new(),
            unix: 17,
            ok: true,
            error: None,
        });
    }

    #[test]
    fn ready_means_a_policy_all_ports_and_a_good_last_reload() {
        let state = state();
        assert_eq!(state.status().not_ready_because.len(), 3);
        state.update(make_ready);
        assert!(state.status().ready);
        state.update(|status| status.ports[1].attached = false);
        assert_eq!(state.status().not_ready_because, ["the program is not on port trunk1"]);
        state.update(|status| {
            make_ready(status);
            status.last_reload = Some(ReloadStatus {
                at: String::new(),
                unix: 0,
                ok: false,
                error: None,
            });
        });
        assert!(!state.status().ready);
        for source in [PolicySource::Fallback, PolicySource::Adopted] {
            state.update(|status| {
                make_ready(status);
                status.policy_source = Some(source);
            });
            assert!(!state.status().ready, "{}", source.name());
        }
    }

    #[test]
    fn names_of_old_generations_are_given_up() {
        let state = state();
        for number in 1..=6 {
            let tables = Arc::new(crate::events::tests::tables());
            state.publish_names(GenerationNames {
                number,
                tables,
                ports: BTreeMap::new(),
            });
        }
        assert!(state.names(2).is_none());
        assert!(state.names(3).is_some() && state.names(6).is_some());
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00Z");
    }
}
