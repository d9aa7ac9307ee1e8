//! What users see when a policy is wrong: golden texts, one beside each folder of bad policies.
//!
//! After a change on purpose: `UPDATE_EXPECTED=1 cargo test --test diagnostics`, and read the difference.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use std::{env, fs, os};

use proptest::prelude::*;

use enforcer::diagnostics::Diagnostics;
use enforcer::policy::{check, load_texts};

fn findings(path: &Path) -> Diagnostics {
    match check(&[path.to_owned()], None, UNIX_EPOCH) {
        Ok(summary) => panic!("{} was accepted: {summary}", path.display()),
        Err(findings) => findings,
    }
}

#[test]
fn each_folder_of_bad_policies_gets_its_findings() {
    // Relative to the package, where tests run: the paths stand in the golden texts.
    let folders = fs::read_dir("tests/bad")
        .expect("the folder is there")
        .map(|entry| entry.expect("readable").path());
    let mut folders: Vec<PathBuf> = folders.filter(|path| path.is_dir()).collect();
    folders.sort();
    assert!(folders.len() >= 14, "folders are missing");
    for folder in folders {
        let found = findings(&folder).to_string();
        let golden = folder.join("expected.txt");
        if env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&golden, &found).expect("writable");
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(found, expected, "{} changed", golden.display());
        assert!(
            !found.contains('\u{1b}'),
            "an escape sequence of {} reached the terminal",
            folder.display()
        );
    }
}

#[test]
fn colour_only_when_asked_for() {
    let found = findings(Path::new("tests/bad/names"));
    assert!(!found.render(false).contains("\u{1b}["));
    assert!(found.render(true).contains("\u{1b}["));
}

#[test]
fn what_cannot_be_read_is_an_environment_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = findings(&folder.path().join("missing.yaml"));
    assert_eq!(missing.exit_code(), 2);
    assert!(missing.list[0].message.contains("missing.yaml"), "{missing}");
    let empty = findings(folder.path());
    assert!(empty.list[0].message.starts_with("no policy file in"), "{empty}");
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.path().join("pipe.yaml"), rustix::fs::Mode::RUSR).expect("a pipe");
    let pipe = findings(folder.path());
    assert!(pipe.list[0].message.contains("not a regular file"), "{pipe}");
    assert_eq!(findings(Path::new("tests/bad/names")).exit_code(), 1);
}

#[test]
fn links_that_go_round_in_circles_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    fs::write(
        path.join("zones.yaml"),
        "zones:\n  pumps: {vlan: 110, subnets: [10.1.1.0/24]}\n",
    )
    .expect("writable");
    fs::create_dir(path.join("inner")).expect("a folder");
    os::unix::fs::symlink(path, path.join("inner/up")).expect("a link");
    os::unix::fs::symlink("self.yaml", path.join("self.yaml")).expect("a link");
    fs::write(path.join(".draft.yaml"), "nonsense").expect("writable");
    fs::write(path.join("notes.txt"), "nonsense").expect("writable");
    let found = findings(path);
    assert_eq!(found.list.len(), 1, "{found}");
    assert!(found.list[0].message.contains("self.yaml"), "{found}");
    fs::remove_file(path.join("self.yaml")).expect("removable");
    // The same file by two names is read once.
    let twice = check(&[path.to_owned(), path.join("zones.yaml")], None, UNIX_EPOCH)
        .unwrap_or_else(|findings| panic!("{findings}"));
    assert_eq!(twice.policy.sources.len(), 1);
}

#[test]
fn order_changes_nothing() {
    let texts = [
        (
            "a.yaml",
            "zones:\n  b: {vlan: 2, subnets: [10.2.0.0/16]}\n  a: {vlan: 1, subnets: [10.1.0.0/16]}\n",
        ),
        (
            "b.yaml",
            "rules:\n  y: {from: a, to: b, services: any, action: deny}\n  x: {from: a, to: b, services: any, action: allow}\n",
        ),
    ];
    let texts = texts.map(|(path, text)| (PathBuf::from(path), text.to_owned()));
    let compiled = |texts: Vec<_>| {
        let policy = load_texts(texts).unwrap_or_else(|findings| panic!("{findings}"));
        let tables = enforcer::policy::compile(&policy).unwrap_or_else(|findings| panic!("{findings}"));
        (
            tables.names.zones,
            tables
                .names
                .rules
                .iter()
                .map(|rule| rule.name.clone())
                .collect::<Vec<_>>(),
            tables.trie,
            tables.cells,
            tables.policy_hash,
        )
    };
    let forward = compiled(texts.to_vec());
    let backward = compiled(texts.into_iter().rev().collect());
    assert!(forward == backward, "the order of files changed the tables");
}

#[test]
fn a_thousand_errors_are_all_found() {
    let mut text = String::from("rules:\n");
    for rule in 0..1500 {
        let _ = writeln!(
            text,
            "  rule-{rule}: {{from: nobody-{rule}, to: any, services: any, action: allow}}"
        );
    }
    let found = load_texts([("many.yaml".into(), text)]).expect_err("nobody is declared");
    // 1,500 unknown names; the lack of zones is told only to those who have no other trouble.
    assert_eq!(found.list.len(), 1500 + 1);
    assert!(found.to_string().ends_with("1501 errors\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever a slip of the hand makes of a good policy, the answer is a policy or findings that can be shown.
    #[test]
    fn no_text_breaks_the_reader(edits in prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8, "[-a-z0-9 :,./{}\\[\\]\"'#&*!|>%\n\té€\u{1f3e5}]{0,4}"), 1..6)) {
        let mut text: Vec<char> = include_str!("../../policies/zones.yaml").chars().take(1500).collect();
        text.extend(include_str!("../../policies/rules-clinical.yaml").chars().take(1500));
        for (at, cut, put) in edits {
            let at = at.index(text.len());
            let end = (at + usize::from(cut)).min(text.len());
            text.splice(at..end, put.chars());
        }
        if let Err(findings) = load_texts([("edited.yaml".into(), text.into_iter().collect())]) {
            prop_assert!(!findings.list.is_empty());
            prop_assert!(findings.to_string().contains("error"));
        }
    }
}
