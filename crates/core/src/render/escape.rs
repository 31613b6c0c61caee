//! How values get into YAML: the escape behind every `{{x}}`, and the helpers `q`, `toYaml`,
//! `indent`, `default` and `lookup`. Pure: text and JSON in, text out.
//!
//! Everything here writes double-quoted scalars on one line, in JSON's escapes, which YAML shares.
//! So no value ever brings a line break of its own, and indenting a block of them is safe. It never
//! picks a scalar style by looking at the value: a style that depends on the value is how a
//! harmless template breaks on the one node whose label is `no`.

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, JsonTruthy, Output, RenderContext, RenderError,
    RenderErrorReason, Renderable, ScopedJson,
};
use serde_json::Value;

use super::OUTPUT_BYTES_MAX;
use super::work::{Work, size, too_long};

/// Prints one value of a template. Not for people to write: compiling puts it around every plain
/// `{{x}}`, because handlebars prints an object as `[object]` and has no hook to refuse it.
pub(super) const SCALAR: &str = "scalar";

/// Helpers whose output is YAML already and must not be escaped once more.
pub(super) const WRITE_YAML: [&str; 3] = ["q", "toYaml", "indent"];

/// Helpers that a template may call, beside `else` and the blocks: ours and handlebars' own.
pub(super) const HELPERS: [&str; 20] = [
    "q", "toYaml", "indent", "default", "lookup", "if", "unless", "each", "with", "raw", "eq", "ne", "gt",
    "gte", "lt", "lte", "and", "or", "not", "len",
];

/// Helpers of ours, which count what they are given and what they give.
pub(super) const COUNTED: [&str; 8] = [SCALAR, "q", "toYaml", "indent", "default", "lookup", "if", "unless"];

/// More is no indentation but a mistake, and would let one number fill the memory.
const INDENT_MAX: u64 = 200;

pub(super) fn register(registry: &mut Handlebars<'static>) {
    registry.register_escape_fn(quoted_body);
    // It writes to a log, and this module touches nothing.
    registry.unregister_helper("log");
}

/// Helpers of one rendering.
pub(super) fn register_counted<'rc>(render_context: &mut RenderContext<'_, 'rc>, work: &'rc Work) {
    let calls: [(&str, Call); 6] = [
        (SCALAR, scalar),
        ("q", quote),
        ("toYaml", block),
        ("indent", indented),
        ("default", default),
        ("lookup", lookup),
    ];
    for (name, call) in calls {
        render_context.register_local_helper(name, Box::new(Counted { call, work }));
    }
    for (name, is_positive) in [("if", true), ("unless", false)] {
        render_context.register_local_helper(name, Box::new(If { is_positive, work }));
    }
}

/// What stands between the double quotes of a YAML scalar whose value is `text`.
pub(super) fn quoted_body(text: &str) -> String {
    let mut body = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => body.push_str("\\\""),
            '\\' => body.push_str("\\\\"),
            '\n' => body.push_str("\\n"),
            '\r' => body.push_str("\\r"),
            '\t' => body.push_str("\\t"),
            // JSON would leave the second group as it is, but YAML calls it unprintable, or (in
            // version 1.1) a line break.
            '\u{0}'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => body.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => body.push(c),
        }
    }
    body
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", quoted_body(text))
}

/// `value` in block style, without a final line break; `None` where it is longer than any manifest.
fn to_yaml(value: &Value) -> Option<String> {
    let mut yaml = String::new();
    write_yaml(value, 0, &mut yaml).then_some(yaml)
}

/// Writes `value` where its first line begins; others get `width` spaces. False where it is too long.
fn write_yaml(value: &Value, width: usize, yaml: &mut String) -> bool {
    let new_line = |width: usize, yaml: &mut String| yaml.push_str(&format!("\n{}", " ".repeat(width)));
    if yaml.len() > OUTPUT_BYTES_MAX {
        return false;
    }
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().enumerate().all(|(index, (key, value))| {
                if index > 0 {
                    new_line(width, yaml);
                }
                yaml.push_str(&quoted(key));
                yaml.push(':');
                let width = match value {
                    Value::Object(inner) if !inner.is_empty() => Some(width + 2),
                    Value::Array(inner) if !inner.is_empty() => Some(width),
                    _ => None,
                };
                match width {
                    Some(width) => new_line(width, yaml),
                    None => yaml.push(' '),
                }
                write_yaml(value, width.unwrap_or_default(), yaml)
            })
        }
        Value::Array(items) if !items.is_empty() => items.iter().enumerate().all(|(index, item)| {
            if index > 0 {
                new_line(width, yaml);
            }
            yaml.push_str("- ");
            write_yaml(item, width + 2, yaml)
        }),
        Value::String(text) => {
            yaml.push_str(&quoted(text));
            true
        }
        // Numbers, booleans, null, `{}` and `[]` are spelt in YAML as in JSON.
        _ => {
            yaml.push_str(&value.to_string());
            true
        }
    }
}

/// Puts `width` spaces before every line but empty ones.
fn indent(width: usize, text: &str) -> String {
    let pad = " ".repeat(width);
    let lines = text.split('\n').map(|line| match line {
        "" => String::new(),
        line => format!("{pad}{line}"),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The text of a string, number or boolean.
fn scalar_text(helper: &Helper<'_>, index: usize) -> Result<String, RenderError> {
    let param = helper.param(index).ok_or_else(|| refuse(format!("`{}` wants a value", helper.name())))?;
    let name = match param.relative_path() {
        Some(path) => format!("`{path}`"),
        None => String::from("the value"),
    };
    if param.is_value_missing() {
        return Err(refuse(format!(
            "{name} is not set; set it, or write {{{{default …}}}} or {{{{#if …}}}} around it"
        )));
    }
    let kind = match param.value() {
        Value::String(text) => return Ok(text.clone()),
        Value::Number(number) => return Ok(number.to_string()),
        Value::Bool(flag) => return Ok(flag.to_string()),
        Value::Null => "null",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    };
    Err(refuse(format!("{name} is {kind}, not a single value; print it with `toYaml`")))
}

fn refuse(message: String) -> RenderError {
    RenderErrorReason::Other(message).into()
}

fn text(text: String) -> ScopedJson<'static> {
    ScopedJson::Derived(Value::String(text))
}

type Call = for<'rc> fn(&Helper<'rc>) -> Result<ScopedJson<'rc>, RenderError>;

/// A function of a call's parameters.
struct Counted<'w> {
    call: Call,
    work: &'w Work,
}

impl HelperDef for Counted<'_> {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        self.work.count_call(helper)?;
        let given = (self.call)(helper)?;
        if let ScopedJson::Derived(value) = &given {
            // Once to make it, and once for whoever it is given to.
            self.work.count(2 * size(value))?;
        }
        Ok(given)
    }
}

/// Handlebars' own, but that it counts.
struct If<'w> {
    is_positive: bool,
    work: &'w Work,
}

impl HelperDef for If<'_> {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        render_context: &mut RenderContext<'reg, 'rc>,
        output: &mut dyn Output,
    ) -> HelperResult {
        self.work.count_call(helper)?;
        let Some(condition) = helper.param(0) else {
            return Err(refuse(format!("`{}` wants a value", helper.name())));
        };
        let include_zero = helper.hash_get("includeZero").and_then(|flag| flag.value().as_bool());
        let is_met = condition.value().is_truthy(include_zero.unwrap_or_default()) == self.is_positive;
        match if is_met { helper.template() } else { helper.inverse() } {
            Some(branch) => branch.render(registry, context, render_context, output),
            None => Ok(()),
        }
    }
}

fn scalar<'rc>(helper: &Helper<'rc>) -> Result<ScopedJson<'rc>, RenderError> {
    scalar_text(helper, 0).map(text)
}

fn quote<'rc>(helper: &Helper<'rc>) -> Result<ScopedJson<'rc>, RenderError> {
    scalar_text(helper, 0).map(|value| text(quoted(&value)))
}

fn block<'rc>(helper: &Helper<'rc>) -> Result<ScopedJson<'rc>, RenderError> {
    match helper.param(0) {
        Some(param) if !param.is_value_missing() => {
            to_yaml(param.value()).map(text).ok_or_else(|| refuse(too_long()))
        }
        Some(param) => Err(refuse(format!(
            "`{}` is not set; set it, or write {{{{#if …}}}} around it",
            param.relative_path().map_or("the value", String::as_str)
        ))),
        None => Err(refuse("`toYaml` wants a value".into())),
    }
}

fn indented<'rc>(helper: &Helper<'rc>) -> Result<ScopedJson<'rc>, RenderError> {
    let width = helper.param(0).and_then(|param| param.value().as_u64()).filter(|width| *width <= INDENT_MAX);
    let Some(width) = width else {
        return Err(refuse(format!(
            "`indent` wants a number of spaces from 0 to {INDENT_MAX} and a text, as {{{{indent 8 (toYaml x)}}}}"
        )));
    };
    let block = scalar_text(helper, 1)?;
    let lines = block.matches('\n').count() + 1;
    match block.len() + lines * width as usize > OUTPUT_BYTES_MAX {
        true => Err(refuse(too_long())),
        false => Ok(text(indent(width as usize, &block))),
    }
}

fn default<'rc>(helper: &Helper<'rc>) -> Result<ScopedJson<'rc>, RenderError> {
    let (Some(value), Some(fallback)) = (helper.param(0), helper.param(1)) else {
        return Err(refuse(
            "`default` wants a value and what stands in for it, as {{default x \"y\"}}".into(),
        ));
    };
    // "" as well, because `tag` and `digest` are "" where an image has none.
    let absent = value.is_value_missing() || value.value().is_null() || value.value().as_str() == Some("");
    match (absent, fallback.is_value_missing()) {
        (false, _) => Ok(ScopedJson::Derived(value.value().clone())),
        (true, false) => Ok(ScopedJson::Derived(fallback.value().clone())),
        (true, true) => Ok(ScopedJson::Missing),
    }
}

/// Handlebars' own fails where the key is missing, which `default` and `if` could then not catch.
fn lookup<'rc>(helper: &Helper<'rc>) -> Result<ScopedJson<'rc>, RenderError> {
    let (Some(within), Some(key)) = (helper.param(0), helper.param(1)) else {
        return Err(refuse("`lookup` wants a table and a key, as {{lookup node.labels \"zone\"}}".into()));
    };
    let found = match within.value() {
        Value::Object(fields) => key.value().as_str().and_then(|key| fields.get(key)),
        Value::Array(items) => {
            let index = key.value().as_u64().and_then(|index| usize::try_from(index).ok());
            index.and_then(|index| items.get(index))
        }
        _ => None,
    };
    Ok(found.map_or(ScopedJson::Missing, |value| ScopedJson::Derived(value.clone())))
}
