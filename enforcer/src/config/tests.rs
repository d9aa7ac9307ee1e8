use super::*;
use enforcer_common::abi::control;

const SMALL: &str = "policy = [\"policies\"]\n[[port]]\ninterface = \"trunk0\"\n";

fn read(text: &str) -> Result<Config, String> {
    parse(Path::new("/etc/enforcer/enforcer.toml"), text.to_owned()).map_err(|errors| errors.to_string())
}

/// The findings of a text that is wrong.
fn findings(text: &str) -> String {
    read(text).expect_err("it should be refused")
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

/// Ports named by letters, each with more lines.
fn ports(sections: &[(&str, &str)]) -> String {
    let section = |(name, lines): &(&str, &str)| format!("[[port]]\ninterface = \"{name}\"\n{lines}\n");
    format!("policy = [\"p\"]\n{}", sections.iter().map(section).collect::<String>())
}

#[test]
fn one_port_of_a_pair_names_the_other() {
    for other in ["", "pair = \"east\""] {
        let text = ports(&[("east", "pair = \"west\""), ("alone", ""), ("west", other)]);
        let pairs: Vec<_> = read(&text).unwrap().ports.into_iter().map(|port| port.pair).collect();
        assert_eq!(pairs, [Some("west".to_owned()), None, Some("east".to_owned())]);
    }
    let text = ports(&[("east", "pair = \"west\""), ("west", "uplink = true")]);
    let uplinks: Vec<_> = read(&text).unwrap().ports.into_iter().map(|port| port.uplink).collect();
    assert_eq!(uplinks, [false, true]);
}

#[test]
fn pairs_that_cannot_be_are_refused() {
    let (east, west) = (("east", "pair = \"west\""), ("west", ""));
    for (sections, place, words) in [
        (vec![east], "4:8", "no configured port"),
        (vec![("east", "pair = \"east\"")], "4:8", "paired with itself"),
        (
            vec![east, west, ("north", "pair = \"west\"")],
            "10:8",
            "port `west` is in two pairs",
        ),
        (
            vec![east, ("west", "pair = \"north\""), ("north", "")],
            "7:8",
            "port `west` is in two pairs",
        ),
        (vec![("east", "uplink = true")], "4:10", "uplink without a pair"),
        (
            vec![("east", "pair = \"west\"\nuplink = true"), ("west", "uplink = true")],
            "4:8",
            "both ports of the pair are uplinks",
        ),
        (vec![east, ("west", "native_vlan = 7")], "4:8", "different native VLANs"),
        (vec![east, ("west", "vlans = [7]")], "4:8", "different VLANs"),
    ] {
        let text = findings(&ports(&sections));
        assert!(text.contains(&format!("enforcer.toml:{place}\n")), "{place}:\n{text}");
        assert!(text.contains(words), "{words}:\n{text}");
    }
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

/// A configuration with a `[[management]]` section and one port.
fn management(section: &str, port: &str) -> Result<Config, String> {
    read(&format!("{SMALL}{port}\n[[management]]\n{section}"))
}

#[test]
fn management_becomes_a_record_for_each_pair_and_service() {
    let config = management(
        r#"
from = ["10.99.0.0/24", "fd00:99::/64"]
to = ["10.99.0.1", "fd00:99::1"]
vlan = "99.7"
services = ["tcp/22", "udp/161-162", "icmp/echo"]
"#,
        "",
    )
    .unwrap();
    let seen: Vec<_> = config
        .management
        .iter()
        .map(|access| (access.family, access.protocol, access.first_port, access.last_port))
        .collect();
    // No ICMP for IPv4 to an IPv6 address.
    let ssh_and_snmp = |family| [(family, 6, 22, 22), (family, 17, 161, 162)];
    let expected = [&ssh_and_snmp(4)[..], &[(4, 1, 0x0800, 0x08ff)], &ssh_and_snmp(6)].concat();
    assert_eq!(seen, expected);
    let first = config.management[0];
    assert_eq!(first.prefix, [0, 0, 0, 0x0a63_0000]);
    assert_eq!(first.mask, [0, 0, 0, 0xffff_ff00]);
    assert_eq!(first.gateway, [0, 0, 0, 0x0a63_0001]);
    assert_eq!((first.outer_vlan, first.inner_vlan), (99, 7));
    let last = config.management[4];
    assert_eq!(last.prefix, [0xfd00_0099, 0, 0, 0]);
    assert_eq!(last.mask, [u32::MAX, u32::MAX, 0, 0]);
    assert_eq!(last.gateway, [0xfd00_0099, 0, 0, 1]);
}

#[test]
fn the_bits_of_a_mask_beyond_the_prefix_of_ipv4_stay_clear() {
    let section = "from = [\"10.99.0.7/32\"]\nto = [\"10.99.0.1\"]\nvlan = 99\nservices = [\"tcp/22\"]\n";
    let config = management(section, "").unwrap();
    assert_eq!(config.management[0].mask, [0, 0, 0, u32::MAX]);
}

#[test]
fn management_that_does_not_fit_together_is_told() {
    for (section, expected) in [
        (
            "from = [\"10.0.0.0/8\", \"fd00::/8\"]\nto = [\"10.0.0.1\"]\nvlan = 99\nservices = [\"tcp/22\"]",
            "`to` has no address of this family",
        ),
        (
            "from = [\"10.0.0.0/8\"]\nto = [\"10.0.0.1\", \"fd00::1\"]\nvlan = 99\nservices = [\"tcp/22\"]",
            "`from` has no prefix of this family",
        ),
        (
            "from = [\"10.0.0.0/8\"]\nto = [\"10.0.0.1\"]\nvlan = 99\nservices = [\"icmpv6/echo\"]",
            "no address that this service goes to",
        ),
        (
            "from = [\"10.0.0.0/8\"]\nto = [\"10.0.0.1\"]\nvlan = 99\nservices = [\"any\"]",
            "management access names its services",
        ),
        (
            "from = [\"10.0.0.0/8\"]\nto = [\"10.0.0.1\"]\nvlan = 5000\nservices = [\"tcp/22\"]",
            "\"5000\" is not a VLAN",
        ),
        (
            "from = []\nto = [\"10.0.0.1\"]\nvlan = 99\nservices = [\"tcp/22\"]",
            "the list is empty",
        ),
        (
            "from = [\"10.0.0.0/8\"]\nto = [\"10.0.0.1\"]\nservices = [\"tcp/22\"]",
            "missing field `vlan`",
        ),
    ] {
        let text = management(section, "").expect_err(section);
        let message = expected.replace('"', "`");
        assert!(text.contains(expected) || text.contains(&message), "{text}");
    }
    let section = "from = [\"10.0.0.0/8\"]\nto = [\"10.0.0.1\"]\nvlan = 99\nservices = [\"tcp/22\"]";
    let text = management(section, "vlans = [110]").expect_err("the VLAN is not let in");
    assert!(text.contains("no port lets VLAN 99 in"), "{text}");
    assert!(management(section, "vlans = [\"90-110\"]").is_ok());
}

#[test]
fn too_much_management_is_counted() {
    let services: Vec<_> = (1..=9).map(|port| format!("\"tcp/{port}\"")).collect();
    let section = |services: &[String]| {
        format!(
            "from = [\"10.0.0.0/8\", \"172.16.0.0/12\"]\nto = [\"10.0.0.1\"]\nvlan = 99\nservices = [{}]",
            services.join(", ")
        )
    };
    assert_eq!(management(&section(&services[..8]), "").unwrap().management.len(), 16);
    let text = management(&section(&services), "").expect_err("18 records");
    assert!(
        text.contains("takes 18 entries") && text.contains("room for 16"),
        "{text}"
    );
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
