//! The rights of `deploy/` are enough for a run, and each of them is needed: without it a message
//! names verb, resource and namespace.

use std::fs;

use serde_json::{Value, json};

use crate::support::bed::{Bed, shared};
use crate::support::{Ended, ended, quayctl, root};

const ACCOUNT: &str = "quayctl-controller";

/// `deploy/rbac.yaml` for `namespace`, without `verb` on `resource` (of whatever API group).
fn rights(namespace: &str, without: Option<(&str, &str)>) -> String {
    let text = fs::read_to_string(root().join("deploy/rbac.yaml")).unwrap();
    let mut objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    for object in &mut objects {
        if object["kind"].as_str().unwrap().starts_with("ClusterRole") {
            // One for each namespace of the tests, since they run side by side.
            object["metadata"]["name"] = namespace.into();
        }
        if object["metadata"]["namespace"].is_string() {
            object["metadata"]["namespace"] = namespace.into();
        }
        if object["roleRef"]["kind"] == "ClusterRole" {
            object["roleRef"]["name"] = namespace.into();
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
    }
    json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}

/// A namespace with the service account, and these rights.
fn identity(bed: &Bed, without: Option<(&str, &str)>) -> (String, tempfile::NamedTempFile) {
    let namespace = bed.namespace("rights");
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), rights(&namespace, without)).unwrap();
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
fn without_any_one_of_them_a_run_names_what_it_lacks() {
    let bed = shared();
    for (verb, resource, told) in [
        ("list", "nodes", "list nodes"),
        ("create", "jobs", "create jobs.batch"),
        ("list", "jobs", "list jobs.batch"),
        ("watch", "jobs", "watch jobs.batch"),
        ("list", "pods", "list pods"),
        ("watch", "pods", "watch pods"),
        ("list", "events", "list events"),
        ("watch", "events", "watch events"),
    ] {
        let (namespace, kubeconfig) = identity(bed, Some((verb, resource)));
        // Slow, so that a missing watch is noticed while there is something to wait for.
        let refused = run_as(&kubeconfig, &namespace, "quay.io/team/slow-9s:rights", "").expect_code(3);
        let place = if resource == "nodes" {
            "in the whole cluster".to_owned()
        } else {
            format!("in namespace {namespace:?}")
        };
        assert!(
            refused.stderr.contains(&format!("not allowed to {told} {place}")),
            "{verb}: {}",
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
