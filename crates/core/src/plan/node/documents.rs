//! Cuts a text into its documents: YAML between `---`, JSON values one after another, and both mixed.

use serde::de::IgnoredAny;

/// One document.
#[derive(Debug, PartialEq)]
pub struct Document<'a> {
    pub text: &'a str,
    pub is_json: bool,
    pub form: Form,
}

/// What a document begins like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Object,
    List,
    Scalar,
}

/// The documents of `text` that are not empty, or what is wrong with one.
///
/// In block style a line that begins a JSON object, or says `apiVersion` for a second time, can only begin
/// another document: `kubectl get node a -o yaml` twice into one file leaves no `---` between.
pub fn documents(text: &str) -> Result<Vec<Document<'_>>, String> {
    let mut documents = Vec::new();
    for part in parts(text) {
        let mut rest = part;
        while !is_blank(rest) {
            let begins = first_content(rest);
            match begins.chars().next() {
                Some('{' | '[') => {
                    let json = json_value(begins)?;
                    let form = if json.starts_with('{') { Form::Object } else { Form::List };
                    documents.push(Document { text: json, is_json: true, form });
                    rest = &begins[json.len()..];
                }
                _ => {
                    documents.push(Document { text: rest, is_json: false, form: form_of(begins) });
                    break;
                }
            }
        }
    }
    Ok(documents)
}

/// The JSON value at the beginning of `text`.
fn json_value(text: &str) -> Result<&str, String> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    match values.next() {
        Some(Ok(_)) => Ok(&text[..values.byte_offset()]),
        Some(Err(error)) => Err(error.to_string()),
        None => Ok(text),
    }
}

fn form_of(text: &str) -> Form {
    let first = text.lines().next().unwrap_or_default().trim_end();
    let is_key = first.ends_with(':') || first.contains(": ");
    match first {
        "-" => Form::List,
        _ if first.starts_with("- ") => Form::List,
        _ if is_key || first.starts_with(['?', '!', '&', '%']) => Form::Object,
        _ => Form::Scalar,
    }
}

/// `text` cut where a YAML document, or one without a `---` before it, begins.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut begin, mut at) = (0, 0);
    let mut has_api_version = false;
    let mut is_block = false;
    for line in text.split_inclusive('\n') {
        let is_marker = is_marker(line);
        let is_second = has_api_version && line.starts_with("apiVersion:");
        let is_json = is_block && line.starts_with('{');
        if is_marker || is_second || is_json {
            parts.push(&text[begin..at]);
            // `--- # comment`, or an object on the same line.
            begin = if is_marker { at + "---".len() } else { at };
            (has_api_version, is_block) = (false, false);
        }
        let begins_key = line.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
        is_block |= begins_key;
        has_api_version |= line.starts_with("apiVersion:");
        at += line.len();
    }
    parts.push(&text[begin..]);
    parts
}

/// `---` or `...` at the beginning of a line, alone or with something behind a blank.
fn is_marker(line: &str) -> bool {
    let rest = line.strip_prefix("---").or_else(|| line.strip_prefix("..."));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Without the blank lines and comments at the beginning.
fn first_content(text: &str) -> &str {
    let mut rest = text;
    loop {
        let begins = rest.trim_start();
        match begins.starts_with('#') {
            true => rest = begins.split_once('\n').map_or("", |(_, after)| after),
            // Indentation means something in YAML, and nothing in JSON or before the first word.
            false => return begins,
        }
    }
}

fn is_blank(text: &str) -> bool {
    first_content(text).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<(String, bool, Form)> {
        let found = documents(text).unwrap();
        found
            .iter()
            .map(|document| (document.text.trim().to_owned(), document.is_json, document.form))
            .collect()
    }

    #[test]
    fn documents_are_told_apart_however_they_follow_each_other() {
        let json = |text: &str| (text.to_owned(), true, Form::Object);
        let yaml = |text: &str| (text.to_owned(), false, Form::Object);
        for (text, expected) in [
            ("a: 1", vec![yaml("a: 1")]),
            ("---\na: 1\n---\nb: 2\n...\n", vec![yaml("a: 1"), yaml("b: 2")]),
            ("--- # of a\r\na: 1\r\n---\r\n\r\n# nothing\r\n", vec![yaml("# of a\r\na: 1")]),
            ("{\"a\":1}\n{\"b\":2}", vec![json("{\"a\":1}"), json("{\"b\":2}")]),
            ("{\"a\":1}{\"b\":2}\n---\nc: 3\n", vec![json("{\"a\":1}"), json("{\"b\":2}"), yaml("c: 3")]),
            ("{\"a\":1}\nb: 2\n{\"c\":3}\n", vec![json("{\"a\":1}"), yaml("b: 2"), json("{\"c\":3}")]),
            (
                "apiVersion: v1\na: 1\napiVersion: v1\nb: 2\n",
                vec![yaml("apiVersion: v1\na: 1"), yaml("apiVersion: v1\nb: 2")],
            ),
            ("---\n{\"a\":\n1}\n", vec![json("{\"a\":\n1}")]),
            ("a: |\n  ---\n  {\n", vec![yaml("a: |\n  ---\n  {")]),
            ("", vec![]),
            ("---\n# nothing\n---\n", vec![]),
        ] {
            assert_eq!(cut(text), expected, "{text:?}");
        }
    }

    #[test]
    fn lists_and_what_is_neither_are_told() {
        for (text, form) in [
            ("[{}, {}]", Form::List),
            ("- a: 1\n- b: 2\n", Form::List),
            ("-\n  a: 1\n", Form::List),
            ("node/a\nnode/b\n", Form::Scalar),
            ("null", Form::Scalar),
            ("\"a: b\"", Form::Object),
        ] {
            assert_eq!(documents(text).unwrap()[0].form, form, "{text}");
        }
    }

    #[test]
    fn json_that_breaks_off_is_said() {
        for text in ["{", "[{\"a\":1}", "{\"a\":1}\n{\"b\""] {
            assert!(documents(text).is_err(), "{text}");
        }
    }
}
