use super::{SMALL, read};
use crate::config::Config;

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
