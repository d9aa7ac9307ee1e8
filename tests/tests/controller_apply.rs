//! `enforcer apply`, `confirm`, `rollback` and `show` against a running enforcer, with frames. Needs root.

mod gateway;

use std::thread;
use std::time::Duration;

use anyhow::Result;
use enforcer_tests::lab::Signal;
use gateway::site::{Site, hash, other};
use gateway::{GOOD, PATIENCE, eventually};
use serde_json::{Value, json};

/// Long enough that nothing goes back by itself in a test, on a busy machine too.
const LONG: &str = "1h";

#[test]
fn a_change_that_nobody_confirms_goes_back_by_itself() -> Result<()> {
    let site = Site::new()?;
    let enforcer = site.start()?;
    site.assert_permits(443)?;

    site.write(&other(444))?;
    let (code, plan, text) = site.run(&["apply", "--yes", "--confirm", "20s", "--comment", "CHG-1"])?;
    assert_eq!(code, 0, "{text}");
    assert!(plan.contains("allowed: pumps to servers, tcp/444"), "{plan}");
    assert!(text.contains("revision 2 waits to be confirmed"), "{text}");
    site.assert_permits(444)?;
    let left = enforcer.metrics()?.sum("enforcer_policy_confirm_seconds", &[]);
    assert!((1.0..=20.0).contains(&left), "{left}");

    eventually("the change has gone back", || Ok(site.status()?["pending"].is_null()))?;
    site.assert_permits(443)?;
    let status = site.status()?;
    assert_eq!((&status["revision"], &status["held"]), (&1.into(), &true.into()));
    assert_eq!(
        (&status["ready"], &status["policy_source"]),
        (&true.into(), &"revision".into())
    );
    let metrics = enforcer.metrics()?;
    assert!(metrics.sum("enforcer_policy_confirm_seconds", &[]) < 0.5);
    assert!(metrics.sum("enforcer_policy_held", &[]) > 0.5);
    let (code, _, text) = site.run(&["confirm"])?;
    assert_eq!((code, text.contains("has gone back")), (1, true), "{text}");

    // The files are still those that nobody confirmed: neither a restart nor a signal takes them.
    enforcer.kill()?;
    let mut enforcer = site.start()?;
    site.assert_permits(443)?;
    enforcer.process().signal(Signal::Hangup)?;
    eventually("the signal is refused", || {
        Ok(site.history()?.contains("reload refused: revision 1 is held"))
    })?;
    site.assert_permits(443)?;
    let history = site.history()?;
    for line in [
        "nobody confirmed revision 2: back to 1",
        "applied revision 2, to be confirmed in 20s",
        "CHG-1",
    ] {
        assert!(history.contains(line), "{line} is missing:\n{history}");
    }
    // Whoever says so takes them.
    assert_eq!(site.run(&["reload"])?.0, 0);
    site.assert_permits(444)?;
    assert_eq!(site.status()?["held"], false);
    site.assert_trail_is_whole()
}

#[test]
fn a_change_that_is_confirmed_stays() -> Result<()> {
    let site = Site::new()?;
    let mut enforcer = site.start()?;
    site.write(&other(444))?;
    assert_eq!(site.run(&["apply", "--yes", "--confirm", LONG])?.0, 0);

    // Meanwhile nothing else comes into force.
    site.write(&other(445))?;
    for command in [&["apply", "--yes"][..], &["reload"]] {
        let (code, _, text) = site.run(command)?;
        assert_eq!((code, text.contains("`enforcer confirm`")), (1, true), "{text}");
    }
    enforcer.process().signal(Signal::Hangup)?;
    eventually("the signal is refused", || {
        let refused = site.history()?.matches("reload refused: revision 2 waits").count();
        Ok(refused == 2)
    })?;
    assert_eq!(
        site.status()?["ready"],
        true,
        "what is refused at a wrong time breaks nothing"
    );
    site.assert_permits(444)?;

    let (code, _, text) = site.run(&["confirm", "--comment", "wards 3 and 4 looked at"])?;
    assert_eq!((code, text.contains("revision 2 stays in force")), (0, true), "{text}");
    assert!(site.status()?["pending"].is_null());
    site.assert_permits(444)?;
    let (code, _, text) = site.run(&["confirm"])?;
    assert_eq!((code, text.contains("no change waits")), (1, true), "{text}");
    assert!(site.history()?.contains("confirmed revision 2"));
    assert!(site.history()?.contains("wards 3 and 4 looked at"));

    assert_eq!(site.run(&["apply", "--yes"])?.0, 0);
    site.assert_permits(445)?;
    let (code, _, text) = site.run(&["apply", "--yes"])?;
    assert_eq!((code, text.contains("nothing changes")), (0, true), "{text}");
    site.assert_trail_is_whole()
}

#[test]
fn a_restart_neither_confirms_a_change_nor_gives_it_more_time() -> Result<()> {
    let site = Site::new()?;
    let enforcer = site.start()?;
    site.write(&other(444))?;
    assert_eq!(site.run(&["apply", "--yes", "--confirm", LONG])?.0, 0);
    let before = site.seconds_left()?;
    enforcer.kill()?;
    // What the files say by now does not matter.
    site.write(&other(445))?;
    thread::sleep(Duration::from_secs(2));
    let enforcer = site.start()?;
    site.assert_permits(444)?;
    assert!(site.seconds_left()? <= before - 2);
    // Stopped, and not killed, is the same.
    let mut enforcer = enforcer;
    enforcer.process().signal(Signal::Terminate)?;
    enforcer.process().wait(PATIENCE)?;
    let enforcer = site.start()?;
    assert_eq!(site.status()?["pending"]["revision"], 2);

    // Its time is over while no controller runs: what it left goes on, and the next one goes back.
    enforcer.kill()?;
    site.let_pending_expire()?;
    site.assert_permits(444)?;
    let _enforcer = site.start()?;
    site.assert_permits(443)?;
    assert_eq!(site.status()?["held"], true);
    assert!(site.history()?.contains("nobody confirmed revision 2: back to 1"));
    site.assert_trail_is_whole()
}

#[test]
fn after_a_reboot_an_unconfirmed_change_goes_back_at_once() -> Result<()> {
    let site = Site::new()?;
    let enforcer = site.start()?;
    site.write(&other(444))?;
    assert_eq!(site.run(&["apply", "--yes", "--confirm", LONG])?.0, 0);
    site.reboot(enforcer)?;
    let _enforcer = site.start()?;
    site.assert_permits(443)?;
    assert_eq!(site.status()?["revision"], 1);
    site.assert_trail_is_whole()
}

#[test]
fn rollback_goes_back_one_by_one_past_what_went_back() -> Result<()> {
    let site = Site::new()?;
    let _enforcer = site.start()?;
    for port in [444, 445] {
        site.write(&other(port))?;
        assert_eq!(site.run(&["apply", "--yes"])?.0, 0);
    }
    let (code, plan, text) = site.run(&["rollback", "--yes"])?;
    assert_eq!(
        (code, plan.contains("denied: pumps to servers, tcp/445")),
        (0, true),
        "{plan}{text}"
    );
    site.assert_permits(444)?;
    // What was rolled back is not what was before the next change.
    site.write(&other(446))?;
    assert_eq!(site.run(&["apply", "--yes"])?.0, 0);
    assert_eq!(site.run(&["rollback", "--yes"])?.0, 0);
    assert_eq!(site.status()?["revision"], 2);
    assert_eq!(site.run(&["rollback", "--yes"])?.0, 0);
    site.assert_permits(443)?;
    let (code, _, text) = site.run(&["rollback", "--yes"])?;
    assert_eq!(
        (code, text.contains("there is no revision before 1")),
        (1, true),
        "{text}"
    );

    assert_eq!(
        site.run(&["rollback", "3", "--yes", "--comment", "forward again"])?.0,
        0
    );
    site.assert_permits(445)?;
    assert!(site.history()?.contains("rolled back from revision 1 to 3"));
    let (_, shown, _) = site.run(&["show"])?;
    assert!(shown.contains("tcp/445") && shown.contains("policy.yaml"), "{shown}");
    let (_, shown, _) = site.run(&["show", "1"])?;
    assert!(shown.ends_with(GOOD), "{shown}");
    for (number, complaint) in [("3", "nothing changes"), ("9", "there is no revision 9")] {
        let (_, _, text) = site.run(&["rollback", number, "--yes"])?;
        assert!(text.contains(complaint), "{text}");
    }

    // A change that waits goes back at once.
    assert_eq!(site.run(&["apply", "--yes", "--confirm", LONG])?.0, 0);
    assert_eq!(site.run(&["rollback", "--yes"])?.0, 0);
    site.assert_permits(445)?;
    assert!(site.status()?["pending"].is_null());
    site.assert_trail_is_whole()
}

#[test]
fn a_revision_that_is_damaged_or_not_valid_any_more_changes_nothing() -> Result<()> {
    let site = Site::new()?;
    let _enforcer = site.start()?;
    site.write(&other(444))?;
    assert_eq!(site.run(&["apply", "--yes"])?.0, 0);
    site.damage(1)?;
    let (code, _, text) = site.run(&["rollback", "1", "--yes"])?;
    assert_eq!((code, text.contains("revision 1 is damaged")), (1, true), "{text}");
    let history = site.history()?;
    assert!(history.contains("DAMAGED"), "{history}");

    // As an enforcer with another language would have kept it.
    site.keep("zones:\n  old: {vlan: 9, netmask: /24}\n", 1)?;
    let (code, _, text) = site.run(&["rollback", "1", "--yes"])?;
    assert_eq!(
        (code, text.contains("not valid for this enforcer")),
        (1, true),
        "{text}"
    );
    assert!(text.contains("netmask"), "{text}");
    site.assert_permits(444)
}

#[test]
fn of_two_operators_the_second_is_told() -> Result<()> {
    let site = Site::new()?;
    let _enforcer = site.start()?;
    let planned_against = site.status()?["generation"]["policy_hash"].clone();
    site.write(&other(444))?;
    assert_eq!(site.run(&["apply", "--yes", "--comment", "first"])?.0, 0);

    // The second planned before the first was done.
    let hash = hash(&other(445))?;
    site.write(&other(445))?;
    let apply = |policy: &str, in_force: &Value| {
        site.ask(&json!({"change": {"comment": "second", "order": {"apply": {
            "policy_hash": policy, "in_force": in_force, "confirm_seconds": null}}}}))
    };
    let answer = apply(&hash, &planned_against)?;
    assert_eq!(answer["ok"], false);
    assert!(
        answer["error"]
            .as_str()
            .is_some_and(|error| error.contains("another policy has come into force")),
        "{answer}"
    );

    // The files were edited between plan and swap.
    let in_force = site.status()?["generation"]["policy_hash"].clone();
    site.write(&other(446))?;
    let answer = apply(&hash, &in_force)?;
    assert!(
        answer["error"]
            .as_str()
            .is_some_and(|error| error.contains("the files have changed")),
        "{answer}"
    );
    site.assert_permits(444)?;
    let answer = site.ask(&json!({"change": {"comment": "", "order": {"rollback": {
        "revision": 1, "in_force": planned_against}}}}))?;
    assert_eq!(answer["ok"], false, "{answer}");
    assert_eq!(site.status()?["ready"], true);
    let history = site.history()?;
    assert_eq!(history.matches("apply refused").count(), 2, "{history}");
    assert!(history.contains("rollback refused"), "{history}");
    Ok(())
}

/// Whatever moment a kill comes at: one whole policy is in force, and the store and the trail agree.
#[test]
fn the_question_is_asked_on_a_terminal_and_only_there() -> Result<()> {
    let site = Site::new()?;
    let _enforcer = site.start()?;
    site.write(&other(444))?;
    let (code, plan, text) = site.run(&["apply"])?;
    assert_eq!((code, text.contains("--yes")), (2, true), "{text}");
    assert!(plan.contains("tcp/444"), "the plan is read before --yes is said");
    for answer in ["n", "", "yes please"] {
        let (code, text) = site.on_a_terminal("apply", answer)?;
        assert_eq!((code, text.contains("nothing was changed")), (1, true), "{text}");
        site.assert_permits(443)?;
    }
    let (code, text) = site.on_a_terminal("apply", "y")?;
    assert_eq!((code, text.contains("Put this in force? [y/N]")), (0, true), "{text}");
    site.assert_permits(444)?;
    let (code, text) = site.on_a_terminal("rollback", "YES")?;
    assert_eq!(
        (code, text.contains("Go back to revision 1? [y/N]")),
        (0, true),
        "{text}"
    );
    site.assert_permits(443)
}
