//! `enforcer reload`: the policy anew.

use super::ask::ChangeArguments;
use super::{Exit, status};
use crate::control::Order;

pub(super) fn run(arguments: &ChangeArguments) -> Result<(), Exit> {
    let now = arguments.order(&arguments.config()?, Order::Reload)?;
    eprintln!("{}", status::summary(&now));
    Ok(())
}
