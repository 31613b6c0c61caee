//! Tries a group's template before any node is looked at. Pure; what it makes is thrown away.
//!
//! Two questions. Does it render at all, for a node that has every label the template names? And
//! is there a variable that could change more than the scalar it stands in: does a value full of
//! YAML's own characters end up where a harmless one of the same length does, unchanged?
//!
//! It cannot promise that every node will render: a label may be missing on one of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use crate::config::{Group, TemplateName};
use crate::plan::{Node, PlannedJob, RunId, RunIdentity, TemplateChoice};

use super::form::Forms;
use super::{
    FieldProblem, Manifest, RenderError, Renderer, TemplateError, context, parse, registered_name, yaml_1_1,
};

/// All that ends or opens something in YAML, before and inside a scalar. Thirty-odd characters,
/// and [`harmless`] has as many, so that a template's `len` sees no difference.
const HOSTILE: &str = "\"'\n- a: b #c {d} [e] &f *g !h |i >j %k @l `m, ?n:\t\\";

/// Not text at all where it stands unquoted.
const NULL: &str = "null";

/// What trying a group's templates showed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Probe {
    /// Any one of these refuses the config.
    pub errors: Vec<RenderError>,
    pub warnings: Vec<String>,
    /// Fields that readers of another version of YAML would read otherwise.
    pub ambiguous: Vec<FieldProblem>,
}

/// Tries groups one after another.
#[derive(Debug)]
pub struct Prober<'r> {
    renderer: &'r Renderer,
    /// An invented node that has every label any template names.
    node: Arc<Node>,
    forms: Forms,
}

impl<'r> Prober<'r> {
    pub fn new(renderer: &'r Renderer) -> Prober<'r> {
        let labels = renderer.compiled.values().flat_map(|compiled| &compiled.node_labels);
        let node = Node {
            name: "probe".into(),
            uid: "00000000-0000-0000-0000-000000000000".into(),
            labels: labels.map(|label| (label.clone(), "probe".into())).collect(),
            ready: true,
            os: "linux".into(),
            arch: "amd64".into(),
            kubelet_version: "v1.37.0".into(),
            container_runtime: "containerd://2.2.0".into(),
            ..Node::default()
        };
        Prober { renderer, node: Arc::new(node), forms: Forms::default() }
    }

    /// Tries the template of `group`; for `auto` each that a node may get.
    pub fn probe(&mut self, group: &Group) -> Probe {
        let mut probe = Probe::default();
        let choices = match (&group.template, &group.carrier_image) {
            (TemplateName::ImageVolume, _) | (TemplateName::Auto, None) => {
                vec![TemplateChoice::ImageVolume]
            }
            (TemplateName::Helper, _) => vec![TemplateChoice::Helper],
            (TemplateName::Quayctl, _) => vec![TemplateChoice::Quayctl],
            (TemplateName::Auto, Some(_)) => {
                vec![TemplateChoice::ImageVolume, TemplateChoice::Helper]
            }
            (TemplateName::User(name), _) => vec![TemplateChoice::User(name.clone())],
        };
        let group = Arc::new(group.clone());
        for choice in choices {
            let job = self.job(&group, choice);
            if !self.is_fine(&job) {
                self.renderer.probe_job(&job, &mut probe);
            }
        }
        probe
    }

    /// Whether nothing can be found by rendering `job`: another of the same form was rendered, and what
    /// depends on the texts is fine as well.
    fn is_fine(&mut self, job: &PlannedJob) -> bool {
        let Ok(carrier_image) = context::carrier_image(job) else { return false };
        let is_safe = || {
            let mut probe = Probe::default();
            self.renderer.probe_hostile(job, &mut probe);
            probe == Probe::default()
        };
        self.forms.is_fine(self.renderer, job, carrier_image, is_safe)
    }

    /// The Job of `group` for the invented node.
    pub(super) fn job(&self, group: &Arc<Group>, template: TemplateChoice) -> PlannedJob {
        let namespace = group.namespace.as_deref().unwrap_or("default").to_owned();
        PlannedJob {
            group: Arc::clone(group),
            node: Arc::clone(&self.node),
            template,
            name: "probe".into(),
            namespace: namespace.clone(),
            content: "0".repeat(64).into(),
            identity: Arc::new(RunIdentity {
                instance: "default".into(),
                run_id: RunId::render(),
                namespace,
            }),
        }
    }
}

impl Renderer {
    /// Tries the templates of one group.
    pub fn probe(&self, group: &Group) -> Probe {
        Prober::new(self).probe(group)
    }

    /// Tries one template by rendering it.
    pub(super) fn probe_job(&self, job: &PlannedJob, probe: &mut Probe) {
        self.probe_plain(job, probe);
        // The built-in ones are tried in our tests, with values worse than any group's.
        if probe.errors.is_empty() && matches!(job.template, TemplateChoice::User(_)) {
            self.probe_hostile(job, probe);
        }
    }

    fn probe_plain(&self, job: &PlannedJob, probe: &mut Probe) {
        let carrier_image = match context::carrier_image(job) {
            Ok(carrier_image) => carrier_image,
            Err(error) => return probe.errors.push(error),
        };
        let written = match self.written(job, &carrier_image) {
            Ok(written) => written,
            Err(RenderError::Template(_)) => return self.probe_faults(job, &carrier_image, probe),
            Err(error) => return probe.errors.push(error),
        };
        probe.ambiguous.extend(yaml_1_1::ambiguous(&written.text));
        let manifest = Manifest::new(job, written.job.clone(), carrier_image);
        probe.warnings.extend(manifest.warnings);
        let shown = job.group.images.iter().zip(manifest.image_containers);
        for (image, _) in shown.filter(|(_, containers)| containers.is_empty()) {
            probe.warnings.push(format!(
                "no container of the pod shows the state of `{image}`, so it is reported as unknown; give one this `image`, or mount a volume with this `image.reference`"
            ));
        }
    }

    /// Where the template does not render at all, every place at which it does not.
    fn probe_faults(&self, job: &PlannedJob, carrier_image: &str, probe: &mut Probe) {
        let context = context::context(job, carrier_image);
        for error in self.faults(&registered_name(&job.template), context) {
            // A key that is itself a node's value is not in the template to be read off.
            match self.looks_up(&error.template) {
                true => probe.warnings.push(format!("could not be tried with an invented node: {error}")),
                false => probe.errors.push(RenderError::Template(error)),
            }
        }
    }

    fn probe_hostile(&self, job: &PlannedJob, probe: &mut Probe) {
        let Ok(carrier_image) = context::carrier_image(job) else {
            return; // and the plain probe has said so
        };
        let context = context::context(job, &carrier_image);
        let attempt = Attempt {
            renderer: self,
            template: registered_name(&job.template),
            variables: variables(&context),
            context,
        };
        let Some(base) = attempt.documents(&harmless) else {
            return probe.warnings.push(format!(
                "template `{}` could not be tried with hostile values: with invented ones it does not render",
                attempt.template
            ));
        };
        // All variables at once; only a template that fails so is asked about each.
        if attempt.fate(&base, &|_| true) == Fate::Unchanged {
            return;
        }
        for name in attempt.variables.iter().collect::<BTreeSet<_>>() {
            match attempt.fate(&base, &|variable| variable == name) {
                Fate::Unchanged => {}
                Fate::Escaped => probe.warnings.push(format!(
                    "template `{}`: `{name}` stands outside double quotes, so a quote or backslash in it arrives with a backslash before it",
                    attempt.template
                )),
                Fate::Broken => probe.errors.push(RenderError::Template(TemplateError::new(
                    &attempt.template,
                    self.place_of(&attempt.template, name),
                    format!(
                        "`{name}` can change the structure of the manifest; write it inside double quotes, or with `q`"
                    ),
                ))),
            }
        }
    }

    /// Whether the template, or a partial, reads a table by a key that is a value itself.
    fn looks_up(&self, template: &str) -> bool {
        let compiled = self.compiled.get(template);
        compiled.is_some_and(|compiled| compiled.computed_lookup)
    }

    /// Where the template prints a variable, as far as the last part of its name tells.
    fn place_of(&self, template: &str, variable: &str) -> Option<(usize, usize)> {
        let last = |path: &str| path.rsplit(['.', '/']).next().map(str::to_owned);
        let printed = &self.compiled.get(template)?.printed;
        let exact = printed.iter().find(|(path, _)| path == variable);
        let found = exact.or_else(|| printed.iter().find(|(path, _)| last(path) == last(variable)));
        found.map(|(_, place)| *place)
    }
}

/// What became of a hostile value.
#[derive(PartialEq)]
enum Fate {
    Unchanged,
    /// In its place, but with the escapes written out.
    Escaped,
    Broken,
}

/// One template and the context whose texts are to be replaced.
struct Attempt<'a> {
    renderer: &'a Renderer,
    template: String,
    context: Value,
    /// The name of each text in the context, in the order in which [`each_text`] meets them.
    variables: Vec<String>,
}

impl Attempt<'_> {
    /// What the template gives when the text of index `i` is `fill(i)`; `None` when it does not
    /// render or is no YAML.
    fn documents(&self, fill: &dyn Fn(usize) -> String) -> Option<Value> {
        let mut context = self.context.clone();
        let mut index = 0;
        each_text(&mut context, "", &mut |_, text| {
            *text = fill(index);
            index += 1;
        });
        let text = self.renderer.text(&self.template, context).ok()?;
        parse::documents(&text).ok().map(Value::Array)
    }

    /// What becomes of the variables that `picked` picks, when they are hostile and others are not.
    fn fate(&self, base: &Value, picked: &dyn Fn(&String) -> bool) -> Fate {
        let picked: Vec<bool> = self.variables.iter().map(picked).collect();
        let shapes = [&hostile as &dyn Fn(usize) -> String, &|_| NULL.to_owned()];
        let mut fate = Fate::Unchanged;
        for text in shapes {
            let fill = |index: usize| match picked[index] {
                true => text(index),
                false => harmless(index),
            };
            let mut expected = base.clone();
            each_string(&mut expected, &mut |string| {
                for index in (0..picked.len()).filter(|index| picked[*index]) {
                    if string.contains(&harmless(index)) {
                        *string = string.replace(&harmless(index), &text(index));
                    }
                }
            });
            match self.documents(&fill) {
                Some(found) if found == expected => {}
                Some(found) if same_shape(&found, &expected) => fate = Fate::Escaped,
                _ => return Fate::Broken,
            }
        }
        fate
    }
}

/// The names of all texts that the kubelet, the user or a label may choose.
fn variables(context: &Value) -> Vec<String> {
    let mut names = Vec::new();
    each_text(&mut context.clone(), "", &mut |name, _| names.push(name.to_owned()));
    names
}

/// Calls `visit` with name and text of each string in a context, in a fixed order.
pub(super) fn each_text(value: &mut Value, name: &str, visit: &mut dyn FnMut(&str, &mut String)) {
    match value {
        // One of two words, both harmless.
        Value::String(_) if name == "pull_policy" => {}
        Value::String(text) => visit(name, text),
        Value::Array(items) => {
            let name = format!("{name}[]");
            items.iter_mut().for_each(|item| each_text(item, &name, visit));
        }
        Value::Object(fields) => {
            for (key, value) in fields {
                let name = match name {
                    "" => key.clone(),
                    _ if key.contains(['.', '/']) => format!("{name}.[{key}]"),
                    _ => format!("{name}.{key}"),
                };
                each_text(value, &name, visit);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Calls `visit` with each string in a document, keys too.
pub(super) fn each_string(value: &mut Value, visit: &mut dyn FnMut(&mut String)) {
    match value {
        Value::String(text) => visit(text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_string(item, visit)),
        Value::Object(fields) => {
            for (mut key, mut value) in std::mem::take(fields) {
                visit(&mut key);
                each_string(&mut value, visit);
                fields.insert(key, value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Same keys, same lengths, same kinds; texts may differ.
fn same_shape(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::String(_), Value::String(_)) => true,
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_shape(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same_shape(a, b)))
        }
        _ => a == b,
    }
}

fn hostile(index: usize) -> String {
    format!("{HOSTILE}{index:04}")
}

fn harmless(index: usize) -> String {
    format!("{}{index:04}", "x".repeat(HOSTILE.len()))
}
