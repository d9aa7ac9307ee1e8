//! Inline mode: which ports belong together.
//!
//! One port of a pair names the other with `pair`; the other may name it back, and need not.

use std::collections::BTreeMap;

use toml::Spanned;

use super::PortConfig;
use super::file::location;
use crate::diagnostics::{Diagnostic, Location, quote};

/// What the section of a port says about pairs.
pub(super) struct Wish {
    /// The port.
    pub interface: Spanned<String>,
    /// The port that it names.
    pub pair: Option<Spanned<String>>,
    /// Whether it leads to the routers.
    pub uplink: Option<Spanned<bool>>,
}

impl Wish {
    fn is_uplink(&self) -> bool {
        self.uplink.as_ref().is_some_and(|uplink| *uplink.get_ref())
    }
}

/// Joins the ports whose sections name each other. `ports` and `wishes` have the order of the file.
pub(super) fn join(ports: &mut [PortConfig], wishes: &[Wish], findings: &mut Vec<Diagnostic>) {
    let places: BTreeMap<&str, usize> = (wishes.iter().zip(0..))
        .map(|(wish, number)| (wish.interface.get_ref().as_str(), number))
        .collect();
    // By port: its partner, and where the file says so.
    let mut partners: Vec<Option<(usize, Location)>> = vec![None; ports.len()];
    for (number, wish) in wishes.iter().enumerate() {
        let Some(pair) = &wish.pair else {
            continue;
        };
        let at = location(pair.span());
        match places.get(pair.get_ref().as_str()) {
            None => findings.push(unknown(pair, at)),
            Some(&other) if other == number => findings.push(itself(pair, at)),
            Some(&other) => {
                for (one, two) in [(number, other), (other, number)] {
                    match partners[one] {
                        Some((known, _)) if known == two => {}
                        Some((_, first)) => findings.push(twice(&wishes[one], at, first)),
                        None => partners[one] = Some((two, at)),
                    }
                }
            }
        }
    }
    for (port, wish) in ports.iter_mut().zip(wishes) {
        port.uplink = wish.is_uplink();
    }
    for (number, wish) in wishes.iter().enumerate() {
        match partners[number] {
            Some((other, at)) => {
                ports[number].pair = Some(wishes[other].interface.get_ref().clone());
                if number < other {
                    findings.extend(misfit(ports, wishes, [number, other], at));
                }
            }
            None if wish.is_uplink() && wish.pair.is_none() => findings.extend(lonely(wish)),
            None => {}
        }
    }
}

fn unknown(pair: &Spanned<String>, at: Location) -> Diagnostic {
    let name = quote(pair.get_ref());
    Diagnostic::at(at, format!("the pair {name} is no configured port"))
        .help(format!("add a [[port]] section with interface = {:?}", pair.get_ref()))
}

fn itself(pair: &Spanned<String>, at: Location) -> Diagnostic {
    Diagnostic::at(at, format!("port {} is paired with itself", quote(pair.get_ref())))
        .help("name the port on the other side: frames that come in by one go out by the other")
}

fn twice(wish: &Wish, at: Location, first: Location) -> Diagnostic {
    let name = quote(wish.interface.get_ref());
    Diagnostic::at(at, format!("port {name} is in two pairs"))
        .related(first, "first here")
        .help("a port belongs to one pair")
}

fn lonely(wish: &Wish) -> Option<Diagnostic> {
    let uplink = wish.uplink.as_ref()?;
    let finding = Diagnostic::at(location(uplink.span()), "an uplink without a pair");
    Some(finding.help(
        "`uplink = true` is for the port of an inline pair that leads to the routers: name the other port with `pair`, or leave it out",
    ))
}

/// What does not fit between the ports of a pair, which `at` joins.
fn misfit(ports: &[PortConfig], wishes: &[Wish], [one, two]: [usize; 2], at: Location) -> Option<Diagnostic> {
    let (first, second) = (&ports[one], &ports[two]);
    let finding = |message| {
        let other = location(wishes[two].interface.span());
        Some(Diagnostic::at(at, message).related(other, "the other port"))
    };
    if first.uplink && second.uplink {
        return finding("both ports of the pair are uplinks").map(|finding| {
            finding.help("no source address would be checked: only the side of the routers is the uplink")
        });
    }
    if first.native_vlan != second.native_vlan {
        return finding("the ports of the pair have different native VLANs").map(|finding| {
            finding.help("untagged frames would change their VLAN: give both the same `native_vlan`, or none")
        });
    }
    if first.vlans != second.vlans {
        return finding("the ports of the pair allow different VLANs").map(|finding| {
            finding.help("what one lets through would get no answer by the other: give both the same `vlans`")
        });
    }
    None
}
