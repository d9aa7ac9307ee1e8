//! `enforcer show`: the policy of a revision.

use serde_json::json;

use super::{ConfigArgument, Exit, OutputFormat};
use crate::config::Config;
use crate::control::{self, CallError, Verb};
use crate::revisions::Store;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  enforcer show                     # what is in force\n  enforcer show 17\n  enforcer show 17 > then.yaml\n  enforcer plan --against 17        # what the files of now would change\n\nEach file comes behind a comment with its path.\n\nExit codes: 0 shown, 1 no such revision, or it is damaged, 2 the state directory cannot be read."
)]
pub(super) struct Arguments {
    /// The revision, as `enforcer history` numbers them; without, the one in force.
    revision: Option<u32>,
    #[command(flatten)]
    config: ConfigArgument,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    output: OutputFormat,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Exit> {
    let config = arguments.config.load()?;
    let store = Store::new(&config.state_directory);
    let number = match arguments.revision {
        Some(number) => number,
        None => in_force(&config, &store)?,
    };
    let revision = store.read(number)?;
    if arguments.output == OutputFormat::Json {
        let files = revision.files.iter();
        let files: Vec<_> = files.map(|(path, text)| json!({"path": path, "text": text})).collect();
        println!(
            "{:#}",
            json!({"schema_version": 1, "revision": revision.header, "files": files})
        );
        return Ok(());
    }
    for (path, text) in &revision.files {
        println!("# {}", path.display());
        print!("{text}");
        if !text.ends_with('\n') {
            println!();
        }
    }
    Ok(())
}

/// The revision in force; without a controller, what was in force last.
fn in_force(config: &Config, store: &Store) -> Result<u32, Exit> {
    match control::call(&config.runtime_directory, Verb::Status) {
        Ok(status) => {
            let number = status["revision"]
                .as_u64()
                .and_then(|number| u32::try_from(number).ok());
            number.ok_or_else(|| {
                Exit::input("what is in force is not kept as a revision: `enforcer history` lists those there are")
            })
        }
        Err(CallError::Absent(_)) => match store.pointer().in_force {
            0 => Err(Exit::environment("no enforcer runs here, and no revision is kept")),
            number => {
                eprintln!("no enforcer runs here: revision {number} was in force last");
                Ok(number)
            }
        },
        Err(error) => Err(error.into()),
    }
}
