//! Commands that have to be root: those that load programs into the kernel and make network namespaces.

use crate::machine::Machine;
use crate::process;
use anyhow::{Context, Result};
use std::process::Command;

/// How to become root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Root {
    /// This user is root.
    Already,
    /// Through sudo.
    Sudo,
}

impl Root {
    /// A way, if this user has one.
    pub(crate) fn find(machine: &dyn Machine) -> Option<Self> {
        if machine.is_root() {
            Some(Self::Already)
        } else {
            machine.program("sudo").map(|_| Self::Sudo)
        }
    }

    /// Finds a way or explains; asks for sudo's password now, and not in the middle of a long run.
    pub(crate) fn obtain(machine: &dyn Machine) -> Result<Self> {
        let root = Self::find(machine).context(
            "this command loads a program into the kernel and makes network namespaces, which takes root. This user is \
             not root, and there is no sudo: run it as root",
        )?;
        if root == Self::Sudo {
            process::run(Command::new("sudo").arg("--validate"))
                .context("this command takes root, and sudo refused")?;
        }
        Ok(root)
    }

    /// A program, started as root.
    pub(crate) fn command(&self, program: &str) -> Command {
        match self {
            Self::Already => Command::new(program),
            Self::Sudo => {
                let mut command = Command::new("sudo");
                command.args(["--preserve-env", program]);
                command
            }
        }
    }

    /// Lets cargo build as this user, and start what it has built (tests, the demo) as root, so that no file in the
    /// build folder ends up belonging to root. `host` is rustc's name for this machine's target.
    pub(crate) fn apply(&self, command: &mut Command, host: &str) {
        if *self == Self::Sudo {
            command.env(runner_variable(host), "sudo --preserve-env");
        }
    }
}

fn runner_variable(host: &str) -> String {
    let host = host.to_uppercase().replace(['-', '.'], "_");
    format!("CARGO_TARGET_{host}_RUNNER")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeMachine;

    #[test]
    fn root_then_sudo_then_an_error() {
        let root = Root::obtain(&FakeMachine::default().running_as_root()).expect("is root");
        assert_eq!(process::line(&root.command("apt-get")), "apt-get");
        let user = FakeMachine::default().has("/usr/bin/sudo");
        let sudo = Root::find(&user).expect("sudo is there");
        assert_eq!(process::line(&sudo.command("apt-get")), "sudo --preserve-env apt-get");
        let error = Root::obtain(&FakeMachine::default()).expect_err("no way to root");
        assert!(error.to_string().contains("run it as root"), "{error}");
    }

    #[test]
    fn only_what_cargo_has_built_runs_under_sudo() {
        let variables = |root: Root| {
            let mut command = Command::new("cargo");
            root.apply(&mut command, "x86_64-unknown-linux-gnu");
            command.get_envs().map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
        };
        assert!(variables(Root::Already).is_empty());
        assert_eq!(variables(Root::Sudo), ["CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER"]);
    }
}
