//! What the language brings along, in the language itself: classes of devices, templates of rules. A declaration of the policy
//! takes the place of the built-in one of its name.

use std::collections::BTreeMap;

use super::{
    fields::Spanned,
    file::{ClassText, Deed, PolicyFile, TemplateText, Traits},
    yaml,
};
use crate::diagnostics::{Diagnostic, Sources};

const CLASSES: &str = include_str!("classes.yaml");
const TEMPLATES: &str = include_str!("templates.yaml");

/// Reads a built-in text, and says what is wrong with it.
fn read(text: &str) -> (PolicyFile, Vec<Diagnostic>) {
    let mut sources = Sources::default();
    let number = sources.add("built-in".into(), text.to_owned());
    let mut findings = Vec::new();
    let mut file = PolicyFile::default();
    if let Ok(Some(root)) = yaml::parse(&sources, number, &mut findings) {
        file.add(&root, &mut findings);
    }
    (file, findings)
}

/// What names of one kind stand for.
pub(super) struct Catalogue<T>(BTreeMap<String, T>);

impl Catalogue<Traits> {
    /// All classes.
    pub(super) fn classes(declared: &[ClassText]) -> Self {
        let (library, _) = read(CLASSES);
        let classes = library.classes.iter().chain(declared);
        Self(classes.map(|class| (class.name.value.clone(), class.traits)).collect())
    }

    /// What a zone or device says itself, and what its class says of the rest.
    pub(super) fn fill(&self, own: Traits, class: Option<&Spanned<String>>) -> Traits {
        let class = class.and_then(|class| self.get(&class.value));
        class.map_or(own, |class| own.or(*class))
    }
}

impl Catalogue<Deed> {
    /// All templates.
    pub(super) fn templates(declared: &[TemplateText]) -> Self {
        let (library, _) = read(TEMPLATES);
        let templates = library.templates.iter().chain(declared);
        let templates = templates.map(|template| (template.name.value.clone(), template.deed.clone()));
        Self(templates.collect())
    }
}

impl<T> Catalogue<T> {
    pub(super) fn get(&self, name: &str) -> Option<&T> {
        self.0.get(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests;
