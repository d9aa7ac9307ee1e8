//! The hospital of the demo. Wants to be root.

use anyhow::{Context, Result};
use enforcer_tests::demo::act::act;
use enforcer_tests::demo::hospital::Hospital;
use enforcer_tests::demo::scenario;
use enforcer_tests::demo::step::Action;

/// The control experiment: what the enforcer stops works without it. A lab in which attacks fail by themselves would
/// prove nothing.
#[test]
fn without_an_enforcer_every_door_is_open() -> Result<()> {
    let hospital = Hospital::build()?;
    for step in scenario::chapters().iter().flat_map(|chapter| &chapter.steps) {
        let behind = hospital.lab.behind_the_gateway()?;
        let outcome = act(&hospital.lab, step).context(step.title)?;
        match step.action {
            Action::Frames(_) | Action::TrunkFrames(_) => {
                for sent in &outcome.frames {
                    let seen = behind.wait_for(std::time::Duration::from_secs(1), |frame| frame == sent)?;
                    assert!(seen.is_some(), "{}: the frame did not arrive", step.title);
                }
            }
            _ => assert!(outcome.worked, "{}: {}", step.title, outcome.complaint),
        }
    }
    Ok(())
}
