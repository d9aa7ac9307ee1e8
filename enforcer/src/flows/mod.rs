//! The flows that the kernel program keeps, with names: for `enforcer flows`, `devices` and `top`, and for whoever wants to
//! know what a new policy would cut.
//!
//! ```text
//! FLOWS, HALF_OPEN ──walk──▶ Namer: endpoints ──▶ Query ──▶ the busiest, or all ──▶ FlowRecord, one line each
//!                                             └─▶ Activity: sums a device and a zone
//!                 └─▶ refused: what no rule permits, for who learns
//! ```
//!
//! The controller reads the tables, because only it knows the names, and sends the records as lines: its memory is bounded
//! whatever the number of flows.

mod activity;
mod names;
mod record;
mod refused;
mod select;

use std::path::Path;

use enforcer_common::verdict::Verdict;

pub use activity::{Activity, ActivityCache, DeviceReport, Sightings, Traffic};
pub use record::{FlowEnd, FlowRecord};
pub use refused::{RefusedFlow, refused};
pub use select::{LIMIT, Query, Summary, send};

use crate::control::{self, CallError, Verb};
use crate::offline::{self, Outcome, Rig, build};
use crate::policy::probe::{Probe, Words};

/// Asks the controller for flows, and shows each to `visit`, in the order of the query. With [`Query::limit`] 0 these are all,
/// a million of them in some seconds, in no order.
///
/// # Errors
/// When no controller answers, or it refuses the query.
pub fn fetch(runtime_directory: &Path, query: &Query, mut visit: impl FnMut(FlowRecord)) -> Result<Summary, CallError> {
    let mut lines = control::stream(runtime_directory, Verb::Flows(query.clone()))?;
    while let Some(line) = lines.next_line()? {
        match serde_json::from_str(&line) {
            Ok(record::Line::Flow(flow)) => visit(*flow),
            Ok(record::Line::Summary { summary }) => return Ok(summary),
            Err(error) => return Err(lines.broken(std::io::Error::other(format!("a line that is none: {error}")))),
        }
    }
    Err(lines.broken(std::io::ErrorKind::UnexpectedEof.into()))
}

/// What a policy makes of a flow that exists: of a frame of its initiator. It would be cut if
/// [`is_cut`] says so of the outcome. The rig's own flows and budgets are forgotten, so that flows are judged one by one.
///
/// # Errors
/// Why the policy knows no such frame: an address that has no VLAN in it any more. Such a flow would be cut too.
pub fn fate<'r>(flow: &FlowRecord, rig: &'r mut Rig) -> Result<Outcome<'r>, String> {
    let (Some(source), Some(destination)) = (flow.initiator.address, flow.responder.address) else {
        return Err("it has no addresses".to_owned());
    };
    rig.forget();
    let mut words = vec![
        ("src", source.to_string()),
        ("dst", destination.to_string()),
        ("service", flow.service.clone()),
    ];
    words.extend(flow.initiator.port.map(|port| ("sport", port.to_string())));
    words.extend(flow.link.clone().map(|vlan| ("vlan", vlan)));
    let probe = Probe::from_command_line(&Words::new(words), rig.policy())?;
    let frame = build::octets(&probe);
    Ok(rig.outcome(frame.as_slice(), offline::now()))
}

/// Whether a flow ends with which a policy deals so.
pub fn is_cut(outcome: &Outcome<'_>) -> bool {
    outcome.verdict == Verdict::Drop
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::tests::policy;

    /// What a policy with this rule makes of a session of a pump with a server.
    fn judged(services: &str) -> Result<bool, String> {
        let policy = policy(&format!(
            "rules:\n  pumps-to-servers: {{from: pumps, to: servers, services: [{services}], action: allow, \
             limit: {{rate: 1pps, burst: 1, scope: rule}}}}\n"
        ));
        let mut rig = Rig::new(policy, 0).unwrap();
        let mut judge = |source: &str| fate(&flow(source, "tcp/443"), &mut rig).map(|outcome| is_cut(&outcome));
        // The limit of the rule is not used up by judging.
        assert_eq!(judge("10.10.110.21"), judge("10.10.110.21"));
        assert!(judge("10.99.0.1").unwrap_err().contains("10.99.0.1"));
        judge("10.10.110.21")
    }

    fn flow(source: &str, service: &str) -> FlowRecord {
        let end = |address: &str, port| FlowEnd {
            zone: None,
            device: None,
            address: address.parse().ok(),
            port: Some(port),
        };
        FlowRecord {
            schema_version: 1,
            established: true,
            state: "established".into(),
            realm: None,
            link: None,
            initiator: end(source, 40_000),
            responder: end("10.20.0.1", 443),
            service: service.into(),
            rule: None,
            rule_at: None,
            would_drop: None,
            generation: 1,
            age_seconds: 0,
            idle_seconds: 0,
            sent: Traffic::default(),
            received: Traffic::default(),
        }
    }

    #[test]
    fn a_flow_is_cut_by_a_policy_that_no_longer_permits_it() {
        assert_eq!(judged("tcp/443"), Ok(false));
        assert_eq!(judged("tcp/80"), Ok(true));
    }

    #[test]
    fn echoes_are_judged_too() {
        let policy = policy("rules:\n  ping: {from: pumps, to: servers, services: [icmp/echo], action: allow}\n");
        let mut rig = Rig::new(policy, 0).unwrap();
        let echo = FlowRecord {
            initiator: FlowEnd {
                port: None,
                ..flow("10.10.110.21", "").initiator
            },
            ..flow("10.10.110.21", "icmp/8/0")
        };
        assert!(!is_cut(&fate(&echo, &mut rig).unwrap()));
        let other = flow("10.10.110.21", "tcp/23");
        assert!(is_cut(&fate(&other, &mut rig).unwrap()));
    }

    #[test]
    fn a_record_survives_the_way_to_the_client() {
        let line = serde_json::to_string(&record::Line::Flow(Box::new(flow("10.0.0.1", "tcp/1")))).unwrap();
        assert!(
            matches!(serde_json::from_str(&line).unwrap(), record::Line::Flow(back) if *back == flow("10.0.0.1", "tcp/1"))
        );
        let summary = Summary {
            matched: 3,
            ..Summary::default()
        };
        let line = serde_json::to_string(&record::Line::Summary { summary }).unwrap();
        assert!(
            matches!(serde_json::from_str(&line).unwrap(), record::Line::Summary { summary: back } if back == summary)
        );
    }
}
