//! `enforcer top` with the real controller on the kernel. Needs root.

mod gateway;

use anyhow::{Context as _, Result};
use enforcer_tests::lab::Enforcer;
use gateway::eventually;
use gateway::ward::{ACK, SYN, to_pump, to_server, ward};

#[test]
fn top_tells_rates_and_counts_as_plain_text() -> Result<()> {
    let (gateway, switch) = ward()?;
    let config = gateway.config(&["trunk0"]);
    let asked = ["top", "--config", Enforcer::CONFIG, "--batch", "-n", "1"];
    {
        let enforcer = Enforcer::start(&gateway.namespace, &config)?;
        switch.send(&to_server(40_001, 443, SYN))?;
        switch.send(&to_pump(40_001, SYN | ACK))?;
        for _ in 0..3 {
            switch.send(&to_server(40_001, 23, SYN))?;
        }
        eventually("five frames are decided", || {
            Ok(enforcer.count(Enforcer::RULE_FRAMES, &[("rule", "default-deny")])? == 3)
        })?;
        let (code, text, errors) = gateway.run(&asked)?;
        assert_eq!((code, errors.as_str()), (0, ""), "{text}");
        let row = |text: &str, name: &str| -> Result<Vec<String>> {
            let mut lines = text.lines();
            let line = lines.find(|line| line.split_whitespace().next() == Some(name));
            let line = line.with_context(|| format!("no {name} in {text}"))?;
            Ok(line.split_whitespace().map(str::to_owned).collect())
        };
        assert!(text.contains("  ready  generation 1 in force since "), "{text}");
        assert_eq!(row(&text, "trunk0")?[5..], ["2", "0", "3"], "{text}");
        assert_eq!(row(&text, "pumps-to-servers")?[3], "2", "{text}");
        // One flow has both zones; what was refused is the pumps'.
        assert_eq!(row(&text, "pumps")?[1], "1", "{text}");
        assert_eq!(row(&text, "pumps")?[6], "3", "{text}");
        assert_eq!(row(&text, "servers")?[6], "0", "{text}");
        let reasons = text.split_once("REASON").context("reasons")?.1;
        assert_eq!(
            row(reasons, "default-deny")?,
            ["default-deny", "pumps", "drop", "0", "3"]
        );

        let (code, text, _) = gateway.run(&[&asked[..], &["--view", "devices", "--rows", "1"]].concat())?;
        assert_eq!(code, 0);
        assert_eq!(row(&text, "pump-1")?[1..3], ["pumps", "1"], "{text}");
        assert!(text.contains("and 1 more") && !text.contains("PORT"), "{text}");

        let (code, _, errors) = gateway.run(&["top", "--config", Enforcer::CONFIG])?;
        assert!(code == 2 && errors.contains("--batch"), "{code}: {errors}");
    }
    let (code, text, errors) = gateway.run(&asked)?;
    assert_eq!((code, text.as_str()), (2, ""));
    assert!(errors.contains("no enforcer runs here"), "{errors}");
    Ok(())
}
