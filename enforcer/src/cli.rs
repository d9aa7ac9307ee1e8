//! The command line. Data goes to standard output, all else to standard error.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use serde_json::{Value, json};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{self, Config};
use crate::control::{self, CallError, Verb};
use crate::controller::Failure;
use crate::daemon;
use crate::diagnostics::Diagnostics;
use crate::kernel::Error;
use crate::kernel::offload::Offloads;
use crate::kernel::pins::Pins;
use crate::kernel::privileges;
use crate::policy;

/// Wrong input, or a finding.
const INPUT: u8 = 1;
/// Wrong usage, or the environment.
const ENVIRONMENT: u8 = 2;

/// Micro-segmentation for medical-device VLANs: decides every frame of a trunk by policy, in XDP.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  enforcer check /etc/enforcer/policy\n  enforcer run --config /etc/enforcer/enforcer.toml\n  enforcer reload\n  enforcer detach\n\nExit codes: 0 fine, 1 wrong input or a finding, 2 usage or environment."
)]
struct Cli {
    /// How much goes to the log on standard error.
    #[arg(long, global = true, value_enum, default_value_t, env = "ENFORCER_LOG")]
    log_level: LogLevel,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object, with its version.
    Json,
}

#[derive(clap::Args)]
struct ConfigArgument {
    /// The configuration file.
    #[arg(long, short, default_value = "/etc/enforcer/enforcer.toml")]
    config: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Enforce the policy on the configured ports, until a signal.
    Run(ConfigArgument),
    /// Read the policy anew and put it in force; the running one stays if anything is wrong.
    Reload(ConfigArgument),
    /// Tell what is in force.
    Status {
        #[command(flatten)]
        config: ConfigArgument,
        /// How to print it.
        #[arg(long, value_enum, default_value_t)]
        output: OutputFormat,
    },
    /// Take the enforcement off all ports and remove all that was kept, flows and counters included.
    Detach(ConfigArgument),
    /// Check policy files and folders without touching anything.
    Check {
        /// Policy files and folders.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// How to print the result.
        #[arg(long, value_enum, default_value_t)]
        output: OutputFormat,
    },
}

/// What a command ends with when it does not succeed: the exit code, and what goes to standard error.
struct Exit {
    code: u8,
    message: String,
}

impl Exit {
    fn input(message: impl Into<String>) -> Self {
        Self {
            code: INPUT,
            message: message.into(),
        }
    }
}

impl From<Diagnostics> for Exit {
    fn from(errors: Diagnostics) -> Self {
        Self {
            code: errors.exit_code(),
            message: errors.render(colour()).trim_end().to_owned(),
        }
    }
}

impl From<Error> for Exit {
    fn from(error: Error) -> Self {
        Self {
            code: ENVIRONMENT,
            message: error.to_string(),
        }
    }
}

impl From<Failure> for Exit {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Policy(errors) => errors.into(),
            Failure::Kernel(error) => error.into(),
        }
    }
}

impl From<CallError> for Exit {
    fn from(error: CallError) -> Self {
        let code = if matches!(error, CallError::Refused(_)) {
            INPUT
        } else {
            ENVIRONMENT
        };
        Self {
            code,
            message: error.to_string(),
        }
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(cli.log_level);
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            eprintln!("{}", prefixed(&exit.message));
            exit.code.into()
        }
    }
}

impl Cli {
    fn run(self) -> Result<(), Exit> {
        match self.command {
            Command::Run(argument) => run(config::load(&argument.config)?),
            Command::Reload(argument) => reload(&config::load(&argument.config)?),
            Command::Status { config, output } => status(&config::load(&config.config)?, output),
            Command::Detach(argument) => detach(&config::load(&argument.config)?),
            Command::Check { paths, output } => check(&paths, output),
        }
    }
}

fn run(config: Config) -> Result<(), Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::system("starting", error))?;
    let result = runtime.block_on(daemon::run(config));
    // A thread that is stuck in an output must not hold up the end.
    runtime.shutdown_background();
    Ok(result?)
}

fn reload(config: &Config) -> Result<(), Exit> {
    let answer = control::call(&config.runtime_directory, Verb::Reload)?;
    eprintln!("{}", summary(&answer["status"]));
    Ok(())
}

fn status(config: &Config, output: OutputFormat) -> Result<(), Exit> {
    let answer = control::call(&config.runtime_directory, Verb::Status)?;
    let status = &answer["status"];
    match output {
        OutputFormat::Json => println!("{status:#}"),
        OutputFormat::Human => print_status(status),
    }
    if status["ready"] == true {
        Ok(())
    } else {
        Err(Exit::input(format!("not ready: {}", reasons(status))))
    }
}

fn print_status(status: &Value) {
    println!("{}", summary(status));
    for port in status["ports"].as_array().into_iter().flatten() {
        let name = port["name"].as_str().unwrap_or_default();
        let mode = port["mode"].as_str().unwrap_or_default();
        let attached = if port["attached"] == true {
            "attached"
        } else {
            "NOT ATTACHED"
        };
        let tags = if port["tags_checked"] == true {
            ""
        } else {
            ", VLAN offload of the other end unknown"
        };
        let link = if port["up"] == true { "" } else { ", link down" };
        println!("  port {name}: {attached}, {mode}{link}{tags}");
    }
    let reload = &status["last_reload"];
    if let Some(at) = reload["at"].as_str() {
        let result = if reload["ok"] == true { "good" } else { "FAILED" };
        println!("  last reload: {at}, {result}");
    }
    if let Some(error) = reload["error"].as_str() {
        println!("{error}");
    }
}

/// One line on the policy in force.
fn summary(status: &Value) -> String {
    let generation = &status["generation"];
    match (generation["number"].as_u64(), generation["policy_hash"].as_str()) {
        (Some(number), Some(hash)) => {
            let since = generation["attached_at"].as_str().unwrap_or_default();
            format!("generation {number} in force since {since}, policy sha256 {hash}")
        }
        _ => "no policy is in force".to_owned(),
    }
}

fn reasons(status: &Value) -> String {
    let reasons = status["not_ready_because"].as_array().into_iter().flatten();
    reasons.filter_map(Value::as_str).collect::<Vec<_>>().join("; ")
}

/// Detaches: through the controller when one runs, else by hand.
fn detach(config: &Config) -> Result<(), Exit> {
    privileges::check()?;
    let ports = match Pins::open(&config.pin_directory) {
        Err(Error::Locked(_)) => {
            let answer = control::call(&config.runtime_directory, Verb::Detach)?;
            let ports = answer["detached"].as_array().into_iter().flatten();
            ports.filter_map(Value::as_str).map(str::to_owned).collect()
        }
        Err(error) => return Err(error.into()),
        Ok(pins) => detach_here(config, pins)?,
    };
    if ports.is_empty() {
        eprintln!("nothing was attached");
    } else {
        eprintln!("detached from {}", ports.join(", "));
    }
    Ok(())
}

fn detach_here(config: &Config, pins: Option<Pins>) -> Result<Vec<String>, Error> {
    let ports = pins.map_or(Ok(Vec::new()), Pins::remove_all)?;
    if config.state_directory.is_dir() {
        Offloads::open(&config.state_directory)?.restore_all()?;
    }
    Ok(ports)
}

fn check(paths: &[PathBuf], output: OutputFormat) -> Result<(), Exit> {
    match (policy::check(paths), output) {
        (Ok(summary), OutputFormat::Human) => println!("{summary}"),
        (Ok(summary), OutputFormat::Json) => println!("{:#}", good(&summary)),
        (Err(errors), OutputFormat::Human) => return Err(errors.into()),
        (Err(errors), OutputFormat::Json) => {
            println!("{:#}", bad(&errors));
            let count = errors.list.len();
            return Err(Exit {
                code: errors.exit_code(),
                message: format!("{count} errors"),
            });
        }
    }
    Ok(())
}

fn good(summary: &policy::Summary) -> Value {
    let sizes: serde_json::Map<_, _> = summary
        .tables
        .sizes()
        .into_iter()
        .map(|(table, size)| (table.to_owned(), json!(size)))
        .collect();
    let policy = &summary.policy;
    json!({
        "schema_version": 1, "ok": true, "errors": [],
        "zones": policy.zones.len() - 2, "devices": policy.devices.len(), "services": policy.services.len(),
        "rules": policy.rules.len(), "tables": sizes,
    })
}

fn bad(errors: &Diagnostics) -> Value {
    let error = |finding: &crate::diagnostics::Diagnostic| {
        let place = finding
            .at
            .map(|at| (errors.sources.file(at.file).0, errors.sources.position(at)));
        json!({
            "message": finding.message,
            "help": finding.help,
            "file": place.map(|(file, _)| Path::display(file).to_string()),
            "line": place.map(|(_, (line, _))| line),
            "column": place.map(|(_, (_, column))| column),
        })
    };
    json!({"schema_version": 1, "ok": false, "errors": errors.list.iter().map(error).collect::<Vec<_>>()})
}

/// Whether standard error takes colour.
fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Messages that do not start with a word of their own get one.
fn prefixed(message: &str) -> String {
    if message.contains("error") && message.contains('\n') {
        message.to_owned()
    } else {
        format!("error: {message}")
    }
}

fn start_log(level: LogLevel) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // The loader tells every relocation, and warns in hundreds of lines of type information that the kernel does not
    // take but does without.
    let loader = if level == LevelFilter::TRACE {
        level
    } else {
        LevelFilter::ERROR
    };
    let filter = Targets::new().with_default(level).with_target("aya", loader);
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(colour())
        .with_target(false);
    let log = tracing_subscriber::registry().with(filter);
    // The journal puts the time in front by itself.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.with(lines.without_time()).init();
    } else {
        log.with(lines).init();
    }
}
