//! Values of fields that the API server would refuse on every node. Pure.
//!
//! Not Kubernetes' whole validation, but what people get wrong in a pod: quantities, requests above limits,
//! names, label keys and values, users, environment, ports, mounts, volumes of two sources, and words of
//! which only some are known. Each rule is at most as strict as the API servers of Kubernetes 1.31 to 1.37
//! are, but for two quantities that nobody can mean (`config/values/quantity.rs`). The rules are those of
//! `pkg/apis/core/validation/validation.go` and of apimachinery's `pkg/util/validation`, by the function that
//! is named beside each; a test asks a real API server whether it agrees.
//!
//! What the controller writes itself is left out: it replaces what a template says there.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use crate::config::name::{is_label, is_label_key, is_label_value, is_subdomain};
use crate::config::values::USER_ID_MAX;
use crate::config::values::check::is_of_the_job_controller;
use crate::config::values::quantity::Quantity;

use super::FieldProblem;

/// More mistakes of a Job are named well enough by these.
const PROBLEMS_MAX: usize = 50;

/// What is wrong with a value, in words; `None` where nothing is.
type Wrong = Option<String>;

/// What holds for a field.
enum Rule {
    /// For the value.
    Value(fn(&Value) -> Wrong),
    /// For each key and its value.
    Entries(fn(&str, &Value) -> Wrong),
    /// The text is one of these.
    OneOf(&'static [&'static str]),
    /// The items differ in this field: what an item is, the field.
    Distinct(&'static str, &'static str),
}

use Rule::{Distinct, Entries, OneOf, Value as Each};

/// Where a rule holds, from the Job down: `*` is each item of a list or value of a table, `a|b` both fields.
const RULES: [(&str, Rule); 34] = [
    // ValidateLabels; of a node selector ValidatePodSpec asks the same.
    ("metadata.labels", Entries(label)),
    ("spec.template.metadata.labels", Entries(pod_label)),
    ("spec.template.spec.nodeSelector", Entries(label)),
    // ValidateAnnotations
    ("metadata.annotations", Entries(annotation)),
    ("spec.template.metadata.annotations", Entries(annotation)),
    // validateContainers, validateContainerCommon
    ("spec.template.spec", Each(has_container)),
    ("spec.template.spec.containers|initContainers", Distinct("container", "name")),
    ("spec.template.spec.containers|initContainers.*.name", Each(dns_label)),
    ("spec.template.spec.containers|initContainers.*", Each(has_image)),
    (
        "spec.template.spec.containers|initContainers.*.imagePullPolicy",
        OneOf(&["Always", "IfNotPresent", "Never"]),
    ),
    (
        "spec.template.spec.containers|initContainers.*.terminationMessagePolicy",
        OneOf(&["FallbackToLogsOnError", "File"]),
    ),
    // ValidateContainerResourceRequirements
    ("spec.template.spec.containers|initContainers.*.resources.limits|requests", Entries(resource)),
    ("spec.template.spec.containers|initContainers.*.resources", Each(requests_fit_limits)),
    // ValidateEnv, IsRelaxedEnvVarName
    ("spec.template.spec.containers|initContainers.*.env.*.name", Each(environment_name)),
    // validateContainerPorts
    ("spec.template.spec.containers|initContainers.*.ports.*.containerPort", Each(port)),
    ("spec.template.spec.containers|initContainers.*.ports.*.hostPort", Each(host_port)),
    ("spec.template.spec.containers|initContainers.*.ports.*.protocol", OneOf(&["SCTP", "TCP", "UDP"])),
    // ValidateVolumeMounts, and `check_mounts`
    ("spec.template.spec.containers|initContainers.*.volumeMounts.*.name", Each(not_empty)),
    ("spec.template.spec.containers|initContainers.*.volumeMounts.*.mountPath", Each(not_empty)),
    ("spec.template.spec.containers|initContainers.*.volumeMounts", Distinct("mount", "mountPath")),
    // ValidateSecurityContext and ValidatePodSecurityContext, IsValidUserID
    ("spec.template.spec.containers|initContainers.*.securityContext.runAsGroup|runAsUser", Each(id)),
    ("spec.template.spec.securityContext.fsGroup|runAsGroup|runAsUser", Each(id)),
    ("spec.template.spec.securityContext.supplementalGroups.*", Each(id)),
    // ValidateVolumes, validateVolumeSource
    ("spec.template.spec.volumes", Distinct("volume", "name")),
    ("spec.template.spec.volumes.*.name", Each(dns_label)),
    ("spec.template.spec.volumes.*", Each(one_source)),
    ("spec.template.spec.volumes.*.emptyDir.sizeLimit", Each(quantity)),
    // ValidatePodSpec
    ("spec.template.spec.hostname|subdomain", Each(dns_label)),
    ("spec.template.spec.priorityClassName|runtimeClassName", Each(subdomain)),
    ("spec.template.spec.dnsPolicy", OneOf(&["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"])),
    ("spec.template.spec.preemptionPolicy", OneOf(&["Never", "PreemptLowerPriority"])),
    // ValidateTolerations
    ("spec.template.spec.tolerations.*.key", Each(toleration_key)),
    ("spec.template.spec.tolerations.*.effect", OneOf(&["", "NoExecute", "NoSchedule", "PreferNoSchedule"])),
    ("spec.template.spec.tolerations.*.operator", OneOf(&["", "Equal", "Exists", "Gt", "Lt"])),
];

/// Everything wrong with the values of `job`, which has passed `lint`; each mistake once, at the first of the
/// items that have it.
pub(super) fn check(job: &Value) -> Vec<FieldProblem> {
    let mut found = Found::default();
    for (at, rule) in &RULES {
        each_at(job, at, &Path::Root, &mut |path, value| rule.check(path, value, &mut found));
    }
    check_mounts(job, &mut found);
    found.problems
}

impl Rule {
    fn check(&self, path: &Path<'_>, value: &Value, found: &mut Found) {
        match self {
            Each(wrong) => found.note(path, Some(value), wrong(value)),
            Entries(wrong) => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    let is_key_fine = wrong(key, &Value::Null).is_none();
                    match is_key_fine {
                        true => found.note(&Path::Key(path, key), Some(value), wrong(key, value)),
                        false => found.note(path, Some(&Value::from(key.as_str())), wrong(key, &Value::Null)),
                    }
                }
            }
            OneOf(known) => {
                if let Some(text) = value.as_str().filter(|text| !known.contains(text)) {
                    let known: Vec<&str> = known.iter().copied().filter(|word| !word.is_empty()).collect();
                    let wrong = format!("{text:?} is unknown; use one of {}", known.join(", "));
                    found.note(path, Some(value), Some(wrong));
                }
            }
            Distinct(what, field) => {
                let mut met = BTreeSet::new();
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    let Some(text) = item[*field].as_str().filter(|text| !text.is_empty()) else { continue };
                    if !met.insert(text) {
                        let wrong = format!("another {what} has {text:?} already; each needs its own");
                        found.note(&Path::Key(&Path::Item(path, index), field), None, Some(wrong));
                    }
                }
            }
        }
    }
}

/// Calls `visit` with what stands at `at` below `value`, unless that is null, and with its path.
fn each_at(value: &Value, at: &str, path: &Path<'_>, visit: &mut dyn FnMut(&Path<'_>, &Value)) {
    if value.is_null() {
        return;
    }
    if at.is_empty() {
        return visit(path, value);
    }
    let (step, rest) = at.split_once('.').unwrap_or((at, ""));
    match (step, value) {
        ("*", Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                each_at(item, rest, &Path::Item(path, index), visit);
            }
        }
        (names, Value::Object(fields)) => {
            for name in names.split('|') {
                if let Some(value) = fields.get(name) {
                    each_at(value, rest, &Path::Key(path, name), visit);
                }
            }
        }
        _ => {}
    }
}

/// What leads to a value. Written out only where something is wrong with it, since 5,000 Jobs are judged.
enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Key(Path::Root, key) => f.write_str(key),
            Path::Key(parent, key) => write!(f, "{parent}.{key}"),
            Path::Item(parent, index) => write!(f, "{parent}.{index}"),
        }
    }
}

/// Problems so far, each mistake once.
#[derive(Default)]
struct Found {
    problems: Vec<FieldProblem>,
    met: BTreeSet<String>,
}

impl Found {
    /// `value` is what is to blame, where that is one scalar.
    fn note(&mut self, path: &Path<'_>, value: Option<&Value>, wrong: Wrong) {
        let Some(wrong) = wrong else { return };
        let spellings = value.map(spellings).unwrap_or_default();
        let message = format!("`{path}`: {wrong}");
        let problem = FieldProblem { path: path.to_string(), spellings, message };
        let is_new = self.problems.len() < PROBLEMS_MAX && self.met.insert(problem.alike());
        if is_new {
            self.problems.push(problem);
        }
    }
}

/// How a template may have written a scalar.
fn spellings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone(), format!("\"{text}\""), format!("'{text}'")],
        Value::Number(number) => vec![number.to_string()],
        _ => Vec::new(),
    }
}

const LABEL_HELP: &str = "use at most 63 letters, digits, dashes, underscores and dots, with a letter or digit at \
                          both ends";
const NAME_HELP: &str = "use lower-case letters, digits and dashes";

/// Keys are judged with `Null` for the value.
fn label(key: &str, value: &Value) -> Wrong {
    if !is_label_key(key) {
        return Some(format!(
            "invalid label key {key:?}; {LABEL_HELP}, and a DNS name and a slash before where needed"
        ));
    }
    let text = value.as_str().filter(|text| !is_label_value(text))?;
    Some(format!("invalid label value {text:?}; {LABEL_HELP}"))
}

/// Job's `ValidateGeneratedSelector`.
fn pod_label(key: &str, value: &Value) -> Wrong {
    match is_of_the_job_controller(key) {
        true => Some(format!(
            "the label `{key}` is set by Kubernetes itself, which refuses any other value; remove it"
        )),
        false => label(key, value),
    }
}

fn annotation(key: &str, _: &Value) -> Wrong {
    // Upper case is allowed where a label's key has none.
    let wrong = !is_label_key(&key.to_ascii_lowercase());
    wrong.then(|| {
        format!(
            "invalid annotation key {key:?}; {LABEL_HELP}, and a DNS name and a slash before where needed"
        )
    })
}

fn has_container(pod: &Value) -> Wrong {
    items(pod, "containers").is_empty().then(|| "the pod has no container; write at least one".to_owned())
}

fn has_image(container: &Value) -> Wrong {
    let has = container["image"].as_str().is_some_and(|image| !image.is_empty());
    (!has).then(|| "the container has no `image`; name one".to_owned())
}

fn dns_label(name: &Value) -> Wrong {
    let text = name.as_str().filter(|text| !is_label(text))?;
    Some(format!(
        "invalid name {text:?}; {NAME_HELP}, at most 63 of them, with a letter or digit at both ends"
    ))
}

fn subdomain(name: &Value) -> Wrong {
    let text = name.as_str().filter(|text| !text.is_empty() && !is_subdomain(text))?;
    Some(format!("invalid name {text:?}; {NAME_HELP} and dots, with a letter or digit at both ends"))
}

fn not_empty(text: &Value) -> Wrong {
    (text.as_str() == Some("")).then(|| "it is empty; write one".to_owned())
}

fn parsed(value: &Value) -> Option<Result<Quantity, String>> {
    match value {
        Value::String(text) => Some(Quantity::parse(text)),
        Value::Number(number) => Some(Quantity::parse(&number.to_string())),
        _ => None,
    }
}

fn quantity(value: &Value) -> Wrong {
    let wrong = parsed(value)?.err()?;
    Some(format!("invalid quantity {value}: {wrong}"))
}

/// `validateContainerResourceName`.
fn resource(name: &str, value: &Value) -> Wrong {
    let is_known = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    if !is_known && !name.contains('/') {
        return Some(format!(
            "there is no resource {name:?}; use cpu, memory, ephemeral-storage, or a name with a domain such as \
             `example.com/gpu`"
        ));
    }
    quantity(value)
}

fn requests_fit_limits(resources: &Value) -> Wrong {
    let amount = |value: &Value| Some(parsed(value)?.ok()?.rounded_up());
    let limits = resources["limits"].as_object()?;
    let exceeds = |(name, request): (&String, &Value)| {
        let limit = limits.get(name)?;
        let is_more = amount(request)? > amount(limit)?;
        is_more.then(|| {
            format!("the request of {name}, {request}, is more than its limit, {limit}; change one of them")
        })
    };
    resources["requests"].as_object()?.iter().find_map(exceeds)
}

/// As Kubernetes takes them since 1.34; older API servers know letters, digits, `-`, `_` and `.` only.
fn environment_name(name: &Value) -> Wrong {
    let is_fine =
        |text: &str| !text.is_empty() && text.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'=');
    let text = name.as_str().filter(|text| !is_fine(text))?;
    Some(format!("invalid name of a variable {text:?}; use letters, digits and underscores"))
}

fn port(value: &Value) -> Wrong {
    let number = value.as_i64().filter(|number| !(1..=65535).contains(number))?;
    Some(format!("invalid port {number}; use 1 to 65535"))
}

fn host_port(value: &Value) -> Wrong {
    // 0 is none.
    port(value).filter(|_| value.as_i64() != Some(0))
}

fn id(value: &Value) -> Wrong {
    let number = value.as_i64()?;
    let is_fine = u64::try_from(number).is_ok_and(|number| number <= USER_ID_MAX);
    (!is_fine).then(|| format!("invalid id {number}; use 0 to {USER_ID_MAX}"))
}

/// None is fine: the API server takes an `emptyDir` then.
fn one_source(volume: &Value) -> Wrong {
    let fields = volume.as_object()?.iter().filter(|(key, value)| *key != "name" && !value.is_null());
    let sources: Vec<&str> = fields.map(|(key, _)| key.as_str()).collect();
    let has_more = sources.len() > 1;
    has_more.then(|| format!("the volume has more than one source: {}; keep one", sources.join(", ")))
}

/// ValidateVolumeMounts: each has a volume.
fn check_mounts(job: &Value, found: &mut Found) {
    let volumes = items(&job["spec"]["template"]["spec"], "volumes");
    let volumes: BTreeSet<&str> = volumes.iter().filter_map(|volume| volume["name"].as_str()).collect();
    let at = "spec.template.spec.containers|initContainers.*.volumeMounts.*.name";
    each_at(job, at, &Path::Root, &mut |path, value| {
        let name = value.as_str().filter(|name| !name.is_empty() && !volumes.contains(name));
        let wrong = name.map(|name| format!("there is no volume {name:?}; add one, or mount another"));
        found.note(path, Some(value), wrong);
    });
}

fn items<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn toleration_key(key: &Value) -> Wrong {
    let text = key.as_str().filter(|text| !text.is_empty() && !is_label_key(text))?;
    Some(format!("invalid key of a taint {text:?}; {LABEL_HELP}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    fn found(pod: Value) -> Vec<String> {
        let job = json!({"spec": {"template": {"spec": pod}}});
        check(&job).into_iter().map(|problem| problem.message.replace("spec.template.spec.", "")).collect()
    }

    #[test]
    fn each_mistake_is_told_once_at_the_first_container_that_has_it() {
        let container = |n: usize| {
            json!({
                "name": format!("c{n}"), "image": "b", "resources": {"requests": {"cpu": "2 m"}},
                "volumeMounts": [{"name": "v", "mountPath": "/a"}],
            })
        };
        let containers: Vec<Value> = (0..5000).map(container).collect();
        assert_eq!(
            found(json!({"containers": containers, "volumes": []})),
            [
                "`containers.0.resources.requests.cpu`: invalid quantity \"2 m\": there is a space in it",
                "`containers.0.volumeMounts.0.name`: there is no volume \"v\"; add one, or mount another",
            ]
        );
    }

    #[test]
    fn there_are_never_more_than_can_be_read() {
        let labels: Map<String, Value> = (0..1000).map(|n| (format!("k{n}"), json!("a b"))).collect();
        assert_eq!(
            found(json!({"nodeSelector": labels, "containers": [{"image": "b"}]})).len(),
            PROBLEMS_MAX
        );
    }

    #[test]
    fn what_is_null_or_missing_is_not_judged() {
        let nothing = json!({
            "containers": [{"name": null, "image": "b", "resources": null, "env": [{"name": null}]}],
            "volumes": null, "hostname": null, "securityContext": {"runAsUser": null},
        });
        assert_eq!(found(nothing), [""; 0]);
        assert_eq!(check(&json!({"spec": {"template": null}})), []);
    }
}
