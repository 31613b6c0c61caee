//! Labels and annotations of the pods: what the API server takes, and which of them are not a user's to
//! set. Pure.

use serde_json::{Map, Value};

use super::{GroupValues, described, wrong_type};
use crate::config::code::Code;
use crate::config::file::{Findings, Path, Target};
use crate::config::name::{is_label_key, is_label_value};
use crate::config::template::TemplateName;

/// Labels that the controller writes onto every Job and pod.
pub const OWNED_LABELS: [&str; 6] = [
    "app.kubernetes.io/component",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/name",
    "quayctl-controller/group",
    "quayctl-controller/run",
];
/// Annotations that the controller writes onto every Job and pod, or onto a Job that has ended.
pub const OWNED_ANNOTATIONS: [&str; 4] = [
    "quayctl-controller/content",
    "quayctl-controller/images",
    "quayctl-controller/node",
    "quayctl-controller/outcome",
];

/// Labels that Kubernetes gives the pods of a Job; the API server refuses a Job that sets another value,
/// and nobody knows the right one beforehand.
const OF_THE_JOB_CONTROLLER: [&str; 4] =
    ["batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "job-name"];

/// Keys and values of all annotations of one object: `TotalAnnotationSizeLimitB` of apimachinery.
const ANNOTATIONS_BYTES_MAX: usize = 256 << 10;
/// A node's name is a DNS-1123 subdomain, a content 64 hexadecimal digits.
const NODE_BYTES_MAX: usize = 253;
const CONTENT_BYTES: usize = 64;

pub fn is_of_the_job_controller(label: &str) -> bool {
    OF_THE_JOB_CONTROLLER.contains(&label)
}

pub fn labels(labels: &Map<String, Value>, path: &Path, findings: &mut Findings) {
    for (key, value) in labels {
        let path = path.key(key);
        if !is_label_key(key) {
            wrong_key(key, &path, "label", findings);
            continue;
        }
        if is_of_the_job_controller(key) {
            let message =
                format!("the label `{key}` is set by Kubernetes itself, which refuses any other value");
            findings.error(Code::BadValue, (&path, Target::Key), message, "choose another key");
            continue;
        }
        owned(key, &OWNED_LABELS, &path, "label", findings);
        match value {
            Value::String(text) if is_label_value(text) => {}
            Value::String(text) => wrong_label_value(text, &path, findings),
            other => wrong_type(&path, "a string", other, findings),
        }
    }
}

pub fn annotations(
    annotations: &Map<String, Value>,
    path: &Path,
    group: &GroupValues<'_>,
    findings: &mut Findings,
) {
    let mut size = 0;
    for (key, value) in annotations {
        let path = path.key(key);
        size += key.len() + value.as_str().map_or(0, str::len);
        // Upper case is allowed where a label's key has none.
        if !is_label_key(&key.to_ascii_lowercase()) {
            wrong_key(key, &path, "annotation", findings);
            continue;
        }
        owned(key, &OWNED_ANNOTATIONS, &path, "annotation", findings);
        match value {
            Value::String(text) => known_annotation(key, text, &path, group, findings),
            other => wrong_type(&path, "a string", other, findings),
        }
    }
    // `["a","b"]`
    let images = 2 + group.image_lengths.iter().map(|length| length + 3).sum::<usize>();
    let ours = OWNED_ANNOTATIONS.iter().map(|key| key.len()).sum::<usize>();
    let size_max = ANNOTATIONS_BYTES_MAX - (ours + images + NODE_BYTES_MAX + CONTENT_BYTES);
    if size > size_max {
        let message = format!("{size} bytes of annotations are too many");
        let help =
            format!("use at most {size_max}: the API server takes 256 KiB, the controller's own included");
        findings.error(Code::BadValue, path, message, help);
    }
}

pub fn wrong_label_value(text: &str, path: &Path, findings: &mut Findings) {
    let help = "use at most 63 letters, digits, dashes, underscores and dots, with a letter or digit at both \
                ends";
    findings.error(Code::BadValue, path, format!("invalid label value {text:?}"), help);
}

pub fn wrong_key(key: &str, path: &Path, what: &str, findings: &mut Findings) {
    let help = "use 1 to 63 letters, digits, dashes, underscores and dots, with a letter or digit at both \
                ends; a DNS name and a slash may stand before, as `example.com/team`";
    findings.error(Code::BadValue, (path, Target::Key), format!("invalid {what} key {key:?}"), help);
}

/// Warns of a key that is ours; whether it is.
pub fn owned(key: &str, ours: &[&str], path: &Path, what: &str, findings: &mut Findings) -> bool {
    let is_ours = ours.contains(&key);
    if is_ours {
        let message = format!("the {what} `{key}` is the controller's own, so this value has no effect");
        findings.warning(Code::OwnedField, (path, Target::Key), message, "remove it");
    }
    is_ours
}

/// Annotations whose value the API server reads.
fn known_annotation(key: &str, text: &str, path: &Path, group: &GroupValues<'_>, findings: &mut Findings) {
    let is_default_profile = matches!(text, "runtime/default" | "docker/default");
    let seccomp =
        ["seccomp.security.alpha.kubernetes.io/pod", "container.seccomp.security.alpha.kubernetes.io/"];
    let wrong = match key {
        "kubernetes.io/config.mirror" => "only the kubelet's own pods have it",
        "scheduler.alpha.kubernetes.io/tolerations" => "a group's `tolerations` say that",
        "controller.kubernetes.io/pod-deletion-cost" if !is_deletion_cost(text) => {
            "its value is a whole number from -2147483648 to 2147483647"
        }
        _ if seccomp.iter().any(|known| key.starts_with(known)) && !is_default_profile => {
            "the pods have the seccomp profile \"runtime/default\""
        }
        _ => match key.strip_prefix("container.apparmor.security.beta.kubernetes.io/") {
            Some(container) if !has_container(group, container) => "the pods have no such container",
            Some(_) if !(matches!(text, "" | "runtime/default") || text.starts_with("localhost/")) => {
                "its value is \"runtime/default\" or \"localhost/PROFILE\""
            }
            _ => return,
        },
    };
    let message = format!("the annotation `{key}` cannot be {}: {wrong}", described(&Value::from(text)));
    findings.error(Code::BadValue, path, message, "remove it, or change its value");
}

/// As `GetDeletionCostFromPodAnnotations` reads it.
fn is_deletion_cost(text: &str) -> bool {
    let starts_well = text == "0" || text.starts_with(['-', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
    starts_well && text.parse::<i32>().is_ok()
}

/// Whether every pod of the group has a container of this name.
fn has_container(group: &GroupValues<'_>, name: &str) -> bool {
    let index = name.strip_prefix("image-").and_then(|index| index.parse::<usize>().ok());
    let is_images = index.is_some_and(|at| at < group.image_lengths.len() && name == format!("image-{at}"));
    is_images
        || (name == "install" && *group.template == TemplateName::Helper)
        || (name == "done" && *group.template == TemplateName::Quayctl)
}
