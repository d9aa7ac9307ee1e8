//! Metrics: a collector that reads the kernel's counters when it is asked, so there is nothing to keep up to date.
//!
//! Labels come from the configuration and the policy only, never from a frame.

mod report;
mod scrape;
mod sweep;
mod tables;

use std::sync::Arc;

use enforcer_common::abi::Stat;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts, Registry, TextEncoder};

use crate::state::State;
pub use report::{CounterReport, DeviceCounts, PortCounts, ReasonCounts, RuleCounts, ZoneCounts};
use scrape::Scrape;
pub use sweep::sweep;

/// All metrics of an enforcer.
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// Metrics that read `state` at each scrape.
    ///
    /// # Errors
    /// Never in practice: a defect in the names below.
    pub fn new(state: Arc<State>) -> prometheus::Result<Self> {
        let registry = Registry::new();
        registry.register(Box::new(EnforcerCollector::new(state)?))?;
        Ok(Self { registry })
    }

    /// The metrics page, in Prometheus text format.
    pub fn page(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// A single count of the kernel program; 0 before a generation was loaded.
pub fn stat(state: &State, stat: Stat) -> u64 {
    let counters = state.counters();
    counters.map_or(0, |counters| {
        scrape::per_cpu(&counters.stats, stat as u32).into_iter().sum()
    })
}

struct EnforcerCollector {
    state: Arc<State>,
    /// One description, so that the registry takes the collector.
    info: IntGaugeVec,
}

impl EnforcerCollector {
    fn new(state: Arc<State>) -> prometheus::Result<Self> {
        let opts = Opts::new("enforcer_build_info", "Always 1; the labels say what is running.");
        let info = IntGaugeVec::new(opts, &["version", "abi"])?;
        let abi = enforcer_common::abi::ABI_VERSION.to_string();
        info.with_label_values(&[env!("CARGO_PKG_VERSION"), abi.as_str()])
            .set(1);
        Ok(Self { state, info })
    }
}

impl Collector for EnforcerCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.info.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let status = self.state.status().clone();
        let mut scrape = Scrape::new(self.info.collect());
        scrape.controller(&status);
        scrape.ports(&status);
        scrape.output(&self.state);
        scrape.bindings(&self.state.bindings);
        scrape.learned(self.state.learned.counts());
        scrape.silence(&status.must_flow);
        if let (Some(counters), Some(generation)) = (self.state.counters(), &status.generation) {
            scrape.policy(generation);
            scrape.frames(counters, generation);
            scrape.losses(counters, generation);
            scrape.drops(counters, generation);
            scrape.rules(counters, generation);
            scrape.stats(counters);
            if self.state.table_use.is_quick() {
                sweep::count_all(&self.state, counters);
            }
            scrape.tables(&self.state, generation);
            scrape.state_tables(&self.state, counters);
        }
        scrape.families()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::{make_ready, state};

    #[test]
    fn the_page_tells_of_a_controller_without_a_policy() {
        let state = Arc::new(state());
        let page = Metrics::new(Arc::clone(&state)).unwrap().page().unwrap();
        for line in [
            "enforcer_ready 0",
            "enforcer_port_attached{port=\"trunk0\"} 0",
            "enforcer_reloads_total{result=\"failure\"} 0",
            "enforcer_events_output_lost_total 0",
            "enforcer_learned_connections{answered=\"yes\"} 0",
            "enforcer_learned_left_out_total 0",
            "enforcer_learned_saved 1",
            "enforcer_policy_confirm_seconds 0",
            "enforcer_policy_held 0",
        ] {
            assert!(page.contains(&format!("{line}\n")), "{line} is missing:\n{page}");
        }
        assert!(page.contains("enforcer_build_info{abi="), "{page}");
        assert!(!page.contains("enforcer_policy_generation"), "{page}");
    }

    #[test]
    fn the_page_follows_the_state() {
        let state = Arc::new(state());
        let metrics = Metrics::new(Arc::clone(&state)).unwrap();
        state.update(make_ready);
        let page = metrics.page().unwrap();
        for line in [
            "enforcer_ready 1",
            "enforcer_xdp_mode{mode=\"native\",port=\"trunk1\"} 1",
            "enforcer_last_reload_successful 1",
            "enforcer_last_reload_timestamp_seconds 17",
        ] {
            assert!(page.contains(&format!("{line}\n")), "{line} is missing:\n{page}");
        }
    }
}
