//! The rights of `deploy/` are enough for a run, and each of them is needed: without it a message
//! names verb, resource and namespace. Those of `deploy/serve` too, with what is applied beside them.

use std::fs;
use std::path::Path;

use quayctl_controller::cluster::{Cluster, ConnectOptions};
use quayctl_controller::plan::Node;
use serde_json::{Value, json};

use crate::support::bed::{Bed, shared};
use crate::support::serving::{Mount, Serving};
use crate::support::{Ended, ended, quayctl, root};

const ACCOUNT: &str = "quayctl-controller";

fn manifests(file: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&fs::read_to_string(root().join(file)).unwrap()).unwrap()
}

/// What is in `files`, for `namespace`, without `verb` on `resource` (of whatever API group).
fn rights(files: &[&str], namespace: &str, without: Option<(&str, &str)>) -> String {
    let mut objects: Vec<Value> = files.iter().flat_map(|file| manifests(file)).collect();
    for object in &mut objects {
        // One for each namespace of the tests, since they run side by side.
        let of_test = |name: &Value| format!("{namespace}-{}", name.as_str().unwrap());
        if object["kind"].as_str().unwrap().starts_with("ClusterRole") {
            object["metadata"]["name"] = of_test(&object["metadata"]["name"]).into();
        }
        if object["metadata"]["namespace"].is_string() {
            object["metadata"]["namespace"] = namespace.into();
        }
        if object["roleRef"]["kind"] == "ClusterRole" {
            object["roleRef"]["name"] = of_test(&object["roleRef"]["name"]).into();
        }
        for subject in object["subjects"].as_array_mut().into_iter().flatten() {
            subject["namespace"] = namespace.into();
        }
        for rule in object["rules"].as_array_mut().into_iter().flatten() {
            if let Some((verb, resource)) = without
                && rule["resources"].as_array().unwrap().contains(&resource.into())
            {
                rule["verbs"].as_array_mut().unwrap().retain(|found| found != verb);
            }
        }
        if let Some(rules) = object["rules"].as_array_mut() {
            rules.retain(|rule| rule["verbs"] != json!([]));
        }
    }
    json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}

/// A namespace with the service account, and the CronJob's rights.
pub fn identity(bed: &Bed, without: Option<(&str, &str)>) -> (String, tempfile::NamedTempFile) {
    identity_with(bed, &["deploy/rbac.yaml"], without)
}

pub fn identity_with(
    bed: &Bed,
    files: &[&str],
    without: Option<(&str, &str)>,
) -> (String, tempfile::NamedTempFile) {
    let namespace = bed.namespace("rights");
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), rights(files, &namespace, without)).unwrap();
    ended(&mut bed.kubectl(&["create", "serviceaccount", ACCOUNT, "-n", &namespace])).expect_code(0);
    ended(&mut bed.kubectl(&["apply", "-f", file.path().to_str().unwrap()])).expect_code(0);
    let token =
        ended(&mut bed.kubectl(&["create", "token", ACCOUNT, "-n", &namespace])).expect_code(0).stdout;
    (namespace, bed.kubeconfig_with(token.trim()))
}

fn run_as(kubeconfig: &tempfile::NamedTempFile, namespace: &str, image: &str, more: &str) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "[[groups]]\nname = \"g\"\nimages = [\"{image}\"]\nnode_selector = \"kubernetes.io/hostname=node-010\"\n{more}\n"
    );
    fs::write(folder.path().join("quayctl.toml"), config).unwrap();
    let mut command = quayctl();
    command
        .current_dir(&folder)
        .args(["run", "--run-id", "r", "-n", namespace, "--kubeconfig"])
        .arg(kubeconfig.path());
    command.env("QUAYCTL_CARRIER_IMAGE", "quayctl-controller:test");
    ended(&mut command)
}

#[test]
fn the_rights_are_enough() {
    let bed = shared();
    let (namespace, kubeconfig) = identity(bed, None);
    let failed = run_as(&kubeconfig, &namespace, "quay.io/team/not-found:1", "").expect_code(1);
    assert!(!failed.stderr.contains("not allowed"), "{}", failed.stderr);
    let (namespace, kubeconfig) = identity(bed, None);
    let slow =
        run_as(&kubeconfig, &namespace, "quay.io/team/slow-60s:rights", "deadline = \"2s\"").expect_code(1);
    assert!(!slow.stderr.contains("not allowed"), "{}", slow.stderr);
}

#[test]
fn the_job_of_a_failed_node_has_an_event_where_the_role_allows_it() {
    let bed = shared();
    for (without, count) in [(None, 1), (Some(("create", "events")), 0)] {
        let (namespace, kubeconfig) = identity(bed, without);
        let failed = run_as(&kubeconfig, &namespace, "quay.io/team/not-found:1", "").expect_code(1);
        assert!(!failed.stderr.contains("WARN"), "{}", failed.stderr);
        let selector = "involvedObject.kind=Job,reportingComponent=quayctl-controller";
        let events = bed.get(&["get", "events", "-n", &namespace, "--field-selector", selector]);
        let events = events["items"].as_array().unwrap();
        assert_eq!(events.len(), count, "{events:?}");
        let Some(event) = events.first() else { continue };
        let job = &bed.jobs(&namespace)[0];
        assert_eq!(event["reason"], "ImageNotFound", "{event}");
        assert!(event["message"].as_str().unwrap().contains("not found"), "{event}");
        assert_eq!(event["involvedObject"]["uid"], job["metadata"]["uid"], "{event}");
    }
}

#[test]
fn without_any_one_of_them_a_run_names_what_it_lacks() {
    let bed = shared();
    let missing = [
        ("list", "nodes", "list nodes"),
        ("create", "jobs", "create jobs.batch"),
        ("list", "jobs", "list jobs.batch"),
        ("watch", "jobs", "watch jobs.batch"),
        ("list", "pods", "list pods"),
        ("watch", "pods", "watch pods"),
        ("list", "events", "list events"),
        ("watch", "events", "watch events"),
    ];
    // At the same time: a refusal is believed once it has been repeated for half a minute.
    let refused = std::thread::scope(|scope| {
        let begun = missing.map(|(verb, resource, told)| {
            scope.spawn(move || {
                let (namespace, kubeconfig) = identity(bed, Some((verb, resource)));
                // Slow, so that a missing watch is noticed while there is something to wait for.
                (
                    run_as(&kubeconfig, &namespace, "quay.io/team/slow-60s:rights", ""),
                    namespace,
                    resource,
                    told,
                )
            })
        });
        begun.map(|run| run.join().unwrap())
    });
    for (refused, namespace, resource, told) in refused {
        let refused = refused.expect_code(3);
        let place = if resource == "nodes" {
            "in the whole cluster".to_owned()
        } else {
            format!("in namespace {namespace:?}")
        };
        assert!(
            refused.stderr.contains(&format!("not allowed to {told} {place}")),
            "{told}: {}",
            refused.stderr
        );
    }
}

#[test]
fn without_a_right_for_what_goes_wrong_a_run_says_so_and_goes_on() {
    let bed = shared();
    // To end a failed Job early and note why.
    let (namespace, kubeconfig) = identity(bed, Some(("patch", "jobs")));
    let failed =
        run_as(&kubeconfig, &namespace, "quay.io/team/not-found:1", "deadline = \"25s\"").expect_code(1);
    assert!(
        failed.stderr.contains(&format!("not allowed to patch jobs.batch in namespace {namespace:?}")),
        "{}",
        failed.stderr
    );
    assert!(failed.stdout.contains("image-not-found"), "{}", failed.stdout);

    // To look after the node of a Job that ran into its deadline.
    let (namespace, kubeconfig) = identity(bed, Some(("get", "nodes")));
    let failed =
        run_as(&kubeconfig, &namespace, "quay.io/team/slow-60s:rights", "deadline = \"2s\"").expect_code(1);
    assert!(failed.stderr.contains("not allowed to get nodes"), "{}", failed.stderr);
    assert!(failed.stdout.contains("deadline-exceeded"), "{}", failed.stdout);

    // To look at what has our Job's name.
    let (namespace, kubeconfig) = identity(bed, Some(("get", "jobs")));
    let dry =
        ["run", "--run-id", "r", "-n", &namespace, "--dry-run=client", "-o", "json", "--node", "node-010"];
    let config = "[[groups]]\nname = \"g\"\nimages = [\"nginx:1.29\"]\nnode_selector = \"kubernetes.io/hostname=node-010\"\n";
    let plan = bed.quayctl(&dry, config).expect_code(0).json();
    let name = plan["groups"][0]["nodes"][0]["job"].as_str().unwrap().to_owned();
    ended(&mut bed.kubectl(&["create", "job", &name, "--image=nginx", "-n", &namespace])).expect_code(0);
    let refused = run_as(&kubeconfig, &namespace, "nginx:1.29", "").expect_code(3);
    assert!(
        refused.stderr.contains(&format!("not allowed to get jobs.batch in namespace {namespace:?}")),
        "{}",
        refused.stderr
    );
}

async fn connect(kubeconfig: &Path) -> Cluster {
    let options = ConnectOptions { kubeconfig: Some(kubeconfig.to_owned()), ..ConnectOptions::default() };
    Cluster::connect(&options).await.expect("it answers")
}

#[test]
fn the_rights_of_serve_are_enough_for_what_a_run_does_too() {
    let bed = shared();
    let (namespace, kubeconfig) = identity_with(bed, &["deploy/serve/rbac.yaml"], None);
    let failed = run_as(&kubeconfig, &namespace, "quay.io/team/not-found:1", "").expect_code(1);
    assert!(!failed.stderr.contains("not allowed"), "{}", failed.stderr);
    let grants = |file: &str| {
        let rules = manifests(file).into_iter().flat_map(|object| object["rules"].as_array().cloned());
        rules
            .flatten()
            .flat_map(|rule| {
                let (groups, resources) = (rule["apiGroups"].clone(), rule["resources"].clone());
                let verbs = rule["verbs"].as_array().unwrap().clone();
                verbs.into_iter().map(move |verb| json!([groups, resources, verb]).to_string())
            })
            .collect::<Vec<_>>()
    };
    let of_run = grants("deploy/rbac.yaml");
    let added: Vec<String> =
        grants("deploy/serve/rbac.yaml").into_iter().filter(|grant| !of_run.contains(grant)).collect();
    assert_eq!(added, [r#"[[""],["nodes"],"watch"]"#, r#"[["events.k8s.io"],["events"],"patch"]"#,]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_election_needs_the_lease_manifest_and_each_verb_of_it() {
    let bed = shared();
    let files = ["deploy/serve/rbac.yaml", "deploy/serve/rbac-leases.yaml"];
    let (namespace, kubeconfig) = identity_with(bed, &files, None);
    let mut election =
        connect(kubeconfig.path()).await.elect_leader(&namespace, "default", "pod").await.unwrap();
    assert!(election.changed().await);
    election.release().await;
    let of_other = connect(kubeconfig.path()).await.elect_leader(&namespace, "other", "pod").await;
    let error = of_other.unwrap_err().to_string();
    assert!(error.contains("not allowed to get leases.coordination.k8s.io"), "{error}");
    let refused = ["get", "create", "patch"].map(|verb| async move {
        let (namespace, kubeconfig) = identity_with(bed, &files, Some((verb, "leases")));
        let refused = connect(kubeconfig.path()).await.elect_leader(&namespace, "default", "pod").await;
        (verb, namespace, refused.unwrap_err().to_string())
    });
    for (verb, namespace, error) in futures::future::join_all(refused).await {
        let told = format!("not allowed to {verb} leases.coordination.k8s.io in namespace {namespace:?}");
        assert!(error.contains(&told), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_needs_the_manifest_that_lets_nodes_be_patched() {
    let bed = shared();
    let key = "quayctl-controller/rights";
    let node = Node { name: "node-011".to_owned(), ..Node::default() };
    let (_, kubeconfig) = identity_with(bed, &["deploy/serve/rbac.yaml"], None);
    let refused =
        connect(kubeconfig.path()).await.mark_node_ready(&node, key, Some("0123456789abcdef"), None).await;
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("not allowed to patch nodes in the whole cluster"), "{error}");
    let files = ["deploy/serve/rbac.yaml", "deploy/serve/rbac-nodes-patch.yaml"];
    let (_, kubeconfig) = identity_with(bed, &files, None);
    let cluster = connect(kubeconfig.path()).await;
    cluster.mark_node_ready(&node, key, Some("0123456789abcdef"), None).await.unwrap();
    assert_eq!(bed.get(&["get", "node", "node-011"])["metadata"]["labels"][key], "0123456789abcdef");
    cluster.remove_ready_label("node-011", key).await.unwrap();
}

#[test]
fn two_replicas_get_the_rules_of_the_lease_manifest() {
    let built =
        ended(&mut shared().kubectl(&["kustomize", root().join("deploy/serve-ha").to_str().unwrap()]));
    let objects: Vec<Value> = serde_saphyr::from_multiple(&built.expect_code(0).stdout).unwrap();
    let role = |objects: &[Value], name: &str| {
        let mut found = objects.iter().filter(|o| o["kind"] == "Role" && o["metadata"]["name"] == name);
        found.next().expect(name)["rules"].as_array().unwrap().clone()
    };
    let rules = role(&objects, "quayctl-controller-serve");
    for rule in role(&manifests("deploy/serve/rbac-leases.yaml"), "quayctl-controller-leases") {
        assert!(rules.contains(&rule), "{rule}");
    }
    let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
    assert_eq!(deployment["spec"]["replicas"], 2);
    let args = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    assert_eq!(*args, json!(["serve", "--config", "/etc/quayctl/quayctl.toml", "--leader-elect"]));
}

const POD: [(&str, &str); 3] = [
    ("POD_NAME", "quayctl-controller-x"),
    ("POD_NAMESPACE", ""),
    ("POD_UID", "0c6f3b1e-5b1a-4c1e-9d0c-000000000001"),
];

/// `serve` as `deploy/serve` runs it, with these rights and flags, for a group on one node. Tests that look
/// at the node's label have one each.
fn serve_as(kubeconfig: &Path, namespace: &str, node: &str, more: &str, flags: &[&str]) -> (Mount, Serving) {
    let config = format!(
        "[[groups]]\nname = \"rights\"\nimages = [\"quay.io/team/a:rights\"]\nnode_selector = \"kubernetes.io/hostname={node}\"\n{more}\n"
    );
    let mount = Mount::new(&[("quayctl.toml", &config)]);
    let pod = POD.map(|(key, value)| (key, if value.is_empty() { namespace } else { value }));
    let serving = Serving::start_with(kubeconfig, namespace, &mount.config(), flags, &pod);
    (mount, serving)
}

/// Waits until `is_it` holds.
#[track_caller]
fn eventually(what: &str, is_it: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !is_it() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{what}");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

#[test]
fn serve_runs_with_exactly_the_rights_of_its_deployment() {
    let bed = shared();
    let (namespace, kubeconfig) = identity_with(bed, &["deploy/serve/rbac.yaml"], None);
    let (_mount, serving) = serve_as(kubeconfig.path(), &namespace, "node-012", "", &[]);
    serving.wait_for_nodes("rights", "succeeded", 1);
    assert_eq!(serving.page("/readyz"), (200, "ok".to_owned()));
    eventually("it has told of the run in Events on its pod", || {
        let events = bed.get(&["get", "events.events.k8s.io", "-n", &namespace]);
        let of_pod = |reason: &str| {
            events["items"]
                .as_array()
                .unwrap()
                .iter()
                .any(|event| event["reason"] == reason && event["regarding"]["name"] == POD[0].1)
        };
        of_pod("RunStarted") && of_pod("RunFinished")
    });
    let served = serving.terminate();
    assert_eq!(served.code, Some(0), "{}", served.log);
    assert!(!served.log.contains("not allowed") && !served.log.contains("forbidden"), "{}", served.log);

    // What it was not given.
    let (_mount, serving) = serve_as(kubeconfig.path(), &namespace, "node-012", "", &["--leader-elect"]);
    let served = serving.end();
    assert_eq!(served.code, Some(3), "{}", served.log);
    let (_mount, serving) = serve_as(kubeconfig.path(), &namespace, "node-012", "ready_label = true", &[]);
    serving.wait_for("not allowed to patch nodes in the whole cluster");
    assert_eq!(serving.terminate().code, Some(0), "the group is served all the same");
}

#[test]
fn serve_leads_and_opens_gates_with_the_manifests_that_are_applied_beside() {
    let bed = shared();
    let files =
        ["deploy/serve/rbac.yaml", "deploy/serve/rbac-leases.yaml", "deploy/serve/rbac-nodes-patch.yaml"];
    let (namespace, kubeconfig) = identity_with(bed, &files, None);
    let taint = "example.com/rights=:PreferNoSchedule";
    ended(&mut bed.kubectl(&["taint", "node", "node-013", taint])).expect_code(0);
    let gate = "ready_label = true\nremove_taint = \"example.com/rights:PreferNoSchedule\"";
    let (_mount, serving) = serve_as(kubeconfig.path(), &namespace, "node-013", gate, &["--leader-elect"]);
    eventually("the node shows it", || {
        let node = bed.get(&["get", "node", "node-013"]);
        let label = node["metadata"]["labels"]["quayctl-controller/rights"].as_str();
        label.is_some_and(|label| label.len() == 16) && !node["spec"]["taints"].to_string().contains("rights")
    });
    let served = serving.terminate();
    assert_eq!(served.code, Some(0), "{}", served.log);
    assert!(!served.log.contains("not allowed"), "{}", served.log);
    let lease = bed.get(&["get", "lease", "quayctl-controller-default", "-n", &namespace]);
    assert!(lease["spec"]["holderIdentity"].is_null(), "it was released: {lease}");
    ended(&mut bed.kubectl(&["label", "node", "node-013", "quayctl-controller/rights-"])).expect_code(0);
}
