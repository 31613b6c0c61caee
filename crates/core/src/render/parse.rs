//! Reads rendered text as one `batch/v1` Job. Pure; knows nothing of what the Job should say.
//!
//! What a text may cost is bounded by what the API server takes, not by the library's guesses: one
//! anchor that a hundred containers repeat is no attack, and a short text whose aliases stand for a
//! gigabyte is one.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::budget::BudgetBreach;

use super::{OUTPUT_BYTES_MAX, RenderError};

/// What one value takes beside its text, roughly as in JSON.
const VALUE_BYTES: usize = 8;
/// Lists and tables inside one another. A pod needs a dozen, and readers recurse.
const DEPTH_MAX: usize = 64;
/// Every value of a text of [`OUTPUT_BYTES_MAX`] bytes takes two of them at least.
const VALUES_MAX: usize = OUTPUT_BYTES_MAX / 2;
/// More are named well enough by this number: a template gives one.
const DOCUMENTS_MAX: usize = 16;

/// Reads `text`, rendered from `template`: exactly one document, an object, a `batch/v1` Job.
pub(super) fn parse(template: &str, text: &str) -> Result<Value, RenderError> {
    let not_one = |found| RenderError::NotOneDocument { template: template.to_owned(), found };
    let documents = documents(text).map_err(|error| match &error {
        serde_saphyr::Error::Budget { breach: BudgetBreach::Documents { .. }, .. } => {
            not_one(text.lines().filter(|line| line.starts_with("---")).count().max(DOCUMENTS_MAX + 1))
        }
        _ => not_yaml(template, text, &error),
    })?;
    let found = documents.len();
    let [document] = <[Value; 1]>::try_from(documents).map_err(|_| not_one(found))?;
    let field = |name: &str| match &document[name] {
        Value::Null => "none".to_owned(),
        value => value.to_string(),
    };
    if document["apiVersion"] != "batch/v1" || document["kind"] != "Job" {
        return Err(RenderError::NotAJob {
            template: template.to_owned(),
            api_version: field("apiVersion"),
            kind: field("kind"),
        });
    }
    Ok(document)
}

/// The documents in `text`, without empty ones.
///
/// Scalars mean what they mean in YAML 1.2's core schema, and what only YAML 1.1 took for numbers
/// or booleans (`yes`, `010`, `1_000`) are strings: a label `no` must not become `false`.
pub(super) fn documents(text: &str) -> Result<Vec<Value>, serde_saphyr::Error> {
    let documents = serde_saphyr::from_multiple_with_options::<Document>(text, options())?;
    Ok(documents.into_iter().map(|Document(value)| value).collect())
}

pub(super) fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            // How often an anchor is repeated says nothing; what comes of it is counted.
            enforce_alias_anchor_ratio: false,
            max_aliases: VALUES_MAX,
            max_anchors: VALUES_MAX,
            max_depth: DEPTH_MAX,
            max_documents: DOCUMENTS_MAX,
            max_events: 4 * VALUES_MAX,
            max_nodes: VALUES_MAX,
            max_total_scalar_bytes: OUTPUT_BYTES_MAX,
        },
    }
}

fn not_yaml(template: &str, text: &str, error: &serde_saphyr::Error) -> RenderError {
    let place = error.location();
    let line = place.map_or(0, |place| place.line());
    let excerpt = line
        .checked_sub(1)
        .and_then(|index| text.lines().nth(usize::try_from(index).ok()?))
        .unwrap_or_default();
    let column = place.map_or(0, |place| place.column());
    RenderError::NotYaml {
        template: template.to_owned(),
        line,
        column,
        // The parser ends with the place, which we say at the start.
        message: in_words(error).replace(&format!(" at line {line}, column {column}"), ""),
        excerpt: excerpt.trim().chars().take(EXCERPT_CHARS_MAX).collect(),
    }
}

/// A line may be as long as the text, and its beginning shows which it is.
const EXCERPT_CHARS_MAX: usize = 200;

/// The parser's words, without its advice to whoever calls it: that is us, and not who reads this.
fn in_words(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error;
    let mut error = error.without_snippet();
    while let Error::AliasError { error: inner, .. } = error {
        error = inner.without_snippet();
    }
    match error {
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key `{key}` stands twice in one table; remove one of them")
        }
        Error::DuplicateMappingKey { key: None, .. } => {
            "a key stands twice in one table; remove one of them".to_owned()
        }
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => {
            format!("more than {DEPTH_MAX} lists or tables stand inside one another; reduce the nesting")
        }
        Error::Budget { .. } | Error::AliasReplayLimitExceeded { .. } => too_large(),
        Error::AliasReplayStackDepthExceeded { .. } => {
            "too many aliases stand for one another; reduce the nesting".to_owned()
        }
        // The parser's own limit, which flow style meets first.
        error if error.to_string().contains("recursion limit") => {
            "too many lists or tables stand inside one another; reduce the nesting".to_owned()
        }
        Error::NonFiniteFloat { value, .. } => {
            format!("`{value}` is no number that a Job can hold; write it in double quotes if it is a text")
        }
        error => error.to_string(),
    }
}

fn too_large() -> String {
    let limit = OUTPUT_BYTES_MAX >> 20;
    format!(
        "with its aliases written out it is larger than {limit} MiB, which no API server takes; make it smaller"
    )
}

/// A document of bounded size, aliases written out.
struct Document(Value);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Document, D::Error> {
        let bytes = Cell::new(0);
        Part { bytes: &bytes }.deserialize(deserializer).map(Document)
    }
}

/// Any value in a document. As `serde_json` reads one, but that it counts.
#[derive(Clone, Copy)]
struct Part<'a> {
    /// Read so far, of the whole document.
    bytes: &'a Cell<usize>,
}

impl Part<'_> {
    fn count<E: de::Error>(self, bytes: usize) -> Result<(), E> {
        let total = self.bytes.get().saturating_add(bytes + VALUE_BYTES);
        self.bytes.set(total);
        match total > OUTPUT_BYTES_MAX {
            true => Err(E::custom(too_large())),
            false => Ok(()),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of YAML")
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Value, E> {
        self.count(0).map(|()| Value::Bool(flag))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        self.count(0).map(|()| Value::from(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        self.count(0).map(|()| Value::from(number))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        self.count(0).map(|()| Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        self.count(text.len()).map(|()| Value::String(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        self.count(text.len()).map(|()| Value::String(text))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        self.count(0).map(|()| Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.count(0)?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        self.count(0)?;
        let mut table = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            self.count(key.len())?;
            table.insert(key, fields.next_value_seed(self)?);
        }
        Ok(Value::Object(table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        in_words(&documents(text).unwrap_err())
    }

    #[test]
    fn an_anchor_may_be_repeated_by_every_container() {
        for aliases in [99, 100, 1000, 10_000] {
            let text = format!("a: &a {{ b: c }}\nd:\n{}", "- *a\n".repeat(aliases));
            assert_eq!(documents(&text).unwrap()[0]["d"].as_array().unwrap().len(), aliases);
        }
    }

    #[test]
    fn aliases_that_stand_for_too_much_are_refused() {
        let scalar = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), "*a,".repeat(5000));
        let mut nested = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            nested.push_str(&format!("a{n}: &a{n} [{}]\n", format!("*a{},", n - 1).repeat(10)));
        }
        for text in [scalar, nested] {
            let complaint = complaint(&text);
            assert!(complaint.contains("larger than 1 MiB"), "{complaint}");
        }
    }

    #[test]
    fn no_advice_of_the_parser_reaches_people() {
        insta::assert_snapshot!(complaint("a: 1\na: 2\n"), @"the key `a` stands twice in one table; remove one of them");
        insta::assert_snapshot!(complaint("a:\n- b: 1\n  1: 2\n  1: 3\n"), @"the key `1` stands twice in one table; remove one of them");
        insta::assert_snapshot!(complaint(&format!("{}{}", "[".repeat(100), "]".repeat(100))), @"more than 64 lists or tables stand inside one another; reduce the nesting");
        insta::assert_snapshot!(complaint(&"[".repeat(1000)), @"too many lists or tables stand inside one another; reduce the nesting");
        insta::assert_snapshot!(complaint("a: .inf\n"), @"`.inf` is no number that a Job can hold; write it in double quotes if it is a text");
    }

    #[test]
    fn nesting_of_every_kind_is_refused_and_overflows_no_stack() {
        let blocks: String = (0..5000).map(|n| format!("{}a:\n", " ".repeat(n % 200))).collect();
        let steps: String = (0..900).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
        for text in [
            "[".repeat(100_000),
            "{a: ".repeat(100_000),
            "- ".repeat(100_000),
            "? ".repeat(100_000),
            blocks,
            steps,
        ] {
            assert!(documents(&text).is_err());
        }
    }
}
