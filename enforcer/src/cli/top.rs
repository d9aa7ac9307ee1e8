//! `enforcer top`: who does how much at this moment.

use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, SystemTime};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::ask::print_line;
use super::status::{reasons, summary};
use super::{ConfigArgument, Exit, terminal};
use crate::control::{self, CallError, Verb};
use crate::metrics::CounterReport;
use crate::state::rfc3339_seconds;
use crate::top::screen::{Next, Screen};
use crate::top::{Model, View};

/// How often keys and signals are looked at.
const KEYS_EVERY: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  enforcer top\n  enforcer top --view devices --interval 5\n  enforcer top --batch -n 1 --view rules --rows 5\n  enforcer top --batch --interval 60 >> top.log\n\nKeys: 1 to 5 or Tab for the view, left and right for the column to sort by, r to reverse, q to quit.\n\nExit codes: 0 told; 1 no policy is in force; 2 no enforcer runs, or standard output is no terminal."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// What to show: first, or with --batch only this. By default the zones, and with --batch all but the devices.
    #[arg(long, value_enum)]
    view: Option<View>,
    /// Seconds between two readings.
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// Print plain text, a block each interval, for logs and scripts.
    #[arg(long)]
    batch: bool,
    /// With --batch: end after so many blocks.
    #[arg(short, long, requires = "batch", value_parser = clap::value_parser!(u64).range(1..))]
    number: Option<u64>,
    /// With --batch: so many rows of each table, the first of them as sorted; 0 for all.
    #[arg(long, requires = "batch", default_value_t = 10)]
    rows: usize,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Exit> {
    let directory = arguments.config.load()?.runtime_directory;
    if arguments.batch {
        return batch(arguments, &directory);
    }
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Exit::environment(
            "standard input and output are no terminal: `enforcer top --batch` prints plain text",
        ));
    }
    // What is wrong at the start is told without a screen around it.
    let view = arguments.view.unwrap_or_default();
    let first = ask(&directory, view == View::Devices)?;
    interactive(arguments, &directory, view, first)
}

/// What the controller tells at one moment.
struct Told {
    report: CounterReport,
    headline: String,
    ready: bool,
}

fn ask(directory: &Path, devices: bool) -> Result<Told, CallError> {
    let status = control::call(directory, Verb::Status)?;
    let report = control::call(directory, Verb::Counters { devices })?;
    let report = serde_json::from_value(report)
        .map_err(|error| CallError::Refused(format!("the enforcer that runs is of another version: {error}")))?;
    Ok(Told {
        report,
        headline: headline(&status),
        ready: status["ready"] == true,
    })
}

/// `2026-11-24T11:00:00Z  ready  generation 3 in force since …`.
fn headline(status: &Value) -> String {
    let ready = if status["ready"] == true {
        "ready".to_owned()
    } else {
        format!("NOT READY: {}", reasons(status))
    };
    let now = rfc3339_seconds(SystemTime::now());
    format!("{now}  {ready}  {}", summary(status))
}

fn batch(arguments: &Arguments, directory: &Path) -> Result<(), Exit> {
    let usual = [View::Ports, View::Zones, View::Rules, View::Reasons];
    let views = arguments.view.as_ref().map_or(&usual[..], std::slice::from_ref);
    let devices = views.contains(&View::Devices);
    let mut model = Model::default();
    let mut left = arguments.number.unwrap_or(u64::MAX);
    loop {
        let told = ask(directory, devices)?;
        model.push(told.report);
        if model.has_rates() {
            let mut text = told.headline;
            for view in views {
                let mut table = model.table(*view);
                table.sort(view.usual_sort(), false);
                text.push_str("\n\n");
                text.push_str(table.text(arguments.rows).trim_end());
            }
            left -= 1;
            let rest = if left == 0 { "" } else { "\n" };
            if !print_line(&format!("{text}{rest}"))? || left == 0 {
                return Ok(());
            }
        }
        thread::sleep(Duration::from_secs(arguments.interval));
    }
}

/// Asks again and again in a thread of its own, so that keys are never kept waiting.
struct Poller {
    told: Receiver<Result<Told, CallError>>,
    wants_devices: Arc<AtomicBool>,
    wake: SyncSender<()>,
}

impl Poller {
    fn start(directory: &Path, devices: bool, interval: Duration) -> Self {
        let (sender, told) = mpsc::sync_channel(1);
        let (wake, woken) = mpsc::sync_channel(1);
        let wants_devices = Arc::new(AtomicBool::new(devices));
        let (wants, directory) = (Arc::clone(&wants_devices), directory.to_owned());
        // Ends with the process, or when nobody listens.
        thread::spawn(move || {
            while woken.recv_timeout(interval) != Err(mpsc::RecvTimeoutError::Disconnected) {
                if sender.send(ask(&directory, wants.load(Ordering::Relaxed))).is_err() {
                    return;
                }
            }
        });
        Self {
            told,
            wants_devices,
            wake,
        }
    }

    /// Asks for devices only while they are shown, and at once when they begin to be.
    fn follow(&self, view: View) {
        let devices = view == View::Devices;
        if self.wants_devices.swap(devices, Ordering::Relaxed) != devices {
            let _ = self.wake.try_send(());
        }
    }
}

fn interactive(arguments: &Arguments, directory: &Path, view: View, first: Told) -> Result<(), Exit> {
    let failed = |error: io::Error| Exit::environment(format!("the terminal: {error}"));
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&ended)).map_err(failed)?;
    }
    let poller = Poller::start(
        directory,
        view == View::Devices,
        Duration::from_secs(arguments.interval),
    );
    let mut screen = Screen::new(view, terminal::colour());
    screen.told(first.report, first.headline, first.ready);
    // Also restores the terminal when this program panics.
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let result = watch(&mut terminal, &mut screen, &poller, &ended);
    ratatui::restore();
    result.map_err(failed)
}

fn watch(terminal: &mut DefaultTerminal, screen: &mut Screen, poller: &Poller, ended: &AtomicBool) -> io::Result<()> {
    terminal.draw(|frame| screen.draw(frame))?;
    while !ended.load(Ordering::Relaxed) {
        let mut changed = false;
        while let Ok(told) = poller.told.try_recv() {
            changed = true;
            match told {
                Ok(told) => screen.told(told.report, told.headline, told.ready),
                Err(error) => screen.silent(silence(&error)),
            }
        }
        if event::poll(KEYS_EVERY)? {
            changed = true;
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release && screen.press(key) == Next::Quit => {
                    return Ok(());
                }
                _ => poller.follow(screen.view()),
            }
        }
        if changed {
            terminal.draw(|frame| screen.draw(frame))?;
        }
    }
    Ok(())
}

/// What stands on the screen while nobody answers.
fn silence(error: &CallError) -> String {
    let now = rfc3339_seconds(SystemTime::now());
    match error {
        CallError::Absent(_) => {
            format!("{now}: no enforcer answers; enforcement stays in place unless it was detached. Asking again")
        }
        error => format!("{now}: {error}. Asking again"),
    }
}
