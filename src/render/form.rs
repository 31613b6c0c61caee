//! What a template gives for every group that differs from another in nothing but its texts. Pure.
//!
//! Rendering and reading YAML is what trying a group costs, and 10,000 groups of one template differ in
//! names and references. So it is done once, with marks in place of the texts, and each group's texts are
//! put where the marks came out. That is the same tree, because a template's variables have been shown to
//! end up as they are (`probe`), and because templates whose course depends on what a text says are left out.

use std::collections::BTreeMap;

use serde_json::Value;

use super::probe::{each_string, each_text};
use super::{Renderer, lint, parse, registered_name, yaml_1_1};
use crate::plan::{PlannedJob, TemplateChoice};

/// Private-use characters, which nobody writes, around a text's number.
const MARK: (char, char) = ('\u{e000}', '\u{e001}');

/// By the template and the context with marks in it. `None`: to be rendered for each group.
#[derive(Debug, Default)]
pub(super) struct Forms(BTreeMap<String, Option<Form>>);

#[derive(Debug)]
struct Form {
    /// The Job with marks in it.
    job: Value,
    /// Marks stand in keys too, so whether the API knows all fields depends on the texts.
    marks_keys: bool,
}

impl Forms {
    /// The Job as `job`'s template writes it, where that is known without rendering and nothing is wrong
    /// with its fields. `is_safe` says whether all variables end up as they are.
    pub(super) fn job(
        &mut self,
        renderer: &Renderer,
        job: &PlannedJob,
        mut context: Value,
        is_safe: impl FnOnce() -> bool,
    ) -> Option<Value> {
        let mut texts = Vec::new();
        each_text(&mut context, "", &mut |_, text| {
            // Whether there is a text at all decides what `if` and `default` do.
            if !text.is_empty() {
                let mark = format!("{}{}{}", MARK.0, texts.len(), MARK.1);
                texts.push(std::mem::replace(text, mark));
            }
        });
        let template = registered_name(&job.template);
        let key = format!("{template}\n{context}");
        let form = self.0.entry(key).or_insert_with(|| {
            let form = Form::new(renderer, &template, context);
            form.filter(|_| matches!(job.template, TemplateChoice::User(_)).then(is_safe).unwrap_or(true))
        });
        let Form { job, marks_keys } = form.as_ref()?;
        let mut job = job.clone();
        let mut fits = true;
        each_string(&mut job, &mut |string| match filled(string, &texts) {
            Some(Some(text)) => *string = text,
            Some(None) => {}
            None => fits = false,
        });
        (fits && (!marks_keys || lint::lint(&job).is_empty())).then_some(job)
    }
}

impl Form {
    fn new(renderer: &Renderer, template: &str, context: Value) -> Option<Form> {
        if renderer.depends_on_texts(template) {
            return None;
        }
        let text = renderer.text(template, context).ok()?;
        let job = parse::parse(template, &text).ok()?;
        let is_clean = lint::lint(&job).is_empty() && yaml_1_1::ambiguous(&text).is_empty();
        is_clean.then(|| Form { marks_keys: marks_keys(&job), job })
    }
}

fn marks_keys(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(key, value)| key.contains(MARK.0) || marks_keys(value)),
        Value::Array(items) => items.iter().any(marks_keys),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// `text` with the texts that its marks stand for: `Some(None)` where it has none, `None` where a mark is
/// broken.
fn filled(text: &str, texts: &[String]) -> Option<Option<String>> {
    if !text.contains(MARK.0) {
        return Some(None);
    }
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, mark)) = rest.split_once(MARK.0) {
        let (number, behind) = mark.split_once(MARK.1)?;
        filled.push_str(before);
        filled.push_str(texts.get(number.parse::<usize>().ok()?)?);
        rest = behind;
    }
    filled.push_str(rest);
    Some(Some(filled))
}
