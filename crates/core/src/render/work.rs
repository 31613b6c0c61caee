//! What rendering may cost, and a rendering that keeps to it. Pure: it counts what it does and looks at no
//! clock, so that the same template is refused on every machine or on none.
//!
//! Handlebars has no limit: eight partials that include each other's next one ten times are a hundred
//! million inclusions in 500 bytes. `compile` has put a step before all that is repeated or copied, our
//! helpers count what they are given, and all that is printed comes through here.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext, RenderError,
    RenderErrorReason, Renderable,
};
use serde_json::Value;

use super::{OUTPUT_BYTES_MAX, escape};

/// Counts, in a template. Not for people to write.
pub(super) const STEP: &str = "step";

/// What one rendering may do. All of these are nanoseconds of a slow machine; a usual one takes a third of
/// them. A hundred images in the largest built-in template take less than a fifth of this.
pub(super) const RENDERING_MAX: u64 = 50_000_000;
/// What calling a helper costs.
const CALL: u64 = 400;
/// What an element of a template costs.
const ELEMENT: u64 = 300;
/// What including a partial costs.
const INCLUSION: u64 = 1000;
/// What copying a value costs beside its text.
const VALUE: u64 = 60;

/// What has been done of what may be.
#[derive(Debug)]
pub(super) struct Work {
    done: AtomicU64,
    max: u64,
}

impl Work {
    /// For one rendering.
    pub(super) fn new() -> Work {
        Work { done: AtomicU64::new(0), max: RENDERING_MAX }
    }

    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Counts work that has been done or is about to be.
    pub(super) fn count(&self, work: u64) -> Result<(), RenderError> {
        let before = self.done.fetch_add(work, Ordering::Relaxed);
        match before.saturating_add(work) > self.max {
            true => Err(RenderErrorReason::Other(
                "rendering was stopped here: it does more than any Job needs; loops and partials inside one another multiply, so have fewer of them"
                    .to_owned(),
            )
            .into()),
            false => Ok(()),
        }
    }

    /// Counts a helper's call: the values that were copied for it.
    pub(super) fn count_call(&self, helper: &Helper<'_>) -> Result<(), RenderError> {
        let params = helper.params().iter().chain(helper.hash().values());
        let copied = params.filter(|param| {
            // What is in the data or in the template is only pointed at.
            param.context_path().is_none() && param.try_get_constant_value().is_none()
        });
        self.count(CALL + copied.map(|param| size(param.value())).sum::<u64>())
    }
}

/// What trying the templates of a whole config may cost: a second or so, as nobody waits longer for `check`,
/// and a reload must not keep `serve` from its Jobs.
const TRIAL_MAX: u64 = 3_000_000_000;
/// What reading a byte of a rendered text as YAML, and as a Job, costs.
const READING: u64 = 60;

/// What is left for trying templates.
#[derive(Debug)]
pub(super) struct Trial {
    left: Cell<u64>,
}

impl Trial {
    pub(super) fn new() -> Trial {
        Trial { left: Cell::new(TRIAL_MAX) }
    }

    /// Whether one more rendering can be afforded.
    pub(super) fn is_affordable(&self) -> bool {
        self.left.get() >= RENDERING_MAX
    }

    pub(super) fn spend(&self, work: u64) {
        self.left.set(self.left.get().saturating_sub(work));
    }

    /// Spends what a rendering has done, and what reading its text will do.
    pub(super) fn spend_rendering(&self, work: &Work, text_bytes: usize) {
        self.spend(work.done().saturating_add(READING.saturating_mul(text_bytes as u64)));
    }
}

/// What copying a value costs.
pub(super) fn size(value: &Value) -> u64 {
    VALUE
        + match value {
            Value::String(text) => text.len() as u64,
            Value::Array(items) => items.iter().map(size).sum(),
            Value::Object(fields) => {
                fields.iter().map(|(key, value)| key.len() as u64 + VALUE + size(value)).sum()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
}

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

pub(super) fn too_long() -> String {
    let limit = OUTPUT_BYTES_MAX >> 20;
    format!("here the manifest grows beyond {limit} MiB, which no API server takes; make it smaller")
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
