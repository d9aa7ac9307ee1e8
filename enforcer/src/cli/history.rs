//! `enforcer history`: which policies were in force, and who changed what when.

use std::time::{Duration, SystemTime};

use serde_json::json;

use super::ask::{columns, duration, harmless};
use super::{ConfigArgument, Exit, OutputFormat};
use crate::audit::{self, Deed, Entry, Outcome, Reading, What};
use crate::config::Config;
use crate::control::{self, CallError, Verb};
use crate::revisions::{Header, Pointer, Store, StoreError};
use crate::state::rfc3339_seconds;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  enforcer history\n  enforcer history --limit 100\n  enforcer history --verify               # is the audit trail as it was written?\n  enforcer history --output json\n\nRevisions are the policies that were in force, the last 50. Below them stands the end of the audit trail, refused calls included.\n\nExit codes: 0 told; 1 the audit trail was changed (--verify); 2 the state directory cannot be read."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// How many changes to show, the newest first.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Check that no line of the audit trail was changed, taken out or cut off, and show nothing else.
    #[arg(long)]
    verify: bool,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    output: OutputFormat,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Exit> {
    let config = arguments.config.load()?;
    let history = History::read(&config)?;
    match (arguments.verify, arguments.output) {
        (false, OutputFormat::Human) => print!("{}", history.text(arguments.limit)),
        (true, OutputFormat::Human) => history.print_verified(),
        (_, OutputFormat::Json) => println!("{:#}", history.json(arguments.limit)),
    }
    match history.trail.findings.len() {
        0 => Ok(()),
        _ if !arguments.verify => {
            eprintln!("warning: the audit trail is not as it was written: enforcer history --verify");
            Ok(())
        }
        1 => Err(Exit::input("the audit trail is not as it was written: 1 finding")),
        count => Err(Exit::input(format!(
            "the audit trail is not as it was written: {count} findings"
        ))),
    }
}

struct History {
    /// As the running controller says; without one, what was in force last.
    in_force: Option<u32>,
    pointer: Pointer,
    revisions: Vec<Result<Header, StoreError>>,
    trail: Reading,
}

impl History {
    fn read(config: &Config) -> Result<Self, Exit> {
        let store = Store::new(&config.state_directory);
        let mut revisions = store.list();
        if let Some(Err(StoreError::Disk { .. })) = revisions.first()
            && let Some(Err(error)) = revisions.pop()
        {
            return Err(error.into());
        }
        let mut pointer = Pointer::default();
        let trail = audit::settled(|| {
            pointer = store.pointer();
            let mut trail = audit::read(&config.state_directory)?;
            trail.compare(pointer.last.as_ref());
            Ok(trail)
        });
        let trail = trail.map_err(|error| {
            let folder = config.state_directory.display();
            Exit::environment(format!("reading the audit trail in {folder}: {error}"))
        })?;
        let in_force = match control::call(&config.runtime_directory, Verb::Status) {
            Ok(status) => status["revision"].as_u64().map(|number| number as u32),
            Err(CallError::Absent(_)) => {
                eprintln!("no enforcer runs here: this is what was in force last");
                Some(pointer.in_force)
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            in_force,
            pointer,
            revisions,
            trail,
        })
    }

    fn text(&self, limit: usize) -> String {
        let mut rows = vec![["REVISION", "SINCE", "BY", "STATE", "COMMENT"].map(str::to_owned)];
        rows.extend(self.revisions.iter().map(|revision| self.revision(revision)));
        let revisions = columns(&rows);
        let mut rows = vec![["WHEN", "WHO", "WHAT", "COMMENT"].map(str::to_owned)];
        rows.extend(self.trail.entries.iter().rev().take(limit).map(row));
        format!("{revisions}\n{}", columns(&rows))
    }

    fn revision(&self, revision: &Result<Header, StoreError>) -> [String; 5] {
        match revision {
            Ok(header) => [
                header.number.to_string(),
                rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(header.at)),
                self.maker(header),
                self.state(header.number),
                harmless(&header.comment),
            ],
            Err(StoreError::Damaged { number, why }) => {
                let nothing = || "-".to_owned();
                [
                    number.to_string(),
                    nothing(),
                    nothing(),
                    format!("DAMAGED: {why}"),
                    String::new(),
                ]
            }
            Err(error) => [
                "-".to_owned(),
                "-".to_owned(),
                "-".to_owned(),
                error.to_string(),
                String::new(),
            ],
        }
    }

    fn state(&self, number: u32) -> String {
        let pending = self.pointer.pending.as_ref();
        match pending.filter(|_| number == self.pointer.in_force) {
            Some(pending) => {
                let left = duration(pending.remaining());
                format!("in force, goes back to {} in {left} unless confirmed", pending.previous)
            }
            None if self.in_force == Some(number) && self.pointer.held => "in force, held".to_owned(),
            None if self.in_force == Some(number) => "in force".to_owned(),
            None => "kept".to_owned(),
        }
    }

    /// Who made a revision: by name, if the trail still has it.
    fn maker(&self, header: &Header) -> String {
        let made = |entry: &&Entry| {
            entry.deed.revision == Some(header.number)
                && matches!(entry.deed.what, What::Start | What::Reload | What::Apply)
        };
        match (self.trail.entries.iter().find(made), header.uid) {
            (Some(entry), _) => who(&entry.deed),
            (None, Some(uid)) => format!("uid {uid}"),
            (None, None) => "-".to_owned(),
        }
    }

    fn json(&self, limit: usize) -> serde_json::Value {
        let revisions = self.revisions.iter().map(|revision| match revision {
            Ok(header) => json!({"number": header.number, "damaged": null, "header": header}),
            Err(StoreError::Damaged { number, why }) => json!({"number": number, "damaged": why, "header": null}),
            Err(error) => json!({"number": null, "damaged": error.to_string(), "header": null}),
        });
        let pending = self.pointer.pending.as_ref().map(|pending| {
            json!({"revision": self.pointer.in_force, "previous": pending.previous, "seconds_left": pending.remaining()})
        });
        json!({
            "schema_version": 1,
            "in_force": self.in_force,
            "held": self.pointer.held,
            "pending": pending,
            "revisions": revisions.collect::<Vec<_>>(),
            "changes": self.trail.entries.iter().rev().take(limit).collect::<Vec<_>>(),
            "trail": {
                "first_line": self.trail.first, "last_line": self.trail.lines, "sha256": self.trail.hash,
                "findings": self.trail.findings, "half_lines": self.trail.halves,
            },
        })
    }

    fn print_verified(&self) {
        let Reading {
            first,
            lines,
            hash,
            findings,
            halves,
            ..
        } = &self.trail;
        for finding in findings {
            println!("{finding}");
        }
        for half in halves {
            println!("{half}, as after a kill or a power cut; the lines around it fit together");
        }
        match lines {
            0 => println!("the audit trail is empty"),
            _ if findings.is_empty() => println!("lines {first} to {lines} of the audit trail fit together"),
            _ => {}
        }
        if *lines > 0 {
            println!("line {lines} has sha256 {hash}, as the log of its time must say");
        }
    }
}

fn row(entry: &Entry) -> [String; 4] {
    let deed = &entry.deed;
    [
        deed.time.clone(),
        who(deed),
        harmless(&what(entry)),
        harmless(&deed.comment),
    ]
}

fn who(deed: &Deed) -> String {
    deed.by
        .as_ref()
        .map_or_else(|| "-".to_owned(), |who| harmless(&who.to_string()))
}

/// What was done, in words.
fn what(entry: &Entry) -> String {
    let deed = &entry.deed;
    let number = |number: Option<u32>| number.map_or_else(|| "none".to_owned(), |number| number.to_string());
    let (revision, replaced) = (number(deed.revision), number(deed.replaced));
    let error = entry.error.as_deref().unwrap_or_default();
    let error = error.lines().next().unwrap_or_default();
    let error = error.strip_prefix("error: ").unwrap_or(error);
    let name = deed.what.name();
    let text = match (entry.outcome, deed.what) {
        (Outcome::Refused, _) => format!("{name} refused: {error}"),
        (Outcome::Failed, _) => format!("{name} FAILED: {error}"),
        (_, What::Start) => format!("started with revision {revision}"),
        (_, What::Reload) => format!("reloaded: revision {revision}"),
        (_, What::Apply) => {
            let confirm = deed.confirm_seconds.map(duration);
            let confirm = confirm.map_or_else(String::new, |time| format!(", to be confirmed in {time}"));
            format!("applied revision {revision}{confirm}")
        }
        (_, What::Confirm) => format!("confirmed revision {revision}"),
        (_, What::Rollback) => format!("rolled back from revision {replaced} to {revision}"),
        (_, What::Expiry) => format!("nobody confirmed revision {replaced}: back to {revision}"),
        (_, What::Detach) => "detached".to_owned(),
    };
    match entry.left_out {
        0 => text,
        count => format!("{text} ({count} more before it were not recorded)"),
    }
}
