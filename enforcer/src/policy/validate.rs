//! `PolicyFile` → `ValidPolicy`: every name looked up, every clash found.

use std::sync::Arc;

use enforcer_common::packet::protocol;

use super::{
    addresses, cases, dynamic,
    file::{ClassText, PolicyFile, PromiseText, ServiceText, Traits, ZoneText},
    lans,
    library::Catalogue,
    link_scoped,
    names::Names,
    offers, unused,
    valid::{
        Class, Guards, Limit, Limits, Mode, MustFlow, Never, OnNoPolicy, Selector, Service, ServiceMatch, ValidPolicy,
        Zone,
    },
};
use crate::diagnostics::{Diagnostic, Sources};

/// Checks the merged declarations. The result is only good when no finding was added.
///
/// With `complete` false, some file could not be read: names that nobody declares are not complained about, because
/// they may stand there.
pub(super) fn validate(
    mut file: PolicyFile,
    complete: bool,
    (sources, hash): (Arc<Sources>, [u8; 32]),
    findings: &mut Vec<Diagnostic>,
) -> ValidPolicy {
    file.zones.sort_by(|a, b| a.name.value.cmp(&b.name.value));
    file.devices.sort_by(|a, b| a.name.value.cmp(&b.name.value));
    file.classes.sort_by(|a, b| a.name.value.cmp(&b.name.value));
    file.services.sort_by(|a, b| a.name.value.cmp(&b.name.value));
    file.rules.sort_by(|a, b| a.name.value.cmp(&b.name.value));
    file.never.sort_by(|a, b| a.name.value.cmp(&b.name.value));
    file.must_flow.sort_by(|a, b| a.name.value.cmp(&b.name.value));
    if complete && file.zones.is_empty() && findings.is_empty() {
        findings.push(
            Diagnostic::general("the policy declares no zone: it would refuse every frame")
                .help("declare at least one under `zones`"),
        );
    }
    let names = Names::collect(&file, complete, findings);
    let mut realms = vec!["default".to_owned()];
    let classes = Catalogue::classes(&file.classes);
    let templates = Catalogue::templates(&file.templates);
    let mut zones = zones(&file.zones, &classes, &mut realms);
    names.check_kinds(&file, &classes, &templates, findings);
    lans::settle(&file, &mut zones, findings);
    let devices = file
        .devices
        .iter()
        .map(|device| names.device(device, &zones, &classes, findings));
    let mut devices: Vec<_> = devices.collect();
    offers::settle(&file, &names, &mut zones, &mut devices, findings);
    addresses::check(&file.zones, &zones, &file.devices, &devices, &realms, findings);
    let rules = file.rules.iter().map(|rule| names.rule(rule, &templates, findings));
    let mut rules: Vec<_> = rules.collect();
    // What others offer may stand in the files that could not be read.
    if complete {
        for (rule, text) in rules.iter_mut().zip(&file.rules) {
            offers::fill(rule, text, &templates, (&zones, &devices), findings);
        }
    }
    let never = file.never.iter().map(|text| never(text, &names, findings));
    let never: Vec<_> = never.collect();
    let must_flow = file.must_flow.iter().map(|text| must_flow(text, &names, findings));
    let must_flow: Vec<_> = must_flow.collect();
    let namings = rules
        .iter()
        .map(|rule| dynamic::Naming::of("rule", &rule.name, rule.at, [&rule.from, &rule.to]));
    let namings = namings
        .chain(never.iter().map(|never| never.naming("never")))
        .chain(must_flow.iter().map(|flow| flow.kept.naming("must_flow")));
    dynamic::check(&file.devices, &devices, &zones, namings, findings);
    let class = |text: &ClassText| Class {
        name: text.name.value.clone(),
        at: text.name.at,
    };
    let services = file.services.iter().zip(&names.services_held);
    let mut policy = ValidPolicy {
        rules,
        never,
        must_flow,
        unused: unused::find(&file),
        classes: file.classes.iter().map(class).collect(),
        cases: Vec::new(),
        devices,
        services: services.map(|(text, held)| service(text, held)).collect(),
        zones,
        realms,
        sources,
        hash,
    };
    // Devices and rules may stand in the files that could not be read.
    if complete {
        policy.cases = cases::resolve(&file.cases, &policy, findings);
    }
    policy
}

pub(super) fn zones(texts: &[ZoneText], classes: &Catalogue<Traits>, realms: &mut Vec<String>) -> Vec<Zone> {
    let built_in = |name: &str| Zone {
        name: name.to_owned(),
        offers: None,
        vlan: None,
        realm: 0,
        subnets: Vec::new(),
        gateways: Vec::new(),
        mode: None,
        guards: Guards::default(),
        routers: Vec::new(),
        limits: Limits::default(),
        broadcast: Limit::default(),
        strict_tcp: false,
        least_mss: 0,
        on_no_policy: OnNoPolicy::Pass,
        class: None,
        at: None,
    };
    let mut zones = vec![built_in("unknown"), built_in("self")];
    for text in texts {
        let realm = text.realm.as_ref().map_or("default", |realm| &realm.value);
        let number = realms.iter().position(|known| known == realm);
        let number = number.unwrap_or_else(|| {
            realms.push(realm.to_owned());
            realms.len() - 1
        });
        let traits = classes.fill(text.traits, text.class.as_ref());
        zones.push(Zone {
            name: text.name.value.clone(),
            offers: None,
            vlan: text.vlan.map(|vlan| vlan.value),
            realm: number,
            subnets: text.subnets.iter().map(|subnet| subnet.value).collect(),
            gateways: text.gateways.iter().map(|gateway| gateway.value).collect(),
            mode: Some(text.mode),
            guards: Guards::default(),
            routers: Vec::new(),
            limits: traits.limits.over(Limits::default()),
            broadcast: Limit::default(),
            strict_tcp: text.strict_tcp,
            least_mss: traits.least_mss.unwrap_or(0),
            on_no_policy: on_no_policy(text, traits),
            class: text.class.as_ref().map(|class| class.value.clone()),
            at: Some(text.name.at),
        });
    }
    zones
}

/// A zone in monitor mode promises that nothing is dropped; only its own word takes that back.
fn on_no_policy(text: &ZoneText, traits: Traits) -> OnNoPolicy {
    match text.mode {
        Mode::Monitor => text.traits.on_no_policy,
        Mode::Enforce => traits.on_no_policy,
    }
    .unwrap_or_default()
}

fn service(text: &ServiceText, held: &[ServiceMatch]) -> Service {
    Service {
        name: text.name.value.clone(),
        matches: held.to_vec(),
        at: text.name.at,
    }
}

fn never(text: &PromiseText, names: &Names<'_>, findings: &mut Vec<Diagnostic>) -> Never {
    let services = text.services.as_ref();
    Never {
        name: text.name.value.clone(),
        from: names.selectors(&text.from, findings),
        to: names.selectors(&text.to, findings),
        services: services.map_or(vec![ServiceMatch::Any], |services| names.matches(services, findings)),
        at: text.name.at,
    }
}

fn must_flow(text: &PromiseText, names: &Names<'_>, findings: &mut Vec<Diagnostic>) -> MustFlow {
    let kept = never(text, names, findings);
    if let Some(silence) = &text.silence
        && let Some(what) = flowless(&kept)
    {
        let finding = Diagnostic::at(silence.at, format!("nobody can watch for the silence of {what}"));
        findings.push(finding.help("it forms no flow: leave `silence` out, and alert on `enforcer_rule_hits_total`"));
    }
    MustFlow {
        kept,
        silence: text.silence.as_ref().map(|silence| silence.value),
    }
}

/// Something of a promise that the kernel program keeps no flow of.
fn flowless(promise: &Never) -> Option<&'static str> {
    let group = |selector: &Selector| match selector {
        Selector::Prefix(prefix) => link_scoped::range_of(*prefix).is_some_and(|range| !range.unicast),
        _ => false,
    };
    if promise.to.iter().any(group) {
        return Some("frames to a group");
    }
    let echo = |protocol: u8| match protocol {
        protocol::ICMP => 8 << 8,
        _ => 128 << 8,
    };
    let lone = |service: &ServiceMatch| match *service {
        ServiceMatch::Ports { protocol, .. } if matches!(protocol, protocol::ICMP | protocol::ICMPV6) => {
            !service.covers(protocol, echo(protocol))
        }
        _ => false,
    };
    promise
        .services
        .iter()
        .any(lone)
        .then_some("ICMP other than echo requests")
}
