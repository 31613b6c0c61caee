//! One test for each defect of the controller of 2017, named for it. What was wrong is said in each.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::bed::{NODES, shared};
use crate::support::{ended, quayctl};

fn node(name: &str, more: &Value) -> Value {
    let mut node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "uid": format!("uid-{name}"), "labels": {}},
        "spec": {},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"operatingSystem": "linux", "architecture": "amd64", "kubeletVersion": "v1.37.2",
                         "containerRuntimeVersion": "containerd://2.4.2"},
        },
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        node[key] = value.clone();
    }
    node
}

/// The Jobs that `render` prints for these nodes.
fn rendered(nodes: &[Value], more: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": nodes});
    std::fs::write(folder.path().join("nodes.json"), list.to_string()).unwrap();
    let config = format!("[[groups]]\nname = \"g\"\nimages = [\"nginx:1.29\"]\n{more}\n");
    std::fs::write(folder.path().join("quayctl.toml"), config).unwrap();
    let mut command = quayctl();
    command.current_dir(&folder).args(["render", "--nodes", "nodes.json", "-n", "pulls"]);
    let stream = ended(&mut command).expect_code(0).stdout;
    serde_saphyr::from_multiple(&stream).unwrap()
}

fn name_and_node(job: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&job["metadata"]["name"]), text(&job["metadata"]["annotations"]["quayctl-controller/node"]))
}

fn one_group(images: &[&str], more: &str) -> String {
    format!("[[groups]]\nname = \"g\"\nimages = {images:?}\n{more}\n")
}

/// A name was the index in the list of nodes, so another list next hour gave a name to another node.
#[test]
fn a_jobs_name_does_not_depend_on_which_other_nodes_there_are() {
    let all: Vec<Value> = ["a", "b", "c"].map(|name| node(name, &json!({}))).to_vec();
    let before: BTreeSet<_> = rendered(&all, "").iter().map(name_and_node).collect();
    let after: BTreeSet<_> = rendered(&all[1..], "").iter().map(name_and_node).collect();
    assert!(after.is_subset(&before) && after.len() == 2, "{before:?} {after:?}");
    // And a node that was replaced by another of its name is another node.
    let replaced = node("a", &json!({"metadata": {"name": "a", "uid": "new", "labels": {}}}));
    let again: BTreeSet<_> = rendered(&[replaced], "").iter().map(name_and_node).collect();
    assert!(again.is_disjoint(&before));
}

/// Nodes with any NoSchedule taint were left out, whatever was tolerated.
#[test]
fn a_taint_that_is_tolerated_is_no_obstacle() {
    let tainted = [node(
        "a",
        &json!({"spec": {"taints": [{"key": "dedicated", "value": "x", "effect": "NoSchedule"}]}}),
    )];
    assert_eq!(rendered(&tainted, "").len(), 0);
    let tolerant = "tolerations = [{ key = \"dedicated\", operator = \"Exists\" }]";
    assert_eq!(rendered(&tainted, tolerant).len(), 1);
}

/// Pods were pinned by the hostname label, which a node may lack, or share the value of.
#[test]
fn a_node_without_a_hostname_label_gets_its_own_pod() {
    let jobs = rendered(&[node("a.example.com", &json!({}))], "");
    let affinity = &jobs[0]["spec"]["template"]["spec"]["affinity"]["nodeAffinity"];
    let term =
        &affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"][0]["matchFields"][0];
    assert_eq!(*term, json!({"key": "metadata.name", "operator": "In", "values": ["a.example.com"]}));
    assert!(jobs[0]["spec"]["template"]["spec"]["nodeSelector"].is_null());
}

/// `&job` of the loop variable made every entry the last Job.
#[test]
fn every_job_is_pinned_to_the_node_that_it_is_reported_for() {
    let bed = shared();
    let namespace = bed.namespace("pinned");
    let report = bed
        .run(&namespace, &one_group(&["nginx:1.29"], "node_selector = \"gpu\""), &[])
        .expect_code(0)
        .json();
    let pods = bed.get(&["get", "pods", "-n", &namespace]);
    let ran: BTreeSet<(String, String)> = pods["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pod| {
            let job = pod["metadata"]["labels"]["batch.kubernetes.io/job-name"].as_str().unwrap();
            (job.to_owned(), pod["spec"]["nodeName"].as_str().unwrap().to_owned())
        })
        .collect();
    let nodes = report["groups"][0]["nodes"].as_array().unwrap();
    let told = nodes
        .iter()
        .map(|node| (node["job"].as_str().unwrap().to_owned(), node["name"].as_str().unwrap().to_owned()));
    assert_eq!(told.collect::<BTreeSet<_>>(), ran);
    assert_eq!(ran.len(), NODES / 10);
}

/// The namespace came from the environment in one place and was `default` in eight others.
#[test]
fn nothing_is_made_in_another_namespace_than_the_one_asked_for() {
    let bed = shared();
    let namespace = bed.namespace("elsewhere");
    bed.run(&namespace, &one_group(&["nginx:1.29"], "node_selector = \"gpu\""), &["--run-id", "elsewhere"])
        .expect_code(0);
    let all = bed.get(&["get", "jobs", "-A", "-l", "quayctl-controller/run=elsewhere"]);
    let namespaces: BTreeSet<String> =
        all["items"].as_array().unwrap().iter().map(|job| job["metadata"]["namespace"].to_string()).collect();
    assert_eq!(namespaces, BTreeSet::from([format!("{namespace:?}")]));
}

/// It left with 0 whatever had failed, and deleted failed Jobs with all they knew.
#[test]
fn a_run_that_failed_says_so_and_keeps_the_evidence() {
    let bed = shared();
    let namespace = bed.namespace("evidence");
    let config = one_group(&["quay.io/team/denied:1"], "node_selector = \"kubernetes.io/hostname=node-010\"");
    bed.run(&namespace, &config, &[]).expect_code(1);
    let jobs = bed.jobs(&namespace);
    assert_eq!(jobs.len(), 1);
    let note = jobs[0]["metadata"]["annotations"]["quayctl-controller/outcome"].as_str().unwrap();
    assert!(note.contains("unauthorized") && note.contains("denied"), "{note}");
}

/// It panicked where a Job was gone already.
#[test]
fn a_job_that_somebody_deletes_fails_its_node_and_the_run_goes_on() {
    let bed = shared();
    let namespace = bed.namespace("deleted");
    let mut observer = crate::support::bed::Observer::start(bed, &namespace);
    let running = bed.start_run(
        &namespace,
        &one_group(&["quay.io/team/slow-6s-deleted:1"], "node_selector = \"gpu\""),
        &["--cleanup"],
    );
    let job = observer.wait_for(|job| job["status"]["active"] == 1);
    let name = job["metadata"]["name"].as_str().unwrap();
    ended(&mut bed.kubectl(&["delete", "job", name, "-n", &namespace])).expect_code(0);
    let report = running.end().expect_code(1).json();
    assert_eq!(
        report["groups"][0]["counts"],
        json!({"succeeded": NODES / 10 - 1, "failed": 1, "skipped": 0, "interrupted": 0, "notStarted": 0})
    );
    let failed = report["groups"][0]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|node| node["verdict"] == "failed")
        .unwrap();
    assert_eq!((&failed["reason"], failed["job"].as_str()), (&"job-deleted".into(), Some(name)));
}

/// A deadline that could not be read meant 0 in one place and a panic in another.
#[test]
fn a_deadline_that_cannot_be_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = quayctl();
    command.current_dir(&folder).envs([("QUAY_IMAGES", "nginx:1.29"), ("DEADLINE_SECONDS", "5 minutes")]);
    let refused = ended(&mut command).expect_code(2);
    assert!(
        refused.stderr.contains("DEADLINE_SECONDS") && refused.stderr.contains("5 minutes"),
        "{}",
        refused.stderr
    );
}

/// Any error of a GET meant that the Job was not there, and it was created.
#[test]
fn no_cluster_is_an_error_and_not_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = quayctl();
    command.current_dir(&folder).env("QUAY_IMAGES", "nginx:1.29");
    assert_eq!(ended(&mut command).expect_code(3).stdout, "");
}

/// Pull secret, service account and image were compiled in, and any Job with a certain label key was
/// taken for its own.
#[test]
fn secrets_and_accounts_are_configured_and_a_foreign_job_with_our_label_keys_is_not_ours() {
    let bed = shared();
    let namespace = bed.namespace("foreign-key");
    let create = ["create", "job", "theirs", "--image=nginx", "-n", &namespace];
    ended(&mut bed.kubectl(&create)).expect_code(0);
    let label = [
        "label",
        "job",
        "theirs",
        "quayctl-controller/run=r",
        "app.kubernetes.io/managed-by=helm",
        "-n",
        &namespace,
    ];
    ended(&mut bed.kubectl(&label)).expect_code(0);
    let account = ["create", "serviceaccount", "puller", "-n", &namespace];
    ended(&mut bed.kubectl(&account)).expect_code(0);
    let more = "node_selector = \"kubernetes.io/hostname=node-010\"\npull_secrets = [\"ours\"]\nservice_account = \"puller\"";
    bed.run(&namespace, &one_group(&["nginx:1.29"], more), &["--run-id", "r", "--cleanup"]).expect_code(0);
    let left = bed.get(&["get", "jobs", "-n", &namespace]);
    let names: Vec<&Value> =
        left["items"].as_array().unwrap().iter().map(|job| &job["metadata"]["name"]).collect();
    assert_eq!(names, ["theirs"]);
}
