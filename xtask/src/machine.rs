//! What set-up asks of the machine, so that its decisions can be tested without one.

use crate::process;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Questions whose answers differ from machine to machine.
pub(crate) trait Machine {
    /// Standard output of a command, if it exists and succeeds.
    fn output(&self, program: &Path, arguments: &[&str]) -> Option<String>;
    /// Names in a folder; none if there is no such folder.
    fn names(&self, folder: &Path) -> Vec<String>;
    /// Whether a file or folder exists.
    fn exists(&self, path: &Path) -> bool;
    /// Where a program is: in `PATH`, or in one of the folders for administration, which a user's `PATH` often lacks.
    fn program(&self, name: &str) -> Option<PathBuf>;
    /// Whether this process is root.
    fn is_root(&self) -> bool;
}

/// This machine.
pub(crate) struct Local;

impl Machine for Local {
    fn output(&self, program: &Path, arguments: &[&str]) -> Option<String> {
        process::output(program.as_os_str(), arguments)
    }

    fn names(&self, folder: &Path) -> Vec<String> {
        fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path)
            .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
            .map(|folder| folder.join(name))
            .find(|file| file.is_file())
    }

    fn is_root(&self) -> bool {
        // Fourth word of the line "Uid: real effective saved filesystem".
        fs::read_to_string("/proc/self/status")
            .ok()
            .and_then(|status| effective_user(&status))
            == Some(0)
    }
}

fn effective_user(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effective_user_is_the_second_number() {
        let status = "Name:\tx\nUid:\t1000\t0\t1000\t1000\nGid:\t5\t5\t5\t5\n";
        assert_eq!(effective_user(status), Some(0));
        assert_eq!(effective_user("Name:\tx\n"), None);
    }

    #[test]
    fn programs_are_found_in_path() {
        assert!(Local.program("sh").is_some());
        assert_eq!(Local.program("no-such-program-here"), None);
    }
}
