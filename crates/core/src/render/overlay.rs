//! Writes who a Job is and when it ends over what the template said. Pure.
//!
//! The template owns the shape of the pod; this file owns name, labels, node, deadline and all that
//! decides whether the Job ends. What it replaces it says, by the field's name. It never looks at
//! containers or volumes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::config::Toleration;
use crate::plan::PlannedJob;

use super::label::{self, annotation};

/// Pod failures a Job may have. Three, because a node that reboots or evicts twice within a
/// deadline of minutes is busy with other things than our pull.
const BACKOFF_LIMIT: u32 = 3;

/// What a template may say in `metadata`, of the Job and of its pod.
const METADATA_OF_TEMPLATES: [&str; 3] = ["annotations", "finalizers", "labels"];

/// Fields of a Job that would keep it from starting or from being ours, so they go:
/// a suspended Job waits for ever, `managedBy` gives it to another controller, a selector of one's
/// own can claim foreign pods, and beside a pod failure policy the API server takes no
/// `podReplacementPolicy` but its default.
const NEVER_IN_JOB: [&str; 5] =
    ["managedBy", "manualSelector", "podReplacementPolicy", "selector", "suspend"];

/// Fields of the pod that go: `nodeName` skips the scheduler, `schedulingGates` stop it, and
/// `serviceAccount` is the old name of the field that is ours.
const NEVER_IN_POD: [&str; 3] = ["nodeName", "schedulingGates", "serviceAccount"];

/// Makes `body` the Job that `job` plans; returns a warning for each field it had to replace.
///
/// `body` has passed `lint`, so every field has the type the API gives it, or is null or missing.
pub(super) fn overlay(body: &mut Value, job: &PlannedJob) -> Vec<String> {
    let mut owned = Owned::default();
    let body = object(body);
    owned.only(body, "", &["apiVersion", "kind", "metadata", "spec"]);

    let metadata = child(body, "metadata");
    owned.set(metadata, "metadata.", "name", json!(job.name));
    owned.set(metadata, "metadata.", "namespace", json!(job.namespace));
    let mut kept = METADATA_OF_TEMPLATES.to_vec();
    kept.extend(["name", "namespace"]);
    owned.only(metadata, "metadata.", &kept);
    let group = &job.group;
    insert_all(child(metadata, "labels"), &group.job_labels);
    let annotations = child(metadata, "annotations");
    insert_all(annotations, &group.job_annotations);
    for (key, value) in label::ARGO_CD {
        annotations.entry(key).or_insert_with(|| json!(value));
    }
    owned.identity(metadata, "metadata.", job);

    let spec = child(body, "spec");
    for field in NEVER_IN_JOB {
        owned.remove(spec, "spec.", field);
    }
    for (field, value) in [
        ("activeDeadlineSeconds", json!(group.deadline_seconds)),
        ("backoffLimit", json!(BACKOFF_LIMIT)),
        ("completions", json!(1)),
        ("parallelism", json!(1)),
        ("podFailurePolicy", pod_failure_policy()),
        ("ttlSecondsAfterFinished", json!(group.keep_jobs_seconds)),
    ] {
        owned.set(spec, "spec.", field, value);
    }

    let template = child(spec, "template");
    let metadata = child(template, "metadata");
    owned.only(metadata, "spec.template.metadata.", &METADATA_OF_TEMPLATES);
    owned.identity(metadata, "spec.template.metadata.", job);

    let pod = child(template, "spec");
    for field in NEVER_IN_POD {
        owned.remove(pod, "spec.template.spec.", field);
    }
    for (field, value) in
        [("restartPolicy", json!("Never")), ("serviceAccountName", json!(group.service_account))]
    {
        owned.set(pod, "spec.template.spec.", field, value);
    }
    // Replaced and not extended: the terms of a node affinity are ORed, so one of the template's
    // beside ours would let the pod go to another node.
    let affinity = child(child(pod, "affinity"), "nodeAffinity");
    owned.set(
        affinity,
        "spec.template.spec.affinity.nodeAffinity.",
        "requiredDuringSchedulingIgnoredDuringExecution",
        node_pin(&job.node.name),
    );
    unite(pod, "tolerations", group.tolerations.iter().map(toleration));
    unite(pod, "imagePullSecrets", group.pull_secrets.iter().map(|name| json!({"name": name})));
    owned.warnings
}

/// Ends the Job only for what its pod did itself: a drained or preempted pod does not count.
fn pod_failure_policy() -> Value {
    json!({"rules": [{
        "action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }]})
}

/// As the DaemonSet controller pins its pods. Through the scheduler, so taints and resources
/// still count; by name and not by the hostname label, which may differ from it.
fn node_pin(node: &str) -> Value {
    json!({"nodeSelectorTerms": [{
        "matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}],
    }]})
}

fn toleration(toleration: &Toleration) -> Value {
    let Toleration { key, operator, value, effect, toleration_seconds } = toleration;
    let mut fields = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        fields.extend(value.map(|value| (name.to_owned(), value)));
    };
    put("key", key.as_ref().map(|key| json!(key)));
    put("operator", Some(json!(operator.as_str())));
    put("value", value.as_ref().map(|value| json!(value)));
    put("effect", effect.map(|effect| json!(effect.as_str())));
    put("tolerationSeconds", toleration_seconds.map(|seconds| json!(seconds)));
    Value::Object(fields)
}

/// Appends to the list `field` what it does not hold yet.
fn unite(pod: &mut Map<String, Value>, field: &str, ours: impl Iterator<Item = Value>) {
    let mut united = match pod.remove(field) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    for item in ours {
        if !united.contains(&item) {
            united.push(item);
        }
    }
    if !united.is_empty() {
        pod.insert(field.to_owned(), Value::Array(united));
    }
}

/// A group's own word beats its template's.
fn insert_all(fields: &mut Map<String, Value>, entries: &BTreeMap<String, String>) {
    fields.extend(entries.iter().map(|(key, value)| (key.clone(), json!(value))));
}

/// The object in `field`, made where the template has none.
fn child<'a>(parent: &'a mut Map<String, Value>, field: &str) -> &'a mut Map<String, Value> {
    object(parent.entry(field).or_insert(Value::Null))
}

#[expect(clippy::expect_used, reason = "the line above makes it an object")]
fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("an object by the line above")
}

/// Writes the fields that are ours and notes which of the template's had to yield.
#[derive(Default)]
struct Owned {
    warnings: Vec<String>,
}

impl Owned {
    /// `path` is what leads to `field`, with its final dot.
    fn set(&mut self, at: &mut Map<String, Value>, path: &str, field: &str, value: Value) {
        let before = at.insert(field.to_owned(), value);
        let differs = |before: &Value| !before.is_null() && Some(before) != at.get(field);
        if before.as_ref().is_some_and(differs) {
            self.warnings.push(format!(
                "template sets `{path}{field}`, which the controller owns; its value is replaced"
            ));
        }
    }

    fn remove(&mut self, from: &mut Map<String, Value>, path: &str, field: &str) {
        let Some(before) = from.remove(field) else {
            return;
        };
        // `suspend: false` and what `kubectl create --dry-run` prints (`status: {}`,
        // `creationTimestamp: null`) say nothing, so nothing is lost with them.
        let says_nothing = match &before {
            Value::Null | Value::Bool(false) => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            _ => false,
        };
        if !says_nothing {
            self.warnings
                .push(format!("template sets `{path}{field}`, which the controller owns; it is removed"));
        }
    }

    fn only(&mut self, of: &mut Map<String, Value>, path: &str, kept: &[&str]) {
        let others: Vec<String> = of.keys().cloned().collect();
        for field in others.iter().filter(|field| !kept.contains(&field.as_str())) {
            self.remove(of, path, field);
        }
    }

    /// Labels and annotations: what adopting, watching and reporting find the Job and its pod by.
    fn identity(&mut self, metadata: &mut Map<String, Value>, path: &str, job: &PlannedJob) {
        let labels = child(metadata, "labels");
        let path_to_labels = format!("{path}labels.");
        for (key, value) in [
            (label::NAME, label::NAME_VALUE),
            (label::COMPONENT, label::COMPONENT_VALUE),
            (label::MANAGED_BY, label::MANAGED_BY_VALUE),
            (label::INSTANCE, &*job.identity.instance),
            (label::GROUP, &*job.group.name),
            (label::RUN, job.identity.run_id.as_str()),
        ] {
            self.set(labels, &path_to_labels, key, json!(value));
        }
        let images: Vec<String> = job.group.images.iter().map(ToString::to_string).collect();
        let annotations = child(metadata, "annotations");
        let path_to_annotations = format!("{path}annotations.");
        // A Job that bears one is over for us.
        self.remove(annotations, &path_to_annotations, annotation::OUTCOME);
        for (key, value) in [
            (annotation::NODE, job.node.name.clone()),
            (annotation::IMAGES, json!(images).to_string()),
            (annotation::CONTENT, job.content.to_string()),
        ] {
            self.set(annotations, &path_to_annotations, key, json!(value));
        }
    }
}
