//! `cargo xtask test`: all checks and all tests. Continuous integration runs nothing else.

use super::{bench, build, check, kernels, setup};
use crate::helper;
use crate::machine::{Local, Machine};
use crate::process;
use crate::root::Root;
use crate::steps::Steps;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::path::Path;
use std::process::Command;

/// Run every check and every test, those in the kernel included
///
/// Set-up, build, format, clippy, documentation, licences, the verifier's statistics, a short benchmark with its gate,
/// documentation tests, then all tests: in userspace, on the program in the kernel, and in network namespaces; last, the
/// oldest supported and the newest of Debian's kernels in virtual machines. The kernel's part takes root: where this user
/// is not root, cargo starts the tests through sudo. Nothing is skipped: a kernel that refuses the program fails the run.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask test               all of it
  cargo xtask test swap reload   tests whose names hold `swap` or `reload`
  cargo xtask check              the checks alone, without root")]
pub(crate) struct Arguments {
    /// Run only tests whose names hold one of these words, and no other check
    #[arg(value_name = "WORD")]
    words: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let workspace = Workspace::find();
    let root = Root::obtain(&Local)?;
    let mut steps = Steps::new();
    let built = steps
        .run("setup", || setup::ensure(&workspace))
        .and_then(|ready| steps.run("kernel build", || build::kernel(&workspace, &ready, None)))
        .and_then(|()| steps.run("build", || build::controller(&workspace)));
    if built.is_some() {
        if arguments.words.is_empty() {
            check::sources(&workspace, &mut steps);
            steps.run("verifier", || {
                process::run(&mut helper::command(&workspace, &root, "verify")?)
            });
            steps.run("benchmark", || {
                process::run(helper::command(&workspace, &root, "bench")?.args(["frames", "gate", "--quick"]))
            });
            steps.run("instructions", || bench::count(&workspace, None));
            steps.run("doc tests", || {
                process::run(check::cargo(&workspace, "test").arg("--doc"))
            });
        }
        steps.run("tests", || {
            let mut tests = tests(&Local, &workspace, &arguments.words);
            root.apply(&mut tests, &helper::host(&Local)?);
            process::run(&mut tests).context("run one alone with `cargo xtask test NAME`")
        });
        if arguments.words.is_empty() {
            steps.run("kernels", || kernels::short(&workspace));
        }
    }
    steps.finish("test")
}

/// The test runner: nextest where it is installed (each test a process of its own, and a time limit for each), else cargo's.
fn tests(machine: &dyn Machine, workspace: &Workspace, words: &[String]) -> Command {
    if machine
        .output(Path::new("cargo-nextest"), &["nextest", "--version"])
        .is_some()
    {
        let mut nextest = process::cargo();
        nextest
            .current_dir(&workspace.root)
            .args(["nextest", "run", "--no-fail-fast", "--cargo-quiet"])
            .args(words);
        return nextest;
    }
    let mut test = check::cargo(workspace, "test");
    test.args(["--lib", "--bins", "--tests", "--no-fail-fast", "--"]);
    test.args(words);
    test
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeMachine;

    #[test]
    fn nextest_if_there_else_cargo() {
        let workspace = Workspace {
            root: "/".into(),
            target: "/target".into(),
            tools: "/.tools".into(),
        };
        let words = ["swap".to_owned()];
        let nextest = FakeMachine::default().prints("cargo-nextest nextest --version", "cargo-nextest 0.9\n");
        let line = process::line(&tests(&nextest, &workspace, &words));
        assert!(
            line.ends_with("nextest run --no-fail-fast --cargo-quiet swap"),
            "{line}"
        );
        let line = process::line(&tests(&FakeMachine::default(), &workspace, &words));
        assert!(line.ends_with("--lib --bins --tests --no-fail-fast -- swap"), "{line}");
    }
}
