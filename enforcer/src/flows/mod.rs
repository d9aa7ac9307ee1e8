//! The flows that the kernel program keeps, with names: for `enforcer flows`, `devices` and `top`, and for whoever wants to
//! know what a new policy would cut.
//!
//! ```text
//! FLOWS, HALF_OPEN ──walk──▶ Namer: endpoints ──▶ Query ──▶ the busiest, or all ──▶ FlowRecord, one line each
//!                                             └─▶ Activity: sums a device and a zone
//!                 ├─▶ refused: what no rule permits, for who learns
//!                 └─▶ spoken: when sources of a `must_flow` spoke, for who watches for silence
//! ```
//!
//! The controller reads the tables, because only it knows the names, and sends the records as lines: its memory is bounded
//! whatever the number of flows.

mod activity;
mod names;
mod record;
mod refused;
mod select;
mod spoken;

use std::path::Path;

pub use activity::{Activity, ActivityCache, DeviceReport, Sightings, Traffic};
pub use record::{FlowEnd, FlowRecord};
pub use refused::{RefusedFlow, refused};
pub use select::{LIMIT, Query, Summary, send};
pub(crate) use spoken::spoken;

use crate::control::{self, CallError, Verb};

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

#[cfg(test)]
mod tests {
    use super::*;

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
