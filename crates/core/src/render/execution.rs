//! A rendering that keeps to its cost. Pure.
//!
//! Handlebars has no limit: eight partials that include each other's next one ten times are a hundred
//! million inclusions in 500 bytes. `compile` has put a step before all that is repeated or copied, our
//! helpers count what they are given, and all that is printed comes through here.

use std::io;

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext, RenderError,
    RenderErrorReason, Renderable,
};
use serde_json::Value;

use super::work::{CALL, Work, size, too_long};
use super::{OUTPUT_BYTES_MAX, escape};

/// Counts, in a template. Not for people to write.
pub(super) const STEP: &str = "step";

/// What an element of a template costs.
const ELEMENT: u64 = 300;
/// What including a partial costs.
const INCLUSION: u64 = 1000;
/// Renders a registered template.
pub(super) fn render(
    registry: &Handlebars<'static>,
    template: &str,
    context: &Context,
    work: &Work,
) -> Result<String, RenderError> {
    let Some(template) = registry.get_template(template) else {
        return Err(RenderErrorReason::TemplateNotFound(template.to_owned()).into());
    };
    let mut text = Text { text: String::new(), work };
    let mut render_context = RenderContext::new(template.name.as_ref());
    render_context.register_local_helper(STEP, Box::new(Step { work }));
    escape::register_counted(&mut render_context, work);
    template.render(registry, context, &mut render_context, &mut text)?;
    Ok(text.text)
}

/// What has been printed.
struct Text<'w> {
    text: String,
    work: &'w Work,
}

impl Output for Text<'_> {
    fn write(&mut self, part: &str) -> io::Result<()> {
        if self.text.len() + part.len() > OUTPUT_BYTES_MAX {
            return Err(io::Error::other(too_long()));
        }
        self.work.count(part.len() as u64).map_err(|error| io::Error::other(error.reason().to_string()))?;
        self.text.push_str(part);
        Ok(())
    }
}

struct Step<'w> {
    work: &'w Work,
}

impl HelperDef for Step<'_> {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        render_context: &mut RenderContext<'reg, 'rc>,
        _: &mut dyn Output,
    ) -> HelperResult {
        let cost = helper.params().iter().map(|param| match param.try_get_constant_value() {
            // The elements of a branch that begins.
            Some(Value::Number(elements)) => ELEMENT.saturating_mul(elements.as_u64().unwrap_or_default()),
            // It is a partial: its data have been copied, twice where it was given values.
            Some(_) => {
                let data = render_context.block().and_then(|block| block.base_value());
                INCLUSION + 2 * data.map_or(0, size)
            }
            // Copied for this step, and to be copied by a helper, and for what that repeats.
            None if param.context_path().is_none() => 4 * size(param.value()),
            // Pointed at, but to be compared or gone through.
            None => size(param.value()) / 4,
        });
        self.work.count(CALL + cost.sum::<u64>())
    }
}
