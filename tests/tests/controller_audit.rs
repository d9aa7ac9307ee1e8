//! What the disk says of changes: the store and the audit trail when the disk is full, at kills, and when somebody forges. Needs root.

mod gateway;

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use enforcer_tests::random::Random;
use gateway::site::{STATE, Site, other};
use gateway::{PATIENCE, eventually};
use serde_json::json;

/// Long enough that nothing goes back by itself in a test, on a busy machine too.
const LONG: &str = "1h";

#[test]
fn a_full_disk_refuses_a_change_and_hinders_no_way_back() -> Result<()> {
    let site = Site::new()?;
    let enforcer = site.start_on_small_disk()?;
    site.write(&other(444))?;
    assert_eq!(site.run(&["apply", "--yes", "--confirm", "15s"])?.0, 0);
    site.fill_disk()?;
    // Confirming has to be written; nothing else may be done.
    let (code, _, text) = site.run(&["confirm"])?;
    assert_eq!((code, text.contains("No space left")), (1, true), "{text}");
    eventually("the change has gone back", || Ok(site.status()?["pending"].is_null()))?;
    site.assert_permits(443)?;
    assert_eq!(site.status()?["ready"], false, "it says what is the matter");
    let (code, _, text) = site.run(&["reload"])?;
    assert_eq!((code, text.contains("No space left")), (1, true), "{text}");
    site.assert_permits(443)?;

    // Killed before there is room: it was due, and still is.
    enforcer.kill()?;
    let enforcer = site.start_unready()?;
    eventually("it is back", || {
        Ok(site.status().is_ok_and(|status| status["revision"] == 1))
    })?;
    site.assert_permits(443)?;
    site.free_disk()?;
    eventually("all is made up for", || Ok(site.status()?["ready"] == true))?;
    enforcer.kill()?;
    let _enforcer = site.start()?;
    site.assert_permits(443)?;
    assert_eq!(site.status()?["held"], true);
    site.assert_trail_is_whole()
}

#[test]
fn a_kill_at_any_moment_leaves_one_whole_state() -> Result<()> {
    let site = Site::new()?;
    let mut enforcer = site.start()?;
    let mut random = Random::new(20_261_129);
    for (round, port) in (444..456).enumerate() {
        site.write(&other(port))?;
        let arguments: &[&str] = match round % 3 {
            0 => &["apply", "--yes"],
            1 => &["apply", "--yes", "--confirm", LONG],
            _ => &["rollback", "--yes"],
        };
        let lines = enforcer.process().errors().lines().len();
        let client = site.begin(arguments)?;
        let is_asked = |line: &str| line.contains("asked through the control socket").then_some(());
        let asked = enforcer.process().errors().wait_for(lines, PATIENCE, is_asked);
        ensure!(asked.is_some(), "it was never asked: {:?}", client.errors().text());
        thread::sleep(Duration::from_millis(random.below(300) as u64));
        enforcer.kill()?;
        drop(client);
        enforcer = site.start()?;
        let status = site.status()?;
        let revision = status["revision"].as_u64().unwrap_or(0).to_string();
        let (_, shown, _) = site.run(&["show", &revision])?;
        let permitted = (443..=port).find(|port| shown.contains(&format!("tcp/{port}")));
        site.assert_permits(permitted.expect("one of the policies"))?;
        site.assert_trail_is_whole()?;
        if !status["pending"].is_null() {
            assert_eq!(site.run(&["confirm"])?.0, 0);
        }
    }
    Ok(())
}

#[test]
fn who_asked_is_recorded_and_strangers_are_refused() -> Result<()> {
    let site = Site::new()?;
    let _enforcer = site.start()?;
    site.write(&other(444))?;
    for order in ["reload", "detach"] {
        let answer = site.ask_as(1234, &json!({"change": {"comment": "let me in", "order": order}}))?;
        assert_eq!(answer["ok"], false);
        assert!(
            answer["error"]
                .as_str()
                .is_some_and(|error| error.contains("uid 1234 may read")),
            "{answer}"
        );
    }
    site.assert_permits(443)?;
    for _ in 0..100 {
        site.ask_as(1234, &json!({"change": {"comment": "again", "order": "detach"}}))?;
    }
    let history = site.history()?;
    assert!(history.contains("detach refused: uid 1234 may read"), "{history}");
    assert!(history.matches("uid 1234").count() < 40, "{history}");
    let (code, _, text) = site.run(&["detach", "--comment", "maintenance"])?;
    assert_eq!(code, 0, "{text}");
    let history = site.history()?;
    let line = history
        .lines()
        .find(|line| line.contains("detached"))
        .unwrap_or_default();
    assert!(line.contains("root") && line.contains("maintenance"), "{history}");
    site.assert_trail_is_whole()
}

#[test]
fn a_forged_line_of_the_trail_is_found() -> Result<()> {
    let site = Site::new()?;
    let _enforcer = site.start()?;
    site.write(&other(444))?;
    assert_eq!(site.run(&["apply", "--yes", "--comment", "CHG-1"])?.0, 0);
    assert_eq!(site.run(&["rollback", "--yes"])?.0, 0);
    site.assert_trail_is_whole()?;
    let trail = format!("{STATE}/audit.ndjson");
    site.enter(|| {
        let text = fs::read_to_string(&trail)?;
        Ok(fs::write(&trail, text.replace("CHG-1", "CHG-2"))?)
    })?;
    let (code, found, _) = site.run(&["history", "--verify"])?;
    assert_eq!(
        (
            code,
            found.contains("line 3: the line before it is not what was written")
        ),
        (1, true),
        "{found}"
    );
    Ok(())
}
