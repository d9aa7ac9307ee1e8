//! What is allowed, and still seldom meant: rules that do nothing, that have ended or soon will, that reach too far; things that nothing
//! names; zones inside of zones; operators who are locked out.

#[cfg(test)]
mod tests;

use ipnetwork::IpNetwork;

use super::compile::Usage;
use super::offers;
use super::valid::{Action, Rule, SELF, Selector, ServiceMatch, ValidPolicy, Zone};
use crate::config::Config;
use crate::diagnostics::{Diagnostic, Lint, quote};

/// Rules that end within so many nanoseconds get a warning: two weeks.
const SOON: u64 = 14 * 24 * 3_600 * 1_000_000_000;

macro_rules! lints {
    ($($name:ident $code:literal $finds:literal)*) => {
        $(static $name: Lint = Lint { code: $code, finds: $finds };)*
        /// All kinds of warnings.
        pub static LINTS: &[&Lint] = &[$(&$name),*];
    };
}

lints! {
    UNMATCHABLE "unmatchable-rule" "A rule whose ends can never meet."
    SHADOWED "shadowed-rule" "A rule that others go before wherever it matches."
    REDUNDANT "redundant-rule" "A rule without which no verdict would be another."
    EXPIRED "expired-rule" "A rule that has expired."
    EXPIRES_SOON "expires-soon" "A rule that expires within two weeks."
    ANY_TO_ANY "any-to-any" "A rule that allows everything from anybody to anybody."
    GATEWAY_IN_ANY "gateway-in-any" "A rule that lets somebody reach the gateway itself, because any includes it."
    NOT_OFFERED "not-offered" "A rule that permits a service that nobody offers whom it is to."
    UNUSED "unused" "Something that is declared and that nothing names."
    NESTED_SUBNET "nested-subnet" "A subnet inside of another zone's, or of the same zone's."
    LOCK_OUT "lock-out" "Operators cannot reach the gateway."
}

/// The warnings about a policy at `now`, in nanoseconds of Unix time.
pub(super) fn find(policy: &ValidPolicy, usage: &Usage, config: Option<&Config>, now: u64) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (rule, number) in policy.rules.iter().zip(1..) {
        found.extend(end(rule, now));
        if rule.expires.is_none_or(|expires| expires > now) {
            found.extend(needless(policy, usage, number));
        }
        found.extend(not_offered(policy, rule));
        found.extend(wide(rule, usage.toward_gateway.contains(&number)));
    }
    for unused in &policy.unused {
        let message = format!("nothing names the {} {}", unused.what, quote(&unused.name));
        found.push(
            Diagnostic::at(unused.at, message)
                .lint(&UNUSED)
                .help("remove it, or use it"),
        );
    }
    found.extend(nested_subnets(policy));
    found.extend(config.and_then(|config| lock_out(policy, usage, config)));
    found
}

fn end(rule: &Rule, now: u64) -> Option<Diagnostic> {
    let (expires, name) = (rule.expires?, quote(&rule.name));
    if expires <= now {
        let finding = Diagnostic::at(rule.at, format!("rule {name} has expired")).lint(&EXPIRED);
        return Some(finding.help("remove it, or give it a new end"));
    }
    (expires - now < SOON).then(|| {
        let finding = Diagnostic::at(rule.at, format!("rule {name} expires within two weeks")).lint(&EXPIRES_SOON);
        finding.help("let its owner know; remove it or give it a new end")
    })
}

/// A rule that has not ended, and that changes nothing.
fn needless(policy: &ValidPolicy, usage: &Usage, number: u32) -> Option<Diagnostic> {
    let rule = |number: u32| &policy.rules[number as usize - 1];
    let (at, name) = (rule(number).at, quote(&rule(number).name));
    if !usage.matching.contains(&number) {
        let finding = Diagnostic::at(at, format!("rule {name} never matches: its ends cannot meet")).lint(&UNMATCHABLE);
        return Some(finding.help("name ends of one realm that have addresses of the same family, or remove it"));
    }
    if !usage.deciding.contains(&number) {
        let message = format!("rule {name} never decides: others go before it wherever it matches");
        let finding = Diagnostic::at(at, message).lint(&SHADOWED);
        return Some(finding.help("remove it, or give it a higher priority"));
    }
    let other = rule(*usage.redundant.get(&number)?);
    let message = format!("rule {name} is redundant: without it, no verdict would be another");
    let finding = Diagnostic::at(at, message).lint(&REDUNDANT);
    let finding = finding.related(other.at, "does the same");
    Some(finding.help("remove it: the other rules cover what it does"))
}

/// A service that none of the receivers offers, who all say what they do.
fn not_offered(policy: &ValidPolicy, rule: &Rule) -> Option<Diagnostic> {
    let service = offers::not_offered(rule, &policy.zones, &policy.devices)?;
    let receivers = offers::receivers(rule, &policy.zones, &policy.devices);
    let name = quote(&rule.name);
    let message = format!("rule {name} allows {service}, which nobody offers whom it is to: {receivers}");
    let finding = Diagnostic::at(rule.at, message).lint(&NOT_OFFERED);
    Some(finding.help("remove the service from the rule, or add it to `offers` of the zone, the device or their class"))
}

fn wide(rule: &Rule, reaches_gateway: bool) -> Option<Diagnostic> {
    if rule.action != Action::Allow || !rule.to.contains(&Selector::Any) {
        return None;
    }
    let name = quote(&rule.name);
    if rule.from.contains(&Selector::Any) && rule.services.contains(&ServiceMatch::Any) {
        let message = format!("rule {name} allows everything from anybody to anybody");
        let finding = Diagnostic::at(rule.at, message).lint(&ANY_TO_ANY);
        return Some(finding.help("name ends and services; to watch first, let the zones monitor"));
    }
    (reaches_gateway && !rule.to.contains(&Selector::Zone(SELF))).then(|| {
        let message = format!("rule {name} reaches the gateway itself: `any` includes `self`");
        let finding = Diagnostic::at(rule.at, message).lint(&GATEWAY_IN_ANY);
        finding.help("name the zones that are meant; or, if the gateway is meant too, say so: `to: [any, self]`")
    })
}

/// Subnets inside of others. The default route is made for that: it has what no other zone claims.
fn nested_subnets(policy: &ValidPolicy) -> Vec<Diagnostic> {
    let mut all: Vec<(&Zone, IpNetwork)> = Vec::new();
    for zone in &policy.zones {
        all.extend(zone.subnets.iter().map(|subnet| (zone, *subnet)));
    }
    // An outer network stands before the inner ones.
    all.sort_by_key(|(zone, subnet)| (zone.realm, subnet.network(), subnet.prefix()));
    let mut around: Vec<(&Zone, IpNetwork)> = Vec::new();
    let mut found = Vec::new();
    for (zone, subnet) in all {
        let holds = |(other, outer): &(&Zone, IpNetwork)| {
            other.realm == zone.realm && outer.is_ipv4() == subnet.is_ipv4() && outer.contains(subnet.network())
        };
        while around.last().is_some_and(|last| !holds(last)) {
            around.pop();
        }
        if let Some(&(outer_zone, outer)) = around.last()
            && outer.prefix() > 0
        {
            found.extend(nested(policy, (zone, subnet), (outer_zone, outer)));
        }
        around.push((zone, subnet));
    }
    found
}

fn nested(policy: &ValidPolicy, inner: (&Zone, IpNetwork), outer: (&Zone, IpNetwork)) -> Option<Diagnostic> {
    let ((zone, subnet), (outer_zone, outer)) = (inner, outer);
    let (name, outer_name) = (quote(&zone.name), quote(&outer_zone.name));
    if zone.name == outer_zone.name {
        let message = format!("{subnet} of zone {name} lies in its subnet {outer}");
        let finding = Diagnostic::at(zone.at?, message).lint(&NESTED_SUBNET);
        return Some(finding.help("remove it: the other one covers it"));
    }
    let message = format!("{subnet} of zone {name} lies in {outer} of zone {outer_name}");
    let finding = Diagnostic::at(zone.at?, message).lint(&NESTED_SUBNET);
    let finding = finding.related(outer_zone.at?, "declared here");
    let leases = |device: &super::valid::Device| device.dynamic && policy.zones[device.zone].name == outer_zone.name;
    Some(if subnet.is_ipv4() && policy.devices.iter().any(leases) {
        finding.help(format!(
            "let the DHCP server of {outer_name} lease nothing of {subnet}: such an address would be of {name}; or correct one of them"
        ))
    } else {
        finding.help("the longer prefix prevails; if that is not meant, correct one of them")
    })
}

/// Management access goes before every rule and every VLAN (that a port lets it in is the configuration's to check); without it,
/// a rule has to let operators in.
fn lock_out(policy: &ValidPolicy, usage: &Usage, config: &Config) -> Option<Diagnostic> {
    let enforces = policy
        .zones
        .iter()
        .any(|zone| zone.mode == Some(super::valid::Mode::Enforce));
    (config.management.is_empty() && !usage.gateway_has_sessions && enforces).then(|| {
        let message =
            "operators would be locked out: enforcer.toml has no [[management]], and no rule allows TCP to `self`";
        let finding = Diagnostic::general(message).lint(&LOCK_OUT);
        finding.help("declare [[management]] access: no policy can take that away")
    })
}
