//! What stations offer: `offers` of classes, zones and devices. It permits nothing by itself. A rule that names no services permits what
//! its receivers offer, and one that permits what none of its receivers offers gets a warning.

use std::collections::HashMap;

use super::{
    fields::Spanned,
    file::{Deed, PolicyFile, RuleText, ServiceReference},
    library::Catalogue,
    names::Names,
    valid::{Action, Device, Rule, Selector, ServiceMatch, Zone},
};
use crate::diagnostics::{Diagnostic, quote};

type References = Option<Vec<Spanned<ServiceReference>>>;

/// Writes down what zones and devices offer: what they say themselves, else what their class says; devices else what their zone offers.
pub(super) fn settle(
    file: &PolicyFile,
    names: &Names<'_>,
    zones: &mut [Zone],
    devices: &mut [Device],
    findings: &mut Vec<Diagnostic>,
) {
    let mut resolve = |references: &References| {
        let references = references.as_ref()?;
        Some(names.matches(references, findings))
    };
    let classes: HashMap<&str, _> = file
        .classes
        .iter()
        .map(|class| (&*class.name.value, resolve(&class.offers)))
        .collect();
    let of_class = |class: &Option<String>| classes.get(class.as_deref()?).cloned().flatten();
    // The built-in zones come first.
    for (zone, text) in zones.iter_mut().skip(2).zip(&file.zones) {
        zone.offers = resolve(&text.offers).or_else(|| of_class(&zone.class));
    }
    for (device, text) in devices.iter_mut().zip(&file.devices) {
        let own = resolve(&text.offers).or_else(|| of_class(&device.class));
        device.offers = own.or_else(|| zones[device.zone].offers.clone());
    }
}

/// Gives a rule that names no services what its receivers offer, if all of them offer the same.
pub(super) fn fill(
    rule: &mut Rule,
    text: &RuleText,
    templates: &Catalogue<Deed>,
    places: (&[Zone], &[Device]),
    findings: &mut Vec<Diagnostic>,
) {
    let template = text.template.as_ref();
    if text.deed.services.is_some() || template.is_some_and(|template| templates.get(&template.value).is_none()) {
        return;
    }
    if template.is_some_and(|template| {
        templates
            .get(&template.value)
            .is_some_and(|deed| deed.services.is_some())
    }) {
        return;
    }
    let offers: Option<Vec<_>> = rule.to.iter().map(|end| offered(*end, places)).collect();
    let Some(offers) = offers.filter(|offers| !offers.is_empty()) else {
        let finding = Diagnostic::at(rule.at, "a rule needs `services`");
        findings.push(finding.help(
            "for example `services: [tcp/443]`; it may be left out where all that `to` names say what they offer: `offers`",
        ));
        return;
    };
    if offers.windows(2).any(|pair| pair[0] != pair[1]) {
        let finding = Diagnostic::at(
            rule.at,
            "a rule needs `services`: what `to` names offers different ones",
        );
        findings.push(finding.help("write them, or a rule for each"));
        return;
    }
    rule.services = offers.into_iter().next().unwrap_or_default();
}

/// What an end offers; `None` if it does not say.
fn offered(end: Selector, (zones, devices): (&[Zone], &[Device])) -> Option<Vec<ServiceMatch>> {
    match end {
        Selector::Zone(zone) => zones[zone].offers.clone(),
        Selector::Device(device) => devices[device].offers.clone(),
        Selector::Any | Selector::Prefix(_) => None,
    }
}

/// The service that a rule permits and none of its receivers offers, and a receiver. Where one of them does not say what it offers, nobody
/// knows.
pub(super) fn not_offered(rule: &Rule, zones: &[Zone], devices: &[Device]) -> Option<ServiceMatch> {
    if rule.action != Action::Allow {
        return None;
    }
    let mut all = Vec::new();
    for end in &rule.to {
        all.extend(offered(*end, (zones, devices))?);
        if let Selector::Zone(zone) = end {
            let own = devices.iter().filter(|device| device.zone == *zone);
            all.extend(own.filter_map(|device| device.offers.clone()).flatten());
        }
    }
    let services = rule.services.iter().copied();
    let mut unknown = services.filter(|service| !all.iter().any(|offered| offered.meets(*service)));
    unknown.next()
}

/// Names of what a rule is to, for people.
pub(super) fn receivers(rule: &Rule, zones: &[Zone], devices: &[Device]) -> String {
    let name = |end: &Selector| match end {
        Selector::Zone(zone) => quote(&zones[*zone].name),
        Selector::Device(device) => quote(&devices[*device].name),
        Selector::Any | Selector::Prefix(_) => "others".to_owned(),
    };
    rule.to.iter().map(name).collect::<Vec<_>>().join(", ")
}
