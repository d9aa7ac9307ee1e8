//! What standard output and standard error are, and how text looks there.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;

use clap::ValueEnum;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::Exit;

/// What kept a result from standard output.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Writes to standard output. That nobody reads any more is no error; any other is told at the end, by [`written`].
pub(super) fn out(text: std::fmt::Arguments<'_>) {
    let mut output = io::stdout().lock();
    match output.write_fmt(text).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => drop(LOST.set(error)),
        _ => {}
    }
}

/// Writes to standard error, if anybody reads it.
pub(super) fn tell(text: std::fmt::Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(text);
}

/// Whether all of the result went to standard output.
pub(super) fn written() -> Result<(), Exit> {
    LOST.get().map_or(Ok(()), |error| {
        Err(Exit::environment(format!("writing to standard output: {error}")))
    })
}

/// How a command prints its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object, with its version.
    Json,
}

/// How much goes to the log.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// Whether standard error takes colour.
pub(crate) fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Messages that do not start with a word of their own get one.
pub(super) fn prefixed(message: &str) -> String {
    if message.contains("error") && message.contains('\n') {
        message.to_owned()
    } else {
        format!("error: {message}")
    }
}

pub(super) fn start_log(level: LogLevel) {
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
