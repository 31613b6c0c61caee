//! Every place at which a template fails to render, where handlebars stops at the first. Pure.
//!
//! What fails is cut out of a copy of the template, and the rest is tried again. Nothing that is
//! rendered with holes is ever read as YAML, so one mistake gives one error.

use handlebars::template::TemplateElement;
use handlebars::{Context, Template};
use serde_json::Value;

use super::compile::is_step;
use super::execution;
use super::work::{Trial, Work};
use super::{Renderer, TemplateError};

/// A template that fails at more places is wrong as a whole, but how many there are is said.
const ERRORS_MAX: usize = 50;
/// Each costs a rendering.
const ERRORS_COUNTED_MAX: usize = 1000;
/// What copying and changing a template costs for each tag.
const TAG: u64 = 2000;

impl Renderer {
    /// All that fails in rendering `template` with `context`, in the order in which it is met.
    pub(super) fn render_errors(&self, template: &str, context: Value, trial: &Trial) -> Vec<TemplateError> {
        let context = Context::from(context);
        let mut registry = self.registry.clone();
        let mut errors = Vec::new();
        let mut more: usize = 0;
        loop {
            let work = Work::new();
            let rendered = execution::render(&registry, template, &context, &work);
            trial.spend_rendering(&work, 0);
            let Err(error) = rendered else { break };
            let error = TemplateError::of_render(template, &error);
            let whole = registry.get_template(&error.template).cloned();
            let rest = whole.and_then(|mut whole| {
                trial.spend(TAG * whole.elements.len() as u64);
                let place = error.place?;
                cut(&mut whole, place).then_some(whole)
            });
            let name = error.template.clone();
            match errors.len() < ERRORS_MAX {
                true => errors.push(error),
                false => more += 1,
            }
            match rest {
                Some(rest) if more < ERRORS_COUNTED_MAX && trial.is_affordable() => {
                    registry.register_template(&name, rest);
                }
                Some(_) => {
                    let message = "there are more places at which it does not render; fix these first";
                    errors.push(TemplateError::new(template, None, message.to_owned()));
                    return errors;
                }
                None => break,
            }
        }
        if more > 0 {
            errors.push(TemplateError::new(
                template,
                None,
                format!("and {more} more places at which it does not render"),
            ));
        }
        errors
    }
}

/// Replaces what stands at a place by nothing; false where nothing does.
fn cut(template: &mut Template, place: (usize, usize)) -> bool {
    for (element, at) in template.elements.iter_mut().zip(&template.mapping) {
        let is_text = matches!(element, TemplateElement::RawString(_) | TemplateElement::Comment(_));
        if (at.0, at.1) == place && !is_text && !is_step(element) {
            *element = TemplateElement::RawString(String::new());
            return true;
        }
        if let TemplateElement::HelperBlock(block) = element {
            let mut branches = block.template.iter_mut().chain(&mut block.inverse);
            if branches.any(|branch| cut(branch, place)) {
                return true;
            }
        }
    }
    false
}
