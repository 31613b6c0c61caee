//! Every place at which a template fails to render, where handlebars stops at the first. Pure.
//!
//! What fails is cut out of a copy of the template, and the rest is tried again. Nothing that is
//! rendered with holes is ever read as YAML, so one mistake gives one error.

use handlebars::template::TemplateElement;
use handlebars::{Context, Template};
use serde_json::Value;

use super::{Renderer, TemplateError};

/// Each costs a rendering; a template that fails at more places is wrong as a whole.
const FAULTS_MAX: usize = 50;

impl Renderer {
    /// All that fails in rendering `template` with `context`, in the order in which it is met.
    pub(super) fn faults(&self, template: &str, context: Value) -> Vec<TemplateError> {
        let context = Context::from(context);
        let mut registry = self.registry.clone();
        let mut faults = Vec::new();
        while faults.len() < FAULTS_MAX {
            let Err(error) = registry.render_with_context(template, &context) else { break };
            let error = TemplateError::of_render(template, &error);
            let rest = registry.get_template(&error.template).cloned().and_then(|mut whole| {
                let place = error.place?;
                cut(&mut whole, place).then_some(whole)
            });
            let name = error.template.clone();
            faults.push(error);
            match rest {
                Some(rest) => registry.register_template(&name, rest),
                None => break,
            }
        }
        faults
    }
}

/// Replaces what stands at a place by nothing; false where nothing does.
fn cut(template: &mut Template, place: (usize, usize)) -> bool {
    for (element, at) in template.elements.iter_mut().zip(&template.mapping) {
        let is_text = matches!(element, TemplateElement::RawString(_) | TemplateElement::Comment(_));
        if (at.0, at.1) == place && !is_text {
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
