//! Reading the tree of a file: maps with known keys, lists, scalars. Every complaint goes to the findings, and the
//! reader goes on.

use super::yaml::{Key, Node, Value};
use crate::diagnostics::{Diagnostic, Location, quote};

/// A value and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spanned<T> {
    pub(super) value: T,
    pub(super) at: Location,
}

/// The keys that a map may have.
pub(super) struct Known {
    /// What the map is, for messages: "a zone".
    pub(super) what: &'static str,
    pub(super) keys: &'static [&'static str],
    /// Keys of the language that this version does not support yet.
    pub(super) later: &'static [&'static str],
}

/// The entries of a map whose keys were checked.
pub(super) struct Fields<'t, 'a> {
    what: &'static str,
    /// Where the thing that the map describes is named.
    at: Location,
    /// `None` when it is no map at all, which has been complained about.
    entries: Option<&'t [(Key<'a>, Node<'a>)]>,
}

impl<'t, 'a> Fields<'t, 'a> {
    /// Checks that a node is a map with known keys only. An empty value counts as a map without entries.
    pub(super) fn read(node: &'t Node<'a>, at: Location, known: &Known, findings: &mut Vec<Diagnostic>) -> Self {
        let what = known.what;
        let entries = match &node.value {
            Value::Map(entries) => Some(entries.as_slice()),
            Value::Null => Some(&[][..]),
            _ => {
                let message = format!("{what} must be a map of keys and values");
                findings.push(Diagnostic::at(node.at, message));
                None
            }
        };
        for (key, _) in entries.unwrap_or_default() {
            if !known.keys.contains(&&*key.text) {
                findings.push(unknown_key(key, known));
            }
        }
        Self { what, at, entries }
    }

    /// The value of a key, when it is given.
    pub(super) fn get(&self, key: &str) -> Option<&'t Node<'a>> {
        let entry = self.entries?.iter().find(|(name, _)| name.text == key);
        entry.map(|(_, node)| node)
    }

    /// The value of a key that must be given.
    pub(super) fn require(&self, key: &str, example: &str, findings: &mut Vec<Diagnostic>) -> Option<&'t Node<'a>> {
        let found = self.get(key);
        if found.is_none() && self.entries.is_some() {
            let message = format!("{} needs {}", self.what, quote(key));
            let finding = Diagnostic::at(self.at, message);
            findings.push(finding.help(format!("for example `{key}: {example}`")));
        }
        found
    }

    /// Checks the keys that hold free text for people.
    pub(super) fn free_text(&self, findings: &mut Vec<Diagnostic>) {
        for key in ["comment", "owner", "ticket"] {
            if let Some(node) = self.get(key)
                && matches!(node.value, Value::List(_) | Value::Map(_))
            {
                let message = format!("{} must be text", quote(key));
                findings.push(Diagnostic::at(node.at, message).help("put it in quotes"));
            }
        }
    }
}

fn unknown_key(key: &Key<'_>, known: &Known) -> Diagnostic {
    let what = known.what;
    let name = quote(&key.text);
    if known.later.contains(&&*key.text) {
        return Diagnostic::at(key.at, format!("{name} is not supported yet"))
            .help("remove it: this version cannot do what it asks for");
    }
    let finding = Diagnostic::at(key.at, format!("{what} has no key {name}"));
    match nearest(&key.text, known.keys.iter().copied()) {
        Some(near) => finding.help(format!("did you mean `{near}`?")),
        None => finding.help(format!("the keys are: {}", known.keys.join(", "))),
    }
}

/// The name most like another one, if any is close enough to be a slip of the fingers.
pub(crate) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let allowed = 1 + name.chars().count() / 4;
    names
        .filter(|other| other.len().abs_diff(name.len()) <= 4)
        .map(|other| (strsim::damerau_levenshtein(name, other), other))
        .filter(|&(distance, _)| distance <= allowed)
        .min()
        .map(|(_, other)| other)
}

/// A value or a list of values: the values. Complains about empty lists and nested ones.
pub(super) fn items<'t, 'a>(node: &'t Node<'a>, findings: &mut Vec<Diagnostic>) -> Vec<(&'t str, &'t Node<'a>)> {
    let nodes = match &node.value {
        Value::List(nodes) if nodes.is_empty() => {
            findings.push(Diagnostic::at(node.at, "the list is empty"));
            return Vec::new();
        }
        Value::List(nodes) => nodes.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let texts = nodes.iter().map(|node| Some((text(node, findings)?, node)));
    texts.flatten().collect()
}

/// The text of a scalar.
pub(super) fn text<'t>(node: &'t Node<'_>, findings: &mut Vec<Diagnostic>) -> Option<&'t str> {
    let message = match &node.value {
        Value::Scalar { text, .. } => return Some(text),
        Value::Null => "a value is missing here",
        Value::List(_) => "a list cannot stand here",
        Value::Map(_) => "a map of keys and values cannot stand here",
    };
    findings.push(Diagnostic::at(node.at, message));
    None
}

/// The value of a scalar by the grammar of its field, with its place.
pub(super) fn scalar<T>(
    node: &Node<'_>,
    grammar: impl Fn(&str) -> Result<T, Complaint>,
    findings: &mut Vec<Diagnostic>,
) -> Option<Spanned<T>> {
    let text = text(node, findings)?;
    parsed(text, node, grammar, findings)
}

/// The values of a scalar or list by the grammar of its field.
pub(super) fn list<T>(
    node: &Node<'_>,
    grammar: impl Fn(&str) -> Result<T, Complaint>,
    findings: &mut Vec<Diagnostic>,
) -> Vec<Spanned<T>> {
    let mut values = Vec::new();
    for (text, node) in items(node, findings) {
        values.extend(parsed(text, node, &grammar, findings));
    }
    values
}

fn parsed<T>(
    text: &str,
    node: &Node<'_>,
    grammar: impl Fn(&str) -> Result<T, Complaint>,
    findings: &mut Vec<Diagnostic>,
) -> Option<Spanned<T>> {
    let at = node.at;
    match grammar(text) {
        Ok(value) => Some(Spanned { value, at }),
        Err(complaint) => {
            findings.push(complaint.at(at));
            None
        }
    }
}

/// Why a text does not fit its grammar, and what would.
#[derive(Debug)]
pub(super) struct Complaint {
    message: String,
    pub(super) help: String,
}

impl Complaint {
    pub(super) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        let (message, help) = (message.into(), help.into());
        Self { message, help }
    }

    /// For a command line, where nothing can be pointed at.
    pub(super) fn in_one_line(&self) -> String {
        format!("{}; {}", self.message, self.help)
    }

    /// The finding at a place.
    pub(super) fn at(self, at: Location) -> Diagnostic {
        Diagnostic::at(at, self.message).help(self.help)
    }
}
