//! `enforcer reload`: the policy anew.

use super::{ConfigArgument, Exit, status};
use crate::control::{self, Verb};

pub(super) fn run(argument: &ConfigArgument) -> Result<(), Exit> {
    let now = control::call(&argument.load()?.runtime_directory, Verb::Reload)?;
    eprintln!("{}", status::summary(&now));
    Ok(())
}
