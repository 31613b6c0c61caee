//! What a template gives for every group that differs from another in nothing but its texts. Pure.
//!
//! Rendering and reading YAML is what trying a group costs, and 10,000 groups of one template differ in
//! names and references. So it is done once, with marks in place of the texts, and each group's texts are
//! put where the marks came out. That is the same tree, because a template's variables have been shown to
//! end up as they are (`probe`), and because templates whose course depends on what a text says are left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::probe::{each_string, each_text, try_text};
use super::work::Trial;
use super::{Manifest, Renderer, context, evidence, fields, lint, overlay, parse, registered_name, yaml_1_1};
use crate::plan::{PlannedJob, RunIdentity, TemplateChoice};

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
    /// Marks stand where only some texts are right.
    marks_values: bool,
    /// It sets nothing that the controller owns, and shows each image by the same mark: fine for all.
    is_fine: bool,
}

impl Forms {
    /// Whether it is known without rendering that nothing can be said against what the template of `job`
    /// gives. `is_safe` says whether all variables end up as they are.
    pub(super) fn is_fine(
        &mut self,
        renderer: &Renderer,
        job: &PlannedJob,
        carrier_image: String,
        trial: &Trial,
        is_safe: impl FnOnce() -> bool,
    ) -> bool {
        let mut context = context::context(job, &carrier_image);
        let mut texts = Vec::new();
        each_text(&mut context, "", &mut |_, text| {
            // Whether there is a text at all decides what `if` and `default` do, and one that a template
            // compares with what `eq` does.
            if !text.is_empty() && !renderer.compares_with(text) {
                let mark = format!("{}{}{}", MARK.0, texts.len(), MARK.1);
                texts.push(std::mem::replace(text, mark));
            }
        });
        let template = registered_name(&job.template);
        let key = format!("{template}\n{context}");
        let form = self.0.entry(key).or_insert_with(|| {
            let form = Form::new(renderer, &template, context, job, trial)?;
            // The built-in ones are tried in our tests.
            (!matches!(job.template, TemplateChoice::User(_)) || is_safe()).then_some(form)
        });
        match form {
            None => false,
            Some(Form { is_fine: true, marks_values: false, .. }) => true,
            Some(form) => form.filled(&texts).is_some_and(|written| {
                let are_values_fine = !form.marks_values || fields::check(&written).is_empty();
                are_values_fine && (form.is_fine || is_fine(job, written, carrier_image))
            }),
        }
    }
}

impl Form {
    fn new(
        renderer: &Renderer,
        template: &str,
        context: Value,
        job: &PlannedJob,
        trial: &Trial,
    ) -> Option<Form> {
        if renderer.depends_on_texts(template) || renderer.is_open_to_nodes(template) {
            return None;
        }
        let reference = |image: &Value| image["reference"].as_str().map(str::to_owned);
        let marks: Vec<String> =
            context["images"].as_array().into_iter().flatten().filter_map(reference).collect();
        let text = try_text(renderer, template, context, trial).ok()?;
        let written = parse::parse(template, &text).ok()?;
        if !lint::lint(&written).is_empty() || !yaml_1_1::ambiguous(&text).is_empty() {
            return None;
        }
        let marks_keys = marks_keys(&written);
        // Those of the built-in ones are judged where the config writes them.
        let is_users = matches!(job.template, TemplateChoice::User(_));
        let marks_values = is_users && !fields::check(&written).is_empty();
        let is_fine = !marks_keys && is_fine_for_all(&written, &marks, job);
        Some(Form { job: written, marks_keys, marks_values, is_fine })
    }

    /// The Job with the texts in place of the marks; `None` where it must be rendered to see what is wrong.
    fn filled(&self, texts: &[String]) -> Option<Value> {
        let mut job = self.job.clone();
        let mut fits = true;
        each_string(&mut job, &mut |string| match filled(string, texts) {
            Some(Some(text)) => *string = text,
            Some(None) => {}
            None => fits = false,
        });
        (fits && (!self.marks_keys || lint::lint(&job).is_empty())).then_some(job)
    }
}

/// Whether a Job as its template writes it gives cause for no warning.
fn is_fine(job: &PlannedJob, written: Value, carrier_image: String) -> bool {
    let Manifest { warnings, image_containers, .. } = Manifest::new(job, written, carrier_image);
    warnings.is_empty() && image_containers.iter().all(|shown| !shown.is_empty())
}

/// Whether a Job with marks in it gives cause for no warning, whatever the marks stand for and whoever the
/// group is.
fn is_fine_for_all(written: &Value, images: &[String], job: &PlannedJob) -> bool {
    // What the controller would write over it is what no template says, so a field that it owns would differ.
    let nobody = || MARK.0.to_string();
    let mut group = (*job.group).clone();
    group.name = nobody();
    group.images.clear();
    group.service_account = nobody();
    (group.deadline_seconds, group.keep_jobs_seconds) = (u32::MAX, u32::MAX);
    let mut node = (*job.node).clone();
    node.name = nobody();
    let identity =
        RunIdentity { instance: nobody(), namespace: nobody(), run_id: job.identity.run_id.clone() };
    let job = PlannedJob {
        group: Arc::new(group),
        node: Arc::new(node),
        template: job.template.clone(),
        name: nobody(),
        namespace: nobody(),
        content: nobody().into(),
        identity: Arc::new(identity),
    };
    let mut body = written.clone();
    overlay::overlay(&mut body, &job).is_empty()
        && evidence::image_containers(&body, images).iter().all(|shown| !shown.is_empty())
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
