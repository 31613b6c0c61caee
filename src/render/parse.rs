//! Reads rendered text as one `batch/v1` Job. Pure; knows nothing of what the Job should say.

use serde_json::Value;

use super::RenderError;

/// Reads `text`, rendered from `template`: exactly one document, an object, a `batch/v1` Job.
pub(super) fn parse(template: &str, text: &str) -> Result<Value, RenderError> {
    let documents = documents(text).map_err(|error| not_yaml(template, text, &error))?;
    let found = documents.len();
    let [document] = <[Value; 1]>::try_from(documents)
        .map_err(|_| RenderError::NotOneDocument { template: template.to_owned(), found })?;
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
    serde_saphyr::from_multiple_with_options(text, options())
}

pub(super) fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
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
    let message = error.without_snippet().to_string();
    RenderError::NotYaml {
        template: template.to_owned(),
        line,
        column,
        // The parser ends with the place, which we say at the start.
        message: message.replace(&format!(" at line {line}, column {column}"), ""),
        excerpt: excerpt.trim().to_owned(),
    }
}
