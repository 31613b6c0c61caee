//! Tries a group's template before any node is looked at. Pure; what it makes is thrown away.
//!
//! Two questions. Does it render at all, for a node that has every label the template names? And
//! is there a variable that could change more than the scalar it stands in (`injection`)?
//!
//! It cannot promise that every node will render: a label may be missing on one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::{Group, TemplateName};
use crate::plan::{Node, PlannedJob, RunId, RunIdentity, TemplateChoice};

use super::injection::{Injected, each_text};
use super::work::{Trial, Work, size};
use super::{
    FieldProblem, Manifest, RenderError, Renderer, TemplateError, context, registered_name, yaml_1_1,
};

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
    /// What injection showed, by the template and a group's context without its texts: those are replaced
    /// in it, so groups that differ in nothing else need it once.
    injected: BTreeMap<String, Injected>,
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
        Prober { renderer, node: Arc::new(node), injected: BTreeMap::new(), trial: Trial::new() }
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
            self.renderer.probe_plain(&job, &self.trial, &mut probe);
            self.probe_injection(&job, &mut probe);
        }
        probe
    }

    /// Whether a text can change the structure of what a user's template gives. The built-in ones are tried
    /// in our tests, with values worse than any group's.
    fn probe_injection(&mut self, job: &PlannedJob, probe: &mut Probe) {
        let (TemplateChoice::User(template), Ok(carrier_image)) =
            (&job.template, context::carrier_image(job))
        else {
            return;
        };
        if probe.errors.is_empty() {
            let context = context::context(job, &carrier_image);
            let mut shape = context.clone();
            each_text(&mut shape, "", &mut |_, text| text.clear());
            let inject = || self.renderer.inject(template, context, &self.trial);
            let Injected { errors, warnings } =
                self.injected.entry(format!("{template}\n{shape}")).or_insert_with(inject).clone();
            probe.errors.extend(errors);
            probe.warnings.extend(warnings);
        }
        self.renderer.probe_open(template, probe);
    }

    /// The Job of `group` for the invented node.
    fn job(&self, group: &Arc<Group>, template: TemplateChoice) -> PlannedJob {
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

    /// What no rendering reached, or showed: a label may be what none of the values tried is.
    fn probe_open(&self, template: &str, probe: &mut Probe) {
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
            Err(RenderError::Template(_)) => {
                return self.probe_render_errors(job, &carrier_image, trial, probe);
            }
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
    fn probe_render_errors(&self, job: &PlannedJob, carrier_image: &str, trial: &Trial, probe: &mut Probe) {
        let context = context::context(job, carrier_image);
        for error in self.render_errors(&registered_name(&job.template), context, trial) {
            // A key that is itself a node's value is not in the template to be read off.
            match self.looks_up(&error.template) {
                true => probe.warnings.push(format!("could not be tried with an invented node: {error}")),
                false => probe.errors.push(RenderError::Template(error)),
            }
        }
    }

    /// Whether the template, or a partial, reads a table by a key that is a value itself.
    fn looks_up(&self, template: &str) -> bool {
        let compiled = self.compiled.get(template);
        compiled.is_some_and(|compiled| compiled.computed_lookup)
    }
}

impl FieldProblem {
    /// Whether the value may be one of the invented node's, of which a real node has others.
    fn is_of_the_invented_node(&self) -> bool {
        self.spellings.iter().any(|spelling| spelling.contains(INVENTED))
    }
}
