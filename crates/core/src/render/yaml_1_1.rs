//! Unquoted text that older readers of YAML take for something else. Pure.
//!
//! We read YAML 1.2, where `no`, `010` and `1_000` are text. kubectl and most of what people check
//! manifests with read 1.1, so whoever moves such a line from a template into a manifest gets another
//! value, or a refusal. What we print ourselves is quoted.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::FieldProblem;

/// More of a kind are named well enough by these.
const FOUND_MAX: usize = 20;

/// Each unquoted scalar of `text`, one valid document, whose meaning depends on the reader's version.
pub(super) fn ambiguous(text: &str) -> Vec<FieldProblem> {
    // Most texts hold no such word at all, and looking costs a tenth of reading.
    let mut words = text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']' | '{' | '}'));
    if !words.any(|word| older_meaning(word.trim_end_matches(':')).is_some()) {
        return Vec::new();
    }
    // It has been read before, as what it is.
    let Ok(document) = serde_saphyr::from_str_with_options::<Spanned<Node>>(text, super::parse::options())
    else {
        return Vec::new();
    };
    let mut found = Vec::new();
    walk(&document, text, "", &mut found);
    found.truncate(FOUND_MAX);
    found
}

/// What a reader of YAML 1.1 takes `text` for, where that is no text and readers of 1.2 see it otherwise.
pub(super) fn older_meaning(text: &str) -> Option<&'static str> {
    let words = ["y", "yes", "n", "no", "on", "off", "true", "false"];
    let leading_zero = text.trim_start_matches(['-', '+']).strip_prefix('0');
    let is_octal = leading_zero.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if matches!(text, "true" | "false") || (text.parse::<f64>().is_ok() && !is_octal) {
        return None;
    }
    // All lower, all upper, or the first letter only.
    let rest = text.get(1..).unwrap_or_default();
    let cased = rest == rest.to_lowercase() || text == text.to_uppercase();
    if cased && words.contains(&text.to_lowercase().as_str()) {
        return Some("a boolean");
    }
    let number = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = |text: &str, is_digit: fn(&char) -> bool| {
        text.starts_with(|c| is_digit(&c)) && text.chars().all(|c| c == '_' || is_digit(&c))
    };
    let decimal = |text: &str| digits(text, char::is_ascii_digit);
    let prefixed = |prefix, is_digit| number.strip_prefix(prefix).is_some_and(|rest| digits(rest, is_digit));
    let is_number = decimal(number)
        || prefixed("0b", |c| matches!(c, '0' | '1'))
        || prefixed("0x", char::is_ascii_hexdigit)
        || number
            .split_once('.')
            .is_some_and(|(whole, part)| decimal(whole) && (part.is_empty() || decimal(part)));
    is_number.then_some("a number")
}

fn walk(node: &Spanned<Node>, text: &str, path: &str, found: &mut Vec<FieldProblem>) {
    match &node.value {
        Node::Text(scalar) => note(scalar, node, text, path, "", found),
        Node::Other => {}
        Node::List(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, text, &joined(path, &index.to_string()), found);
            }
        }
        Node::Table(fields) => {
            for (key, value) in fields {
                let path = joined(path, &key.value);
                note(&key.value, key, text, &path, "the key of ", found);
                walk(value, text, &path, found);
            }
        }
    }
}

fn note<T>(scalar: &str, at: &Spanned<T>, text: &str, path: &str, what: &str, found: &mut Vec<FieldProblem>) {
    let Some(meaning) = older_meaning(scalar) else { return };
    // In quotes it begins with one, and a block begins with its `|`.
    let offset = at.defined.span().byte_offset().and_then(|offset| usize::try_from(offset).ok());
    if offset.and_then(|offset| text.get(offset..)).is_some_and(|rest| rest.starts_with(scalar)) {
        found.push(FieldProblem {
            path: path.to_owned(),
            spellings: vec![scalar.to_owned()],
            message: format!(
                "{what}`{path}` is the text `{scalar}` here, and {meaning} to readers of YAML 1.1 such as kubectl"
            ),
        });
    }
}

fn joined(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    }
}

/// A document with the place of everything in it.
enum Node {
    Text(String),
    /// A number, a boolean or null.
    Other,
    List(Vec<Spanned<Node>>),
    Table(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Node, A::Error> {
        let mut table = Vec::new();
        while let Some(field) = fields.next_entry()? {
            table.push(field);
        }
        Ok(Node::Table(table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        ambiguous(text).into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn unquoted_text_that_older_readers_misread_is_found_with_its_path() {
        let text =
            "a: yes\nb: { on: 'no', c: \"010\" }\nd:\n- x\n- 1:30\n- |\n  no\n- &n 1_000\n- *n\n- é\n- Off\n";
        assert_eq!(
            found(text),
            [
                "`a` is the text `yes` here, and a boolean to readers of YAML 1.1 such as kubectl",
                "the key of `b.on` is the text `on` here, and a boolean to readers of YAML 1.1 such as kubectl",
                "`d.3` is the text `1_000` here, and a number to readers of YAML 1.1 such as kubectl",
                "`d.4` is the text `1_000` here, and a number to readers of YAML 1.1 such as kubectl",
                "`d.6` is the text `Off` here, and a boolean to readers of YAML 1.1 such as kubectl",
            ]
        );
    }

    #[test]
    fn what_both_versions_read_alike_is_left_alone() {
        for text in [
            "yES",
            "nginx",
            "1.29",
            "v1",
            "1m",
            "8080:80",
            "1:30",
            "1:60",
            "10:5000/x",
            "_1",
            "1.2.3",
            "0o17",
            "",
            "-",
            "1e",
            "2026-11-25",
            "a:1",
            "~",
            ".",
            "0b2",
            "0",
            "-5",
            "0.5",
        ] {
            let text = format!("a: {text}\n");
            assert_eq!(found(&text), [""; 0], "{text}");
        }
        for text in ["y", "NO", "True1"] {
            assert_eq!(older_meaning(text).is_some(), text != "True1", "{text}");
        }
        for text in ["010", "+1_0", "0b1_0", "0x1_f", "1_0.5", "08"] {
            assert_eq!(older_meaning(text), Some("a number"), "{text}");
        }
    }
}
