//! What rendering may cost. Pure: it counts what is done and looks at no clock, so that the same template is
//! refused on every machine or on none.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use handlebars::{Helper, RenderError, RenderErrorReason};
use serde_json::Value;

use super::OUTPUT_BYTES_MAX;

/// What one rendering may do. All of these are nanoseconds of a slow machine; a usual one takes a third of
/// them. A hundred images in the largest built-in template take less than a fifth of this.
pub(super) const RENDERING_MAX: u64 = 50_000_000;
/// What calling a helper costs.
pub(super) const CALL: u64 = 400;
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

/// What trying the templates of a whole config may cost: less than the 15 s that `check` may take. 10,000 groups
/// with values, two templates each, stay below it (`make bench-check`).
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

pub(super) fn too_long() -> String {
    let limit = OUTPUT_BYTES_MAX >> 20;
    format!("here the manifest grows beyond {limit} MiB, which no API server takes; make it smaller")
}
