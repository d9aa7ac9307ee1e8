use std::fs;
use std::path::Path;

use super::*;

/// The findings on a configuration with these ports, whose folders are in a new one, and whose policy is this text.
fn examined(port: &str, policy: &str) -> Vec<Finding> {
    let folder = tempfile::TempDir::new().unwrap();
    fs::write(folder.path().join("policy.yaml"), policy).unwrap();
    let text = format!(
        "policy = [\"policy.yaml\"]\nstate_directory = \"state\"\nruntime_directory = \"run\"\npin_directory = \"pins\"\n\
         [[port]]\ninterface = \"{port}\"\n"
    );
    let config = crate::config::parse(&folder.path().join("enforcer.toml"), text.into()).unwrap();
    examine(&config)
}

fn the<'f>(findings: &'f [Finding], subject: &str) -> &'f Finding {
    let found = findings.iter().find(|finding| finding.subject.starts_with(subject));
    found.unwrap_or_else(|| panic!("nothing on {subject}: {findings:?}"))
}

const POLICY: &str = "zones:\n  pumps: {vlan: 110, subnets: [10.10.110.0/24]}\n";

#[test]
fn a_good_policy_and_folders_that_can_be_made_are_ok() {
    let findings = examined("lo", POLICY);
    for subject in ["policy", "state directory", "runtime directory"] {
        let finding = the(&findings, subject);
        assert_eq!(finding.severity, Severity::Ok, "{finding:?}");
    }
    assert!(the(&findings, "port lo").what.contains("up"));
}

#[test]
fn every_fault_has_a_severity_and_a_cure() {
    let findings = examined("no-such-if", "zones: [");
    for (subject, severity, cure) in [
        ("policy", Severity::Error, "enforcer check"),
        ("pins", Severity::Error, "mount -t bpf"),
        ("daemon", Severity::Warning, "systemctl start enforcer"),
        ("port no-such-if", Severity::Error, "ip -br link"),
    ] {
        let finding = the(&findings, subject);
        assert_eq!(finding.severity, severity, "{finding:?}");
        assert!(finding.cure.as_deref().unwrap().starts_with(cure), "{finding:?}");
    }
    let cured = |finding: &Finding| (finding.severity == Severity::Ok) == finding.cure.is_none();
    assert!(findings.iter().all(cured), "{findings:?}");
}

#[test]
fn a_folder_that_is_a_file_is_no_reason_to_break_down() {
    let text = "policy = [\"p\"]\nstate_directory = \"/dev/null/state\"\n[[port]]\ninterface = \"lo\"\n";
    let config = crate::config::parse(Path::new("enforcer.toml"), text.into()).unwrap();
    assert_ne!(the(&examine(&config), "state directory").severity, Severity::Ok);
}
