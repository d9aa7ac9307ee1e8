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
        "run", "reload", "status", "devices", "monitor", "flows", "detach", "check", "schema", "explain", "learn",
        "plan", "simulate", "test", "apply", "confirm", "rollback", "history", "show",
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

/// What `enforcer check --output github` says of a folder: exit code and standard output.
fn checked(folder: &std::path::Path) -> (Option<i32>, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_enforcer"))
        .args(["check", "--output", "github"])
        .arg(folder)
        .output()
        .expect("it runs");
    (output.status.code(), String::from_utf8(output.stdout).expect("text"))
}

#[test]
fn links_that_lead_to_themselves_and_files_without_end_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    std::os::unix::fs::symlink("b.yaml", path.join("a.yaml")).expect("a link");
    std::os::unix::fs::symlink("a.yaml", path.join("b.yaml")).expect("a link");
    std::os::unix::fs::symlink(path, path.join("up")).expect("a link");
    let (code, found) = checked(path);
    assert_eq!(code, Some(2), "{found}");
    for name in ["a.yaml", "b.yaml"] {
        assert!(found.contains(name), "{name} is missing: {found}");
    }
    // Longer than any policy, on a disk that holds nothing of it.
    let huge = tempfile::tempdir().expect("a folder");
    let file = std::fs::File::create(huge.path().join("huge.yaml")).expect("a file");
    file.set_len(1 << 40).expect("a sparse file");
    let (code, found) = checked(huge.path());
    assert!(matches!(code, Some(1 | 2)), "{found}");
    assert!(found.contains("huge.yaml"), "{found}");
}

/// The commands in fenced blocks of a page: the words behind `enforcer`.
fn commands(page: &str) -> Vec<Vec<&str>> {
    let fenced = page.split("```").skip(1).step_by(2);
    let lines = fenced
        .flat_map(str::lines)
        .map(|line| line.trim_start_matches(['$', '#', ' ']));
    let parts = lines.flat_map(|line| line.split(" # ").next().unwrap_or_default().split("&&"));
    let parts = parts.filter_map(|part| part.trim().strip_prefix("enforcer "));
    let parts = parts.map(|part| part.split(['|', '>']).next().unwrap_or_default());
    parts.map(|part| part.split_whitespace().collect()).collect()
}

/// Some of them need a daemon and a trunk; that their words are words is known without.
#[test]
fn the_commands_of_the_pages_exist_with_their_options() {
    let mut seen = 0;
    let pages = [
        include_str!("../../README.md"),
        include_str!("../../docs/policy.md"),
        include_str!("../../docs/operations.md"),
    ];
    for words in pages.into_iter().flat_map(commands) {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_enforcer"))
            .args([words[0], "--help"])
            .output()
            .expect("it runs");
        assert!(output.status.success(), "enforcer {}", words.join(" "));
        let help = String::from_utf8(output.stdout).expect("text");
        for option in words.iter().filter(|word| word.starts_with("--")) {
            let option = option.split('=').next().unwrap_or_default();
            assert!(help.contains(option), "enforcer {}: no {option}", words.join(" "));
        }
        seen += 1;
    }
    assert!(seen >= 5, "commands are missing: {seen}");
}

/// `enforcer schema | head` panicked, and so did a full disk.
#[test]
fn nobody_who_reads_is_no_error_and_a_full_disk_is_one() {
    use std::process::{Command, Stdio};
    let command = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_enforcer"));
        command.args(words).stderr(Stdio::piped());
        command
    };
    let policies = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies");
    for words in [&["schema"][..], &["check", policies], &["test", policies]] {
        let mut child = command(words).stdout(Stdio::piped()).spawn().expect("it starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {told}");
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .expect("/dev/full");
        let output = command(words).stdout(full).output().expect("it ends");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {told}");
        assert!(told.contains("writing to standard output: No space left"), "{told}");
    }
    // Nobody reads the errors either.
    let mut child = command(&["check", "no-such-file"])
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    drop(child.stderr.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(2));
}
