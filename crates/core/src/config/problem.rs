//! One thing that is wrong with a config, where it stands, and how that is shown.
//!
//! Problems are gathered and shown together: a file that a person has to run five times to find
//! five mistakes in costs five reviews.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use annotate_snippets::{AnnotationKind, Element, Level, Renderer, Snippet};

use super::code::Code;
use crate::outside_text::{is_unprintable, one_line, starred};

/// As many are shown at once. Nobody reads more, and a file of mistakes alone holds 100,000.
const SHOWN_MAX: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    pub code: Code,
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
    /// How many characters there are before each [`CHARACTERS_EVERY`] bytes, once somebody asks: a line may
    /// be as long as the file, and have a problem in every column.
    characters: OnceLock<Vec<usize>>,
    /// `text` without credentials, as long as it, once somebody asks.
    shown: OnceLock<String>,
}

const CHARACTERS_EVERY: usize = 1024;

impl SourceText {
    pub fn new(file: PathBuf, text: String) -> SourceText {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        SourceText { file, text, line_starts, characters: OnceLock::new(), shown: OnceLock::new() }
    }

    /// What may be shown of a part.
    fn shown(&self, part: Range<usize>) -> &str {
        let shown = self.shown.get_or_init(|| starred(&self.text).into_owned());
        // A star may stand for a part of a character.
        shown.get(part).unwrap_or_default()
    }

    /// How many characters stand before a byte offset.
    fn characters_before(&self, offset: usize) -> usize {
        let counts = self.characters.get_or_init(|| {
            let (mut counts, mut count) = (Vec::new(), 0);
            for (at, byte) in self.text.bytes().enumerate() {
                if at % CHARACTERS_EVERY == 0 {
                    counts.push(count);
                }
                // The bytes that begin a character.
                count += usize::from(byte & 0xC0 != 0x80);
            }
            counts
        });
        let known = offset / CHARACTERS_EVERY;
        let Some(count) = counts.get(known) else { return self.text.chars().count() };
        let rest = &self.text.as_bytes()[known * CHARACTERS_EVERY..offset];
        count + rest.iter().filter(|byte| **byte & 0xC0 != 0x80).count()
    }

    /// Byte offset of a line and column, both from 1, the column in characters.
    pub fn offset(&self, line: usize, column: usize) -> usize {
        let start = line.checked_sub(1).and_then(|line| self.line_starts.get(line)).copied().unwrap_or(0);
        let rest = self.text[start..].char_indices().nth(column.saturating_sub(1));
        start + rest.map_or(0, |(at, _)| at)
    }

    /// The line that a byte offset is in.
    pub fn line_at(&self, offset: usize) -> &str {
        let start = floor(&self.text, offset);
        &self.text[self.lines_of(&(start..start))]
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
        let column =
            source.characters_before(start) - source.characters_before(source.line_starts[line - 1]) + 1;
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
    sorted.sort_by_cached_key(|problem| {
        // Errors first where not all are shown.
        let is_warning = problems.len() > SHOWN_MAX && problem.severity == Severity::Warning;
        match &problem.origin {
            Origin::Place { source, span, .. } => (is_warning, Some(source.file.clone()), span.start),
            _ => (is_warning, None, 0),
        }
    });
    let more = sorted.len().saturating_sub(SHOWN_MAX);
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut shown: String = sorted
        .into_iter()
        .take(SHOWN_MAX)
        .map(|problem| format!("{}\n\n", problem.shown(&renderer)))
        .collect();
    if more > 0 {
        shown.push_str(&format!("… and {more} more\n\n"));
    }
    shown
}

/// Problems for editors and CI: `{"version":1,"problems":[…]}`.
pub fn to_json(problems: &[Problem]) -> serde_json::Value {
    let problems: Vec<serde_json::Value> = problems.iter().map(Problem::to_json).collect();
    serde_json::json!({"version": 1, "problems": problems})
}

impl Problem {
    /// Without a place; [`Problem::help`] may be set afterwards.
    pub fn new(severity: Severity, code: Code, origin: Origin, message: impl Into<String>) -> Problem {
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
        let (message, help) = (printable(&message), help.as_deref().map(printable));
        let key = key.as_deref().map(printable);
        serde_json::json!({
            "severity": match severity { Severity::Error => "error", Severity::Warning => "warning" },
            "code": code.as_str(),
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
        let mut group =
            level.primary_title(title.as_str()).id(self.code.as_str()).elements([] as [Element<'_>; 0]);
        let path = match &self.origin {
            Origin::Place { source, .. } => printable(&source.file.display().to_string()),
            _ => String::new(),
        };
        if let Origin::Place { source, span, line, .. } = &self.origin {
            // Only the lines concerned: a file may be large, and so may the number of its problems.
            let lines = source.lines_of(span);
            let within = span.start - lines.start..span.end - lines.start;
            // Columns count scalar values and tabs as one, and a carriage return is not shown.
            let (excerpt, within) = excerpt(source.shown(lines), &within);
            let annotation = AnnotationKind::Primary.span(within);
            let snippet = Snippet::source(excerpt).line_start(*line).path(path.clone());
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
            write!(f, "{}: ", printable(key))?;
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

/// A wrong value may hold anything, a password too.
fn printable(text: &str) -> String {
    one_line(text).into_owned()
}

/// Lines of a source as a terminal may show them, and the place of `within` in those: one sign stands for
/// each character that would act or not be seen, so that what is pointed at stays in its column.
fn excerpt(lines: &str, within: &Range<usize>) -> (String, Range<usize>) {
    let mut shown = String::with_capacity(lines.len());
    let (mut start, mut end) = (None, None);
    for (at, c) in lines.char_indices() {
        if at >= within.start {
            start.get_or_insert(shown.len());
        }
        if at >= within.end {
            end.get_or_insert(shown.len());
        }
        // Tabs, line ends and C0 controls are the renderer's to show.
        shown.push(if is_unprintable(c) && !c.is_ascii() { char::REPLACEMENT_CHARACTER } else { c });
    }
    let length = shown.len();
    (shown, start.unwrap_or(length)..end.unwrap_or(length))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test looks at the clock for what took minutes")]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_mistakes_on_one_line_are_told_at_once() {
        let text = format!("é = [{}]", "\"ä b\", ".repeat(10_000));
        let source = Arc::new(SourceText::new("quayctl.toml".into(), text.clone()));
        let begun = std::time::Instant::now();
        let problems: Vec<Problem> = text
            .match_indices("\"ä b\"")
            .map(|(at, found)| {
                let origin = Origin::place(&source, at..at + found.len());
                Problem::new(Severity::Error, Code::BadName, origin, format!("invalid name {found}"))
            })
            .collect();
        let Origin::Place { line, column, .. } = &problems[9_999].origin else { panic!("a place") };
        assert_eq!((*line, *column), (1, 6 + 9_999 * 7));
        let shown = render(&problems, false);
        assert_eq!(shown.matches("error[bad-name]").count(), SHOWN_MAX);
        assert!(shown.ends_with("… and 9900 more\n\n"), "{}", &shown[shown.len() - 100..]);
        assert_eq!(to_json(&problems)["problems"].as_array().map(Vec::len), Some(10_000));
        // A few seconds in a build without optimisation; all of them took minutes.
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{:?}", begun.elapsed());
    }

    #[test]
    fn where_not_all_are_shown_errors_come_first() {
        let source = Arc::new(SourceText::new("quayctl.toml".into(), "a\n".repeat(SHOWN_MAX + 2)));
        let problem = |severity, line: usize| {
            Problem::new(severity, Code::BadValue, Origin::place(&source, 2 * line..2 * line + 1), "m")
        };
        let warnings = (0..SHOWN_MAX).map(|line| problem(Severity::Warning, line));
        let errors = (SHOWN_MAX..SHOWN_MAX + 2).map(|line| problem(Severity::Error, line));
        let shown = render(&warnings.chain(errors).collect::<Vec<_>>(), false);
        assert_eq!(shown.matches("error[bad-value]").count(), 2);
        assert!(shown.starts_with("error[bad-value]") && shown.contains("… and 2 more"), "{shown}");
    }

    #[test]
    fn what_is_said_and_shown_of_a_source_holds_no_credentials() {
        let text = "token = \"ü s3cret\"\npassword = '''\ns3cret\ns3cret'''\nx = 1\n";
        let source = Arc::new(SourceText::new("quayctl.toml".into(), text.into()));
        let at = text.find("'''").unwrap();
        for span in [0..5, 9..20, at..at + 10, at + 5..at + 6] {
            let place = Origin::place(&source, span);
            let mut problem =
                Problem::new(Severity::Error, Code::BadValue, place, "found \"password=s3cret\"");
            problem.help = Some("not \u{9b}2J https://robot:s3cret@h".into());
            problem.key = Some("password=s3cret".into());
            let shown = render(std::slice::from_ref(&problem), false);
            for text in [shown, to_json(&[problem.clone()]).to_string(), problem.to_string()] {
                assert!(!text.contains("s3cret") && !text.contains('\u{9b}'), "{text}");
            }
        }
    }
}
