//! The command line, one file a command. Data goes to standard output, all else to standard error.

// In place of those of the standard library, which panic when nobody reads any more, as behind `| head`, or when the disk is full.
macro_rules! print {
    ($($text:tt)*) => { $crate::cli::terminal::out(format_args!($($text)*)) };
}
macro_rules! println {
    () => { print!("\n") };
    ($($text:tt)*) => { print!("{}\n", format_args!($($text)*)) };
}
macro_rules! eprint {
    ($($text:tt)*) => { $crate::cli::terminal::tell(format_args!($($text)*)) };
}
macro_rules! eprintln {
    ($($text:tt)*) => { eprint!("{}\n", format_args!($($text)*)) };
}

mod apply;
mod ask;
mod assets;
mod check;
mod confirm;
mod detach;
mod devices;
mod doctor;
mod exit;
mod explain;
mod findings;
mod flows;
mod history;
mod learn;
mod live;
mod monitor;
mod plan;
mod reload;
mod rollback;
mod run;
mod schema;
mod show;
mod simulate;
mod status;
mod terminal;
mod test;
mod top;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{self, Config};
use crate::diagnostics::Diagnostics;
pub(crate) use exit::Exit;
pub(crate) use terminal::OutputFormat;

/// Micro-segmentation for medical-device VLANs: decides every frame of a trunk by policy, in XDP.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  enforcer check /etc/enforcer/policy\n  enforcer test /etc/enforcer/policy\n  enforcer explain --src ct-01 --dst pacs-01 --service tcp/104\n  enforcer run --config /etc/enforcer/enforcer.toml\n  enforcer apply --confirm 10m --comment CHG0012345\n  enforcer confirm\n  enforcer monitor --verdict drop\n  enforcer detach\n\nExit codes: 0 fine, 1 wrong input or a finding, 2 usage or environment."
)]
struct Cli {
    /// How much goes to the log on standard error.
    #[arg(long, global = true, value_enum, default_value_t, env = "ENFORCER_LOG")]
    log_level: terminal::LogLevel,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Args)]
pub(crate) struct ConfigArgument {
    /// The configuration file.
    #[arg(long, short, default_value = "/etc/enforcer/enforcer.toml")]
    config: PathBuf,
}

impl ConfigArgument {
    /// Reads the configuration.
    pub(crate) fn load(&self) -> Result<Config, Diagnostics> {
        config::load(&self.config)
    }
}

#[derive(Subcommand)]
enum Command {
    /// Enforce the policy on the configured ports, until a signal.
    #[command(
        after_help = "Examples:\n  enforcer run                                        # as the systemd unit does\n  enforcer run --config lab.toml --log-level debug\n\nSIGHUP reads the policy anew. SIGTERM ends the controller, and enforcement stays, unless keep_enforcing_on_exit = false; `enforcer detach` ends it.\n\nExit codes: 0 ended by a signal or by detach; 1 wrong configuration; 2 environment."
    )]
    Run(ConfigArgument),
    /// Read the policy anew and put it in force; the running one stays if anything is wrong.
    #[command(
        after_help = "Examples:\n  enforcer reload --comment CHG0012345\n\n`enforcer apply` shows first what would change, and can go back by itself.\n\nExit codes: 0 in force; 1 wrong policy, or refused, or it cannot be kept; 2 no controller."
    )]
    Reload(ask::ChangeArguments),
    /// Put the policy of the configuration in force: plan, question, and on request a way back by itself.
    Apply(apply::Arguments),
    /// Make a change stay that waits to be confirmed.
    Confirm(confirm::Arguments),
    /// Go back to a policy that was in force before.
    Rollback(rollback::Arguments),
    /// Tell which policies were in force, and who changed what when.
    History(history::Arguments),
    /// Print the policy of a revision.
    Show(show::Arguments),
    /// Tell what is in force.
    #[command(
        after_help = "Examples:\n  enforcer status\n  enforcer status --output json | jq .generation\n\nExit codes: 0 ready; 1 not ready; 2 no controller."
    )]
    Status(ask::AskArguments),
    /// Tell which devices the policy in force has, their addresses, when they were seen last, and what they do.
    #[command(
        after_help = "Examples:\n  enforcer devices\n  enforcer devices --output json\n\nExit codes: 0 told; 2 no controller."
    )]
    Devices(ask::AskArguments),
    /// Show events as they come: frames that are refused, and the first of flows that a rule logs.
    Monitor(monitor::Arguments),
    /// Show who does how much at this moment: zones, devices, rules, reasons and ports.
    Top(top::Arguments),
    /// Tell of the flows that are kept: who talks to whom, by which rule, how much and since when.
    Flows(flows::Arguments),
    /// Look at the machine, the ports and the files, and tell what is in the way, with the cure.
    Doctor(doctor::Arguments),
    /// Take the enforcement off all ports and remove all that was kept, flows and counters included.
    #[command(
        after_help = "Examples:\n  enforcer detach --comment 'gateway is replaced'\n\nA controller that runs ends. Without one, this takes off by hand what it left.\n\nExit codes: 0 detached, or nothing was attached; 1 wrong configuration; 2 environment."
    )]
    Detach(ask::ChangeArguments),
    /// Check policy files and folders without touching anything.
    Check(check::Arguments),
    /// Print the JSON Schema of policy files, for editors that complete and check as one types.
    Schema(schema::Arguments),
    /// Explain what becomes of a frame: verdict, rule, stages, and the rules that nearly match.
    Explain(Box<explain::Arguments>),
    /// Tell what another policy would change, exactly, with an example packet for each change.
    Plan(plan::Arguments),
    /// Propose rules for what monitor mode let pass and no rule permits.
    Learn(learn::Arguments),
    /// Replay a capture: what a policy would have made of its frames, or what another one would change.
    Simulate(simulate::Arguments),
    /// Run the tests of a policy: does each of their frames meet with what the test expects?
    Test(test::Arguments),
    /// Write completions for shells, and manual pages.
    #[command(hide = true)]
    Assets(assets::Arguments),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    terminal::start_log(cli.log_level);
    match cli.command.run().and_then(|()| terminal::written()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            if !exit.message.is_empty() {
                eprintln!("{}", terminal::prefixed(&exit.message));
            }
            exit.code.into()
        }
    }
}

impl Command {
    fn run(&self) -> Result<(), Exit> {
        match self {
            Self::Run(config) => run::run(config),
            Self::Reload(arguments) => reload::run(arguments),
            Self::Apply(arguments) => apply::run(arguments),
            Self::Confirm(arguments) => confirm::run(arguments),
            Self::Rollback(arguments) => rollback::run(arguments),
            Self::History(arguments) => history::run(arguments),
            Self::Show(arguments) => show::run(arguments),
            Self::Status(arguments) => status::run(arguments),
            Self::Devices(arguments) => devices::run(arguments),
            Self::Monitor(arguments) => monitor::run(arguments),
            Self::Top(arguments) => top::run(arguments),
            Self::Flows(arguments) => flows::run(arguments),
            Self::Doctor(arguments) => doctor::run(arguments),
            Self::Detach(arguments) => detach::run(arguments),
            Self::Check(arguments) => check::run(arguments),
            Self::Schema(arguments) => schema::run(arguments),
            Self::Explain(arguments) => explain::run(arguments),
            Self::Plan(arguments) => plan::run(arguments),
            Self::Learn(arguments) => learn::run(arguments),
            Self::Simulate(arguments) => simulate::run(arguments),
            Self::Test(arguments) => test::run(arguments),
            Self::Assets(arguments) => assets::run(arguments),
        }
    }
}
