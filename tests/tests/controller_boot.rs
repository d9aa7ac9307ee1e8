//! Starts without a valid policy: what is in force then, and what becomes of frames. Needs root.

mod gateway;

use std::fs;

use anyhow::{Result, ensure};
use enforcer_tests::lab::enforcer::configure;
use enforcer_tests::lab::{Config, Enforcer};
use enforcer_tests::packet::Frame;
use gateway::probe::{Probe, SERVER, frame, pump, show_tags};
use gateway::{GOOD, Gateway, eventually};
use serde_json::Value;

/// A policy with a mistake in a rule, and zones that can be read.
const ZONES: &str = "zones:\n  pumps: {vlan: 110, subnets: [10.10.110.0/24], mode: enforce, on_no_policy: pass}\n  \
                     servers: {vlan: 20, subnets: [10.20.0.0/16], mode: enforce, on_no_policy: pass}\n  \
                     guests: {vlan: 190, subnets: [10.90.0.0/16], mode: enforce, on_no_policy: drop}\n\
                     rules:\n  wrong: {from: nobody, to: servers, services: [tcp/443], action: allow}\n";
const NOTHING: &str = "zones: [\n";

fn guest() -> Frame {
    frame(190, "10.90.0.9", SERVER, 443)
}

fn undeclared() -> Frame {
    frame(666, "10.66.0.9", SERVER, 443)
}

/// A machine whose enforcer starts without waiting to be ready.
struct Boot {
    gateway: Gateway,
    probe: Probe,
}

impl Boot {
    fn new() -> Result<Self> {
        let gateway = Gateway::new()?;
        let probe = Probe::new(&gateway)?;
        Ok(Self { gateway, probe })
    }

    fn config(&self, settings: &str) -> Config {
        let mut config = Probe::config(&self.gateway);
        settings.clone_into(&mut config.settings);
        config
    }

    /// Starts a controller, and waits until it tells where its policy is from.
    fn start(&self, settings: &str, source: &str) -> Result<Enforcer<'_>> {
        configure(&self.gateway.namespace, &self.config(settings))?;
        let enforcer = Enforcer::spawn(&self.gateway.namespace)?;
        eventually(source, || {
            let Ok(metrics) = enforcer.metrics() else {
                return Ok(false);
            };
            Ok(metrics.sum("enforcer_policy_source", &[("source", source)]) > 0.5)
        })?;
        Ok(enforcer)
    }

    /// As after a reboot: no controller, nothing pinned, the files on the disk.
    fn reboot(&self, enforcer: Enforcer<'_>) -> Result<()> {
        enforcer.kill()?;
        ensure!(self.gateway.command("detach")?.0 == 0, "detach");
        // It switched the offload on again that it had found so.
        show_tags(&self.gateway)
    }

    fn passes(&self, frame: &Frame) -> Result<bool> {
        self.probe.passes(frame)
    }

    fn assert_passes(&self, expected: [bool; 3]) -> Result<()> {
        let passes = [
            self.passes(&pump(23))?,
            self.passes(&guest())?,
            self.passes(&undeclared())?,
        ];
        assert_eq!(passes, expected, "pump, guest, undeclared");
        Ok(())
    }

    fn status(&self) -> Result<Value> {
        let (_, json, _) = self
            .gateway
            .run(&["status", "--config", Enforcer::CONFIG, "--output", "json"])?;
        Ok(serde_json::from_str(&json)?)
    }
}

fn assert_not_ready(enforcer: &Enforcer<'_>, reason: &str) -> Result<()> {
    let ready = enforcer.get("/readyz")?;
    assert_eq!(
        (ready.status, ready.body.contains(reason)),
        (503, true),
        "{}",
        ready.body
    );
    Ok(())
}

#[test]
fn zones_that_can_be_read_pass_or_drop_by_their_own_word() -> Result<()> {
    let boot = Boot::new()?;
    boot.gateway.write_policy(ZONES)?;
    let enforcer = boot.start("on_no_policy = 'pass'", "fallback")?;
    assert_not_ready(&enforcer, "no policy is valid")?;
    boot.assert_passes([true, false, true])?;
    let status = boot.status()?;
    assert!(
        status["last_reload"]["error"]
            .as_str()
            .is_some_and(|error| error.contains("nobody"))
    );

    boot.gateway.write_policy(GOOD)?;
    let (code, _, text) = boot.gateway.command("reload")?;
    assert_eq!(code, 0, "{text}");
    assert_eq!(boot.status()?["policy_source"], "files");
    assert!(boot.passes(&pump(443))?);
    boot.assert_passes([false, false, false])
}

#[test]
fn undeclared_vlans_follow_the_configuration() -> Result<()> {
    let boot = Boot::new()?;
    boot.gateway.write_policy(ZONES)?;
    let _enforcer = boot.start("on_no_policy = 'drop'", "fallback")?;
    boot.assert_passes([true, false, false])
}

#[test]
fn nothing_that_can_be_read_leaves_all_to_the_configuration() -> Result<()> {
    for (word, passes) in [("pass", true), ("drop", false)] {
        let boot = Boot::new()?;
        boot.gateway.write_policy(NOTHING)?;
        let _enforcer = boot.start(&format!("on_no_policy = '{word}'"), "fallback")?;
        boot.assert_passes([passes; 3])?;
    }
    Ok(())
}

#[test]
fn after_a_reboot_the_newest_good_revision_is_in_force() -> Result<()> {
    let boot = Boot::new()?;
    boot.reboot(boot.start("", "files")?)?;
    boot.gateway.write_policy(NOTHING)?;
    let enforcer = boot.start("", "revision")?;
    assert_not_ready(&enforcer, "the last reload failed")?;
    assert_eq!(boot.status()?["revision"], 1);
    assert!(boot.passes(&pump(443))?);
    boot.assert_passes([false, false, false])
}

#[test]
fn a_damaged_revision_is_passed_over_for_an_older_one() -> Result<()> {
    let boot = Boot::new()?;
    let enforcer = boot.start("", "files")?;
    boot.gateway.write_policy(&GOOD.replace("tcp/443", "tcp/444"))?;
    enforcer.reload()?;
    assert_eq!(boot.status()?["revision"], 2);
    boot.reboot(enforcer)?;
    boot.gateway.write_policy(NOTHING)?;
    let newest = "/run/enforcer-state/revisions/00000002.revision";
    boot.gateway.namespace.enter(|| fs::write(newest, "cut off"))?;
    let _enforcer = boot.start("", "revision")?;
    assert_eq!(boot.status()?["revision"], 1);
    assert!(boot.passes(&pump(443))? && !boot.passes(&pump(444))?);
    Ok(())
}

#[test]
fn what_an_earlier_controller_enforces_goes_on() -> Result<()> {
    let boot = Boot::new()?;
    boot.start("", "files")?.kill()?;
    boot.gateway.write_policy(NOTHING)?;
    // Its policy was kept, so the same comes into force with its names.
    boot.start("", "revision")?.kill()?;
    assert!(boot.passes(&pump(443))? && !boot.passes(&guest())?);

    // Its policy was lost: the program is not touched.
    let revisions = "/run/enforcer-state/revisions";
    boot.gateway.namespace.enter(|| fs::remove_dir_all(revisions))?;
    let program = boot.gateway.program("trunk0")?;
    let enforcer = boot.start("", "adopted")?;
    assert_eq!(boot.gateway.program("trunk0")?, program);
    assert_not_ready(&enforcer, "goes on")?;
    let status = boot.status()?;
    assert_eq!(
        (&status["generation"]["number"], &status["ports"][0]["attached"]),
        (&2.into(), &true.into())
    );
    assert!(boot.passes(&pump(443))? && !boot.passes(&guest())?);

    boot.gateway.write_policy(&GOOD.replace("tcp/443", "tcp/444"))?;
    let (code, _, text) = boot.gateway.command("reload")?;
    assert_eq!((code, text.contains("generation 3")), (0, true), "{text}");
    assert!(boot.passes(&pump(444))? && !boot.passes(&pump(443))?);
    Ok(())
}

#[test]
fn a_policy_that_cannot_be_kept_is_refused_by_a_reload_and_not_at_a_start() -> Result<()> {
    let boot = Boot::new()?;
    let enforcer = boot.start("", "files")?;
    let before = boot.gateway.program("trunk0")?;
    let revisions = "/run/enforcer-state/revisions";
    // Full to the last block.
    boot.gateway
        .tool("mount", &["-t", "tmpfs", "-o", "size=4k", "tmpfs", revisions])?;
    boot.gateway
        .namespace
        .enter(|| fs::write(format!("{revisions}/full"), [0; 4096]))?;
    boot.gateway.write_policy(&GOOD.replace("tcp/443", "tcp/444"))?;
    let (code, _, text) = boot.gateway.command("reload")?;
    assert_eq!((code, text.contains("No space left")), (1, true), "{text}");
    assert_eq!(boot.gateway.program("trunk0")?, before);

    boot.reboot(enforcer)?;
    let enforcer = boot.start("", "files")?;
    assert_not_ready(&enforcer, "not kept as a revision")?;
    assert!(boot.passes(&pump(444))? && !boot.passes(&pump(443))?);
    assert!(boot.status()?["revision"].is_null());

    // There is room: it is made up for, with its line of the trail.
    boot.gateway.tool("mount", &["-o", "remount,size=256k", revisions])?;
    eventually("the policy is kept", || Ok(boot.status()?["revision"].is_u64()))?;
    let status = boot.status()?;
    assert_eq!((&status["ready"], &status["revision"]), (&true.into(), &1.into()));
    let (code, text, _) = boot.gateway.command("history")?;
    assert_eq!((code, text.contains("started with revision 1")), (0, true), "{text}");
    assert!(boot.passes(&pump(444))? && !boot.passes(&pump(443))?);
    Ok(())
}
