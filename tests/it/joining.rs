//! Nodes that join, change and go under a running `serve`. Each test has a control plane of its own,
//! since it changes nodes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::bed::{Bed, Observer, is_over};
use crate::support::ended;
use crate::support::serving::{Mount, Serving};

fn mount(config: &str) -> Mount {
    Mount::new(&[("quayctl.toml", config)])
}

/// Creates nodes that are like `node-001`.
fn join(bed: &Bed, names: &[String], change: impl Fn(&mut Value)) {
    let like = bed.get(&["get", "node", "node-001"]);
    let nodes: Vec<Value> = names
        .iter()
        .map(|name| {
            let mut node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {
                "name": name, "labels": like["metadata"]["labels"], "annotations": like["metadata"]["annotations"]}});
            // What kubelets say of themselves; the simulation says the rest.
            for key in ["nodeInfo", "capacity", "allocatable", "addresses"] {
                node["status"][key] = like["status"][key].clone();
            }
            node["metadata"]["labels"]["kubernetes.io/hostname"] = name.as_str().into();
            change(&mut node);
            node
        })
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": nodes});
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), list.to_string()).unwrap();
    ended(bed.kubectl(&["create", "-f"]).arg(file.path())).expect_code(0);
}

fn kubectl(bed: &Bed, args: &[&str]) {
    ended(&mut bed.kubectl(args)).expect_code(0);
}

fn jobs_on(bed: &Bed, namespace: &str, node: &str) -> Vec<Value> {
    let mut jobs = bed.jobs(namespace);
    jobs.retain(|job| job["metadata"]["annotations"]["quayctl-controller/node"] == node);
    jobs
}

fn is_on(node: &str) -> impl Fn(&Value) -> bool {
    move |job: &Value| job["metadata"]["annotations"]["quayctl-controller/node"] == node
}

#[test]
fn a_node_that_joins_is_relabelled_or_comes_back_gets_what_it_lacks_and_nothing_twice() {
    let bed = Bed::start(&["--nodes", "3"]);
    let namespace = bed.namespace("joining");
    let config = mount(
        "[[groups]]\nname = \"all\"\nimages = [\"quay.io/team/a:1\"]\n\
         [[groups]]\nname = \"zone\"\nimages = [\"quay.io/team/z:1\"]\nnode_selector = \"pull=yes\"\nschedule = \"0 0 1 1 *\"\n\
         [[groups]]\nname = \"still\"\nimages = [\"quay.io/team/s:1\"]\nnew_nodes = false\n",
    );
    let mut observer = Observer::start(&bed, &namespace);
    let serving = Serving::start(&bed, &namespace, &config.config(), &[]);
    serving.wait_for_nodes("all", "succeeded", 3);
    serving.wait_for_nodes("still", "succeeded", 3);

    let begun = Instant::now();
    join(&bed, &["new-1".to_owned()], |_| {});
    observer.wait_for(is_on("new-1"));
    // The node has to turn Ready first, which the simulation does within a second.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    serving.wait_for_metric("quayctl_new_nodes_total{group=\"all\"}", 1.0);
    serving.wait_for_nodes("all", "succeeded", 4);

    // Ten times away and back: its Job is there, so there is nothing to do.
    for _ in 0..10 {
        kubectl(&bed, &["cordon", "new-1"]);
        kubectl(&bed, &["uncordon", "new-1"]);
    }
    let begun = Instant::now();
    kubectl(&bed, &["label", "node", "node-002", "pull=yes"]);
    let job = observer.wait_for(|job| job["metadata"]["labels"]["quayctl-controller/group"] == "zone");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let run = job["metadata"]["labels"]["quayctl-controller/run"].as_str().unwrap();
    assert!(run.ends_with("0101t000000z"), "the last time that the group was due: {run}");
    assert!(is_on("node-002")(&job));
    // Whatever the cordons had caused would have been begun before.
    assert_eq!(jobs_on(&bed, &namespace, "new-1").len(), 1);

    // Another node of the same name is another node.
    kubectl(&bed, &["delete", "node", "new-1"]);
    join(&bed, &["new-1".to_owned()], |_| {});
    serving.wait_for_metric("quayctl_new_nodes_total{group=\"all\"}", 2.0);
    serving.wait_for_nodes("all", "succeeded", 5);
    assert_eq!(jobs_on(&bed, &namespace, "new-1").len(), 2);
    assert_eq!(serving.metric("quayctl_new_nodes_total{group=\"all\"}"), Some(2.0));
    let series =
        |what: &str| serving.metric(&format!("quayctl_{what}_total{{group=\"all\",verdict=\"succeeded\"}}"));
    assert_eq!((series("runs"), series("nodes")), (Some(1.0), Some(5.0)), "nodes that come are no run");
    assert_eq!(serving.terminate().code, Some(0));
}

#[test]
fn many_nodes_that_join_at_once_stay_within_the_limit() {
    let bed = Bed::start(&["--nodes", "1", "--mode", "open"]);
    let namespace = bed.namespace("storm");
    let config = mount(
        "concurrency = 10\n[[groups]]\nname = \"a\"\nimages = [\"quay.io/team/a:1\"]\n\
         [[groups]]\nname = \"b\"\nimages = [\"quay.io/team/b:1\"]\nconcurrency = 4\n",
    );
    let observer = Observer::start(&bed, &namespace);
    let serving = Serving::start(&bed, &namespace, &config.config(), &[]);
    serving.wait_for_nodes("b", "succeeded", 1);
    let names: Vec<String> = (0..100).map(|n| format!("new-{n:03}")).collect();
    join(&bed, &names, |_| {});
    let (most, on_a_node) = observer.most_live_jobs(202);
    assert!(most <= 10 && on_a_node == 1, "{most} live Jobs at once, {on_a_node} on a node");
    serving.terminate();
    assert_eq!(bed.jobs(&namespace).len(), 202);
}

#[test]
fn a_ready_node_is_labelled_and_its_startup_taint_goes() {
    let bed = Bed::start(&["--nodes", "2"]);
    let namespace = bed.namespace("gate");
    let config = |tag: &str, more: &str| {
        format!("[[groups]]\nname = \"g\"\nimages = [\"quay.io/team/g:{tag}\"]\n{more}\n")
    };
    let gate = "ready_label = true\nremove_taint = \"example.com/starting:NoSchedule\"";
    let mount = mount(&config("1", gate));
    let serving = Serving::start(&bed, &namespace, &mount.config(), &[]);
    serving.wait_for_nodes("g", "succeeded", 2);
    let wait = |node: &str, what: &str| {
        kubectl(&bed, &["wait", &format!("node/{node}"), &format!("--for=jsonpath={what}"), "--timeout=30s"]);
    };
    let label = |node: &str| {
        let node = bed.get(&["get", "node", node]);
        node["metadata"]["labels"]["quayctl-controller/g"].as_str().map(str::to_owned)
    };
    let content = |tag: &str| {
        let jobs = bed.jobs(&namespace);
        let job = jobs.iter().find(|job| job.to_string().contains(&format!("team/g:{tag}"))).unwrap().clone();
        job["metadata"]["annotations"]["quayctl-controller/content"].as_str().unwrap()[..16].to_owned()
    };
    let first = content("1");
    wait("node-001", &format!("{{.metadata.labels.quayctl-controller/g}}={first}"));

    join(&bed, &["new-1".to_owned()], |node| {
        node["spec"]["taints"] = json!([
            {"key": "example.com/starting", "effect": "NoSchedule"},
            {"key": "example.com/other", "effect": "PreferNoSchedule"},
        ]);
    });
    wait("new-1", &format!("{{.metadata.labels.quayctl-controller/g}}={first}"));
    wait("new-1", "{.spec.taints[0].key}=example.com/other");
    assert_eq!(bed.get(&["get", "node", "new-1"])["spec"]["taints"].as_array().unwrap().len(), 1);

    // The label moves once the new images are there, and not before.
    mount.swap(&[("quayctl.toml", &config("2", gate))]);
    // Two at the start, the one that joined, and now all three.
    serving.wait_for_nodes("g", "succeeded", 6);
    let second = content("2");
    assert_ne!(first, second);
    wait("new-1", &format!("{{.metadata.labels.quayctl-controller/g}}={second}"));
    mount.swap(&[("quayctl.toml", &config("not-found", gate))]);
    serving.wait_for_nodes("g", "failed", 3);
    assert_eq!(label("new-1"), Some(second));

    mount.swap(&[("quayctl.toml", &config("2", "").replace("\"g\"", "\"h\""))]);
    serving.wait_for_nodes("h", "succeeded", 3);
    let until = Instant::now() + Duration::from_secs(30);
    while ["node-001", "node-002", "new-1"].iter().any(|node| label(node).is_some()) {
        assert!(Instant::now() < until, "the label goes when its group goes");
    }
    assert_eq!(serving.terminate().code, Some(0));
}

#[test]
fn a_node_that_fails_is_ended_without_taking_the_process_along() {
    let bed = Bed::start(&["--nodes", "2"]);
    let namespace = bed.namespace("failing");
    let config = mount("[[groups]]\nname = \"g\"\nimages = [\"quay.io/team/not-found:1\"]\n");
    let mut observer = Observer::start(&bed, &namespace);
    let serving = Serving::start(&bed, &namespace, &config.config(), &[]);
    serving.wait_for("image-not-found: quay.io/team/not-found:1 on");
    serving.wait_for_nodes("g", "failed", 2);
    assert_eq!(serving.metric("quayctl_nodes_total{group=\"g\",verdict=\"succeeded\"}"), Some(0.0));
    observer.wait_for(is_over);
    assert_eq!(serving.metric("quayctl_failures_total{group=\"g\",reason=\"image-not-found\"}"), Some(2.0));
    assert_eq!(serving.terminate().code, Some(0), "failed nodes are no failure of the process");
}
