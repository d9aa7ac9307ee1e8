//! A policy file as a tree in which every node knows its place.
//!
//! The tree is built from parser events instead of being deserialised, because a deserialiser stops at the first thing
//! that it does not like, and the user should see all errors of all files at once.

use std::{borrow::Cow, collections::HashMap};

use granit_parser::{ErrorKind, Event, ParseResult, Parser, ScalarStyle, ScanError, Span};

use super::limits;
use crate::diagnostics::{Diagnostic, Location, Sources, quote};

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    pub(super) at: Location,
    pub(super) value: Value<'a>,
}

/// What a node can be. Numbers and booleans stay text: the reader of a field knows what it wants.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    /// Nothing: an empty value, `~` or `null`.
    Null,
    Scalar {
        text: Cow<'a, str>,
        /// Written without quotes.
        plain: bool,
    },
    List(Vec<Node<'a>>),
    /// In the order of the text; the keys are unique.
    Map(Vec<(Key<'a>, Node<'a>)>),
}

/// The key of a map.
#[derive(Debug, Clone)]
pub(super) struct Key<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) at: Location,
}

/// Parses a file of the sources. `Err` when the findings say why it cannot be read as a whole; `Ok(None)` when it is
/// empty.
pub(super) fn parse<'a>(
    sources: &'a Sources,
    file: u32,
    findings: &mut Vec<Diagnostic>,
) -> Result<Option<Node<'a>>, Unusable> {
    let text = sources.file(file).1;
    let options = granit_parser::options! {
        emit_unresolved_aliases: true,
        block_nesting_limit: limits::NESTING,
        flow_nesting_limit: limits::NESTING,
    };
    let mut builder = Builder {
        events: Parser::new_from_str_with_options(text, options),
        file,
        text,
        findings,
        unusable: false,
    };
    let root = builder.document()?;
    if builder.unusable {
        return Err(Unusable);
    }
    Ok(root)
}

/// A file of which at least a part could not be understood.
#[derive(Debug)]
pub(super) struct Unusable;

struct Builder<'a, 'f, P> {
    events: P,
    file: u32,
    text: &'a str,
    findings: &'f mut Vec<Diagnostic>,
    unusable: bool,
}

impl<'a, P: Iterator<Item = ParseResult<'a>>> Builder<'a, '_, P> {
    fn document(&mut self) -> Result<Option<Node<'a>>, Unusable> {
        let mut root = None;
        let mut documents = 0;
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                Event::DocumentStart(..) => {
                    documents += 1;
                    if documents == 2 {
                        self.refuse(span, "a second document in one file", "use two files");
                    }
                }
                event => root = Some(self.node(event, span)?),
            }
        }
        Ok(root)
    }

    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Unusable> {
        match self.events.next() {
            None => Ok(None),
            Some(Ok(pair)) => Ok(Some(pair)),
            Some(Err(error)) => {
                let finding = self.syntax(&error);
                self.findings.push(finding);
                Err(Unusable)
            }
        }
    }

    /// The next event inside of a list or map; a well-formed stream has one.
    fn inner(&mut self) -> Result<(Event<'a>, Span), Unusable> {
        self.next()?.ok_or(Unusable)
    }

    fn syntax(&self, error: &ScanError) -> Diagnostic {
        let length = self.text.len();
        let mut start = error.marker().byte_offset().unwrap_or(length).min(length);
        // The end of the text lies behind its last line, where there is nothing to show.
        if start == length {
            start = self.text.trim_end().len();
        }
        let end = start + self.text[start..].chars().next().map_or(0, char::len_utf8);
        let at = self.location(start, end);
        if *error.kind() == ErrorKind::RecursionLimitExceeded {
            let message = format!("nested deeper than {} levels", limits::NESTING);
            return Diagnostic::at(at, message).help("the language needs 4");
        }
        Diagnostic::at(at, format!("not well-formed YAML: {}", error.info()))
    }

    fn location(&self, start: usize, end: usize) -> Location {
        let (start, end) = (start as u32, end as u32);
        let file = self.file;
        Location { file, start, end }
    }

    fn place(&self, span: &Span) -> Location {
        let range = span.byte_range().unwrap_or_default();
        self.location(range.start, range.end.max(range.start))
    }

    fn refuse(&mut self, span: Span, message: &str, help: &str) {
        self.unusable = true;
        let at = self.place(&span);
        self.findings.push(Diagnostic::at(at, message).help(help));
    }

    /// Anchors and tags change what a reader must know to understand a file; aliases make small files huge.
    fn refuse_extras(&mut self, span: Span, anchor: usize, tagged: bool) {
        if anchor != 0 {
            let help = "write the value out wherever it is needed";
            self.refuse(span, "anchors and aliases are not part of the language", help);
        }
        if tagged {
            let help = "remove the word that starts with `!`";
            self.refuse(span, "tags are not part of the language", help);
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node<'a>, Unusable> {
        let at = self.place(&span);
        let value = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_extras(span, anchor, tag.is_some());
                scalar(text, style)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_extras(span, anchor, tag.is_some());
                self.list()?
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_extras(span, anchor, tag.is_some());
                self.map()?
            }
            _ => {
                self.refuse_extras(span, 1, false);
                Value::Null
            }
        };
        Ok(Node { at, value })
    }

    fn list(&mut self) -> Result<Value<'a>, Unusable> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.inner()?;
            if event == Event::SequenceEnd {
                return Ok(Value::List(items));
            }
            items.push(self.node(event, span)?);
        }
    }

    fn map(&mut self) -> Result<Value<'a>, Unusable> {
        let mut entries: Vec<(Key<'a>, Node<'a>)> = Vec::new();
        let mut places: HashMap<Cow<'a, str>, Location> = HashMap::new();
        loop {
            let (event, span) = self.inner()?;
            if event == Event::MappingEnd {
                return Ok(Value::Map(entries));
            }
            let key = self.key(event, span)?;
            let (event, span) = self.inner()?;
            let value = self.node(event, span)?;
            let Some(key) = key else { continue };
            if let Some(&first) = places.get(&key.text) {
                let message = format!("{} is given twice", quote(&key.text));
                self.findings
                    .push(Diagnostic::at(key.at, message).related(first, "first given here"));
                continue;
            }
            places.insert(key.text.clone(), key.at);
            entries.push((key, value));
        }
    }

    fn key(&mut self, event: Event<'a>, span: Span) -> Result<Option<Key<'a>>, Unusable> {
        let node = self.node(event, span)?;
        let at = node.at;
        if let Value::Scalar { text, .. } = node.value {
            return Ok(Some(Key { text, at }));
        }
        self.refuse(span, "a key must be a word", "write `key: value`");
        Ok(None)
    }
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle) -> Value<'_> {
    let plain = style == ScalarStyle::Plain;
    if plain && matches!(&*text, "" | "~" | "null") {
        return Value::Null;
    }
    Value::Scalar { text, plain }
}
