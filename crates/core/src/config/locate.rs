//! From a path in the layered tree to a place in the TOML text. Pure.
//!
//! Layering forgets places, so they are kept from the one time that the text is parsed.

use std::collections::BTreeMap;
use std::ops::Range;

use figment::value::Dict;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file::{Path, Step, Target};
pub use duplicate::first_of_two;

use written::Written;

mod duplicate;
mod written;

/// Where everything in a TOML text is written.
#[derive(Debug, Default)]
pub struct Places {
    root: BTreeMap<String, Place>,
}

/// Byte offsets.
#[derive(Debug)]
struct Place {
    /// `None` for the items of a list.
    key: Option<Range<usize>>,
    value: Range<usize>,
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    String,
    Table(BTreeMap<String, Place>),
    List(Vec<Place>),
    Other,
}

impl Places {
    /// The values of a TOML text, and where they are written.
    pub fn parse(text: &str) -> Result<(Dict, Places), toml::de::Error> {
        #[cfg(test)]
        tests::PARSED.set(tests::PARSED.get() + 1);
        let root = DeTable::parse(text)?;
        let places = Places { root: places_in(root.get_ref()) };
        Ok((Dict::deserialize(toml::Deserializer::from(root))?, places))
    }

    /// Byte offsets of what `target` means at `path` in `text`, or of the nearest thing around it that is
    /// written; `None` for the file as a whole.
    pub fn span(&self, text: &str, path: &Path, target: &Target) -> Option<Range<usize>> {
        let (first, rest) = path.0.split_first()?;
        let Step::Key(first) = first else { return None };
        let mut place = self.root.get(first)?;
        for step in rest {
            let inner = match (&place.inner, step) {
                (Inner::Table(table), Step::Key(key)) => table.get(key),
                (Inner::List(items), Step::Index(index)) => items.get(*index),
                _ => None,
            };
            match inner {
                Some(inner) => place = inner,
                None => break,
            }
        }
        let Place { key, value, inner } = place;
        match target {
            Target::Key => Some(key.as_ref().unwrap_or(value).clone()),
            Target::Within(within) if matches!(inner, Inner::String) => {
                let written = Written::new(text.get(value.clone())?)?;
                let Range { start, end } = written.span(within);
                Some(value.start + start..value.start + end)
            }
            Target::Value | Target::Hidden | Target::Within(_) => Some(value.clone()),
        }
    }
}

fn places_in(table: &DeTable<'_>) -> BTreeMap<String, Place> {
    let places = table.iter().map(|(key, value)| (key.get_ref().to_string(), place(Some(key.span()), value)));
    places.collect()
}

fn place(key: Option<Range<usize>>, value: &Spanned<DeValue<'_>>) -> Place {
    let inner = match value.get_ref() {
        DeValue::String(_) => Inner::String,
        DeValue::Table(table) => Inner::Table(places_in(table)),
        DeValue::Array(items) => Inner::List(items.iter().map(|item| place(None, item)).collect()),
        _ => Inner::Other,
    };
    Place { key, value: value.span(), inner }
}

#[cfg(test)]
pub mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// How many texts this thread has parsed.
        pub static PARSED: Cell<usize> = const { Cell::new(0) };
    }

    const TEXT: &str = "namespace = 'a'\n[[groups]]\nname = \"g\"\nnode_selector = \"a=b,!\"\n\n[[groups]]\nvalues = { \"x.y\" = [1, 2] }\nimages = [\"a\\u0062c\"]\n";

    fn words(path: &[&str], target: Target) -> Option<&'static str> {
        let path = path.iter().fold(Path::default(), |path, step| match step.parse() {
            Ok(index) => path.index(index),
            Err(_) => path.key(step),
        });
        let (_, places) = Places::parse(TEXT).unwrap();
        places.span(TEXT, &path, &target).map(|span| &TEXT[span])
    }

    #[test]
    fn finds_keys_values_and_parts_of_strings() {
        assert_eq!(words(&["namespace"], Target::Key), Some("namespace"));
        assert_eq!(words(&["namespace"], Target::Value), Some("'a'"));
        assert_eq!(words(&["groups", "0", "node_selector"], Target::Within(4..5)), Some("!"));
        assert_eq!(words(&["groups", "1", "values", "x.y", "1"], Target::Value), Some("2"));
        // Inside of three quotes the first line break does not count.
        let inline = "a = \"\"\"\nx\ny\"\"\"";
        let (_, places) = Places::parse(inline).unwrap();
        assert_eq!(places.span(inline, &Path::default().key("a"), &Target::Within(2..3)), Some(10..11));
        // Escapes shift what stands behind them.
        assert_eq!(words(&["groups", "1", "images", "0"], Target::Within(1..2)), Some("\\u0062"));
        assert_eq!(words(&["groups", "1", "images", "0"], Target::Within(2..3)), Some("c"));
    }

    #[test]
    fn what_is_not_written_is_shown_by_what_is_around_it() {
        assert_eq!(words(&["groups", "1", "name"], Target::Value), Some("[[groups]]"));
        assert_eq!(words(&["instance"], Target::Value), None);
        assert!(Places::parse("a = ").is_err());
    }
}
