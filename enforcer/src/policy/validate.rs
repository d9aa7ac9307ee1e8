//! `PolicyFile` → `ValidPolicy`: every name looked up, every clash found.

use std::{collections::HashMap, sync::Arc};

use super::{
    addresses, cases,
    classes::Classes,
    dynamic,
    fields::{Spanned, nearest},
    file::{ClassText, DeviceText, PolicyFile, RuleText, ServiceReference, ServiceText, ZoneText},
    grammar::Reference,
    lans,
    valid::{
        Action, Class, Device, Guards, Limit, Limits, Mode, OnNoPolicy, Rule, SELF, Selector, Service, ServiceMatch,
        UNKNOWN, ValidPolicy, Zone,
    },
};
use crate::diagnostics::{Diagnostic, Location, Sources, quote};

/// Suggestions are looked for in so many findings; they cost a comparison with every name.
const SUGGESTIONS: usize = 100;

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
    if complete && file.zones.is_empty() && findings.is_empty() {
        findings.push(
            Diagnostic::general("the policy declares no zone: it would refuse every frame")
                .help("declare at least one under `zones`"),
        );
    }
    let names = Names::collect(&file, complete, findings);
    let mut realms = vec!["default".to_owned()];
    let classes = Classes::new(&file.classes);
    let mut zones = zones(&file.zones, &classes, &mut realms);
    let classes_named = file.zones.iter().filter_map(|zone| zone.class.as_ref());
    let classes_named = classes_named.chain(file.devices.iter().filter_map(|device| device.class.as_ref()));
    for class in classes_named.filter(|class| classes.get(&class.value).is_none()) {
        names.unknown("class", class.at, &class.value, classes.names(), findings);
    }
    lans::settle(&file, &mut zones, findings);
    let devices = file
        .devices
        .iter()
        .map(|device| names.device(device, &zones, &classes, findings));
    let devices: Vec<_> = devices.collect();
    addresses::check(&file.zones, &zones, &file.devices, &devices, &realms, findings);
    let rules = file.rules.iter().map(|rule| names.rule(rule, &file.services, findings));
    let rules: Vec<_> = rules.collect();
    dynamic::check(&file.devices, &devices, &zones, &rules, findings);
    let class = |text: &ClassText| Class {
        name: text.name.value.clone(),
        at: text.name.at,
    };
    let mut policy = ValidPolicy {
        rules,
        classes: file.classes.iter().map(class).collect(),
        cases: Vec::new(),
        devices,
        services: file.services.iter().map(service).collect(),
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

fn zones(texts: &[ZoneText], classes: &Classes, realms: &mut Vec<String>) -> Vec<Zone> {
    let built_in = |name: &str| Zone {
        name: name.to_owned(),
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
            on_no_policy: traits.on_no_policy.unwrap_or_default(),
            class: text.class.as_ref().map(|class| class.value.clone()),
            at: Some(text.name.at),
        });
    }
    zones
}

fn service(text: &ServiceText) -> Service {
    Service {
        name: text.name.value.clone(),
        matches: text.matches.clone(),
        at: text.name.at,
    }
}

/// What each name stands for.
struct Names<'t> {
    selectors: HashMap<&'t str, Selector>,
    services: HashMap<&'t str, usize>,
    complete: bool,
}

impl<'t> Names<'t> {
    fn collect(file: &'t PolicyFile, complete: bool, findings: &mut Vec<Diagnostic>) -> Self {
        let zones = file.zones.iter().map(|zone| ("zone", &zone.name));
        let devices = file.devices.iter().map(|device| ("device", &device.name));
        unique(zones.chain(devices), findings);
        unique(file.classes.iter().map(|class| ("class", &class.name)), findings);
        unique(file.services.iter().map(|service| ("service", &service.name)), findings);
        unique(file.rules.iter().map(|rule| ("rule", &rule.name)), findings);
        let zones = file.zones.iter().enumerate();
        let zones = zones.map(|(number, zone)| (&*zone.name.value, Selector::Zone(number + 2)));
        let devices = file.devices.iter().enumerate();
        let devices = devices.map(|(number, device)| (&*device.name.value, Selector::Device(number)));
        let mut selectors: HashMap<_, _> = devices.chain(zones).collect();
        selectors.insert("unknown", Selector::Zone(UNKNOWN));
        selectors.insert("self", Selector::Zone(SELF));
        let services = file.services.iter().enumerate();
        let services = services
            .map(|(number, service)| (&*service.name.value, number))
            .collect();
        Self {
            selectors,
            services,
            complete,
        }
    }

    fn device(&self, text: &DeviceText, zones: &[Zone], classes: &Classes, findings: &mut Vec<Diagnostic>) -> Device {
        let zone = text.zone.as_ref().and_then(|zone| self.zone(zone, findings));
        let zone = zone.unwrap_or(UNKNOWN);
        let traits = classes.fill(text.traits, text.class.as_ref());
        Device {
            name: text.name.value.clone(),
            zone,
            limits: traits.limits.over(zones[zone].limits),
            least_mss: traits.least_mss.unwrap_or(zones[zone].least_mss),
            class: text.class.as_ref().map(|class| class.value.clone()),
            mac: text.mac.map(|mac| mac.value),
            addresses: text.addresses.iter().map(|address| address.value).collect(),
            dynamic: text.dhcp.is_some(),
            dhcp_server: text.dhcp_server,
            at: text.name.at,
        }
    }

    fn zone(&self, name: &Spanned<String>, findings: &mut Vec<Diagnostic>) -> Option<usize> {
        match self.selectors.get(&*name.value) {
            Some(&Selector::Zone(zone)) if zone != UNKNOWN && zone != SELF => Some(zone),
            Some(_) => {
                let message = format!("{} is not a declared zone", quote(&name.value));
                findings.push(Diagnostic::at(name.at, message).help("name the zone that the device is in"));
                None
            }
            None => {
                let zones = self.selectors.iter();
                let zones = zones.filter(|(_, selector)| matches!(selector, Selector::Zone(2..)));
                self.unknown("zone", name.at, &name.value, zones.map(|(name, _)| *name), findings);
                None
            }
        }
    }

    fn unknown<'n>(
        &self,
        what: &str,
        at: Location,
        name: &str,
        names: impl Iterator<Item = &'n str>,
        findings: &mut Vec<Diagnostic>,
    ) {
        if !self.complete {
            return;
        }
        let finding = Diagnostic::at(at, format!("no {what} is named {}", quote(name)));
        let near = (findings.len() < SUGGESTIONS).then(|| nearest(name, names));
        findings.push(match near.flatten() {
            Some(near) => finding.help(format!("did you mean `{near}`?")),
            None => finding.help("declare it, or correct the name"),
        });
    }

    fn rule(&self, text: &RuleText, services: &[ServiceText], findings: &mut Vec<Diagnostic>) -> Rule {
        let from = self.selectors(&text.from, findings);
        let to = self.selectors(&text.to, findings);
        Rule {
            name: text.name.value.clone(),
            from,
            to,
            services: self.matches(&text.services, services, findings),
            action: text.action.unwrap_or(Action::Deny),
            priority: text.priority,
            expires: text.expires,
            monitor: text.mode == Some(Mode::Monitor),
            log_new: text.log_new,
            limit: text.limit,
            scope: text.scope,
            alarm: text.alarm,
            at: text.name.at,
        }
    }

    fn selectors(&self, references: &[Spanned<Reference>], findings: &mut Vec<Diagnostic>) -> Vec<Selector> {
        let mut selectors = Vec::with_capacity(references.len());
        for Spanned { value, at } in references {
            match value {
                Reference::Any => selectors.push(Selector::Any),
                Reference::Prefix(prefix) => selectors.push(Selector::Prefix(*prefix)),
                Reference::Name(name) => {
                    if let Some(&selector) = self.selectors.get(&**name) {
                        selectors.push(selector);
                    } else {
                        let names = self.selectors.keys().copied().chain(["any"]);
                        self.unknown("zone or device", *at, name, names, findings);
                    }
                }
            }
        }
        selectors
    }

    fn matches(
        &self,
        references: &[Spanned<ServiceReference>],
        services: &[ServiceText],
        findings: &mut Vec<Diagnostic>,
    ) -> Vec<ServiceMatch> {
        let mut matches = Vec::new();
        for Spanned { value, at } in references {
            match value {
                ServiceReference::Match(one) => matches.push(*one),
                ServiceReference::Name(name) => {
                    if let Some(&number) = self.services.get(&**name) {
                        matches.extend(&services[number].matches);
                    } else {
                        let names = self.services.keys().copied();
                        self.unknown("service", *at, name, names, findings);
                    }
                }
            }
        }
        matches.sort_unstable();
        matches.dedup();
        matches
    }
}

/// Complains about names that are declared more than once.
fn unique<'t>(declared: impl Iterator<Item = (&'static str, &'t Spanned<String>)>, findings: &mut Vec<Diagnostic>) {
    let mut places: HashMap<&str, (&str, Location)> = HashMap::new();
    let mut declared: Vec<_> = declared.collect();
    declared.sort_by_key(|(_, name)| name.at);
    for (what, name) in declared {
        let Some(&(other, first)) = places.get(&*name.value) else {
            places.insert(&name.value, (what, name.at));
            continue;
        };
        let message = format!("the name {} is taken", quote(&name.value));
        findings.push(
            Diagnostic::at(name.at, message)
                .label(format!("{what} here"))
                .related(first, format!("{other} of the same name here"))
                .help("a name stands for one thing over all files: rename one of them"),
        );
    }
}
