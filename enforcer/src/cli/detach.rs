//! `enforcer detach`: through the controller when one runs, else by hand.

use serde_json::Value;

use super::Exit;
use super::ask::ChangeArguments;
use crate::audit::{Deed, Trail, What, Who};
use crate::config::Config;
use crate::control::Order;
use crate::kernel::Error;
use crate::kernel::offload::Offloads;
use crate::kernel::pins::Pins;
use crate::kernel::privileges;
use crate::revisions::Store;

pub(super) fn run(arguments: &ChangeArguments) -> Result<(), Exit> {
    let config = arguments.config()?;
    privileges::check()?;
    let ports = match Pins::open(&config.pin_directory) {
        Err(Error::Locked(_)) => {
            let ports = arguments.order(&config, Order::Detach)?;
            let ports = ports.as_array().into_iter().flatten();
            ports.filter_map(Value::as_str).map(str::to_owned).collect()
        }
        Err(error) => return Err(error.into()),
        Ok(pins) => {
            if pins.is_some() {
                record(&config, arguments.comment());
            }
            detach_here(&config, pins)?
        }
    };
    if ports.is_empty() {
        eprintln!("nothing was attached");
    } else {
        eprintln!("detached from {}", ports.join(", "));
    }
    Ok(())
}

/// Where no controller runs, nobody else writes the audit trail.
fn record(config: &Config, comment: &str) {
    let trail = Trail::new(&config.state_directory);
    trail.open(Store::new(&config.state_directory).pointer().last.as_ref());
    trail.done(Deed::now(Some(Who::this_process()), What::Detach, comment));
    if let Err(error) = trail.flush() {
        eprintln!("this is not in the audit trail: {error}");
    }
}

fn detach_here(config: &Config, pins: Option<Pins>) -> Result<Vec<String>, Error> {
    let ports = pins.map_or(Ok(Vec::new()), Pins::remove_all)?;
    if config.state_directory.is_dir() {
        Offloads::open(&config.state_directory)?.restore_all()?;
    }
    Ok(ports)
}
