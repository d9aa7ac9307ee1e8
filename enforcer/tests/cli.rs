//! The command line as users see it: the examples of the documentation, and what it says when something is wrong.
//!
//! After a change on purpose: `TRYCMD=overwrite cargo test --test cli`, and read the difference.

#[test]
fn the_examples_run_as_they_stand() {
    // Commands of the examples start at the root of the repository.
    std::env::set_current_dir("..").expect("the package lies in the repository");
    trycmd::TestCases::new()
        .case("docs/tools.md")
        .case("enforcer/tests/cmd/*.trycmd");
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_enforcer"))
        .arg("assets")
        .arg(folder.path())
        .status()
        .expect("it runs");
    assert!(status.success());
    let read = |path: &str| std::fs::read_to_string(folder.path().join(path)).expect(path);
    let top = read("man/enforcer.1");
    for command in [
        "run", "reload", "status", "devices", "monitor", "flows", "detach", "check", "schema", "explain", "plan",
        "simulate", "test",
    ] {
        for shell in ["enforcer.bash", "_enforcer", "enforcer.fish"] {
            assert!(
                read(&format!("completions/{shell}")).contains(command),
                "{shell}: {command}"
            );
        }
        assert!(top.contains(&format!("enforcer\\-{command}(1)")), "{command}");
        assert!(
            read(&format!("man/enforcer-{command}.1")).contains(".SH SYNOPSIS"),
            "{command}"
        );
    }
    assert!(!top.contains("assets"), "hidden from users");
}
