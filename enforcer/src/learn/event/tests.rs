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
