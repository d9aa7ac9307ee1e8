//! What configurations say, and what is said about wrong ones.

mod management;
mod pairs;

use super::*;
use enforcer_common::abi::control;

const SMALL: &str = "policy = [\"policies\"]\n[[port]]\ninterface = \"trunk0\"\n";

fn read(text: &str) -> Result<Config, String> {
    parse(Path::new("/etc/enforcer/enforcer.toml"), text.into()).map_err(|errors| errors.to_string())
}

/// The findings of a text that is wrong.
fn findings(text: &str) -> String {
    read(text).expect_err("it should be refused")
}

#[test]
fn what_is_no_text_is_told_with_its_place() {
    let path = Path::new("/etc/enforcer/enforcer.toml");
    let text = [SMALL.as_bytes(), b"# caf\xe9\n"].concat();
    let error = parse(path, text).unwrap_err().to_string();
    assert!(error.contains("enforcer.toml:4:6"), "{error}");
    assert!(error.contains("not UTF-8 text: octet 0xe9"), "{error}");
}

#[test]
fn a_small_file_has_the_documented_defaults() {
    let config = read(SMALL).unwrap();
    assert_eq!(config.policy, [Path::new("/etc/enforcer/policies")]);
    assert_eq!(config.state_directory, Path::new("/var/lib/enforcer"));
    assert_eq!(config.runtime_directory, Path::new("/run/enforcer"));
    assert_eq!(config.pin_directory, Path::new("/sys/fs/bpf/enforcer"));
    assert!(config.keep_enforcing_on_exit);
    assert_eq!(config.on_no_policy, crate::policy::valid::OnNoPolicy::Pass);
    assert_eq!(config.metrics, Some("127.0.0.1:9469".parse().unwrap()));
    assert_eq!(
        config.events,
        Events {
            output: EventOutput::Stdout,
            rate: 20
        }
    );
    assert_eq!(config.sizes, Sizes::default());
    let all = control::LLDP | control::STP | control::LACP | control::EAPOL;
    let port = PortConfig {
        interface: "trunk0".into(),
        vlans: None,
        native_vlan: 0,
        mode: XdpMode::Native,
        monitor: false,
        control: all,
        pair: None,
        uplink: false,
    };
    assert_eq!(config.ports, [port]);
}

#[test]
fn every_setting_arrives() {
    let config = read(
        r#"
policy = ["/srv/policy"]
state_directory = "/tmp/state"
runtime_directory = "run"
pin_directory = "/mnt/bpf/x"
keep_enforcing_on_exit = false
on_no_policy = "drop"
[metrics]
listen = "[::1]:1234"
[events]
output = "file"
path = "/var/log/events.ndjson"
rate = 5
[tables]
flows = 1000
half_open = 100
fragments = 200
buckets = 300
bindings = 400
realm_slots = 4
device_slots = 50
ring_bytes = 65536
zone_slots = 10
rule_slots = 20
port_slots = 3
[[port]]
interface = "eth0"
vlans = [110, "200-202"]
native_vlan = 7
mode = "generic"
monitor = true
control = ["lldp", "eapol"]
"#,
    )
    .unwrap();
    assert_eq!(config.runtime_directory, Path::new("/etc/enforcer/run"));
    assert!(!config.keep_enforcing_on_exit);
    assert_eq!(config.on_no_policy, crate::policy::valid::OnNoPolicy::Drop);
    assert_eq!(config.metrics, Some("[::1]:1234".parse().unwrap()));
    assert_eq!(
        config.events,
        Events {
            output: EventOutput::File("/var/log/events.ndjson".into()),
            rate: 5
        }
    );
    let sizes = Sizes {
        flows: 1000,
        half_open: 100,
        fragments: 200,
        buckets: 300,
        bindings: 400,
        realm_slots: 4,
        device_slots: 50,
        ring_bytes: 65536,
        zone_slots: 10,
        rule_slots: 20,
        port_slots: 3,
    };
    assert_eq!(config.sizes, sizes);
    let port = &config.ports[0];
    let vlans: Vec<_> = port.vlans.unwrap().iter().collect();
    assert_eq!(
        vlans,
        [7, 110, 200, 201, 202],
        "the native VLAN is allowed by being named"
    );
    assert_eq!((port.native_vlan, port.mode, port.monitor), (7, XdpMode::Generic, true));
    assert_eq!(port.control, control::LLDP | control::EAPOL);
}

#[test]
fn metrics_can_be_off() {
    let config = read(&format!("{SMALL}[metrics]\nlisten = \"none\"\n")).unwrap();
    assert_eq!(config.metrics, None);
}

#[test]
fn an_unknown_key_is_an_error_with_its_place() {
    let text = findings("polcy = [\"policies\"]\n[[port]]\ninterface = \"trunk0\"\n");
    assert!(text.contains("unknown field `polcy`"), "{text}");
    assert!(text.contains("/etc/enforcer/enforcer.toml:1:1"), "{text}");
    let text = findings(&format!("{SMALL}vlan = 5\n"));
    assert!(text.contains("enforcer.toml:4:1"), "{text}");
}

#[test]
fn everything_wrong_is_said_at_once() {
    let text = findings(
        r#"policy = []
[metrics]
listen = "localhost"
[events]
output = "kafka"
rate = 0
[tables]
flows = 0
ring_bytes = 5000
[[port]]
interface = "a-name-much-too-long"
vlans = [0, "20-10", 4095]
native_vlan = 5000
mode = "fast"
control = ["cdp"]
[[port]]
interface = "eth0"
[[port]]
interface = "eth0"
"#,
    );
    for place in [
        "1:10", "3:10", "5:10", "6:8", "8:9", "9:14", "11:13", "12:10", "12:13", "12:22", "13:15", "14:8", "15:12",
        "19:13",
    ] {
        assert!(
            text.contains(&format!("enforcer.toml:{place}\n")),
            "{place} is missing:\n{text}"
        );
    }
    assert!(text.contains("14 errors"), "{text}");
}

#[test]
fn a_file_output_needs_its_path() {
    for events in [
        "output = \"file\"",
        "output = \"stdout\"\npath = \"x\"",
        "output = \"none\"\npath = \"x\"",
    ] {
        findings(&format!("{SMALL}[events]\n{events}\n"));
    }
    let config = read(&format!("{SMALL}[events]\npath = \"x\"\n")).unwrap();
    assert_eq!(config.events.output, EventOutput::File("/etc/enforcer/x".into()));
}

#[test]
fn a_configuration_without_ports_or_with_bad_text_is_refused() {
    assert!(findings("policy = [\"p\"]\n").contains("no port"));
    assert!(findings("policy = [\"p\"\n").contains("enforcer.toml:"));
    assert!(findings("").contains("policy"));
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    let error = load(Path::new("/dev/zero")).unwrap_err().to_string();
    assert!(error.contains("cannot read /dev/zero: not a regular file"), "{error}");
}

#[test]
fn a_missing_file_says_what_to_do() {
    let error = load(Path::new("/nonexistent/enforcer.toml")).unwrap_err();
    assert!(error.to_string().contains("--config"), "{error}");
    assert_eq!(error.exit_code(), 2);
}

/// The key and value of a line that is commented out.
fn commented(line: &str) -> Option<&str> {
    let line = line.strip_prefix('#')?;
    let key = line.split_once(" = ")?.0;
    key.bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        .then_some(line)
}

#[test]
fn the_sample_is_good_and_its_comments_are_the_defaults() {
    let sample = include_str!("../../../deploy/enforcer.toml");
    let plain = read(sample).unwrap();
    // Every commented key, taken in; lines that would change the meaning left out.
    let is_example = |line: &str| {
        [
            "#path",
            "#vlans",
            "#native_vlan",
            "#pair",
            "#uplink",
            "#[[management]]",
            "#from",
            "#to",
            "#vlan ",
            "#services",
        ]
        .iter()
        .any(|key| line.starts_with(key))
    };
    let text: Vec<&str> = sample
        .lines()
        .filter(|line| !is_example(line))
        .map(|line| commented(line).unwrap_or(line))
        .collect();
    assert!(text.len() > 40 && text.contains(&"flows = 131072"), "{text:?}");
    assert_eq!(read(&text.join("\n")).unwrap(), plain);
}

#[test]
fn timeouts_are_taken_when_they_are_sane() {
    use enforcer_common::abi::FlowState;
    let config = read(&format!("{SMALL}[timeouts]\nestablished = 7200\nanswered = 30\n")).unwrap();
    for state in FlowState::ALL {
        let expected = match state {
            FlowState::Established => 7200,
            FlowState::Answered => 30,
            other => other.default_idle_seconds(),
        };
        assert_eq!(config.idle_seconds[state as usize], expected, "{}", state.name());
    }
    let text = findings(&format!(
        "{SMALL}[timeouts]\nestablished = 5\nreset = 0\nclosing = 9999999\n"
    ));
    for part in [
        "600 to 2592000 seconds; the default is 432000",
        "enforcer.toml:5:",
        "1 to 2592000",
        "enforcer.toml:7:",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
