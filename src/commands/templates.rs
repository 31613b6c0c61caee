//! Compiles the templates and tries them before a cluster is asked for anything; what is wrong with
//! them becomes problems with a place in the template's file, or in the config for an inline one.

use std::collections::BTreeSet;

use crate::config::load::Loaded;
use crate::config::problem::{Origin, Problem, Severity};
use crate::config::{Group, TemplateName};
use crate::outcome::{Failure, Reason};
use crate::plan::PlannedJob;
use crate::render::{Manifest, Probe, RenderError, Renderer, TemplateError};

/// What trying showed.
pub struct Tried {
    /// `None` where some template does not compile.
    pub renderer: Option<Renderer>,
    pub errors: Vec<Problem>,
    pub warnings: Vec<Problem>,
}

/// Compiles every template, and renders those that a user has had a hand in, with invented nodes.
pub fn try_templates(loaded: &Loaded) -> Tried {
    let config = &loaded.config;
    let renderer = match Renderer::new(&config.templates) {
        Ok(renderer) => renderer,
        Err(errors) => {
            let errors =
                errors.iter().map(|error| of_template(loaded, Severity::Error, "template-syntax", error));
            return Tried { renderer: None, errors: errors.collect(), warnings: Vec::new() };
        }
    };
    let warning = |error| of_template(loaded, Severity::Warning, "unescaped-output", error);
    let mut warnings: Vec<Problem> = renderer.warnings().map(warning).collect();
    let mut errors = Vec::new();
    let touched = |group: &Group| matches!(group.template, TemplateName::User(_)) || !group.values.is_empty();
    // Groups of one template have most of its problems in common.
    let mut told = BTreeSet::new();
    for (index, group) in config.groups.iter().enumerate().filter(|(_, group)| touched(group)) {
        let Probe { errors: wrong, warnings: doubtful } = renderer.probe(group);
        // What is wrong with a template is wrong in its own text, whichever group uses it.
        let origin = || {
            let name = group.template.as_str();
            let own = loaded.provenance.in_template(&config.templates, name, None);
            own.unwrap_or_else(|| loaded.provenance.group_key(index, "template"))
        };
        for error in wrong.into_iter().filter(|error| told.insert(error.to_string())) {
            errors.push(of_render(loaded, &error, origin));
        }
        for message in doubtful.into_iter().filter(|message| told.insert(message.clone())) {
            warnings
                .push(keyed(index, Problem::new(Severity::Warning, "template-warning", origin(), message)));
        }
    }
    Tried { renderer: Some(renderer), errors, warnings }
}

/// A manifest, or why this node cannot have one.
pub fn manifest(renderer: &Renderer, job: &PlannedJob) -> Result<Manifest, Failure> {
    renderer.render(job).map_err(|error| {
        let reason = match error {
            RenderError::NoCarrierImage { .. } => Reason::CarrierImageFailed,
            _ => Reason::ApiError,
        };
        Failure::new(reason, error.to_string())
    })
}

fn of_template(loaded: &Loaded, severity: Severity, code: &'static str, error: &TemplateError) -> Problem {
    let TemplateError { template, place, message } = error;
    let origin = loaded.provenance.in_template(&loaded.config.templates, template, *place);
    match origin {
        Some(origin) => Problem::new(severity, code, origin, message.clone()),
        None => Problem::new(severity, code, Origin::Named(format!("template {template}")), message.clone()),
    }
}

fn of_render(loaded: &Loaded, error: &RenderError, otherwise: impl Fn() -> Origin) -> Problem {
    if let RenderError::Template(error) = error {
        return of_template(loaded, Severity::Error, "template-error", error);
    }
    let place = error.place();
    let origin = place.and_then(|(template, place)| {
        loaded.provenance.in_template(&loaded.config.templates, template, place)
    });
    Problem::new(Severity::Error, error.code(), origin.unwrap_or_else(otherwise), error.to_string())
}

fn keyed(group: usize, problem: Problem) -> Problem {
    Problem { key: Some(format!("groups[{group}].template")), ..problem }
}
