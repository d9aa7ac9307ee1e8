//! `enforcer learn`: rules for what monitor mode let pass.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use serde_json::json;

use super::ask::{print_line, span};
use super::{ConfigArgument, Exit, OutputFormat};
use crate::learn::{self, LIMIT, Store, Unfit, Wishes};
use crate::policy;
use crate::state::unix;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  enforcer learn\n  enforcer learn > learned.yaml          # to be reviewed, and then put beside the policy\n  enforcer learn --since 30d --min-count 3\n  enforcer learn --wider from          # the zone instead of the devices that were seen to ask\n  enforcer learn --store learned.ndjson --policy policies/ --output json\n\nRules go to standard output, what is left out to standard error. The policy together with the rules is checked, and held to permit all that the rules are for.\n\nExit codes: 0 proposed, also when there is nothing to propose; 1 wrong input, or a wider rule breaks a promise of the policy; 2 nothing could be read."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// What was seen; without, what the controller of the configuration keeps.
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// Policy files and folders that the rules are to be added to; without, those of the configuration.
    #[arg(long, num_args = 1.., value_name = "PATH")]
    policy: Vec<PathBuf>,
    /// Only what was seen in this time: 90min, 12h, 30d, 6w.
    #[arg(long, value_name = "TIME", value_parser = span)]
    since: Option<Duration>,
    /// Only what was seen so often.
    #[arg(long, value_name = "N", default_value_t = 1)]
    min_count: u64,
    /// Propose more than was seen.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHAT")]
    wider: Vec<Wider>,
    /// Propose rules also for TCP that nobody answered.
    #[arg(long)]
    unanswered: bool,
    /// How to print them: `human` is policy text.
    #[arg(long, value_enum, default_value_t)]
    output: OutputFormat,
}

/// What rules may permit beyond what was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Wider {
    /// The whole zone of who asks.
    From,
    /// The whole zone of who is asked.
    To,
    /// All ports between those seen, of four and more from 1024 on.
    Ports,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Exit> {
    let (store, paths) = arguments.inputs()?;
    let store = read(&store)?;
    let policy = policy::load(&paths)?;
    let proposal = learn::propose(&store, &policy, &arguments.wishes())?;
    let text = learn::text(&proposal);
    learn::verify(&policy, &proposal, &text)?;
    match arguments.output {
        OutputFormat::Human => {
            eprint!("{}", learn::findings_text(&proposal));
            print_line(text.trim_end())?;
        }
        OutputFormat::Json => {
            let mut value = json!(proposal);
            value["schema_version"] = json!(1);
            value["policy"] = json!(text);
            print_line(&format!("{value:#}"))?;
        }
    }
    Ok(())
}

impl Arguments {
    /// The store, and the policy.
    fn inputs(&self) -> Result<(PathBuf, Vec<PathBuf>), Exit> {
        if let (Some(store), false) = (&self.store, self.policy.is_empty()) {
            return Ok((store.clone(), self.policy.clone()));
        }
        let config = self.config.load()?;
        let store = self.store.clone();
        let store = store.unwrap_or_else(|| learn::path(&config.state_directory));
        let policy = if self.policy.is_empty() {
            config.policy
        } else {
            self.policy.clone()
        };
        Ok((store, policy))
    }

    fn wishes(&self) -> Wishes {
        let wider = |what| self.wider.contains(&what);
        let now = unix(SystemTime::now());
        Wishes {
            since: self.since.map_or(0, |span| now.saturating_sub(span.as_secs())),
            min_count: self.min_count,
            wider_ends: [wider(Wider::From), wider(Wider::To)],
            wider_ports: wider(Wider::Ports),
            unanswered: self.unanswered,
        }
    }
}

fn read(path: &std::path::Path) -> Result<Store, Exit> {
    let shown = path.display();
    match Store::load(path, LIMIT) {
        Ok(loaded) => {
            if loaded.lost > 0 {
                eprintln!("warning: {shown}: {} lines are damaged, and left out", loaded.lost);
            }
            Ok(loaded.store)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Exit::environment(format!(
            "there is no {shown}: the controller writes it when monitor mode lets something pass that no rule permits. \
             Run the zones, or the port, in monitor mode; --store names another file"
        ))),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(Exit::input(format!("{shown} holds nothing that was seen: {error}")))
        }
        Err(error) => Err(Exit::environment(format!("cannot read {shown}: {error}"))),
    }
}

impl From<Unfit> for Exit {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Wrong(errors) => errors.into(),
            Unfit::Refuses(_) => Self::input(unfit.to_string()),
        }
    }
}
