//! Findings in the policy, shown as a compiler shows them: message, file, line, column and a caret.

use std::{
    fmt::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use annotate_snippets::{AnnotationKind, Element, Group, Level, Renderer, Snippet};

use crate::words::counted;

/// More findings than this are counted, not shown.
const SHOWN: usize = 1000;

/// A stretch of text in one of the [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    /// Number of the file.
    pub file: u32,
    /// First octet.
    pub start: u32,
    /// Octet after the last.
    pub end: u32,
}

/// The texts that locations point into.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<SourceFile>,
}

#[derive(Debug)]
struct SourceFile {
    path: PathBuf,
    text: String,
    /// Offset of the first octet of each line.
    lines: Vec<u32>,
}

impl Sources {
    /// Adds a file (at most 4 GiB) and returns its number.
    pub fn add(&mut self, path: PathBuf, text: String) -> u32 {
        let breaks = text.match_indices('\n').map(|(at, _)| at as u32 + 1);
        let lines = std::iter::once(0).chain(breaks).collect();
        self.files.push(SourceFile { path, text, lines });
        self.files.len() as u32 - 1
    }

    /// Adds what was read of a file (at most 4 GiB).
    ///
    /// # Errors
    /// Where it is no UTF-8 text: the place.
    pub fn add_octets(&mut self, path: PathBuf, octets: Vec<u8>) -> Result<(), Diagnostic> {
        let error = match String::from_utf8(octets) {
            Ok(text) => {
                self.add(path, text);
                return Ok(());
            }
            Err(error) => error,
        };
        let start = error.utf8_error().valid_up_to() as u32;
        let octet = error.as_bytes()[start as usize];
        let file = self.add(path, String::from_utf8_lossy(error.as_bytes()).into_owned());
        let end = start + char::REPLACEMENT_CHARACTER.len_utf8() as u32;
        let message = format!("the file is not UTF-8 text: octet 0x{octet:02x}");
        let diagnostic = Diagnostic::at(Location { file, start, end }, message).label("not UTF-8");
        Err(diagnostic.help("save the file as UTF-8"))
    }

    /// Number of files.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is no file at all.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The path and text of a file.
    pub fn file(&self, number: u32) -> (&Path, &str) {
        let file = &self.files[number as usize];
        (&file.path, &file.text)
    }

    /// Line and column of the start of a location, both from 1; columns count characters.
    pub fn position(&self, at: Location) -> (usize, usize) {
        let file = &self.files[at.file as usize];
        let line = file.line_of(at.start);
        let before = &file.text[file.lines[line] as usize..at.start as usize];
        (line + 1, before.chars().count() + 1)
    }

    /// `file:line` of the start of a location.
    pub fn place(&self, at: Location) -> String {
        let line = self.position(at).0;
        format!("{}:{line}", self.files[at.file as usize].path.display())
    }
}

impl SourceFile {
    /// Index of the line that holds an octet.
    fn line_of(&self, offset: u32) -> usize {
        self.lines.partition_point(|&start| start <= offset) - 1
    }

    /// The whole lines around a stretch: their text, the offset of the first and its number from 1.
    fn excerpt(&self, at: Location) -> (&str, usize, usize) {
        let first = self.line_of(at.start);
        let last = self.line_of(at.end.max(at.start + 1) - 1);
        let start = self.lines[first] as usize;
        let end = self.lines.get(last + 1).map_or(self.text.len(), |&next| next as usize);
        (&self.text[start..end], start, first + 1)
    }
}

/// A kind of warning.
#[derive(Debug)]
pub struct Lint {
    /// Its name, in all formats: `shadowed-rule`.
    pub code: &'static str,
    /// What it finds.
    pub finds: &'static str,
}

/// One finding.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// Which kind of warning it is, for those that are.
    pub lint: Option<&'static Lint>,
    /// What is wrong, in one line.
    pub message: String,
    /// Where; `None` for what has no place in a text, such as a file that cannot be read.
    pub at: Option<Location>,
    /// A word at the caret; may be empty.
    pub label: String,
    /// Other places that matter, each with a word.
    pub related: Vec<(Location, String)>,
    /// What to do about it; may be empty.
    pub help: String,
}

impl Diagnostic {
    /// A finding at a place.
    pub fn at(at: Location, message: impl Into<String>) -> Self {
        Self {
            at: Some(at),
            ..Self::general(message)
        }
    }

    /// A finding without a place.
    pub fn general(message: impl Into<String>) -> Self {
        Self {
            lint: None,
            message: message.into(),
            at: None,
            label: String::new(),
            related: Vec::new(),
            help: String::new(),
        }
    }

    /// Says that it is a warning of a kind.
    #[must_use]
    pub fn lint(mut self, lint: &'static Lint) -> Self {
        self.lint = Some(lint);
        self
    }

    /// Adds a word at the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Adds another place that matters.
    #[must_use]
    pub fn related(mut self, at: Location, label: impl Into<String>) -> Self {
        self.related.push((at, label.into()));
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    fn render(&self, sources: &Sources, renderer: &Renderer, level: Level<'_>) -> String {
        let mut title = level.primary_title(self.message.as_str());
        if let Some(lint) = self.lint {
            title = title.id(lint.code);
        }
        let mut elements: Vec<Element<'_>> = Vec::new();
        if let Some(at) = self.at {
            elements.push(snippet(sources, at, AnnotationKind::Primary, &self.label));
        }
        for (at, label) in &self.related {
            elements.push(snippet(sources, *at, AnnotationKind::Context, label));
        }
        if !self.help.is_empty() {
            elements.push(Level::HELP.message(self.help.as_str()).into());
        }
        let group = if elements.is_empty() {
            Group::with_title(title)
        } else {
            title.elements(elements)
        };
        renderer.render(&[group])
    }
}

fn snippet<'a>(sources: &'a Sources, at: Location, kind: AnnotationKind, label: &'a str) -> Element<'a> {
    let file = &sources.files[at.file as usize];
    let (text, offset, line) = file.excerpt(at);
    let span = at.start as usize - offset..at.end as usize - offset;
    let mut annotation = kind.span(span);
    if !label.is_empty() {
        annotation = annotation.label(label);
    }
    Snippet::source(text)
        .path(file.path.to_string_lossy())
        .line_start(line)
        .annotation(annotation)
        .into()
}

/// Findings and the texts that they point into. Displays as text without colour.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    /// The findings, in the order of files and lines.
    pub list: Vec<Diagnostic>,
    /// The texts.
    pub sources: Arc<Sources>,
    /// Nothing is wrong: these are warnings.
    mild: bool,
}

impl Diagnostics {
    /// Puts findings in the order of files and lines, those without a place first.
    pub fn new(mut list: Vec<Diagnostic>, sources: Arc<Sources>) -> Self {
        list.sort_by_key(|finding| finding.at);
        Self {
            list,
            sources,
            mild: false,
        }
    }

    /// What they are: `error` or `warning`.
    pub fn level(&self) -> &'static str {
        if self.mild { "warning" } else { "error" }
    }

    /// The same for what is allowed, and still seldom meant.
    pub fn warnings(list: Vec<Diagnostic>, sources: Arc<Sources>) -> Self {
        Self {
            mild: true,
            ..Self::new(list, sources)
        }
    }

    /// All findings as text, one empty line between two and a count at the end. With `colour`, ANSI escapes.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for finding in self.list.iter().take(SHOWN) {
            text.push_str(&finding.render(
                &self.sources,
                &renderer,
                if self.mild { Level::WARNING } else { Level::ERROR },
            ));
            text.push_str("\n\n");
        }
        if self.list.len() > SHOWN {
            let _ = write!(text, "… and {} more\n\n", self.list.len() - SHOWN);
        }
        let _ = writeln!(text, "{}", counted(self.list.len(), self.level()));
        text
    }

    /// 2 when nothing but files that cannot be read was found, else 1: the exit code of a command that ends with them.
    pub fn exit_code(&self) -> u8 {
        if self.sources.is_empty() { 2 } else { 1 }
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

/// User text in backticks, for messages: control characters escaped, long text cut.
pub fn quote(text: &str) -> String {
    const ROOM: usize = 80;
    let mut shown: String = text
        .chars()
        .take(ROOM)
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = (!c.is_control()).then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect();
    if text.chars().nth(ROOM).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}
