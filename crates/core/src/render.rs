//! Makes a Job manifest of a planned Job. Pure: no client, no clock, no files, no environment.
//!
//! ```text
//! PlannedJob → context → text → Job as written → Job as it will be
//!        names of §Template data   handlebars   parse, lint        overlay
//! ```
//!
//! A [`Renderer`] is made once per config: it compiles every template and refuses those that could
//! not be rendered for any node. Rendering then fails only for what the values, or a node's labels,
//! bring. The template never decides who a Job is or when it ends: see `overlay`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use handlebars::{Context, Handlebars};
use serde_json::Value;

pub use context::{DEFAULT_CARRIER_IMAGE, carrier_image};
pub use error::{FieldProblem, RenderError, TemplateError};
pub use probe::{Probe, Prober};

use crate::config::{TemplateName, Templates};
use crate::plan::{PlannedJob, TemplateChoice};

use compile::{Compiled, Noted};
use includes::Checked;
use work::Work;

mod compile;
mod container_map;
mod context;
mod cursor;
mod error;
mod escape;
mod execution;
mod field_place;
mod fields;
mod includes;
mod injection;
pub mod label;
mod lint;
mod overlay;
mod parse;
mod probe;
mod render_errors;
mod scan;
mod scope;
#[cfg(test)]
mod tests;
mod work;
mod yaml_1_1;

/// What a template may print, and what that may be with its aliases written out: the API server takes
/// objects of 1.5 MiB (etcd's `--max-request-bytes`), and the overlay and `managedFields` come on top.
const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// A Job as it is posted or printed, and what reading its fate back needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    pub job: PlannedJob,
    /// The whole `batch/v1` Job, identity overlaid.
    pub body: Value,
    /// For each image of the group, in file order, the names of the containers (init containers
    /// too) whose state tells its fate: those whose `image` equals the reference or that mount a
    /// volume whose `image.reference` does. Empty: nothing in the pod shows it.
    pub image_containers: Vec<Vec<String>>,
    /// The carrier image's reference as the pod has it.
    pub carrier_image: String,
    /// Names of containers that run the carrier image.
    pub carrier_containers: Vec<String>,
    /// Names of all containers but init containers.
    pub own_containers: Vec<String>,
    /// What the template says that does not hold, one sentence each; the same for each node.
    pub warnings: Vec<String>,
}

/// Templates compiled once, ready to render any number of Jobs.
///
/// Valid means: every template in it parses, calls only helpers and includes only partials that are
/// in it too, and no partial reaches itself.
#[derive(Debug)]
pub struct Renderer {
    registry: Handlebars<'static>,
    /// By the name it is registered under.
    compiled: BTreeMap<String, Compiled>,
    /// What the templates' texts are to be warned about, whatever the values: `{{{x}}}`.
    pub warnings: Vec<TemplateError>,
    /// The Job last read, by template and text. Parsing costs ten times what the rest does, and
    /// most templates (both built-in ones) give one text for all nodes of a group.
    last_read: Mutex<Option<Arc<Read>>>,
}

/// A rendered text that parsed and linted clean.
#[derive(Debug)]
struct Read {
    template: String,
    text: String,
    job: Value,
    /// Values that the API server would refuse.
    wrong_values: Vec<FieldProblem>,
}

impl Renderer {
    /// Compiles the built-in templates, the user's and the partials, or says all that is wrong
    /// with them.
    pub fn new(templates: &Templates) -> Result<Renderer, Vec<TemplateError>> {
        match Renderer::compile_valid(templates) {
            (renderer, errors) if errors.is_empty() => Ok(renderer),
            (_, errors) => Err(errors),
        }
    }

    /// A renderer of those templates that can be rendered, and all that is wrong with the others.
    pub fn compile_valid(templates: &Templates) -> (Renderer, Vec<TemplateError>) {
        let built_in = [
            (TemplateChoice::ImageVolume, crate::config::IMAGE_VOLUME),
            (TemplateChoice::Helper, crate::config::HELPER),
            (TemplateChoice::Quayctl, crate::config::QUAYCTL),
        ];
        let mut texts: BTreeMap<String, &str> = BTreeMap::new();
        for (name, template) in templates.partials.iter().chain(&templates.user) {
            texts.insert(name.clone(), &template.text);
        }
        texts.extend(built_in.map(|(choice, text)| (registered_name(&choice), text)));

        let mut noted = Noted::default();
        // A template that does not compile is no missing partial, and one that could not be read is
        // none either: one mistake, one error.
        let known: BTreeSet<&str> = texts.keys().chain(&templates.without_text).map(String::as_str).collect();
        let compiled = texts
            .iter()
            .filter_map(|(name, text)| Some((name.clone(), compile::compile(name, text, &mut noted)?)));
        let mut compiled: BTreeMap<String, Compiled> = compiled.collect();
        let depths = compiled.iter().map(|(name, compiled)| (name.as_str(), compiled.depth)).collect();
        let Checked { errors, sound } = includes::check(&noted.includes, &known, &depths);
        noted.errors.extend(errors);
        compiled.retain(|name, _| sound.contains(name));

        let mut registry = Handlebars::new();
        registry.set_strict_mode(true);
        escape::register(&mut registry);
        for (name, template) in &compiled {
            registry.register_template(name, template.template.clone());
        }
        let Noted { includes: _, errors, warnings } = noted;
        (Renderer { registry, compiled, warnings, last_read: Mutex::new(None) }, errors)
    }

    /// Whether `template` is there and can be rendered.
    pub fn has(&self, template: &TemplateName) -> bool {
        match template {
            TemplateName::User(name) => self.compiled.contains_key(name),
            TemplateName::Auto | TemplateName::ImageVolume | TemplateName::Helper | TemplateName::Quayctl => {
                true
            }
        }
    }

    /// A template and all that it includes, each once.
    fn with_partials<'s>(&'s self, template: &str) -> impl Iterator<Item = (&'s str, &'s Compiled)> {
        let mut next: Vec<&'s str> =
            self.compiled.get_key_value(template).map(|(name, _)| name.as_str()).into_iter().collect();
        let mut met: BTreeSet<&'s str> = next.iter().copied().collect();
        std::iter::from_fn(move || {
            let name = next.pop()?;
            let compiled = self.compiled.get(name)?;
            next.extend(compiled.includes.iter().map(String::as_str).filter(|partial| met.insert(*partial)));
            Some((name, compiled))
        })
    }

    /// The Job that `job` plans.
    pub fn render(&self, job: &PlannedJob) -> Result<Manifest, RenderError> {
        let (manifest, wrong_values) = self.render_unjudged(job)?;
        match wrong_values.is_empty() {
            true => Ok(manifest),
            false => {
                Err(RenderError::Fields { template: registered_name(&job.template), problems: wrong_values })
            }
        }
    }

    /// The same with what is wrong with its values beside it, for whoever asks an API server about them.
    pub fn render_unjudged(&self, job: &PlannedJob) -> Result<(Manifest, Vec<FieldProblem>), RenderError> {
        let carrier_image = context::carrier_image(job)?;
        let written = self.written(job, &carrier_image, &Work::new())?;
        Ok((Manifest::new(job, written.job.clone(), carrier_image), written.wrong_values.clone()))
    }

    /// The Job as its template writes it.
    fn written(&self, job: &PlannedJob, carrier_image: &str, work: &Work) -> Result<Arc<Read>, RenderError> {
        let template = registered_name(&job.template);
        let text = self.text(&template, context::context(job, carrier_image), work)?;
        self.read(&template, text)
    }

    /// Renders a registered template with `context`.
    fn text(&self, template: &str, context: Value, work: &Work) -> Result<String, RenderError> {
        if !self.compiled.contains_key(template) {
            return Err(RenderError::NoSuchTemplate { template: template.to_owned() });
        }
        execution::render(&self.registry, template, &Context::from(context), work)
            .map_err(|error| RenderError::Template(TemplateError::of_render(template, &error)))
    }

    /// Reads a rendered text as a Job whose fields the API knows.
    fn read(&self, template: &str, text: String) -> Result<Arc<Read>, RenderError> {
        // Poisoned means that another thread panicked while storing; what is stored is whole.
        let mut last = self.last_read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = &*last
            && read.template == template
            && read.text == text
        {
            return Ok(Arc::clone(read));
        }
        let job = parse::parse(template, &text)?;
        let problems = lint::lint(&job);
        if !problems.is_empty() {
            return Err(RenderError::Fields { template: template.to_owned(), problems });
        }
        let wrong_values = fields::check(&job);
        let read = Arc::new(Read { template: template.to_owned(), text, job, wrong_values });
        *last = Some(Arc::clone(&read));
        Ok(read)
    }
}

impl Manifest {
    /// Of a Job as its template wrote it.
    fn new(job: &PlannedJob, mut body: Value, carrier_image: String) -> Manifest {
        let warnings = overlay::overlay(&mut body, job);
        let references: Vec<String> = job.group.images.iter().map(ToString::to_string).collect();
        Manifest {
            image_containers: container_map::image_containers(&body, &references),
            carrier_containers: container_map::carrier_containers(&body, &carrier_image),
            own_containers: container_map::own_containers(&body),
            carrier_image,
            job: job.clone(),
            body,
            warnings,
        }
    }

    /// The pod that the Job controller makes of this Job, under the Job's name.
    pub fn pod(&self) -> Value {
        let mut pod = self.body["spec"]["template"].clone();
        pod["apiVersion"] = "v1".into();
        pod["kind"] = "Pod".into();
        pod["metadata"]["name"] = self.job.name.clone().into();
        pod
    }

    /// One document of a YAML stream, its `---` included. The same Job gives the same bytes: keys
    /// are sorted, and the style of a string depends on nothing but the string.
    pub fn to_yaml(&self) -> Result<String, RenderError> {
        let options = serde_saphyr::ser_options! {
            // Folded blocks are hard to compare in a diff, and JSON in an annotation is one line.
            prefer_block_scalars: false,
        };
        let document = serde_saphyr::to_string_with_options(&self.body, options)
            .map_err(|error| RenderError::NotWritable(error.to_string()))?;
        // For whoever looks for a node in a diff. A name from a hand-written file may hold anything.
        let PlannedJob { group, node, .. } = &self.job;
        let line = format!("group {}, node {}", group.name, node.name);
        let line = crate::outside_text::one_line(&line);
        Ok(format!("---\n# {line}\n{document}"))
    }
}

/// The name a template has in errors and in the registry. No user's template can have a built-in
/// one's: config refuses that for `[templates.NAME]`, and a space keeps files apart.
fn registered_name(choice: &TemplateChoice) -> String {
    match choice {
        TemplateChoice::ImageVolume => "built-in image-volume".into(),
        TemplateChoice::Helper => "built-in helper".into(),
        TemplateChoice::Quayctl => "built-in quayctl".into(),
        TemplateChoice::User(name) => name.clone(),
    }
}
