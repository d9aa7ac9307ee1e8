//! What names stand for: zones, devices and groups, services, classes, templates.

use std::collections::HashMap;

use super::{
    fields::{Spanned, nearest},
    file::{Deed, DeviceText, GroupText, PolicyFile, RuleText, ServiceReference, ServiceText, Traits},
    grammar::Reference,
    groups::{self, Group, Member},
    library::Catalogue,
    valid::{Action, Device, Mode, Rule, SELF, Selector, ServiceMatch, UNKNOWN, Zone},
};
use crate::diagnostics::{Diagnostic, Location, quote};

/// Suggestions are looked for in so many findings; they cost a comparison with every name.
const SUGGESTIONS: usize = 100;

/// What each name stands for.
pub(super) struct Names<'t> {
    selectors: HashMap<&'t str, Selector>,
    groups: HashMap<&'t str, Vec<Selector>>,
    services: HashMap<&'t str, usize>,
    /// By service: what it stands for.
    pub(super) services_held: Vec<Vec<ServiceMatch>>,
    complete: bool,
}

impl<'t> Names<'t> {
    pub(super) fn collect(file: &'t PolicyFile, complete: bool, findings: &mut Vec<Diagnostic>) -> Self {
        check_unique(file, findings);
        let zones = file.zones.iter().enumerate();
        let zones = zones.map(|(number, zone)| (&*zone.name.value, Selector::Zone(number + 2)));
        let devices = file.devices.iter().enumerate();
        let devices = devices.map(|(number, device)| (&*device.name.value, Selector::Device(number)));
        let mut selectors: HashMap<_, _> = devices.chain(zones).collect();
        selectors.insert("unknown", Selector::Zone(UNKNOWN));
        selectors.insert("self", Selector::Zone(SELF));
        let services = file.services.iter().enumerate();
        let services = services.map(|(number, service)| (&*service.name.value, number));
        let mut names = Self {
            selectors,
            groups: file
                .groups
                .iter()
                .map(|group| (&*group.name.value, Vec::new()))
                .collect(),
            services: services.collect(),
            services_held: Vec::new(),
            complete,
        };
        names.groups = names.flat_groups(&file.groups, findings);
        names.services_held = names.flat_services(&file.services, findings);
        names
    }

    fn flat_groups(&self, texts: &'t [GroupText], findings: &mut Vec<Diagnostic>) -> HashMap<&'t str, Vec<Selector>> {
        let mut groups: Vec<Group<'_, Selector>> = Vec::new();
        for text in texts {
            let members = text.members.iter().flat_map(|member| match &member.value {
                Reference::Name(name) if self.groups.contains_key(&**name) => vec![Member::Group(name)],
                _ => {
                    let one = self.selectors(std::slice::from_ref(member), findings);
                    one.into_iter().map(Member::One).collect()
                }
            });
            groups.push((&text.name, members.collect()));
        }
        let held = groups::flatten("group", &groups, findings);
        let names = texts.iter().map(|text| &*text.name.value);
        names.zip(held).collect()
    }

    fn flat_services(&self, texts: &[ServiceText], findings: &mut Vec<Diagnostic>) -> Vec<Vec<ServiceMatch>> {
        let mut services: Vec<Group<'_, ServiceMatch>> = Vec::new();
        for text in texts {
            let members = text.matches.iter().filter_map(|member| match &member.value {
                ServiceReference::Match(one) => Some(Member::One(*one)),
                ServiceReference::Name(name) if self.services.contains_key(&**name) => Some(Member::Group(name)),
                ServiceReference::Name(name) => {
                    self.unknown("service", member.at, name, self.services.keys().copied(), findings);
                    None
                }
            });
            services.push((&text.name, members.collect()));
        }
        groups::flatten("service", &services, findings)
    }

    /// Complains about classes and templates that do not exist.
    pub(super) fn check_kinds(
        &self,
        file: &PolicyFile,
        classes: &Catalogue<Traits>,
        templates: &Catalogue<Deed>,
        findings: &mut Vec<Diagnostic>,
    ) {
        let named = file.zones.iter().filter_map(|zone| zone.class.as_ref());
        let named = named.chain(file.devices.iter().filter_map(|device| device.class.as_ref()));
        for class in named.filter(|class| classes.get(&class.value).is_none()) {
            self.unknown("class", class.at, &class.value, classes.names(), findings);
        }
        let named = file.rules.iter().filter_map(|rule| rule.template.as_ref());
        for template in named.filter(|template| templates.get(&template.value).is_none()) {
            self.unknown("template", template.at, &template.value, templates.names(), findings);
        }
    }

    pub(super) fn device(
        &self,
        text: &DeviceText,
        zones: &[Zone],
        classes: &Catalogue<Traits>,
        findings: &mut Vec<Diagnostic>,
    ) -> Device {
        let zone = text.zone.as_ref().and_then(|zone| self.zone(zone, findings));
        let zone = zone.unwrap_or(UNKNOWN);
        let traits = classes.fill(text.traits, text.class.as_ref());
        Device {
            name: text.name.value.clone(),
            offers: None,
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
            found if found.is_some() || self.groups.contains_key(&*name.value) => {
                let message = format!("{} is not a declared zone", quote(&name.value));
                findings.push(Diagnostic::at(name.at, message).help("name the zone that the device is in"));
                None
            }
            _ => {
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

    pub(super) fn rule(&self, text: &RuleText, templates: &Catalogue<Deed>, findings: &mut Vec<Diagnostic>) -> Rule {
        let template = text
            .template
            .as_ref()
            .and_then(|template| templates.get(&template.value));
        let deed = template.map_or_else(|| text.deed.clone(), |template| text.deed.or(template));
        let (limit, scope) = deed.limit.unwrap_or_default();
        Rule {
            name: text.name.value.clone(),
            from: self.selectors(&text.from, findings),
            to: self.selectors(&text.to, findings),
            services: self.matches(deed.services.as_deref().unwrap_or_default(), findings),
            action: deed.action.unwrap_or(Action::Deny),
            priority: text.priority,
            expires: text.expires,
            monitor: deed.mode == Some(Mode::Monitor),
            log_new: deed.log_new,
            limit,
            scope,
            alarm: deed.alarm,
            at: text.name.at,
        }
    }

    /// What references stand for, each once.
    pub(super) fn selectors(&self, references: &[Spanned<Reference>], findings: &mut Vec<Diagnostic>) -> Vec<Selector> {
        let mut selectors = Vec::with_capacity(references.len());
        for Spanned { value, at } in references {
            match value {
                Reference::Any => selectors.push(Selector::Any),
                Reference::Prefix(prefix) => selectors.push(Selector::Prefix(*prefix)),
                Reference::Name(name) => {
                    if let Some(&selector) = self.selectors.get(&**name) {
                        selectors.push(selector);
                    } else if let Some(members) = self.groups.get(&**name) {
                        selectors.extend(members);
                    } else {
                        let names = self.selectors.keys().chain(self.groups.keys()).copied();
                        self.unknown("zone, device or group", *at, name, names.chain(["any"]), findings);
                    }
                }
            }
        }
        selectors.sort_unstable();
        selectors.dedup();
        selectors
    }

    /// What services stand for, each once.
    pub(super) fn matches(
        &self,
        references: &[Spanned<ServiceReference>],
        findings: &mut Vec<Diagnostic>,
    ) -> Vec<ServiceMatch> {
        let mut matches = Vec::new();
        for Spanned { value, at } in references {
            match value {
                ServiceReference::Match(one) => matches.push(*one),
                ServiceReference::Name(name) => {
                    if let Some(&number) = self.services.get(&**name) {
                        matches.extend(&self.services_held[number]);
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

/// Zones, devices and groups share one space of names; each other kind has its own.
fn check_unique(file: &PolicyFile, findings: &mut Vec<Diagnostic>) {
    let zones = file.zones.iter().map(|zone| ("zone", &zone.name));
    let devices = file.devices.iter().map(|device| ("device", &device.name));
    let groups = file.groups.iter().map(|group| ("group", &group.name));
    unique(zones.chain(devices).chain(groups), findings);
    unique(file.classes.iter().map(|class| ("class", &class.name)), findings);
    unique(file.services.iter().map(|service| ("service", &service.name)), findings);
    unique(
        file.templates.iter().map(|template| ("template", &template.name)),
        findings,
    );
    unique(file.rules.iter().map(|rule| ("rule", &rule.name)), findings);
    unique(file.never.iter().map(|never| ("never", &never.name)), findings);
    unique(file.must_flow.iter().map(|flow| ("must_flow", &flow.name)), findings);
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
