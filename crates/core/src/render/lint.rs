//! Are all fields of a Job known, and of the right type? Pure; what the API server's strict
//! validation would say, without asking one.
//!
//! Reads the Job into the typed API, which would silently drop a misspelt `comand`; nothing typed
//! leaves this file, because a newer cluster's fields would be lost on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;

use k8s_openapi::api::batch::v1::Job;
use serde_json::Value;
use serde_path_to_error::{Segment, Track};

use super::FieldProblem;
use super::yaml_1_1::older_meaning;

/// A Job with more different mistakes is named well enough by these, and each costs a reading.
const PROBLEMS_MAX: usize = 50;

/// One step from a value to a value in it.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Key(String),
    Item(usize),
}

/// Everything wrong with the fields of `job`, each problem with its path; empty when it is clean. What is
/// wrong with each item of a list is one problem, shown at the first of them.
pub(super) fn lint(job: &Value) -> Vec<FieldProblem> {
    let (read, unknown) = read(job);
    match read {
        Ok(()) => unknown_problems(unknown, &Kept::default()),
        Err(_) => type_problems(job.clone()),
    }
}

/// Where reading stopped, and why.
type Stopped = (Vec<Step>, String);

/// What stopped the reading, if anything, and the fields that nobody wanted.
fn read(job: &Value) -> (Result<(), Stopped>, Vec<Vec<Step>>) {
    let mut unknown = Vec::new();
    let mut track = Track::new();
    let deserializer = serde_path_to_error::Deserializer::new(job, &mut track);
    let note = |path: serde_ignored::Path<'_>| unknown.push(steps_of_ignored(&path));
    let read = serde_ignored::deserialize::<_, _, Job>(deserializer, note);
    let read = read.map(drop).map_err(|error| {
        let path = track.path();
        let steps = path.iter().filter_map(|segment| match segment {
            Segment::Seq { index } => Some(Step::Item(*index)),
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Enum { .. } | Segment::Unknown => None,
        });
        (steps.collect(), error.to_string())
    });
    (read, unknown)
}

fn steps_of_ignored(path: &serde_ignored::Path<'_>) -> Vec<Step> {
    use serde_ignored::Path;
    let (parent, step) = match path {
        Path::Root => return Vec::new(),
        Path::Seq { parent, index } => (parent, Some(Step::Item(*index))),
        Path::Map { parent, key } => (parent, Some(Step::Key(key.clone()))),
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            (parent, None)
        }
    };
    let mut steps = steps_of_ignored(parent);
    steps.extend(step);
    steps
}

/// serde stops at the first mistake, so what is wrong is taken away until it says nothing more.
fn type_problems(mut job: Value) -> Vec<FieldProblem> {
    let mut problems = Vec::new();
    let mut kept = Kept::default();
    loop {
        let (steps, message) = match read(&job) {
            // Reading stops at a type error; now it sees the unknown fields behind the last one too.
            (Ok(()), unknown) => {
                problems.extend(unknown_problems(unknown, &kept));
                return problems;
            }
            (Err(error), _) => error,
        };
        if problems.len() == PROBLEMS_MAX {
            problems.push(and_more("there are more wrong fields; fix these first".to_owned()));
            return problems;
        }
        problems.push(type_problem(kept.path(&steps), &message));
        if !take(&mut job, &steps, &mut kept) {
            return problems;
        }
    }
}

fn type_problem(path: String, message: &str) -> FieldProblem {
    let word = message.strip_prefix("invalid type: string \"").and_then(|rest| rest.split_once('"'));
    let message = match word {
        Some((word, rest)) if rest.ends_with("a boolean") && older_meaning(word) == Some("a boolean") => {
            format!("`{path}`: `{word}` is a boolean in YAML 1.1 only; write `true` or `false`")
        }
        _ => format!("`{path}`: {message}"),
    };
    FieldProblem { path, spellings: Vec::new(), message }
}

fn unknown_problems(unknown: Vec<Vec<Step>>, kept: &Kept) -> Vec<FieldProblem> {
    let mut met = BTreeSet::new();
    let mut problems = Vec::new();
    let mut more: usize = 0;
    for steps in unknown {
        if !met.insert(general(&steps)) {
            continue;
        }
        if problems.len() == PROBLEMS_MAX {
            more += 1;
            continue;
        }
        let path = kept.path(&steps);
        let message = format!("`{path}` is no field of a Job");
        problems.push(FieldProblem { path, spellings: Vec::new(), message });
    }
    if more > 0 {
        problems.push(and_more(format!("and {more} more that are no fields of a Job")));
    }
    problems
}

fn and_more(message: String) -> FieldProblem {
    FieldProblem { path: String::new(), spellings: Vec::new(), message }
}

/// The same for each item of a list.
fn general(steps: &[Step]) -> String {
    let steps = steps.iter().map(|step| match step {
        Step::Key(key) => key.as_str(),
        Step::Item(_) => "*",
    });
    steps.collect::<Vec<_>>().join(".")
}

/// Of each list that items were taken from, by its path, where those that are left stood at first: paths are
/// shown as the user's, who has not taken any away.
#[derive(Default)]
struct Kept(BTreeMap<String, Vec<usize>>);

impl Kept {
    fn path(&self, steps: &[Step]) -> String {
        steps.iter().fold(String::new(), |path, step| match step {
            Step::Key(key) => joined(&path, key),
            Step::Item(index) => joined(&path, &self.first_index(&path, *index).to_string()),
        })
    }

    fn first_index(&self, list: &str, index: usize) -> usize {
        self.0.get(list).and_then(|kept| kept.get(index)).copied().unwrap_or(index)
    }
}

fn joined(path: &str, step: &str) -> String {
    match path {
        "" => step.to_owned(),
        path => format!("{path}.{step}"),
    }
}

/// Takes away what stands at `steps`, and in the other items of the lists on the way what stands at the same
/// place and is of the same type: what a loop writes wrong, it writes wrong in each round. False where
/// nothing stands there.
fn take(job: &mut Value, steps: &[Step], kept: &mut Kept) -> bool {
    let Some(wrong) = at(job, steps).map(discriminant) else { return false };
    take_alike(job, steps, wrong, "", kept);
    true
}

fn at<'a>(job: &'a Value, steps: &[Step]) -> Option<&'a Value> {
    steps.iter().try_fold(job, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Item(index) => value.get(index),
    })
}

fn take_alike(
    value: &mut Value,
    steps: &[Step],
    wrong: std::mem::Discriminant<Value>,
    path: &str,
    kept: &mut Kept,
) {
    let is_wrong = |value: &Value| discriminant(value) == wrong;
    match (value, steps) {
        (Value::Object(fields), [Step::Key(key)]) if fields.get(key).is_some_and(is_wrong) => {
            fields.remove(key);
        }
        (Value::Object(fields), [Step::Key(key), rest @ ..]) => {
            if let Some(value) = fields.get_mut(key) {
                take_alike(value, rest, wrong, &joined(path, key), kept);
            }
        }
        (Value::Array(items), [Step::Item(_)]) => {
            let indexes = kept.0.entry(path.to_owned()).or_insert_with(|| (0..items.len()).collect());
            let mut all = items.iter();
            indexes.retain(|_| !all.next().is_some_and(is_wrong));
            items.retain(|item| !is_wrong(item));
        }
        (Value::Array(items), [Step::Item(_), rest @ ..]) => {
            for (index, item) in items.iter_mut().enumerate() {
                let index = kept.first_index(path, index).to_string();
                take_alike(item, rest, wrong, &joined(path, &index), kept);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(containers: Value, more: Value) -> Vec<String> {
        let mut pod = more;
        pod["containers"] = containers;
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": pod}}});
        lint(&job).into_iter().map(|problem| problem.message.replace("spec.template.spec.", "")).collect()
    }

    #[test]
    fn a_wrong_type_in_each_container_is_shown_once_at_its_own_place_and_hides_nothing() {
        let container = json!({"name": "a", "image": 5, "args": [1, "b"], "comand": [], "tty": "yes"});
        for count in [1, 2, 100, 5000] {
            let containers = Value::Array(vec![container.clone(); count]);
            assert_eq!(
                found(containers, json!({"hostPID": 1, "volumes": "v"})),
                [
                    "`containers.0.args.0`: invalid type: integer `1`, expected a string",
                    "`containers.0.image`: invalid type: integer `5`, expected a string",
                    "`containers.0.tty`: `yes` is a boolean in YAML 1.1 only; write `true` or `false`",
                    "`hostPID`: invalid type: integer `1`, expected a boolean",
                    "`volumes`: invalid type: string \"v\", expected a sequence",
                    "`containers.0.comand` is no field of a Job",
                ]
            );
        }
    }

    #[test]
    fn paths_are_those_of_the_whole_list() {
        let containers = json!([
            1,
            {"name": "a", "args": [true, "x", {}, "y", []]},
            "text",
            {"name": "b", "wrong": 1, "env": [{"name": 1}, {"nmae": "x"}]},
        ]);
        assert_eq!(
            found(containers, json!({})),
            [
                "`containers.0`: invalid type: integer `1`, expected Container",
                "`containers.1.args.0`: invalid type: boolean `true`, expected a string",
                "`containers.1.args.2`: invalid type: map, expected a string",
                "`containers.1.args.4`: invalid type: sequence, expected a string",
                "`containers.2`: invalid type: string \"text\", expected Container",
                "`containers.3.env.0.name`: invalid type: integer `1`, expected a string",
                "`containers.3.env.1.nmae` is no field of a Job",
                "`containers.3.wrong` is no field of a Job",
            ]
        );
    }

    #[test]
    fn how_many_more_there_are_is_said() {
        let fields =
            |value: Value| Value::Object((0..60).map(|n| (format!("x{n:02}"), value.clone())).collect());
        let unknown = found(json!([]), fields(json!(1)));
        assert_eq!(unknown.len(), 51);
        assert_eq!(unknown[50], "and 10 more that are no fields of a Job");
        let wrong = found(json!([]), json!({"nodeSelector": fields(json!(1))}));
        assert_eq!(wrong.len(), 51);
        assert_eq!(wrong[50], "there are more wrong fields; fix these first");
    }
}
