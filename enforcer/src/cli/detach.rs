//! `enforcer detach`: through the controller when one runs, else by hand.

use serde_json::Value;

use super::{ConfigArgument, Exit};
use crate::config::Config;
use crate::control::{self, Verb};
use crate::kernel::Error;
use crate::kernel::offload::Offloads;
use crate::kernel::pins::Pins;
use crate::kernel::privileges;

pub(super) fn run(argument: &ConfigArgument) -> Result<(), Exit> {
    let config = argument.load()?;
    privileges::check()?;
    let ports = match Pins::open(&config.pin_directory) {
        Err(Error::Locked(_)) => {
            let ports = control::call(&config.runtime_directory, Verb::Detach)?;
            let ports = ports.as_array().into_iter().flatten();
            ports.filter_map(Value::as_str).map(str::to_owned).collect()
        }
        Err(error) => return Err(error.into()),
        Ok(pins) => detach_here(&config, pins)?,
    };
    if ports.is_empty() {
        eprintln!("nothing was attached");
    } else {
        eprintln!("detached from {}", ports.join(", "));
    }
    Ok(())
}

fn detach_here(config: &Config, pins: Option<Pins>) -> Result<Vec<String>, Error> {
    let ports = pins.map_or(Ok(Vec::new()), Pins::remove_all)?;
    if config.state_directory.is_dir() {
        Offloads::open(&config.state_directory)?.restore_all()?;
    }
    Ok(ports)
}
