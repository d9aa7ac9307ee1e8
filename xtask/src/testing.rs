//! A machine made of what a test says about it.

use crate::machine::Machine;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Knows only the files and command outputs that it was told.
#[derive(Default)]
pub(crate) struct FakeMachine {
    outputs: HashMap<String, String>,
    files: HashSet<PathBuf>,
    root: bool,
}

impl FakeMachine {
    /// `command`, words separated by a space, prints `output`.
    pub(crate) fn prints(mut self, command: &str, output: &str) -> Self {
        self.outputs.insert(command.into(), output.into());
        self
    }

    /// The file is there.
    pub(crate) fn has(mut self, file: &str) -> Self {
        self.files.insert(file.into());
        self
    }

    /// The user is root.
    pub(crate) fn running_as_root(mut self) -> Self {
        self.root = true;
        self
    }
}

impl Machine for FakeMachine {
    fn output(&self, program: &Path, arguments: &[&str]) -> Option<String> {
        let mut command = program.display().to_string();
        for argument in arguments {
            command.push(' ');
            command.push_str(argument);
        }
        self.outputs.get(&command).cloned()
    }

    fn names(&self, folder: &Path) -> Vec<String> {
        self.files
            .iter()
            .filter(|file| file.parent() == Some(folder))
            .filter_map(|file| file.file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }

    fn exists(&self, path: &Path) -> bool {
        self.files.contains(path)
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        let file = Path::new("/usr/bin").join(name);
        self.exists(&file).then_some(file)
    }

    fn is_root(&self) -> bool {
        self.root
    }
}
