//! Names that stand for several things, among them names of their own kind: groups, and services of services.

use std::collections::HashMap;

use super::{fields::Spanned, limits};
use crate::diagnostics::{Diagnostic, quote};

/// One thing in a group.
pub(super) enum Member<'t, T> {
    /// Something by itself.
    One(T),
    /// Another group of the list, by name.
    Group(&'t str),
}

/// A group and what is in it.
pub(super) type Group<'t, T> = (&'t Spanned<String>, Vec<Member<'t, T>>);

/// What each group holds, sorted and without repeats, in the order of the list.
pub(super) fn flatten<T: Copy + Ord>(
    what: &str,
    groups: &[Group<'_, T>],
    findings: &mut Vec<Diagnostic>,
) -> Vec<Vec<T>> {
    let numbers: HashMap<&str, usize> = groups
        .iter()
        .enumerate()
        .map(|(at, (name, _))| (&*name.value, at))
        .collect();
    let inner = |group: usize| {
        let members = groups[group].1.iter();
        members.filter_map(|member| match member {
            Member::Group(name) => numbers.get(name).copied(),
            Member::One(_) => None,
        })
    };
    // Groups whose inner groups are settled come first, without recursion: files may be hostile.
    let mut waiting: Vec<usize> = (0..groups.len()).map(|group| inner(group).count()).collect();
    let mut outer = vec![Vec::new(); groups.len()];
    for group in 0..groups.len() {
        inner(group).for_each(|inside| outer[inside].push(group));
    }
    let mut ready: Vec<usize> = (0..groups.len()).filter(|&group| waiting[group] == 0).collect();
    let mut held = vec![Vec::new(); groups.len()];
    let mut total = 0;
    while let Some(group) = ready.pop() {
        let mut members: Vec<T> = Vec::new();
        for member in &groups[group].1 {
            match member {
                Member::One(one) => members.push(*one),
                Member::Group(name) => {
                    let inside = numbers.get(name).map(|&inside| &held[inside]);
                    members.extend(inside.into_iter().flatten());
                }
            }
        }
        members.sort_unstable();
        members.dedup();
        total += members.len();
        if total > limits::MEMBERS {
            let message = format!("the {what}s hold more than {} members", limits::MEMBERS);
            findings.push(Diagnostic::at(groups[group].0.at, message).help("nest them less"));
            return held;
        }
        held[group] = members;
        for &around in &outer[group] {
            waiting[around] -= 1;
            if waiting[around] == 0 {
                ready.push(around);
            }
        }
    }
    findings.extend(circle(what, groups, &waiting, inner));
    held
}

/// The complaint about groups that are never ready: from any of them, the way inwards ends up in a circle.
fn circle<T, I: Iterator<Item = usize>>(
    what: &str,
    groups: &[Group<'_, T>],
    waiting: &[usize],
    inner: impl Fn(usize) -> I,
) -> Option<Diagnostic> {
    let next = |group: usize| inner(group).find(|&inside| waiting[inside] > 0);
    let mut at = waiting.iter().position(|&count| count > 0)?;
    for _ in 0..groups.len() {
        at = next(at)?;
    }
    let name = groups[at].0;
    let message = format!("{what} {} contains itself", quote(&name.value));
    let through = groups[next(at)?].0;
    let finding = Diagnostic::at(name.at, message).help("remove one of the names on the way round");
    Some(if through.at == name.at {
        finding
    } else {
        finding.related(through.at, "by way of this one")
    })
}
