//! From a path in the layered tree to a place in the TOML text. Pure.
//!
//! Layering forgets places, so the text is parsed once more where something is wrong with it.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file::{Path, Step, Target};
pub use duplicate::first_of_two;

use written::Written;

mod duplicate;
mod written;

/// A TOML text that parses, with the place of everything in it.
#[derive(Debug)]
pub struct Places<'t> {
    text: &'t str,
    root: Spanned<DeTable<'t>>,
}

/// What a path leads to.
struct Found<'a, 't> {
    /// `None` for the root and for the items of a list.
    key: Option<Range<usize>>,
    value: &'a Spanned<DeValue<'t>>,
}

impl<'t> Places<'t> {
    /// `None` for a text that is no TOML.
    pub fn new(text: &'t str) -> Option<Places<'t>> {
        let root = DeTable::parse(text).ok()?;
        Some(Places { text, root })
    }

    /// Byte offsets of what `target` means at `path`, or of the nearest thing around it that is
    /// written; `None` for the file as a whole.
    pub fn span(&self, path: &Path, target: &Target) -> Option<Range<usize>> {
        let mut deepest: Option<Found<'_, 't>> = None;
        for step in &path.0 {
            match self.step(deepest.as_ref(), step) {
                Some(found) => deepest = Some(found),
                None => break,
            }
        }
        let Found { key, value } = deepest?;
        let value_span = value.span();
        match target {
            Target::Key => Some(key.unwrap_or(value_span)),
            Target::Value | Target::Hidden => Some(value_span),
            Target::Within(within) => Some(self.within(value, within)),
        }
    }

    fn step<'a>(&'a self, from: Option<&Found<'a, 't>>, step: &Step) -> Option<Found<'a, 't>> {
        let table = match from.map(|found| found.value.get_ref()) {
            None => self.root.get_ref(),
            Some(DeValue::Table(table)) => table,
            Some(DeValue::Array(items)) => {
                let Step::Index(index) = step else { return None };
                return items.get(*index).map(|value| Found { key: None, value });
            }
            Some(_) => return None,
        };
        let Step::Key(key) = step else { return None };
        let (key, value) = table.get_key_value(key.as_str())?;
        Some(Found { key: Some(key.span()), value })
    }

    /// Offsets into a string's value as offsets into the text.
    fn within(&self, value: &Spanned<DeValue<'t>>, within: &Range<usize>) -> Range<usize> {
        let span = value.span();
        let written = self.text.get(span.clone()).unwrap_or_default();
        match (value.get_ref().as_str(), Written::new(written)) {
            (Some(_), Some(string)) => {
                let Range { start, end } = string.span(within);
                span.start + start..span.start + end
            }
            _ => span,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "namespace = 'a'\n[[groups]]\nname = \"g\"\nnode_selector = \"a=b,!\"\n\n[[groups]]\nvalues = { \"x.y\" = [1, 2] }\nimages = [\"a\\u0062c\"]\n";

    fn words(path: &[&str], target: Target) -> Option<&'static str> {
        let path = path.iter().fold(Path::default(), |path, step| match step.parse() {
            Ok(index) => path.index(index),
            Err(_) => path.key(step),
        });
        Places::new(TEXT).unwrap().span(&path, &target).map(|span| &TEXT[span])
    }

    #[test]
    fn finds_keys_values_and_parts_of_strings() {
        assert_eq!(words(&["namespace"], Target::Key), Some("namespace"));
        assert_eq!(words(&["namespace"], Target::Value), Some("'a'"));
        assert_eq!(words(&["groups", "0", "node_selector"], Target::Within(4..5)), Some("!"));
        assert_eq!(words(&["groups", "1", "values", "x.y", "1"], Target::Value), Some("2"));
        // Inside of three quotes the first line break does not count.
        let inline = Places::new("a = \"\"\"\nx\ny\"\"\"").unwrap();
        assert_eq!(inline.span(&Path::default().key("a"), &Target::Within(2..3)), Some(10..11));
        // Escapes shift what stands behind them.
        assert_eq!(words(&["groups", "1", "images", "0"], Target::Within(1..2)), Some("\\u0062"));
        assert_eq!(words(&["groups", "1", "images", "0"], Target::Within(2..3)), Some("c"));
    }

    #[test]
    fn what_is_not_written_is_shown_by_what_is_around_it() {
        assert_eq!(words(&["groups", "1", "name"], Target::Value), Some("[[groups]]"));
        assert_eq!(words(&["instance"], Target::Value), None);
        assert!(Places::new("a = ").is_none());
    }
}
