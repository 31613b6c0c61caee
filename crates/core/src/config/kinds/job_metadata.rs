//! `job_labels` and `job_annotations`: what a group's Jobs bear for those who watch over a cluster, such as
//! a queue (Kueue's `kueue.x-k8s.io/queue-name`) or a policy that asks for an owner. Pure.
//!
//! They are the Job's own; its pods' are `values.pod_labels` and `values.pod_annotations`, or the template's.

use std::collections::BTreeMap;

use figment::value::Value;
use serde_json::json;

use super::{Defs, Kind, Variable};
use crate::config::code::Code;
use crate::config::file::{Findings, Path, Table, Target, string};
use crate::config::name::{is_label_key, is_label_value};
use crate::config::values::check::metadata::{
    OWNED_ANNOTATIONS, OWNED_LABELS, owned, wrong_key, wrong_label_value,
};

/// Half of what the API server takes (`TotalAnnotationSizeLimitB` of apimachinery, 256 KiB): ours, which
/// grow with the images, and the template's come on top.
const ANNOTATIONS_BYTES_MAX: usize = 128 << 10;

/// Keys to values, without those that are ours.
pub type Entries = BTreeMap<String, String>;

fn schema() -> serde_json::Value {
    json!({"additionalProperties": {"type": "string"}, "type": "object"})
}

#[derive(Debug)]
pub struct JobLabels;

impl Kind for JobLabels {
    type Value = Entries;
    const VARIABLE: Variable = Variable::Table;

    fn schema(_: &mut Defs) -> serde_json::Value {
        schema()
    }

    fn read(value: &Value, path: &Path, findings: &mut Findings) -> Option<Entries> {
        Some(labels(&Table::of(value, path.clone(), findings)?, findings))
    }
}

#[derive(Debug)]
pub struct JobAnnotations;

impl Kind for JobAnnotations {
    type Value = Entries;
    const VARIABLE: Variable = Variable::Table;

    fn schema(_: &mut Defs) -> serde_json::Value {
        schema()
    }

    fn read(value: &Value, path: &Path, findings: &mut Findings) -> Option<Entries> {
        Some(annotations(&Table::of(value, path.clone(), findings)?, findings))
    }
}

fn labels(table: &Table<'_>, findings: &mut Findings) -> Entries {
    let mut entries = Entries::new();
    for (key, value, path) in table.entries() {
        if !is_label_key(key) {
            wrong_key(key, &path, "label", findings);
            continue;
        }
        let is_ours = owned(key, &OWNED_LABELS, &path, "label", findings);
        match string(value, &path, findings) {
            Some(text) if !is_label_value(text) => wrong_label_value(text, &path, findings),
            Some(text) if !is_ours => drop(entries.insert(key.clone(), text.to_owned())),
            _ => {}
        }
    }
    entries
}

fn annotations(table: &Table<'_>, findings: &mut Findings) -> Entries {
    let mut entries = Entries::new();
    for (key, value, path) in table.entries() {
        // Upper case is allowed where a label's key has none.
        if !is_label_key(&key.to_ascii_lowercase()) {
            wrong_key(key, &path, "annotation", findings);
            continue;
        }
        let is_ours = owned(key, &OWNED_ANNOTATIONS, &path, "annotation", findings);
        match string(value, &path, findings) {
            Some(text) if !is_ours => drop(entries.insert(key.clone(), text.to_owned())),
            _ => {}
        }
    }
    too_many_bytes(&entries, &table.path, findings);
    entries
}

fn too_many_bytes(annotations: &Entries, path: &Path, findings: &mut Findings) {
    let bytes: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > ANNOTATIONS_BYTES_MAX {
        let message = format!("{bytes} bytes of annotations are too many");
        let help = format!("use at most {ANNOTATIONS_BYTES_MAX}: the controller's own come on top");
        findings.error(Code::BadValue, (path, Target::Key), message, help);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::GroupTable;
    use figment::value::Dict;

    fn read(toml: &str) -> (GroupTable, Vec<String>) {
        let tree: Dict = toml::from_str(toml).unwrap();
        let mut findings = Findings::default();
        let found = GroupTable::read(&mut Table::root(&tree), &mut findings);
        let said = findings.0.iter().map(|finding| format!("{}: {}", finding.path, finding.message));
        (found, said.collect())
    }

    #[test]
    fn what_the_api_server_takes_is_taken() {
        let toml = "job_labels = { 'kueue.x-k8s.io/queue-name' = 'pulls', team = '' }\n\
                    job_annotations = { 'Example.com/Owner' = 'a, b and c', 'x' = '' }";
        let (found, said) = read(toml);
        assert_eq!(said, [""; 0]);
        let labels = found.job_labels.flatten().unwrap();
        assert_eq!(labels["kueue.x-k8s.io/queue-name"], "pulls");
        assert_eq!((labels.len(), found.job_annotations.flatten().unwrap().len()), (2, 2));
    }

    #[test]
    fn what_it_refuses_is_said_at_its_place() {
        for (toml, place) in [
            ("job_labels = { '-a' = 'b' }", "job_labels.-a: invalid label key"),
            ("job_labels = { a = 'b c' }", "job_labels.a: invalid label value"),
            ("job_labels = { a = 1 }", "job_labels.a: expected a string"),
            ("job_labels = ['a']", "job_labels: expected a table"),
            ("job_annotations = { 'a b' = 'c' }", "job_annotations.a b: invalid annotation key"),
            ("job_annotations = { a = true }", "job_annotations.a: expected a string"),
        ] {
            let (_, said) = read(toml);
            assert!(said.len() == 1 && said[0].starts_with(place), "{toml}: {said:?}");
        }
        let (_, said) = read(&format!("job_annotations = {{ a = '{}' }}", "x".repeat(ANNOTATIONS_BYTES_MAX)));
        assert!(said.len() == 1 && said[0].contains("too many"), "{said:?}");
    }

    #[test]
    fn what_is_ours_is_named_and_left_out() {
        let toml = "job_labels = { 'quayctl-controller/run' = 'x' }\n\
                    job_annotations = { 'quayctl-controller/outcome' = 'x' }";
        let (found, said) = read(toml);
        assert_eq!(
            (found.job_labels.flatten().unwrap().len(), found.job_annotations.flatten().unwrap().len()),
            (0, 0)
        );
        assert!(
            said.len() == 2 && said.iter().all(|words| words.contains("the controller's own")),
            "{said:?}"
        );
    }

    #[test]
    fn a_groups_own_table_replaces_the_defaults() {
        let (group, _) = read("job_labels = { a = '1' }");
        let (defaults, _) = read("job_labels = { b = '2' }\njob_annotations = { c = '3' }");
        let found = group.over(&defaults);
        assert_eq!(found.job_labels.flatten().unwrap().into_keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(found.job_annotations.flatten().unwrap().into_keys().collect::<Vec<_>>(), ["c"]);
    }
}
