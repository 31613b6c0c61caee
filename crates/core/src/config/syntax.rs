//! What is said of a text that is not TOML. Pure.

use std::ops::Range;
use std::sync::Arc;

use super::characters;
use super::code::Code;
use super::locate::first_of_two;
use super::problem::{Origin, Problem, Severity, SourceText};

/// What the parser says, with advice where its words need some.
pub fn problem(source: &Arc<SourceText>, error: &toml::de::Error) -> Problem {
    // The parser's words for what would overflow its stack; of a dotted key it gives no place.
    let is_deep = ["recursion limit", "cannot recurse"].iter().any(|words| error.message().contains(words));
    let span = error.span().or_else(|| is_deep.then(|| longest_key(&source.text)));
    let origin = match span {
        Some(span) => Origin::place(source, span),
        None => Origin::File(source.file.clone()),
    };
    let written = error.span().and_then(|span| source.text.get(span)).unwrap_or_default();
    let message = match error.message() {
        _ if is_deep => "too many levels stand inside one another".to_owned(),
        "duplicate key" if !written.is_empty() => format!("duplicate key `{written}`"),
        message => message.to_owned(),
    };
    let help = match error.message() {
        _ if is_deep => Some("reduce the nesting".to_owned()),
        "duplicate key" => Some(advice_on_duplicate(source, error.span())),
        _ => None,
    };
    let line = error.span().map(|span| source.line_at(span.start)).unwrap_or_default();
    let help = characters::with_note(help, characters::odd_in(line.trim()));
    Problem { help, ..Problem::new(Severity::Error, Code::TomlSyntax, origin, message) }
}

fn advice_on_duplicate(source: &Arc<SourceText>, second: Option<Range<usize>>) -> String {
    let first = second.and_then(|second| first_of_two(&source.text, &second));
    let advice = "a key stands once in its table: remove one of them";
    match first.map(|first| Origin::place(source, first)) {
        Some(Origin::Place { line, column, .. }) => {
            format!("it stands at line {line}, column {column} already; {advice}")
        }
        _ => advice.to_owned(),
    }
}

/// Where the dotted key with the most parts begins.
fn longest_key(text: &str) -> Range<usize> {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, '=' | '[' | ']'));
    let longest = words.max_by_key(|word| word.matches('.').count()).unwrap_or_default();
    let start = text.find(longest).unwrap_or_default();
    start..start + 1
}
