use std::fmt::Write as _;
use std::path::PathBuf;

use super::*;
use crate::offline::{Rig, build};
use crate::policy::cases::Case;
use crate::policy::{load, load_texts};

fn hospital() -> Rig {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../policies"));
    let policy = load(&[folder]).unwrap_or_else(|findings| panic!("{findings}"));
    Rig::new(policy, 0).unwrap_or_else(|findings| panic!("{findings}"))
}

/// Every device to every other, at the first port of every service.
fn crowd(policy: &ValidPolicy) -> Vec<Case> {
    let mut text = String::from("tests:\n");
    for from in &policy.devices {
        for to in policy.devices.iter().filter(|to| to.name != from.name) {
            for service in &policy.services {
                let ServiceMatch::Ports { protocol, first, .. } = service.matches[0] else {
                    continue;
                };
                let (source, destination) = (from.addresses.first(), to.addresses.first());
                if let (Some(source), Some(destination)) = (source, destination) {
                    let service = words::service(protocol, first);
                    let _ = writeln!(
                        text,
                        "- {{name: x, send: {{src: \"{source}\", dst: \"{destination}\", service: {service}}}, expect: {{verdict: deny}}}}"
                    );
                }
            }
        }
    }
    let sources = &policy.sources;
    let texts = (0..sources.len() as u32).map(|file| sources.file(file));
    let texts = texts.filter(|(path, _)| !path.ends_with("tests.yaml"));
    let texts = texts.map(|(path, text)| (path.to_owned(), text.to_owned()));
    let policy = load_texts(texts.chain([("crowd.yaml".into(), text)]));
    policy.unwrap_or_else(|findings| panic!("{findings}")).cases
}

/// What is said about rules agrees with the engine: the credited rule matches, none that matches goes before it, and
/// where the default decides, none matches.
#[test]
fn rules_match_here_as_they_do_in_the_tables() {
    let mut rig = hospital();
    let cases = crowd(rig.policy());
    let (mut credited, mut missed) = (0, 0);
    for case in &cases {
        rig.forget();
        let probe = &case.steps[0].probe;
        let (decision, packet) = rig.decide(build::octets(probe).as_slice(), 1 << 40);
        let question = Question::new(rig.policy(), rig.tables(), &decision, &packet).expect("rules were asked");
        let matching: Vec<_> = rig.policy().rules.iter().collect();
        let matching = matching
            .into_iter()
            .filter(|rule| question.from(rule) && question.to(rule) && question.service(rule));
        let rank = |rule: &Rule| (rule.priority, rule.action == Action::Deny);
        let best = matching.clone().map(rank).max();
        let name = &rig.tables().names.rules[decision.rule as usize].name;
        match matching.clone().find(|rule| rule.name == *name) {
            Some(rule) => {
                credited += 1;
                assert_eq!(Some(rank(rule)), best, "{probe:?}: {name}");
            }
            None => assert_eq!((decision.rule, best), (DEFAULT_RULE, None), "{probe:?}: {name}"),
        }
        let around = neighbours(rig.policy(), rig.tables(), &decision, &packet);
        assert_eq!(around.beaten.len(), matching.count().saturating_sub(1), "{probe:?}");
        missed += around.misses.len();
    }
    assert!(credited > 100 && missed > 100, "{credited}, {missed}");
}
