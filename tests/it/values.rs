//! What `check` says of a config's values is what the API server says of the Jobs made from them.

use quayctl_controller::config::{Group, Toleration, TolerationOperator};
use quayctl_controller::config_source::load::{LoadError, LoadedConfig, Sources, load};
use quayctl_controller::plan::{Node, PlannedJob, RunId, RunIdentity, plan};
use quayctl_controller::render::{RenderError, Renderer};
use serde_json::{Value, json};

use crate::support::bed::{Bed, shared};
use crate::support::ended;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Taken,
    Refused,
    /// The API server would take it: why we do not.
    RefusedByUs(&'static str),
}
use Verdict::{Refused, RefusedByUs, Taken};

const CRIO: &str = "CRI-O starts no container with less than 12 MiB";
const SENSE: &str = "nobody can mean it";
const TYPE: &str = "it would be taken for another thing than is written";

const VALUES: [(&str, Verdict); 84] = [
    ("cpu = \"2m\"", Taken),
    ("cpu = \"0.05\"", Taken),
    ("cpu = 0.05", Taken),
    ("cpu = 0", Taken),
    ("cpu = \"\"", Taken),
    ("cpu = \" 2m \"", Taken),
    ("cpu = \"+2m\"", Taken),
    ("cpu = \".05\"", Taken),
    ("cpu = \"5e-3\"", Taken),
    ("cpu = \"5E-3\"", Taken),
    ("cpu = \"100u\"", Taken),
    ("cpu = \"-0\"", Taken),
    ("cpu = \"2 m\"", Refused),
    ("cpu = \"-1m\"", Refused),
    ("cpu = -1", Refused),
    ("cpu = \"1.5.0\"", Refused),
    ("cpu = \"one\"", Refused),
    ("cpu = \"1e\"", Refused),
    ("cpu = \"2M\"", Refused),
    ("cpu = \"2mm\"", Refused),
    ("cpu = \"100k\"", Refused),
    ("cpu = true", Refused),
    ("cpu = [1]", Refused),
    ("cpu = \"m\"", RefusedByUs(SENSE)),
    ("cpu = \"101m\"", Refused),
    ("cpu = \"101m\", cpu_limit = \"0.2\"", Taken),
    ("cpu = \"300m\", cpu_limit = \"0.2\"", Refused),
    // Rounded up to a thousandth, which is as much as is asked for.
    ("cpu_limit = \"0.5m\"", Taken),
    ("cpu_limit = \"0\"", Refused),
    ("cpu_limit = 1", Taken),
    ("cpu_limit = \"1E\"", Taken),
    ("cpu_limit = \"1e100\"", RefusedByUs(SENSE)),
    ("memory = \"1Mi\"", Taken),
    ("memory = 1000000", Taken),
    ("memory = \"1e6\"", Taken),
    ("memory = \"17Mi\"", Refused),
    ("memory = \"17Mi\", memory_limit = \"32Mi\"", Taken),
    ("memory = \"1MB\"", Refused),
    ("memory = \"1mi\"", Refused),
    ("memory = \"1K\"", Refused),
    ("memory_limit = \"12Mi\"", Taken),
    ("memory_limit = \"11Mi\"", RefusedByUs(CRIO)),
    ("memory_limit = \"0\"", Refused),
    ("memory_limit = \"1.5Gi\"", Taken),
    ("ephemeral_storage = \"10Gi\"", Taken),
    ("ephemeral_storage = \"10GiB\"", Refused),
    ("ephemeral_storage = \"-10Gi\"", Refused),
    ("run_as_user = 1", Taken),
    ("run_as_user = 2147483647", Taken),
    ("run_as_user = \"unset\"", Taken),
    ("run_as_user = 2147483648", Refused),
    ("run_as_user = -1", Refused),
    ("run_as_user = 0", Refused),
    ("run_as_user = 1.5", Refused),
    ("run_as_user = \"root\"", Refused),
    ("run_as_user = \"1000\"", RefusedByUs(TYPE)),
    ("priority_class = \"system-node-critical\"", Taken),
    ("priority_class = \"\"", Taken),
    ("priority_class = \"Low\"", Refused),
    ("priority_class = \"low_1\"", Refused),
    ("priority_class = 5", Refused),
    ("runtime_class = \"values.test\"", Taken),
    ("runtime_class = \"gvisor/\"", Refused),
    ("pod_labels = {}", Taken),
    ("pod_labels = { team = \"a\", \"example.com/x_Y.z\" = \"\" }", Taken),
    ("pod_labels = { \"app.kubernetes.io/name\" = \"mine\" }", Taken),
    ("pod_labels = { team = \"a b\" }", Refused),
    ("pod_labels = { team = \"-a\" }", Refused),
    ("pod_labels = { \"a b\" = \"x\" }", Refused),
    ("pod_labels = { \"Example.com/a\" = \"x\" }", Refused),
    ("pod_labels = { \"a/b/c\" = \"x\" }", Refused),
    ("pod_labels = { \"\" = \"x\" }", Refused),
    ("pod_labels = { team = 1 }", Refused),
    ("pod_labels = { on = true }", Refused),
    ("pod_labels = { job-name = \"x\" }", Refused),
    ("pod_labels = { \"batch.kubernetes.io/controller-uid\" = \"x\" }", Refused),
    ("pod_annotations = { \"Example.com/A\" = \"any text\\nat all\" }", Taken),
    ("pod_annotations = { \"a b\" = \"x\" }", Refused),
    ("pod_annotations = { a = 1 }", Refused),
    ("pod_annotations = { \"controller.kubernetes.io/pod-deletion-cost\" = \"08\" }", Refused),
    ("pod_annotations = { \"controller.kubernetes.io/pod-deletion-cost\" = \"-8\" }", Taken),
    (
        "pod_annotations = { \"container.apparmor.security.beta.kubernetes.io/image-9\" = \"runtime/default\" }",
        Refused,
    ),
    (
        "pod_annotations = { \"container.apparmor.security.beta.kubernetes.io/image-1\" = \"runtime/default\" }",
        Taken,
    ),
    ("pod_annotations = { \"seccomp.security.alpha.kubernetes.io/pod\" = \"unconfined\" }", Refused),
];

/// A group of two images that carry nothing of their own, with `more` keys.
fn config(more: &str) -> String {
    format!(
        "[[groups]]\nname = \"g\"\nimages = [\"quay.io/team/a:1\", \"quay.io/team/b:1\"]\n\
         template = \"helper\"\ncarrier_image = \"quay.io/team/carrier:1\"\n{more}\n"
    )
}

fn loaded(text: &str) -> Result<LoadedConfig, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("quayctl.toml");
    std::fs::write(&path, text).unwrap();
    load(&Sources { path: Some(path), ..Sources::default() })
}

/// The Job that would be posted if nothing of `change` had been looked at.
fn unchecked(namespace: &str, change: &dyn Fn(&mut Group)) -> Result<Value, RenderError> {
    let mut config = loaded(&config("")).unwrap().config;
    change(&mut config.groups[0]);
    let node =
        Node { name: "n".into(), ready: true, os: "linux".into(), arch: "amd64".into(), ..Node::default() };
    let identity =
        RunIdentity { instance: "default".into(), run_id: RunId::render(), namespace: namespace.into() };
    let plan = plan(&config, vec![node], identity);
    let job: Vec<&PlannedJob> = plan.jobs().collect();
    let renderer = Renderer::new(&config.templates).unwrap();
    renderer.render_unjudged(job[0]).map(|(manifest, _)| manifest.body)
}

/// What a dry run says of the Job, and of its pod.
fn is_taken(bed: &Bed, namespace: &str, change: &dyn Fn(&mut Group)) -> Result<(), String> {
    // A field of a wrong type is refused when it is decoded, here as there.
    let job = unchecked(namespace, change).map_err(|error| error.to_string())?;
    let mut pod = job["spec"]["template"].clone();
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    pod["metadata"]["name"] = "probe".into();
    for object in [&job, &pod] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), object.to_string()).unwrap();
        let create = ["create", "--dry-run=server", "-n", namespace, "-f", file.path().to_str().unwrap()];
        let answer = ended(&mut bed.kubectl(&create));
        if answer.code != Some(0) {
            return Err(answer.stderr);
        }
    }
    Ok(())
}

/// Compares both answers with what is expected of them.
fn compare(
    shown: &str,
    expected: Verdict,
    by_us: Result<LoadedConfig, LoadError>,
    there: Result<(), String>,
) -> Option<String> {
    let ours = by_us.as_ref().map(drop).map_err(|error| error.shown(false));
    let fits = match expected {
        Taken => ours.is_ok() && there.is_ok(),
        Refused => ours.is_err() && there.is_err(),
        RefusedByUs(_) => ours.is_err() && there.is_ok(),
    };
    (!fits).then(|| format!("{shown}\nexpected: {expected:?}\nwe: {ours:?}\nAPI server: {there:?}"))
}

#[test]
fn values_that_check_takes_are_taken_and_those_it_refuses_are_refused() {
    let bed = shared();
    let namespace = bed.namespace("values");
    // A pod of a class that is not there is refused, whatever its name.
    let class = json!({
        "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "x", "metadata": {"name": "values.test"},
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), class.to_string()).unwrap();
    ended(&mut bed.kubectl(&["create", "-f", file.path().to_str().unwrap()])).expect_code(0);
    let differences = VALUES.iter().filter_map(|(values, expected)| {
        let values = format!("values = {{ {values} }}");
        let raw: Value = toml::from_str::<Value>(&values).unwrap()["values"].clone();
        let set = |group: &mut Group| group.values = serde_json::from_value(raw.clone()).unwrap();
        compare(&values, *expected, loaded(&config(&values)), is_taken(bed, &namespace, &set))
    });
    let differences: Vec<String> = differences.collect();
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

#[test]
fn other_keys_that_check_takes_are_taken_and_those_it_refuses_are_refused() {
    let bed = shared();
    let namespace = bed.namespace("keys");
    let toleration = |key: &str, value: &str| Toleration {
        key: Some(key.to_owned()),
        operator: TolerationOperator::Equal,
        value: Some(value.to_owned()),
        effect: None,
        toleration_seconds: None,
    };
    type Change = Box<dyn Fn(&mut Group)>;
    let text = |set: fn(&mut Group, String), text: &str| -> Change {
        let text = text.to_owned();
        Box::new(move |group| set(group, text.clone()))
    };
    let account = |name: &str, verdict| {
        let key = format!("service_account = {}", json!(name));
        (key, text(|group, name| group.service_account = name, name), verdict)
    };
    let tolerated = |key: &str, value: &str, verdict| {
        let line = format!("tolerations = [{{ key = {}, value = {} }}]", json!(key), json!(value));
        let toleration = toleration(key, value);
        let change: Change = Box::new(move |group| group.tolerations = vec![toleration.clone()]);
        (line, change, verdict)
    };
    let named = |name: &str, verdict| {
        let line = format!("pull_secrets = [{}]", json!(name));
        (line, text(|group, name| group.pull_secrets = vec![name], name), verdict)
    };
    let labelled = |key: &str, value: &str, verdict| {
        let line = format!("job_labels = {{ {} = {} }}", json!(key), json!(value));
        let entry = (key.to_owned(), value.to_owned());
        let change: Change = Box::new(move |group| group.job_labels = [entry.clone()].into());
        (line, change, verdict)
    };
    let annotated = |key: &str, value: &str, verdict| {
        let line = format!("job_annotations = {{ {} = {} }}", json!(key), json!(value));
        let entry = (key.to_owned(), value.to_owned());
        let change: Change = Box::new(move |group| group.job_annotations = [entry.clone()].into());
        (line, change, verdict)
    };
    let cases: Vec<(String, Change, Verdict)> = vec![
        labelled("kueue.x-k8s.io/queue-name", "pulls", Taken),
        labelled("A_b.c", "X.y_z-1", Taken),
        labelled("team", "", Taken),
        labelled("job-name", "x", Taken),
        labelled("a b", "x", Refused),
        labelled("Example.com/a", "x", Refused),
        labelled("example.com/", "x", Refused),
        labelled("a", "b c", Refused),
        labelled("a", "-b", Refused),
        labelled("a", &"x".repeat(64), Refused),
        annotated("Example.com/Owner", "any: text, with\nlines", Taken),
        annotated("a", "", Taken),
        annotated("a b", "x", Refused),
        annotated("-a", "x", Refused),
        annotated("a/b/c", "x", Refused),
        account("default", Taken),
        account("Bad Name", Refused),
        account("under_score", Refused),
        account("-a", Refused),
        tolerated("a", "b", Taken),
        tolerated("example.com/A_b", "", Taken),
        tolerated("a b", "b", Refused),
        tolerated("Example.com/a", "b", Refused),
        tolerated("a", "b c", Refused),
        tolerated("a", &"x".repeat(64), Refused),
        named("registry.example.com", Taken),
        // It takes any text, and the kubelet then finds no such Secret.
        named("Bad Name", RefusedByUs("no Secret can have this name")),
    ];
    let differences = cases.iter().filter_map(|(line, change, expected)| {
        compare(line, *expected, loaded(&config(line)), is_taken(bed, &namespace, change))
    });
    let differences: Vec<String> = differences.collect();
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

#[test]
fn annotations_fit_into_what_the_api_server_takes() {
    let bed = shared();
    let namespace = bed.namespace("annotations");
    // The name that this node has is shorter than the longest.
    for (length, verdict) in [(200 << 10, Taken), (261_600, Taken), (262_144, Refused)] {
        let value = "x".repeat(length);
        let line = format!("values = {{ pod_annotations = {{ a = \"{value}\" }} }}");
        let annotations = json!({"a": value});
        let set = |group: &mut Group| {
            group.values = [("pod_annotations".to_owned(), annotations.clone())].into();
        };
        let difference = compare("", verdict, loaded(&config(&line)), is_taken(bed, &namespace, &set));
        assert!(difference.is_none(), "{length}: {}", difference.unwrap_or_default());
    }
}
