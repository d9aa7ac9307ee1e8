//! What the controller tells of itself: the status, and lines in the log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use enforcer_common::abi::Meta;

use super::{Controller, Running};
use crate::kernel::links::{How, PortLink};
use crate::kernel::netdev;
use crate::state::{GenerationStatus, PortStatus, ReloadStatus, rfc3339_seconds, unix};
pub(super) use crate::words::hexadecimal;

impl Controller {
    pub(super) fn tell_of_ports(&self) {
        let ports: Vec<PortStatus> = self
            .config
            .ports
            .iter()
            .map(|port| {
                let link = self
                    .links
                    .iter()
                    .find(|link| link.interface == port.interface && link.is_alive());
                PortStatus {
                    name: port.interface.clone(),
                    ifindex: link.map(|link| link.ifindex),
                    mode: port.mode.name(),
                    attached: link.is_some(),
                    up: netdev::by_name(&port.interface).is_ok_and(|found| found.is_some_and(|device| device.up)),
                    tags_checked: false,
                }
            })
            .collect();
        self.state.update(|status| {
            for (mut port, known) in ports.into_iter().zip(&mut status.ports) {
                if known.attached && !port.attached {
                    tracing::error!(port = port.name, "the program is not on this port any more");
                }
                if port.up != known.up {
                    tracing::info!(port = port.name, up = port.up, "the port's link");
                }
                port.tags_checked = known.tags_checked;
                *known = port;
            }
        });
    }

    pub(super) fn tell_of_reload(&self, error: Option<String>) {
        let now = SystemTime::now();
        self.state.update(|status| {
            let ok = error.is_none();
            if ok {
                status.reloads_succeeded += 1;
            } else {
                status.reloads_failed += 1;
            }
            status.last_reload = Some(ReloadStatus {
                at: rfc3339_seconds(now),
                unix: unix(now),
                ok,
                error,
            });
        });
    }
}

pub(super) fn generation_status(running: &Running, now: SystemTime) -> GenerationStatus {
    let tables = &running.policy.tables;
    let info = running
        .generation
        .program()
        .ok()
        .and_then(|program| program.info().ok());
    GenerationStatus {
        number: running.generation.number(),
        policy_hash: hexadecimal(&tables.policy_hash),
        attached_at: rfc3339_seconds(now),
        attached_unix: unix(now),
        verified_instructions: info.and_then(|info| info.verified_instruction_count()),
        tables: tables.sizes().into_iter().collect(),
        slots: Arc::new(running.generation.slots().clone()),
    }
}

/// What the kernel knows of a policy whose text is lost.
pub(super) fn adopted_status(meta: &Meta) -> GenerationStatus {
    GenerationStatus {
        number: meta.generation,
        policy_hash: hexadecimal(&meta.policy_hash),
        attached_at: rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(meta.attached_at)),
        attached_unix: meta.attached_at,
        verified_instructions: None,
        tables: BTreeMap::new(),
        slots: Arc::default(),
    }
}

/// Tells how the program came onto a port. `adopted`: by a controller that found it there.
pub(super) fn log_link(link: &PortLink, adopted: bool) {
    let (port, mode) = (link.interface.as_str(), link.mode.name());
    match link.how {
        How::Attached => tracing::info!(port, mode, "attached"),
        How::Replaced if adopted => tracing::info!(port, mode, "adopted what an earlier controller left"),
        How::Replaced => tracing::debug!(port, mode, "replaced the program in one step"),
        How::Reattached => tracing::warn!(port, mode, "attached to an interface that was made anew"),
    }
}
