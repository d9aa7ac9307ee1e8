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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_completions_and_a_page_with_examples() {
        let folder = tempfile::TempDir::new().unwrap();
        write(folder.path()).unwrap();
        let read = |name: String| fs::read_to_string(folder.path().join(&name)).unwrap_or_else(|_| panic!("no {name}"));
        let shells = ["enforcer.bash", "_enforcer", "enforcer.fish"].map(|file| read(format!("completions/{file}")));
        let command = Cli::command();
        let shown: Vec<_> = command
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
            .collect();
        assert!(shown.len() > 10, "{}", shown.len());
        for command in shown {
            let name = command.get_name();
            assert!(shells.iter().all(|text| text.contains(name)), "{name}");
            let page = read(format!("man/enforcer-{name}.1"));
            assert!(
                page.contains(&format!("enforcer\\-{name}")) || page.contains(name),
                "{page}"
            );
            for option in command.get_arguments().filter_map(clap::Arg::get_long) {
                let written = option.replace('-', "\\-");
                assert!(page.contains(&written), "{name}: --{option} is not on its page");
                assert!(shells.iter().all(|text| text.contains(option)), "{name}: --{option}");
            }
        }
        assert!(read("man/enforcer.1".into()).contains("enforcer check"));
    }
}
