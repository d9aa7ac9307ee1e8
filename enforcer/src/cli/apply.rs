//! `enforcer apply`: from the files to what is enforced, with a plan, a question, and a way back.

use std::time::Duration;

use serde_json::Value;

use super::ask::{ChangeArguments, consent, span};
use super::{Exit, plan, status};
use crate::config::Config;
use crate::control::{self, Order, Verb};
use crate::policy::{self, ValidPolicy};
use crate::words::hexadecimal;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  enforcer apply\n  enforcer apply --confirm 10m --comment CHG0012345      # then try what matters, and: enforcer confirm\n  enforcer apply --yes < /dev/null                       # from a script, which has read the plan\n\nThe policy is that of the configuration. With --confirm it goes back by itself to what was in force before, unless `enforcer confirm` comes in time: also when the controller is restarted meanwhile, and at once after a reboot.\n\nExit codes: 0 in force, or nothing changes; 1 wrong policy, or refused, or the answer was no; 2 no controller, or nobody to ask."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    change: ChangeArguments,
    /// Go back unless `enforcer confirm` comes in this time: 90s, 10m, 2h.
    #[arg(long, value_name = "TIME", value_parser = time_to_confirm)]
    confirm: Option<Duration>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

fn time_to_confirm(text: &str) -> Result<Duration, String> {
    let time = span(text)
        .ok()
        .filter(|time| control::CONFIRM.contains(&time.as_secs()));
    time.ok_or_else(|| "write a number and a unit, from 1s to 24h, such as 90s, 10m or 2h".to_owned())
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Exit> {
    let config = arguments.change.config()?;
    let now = control::call(&config.runtime_directory, Verb::Status)?;
    if let Some(waiting) = status::waiting(&now) {
        return Err(Exit::input(format!("{waiting}. Nothing was changed")));
    }
    let after = policy::load(&config.policy)?;
    let policy_hash = hexadecimal(&after.hash);
    let mut in_force = hash_in_force(&now).to_owned();
    if policy_hash == in_force {
        if now["held"] != true {
            eprintln!("nothing changes: this policy is in force");
            return Ok(());
        }
        eprintln!("nothing changes, but that a restart takes the files again: this policy is in force");
    } else {
        let before = before(&config, &now)?;
        if let Some(before) = &before {
            in_force = hexadecimal(&before.hash);
        }
        print!("{}", plan::from_running(&config, before.as_ref(), &after)?);
        consent("Put this in force?", arguments.yes)?;
    }
    let order = Order::Apply {
        policy_hash,
        in_force,
        confirm_seconds: arguments.confirm.map(|confirm| confirm.as_secs()),
    };
    let now = arguments.change.order(&config, order)?;
    eprintln!("{}", status::summary(&now));
    if let Some(waiting) = status::waiting(&now) {
        eprintln!("{waiting}");
    }
    Ok(())
}

/// The policy in force; `None` where there is none whose text is known.
pub(super) fn before(config: &Config, status: &Value) -> Result<Option<ValidPolicy>, Exit> {
    if matches!(status["policy_source"].as_str(), Some("files" | "revision")) {
        return plan::running(config).map(Some);
    }
    eprintln!("what is in force comes from no policy that is known: all of this is new");
    Ok(None)
}

/// SHA-256 of the policy in force.
pub(super) fn hash_in_force(status: &Value) -> &str {
    status["generation"]["policy_hash"].as_str().unwrap_or_default()
}
