//! One thing that is wrong with a config, where it stands, and how that is shown.
//!
//! Problems are gathered and shown together: a file that a person has to run five times to find
//! five mistakes in costs five reviews.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Element, Level, Renderer, Snippet};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    /// Stable, kebab-case.
    pub code: &'static str,
    pub origin: Origin,
    /// As `groups[1].deadline`; `None` where the file as a whole is wrong.
    pub key: Option<String>,
    /// What was found.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

/// Where the wrong value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `span`: byte offsets into the file's text. `line` and `column` of its start, from 1, the column
    /// in Unicode scalar values.
    Place { file: PathBuf, span: Range<usize>, line: usize, column: usize },
    /// A file that could not be read as text.
    File(PathBuf),
    /// An environment variable or a flag, by name.
    Named(String),
}

impl Origin {
    /// The part `span` of `file`, whose text is `text`.
    pub fn place(file: &Path, text: &str, span: Range<usize>) -> Origin {
        let before = &text[..floor(text, span.start)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        Origin::Place { file: file.to_owned(), span, line, column }
    }
}

/// Problems as a person reads them, in the order of the file. `text` is the config file's; `color`
/// allows ANSI colours.
pub fn render(problems: &[Problem], text: &str, color: bool) -> String {
    let mut sorted: Vec<&Problem> = problems.iter().collect();
    sorted.sort_by_key(|problem| match &problem.origin {
        Origin::Place { span, .. } => (1, span.start),
        _ => (0, 0),
    });
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for problem in sorted {
        out.push_str(&problem.shown(text, &renderer));
        out.push_str("\n\n");
    }
    out
}

impl Problem {
    fn shown(&self, text: &str, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = match &self.origin {
            Origin::Named(name) => format!("{name}: {}", self.message),
            Origin::File(file) => format!("{}: {}", file.display(), self.message),
            Origin::Place { .. } => self.message.clone(),
        };
        let title = printable(&title);
        let mut group = level.primary_title(title.as_str()).id(self.code).elements([] as [Element<'_>; 0]);
        let path = match &self.origin {
            Origin::Place { file, .. } => file.display().to_string(),
            _ => String::new(),
        };
        if let Origin::Place { span, .. } = &self.origin {
            let start = floor(text, span.start);
            let end = floor(text, span.end.max(start));
            // Columns count scalar values and tabs as one, and a carriage return is not shown.
            let annotation = AnnotationKind::Primary.span(start..end);
            group = group.element(Snippet::source(text).path(path.as_str()).annotation(annotation));
        }
        let help = self.help.as_deref().map(printable);
        if let Some(help) = &help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
    }
}

impl fmt::Display for Problem {
    /// One line, for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Place { file, line, column, .. } => write!(f, "{}:{line}:{column}: ", file.display())?,
            Origin::File(file) => write!(f, "{}: ", file.display())?,
            Origin::Named(name) => write!(f, "{name}: ")?,
        }
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&printable(&self.message))?;
        match &self.help {
            Some(help) => write!(f, "; {}", printable(help)),
            None => Ok(()),
        }
    }
}

/// The nearest character boundary at or before `offset`.
fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// A wrong value may hold anything; on a terminal it must not act.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}
