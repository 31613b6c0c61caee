//! Clusters with opinions: queues, policies and webhooks that change or refuse what we create. Played by the
//! real control plane's own admission policies, for whoever has the rights of `deploy/`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::deploy::identity;
use crate::support::bed::{Bed, Observer, is_over, shared};
use crate::support::{Ended, ended};

/// A node that mounts image volumes, and one that does not.
const ONE_OF_EACH: &str = "node_selector = \"kubernetes.io/hostname in (node-010,node-050)\"";
const ONE_NODE: &str = "node_selector = \"kubernetes.io/hostname=node-010\"";

fn one_group(image: &str, more: &str) -> String {
    format!("[[groups]]\nname = \"g\"\nimages = [\"{image}\"]\n{more}\n")
}

fn node_of(report: &Value) -> &Value {
    &report["groups"][0]["nodes"][0]
}

/// An admission policy for one namespace, with its binding. Gone when dropped.
struct Policy<'a> {
    bed: &'a Bed,
    kind: &'static str,
    name: String,
}

impl<'a> Policy<'a> {
    fn mutating(bed: &'a Bed, namespace: &str, resource: &str, mutations: &[Value]) -> Policy<'a> {
        let spec = json!({"mutations": mutations, "reinvocationPolicy": "Never"});
        Policy::new(bed, "MutatingAdmissionPolicy", namespace, resource, spec)
    }

    /// `resource` is `pods` or `jobs`; `spec` what the policy does with each that is created.
    fn new(bed: &'a Bed, kind: &'static str, namespace: &str, resource: &str, mut spec: Value) -> Policy<'a> {
        let name = format!("{namespace}-{}", kind.to_ascii_lowercase());
        let group = if resource == "jobs" { "batch" } else { "" };
        spec["failurePolicy"] = "Fail".into();
        spec["matchConstraints"] = json!({"resourceRules": [{
            "apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource],
        }]});
        let mut binding = json!({
            "policyName": name,
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}},
        });
        if kind == "ValidatingAdmissionPolicy" {
            binding["validationActions"] = json!(["Deny"]);
        }
        let version = "admissionregistration.k8s.io/v1";
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec},
            {"apiVersion": version, "kind": format!("{kind}Binding"), "metadata": {"name": name}, "spec": binding},
        ]});
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), objects.to_string()).unwrap();
        ended(&mut bed.kubectl(&["create", "-f", file.path().to_str().unwrap()])).expect_code(0);
        Policy { bed, kind, name }
    }
}

impl Drop for Policy<'_> {
    fn drop(&mut self) {
        for kind in [format!("{}Binding", self.kind), self.kind.to_owned()] {
            let _ = self.bed.kubectl(&["delete", &kind, &self.name, "--ignore-not-found"]).output();
        }
    }
}

/// A pod that Pod Security lets pass, as a dry run: admission policies come into force within a moment.
fn dry_run(bed: &Bed, namespace: &str, user: Option<u64>) -> Ended {
    let restricted = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    let mut security = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    if let Some(user) = user {
        security["runAsUser"] = user.into();
    }
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "namespace": namespace},
        "spec": {"securityContext": security, "containers": [
            {"name": "c", "image": "quay.io/team/probe:1", "securityContext": restricted}]}});
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pod.to_string()).unwrap();
    ended(&mut bed.kubectl(&[
        "create",
        "--dry-run=server",
        "-o",
        "json",
        "-f",
        file.path().to_str().unwrap(),
    ]))
}

fn wait_until(what: &str, is_it: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_it() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} does not come about");
    }
}

/// A container that never ends, as a webhook adds one to each pod.
fn injects_a_container<'a>(bed: &'a Bed, namespace: &str) -> Policy<'a> {
    let expression = "[JSONPatch{op: \"add\", path: \"/spec/containers/-\", value: Object.spec.containers{\
        name: \"agent\", image: \"registry.example.com/agent/runs-600s:1\", \
        securityContext: Object.spec.containers.securityContext{allowPrivilegeEscalation: false, \
        capabilities: Object.spec.containers.securityContext.capabilities{drop: [\"ALL\"]}}}}]";
    let mutation = json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}});
    let policy = Policy::mutating(bed, namespace, "pods", &[mutation]);
    wait_until("the injection", || dry_run(bed, namespace, None).stdout.contains("\"agent\""));
    policy
}

#[test]
fn an_injected_container_that_never_ends_holds_no_job_until_its_deadline() {
    let bed = shared();
    let (namespace, kubeconfig) = identity(bed, None);
    let _policy = injects_a_container(bed, &namespace);
    let config = one_group("quay.io/team/injected:1", &format!("deadline = \"10m\"\n{ONE_OF_EACH}"));
    let begun = Instant::now();
    let run = || bed.start_run_as(kubeconfig.path(), &namespace, &config, &["--run-id", "r"]).end();
    let first = run().expect_code(0);
    assert!(begun.elapsed() < Duration::from_secs(90), "{:?}\n{}", begun.elapsed(), first.stderr);
    assert!(first.stderr.contains("do not end (agent)"), "{}", first.stderr);
    assert_eq!(first.json()["groups"][0]["counts"]["succeeded"], 2);
    let jobs = bed.jobs(&namespace);
    assert_eq!(jobs.len(), 2);
    for job in &jobs {
        // What kubectl shows: Failed, with our word on it.
        let conditions = job["status"]["conditions"].as_array().unwrap();
        assert!(
            conditions.iter().any(|c| c["type"] == "Failed" && c["reason"] == "DeadlineExceeded"),
            "{job}"
        );
        let note = job["metadata"]["annotations"]["quayctl-controller/outcome"].as_str().unwrap();
        assert!(note.contains("\"verdict\":\"succeeded\""), "{note}");
    }
    // The run is done for whoever repeats it, and for a plan.
    let again = run().expect_code(0);
    assert_eq!(again.json()["groups"][0]["counts"]["succeeded"], 2);
    assert_eq!(bed.jobs(&namespace).len(), 2);
    let plan = bed.quayctl(&["plan", "-o", "json", "-n", &namespace], &config).expect_code(0).json();
    assert_eq!(plan["groups"][0]["counts"]["present"], 2, "{plan}");
}

#[test]
fn an_injected_container_does_not_hide_an_image_that_is_missing() {
    let bed = shared();
    let (namespace, kubeconfig) = identity(bed, None);
    let _policy = injects_a_container(bed, &namespace);
    let config = one_group("quay.io/team/not-found:1", ONE_OF_EACH);
    let ended = bed.start_run_as(kubeconfig.path(), &namespace, &config, &[]).end().expect_code(1);
    for node in ended.json()["groups"][0]["nodes"].as_array().unwrap() {
        assert_eq!(node["reason"], "image-not-found", "{node}");
    }
}

/// What a queue does with a Job that names it: it takes it at its creation, as Kueue's webhook does, and
/// admits it when there is room.
fn queue<'a>(bed: &'a Bed, namespace: &str) -> Policy<'a> {
    let expression = "Object{spec: Object.spec{suspend: has(object.metadata.labels) && \
        \"kueue.x-k8s.io/queue-name\" in object.metadata.labels}}";
    let mutation =
        json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}});
    let policy = Policy::mutating(bed, namespace, "jobs", &[mutation]);
    let probe = json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "probe", "namespace": namespace, "labels": {"kueue.x-k8s.io/queue-name": "q"}},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), probe.to_string()).unwrap();
    let create = ["create", "--dry-run=server", "-o", "json", "-f", file.path().to_str().unwrap()];
    wait_until("the queue", || ended(&mut bed.kubectl(&create)).json()["spec"]["suspend"] == true);
    policy
}

const QUEUED: &str = "job_labels = { \"kueue.x-k8s.io/queue-name\" = \"pulls\" }";

#[test]
fn a_job_waits_in_its_queue_beyond_its_own_deadline_and_goes_on_when_it_is_admitted() {
    let bed = shared();
    let (namespace, kubeconfig) = identity(bed, None);
    let _policy = queue(bed, &namespace);
    let config = one_group("quay.io/team/queued:1", &format!("deadline = \"8s\"\n{ONE_NODE}\n{QUEUED}"));
    let mut observer = Observer::start(bed, &namespace);
    let begun = Instant::now();
    let running = bed.start_run_as(kubeconfig.path(), &namespace, &config, &[]);
    let job = observer.wait_for(|job| job["spec"]["suspend"] == true);
    assert_eq!(job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"], "pulls");
    let name = job["metadata"]["name"].as_str().unwrap();
    // Longer than its deadline, and long enough for it to be said.
    std::thread::sleep(Duration::from_secs(18).saturating_sub(begun.elapsed()));
    let admit = ["patch", "job", name, "-n", &namespace, "-p", "{\"spec\":{\"suspend\":false}}"];
    ended(&mut bed.kubectl(&admit)).expect_code(0);
    let ended = running.end().expect_code(0);
    assert_eq!(node_of(&ended.json())["verdict"], "succeeded");
    let said = ["suspended: a queue holds 1 Job ", "job_labels"];
    assert!(said.iter().all(|words| ended.stderr.contains(words)), "{}", ended.stderr);
}

#[test]
fn a_job_that_no_queue_admitted_poisons_neither_its_own_run_nor_a_later_one() {
    let bed = shared();
    let (namespace, kubeconfig) = identity(bed, None);
    let _policy = queue(bed, &namespace);
    let config = |more: &str| {
        let group = one_group("quay.io/team/queued:2", &format!("{ONE_NODE}\n{more}"));
        format!("run_deadline = \"8s\"\n{group}")
    };
    let run =
        |config: &str, flags: &[&str]| bed.start_run_as(kubeconfig.path(), &namespace, config, flags).end();
    let first = run(&config(QUEUED), &["--run-id", "r1"]).expect_code(1).json();
    assert_eq!(node_of(&first)["reason"], "suspended", "{first}");
    assert!(node_of(&first)["message"].as_str().unwrap().contains("kubectl get workloads"), "{first}");
    let held = bed.jobs(&namespace).remove(0);
    assert!(!is_over(&held), "{held}");
    // Out of the queue: labels are no part of what makes a Job equal to another.
    for (flags, jobs) in
        [(&["--run-id", "r1"][..], 2), (&["--run-id", "r2"], 3), (&["--run-id", "r3", "--replace"], 4)]
    {
        let ended = run(&config(""), flags).expect_code(0);
        let report = ended.json();
        assert_eq!(
            (&node_of(&report)["verdict"], &node_of(&report)["adoptedFrom"]),
            (&json!("succeeded"), &Value::Null)
        );
        assert_eq!(bed.jobs(&namespace).len(), jobs, "{}", ended.stderr);
    }
    let name = held["metadata"]["name"].as_str().unwrap();
    let after = bed.get(&["get", "job", name, "-n", &namespace]);
    assert_eq!(after["spec"], held["spec"], "it is left as it was");
}

/// OpenShift's `restricted-v2` in the namespace: it gives each pod the first user of the namespace's range
/// (`openshift.io/sa.scc.uid-range`, first/size) where the pod names none, and takes none from outside of it
/// (`MustRunAsRange`). As in openshift/cluster-kube-apiserver-operator,
/// `bindata/bootkube/scc-manifests/0000_20_kube-apiserver-operator_00_scc-restricted-v2.yaml`.
fn restricted_v2<'a>(bed: &'a Bed, namespace: &str) -> [Policy<'a>; 2] {
    let range = "openshift.io/sa.scc.uid-range=1000650000/10000";
    ended(&mut bed.kubectl(&["annotate", "namespace", namespace, range])).expect_code(0);
    let first = "int(namespaceObject.metadata.annotations['openshift.io/sa.scc.uid-range'].split('/')[0])";
    let size = "int(namespaceObject.metadata.annotations['openshift.io/sa.scc.uid-range'].split('/')[1])";
    let own = "has(object.spec.securityContext) && has(object.spec.securityContext.runAsUser)";
    let expression = format!(
        "Object{{spec: Object.spec{{securityContext: Object.spec.securityContext{{runAsUser: {own} ? \
         object.spec.securityContext.runAsUser : {first}}}}}}}"
    );
    let mutation =
        json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}});
    let assigns = Policy::mutating(bed, namespace, "pods", &[mutation]);
    let all =
        "(object.spec.containers + (has(object.spec.initContainers) ? object.spec.initContainers : []))";
    let user = |container: &str| {
        format!(
            "(has({container}.securityContext) && has({container}.securityContext.runAsUser) ? \
             {container}.securityContext.runAsUser : object.spec.securityContext.runAsUser)"
        )
    };
    let in_range = format!("{all}.all(c, {0} >= {first} && {0} < {first} + {size})", user("c"));
    let words = format!(
        "'unable to validate against any security context constraint: [provider restricted-v2: \
         .containers[0].runAsUser: Invalid value: ' + string({}) + ': must be in the ranges: [' + string({first}) + ', ' + \
         string({first} + {size} - 1) + ']]'",
        user("object.spec.containers[0]")
    );
    let kinds = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    let is_one = kinds.map(|kind| format!("has(v.{kind})")).join(" || ");
    let drops = "has(c.securityContext) && has(c.securityContext.capabilities) && c.securityContext.capabilities.drop == \
                 ['ALL'] && c.securityContext.allowPrivilegeEscalation == false";
    let volumes = format!("!has(object.spec.volumes) || object.spec.volumes.all(v, {is_one})");
    let validations = json!([
        {"expression": in_range, "messageExpression": words},
        {"expression": format!("{all}.all(c, {drops})"), "message": "capabilities and escalation"},
        {"expression": volumes, "message": "volumes"},
        {"expression": "object.spec.securityContext.seccompProfile.type == 'RuntimeDefault'", "message": "seccomp"},
        {"expression": "!has(object.spec.hostNetwork) || !object.spec.hostNetwork", "message": "host"},
    ]);
    let checks =
        Policy::new(bed, "ValidatingAdmissionPolicy", namespace, "pods", json!({"validations": validations}));
    wait_until("restricted-v2", || {
        let assigned = dry_run(bed, namespace, None);
        let refused = dry_run(bed, namespace, Some(65532));
        assigned.stdout.contains("1000650000") && refused.stderr.contains("must be in the ranges")
    });
    [assigns, checks]
}

#[test]
fn helper_passes_restricted_v2_once_it_leaves_the_user_to_the_namespace() {
    let bed = shared();
    let (namespace, kubeconfig) = identity(bed, None);
    let _policies = restricted_v2(bed, &namespace);
    let config = |values: &str| {
        one_group("quay.io/team/openshift:1", &format!("template = \"helper\"\n{values}\n{ONE_OF_EACH}"))
    };
    let run = |config: &str| bed.start_run_as(kubeconfig.path(), &namespace, config, &[]).end();
    // With a user of its own it is refused, and told what to do.
    let refused = run(&config("")).expect_code(1).json();
    assert_eq!(node_of(&refused)["reason"], "pod-rejected", "{refused}");
    let message = node_of(&refused)["message"].as_str().unwrap();
    assert!(
        message.contains("must be in the ranges") && message.contains("run_as_user = \"unset\""),
        "{message}"
    );
    let unset = config("values = { run_as_user = \"unset\" }");
    let mut observer = Observer::start(bed, &namespace);
    let taken = run(&unset).expect_code(0).json();
    assert_eq!(taken["groups"][0]["counts"]["succeeded"], 2, "{taken}");
    let job = observer.wait_for(|job| job["status"]["succeeded"] == 1);
    let selector = format!("batch.kubernetes.io/job-name={}", job["metadata"]["name"].as_str().unwrap());
    let pods = bed.get(&["get", "pods", "-n", &namespace, "-l", &selector]);
    assert_eq!(pods["items"][0]["spec"]["securityContext"]["runAsUser"], 1_000_650_000, "{pods}");
}

#[test]
fn image_volumes_pass_restricted_v2_as_they_are() {
    let bed = shared();
    let (namespace, kubeconfig) = identity(bed, None);
    let _policies = restricted_v2(bed, &namespace);
    let config = one_group("quay.io/team/openshift:2", &format!("template = \"image-volume\"\n{ONE_NODE}"));
    bed.start_run_as(kubeconfig.path(), &namespace, &config, &[]).end().expect_code(0);
}

#[test]
fn check_finds_an_admission_that_renames_images_in_containers_alone() {
    let bed = shared();
    let namespace = bed.namespace("renames");
    let renamed = "object.spec.containers.filter(c, c.image.startsWith('quay.io/')).map(c, \
                   Object.spec.containers{name: c.name, image: 'mirror.example.com/' + c.image})";
    let expression = format!("Object{{spec: Object.spec{{containers: {renamed}}}}}");
    let mutation =
        json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}});
    // A tag would be a warning under --strict.
    let image = format!("quay.io/team/renamed@sha256:{}", "0".repeat(64));
    let config = |template: &str| one_group(&image, &format!("template = \"{template}\"\n{ONE_OF_EACH}"));
    let check = |template: &str, more: &[&str]| {
        bed.quayctl(&[&["check", "--cluster", "-n", &namespace], more].concat(), &config(template))
    };
    let before = check("image-volume", &["--strict"]).expect_code(0);
    assert!(!before.stderr.contains("admission turns"), "{}", before.stderr);
    let _policy = Policy::mutating(bed, &namespace, "pods", &[mutation]);
    wait_until("the renaming", || {
        dry_run(bed, &namespace, None).stdout.contains("mirror.example.com/quay.io")
    });
    for template in ["image-volume", "auto"] {
        let checked = check(template, &[]).expect_code(0);
        let words = [
            format!(
                "template image-volume: warning: admission turns the image {image} of a container into mirror.example.com/{image},"
            ),
            "set `template = \"helper\"`".to_owned(),
        ];
        assert!(words.iter().all(|words| checked.stderr.contains(words)), "{}", checked.stderr);
    }
    check("image-volume", &["--strict"]).expect_code(2);
    let helper = check("helper", &["--strict"]).expect_code(0);
    assert!(!helper.stderr.contains("admission turns"), "{}", helper.stderr);
    assert!(bed.jobs(&namespace).is_empty());
}

#[test]
fn a_limit_range_that_refuses_the_pods_says_which_values_to_set() {
    let bed = shared();
    let (namespace, kubeconfig) = identity(bed, None);
    let limits = json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "floor", "namespace": namespace},
        "spec": {"limits": [{"type": "Container", "min": {"cpu": "20m", "memory": "4Mi"}}]}});
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), limits.to_string()).unwrap();
    ended(&mut bed.kubectl(&["create", "-f", file.path().to_str().unwrap()])).expect_code(0);
    let config = |values: &str| one_group("quay.io/team/limited:1", &format!("{values}\n{ONE_NODE}"));
    let check = || bed.quayctl(&["check", "--cluster", "-n", &namespace], &config(""));
    wait_until("the LimitRange", || check().code == Some(2));
    let run = |values: &str| bed.start_run_as(kubeconfig.path(), &namespace, &config(values), &[]).end();
    let refused = run("").expect_code(1).json();
    let node = node_of(&refused);
    assert_eq!(node["reason"], "pod-rejected", "{node}");
    let message = node["message"].as_str().unwrap();
    let words = ["minimum cpu usage per Container is 20m", "`values.cpu`", "`values.memory`"];
    assert!(words.iter().all(|words| message.contains(words)), "{message}");
    let checked = check();
    assert!(checked.stderr.contains("`values.cpu`"), "{}", checked.stderr);
    run("values = { cpu = \"20m\", memory = \"4Mi\" }").expect_code(0);
}
