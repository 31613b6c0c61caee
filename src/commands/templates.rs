//! Compiles the templates and tries them before a cluster is asked for anything; what is wrong with
//! them becomes problems with a place in the template's file, or in the config for an inline one.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::problem::{Origin, Problem, Severity};
use crate::config::provenance::Provenance;
use crate::config::{Code, Group, TemplateName, Templates};
use crate::config_source::load::{LoadedConfig, PartialConfig};
use crate::outcome::{Failure, Reason};
use crate::plan::{Plan, PlannedJob};
use crate::render::{
    FieldProblem, Manifest, Probe, Prober, RenderError, Renderer, TemplateError, carrier_image,
};
use crate::report::Refusal;
use crate::words::counted;

use super::some_of;

/// Mistakes that only the labels of some nodes show; more say no more.
const PROBLEMS_MAX: usize = 50;

/// What trying showed.
pub struct TemplateCheck {
    /// `None` where some template does not compile.
    pub renderer: Option<Renderer>,
    pub errors: Vec<Problem>,
    pub warnings: Vec<Problem>,
}

/// What is tried: a whole config, or what is right of a wrong one.
#[derive(Clone, Copy)]
pub struct TemplateInputs<'a> {
    pub groups: &'a [Group],
    pub templates: &'a Templates,
    pub provenance: &'a Provenance,
}

impl<'a> From<&'a LoadedConfig> for TemplateInputs<'a> {
    fn from(loaded: &'a LoadedConfig) -> TemplateInputs<'a> {
        let LoadedConfig { config, provenance, .. } = loaded;
        TemplateInputs { groups: &config.groups, templates: &config.templates, provenance }
    }
}

impl<'a> From<&'a PartialConfig> for TemplateInputs<'a> {
    fn from(partial: &'a PartialConfig) -> TemplateInputs<'a> {
        let PartialConfig { groups, templates, provenance } = partial;
        TemplateInputs { groups, templates, provenance }
    }
}

/// Compiles every template, and renders each that a node may get, with invented nodes.
pub fn try_templates(inputs: TemplateInputs<'_>) -> TemplateCheck {
    let TemplateInputs { groups, templates, provenance } = inputs;
    let (renderer, wrong) = Renderer::compile_valid(templates);
    let error = |error| inputs.of_template(Severity::Error, Code::TemplateSyntax, error);
    let mut errors: Vec<Problem> = wrong.iter().map(error).collect();
    let all_compile = errors.is_empty();
    let warning = |error| inputs.of_template(Severity::Warning, Code::UnescapedOutput, error);
    let mut warnings: Vec<Problem> = renderer.warnings.iter().map(warning).collect();

    let indexes = provenance.group_indexes();
    let mut prober = Prober::new(&renderer);
    // Groups of one template have most of its problems in common.
    let mut told = BTreeSet::new();
    let mut untried = Vec::new();
    for group in to_be_tried(groups).filter(|group| renderer.has(&group.template)) {
        if !prober.is_affordable() {
            untried.push(group);
            continue;
        }
        let index = indexes.get(group.name.as_str()).copied().unwrap_or_default();
        let used = Used { inputs, group, index };
        let Probe { errors: wrong, warnings: doubtful, ambiguous } = prober.probe(group);
        for error in &wrong {
            errors.extend(used.problems(error, &mut told));
        }
        // Of ours no template sets a field that the controller owns, so a value did: that has been told.
        let is_users = matches!(group.template, TemplateName::User(_));
        let doubtful =
            doubtful.into_iter().filter(|message| is_users || !message.contains("the controller owns"));
        for message in doubtful.filter(|message| told.insert(message.clone())) {
            warnings.push(used.doubt(Code::TemplateWarning, None, message));
        }
        for problem in ambiguous.into_iter().filter(|problem| told.insert(problem.alike())) {
            let help = Some("write it in double quotes".to_owned());
            let origin = used.field(&problem);
            let doubt = used.doubt(Code::AmbiguousScalar, None, problem.message);
            warnings.push(Problem { help, origin, ..doubt });
        }
    }
    if let Some(first) = untried.first() {
        let index = indexes.get(first.name.as_str()).copied().unwrap_or_default();
        let message = format!(
            "the templates of {} of {} groups were not tried: rendering those before took all the time there is for it; have fewer loops in them",
            untried.len(),
            groups.len()
        );
        warnings.push(Used { inputs, group: first, index }.doubt(Code::TemplatesNotTried, None, message));
    }
    TemplateCheck { renderer: all_compile.then_some(renderer), errors, warnings }
}

/// Groups that a user's template or values make different from others, and of the rest the one with the most
/// images for each template.
fn to_be_tried(groups: &[Group]) -> impl Iterator<Item = &Group> {
    let is_touched =
        |group: &Group| matches!(group.template, TemplateName::User(_)) || !group.values.is_empty();
    let mut largest: BTreeMap<(&str, bool), &Group> = BTreeMap::new();
    for group in groups.iter().filter(|group| !is_touched(group)) {
        let largest =
            largest.entry((group.template.as_str(), group.carrier_image.is_some())).or_insert(group);
        if group.images.len() > largest.images.len() {
            *largest = group;
        }
    }
    let largest: Vec<&str> = largest.into_values().map(|group| group.name.as_str()).collect();
    groups.iter().filter(move |group| is_touched(group) || largest.contains(&group.name.as_str()))
}

/// What is wrong with the manifests of a plan, each mistake once, with the first node that has it.
pub fn manifest_problems(inputs: TemplateInputs<'_>, renderer: &Renderer, plan: &Plan) -> Vec<Problem> {
    let indexes = inputs.provenance.group_indexes();
    let mut told = BTreeSet::new();
    let mut problems: Vec<Problem> = Vec::new();
    for job in plan.jobs() {
        let Err(error) = renderer.render(job) else { continue };
        // One that lacks a carrier image fails by itself, and the others go on.
        if matches!(error, RenderError::NoCarrierImage { .. }) {
            continue;
        }
        let index = indexes.get(job.group.name.as_str()).copied().unwrap_or_default();
        let used = Used { inputs, group: &job.group, index };
        for problem in used.problems(&error, &mut told) {
            let message =
                format!("group {:?}, node {:?}: {}", job.group.name, job.node.name, problem.message);
            problems.push(Problem { message, ..problem });
        }
        if problems.len() >= PROBLEMS_MAX {
            break;
        }
    }
    problems
}

/// A manifest, or why this node cannot have one.
pub fn manifest(renderer: &Renderer, job: &PlannedJob) -> Result<Manifest, Failure> {
    renderer.render(job).map_err(|error| failure(&error))
}

/// The Jobs that a run will not create for want of a carrier image. It can be said before anything is
/// rendered, and without a cluster.
pub fn without_carrier(plan: &Plan) -> Vec<Refusal> {
    let refused = |(index, job)| Some((index, failure(&carrier_image(job).err()?)));
    plan.indexed_jobs().filter_map(refused).collect()
}

/// Which nodes of a plan are going to fail for want of a carrier image.
pub fn nodes_without_carrier(plan: &Plan) -> Option<String> {
    let refused = without_carrier(plan);
    let names: BTreeSet<String> =
        refused.iter().map(|(index, _)| plan.job(*index).node.name.clone()).collect();
    let told = || {
        format!(
            "{} cannot mount image volumes and would fail with `carrier-image-failed`, as there is no \
             carrier image: {}",
            counted(names.len(), "node"),
            some_of(&names)
        )
    };
    (!names.is_empty()).then(told)
}

fn failure(error: &RenderError) -> Failure {
    let reason = match error {
        RenderError::NoCarrierImage { .. } => Reason::CarrierImageFailed,
        _ => Reason::ApiError,
    };
    Failure::new(reason, error.to_string())
}

impl TemplateInputs<'_> {
    fn of_template(&self, severity: Severity, code: Code, error: &TemplateError) -> Problem {
        let TemplateError { template, place, message } = error;
        let origin = self.provenance.in_template(self.templates, template, *place);
        let origin = origin.unwrap_or_else(|| Origin::Named(format!("template {template}")));
        Problem::new(severity, code, origin, message.clone())
    }
}

/// A group with the template that it uses.
struct Used<'a> {
    inputs: TemplateInputs<'a>,
    group: &'a Group,
    /// In the file.
    index: usize,
}

impl Used<'_> {
    /// One for each mistake that has not been told.
    fn problems(&self, error: &RenderError, told: &mut BTreeSet<String>) -> Vec<Problem> {
        let problem =
            |place, message| Problem::new(Severity::Error, error.code(), self.origin(place), message);
        match error {
            RenderError::Fields { template, problems } => {
                let problems = problems.iter().filter(|problem| told.insert(problem.alike()));
                let problems = problems.map(|field| {
                    let FieldProblem { message, .. } = field;
                    let message = format!("template `{template}` renders a wrong field: {message}");
                    Problem::new(Severity::Error, error.code(), self.field(field), message)
                });
                problems.collect()
            }
            error if !told.insert(error.to_string()) => Vec::new(),
            RenderError::Template(error) => {
                vec![self.inputs.of_template(Severity::Error, Code::TemplateError, error)]
            }
            error => vec![problem(None, error.to_string())],
        }
    }

    fn doubt(&self, code: Code, place: Option<(usize, usize)>, message: String) -> Problem {
        let key = Some(format!("groups[{}].template", self.index));
        Problem { key, ..Problem::new(Severity::Warning, code, self.origin(place), message) }
    }

    /// What is wrong with a template is wrong in its own text, whichever group uses it.
    fn origin(&self, place: Option<(usize, usize)>) -> Origin {
        let TemplateInputs { templates, provenance, .. } = self.inputs;
        let own = provenance.in_template(templates, self.group.template.as_str(), place);
        own.unwrap_or_else(|| provenance.group_key(self.index, "template"))
    }

    /// Where the template, or the one partial that does, writes a field.
    fn field(&self, problem: &FieldProblem) -> Origin {
        let TemplateInputs { templates, provenance, .. } = self.inputs;
        let texts = templates.with_partials(self.group.template.as_str());
        let mut places = texts.iter().filter_map(|(name, text)| Some((*name, problem.place(text)?)));
        match (places.next(), places.next()) {
            (Some((name, place)), None) => {
                provenance.in_template(templates, name, Some(place)).unwrap_or_else(|| self.origin(None))
            }
            _ => self.origin(None),
        }
    }
}
