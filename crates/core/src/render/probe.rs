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
use super::work::{Trial, Work, size};
use super::{
    FieldProblem, Manifest, RenderError, Renderer, TemplateError, context, parse, registered_name, yaml_1_1,
};

/// All that ends or opens something in YAML, before and inside a scalar. Thirty-odd characters,
/// and [`harmless`] has as many, so that a template's `len` sees no difference.
const HOSTILE: &str = "\"'\n- a: b #c {d} [e] &f *g !h |i >j %k @l `m, ?n:\t\\";

/// Of a variable's number, which no config has more of than bytes.
const DIGITS: usize = 7;

/// Not text at all where it stands unquoted.
const NULL: &str = "null";

/// The invented node's name, and what its labels say.
const INVENTED: &str = "probe";

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
    trial: Trial,
}

impl<'r> Prober<'r> {
    pub fn new(renderer: &'r Renderer) -> Prober<'r> {
        let labels = renderer.compiled.values().flat_map(|compiled| &compiled.node_labels);
        let node = Node {
            name: INVENTED.into(),
            uid: "00000000-0000-0000-0000-000000000000".into(),
            labels: labels.map(|label| (label.clone(), INVENTED.into())).collect(),
            ready: true,
            os: "linux".into(),
            arch: "amd64".into(),
            kubelet_version: "v1.37.0".into(),
            container_runtime: "containerd://2.2.0".into(),
            ..Node::default()
        };
        Prober { renderer, node: Arc::new(node), forms: Forms::default(), trial: Trial::new() }
    }

    /// Whether another group can be tried: all of them together may cost no more than people wait for.
    pub fn is_affordable(&self) -> bool {
        self.trial.is_affordable()
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
        let values: u64 = group.values.values().map(size).sum();
        for choice in choices {
            // They are copied, searched and printed again and again.
            self.trial.spend(8 * values);
            let job = self.job(&group, choice);
            if !self.is_fine(&job) {
                self.renderer.probe_job(&job, &self.trial, &mut probe);
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
            self.renderer.probe_hostile(job, &self.trial, &mut probe);
            probe == Probe::default()
        };
        self.forms.is_fine(self.renderer, job, carrier_image, &self.trial, is_safe)
    }

    /// The Job of `group` for the invented node.
    pub(super) fn job(&self, group: &Arc<Group>, template: TemplateChoice) -> PlannedJob {
        let namespace = group.namespace_or("default").to_owned();
        PlannedJob {
            group: Arc::clone(group),
            node: Arc::clone(&self.node),
            template,
            // No text that a template can print is the Job's name: one that sets it is always overwritten.
            name: "probe-job".into(),
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
    pub(super) fn probe_job(&self, job: &PlannedJob, trial: &Trial, probe: &mut Probe) {
        self.probe_plain(job, trial, probe);
        // The built-in ones are tried in our tests, with values worse than any group's.
        let TemplateChoice::User(template) = &job.template else { return };
        if probe.errors.is_empty() {
            self.probe_hostile(job, trial, probe);
        }
        // What no rendering reached, or showed: a label may be what none of the values tried is.
        let place = |error: &TemplateError| (error.template.clone(), error.place);
        let told: BTreeSet<_> = probe
            .errors
            .iter()
            .filter_map(|error| match error {
                RenderError::Template(error) => Some(place(error)),
                _ => None,
            })
            .collect();
        let open = self.with_partials(template).flat_map(|(_, compiled)| &compiled.open_to_nodes);
        let open = open.filter(|error| !told.contains(&place(error)));
        probe.errors.extend(open.cloned().map(RenderError::Template));
    }

    /// Whether the template prints a text of the node as it is.
    pub(super) fn is_open_to_nodes(&self, template: &str) -> bool {
        self.with_partials(template).any(|(_, compiled)| !compiled.open_to_nodes.is_empty())
    }

    fn probe_plain(&self, job: &PlannedJob, trial: &Trial, probe: &mut Probe) {
        let carrier_image = match context::carrier_image(job) {
            Ok(carrier_image) => carrier_image,
            Err(error) => return probe.errors.push(error),
        };
        let work = Work::new();
        let written = self.written(job, &carrier_image, &work);
        trial.spend_rendering(&work, written.as_ref().map_or(0, |written| written.text.len()));
        let written = match written {
            Ok(written) => written,
            Err(RenderError::Template(_)) => return self.probe_faults(job, &carrier_image, trial, probe),
            Err(error) => return probe.errors.push(error),
        };
        probe.ambiguous.extend(yaml_1_1::ambiguous(&written.text));
        let (unknown, problems): (Vec<_>, Vec<_>) =
            written.wrong_values.iter().cloned().partition(FieldProblem::is_of_the_invented_node);
        if !problems.is_empty() {
            probe.errors.push(RenderError::Fields { template: registered_name(&job.template), problems });
        }
        probe.warnings.extend(
            unknown
                .iter()
                .map(|problem| format!("could not be tried with an invented node: {}", problem.message)),
        );
        let manifest = Manifest::new(job, written.job.clone(), carrier_image);
        probe.warnings.extend(manifest.warnings);
        // Nobody can change what the tool of 2017 pulls in.
        if job.template == TemplateChoice::Quayctl {
            return;
        }
        let shown = job.group.images.iter().zip(manifest.image_containers);
        for (image, _) in shown.filter(|(_, containers)| containers.is_empty()) {
            probe.warnings.push(format!(
                "no container of the pod shows the state of `{image}`, so it is reported as unknown; give one this `image`, or mount a volume with this `image.reference`"
            ));
        }
    }

    /// Where the template does not render at all, every place at which it does not.
    fn probe_faults(&self, job: &PlannedJob, carrier_image: &str, trial: &Trial, probe: &mut Probe) {
        let context = context::context(job, carrier_image);
        for error in self.faults(&registered_name(&job.template), context, trial) {
            // A key that is itself a node's value is not in the template to be read off.
            match self.looks_up(&error.template) {
                true => probe.warnings.push(format!("could not be tried with an invented node: {error}")),
                false => probe.errors.push(RenderError::Template(error)),
            }
        }
    }

    fn probe_hostile(&self, job: &PlannedJob, trial: &Trial, probe: &mut Probe) {
        let Ok(carrier_image) = context::carrier_image(job) else {
            return; // and the plain probe has said so
        };
        let context = context::context(job, &carrier_image);
        let attempt = Attempt {
            renderer: self,
            template: registered_name(&job.template),
            variables: variables(&context),
            context,
            trial,
        };
        let base = match trial.is_affordable() {
            true => attempt.documents(&harmless),
            false => {
                return probe.warnings.push(format!(
                    "template `{}` was not tried with hostile values: what was tried before took all the time there is for it",
                    attempt.template
                ));
            }
        };
        let Some(base) = base else {
            return probe.warnings.push(format!(
                "template `{}` could not be tried with hostile values: with invented ones it does not render",
                attempt.template
            ));
        };
        let names: BTreeSet<&String> = attempt.variables.iter().collect();
        for (names, fate) in attempt.guilty(&base, &names.into_iter().collect::<Vec<_>>()) {
            let name = match names[..] {
                [] => continue,
                [name] => name.clone(),
                [name, ..] => format!("{name} (or one of {} others)", names.len() - 1),
            };
            match fate {
                Fate::Unchanged => {}
                Fate::Escaped => probe.warnings.push(format!(
                    "template `{}`: `{name}` stands outside double quotes, so a quote or backslash in it arrives with a backslash before it",
                    attempt.template
                )),
                Fate::Broken => {
                    let (template, place) = self.place_of(&attempt.template, names[0]);
                    probe.errors.push(RenderError::Template(TemplateError::new(
                        &template,
                        place,
                        format!(
                            "`{name}` can change the structure of the manifest; write it inside double quotes, or with `q`"
                        ),
                    )))
                }
            }
        }
    }

    /// Whether the template, or a partial, reads a table by a key that is a value itself.
    fn looks_up(&self, template: &str) -> bool {
        let compiled = self.compiled.get(template);
        compiled.is_some_and(|compiled| compiled.computed_lookup)
    }

    /// Where the template, or a partial, prints a variable, as far as the last part of its name tells.
    fn place_of(&self, template: &str, variable: &str) -> (String, Option<(usize, usize)>) {
        let last = |path: &str| path.rsplit(['.', '/']).next().map(str::to_owned);
        let printed = || {
            let templates = self.with_partials(template);
            templates.flat_map(|(name, compiled)| {
                compiled.printed.iter().map(move |(path, place)| (name, path, place))
            })
        };
        let exact = printed().find(|(_, path, _)| *path == variable);
        let found = exact.or_else(|| printed().find(|(_, path, _)| last(path) == last(variable)));
        found.map_or((template.to_owned(), None), |(name, _, place)| (name.to_owned(), Some(*place)))
    }
}

impl FieldProblem {
    /// Whether the value may be one of the invented node's, of which a real node has others.
    fn is_of_the_invented_node(&self) -> bool {
        self.spellings.iter().any(|spelling| spelling.contains(INVENTED))
    }
}

/// Renders a template, and counts that for the trial.
pub(super) fn try_text(
    renderer: &Renderer,
    template: &str,
    context: Value,
    trial: &Trial,
) -> Result<String, RenderError> {
    let work = Work::new();
    let text = renderer.text(template, context, &work);
    trial.spend_rendering(&work, text.as_ref().map_or(0, String::len));
    text
}

/// What became of a hostile value.
#[derive(Clone, Copy, PartialEq)]
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
    trial: &'a Trial,
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
        let text = try_text(self.renderer, &self.template, context, self.trial).ok()?;
        parse::documents(&text).ok().map(Value::Array)
    }

    /// Those of the variables `names` that do not end up as they are. All are tried at once, and only where
    /// that shows something, each half; where there is no time for that, they stay together.
    fn guilty<'n>(&self, base: &Value, names: &[&'n String]) -> Vec<(Vec<&'n String>, Fate)> {
        let picked: BTreeSet<&String> = names.iter().copied().collect();
        let fate = self.fate(base, &picked);
        if fate == Fate::Unchanged {
            return Vec::new();
        }
        if names.len() == 1 || !self.trial.is_affordable() {
            return vec![(names.to_vec(), fate)];
        }
        let (first, second) = names.split_at(names.len() / 2);
        let mut guilty = self.guilty(base, first);
        guilty.extend(self.guilty(base, second));
        match guilty.is_empty() {
            // Two that do it together only.
            true => vec![(names.to_vec(), fate)],
            false => guilty,
        }
    }

    /// What becomes of the variables `names`, when they are hostile and others are not.
    fn fate(&self, base: &Value, names: &BTreeSet<&String>) -> Fate {
        let picked: Vec<bool> = self.variables.iter().map(|name| names.contains(name)).collect();
        let shapes = [&hostile as &dyn Fn(usize) -> String, &|_| NULL.to_owned()];
        let mut fate = Fate::Unchanged;
        for text in shapes {
            let fill = |index: usize| match picked[index] {
                true => text(index),
                false => harmless(index),
            };
            let mut expected = base.clone();
            each_string(&mut expected, &mut |string| {
                if let Some(filled) =
                    with_each_harmless(string, |index| picked.get(index).copied().unwrap_or_default(), text)
                {
                    *string = filled;
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

/// `string` with `text` in place of each harmless value that is picked; `None` where it has none.
fn with_each_harmless(
    string: &str,
    is_picked: impl Fn(usize) -> bool,
    text: &dyn Fn(usize) -> String,
) -> Option<String> {
    let mark = "x".repeat(HOSTILE.len());
    let mut filled = String::new();
    let mut rest = string;
    while let Some(start) = rest.find(&mark) {
        // More of them may stand before it.
        let run = rest[start..].len() - rest[start..].trim_start_matches('x').len();
        let (before, harmless) = rest.split_at(start + run - mark.len());
        let number = harmless.get(mark.len()..mark.len() + DIGITS).and_then(|digits| digits.parse().ok());
        let length = mark.len() + number.map_or(0, |_| DIGITS);
        filled.push_str(before);
        match number.filter(|index| is_picked(*index)) {
            Some(index) => filled.push_str(&text(index)),
            None => filled.push_str(&harmless[..length]),
        }
        rest = &harmless[length..];
    }
    if rest.len() == string.len() {
        return None;
    }
    filled.push_str(rest);
    Some(filled)
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
    format!("{HOSTILE}{index:0DIGITS$}")
}

fn harmless(index: usize) -> String {
    format!("{}{index:0DIGITS$}", "x".repeat(HOSTILE.len()))
}
