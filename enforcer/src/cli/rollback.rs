//! `enforcer rollback`: back to what was in force before.

use serde_json::Value;

use super::apply::{before, hash_in_force};
use super::ask::{ChangeArguments, consent};
use super::{Exit, plan, status};
use crate::control::{self, Order, Verb};
use crate::policy;
use crate::revisions::Store;
use crate::words::hexadecimal;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  enforcer rollback                    # what was in force before; a change that waits to be confirmed goes back now\n  enforcer rollback 17 --comment 'CHG0012345 failed'\n  enforcer rollback --yes\n\nThe files of the configuration stay as they are, and do not count, also at a restart, until `enforcer apply` or `enforcer reload`.\n\nExit codes: 0 in force, or nothing changes; 1 no such revision, or it is not valid any more, or the answer was no; 2 no controller, or nobody to ask."
)]
pub(super) struct Arguments {
    /// The revision to go back to, as `enforcer history` numbers them; without, the one before.
    revision: Option<u32>,
    #[command(flatten)]
    change: ChangeArguments,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Exit> {
    let config = arguments.change.config()?;
    let now = control::call(&config.runtime_directory, Verb::Status)?;
    let store = Store::new(&config.state_directory);
    let revision = match arguments.revision {
        Some(revision) => revision,
        None => before_now(&store, &now)?,
    };
    let kept = store.read(revision)?;
    if now["revision"] == revision && now["pending"].is_null() {
        eprintln!("nothing changes: revision {revision} is in force");
        return Ok(());
    }
    let after = policy::load_texts(kept.files).map_err(|errors| {
        let text = Exit::from(errors).message;
        Exit::input(format!("revision {revision} is not valid for this enforcer:\n{text}"))
    })?;
    let before = before(&config, &now)?;
    let in_force = before.as_ref().map(|before| hexadecimal(&before.hash));
    print!("{}", plan::from_running(&config, before.as_ref(), &after)?);
    consent(&format!("Go back to revision {revision}?"), arguments.yes)?;
    let order = Order::Rollback {
        revision,
        in_force: in_force.unwrap_or_else(|| hash_in_force(&now).to_owned()),
    };
    let now = arguments.change.order(&config, order)?;
    eprintln!("{}", status::summary(&now));
    eprintln!("revision {revision} is held: the files do not count until `enforcer apply` or `enforcer reload`");
    if let Some(error) = now["not_kept"].as_str() {
        eprintln!("warning: a restart would not keep to that, because it cannot be written: {error}");
    }
    Ok(())
}

/// What was in force before.
fn before_now(store: &Store, status: &Value) -> Result<u32, Exit> {
    let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
    if let Some(previous) = number(&status["pending"]["previous"]) {
        return Ok(previous);
    }
    let Some(revision) = number(&status["revision"]) else {
        return Err(Exit::input(
            "what is in force is no revision, so nothing is before it. Name the one that is meant: `enforcer history` lists them",
        ));
    };
    let before = store.before(revision);
    before.ok_or_else(|| {
        Exit::input(format!(
            "there is no revision before {revision}: `enforcer history` lists them"
        ))
    })
}
