//! Whether a text could change more than the scalar it stands in. Pure.
//!
//! Does a value full of YAML's own characters end up where a plain one of the same length does, unchanged?

use std::collections::BTreeSet;

use serde_json::Value;

use super::work::{Trial, Work};
use super::{RenderError, Renderer, TemplateError, parse};

/// All that ends or opens something in YAML, before and inside a scalar. Thirty-odd characters,
/// and [`baseline`] has as many, so that a template's `len` sees no difference.
const ADVERSARIAL: &str = "\"'\n- a: b #c {d} [e] &f *g !h |i >j %k @l `m, ?n:\t\\";

/// Of a variable's number, which no config has more of than bytes.
const DIGITS: usize = 7;

/// Not text at all where it stands unquoted.
const NULL: &str = "null";

/// What injection showed.
#[derive(Clone, Debug, Default)]
pub(super) struct Injected {
    pub errors: Vec<RenderError>,
    pub warnings: Vec<String>,
}

impl Renderer {
    /// Tries a user's template, which `context` is for.
    pub(super) fn inject(&self, template: &str, context: Value, trial: &Trial) -> Injected {
        let not_tried = |why: &str| Injected {
            errors: Vec::new(),
            warnings: vec![format!("template `{template}` {why}")],
        };
        if !trial.is_affordable() {
            return not_tried(
                "was not tried with adversarial values: what was tried before took all the time there is for it",
            );
        }
        let attempt = Attempt { renderer: self, template, variables: variables(&context), context, trial };
        let Some(base) = attempt.documents(&baseline) else {
            return not_tried(
                "could not be tried with adversarial values: with invented ones it does not render",
            );
        };
        let mut injected = Injected::default();
        let names: BTreeSet<&String> = attempt.variables.iter().collect();
        for (names, result) in attempt.guilty(&base, &names.into_iter().collect::<Vec<_>>()) {
            let name = match names[..] {
                [] => continue,
                [name] => name.clone(),
                [name, ..] => format!("{name} (or one of {} others)", names.len() - 1),
            };
            match result {
                InjectionResult::Unchanged => {}
                InjectionResult::Escaped => injected.warnings.push(format!(
                    "template `{template}`: `{name}` stands outside double quotes, so a quote or backslash in it arrives with a backslash before it"
                )),
                InjectionResult::Broken => {
                    let (template, place) = self.place_of(template, names[0]);
                    let message = format!(
                        "`{name}` can change the structure of the manifest; write it inside double quotes, or with `q`"
                    );
                    injected.errors.push(RenderError::Template(TemplateError::new(&template, place, message)));
                }
            }
        }
        injected
    }

    /// Where the template, or a partial, prints a variable, as far as the last part of its name tells.
    fn place_of(&self, template: &str, variable: &str) -> (String, Option<(usize, usize)>) {
        let last = |path: &str| path.rsplit(['.', '/']).next().map(str::to_owned);
        let printed = || {
            let templates = self.with_partials(template);
            templates.flat_map(|(name, compiled)| {
                compiled.printed.iter().map(move |(path, place)| (name, path, place))
            })
        };
        let exact = printed().find(|(_, path, _)| *path == variable);
        let found = exact.or_else(|| printed().find(|(_, path, _)| last(path) == last(variable)));
        found.map_or((template.to_owned(), None), |(name, _, place)| (name.to_owned(), Some(*place)))
    }
}

/// What became of an adversarial value.
#[derive(Clone, Copy, PartialEq)]
enum InjectionResult {
    Unchanged,
    /// In its place, but with the escapes written out.
    Escaped,
    Broken,
}

/// One template and the context whose texts are to be replaced.
struct Attempt<'a> {
    renderer: &'a Renderer,
    template: &'a str,
    context: Value,
    /// The name of each text in the context, in the order in which [`each_text`] meets them.
    variables: Vec<String>,
    trial: &'a Trial,
}

impl Attempt<'_> {
    /// What the template gives when the text of index `i` is `fill(i)`; `None` when it does not
    /// render or is no YAML.
    fn documents(&self, fill: &dyn Fn(usize) -> String) -> Option<Value> {
        let mut context = self.context.clone();
        let mut index = 0;
        each_text(&mut context, "", &mut |_, text| {
            *text = fill(index);
            index += 1;
        });
        let work = Work::new();
        let text = self.renderer.text(self.template, context, &work);
        self.trial.spend_rendering(&work, text.as_ref().map_or(0, String::len));
        parse::documents(&text.ok()?).ok().map(Value::Array)
    }

    /// Those of the variables `names` that do not end up as they are. All are tried at once, and only where
    /// that shows something, each half; where there is no time for that, they stay together.
    fn guilty<'n>(&self, base: &Value, names: &[&'n String]) -> Vec<(Vec<&'n String>, InjectionResult)> {
        let picked: BTreeSet<&String> = names.iter().copied().collect();
        let result = self.result(base, &picked);
        if result == InjectionResult::Unchanged {
            return Vec::new();
        }
        if names.len() == 1 || !self.trial.is_affordable() {
            return vec![(names.to_vec(), result)];
        }
        let (first, second) = names.split_at(names.len() / 2);
        let mut guilty = self.guilty(base, first);
        guilty.extend(self.guilty(base, second));
        match guilty.is_empty() {
            // Two that do it together only.
            true => vec![(names.to_vec(), result)],
            false => guilty,
        }
    }

    /// What becomes of the variables `names`, when they are adversarial and others are not.
    fn result(&self, base: &Value, names: &BTreeSet<&String>) -> InjectionResult {
        let picked: Vec<bool> = self.variables.iter().map(|name| names.contains(name)).collect();
        let shapes = [&adversarial as &dyn Fn(usize) -> String, &|_| NULL.to_owned()];
        let mut result = InjectionResult::Unchanged;
        for text in shapes {
            let fill = |index: usize| match picked[index] {
                true => text(index),
                false => baseline(index),
            };
            let mut expected = base.clone();
            each_string(&mut expected, &mut |string| {
                if let Some(filled) =
                    with_each_baseline(string, |index| picked.get(index).copied().unwrap_or_default(), text)
                {
                    *string = filled;
                }
            });
            match self.documents(&fill) {
                Some(found) if found == expected => {}
                Some(found) if same_shape(&found, &expected) => result = InjectionResult::Escaped,
                _ => return InjectionResult::Broken,
            }
        }
        result
    }
}

/// `string` with `text` in place of each baseline value that is picked; `None` where it has none.
fn with_each_baseline(
    string: &str,
    is_picked: impl Fn(usize) -> bool,
    text: &dyn Fn(usize) -> String,
) -> Option<String> {
    let mark = "x".repeat(ADVERSARIAL.len());
    let mut filled = String::new();
    let mut rest = string;
    while let Some(start) = rest.find(&mark) {
        // More of them may stand before it.
        let run = rest[start..].len() - rest[start..].trim_start_matches('x').len();
        let (before, value) = rest.split_at(start + run - mark.len());
        let number = value.get(mark.len()..mark.len() + DIGITS).and_then(|digits| digits.parse().ok());
        let length = mark.len() + number.map_or(0, |_| DIGITS);
        filled.push_str(before);
        match number.filter(|index| is_picked(*index)) {
            Some(index) => filled.push_str(&text(index)),
            None => filled.push_str(&value[..length]),
        }
        rest = &value[length..];
    }
    if rest.len() == string.len() {
        return None;
    }
    filled.push_str(rest);
    Some(filled)
}

/// The names of all texts that the kubelet, the user or a label may choose.
fn variables(context: &Value) -> Vec<String> {
    let mut names = Vec::new();
    each_text(&mut context.clone(), "", &mut |name, _| names.push(name.to_owned()));
    names
}

/// Calls `visit` with name and text of each string in a context, in a fixed order.
pub(super) fn each_text(value: &mut Value, name: &str, visit: &mut dyn FnMut(&str, &mut String)) {
    match value {
        // One of two words, which change nothing.
        Value::String(_) if name == "pull_policy" => {}
        Value::String(text) => visit(name, text),
        Value::Array(items) => {
            let name = format!("{name}[]");
            items.iter_mut().for_each(|item| each_text(item, &name, visit));
        }
        Value::Object(fields) => {
            for (key, value) in fields {
                let name = match name {
                    "" => key.clone(),
                    _ if key.contains(['.', '/']) => format!("{name}.[{key}]"),
                    _ => format!("{name}.{key}"),
                };
                each_text(value, &name, visit);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Calls `visit` with each string in a document, keys too.
fn each_string(value: &mut Value, visit: &mut dyn FnMut(&mut String)) {
    match value {
        Value::String(text) => visit(text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_string(item, visit)),
        Value::Object(fields) => {
            for (mut key, mut value) in std::mem::take(fields) {
                visit(&mut key);
                each_string(&mut value, visit);
                fields.insert(key, value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Same keys, same lengths, same kinds; texts may differ.
fn same_shape(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::String(_), Value::String(_)) => true,
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_shape(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same_shape(a, b)))
        }
        _ => a == b,
    }
}

fn adversarial(index: usize) -> String {
    format!("{ADVERSARIAL}{index:0DIGITS$}")
}

fn baseline(index: usize) -> String {
    format!("{}{index:0DIGITS$}", "x".repeat(ADVERSARIAL.len()))
}
