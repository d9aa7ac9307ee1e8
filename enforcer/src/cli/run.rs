//! `enforcer run`: the daemon.

use super::{ConfigArgument, Exit};
use crate::daemon;
use crate::kernel::Error;

pub(super) fn run(argument: &ConfigArgument) -> Result<(), Exit> {
    let config = argument.load()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::system("starting", error))?;
    let result = runtime.block_on(daemon::run(config));
    // A thread that is stuck in an output must not hold up the end.
    runtime.shutdown_background();
    Ok(result?)
}
