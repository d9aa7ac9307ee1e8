//! Holding proposed rules to what they are for.

use std::path::PathBuf;

use super::judge::{Judge, Ruling};
use super::propose::Proposal;
use crate::diagnostics::Diagnostics;
use crate::policy::{ValidPolicy, load_texts};

/// Why proposed rules are not fit.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// With them the policy is wrong: a promise is broken by a wider rule, most likely.
    #[error("{0}")]
    Wrong(Diagnostics),
    /// They do not permit what they are for: a defect.
    #[error("the proposed rules do not permit {0}: a defect of the enforcer, please report it")]
    Refuses(String),
}

/// Whether the policy together with the text of the proposal is valid, keeps its promises, and permits what was seen.
///
/// # Errors
/// When it is not so.
pub fn verify(policy: &ValidPolicy, proposal: &Proposal, text: &str) -> Result<(), Unfit> {
    let sources = (0..policy.sources.len() as u32).map(|number| policy.sources.file(number));
    let texts = sources.map(|(path, text)| (path.to_owned(), text.to_owned()));
    let with = texts.chain([(PathBuf::from("proposed rules"), text.to_owned())]);
    let policy = load_texts(with).map_err(Unfit::Wrong)?;
    let judge = Judge::new(&policy).map_err(Unfit::Wrong)?;
    for key in &proposal.wanted {
        let permitted = judge
            .places(key)
            .is_ok_and(|places| judge.ruling(&places, key.protocol, key.port) == Ruling::Permitted);
        if !permitted {
            return Err(Unfit::Refuses(super::propose::plain(key)));
        }
    }
    Ok(())
}
