//! `enforcer plan`: what a policy would change.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::json;

use super::{ConfigArgument, Exit, OutputFormat};
use crate::config::Config;
use crate::control::{self, CallError, Verb};
use crate::flows::{self, Query};
use crate::plan::{self, Comparison, Flows, Plan};
use crate::policy::{self, ValidPolicy};
use crate::revisions::{Revision, Store, StoreError};
use crate::words::hexadecimal;

/// The policy in force.
const RUNNING: &str = "running";

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  enforcer plan\n  enforcer plan --policy policies/ --against /etc/enforcer/policy\n  enforcer plan --against 17\n  enforcer plan --policy policies/ --against main-checkout/policies --detailed-exitcode\n\nExit codes: 0 planned, 1 wrong input, 2 nothing could be read; with --detailed-exitcode: 0 no differences, 2 differences, 1 any error."
)]
pub(super) struct Arguments {
    /// Policy files and folders that would be put in force; without, those of the configuration.
    #[arg(long, num_args = 1.., value_name = "PATH")]
    policy: Vec<PathBuf>,
    /// What to compare with: `running`, the number of a revision, or policy files and folders.
    #[arg(long, num_args = 1.., value_name = "WHAT", default_value = RUNNING)]
    against: Vec<PathBuf>,
    #[command(flatten)]
    config: ConfigArgument,
    /// Tell by the exit code whether there are differences.
    #[arg(long)]
    detailed_exitcode: bool,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    output: OutputFormat,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Exit> {
    let detailed = arguments.detailed_exitcode;
    let plan = planned(arguments).map_err(|exit| if detailed { exit.into_input() } else { exit })?;
    match arguments.output {
        OutputFormat::Human => print!("{plan}"),
        OutputFormat::Json => {
            let mut value = json!(plan);
            value["schema_version"] = json!(1);
            value["differences"] = json!(!plan.is_empty());
            println!("{value:#}");
        }
    }
    if detailed && !plan.is_empty() {
        return Err(Exit::differences());
    }
    Ok(())
}

fn planned(arguments: &Arguments) -> Result<Plan, Exit> {
    let paths = match arguments.policy.as_slice() {
        [] => arguments.config.load()?.policy,
        paths => paths.to_vec(),
    };
    let after = policy::load(&paths)?;
    let before = against(arguments)?;
    if arguments.against == [Path::new(RUNNING)] {
        return from_running(&arguments.config.load()?, before.as_ref(), &after);
    }
    Ok(plan::plan(before.as_ref(), &after, SystemTime::now())?)
}

/// What a policy changes after the one that is in force, with what becomes of the flows of the enforcer that runs.
pub(super) fn from_running(config: &Config, before: Option<&ValidPolicy>, after: &ValidPolicy) -> Result<Plan, Exit> {
    let now = SystemTime::now();
    let Some(before) = before else {
        return Ok(plan::plan(None, after, now)?);
    };
    let mut comparison = Comparison::new(before, after, now)?;
    let mut plan = comparison.plan()?;
    plan.flows = of_running(config, comparison);
    Ok(plan)
}

/// What becomes of the flows of the enforcer that runs, if one does.
fn of_running(config: &Config, comparison: Comparison<'_>) -> Option<Flows> {
    let ports: Vec<_> = config
        .ports
        .iter()
        .map(|port| (port.interface.clone(), port.monitor))
        .collect();
    let mut sieve = comparison.sieve(&ports);
    match flows::fetch(&config.runtime_directory, &Query::default(), |flow| sieve.take(flow)) {
        Ok(_) => Some(sieve.end()),
        Err(CallError::Absent(_)) => None,
        Err(error) => {
            eprintln!("warning: what becomes of the flows that are open is not known: {error}");
            None
        }
    }
}

/// The policy to compare with; `None` where none has ever been in force.
fn against(arguments: &Arguments) -> Result<Option<ValidPolicy>, Exit> {
    let [one] = arguments.against.as_slice() else {
        return Ok(Some(policy::load(&arguments.against)?));
    };
    if one == Path::new(RUNNING) {
        let found = in_force(&arguments.config.load()?)?;
        if found.is_none() {
            eprintln!(
                "no enforcer runs here, and no policy was ever in force: compared with an empty one, which refuses everything; until the first start nothing is refused"
            );
        }
        return Ok(found);
    }
    let number = one
        .to_str()
        .and_then(|text| text.parse().ok())
        .filter(|_| !one.exists());
    match number {
        Some(number) => kept(Store::new(&arguments.config.load()?.state_directory).read(number)?).map(Some),
        None => Ok(Some(policy::load(&arguments.against)?)),
    }
}

/// The policy in force; without one, an error.
pub(super) fn running(config: &Config) -> Result<ValidPolicy, Exit> {
    in_force(config)?.ok_or_else(|| Exit::environment("no enforcer runs here, and no revision is kept"))
}

/// The policy in force: the revision that has its hash, or the files of the configuration if they still do. `None` where none ever was.
fn in_force(config: &Config) -> Result<Option<ValidPolicy>, Exit> {
    let store = Store::new(&config.state_directory);
    let status = match control::call(&config.runtime_directory, Verb::Status) {
        Ok(status) => status,
        Err(CallError::Absent(_)) => return last(&store),
        Err(error) => return Err(error.into()),
    };
    let Some(hash) = status["generation"]["policy_hash"].as_str() else {
        return Err(Exit::input(
            "no policy is in force to compare with; name one: --against DIR",
        ));
    };
    for header in store.list() {
        match header {
            Ok(header) if header.policy_hash == hash => return kept(store.read(header.number)?).map(Some),
            // Without the folder nothing is known; without a damaged revision, the rest is.
            Err(error @ StoreError::Disk { .. }) => return Err(error.into()),
            _ => {}
        }
    }
    let same = |policy: &ValidPolicy| hexadecimal(&policy.hash) == hash;
    policy::load(&config.policy).ok().filter(same).map(Some).ok_or_else(|| {
        Exit::input(format!(
            "the text of the policy in force is not kept: no revision has its sha256 {hash}, and the files of the \
             configuration have changed since; name what to compare with: --against DIR or REVISION"
        ))
    })
}

/// Where no enforcer runs: what was in force last.
fn last(store: &Store) -> Result<Option<ValidPolicy>, Exit> {
    let number = store.pointer().in_force;
    let Some(revision) = store.newest_good(number) else {
        return Ok(None);
    };
    eprintln!(
        "no enforcer runs here; compared with revision {}, which was in force last",
        revision.header.number
    );
    kept(revision).map(Some)
}

fn kept(revision: Revision) -> Result<ValidPolicy, Exit> {
    Ok(policy::load_texts(revision.files)?)
}

impl From<StoreError> for Exit {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Disk { .. } => Self::environment(error.to_string()),
            StoreError::Missing(_) | StoreError::Damaged { .. } => Self::input(error.to_string()),
        }
    }
}
