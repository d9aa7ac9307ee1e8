use super::{findings, read};

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
