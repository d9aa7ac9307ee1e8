//! `enforcer assets`: what a package carries beside the program, made by `cargo xtask build`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Exit};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The folder to write to; it gets `completions` and `man`.
    directory: PathBuf,
}

/// Shells that network teams use.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

pub(super) fn run(arguments: &Arguments) -> Result<(), Exit> {
    let directory = &arguments.directory;
    write(directory).map_err(|error| Exit::environment(format!("writing to {}: {error}", directory.display())))
}

fn write(directory: &Path) -> io::Result<()> {
    let completions = directory.join("completions");
    fs::create_dir_all(&completions)?;
    for shell in SHELLS {
        clap_complete::generate_to(shell, &mut Cli::command(), "enforcer", &completions)?;
    }
    let man = directory.join("man");
    fs::create_dir_all(&man)?;
    clap_mangen::generate_to(Cli::command(), man)
}
