//! `enforcer confirm`: a change stays.

use super::Exit;
use super::ask::ChangeArguments;
use crate::control::{self, Order, Verb};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  enforcer confirm\n  enforcer confirm --comment 'CHG0012345: wards 3 and 4 checked'\n\nWhat nobody confirms goes back by itself; `enforcer status` tells when.\n\nExit codes: 0 it stays, 1 nothing waits to be confirmed, or it has gone back, 2 no controller."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    change: ChangeArguments,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Exit> {
    let config = arguments.change.config()?;
    let status = control::call(&config.runtime_directory, Verb::Status)?;
    // The controller says what is the matter if none waits.
    let revision = status["pending"]["revision"].as_u64().unwrap_or(0) as u32;
    arguments.change.order(&config, Order::Confirm { revision })?;
    eprintln!("revision {revision} stays in force");
    Ok(())
}
