//! The shape of the config file for editors: JSON Schema, and the reference in `docs/`.
//!
//! These types are read by nobody but schemars: `file` and `settings` read the file, with better words
//! than a derived reader has. A test keeps the keys of both equal.
#![expect(dead_code, reason = "only their shape and their doc comments are used")]

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::values::{self, BuiltIn};

/// What to pull onto which nodes of a Kubernetes cluster. See quayctl-controller.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "Config of quayctl-controller")]
struct ConfigFile {
    /// Where the Jobs live; it must exist. Default: `MY_POD_NAMESPACE`, else the pod's own, else the
    /// kubeconfig context's, else `default`.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    namespace: Option<String>,
    /// Tells two installations in one namespace apart. Default: `default`.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    instance: Option<String>,
    /// Nodes with a live Job at the same time, over all groups. Default: 20.
    #[schemars(range(min = 1))]
    concurrency: Option<u64>,
    /// A run ends by then: nothing more is created, live Jobs are ended, what was not begun is
    /// `not-started`. Default: for each group the nodes divided by its limit, rounded up, times its
    /// deadline, plus a minute; `plan` shows it. Time lost to live Jobs of other runs and
    /// to queues is added.
    run_deadline: Option<Duration>,
    /// Any key of a group but `name`, `images` and `schedule`: what groups get that have none of their own.
    defaults: Option<Defaults>,
    /// Which images go onto which nodes, in the order in which nodes take their turns.
    #[schemars(length(min = 1))]
    groups: Option<Vec<Group>>,
    /// Templates of one's own, by name.
    templates: Option<BTreeMap<String, Template>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Defaults {
    /// As a group's `node_selector`.
    node_selector: Option<String>,
    /// As a group's `tolerations`.
    tolerations: Option<Vec<Toleration>>,
    /// As a group's `concurrency`.
    concurrency: Option<Limit>,
    /// As a group's `deadline`.
    deadline: Option<Duration>,
    /// As a group's `namespace`.
    namespace: Option<String>,
    /// As a group's `template`.
    template: Option<String>,
    /// As a group's `pull_policy`.
    pull_policy: Option<PullPolicy>,
    /// As a group's `pull_secrets`.
    pull_secrets: Option<Vec<String>>,
    /// As a group's `service_account`.
    service_account: Option<String>,
    /// As a group's `keep_jobs`.
    keep_jobs: Option<Duration>,
    /// As a group's `carrier_image`.
    carrier_image: Option<String>,
    /// As a group's `time_zone`.
    time_zone: Option<String>,
    /// As a group's `overlap`.
    overlap: Option<Overlap>,
    /// As a group's `catch_up`.
    catch_up: Option<bool>,
    /// As a group's `catch_up_limit`.
    catch_up_limit: Option<Duration>,
    /// As a group's `run_on_change`.
    run_on_change: Option<bool>,
    /// As a group's `new_nodes`.
    new_nodes: Option<bool>,
    /// As a group's `ready_label`.
    ready_label: Option<bool>,
    /// As a group's `remove_taint`.
    #[schemars(regex(pattern = r"^[^:=\s]+:(NoSchedule|PreferNoSchedule|NoExecute)$"))]
    remove_taint: Option<String>,
    /// As a group's `job_labels`.
    job_labels: Option<BTreeMap<String, String>>,
    /// As a group's `job_annotations`.
    job_annotations: Option<BTreeMap<String, String>>,
    /// Below the template's own values and the group's.
    values: Option<Values>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("allOf" = values_by_template()))]
struct Group {
    /// Unique in the file.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    name: String,
    /// Image references with registry, tag or digest as containerd reads them; none twice.
    #[schemars(length(min = 1, max = 100))]
    images: Vec<String>,
    /// Which nodes, in kubectl's label selector syntax: `zone in (fra,ams),!gpu`. Default: every node.
    node_selector: Option<String>,
    /// Taints that are no obstacle, for the plan and for the pods.
    tolerations: Option<Vec<Toleration>>,
    /// A limit narrower than the top-level one: a number of nodes, or a percentage of the group's
    /// eligible nodes, rounded up.
    concurrency: Option<Limit>,
    /// A node's Job is ended after this: `activeDeadlineSeconds`. 1s to 168h. It ends no pull, so it has to be longer than
    /// the slowest one: docs/deploying.md. Default: `5m`.
    deadline: Option<Duration>,
    /// Where this group's Jobs live. Default: the top-level one.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    namespace: Option<String>,
    /// `auto` (per node `image-volume` where it works, else `helper`), `image-volume`, `helper`,
    /// `quayctl`, or the name of a `[templates.NAME]`. Default: `auto`.
    template: Option<String>,
    /// When the kubelet asks the registry. Default: `IfNotPresent`.
    pull_policy: Option<PullPolicy>,
    /// Names of Secrets in the Jobs' namespace: use the workloads' own.
    pull_secrets: Option<Vec<String>>,
    /// Of the Jobs' pods. Default: `default`.
    service_account: Option<String>,
    /// How long finished Jobs stay: `ttlSecondsAfterFinished`. 60s to 168h. Default: `1h`.
    keep_jobs: Option<Duration>,
    /// What carries image volumes and the helper. Default: `QUAYCTL_CARRIER_IMAGE`, else
    /// `registry.k8s.io/pause:3.10.1`, which cannot serve `helper`.
    carrier_image: Option<String>,
    /// Five fields as in a CronJob, or `@daily` and the like; only `serve` uses it.
    schedule: Option<String>,
    /// The zone of `schedule`, a name of the IANA database. Default: `Etc/UTC`.
    time_zone: Option<String>,
    /// What `serve` does when a run is due and the group's last one is still going: `skip` leaves it out,
    /// `wait` begins it afterwards. Default: `skip`.
    overlap: Option<Overlap>,
    /// Whether `serve` makes up for the latest run that fell due while it was down. Default: `true`.
    catch_up: Option<bool>,
    /// How late such a run may still begin. 1s to 168h. Default: `1h`. Jobs tell whether a run was done,
    /// so more than `keep_jobs` may repeat one.
    catch_up_limit: Option<Duration>,
    /// Whether `serve` runs the group at once when its images, template or values change. Default: `true`.
    run_on_change: Option<bool>,
    /// Whether `serve` gives the images to nodes that join, turn Ready, are uncordoned or gain a matching
    /// label between runs. Default: `true`.
    new_nodes: Option<bool>,
    /// Whether `serve` labels a node that has all images with `quayctl-controller/NAME`, the group's name,
    /// and the first 16 digits of the group's content. Needs the right to patch nodes. Default: `false`.
    ready_label: Option<bool>,
    /// A startup taint, `KEY:EFFECT` with any value, that `serve` removes from a node that has all images.
    /// The group tolerates it. Needs the right to patch nodes.
    #[schemars(regex(pattern = r"^[^:=\s]+:(NoSchedule|PreferNoSchedule|NoExecute)$"))]
    remove_taint: Option<String>,
    /// Labels of the Jobs, beside ours, for queues and policies: `{ "kueue.x-k8s.io/queue-name" = "pulls" }`.
    /// They beat the template's. Their pods' labels are `values.pod_labels`, or the template's.
    job_labels: Option<BTreeMap<String, String>>,
    /// Annotations of the Jobs, beside ours. They beat the template's.
    job_annotations: Option<BTreeMap<String, String>>,
    /// Handed to the template as `values`. What the built-in templates take is listed below; a template of
    /// one's own may read any key.
    values: Option<Values>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Toleration {
    /// The taint's key; without one, with `Exists`, every taint is tolerated.
    key: Option<String>,
    /// Default: `Equal`.
    operator: Option<TolerationOperator>,
    /// The taint's value, for `Equal`.
    value: Option<String>,
    /// Default: every effect.
    effect: Option<TaintEffect>,
    /// For `NoExecute`: how long the pod may stay.
    toleration_seconds: Option<i64>,
}

#[derive(JsonSchema)]
enum TolerationOperator {
    Exists,
    Equal,
}

#[derive(JsonSchema)]
enum TaintEffect {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Overlap {
    Skip,
    Wait,
}

#[derive(JsonSchema)]
enum PullPolicy {
    IfNotPresent,
    Always,
}

/// Either `file` or `inline`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Template {
    /// A file relative to the config, inside of its folder.
    file: Option<String>,
    /// The text itself.
    inline: Option<String>,
    /// Over the defaults' values, below the group's.
    values: Option<BTreeMap<String, Value>>,
}

/// A duration in Go's form, in whole seconds: `90s`, `5m`, `1h30m`, `1.5h`.
#[derive(JsonSchema)]
struct Duration(#[schemars(regex(pattern = r"^([0-9]*\.?[0-9]*(h|m|s|ms|us|µs|ns))+$"))] String);

/// A number of nodes, or a percentage from `1%` to `100%`.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Limit {
    Nodes(#[schemars(range(min = 1))] u64),
    Percent(#[schemars(regex(pattern = r"^([1-9][0-9]?|100)%$"))] String),
}

/// `values` of a group, whichever template that has.
struct Values;

impl JsonSchema for Values {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Values".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        values::offered().try_into().unwrap_or_default()
    }
}

/// The rules for `values`, where the group itself names a built-in template.
fn values_by_template() -> Value {
    let auto = [BuiltIn::ImageVolume, BuiltIn::Helper];
    [(&["auto", "image-volume", "helper"][..], &auto[..]), (&["quayctl"], &[BuiltIn::Quayctl])]
        .into_iter()
        .map(|(names, templates)| {
            json!({
                "if": {"properties": {"template": {"enum": names}}, "required": ["template"]},
                "then": {"properties": {"values": values::strict(templates)}},
            })
        })
        .collect()
}

/// JSON Schema, draft 2020-12, with a final newline.
pub fn text() -> String {
    format!("{:#}\n", schema().as_value())
}

/// The config reference, Markdown.
pub fn reference() -> String {
    let schema = schema();
    let mut text = String::from(
        "# Config reference\n\nMade from the JSON Schema by `quayctl-controller schema`'s source; \
         [config/quayctl.toml](../config/quayctl.toml) shows every key in its place. Unknown keys are errors.\n",
    );
    let root = schema.as_value();
    for (title, table) in [
        ("Top level", root),
        ("`[defaults]`", &root["$defs"]["Defaults"]),
        ("`[[groups]]`", &root["$defs"]["Group"]),
        ("`tolerations` of a group", &root["$defs"]["Toleration"]),
        ("`[templates.NAME]`", &root["$defs"]["Template"]),
    ] {
        text.push_str(&format!("\n## {title}\n\n| key | meaning |\n|---|---|\n"));
        for (key, property) in table["properties"].as_object().into_iter().flatten() {
            let words = property["description"].as_str().unwrap_or_default().replace('\n', " ");
            text.push_str(&format!("| `{key}` | {words} |\n"));
        }
    }
    text.push_str(LIMITS_OF_TEMPLATES);
    text.push_str(
        "\n## `values` of the built-in templates\n\nA group's `values` beat those of `[defaults]`, key by key; \
         tables such as `pod_labels` are replaced whole. `\"\"` is as if the value were not set. `check` refuses \
         other keys where the template is a built-in one; a template of one's own may read any key and gets it \
         as it is.\n\n",
    );
    text.push_str(&values::reference());
    text
}

/// What templates may not do; `render` has a test that the numbers are its own.
const LIMITS_OF_TEMPLATES: &str = "
A template, or a partial `NAME.hbs` beside the config, prints at most 1 MiB, YAML aliases written out; blocks, parentheses \
and partials stand at most 50 deep inside one another; and a rendering does a counted amount of work, of which a Job of 100 \
images needs a fifth. What is more is an error that names template and line. A file may be a link as those of a mounted \
ConfigMap are; one that leads out of the config's folder is refused.

What a template renders is checked as an API server would: fields are known and of the right type, and quantities, requests \
above their limits, names, label keys and values, user ids, environment names, ports, mounts and volumes are right.
";

/// Keys of a table, for a test that they are those which are read.
pub fn keys(table: &str) -> Vec<String> {
    let schema = schema();
    let root = schema.as_value();
    let table = if table.is_empty() { root } else { &root["$defs"][table] };
    table["properties"].as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
}

fn schema() -> Schema {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(without_null));
    SchemaGenerator::new(settings).into_root_schema_for::<ConfigFile>()
}

/// A key may be absent, but TOML has no null that an editor could offer.
fn without_null(schema: &mut Schema) {
    let is_null = |value: &Value| *value == "null" || value["type"] == "null";
    let Some(fields) = schema.as_object_mut() else { return };
    for choice in ["type", "anyOf"] {
        let Some(Value::Array(choices)) = fields.get_mut(choice) else { continue };
        choices.retain(|choice| !is_null(choice));
        let [only] = choices.as_slice() else { continue };
        match only.clone() {
            Value::Object(only) => {
                fields.remove(choice);
                fields.extend(only);
            }
            only => drop(fields.insert(choice.to_owned(), only)),
        }
    }
}
