//! `enforcer schema`: the JSON Schema of policy files, for editors.

use super::Exit;
use crate::policy;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  enforcer schema > policy.schema.json\n\nThen, in the first line of each policy file:\n  # yaml-language-server: $schema=policy.schema.json"
)]
pub(super) struct Arguments {}

// Commands can fail, this one does not.
#[allow(clippy::unnecessary_wraps)]
pub(super) fn run(_: &Arguments) -> Result<(), Exit> {
    println!("{:#}", policy::schema());
    Ok(())
}
