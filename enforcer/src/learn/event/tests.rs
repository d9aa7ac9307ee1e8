use super::*;
use crate::events::tests::names;

/// What an event to this destination teaches.
fn taught(change: impl FnOnce(&mut Event)) -> Option<News> {
    let names = names();
    let lan = names
        .tables
        .names
        .lans
        .iter()
        .position(|lan| lan.vlan.is_some_and(|vlan| vlan.outer == 110));
    let mut event = Event {
        lan: lan.unwrap() as u16,
        outer_vlan: 110,
        family: 4,
        protocol: 17,
        source_address: [0, 0, 0, 0x0a0a_6e15],
        destination_address: [0, 0, 0, 0xe000_00fb],
        destination_port: 5353,
        verdict: Verdict::WouldDrop as u8,
        reason: DropReason::DefaultDeny as u8,
        stage: Stage::Policy as u8,
        ..Event::default()
    };
    change(&mut event);
    teaches(&event, 7, &names)
}

#[test]
fn events_tell_of_what_forms_no_flow() {
    let Some(News::Seen(key, seen)) = taught(|_| {}) else {
        panic!("a frame to a group is news")
    };
    assert_eq!((key.link.as_deref(), key.port, seen.count), (Some("110"), 5353, 1));
    let ignored: [fn(&mut Event); 5] = [
        |event| event.destination_address = [0, 0, 0, 0x0a14_0001],
        |event| event.verdict = Verdict::Drop as u8,
        |event| event.stage = Stage::Flow as u8,
        |event| event.reason = DropReason::None as u8,
        |event| {
            event.destination_address = [0, 0, 0, 0x0a14_0001];
            (event.protocol, event.destination_port) = (1, 0);
        },
    ];
    for change in ignored {
        assert!(taught(change).is_none());
    }
    let unreachable = taught(|event| {
        event.destination_address = [0, 0, 0, 0x0a14_0001];
        (event.protocol, event.destination_port) = (1, 0x0303);
    });
    assert!(matches!(unreachable, Some(News::Seen(key, _)) if key.port == 0x0303 && key.link.is_none()));
}

#[test]
fn what_guards_and_limits_would_refuse_is_kept_by_vlan_and_reason() {
    let told = taught(|event| {
        event.reason = DropReason::SourceNotInVlan as u8;
        event.stage = Stage::Source as u8;
    });
    let Some(News::Refused(refusal, refused)) = told else {
        panic!("a spoofed source is news")
    };
    assert_eq!(
        (refusal.vlan.as_str(), refusal.reason.as_str()),
        ("110", "source-not-in-vlan")
    );
    assert_eq!(
        refused.example,
        "10.10.110.21 (00:00:00:00:00:00) to 224.0.0.251, udp/5353"
    );
}

#[test]
fn a_device_with_a_leased_address_is_known_by_its_name() {
    const POLICY: &str = "zones:\n  ward: {vlan: 30, subnets: [10.3.0.0/24]}\n\
                          devices:\n  tablet: {zone: ward, mac: '02:00:00:00:30:01', dhcp: true}\n";
    let policy = crate::policy::load_texts([("ward.yaml".into(), POLICY.to_owned())]).unwrap();
    let tables = std::sync::Arc::new(crate::policy::compile(&policy).unwrap());
    let leased = tables.dynamic[0].endpoint;
    let names = GenerationNames {
        number: 1,
        ports: std::collections::BTreeMap::new(),
        tables: std::sync::Arc::clone(&tables),
    };
    let from = |source: u32| {
        let event = Event {
            lan: 1,
            source,
            family: 4,
            protocol: 17,
            source_address: [0, 0, 0, 0x0a03_0009],
            destination_address: [0, 0, 0, 0xe000_00fb],
            verdict: Verdict::WouldDrop as u8,
            reason: DropReason::DefaultDeny as u8,
            stage: Stage::Policy as u8,
            ..Event::default()
        };
        match teaches(&event, 7, &names) {
            Some(News::Seen(key, _)) => key.from,
            _ => panic!("a frame to a group is news"),
        }
    };
    assert_eq!(from(leased), End::Device("tablet".into()));
    assert_eq!(from(0), End::Address("10.3.0.9".parse().unwrap()));
}
