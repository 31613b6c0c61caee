//! How values get into YAML: the escape behind every `{{x}}`, and the helpers `q`, `toYaml`,
//! `indent`, `default` and `lookup`. Pure: text and JSON in, text out.
//!
//! Everything here writes double-quoted scalars on one line, in JSON's escapes, which YAML shares.
//! So no value ever brings a line break of its own, and indenting a block of them is safe. It never
//! picks a scalar style by looking at the value: a style that depends on the value is how a
//! harmless template breaks on the one node whose label is `no`.

use handlebars::{
    Context, Handlebars, Helper, HelperDef, RenderContext, RenderError, RenderErrorReason, ScopedJson,
};
use serde_json::Value;

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

/// More is no indentation but a mistake, and would let one number fill the memory.
const INDENT_MAX: u64 = 200;

pub(super) fn register(registry: &mut Handlebars<'static>) {
    registry.register_escape_fn(quoted_body);
    registry.register_helper(SCALAR, Box::new(Scalar));
    registry.register_helper("q", Box::new(Quote));
    registry.register_helper("toYaml", Box::new(ToYaml));
    registry.register_helper("indent", Box::new(Indent));
    registry.register_helper("default", Box::new(Default));
    registry.register_helper("lookup", Box::new(Lookup));
    // It writes to a log, and this room touches nothing.
    registry.unregister_helper("log");
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

/// `value` in block style, without a final line break.
fn to_yaml(value: &Value) -> String {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let fields = fields.iter().map(|(key, value)| match value {
                Value::Object(inner) if !inner.is_empty() => {
                    format!("{}:\n{}", quoted(key), indent(2, &to_yaml(value)))
                }
                Value::Array(inner) if !inner.is_empty() => {
                    format!("{}:\n{}", quoted(key), to_yaml(value))
                }
                _ => format!("{}: {}", quoted(key), to_yaml(value)),
            });
            fields.collect::<Vec<_>>().join("\n")
        }
        Value::Array(items) if !items.is_empty() => {
            let items = items.iter().map(|item| {
                let block = indent(2, &to_yaml(item));
                format!("- {}", block.trim_start())
            });
            items.collect::<Vec<_>>().join("\n")
        }
        Value::String(text) => quoted(text),
        // Numbers, booleans, null, `{}` and `[]` are spelt in YAML as in JSON.
        _ => value.to_string(),
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

/// Implements [`HelperDef`] for a unit struct by one function of the call's parameters.
macro_rules! helper {
    ($name:ident, $call:expr) => {
        struct $name;

        impl HelperDef for $name {
            fn call_inner<'reg: 'rc, 'rc>(
                &self,
                helper: &Helper<'rc>,
                _: &'reg Handlebars<'reg>,
                _: &'rc Context,
                _: &mut RenderContext<'reg, 'rc>,
            ) -> Result<ScopedJson<'rc>, RenderError> {
                let call: fn(&Helper<'rc>) -> Result<ScopedJson<'rc>, RenderError> = $call;
                call(helper)
            }
        }
    };
}

helper!(Scalar, |helper| scalar_text(helper, 0).map(text));

helper!(Quote, |helper| { scalar_text(helper, 0).map(|value| text(quoted(&value))) });

helper!(ToYaml, |helper| match helper.param(0) {
    Some(param) if !param.is_value_missing() => Ok(text(to_yaml(param.value()))),
    Some(param) => Err(refuse(format!(
        "`{}` is not set; set it, or write {{{{#if …}}}} around it",
        param.relative_path().map_or("the value", String::as_str)
    ))),
    None => Err(refuse("`toYaml` wants a value".into())),
});

helper!(Indent, |helper| {
    let width = helper.param(0).and_then(|param| param.value().as_u64()).filter(|width| *width <= INDENT_MAX);
    let Some(width) = width else {
        return Err(refuse(format!(
            "`indent` wants a number of spaces from 0 to {INDENT_MAX} and a text, as {{{{indent 8 (toYaml x)}}}}"
        )));
    };
    let block = scalar_text(helper, 1)?;
    Ok(text(indent(width as usize, &block)))
});

helper!(Default, |helper| {
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
});

// Handlebars' own fails where the key is missing, which `default` and `if` could then not catch.
helper!(Lookup, |helper| {
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
});
