//! One thing that is wrong with a config, where it stands, and how that is shown.
//!
//! Problems are gathered and shown together: a file that a person has to run five times to find
//! five mistakes in costs five reviews.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

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
    /// `span`: byte offsets into the source's text. `line` and `column` of its start, from 1, the
    /// column in Unicode scalar values.
    Place { source: Arc<SourceText>, span: Range<usize>, line: usize, column: usize },
    /// A file that could not be read as text, or as a whole.
    File(PathBuf),
    /// An environment variable or a flag, by name.
    Named(String),
}

/// A file's text, as it may be shown.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceText {
    pub file: PathBuf,
    pub text: String,
    /// Byte offsets of the first character of each line.
    line_starts: Vec<usize>,
}

impl SourceText {
    pub fn new(file: PathBuf, text: String) -> SourceText {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        SourceText { file, text, line_starts }
    }

    /// Byte offset of a line and column, both from 1, the column in characters.
    pub fn offset(&self, line: usize, column: usize) -> usize {
        let start = line.checked_sub(1).and_then(|line| self.line_starts.get(line)).copied().unwrap_or(0);
        let rest = self.text[start..].char_indices().nth(column.saturating_sub(1));
        start + rest.map_or(0, |(at, _)| at)
    }

    fn line_of(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// The whole lines that `span` touches, as byte offsets.
    fn lines_of(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.line_starts[self.line_of(span.start) - 1];
        // A span that ends with its line's end does not touch the next.
        let end = self.text[span.end.max(start)..]
            .find('\n')
            .map_or(self.text.len(), |at| span.end.max(start) + at);
        start..end
    }
}

impl Origin {
    /// The part `span` of a source.
    pub fn place(source: &Arc<SourceText>, span: Range<usize>) -> Origin {
        let start = floor(&source.text, span.start);
        let end = floor(&source.text, span.end).max(start);
        let line = source.line_of(start);
        let column = source.text[source.line_starts[line - 1]..start].chars().count() + 1;
        Origin::Place { source: source.clone(), span: start..end, line, column }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Place { source, line, column, .. } => {
                write!(f, "{}:{line}:{column}", source.file.display())
            }
            Origin::File(file) => write!(f, "{}", file.display()),
            Origin::Named(name) => f.write_str(name),
        }
    }
}

/// Problems as a person reads them, in the order of the files. `color` allows ANSI colours.
pub fn render(problems: &[Problem], color: bool) -> String {
    let mut sorted: Vec<&Problem> = problems.iter().collect();
    sorted.sort_by_key(|problem| match &problem.origin {
        Origin::Place { source, span, .. } => (Some(source.file.clone()), span.start),
        _ => (None, 0),
    });
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    sorted.into_iter().map(|problem| format!("{}\n\n", problem.shown(&renderer))).collect()
}

/// Problems for editors and CI: `{"version":1,"problems":[…]}`.
pub fn to_json(problems: &[Problem]) -> serde_json::Value {
    let problems: Vec<serde_json::Value> = problems.iter().map(Problem::to_json).collect();
    serde_json::json!({"version": 1, "problems": problems})
}

impl Problem {
    /// Without a place; [`Problem::help`] may be set afterwards.
    pub fn new(
        severity: Severity,
        code: &'static str,
        origin: Origin,
        message: impl Into<String>,
    ) -> Problem {
        Problem { severity, code, origin, key: None, message: message.into(), help: None }
    }

    fn to_json(&self) -> serde_json::Value {
        let Problem { severity, code, origin, key, message, help } = self;
        let (file, line, column) = match origin {
            Origin::Place { source, line, column, .. } => (Some(&source.file), Some(*line), Some(*column)),
            Origin::File(file) => (Some(file), None, None),
            Origin::Named(_) => (None, None, None),
        };
        let message = match origin {
            Origin::Named(name) => format!("{name}: {message}"),
            Origin::Place { .. } | Origin::File(_) => message.clone(),
        };
        serde_json::json!({
            "severity": match severity { Severity::Error => "error", Severity::Warning => "warning" },
            "code": code,
            "file": file.map(|file| file.display().to_string()),
            "line": line, "column": column, "key": key, "message": message, "help": help,
        })
    }

    fn shown(&self, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = match &self.origin {
            Origin::Place { .. } => self.message.clone(),
            origin => format!("{origin}: {}", self.message),
        };
        let title = printable(&title);
        let mut group = level.primary_title(title.as_str()).id(self.code).elements([] as [Element<'_>; 0]);
        let path = match &self.origin {
            Origin::Place { source, .. } => source.file.display().to_string(),
            _ => String::new(),
        };
        if let Origin::Place { source, span, line, .. } = &self.origin {
            // Only the lines concerned: a file may be large, and so may the number of its problems.
            let lines = source.lines_of(span);
            let within = span.start - lines.start..span.end - lines.start;
            // Columns count scalar values and tabs as one, and a carriage return is not shown.
            let annotation = AnnotationKind::Primary.span(within);
            let snippet = Snippet::source(&source.text[lines]).line_start(*line).path(path.as_str());
            group = group.element(snippet.annotation(annotation));
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
        write!(f, "{}: ", self.origin)?;
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
