//! Are all fields of a Job known, and of the right type? Pure; what the API server's strict
//! validation would say, without asking one.
//!
//! Reads the Job into the typed API, which would silently drop a misspelt `comand`; nothing typed
//! leaves this file, because a newer cluster's fields would be lost on the way.

use k8s_openapi::api::batch::v1::Job;
use serde_json::Value;

use super::FieldProblem;
use super::yaml_1_1::older_meaning;

/// A Job so wrong that more than this many fields have a wrong type is named well enough by these.
const TYPE_PROBLEMS_MAX: usize = 20;

/// Everything wrong with the fields of `job`, each problem with its path; empty when it is clean.
pub(super) fn lint(job: &Value) -> Vec<FieldProblem> {
    let mut unknown = Vec::new();
    match read(job, &mut unknown) {
        Ok(()) => unknown,
        Err(_) => type_problems(job.clone()),
    }
}

fn read(job: &Value, unknown: &mut Vec<FieldProblem>) -> Result<(), serde_json::Error> {
    let note = |path: serde_ignored::Path<'_>| {
        // serde_ignored writes `?` for each `Option` on the way.
        let path = path.to_string().replace(".?", "");
        let message = format!("`{path}` is no field of a Job");
        unknown.push(FieldProblem { path, scalar: None, message });
    };
    serde_ignored::deserialize::<_, _, Job>(job, note).map(drop)
}

/// serde says what is wrong but not where, so fields are taken away until it says something else.
fn type_problems(mut job: Value) -> Vec<FieldProblem> {
    let mut problems = Vec::new();
    while let Err(error) = read(&job, &mut Vec::new()) {
        let message = error.to_string();
        let mut path = Vec::new();
        blame(&mut job, &message, &mut path);
        problems.push(type_problem(path.join("."), &message));
        // Without a list's item the paths of those behind it would no longer be the user's.
        let in_list = path.last().is_none_or(|key| key.parse::<usize>().is_ok());
        if in_list || problems.len() == TYPE_PROBLEMS_MAX {
            return problems;
        }
        take(&mut job, &path);
    }
    // Reading stops at a type error; now it sees the unknown fields behind the last one too.
    let mut unknown = Vec::new();
    if read(&job, &mut unknown).is_ok() {
        problems.append(&mut unknown);
    }
    problems
}

fn type_problem(path: String, message: &str) -> FieldProblem {
    let word = message.strip_prefix("invalid type: string \"").and_then(|rest| rest.split_once('"'));
    let message = match word {
        Some((word, rest)) if rest.ends_with("a boolean") && older_meaning(word) == Some("a boolean") => {
            format!("`{path}`: `{word}` is a boolean in YAML 1.1 only; write `true` or `false`")
        }
        _ => format!("`{path}`: {message}"),
    };
    FieldProblem { path, scalar: None, message }
}

/// Extends `path` to the deepest field without which reading `job` no longer fails with `message`.
fn blame(job: &mut Value, message: &str, path: &mut Vec<String>) {
    for key in at(job, path).map(|value| keys(value)).unwrap_or_default() {
        path.push(key);
        let Some(taken) = take(job, path) else { return };
        let same = read(job, &mut Vec::new()).is_err_and(|error| error.to_string() == message);
        put(job, path, taken);
        if !same {
            return blame(job, message, path);
        }
        path.pop();
    }
}

fn keys(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => fields.keys().cloned().collect(),
        Value::Array(items) => (0..items.len()).map(|index| index.to_string()).collect(),
        _ => Vec::new(),
    }
}

fn at<'a>(job: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(job, |value, key| match value {
        Value::Object(fields) => fields.get_mut(key),
        Value::Array(items) => items.get_mut(key.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Removes what stands at `path`, and gives it.
fn take(job: &mut Value, path: &[String]) -> Option<Value> {
    let (key, parent) = path.split_last()?;
    match at(job, parent)? {
        Value::Object(fields) => fields.remove(key),
        Value::Array(items) => Some(items.remove(key.parse().ok()?)),
        _ => None,
    }
}

/// Undoes [`take`].
fn put(job: &mut Value, path: &[String], value: Value) {
    let Some((key, parent)) = path.split_last() else {
        return;
    };
    match (at(job, parent), key.parse()) {
        (Some(Value::Object(fields)), _) => drop(fields.insert(key.clone(), value)),
        (Some(Value::Array(items)), Ok(index)) => items.insert(index, value),
        _ => {}
    }
}
