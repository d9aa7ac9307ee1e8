//! What is declared and never named.

use std::collections::HashSet;

use super::{
    fields::Spanned,
    file::{DeviceText, PolicyFile, PromiseText, ServiceReference},
    grammar::Reference,
    valid::Unused,
};

/// Services, groups, classes, templates and devices that nothing names, by place.
pub(super) fn find(file: &PolicyFile) -> Vec<Unused> {
    let promises = || file.never.iter().chain(&file.must_flow);
    let selectors = named_ends(file, promises());
    let services = named_services(file, promises());
    let classes = file.zones.iter().filter_map(|zone| zone.class.as_ref());
    let classes = names(classes.chain(file.devices.iter().filter_map(|device| device.class.as_ref())));
    let templates = names(file.rules.iter().filter_map(|rule| rule.template.as_ref()));
    let mut unused = Vec::new();
    let mut check = |what, name: &Spanned<String>, used: &HashSet<&str>| {
        if !used.contains(&*name.value) {
            let (name, at) = (name.value.clone(), name.at);
            unused.push(Unused { what, name, at });
        }
    };
    file.services
        .iter()
        .for_each(|service| check("service", &service.name, &services));
    file.groups
        .iter()
        .for_each(|group| check("group", &group.name, &selectors));
    file.classes
        .iter()
        .for_each(|class| check("class", &class.name, &classes));
    file.templates
        .iter()
        .for_each(|template| check("template", &template.name, &templates));
    let devices = file.devices.iter().filter(|device| !has_use_of_its_own(device));
    devices.for_each(|device| check("device", &device.name, &selectors));
    unused.sort_by_key(|unused| unused.at);
    unused
}

/// A device that is never named still holds its address to its hardware address, or has limits or a role of its own.
fn has_use_of_its_own(device: &DeviceText) -> bool {
    device.mac.is_some()
        || device.dhcp_server
        || device.class.is_some()
        || device.offers.is_some()
        || device.traits.says_something()
}

fn names<'t>(named: impl Iterator<Item = &'t Spanned<String>>) -> HashSet<&'t str> {
    named.map(|name| &*name.value).collect()
}

fn named_ends<'t>(file: &'t PolicyFile, promises: impl Iterator<Item = &'t PromiseText>) -> HashSet<&'t str> {
    let rules = file.rules.iter().flat_map(|rule| rule.from.iter().chain(&rule.to));
    let promises = promises.flat_map(|promise| promise.from.iter().chain(&promise.to));
    let groups = file.groups.iter().flat_map(|group| &group.members);
    let named = rules.chain(promises).chain(groups);
    let named = named.filter_map(|reference| match &reference.value {
        Reference::Name(name) => Some(&**name),
        _ => None,
    });
    named.collect()
}

fn named_services<'t>(file: &'t PolicyFile, promises: impl Iterator<Item = &'t PromiseText>) -> HashSet<&'t str> {
    let deeds = file.rules.iter().map(|rule| &rule.deed);
    let deeds = deeds.chain(file.templates.iter().map(|template| &template.deed));
    let lists = deeds
        .map(|deed| &deed.services)
        .chain(promises.map(|promise| &promise.services))
        .chain(file.classes.iter().map(|class| &class.offers))
        .chain(file.zones.iter().map(|zone| &zone.offers))
        .chain(file.devices.iter().map(|device| &device.offers));
    let inner = file.services.iter().flat_map(|service| &service.matches);
    let named = lists.flatten().flatten().chain(inner);
    let named = named.filter_map(|service| match &service.value {
        ServiceReference::Name(name) => Some(&**name),
        ServiceReference::Match(_) => None,
    });
    named.collect()
}
