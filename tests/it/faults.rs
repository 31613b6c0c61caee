//! What a run does while parts of the cluster die, hang or vanish. Each test has a control plane of
//! its own, since it breaks it, and runs with the rights that `deploy/rbac.yaml` gives: an API server that
//! has just started lets administrators in, and refuses everybody else for a while.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::deploy::identity;
use crate::support::bed::{Bed, Observer};
use crate::support::ended;

const NODES: usize = 50;

fn one_group(images: &[&str], more: &str) -> String {
    format!("{more}\n[[groups]]\nname = \"g\"\nimages = {images:?}\n")
}

fn nodes_of(report: &Value) -> &Vec<Value> {
    report["groups"][0]["nodes"].as_array().expect("a list of nodes")
}

#[test]
fn an_api_server_that_is_killed_for_five_seconds_costs_time_and_nothing_else() {
    let bed = Bed::start(&["--nodes", "50", "--on-component-end", "restart", "--restart-after", "5s"]);
    let (namespace, kubeconfig) = identity(&bed, None);
    let mut observer = Observer::start(&bed, &namespace);
    let running = bed.start_run_as(
        kubeconfig.path(),
        &namespace,
        &one_group(&["quay.io/team/a:1"], "concurrency = 10"),
        &["--run-id", "r"],
    );
    for _ in 0..60 {
        observer.next_job();
    }
    bed.signal("kube-apiserver", "KILL");
    drop(observer);
    let ended = running.end().expect_code(0);
    assert_eq!(ended.json()["groups"][0]["counts"]["succeeded"], NODES);
    assert_eq!(bed.jobs(&namespace).len(), NODES, "nothing doubled");
    let told =
        ended.stderr.lines().filter(|line| line.contains("WARN") || line.contains("works again")).count();
    assert!(told <= 4, "said when it broke and when it worked again: {}", ended.stderr);
}

#[test]
fn an_api_server_that_refuses_everybody_while_it_starts_costs_time_and_nothing_else() {
    let bed = Bed::start(&["--nodes", "50", "--on-component-end", "restart", "--restart-after", "1s"]);
    let (namespace, kubeconfig) = identity(&bed, None);
    let mut observer = Observer::start(&bed, &namespace);
    let config = one_group(&["quay.io/team/runs-3s:1"], "concurrency = 5");
    let running = bed.start_run_as(kubeconfig.path(), &namespace, &config, &["--run-id", "r"]);
    observer.wait_for(|job| job["status"]["active"] == 1);
    for _ in 0..3 {
        bed.signal("kube-apiserver", "KILL");
        // It has the Jobs again, and goes on with them.
        observer = Observer::start_when_up(&bed, &namespace);
        observer.wait_for(|job| job["status"]["active"] == 1);
    }
    drop(observer);
    let ended = running.end().expect_code(0);
    assert_eq!(ended.json()["groups"][0]["counts"]["succeeded"], NODES);
    assert_eq!(bed.jobs(&namespace).len(), NODES, "nothing doubled");
}

#[test]
fn an_api_server_that_hangs_does_not_keep_a_run_beyond_its_deadline() {
    let bed = Bed::start(&["--nodes", "10"]);
    let (namespace, kubeconfig) = identity(&bed, None);
    let begun = Instant::now();
    let config = one_group(&["quay.io/team/runs-3s:1"], "concurrency = 2\nrun_deadline = \"8s\"");
    let mut observer = Observer::start(&bed, &namespace);
    let running = bed.start_run_as(kubeconfig.path(), &namespace, &config, &[]);
    observer.wait_for(|job| job["status"]["active"] == 1);
    bed.signal("kube-apiserver", "STOP");
    let ended = running.end();
    let took = begun.elapsed();
    bed.signal("kube-apiserver", "CONT");
    assert!(took < Duration::from_secs(8 + 10), "{took:?}");
    let ended = ended.expect_code(3);
    assert_eq!(ended.json()["exitCode"], 3, "what is known is reported");
    assert!(nodes_of(&ended.json()).iter().any(|node| node["reason"] == "not-started"));
    assert!(ended.stderr.contains("cannot reach the API server"), "{}", ended.stderr);
}

#[test]
fn a_node_that_stops_answering_in_a_pull_is_the_reason_and_not_the_deadline() {
    let bed = Bed::start(&["--nodes", "2"]);
    let (namespace, kubeconfig) = identity(&bed, None);
    let config = one_group(&["quay.io/team/slow-100s:1"], "[defaults]\ndeadline = \"12s\"");
    let mut observer = Observer::start(&bed, &namespace);
    let running = bed.start_run_as(kubeconfig.path(), &namespace, &config, &["--node", "node-001"]);
    observer.wait_for(|job| job["status"]["active"] == 1);
    // Its kubelet is dead: the pod of the Job that runs into its deadline goes on terminating.
    ended(&mut bed.kubectl(&["annotate", "node", "node-001", "quayctl.test/down=true"])).expect_code(0);
    ended(&mut bed.kubectl(&["wait", "--for=condition=Ready=false", "node/node-001", "--timeout=60s"]))
        .expect_code(0);
    let begun = Instant::now();
    let report = running.end().expect_code(1).json();
    assert_eq!(nodes_of(&report)[0]["reason"], "node-not-ready", "{report}");
    assert!(
        begun.elapsed() < Duration::from_secs(12 + 30 + 10),
        "the slot is held 30 s: {:?}",
        begun.elapsed()
    );
}

#[test]
fn nodes_that_are_deleted_in_a_run_are_named_and_the_others_are_done() {
    let bed = Bed::start(&["--nodes", "50"]);
    let (namespace, kubeconfig) = identity(&bed, None);
    let config = one_group(&["quay.io/team/slow-15s:1"], "concurrency = 50\n[defaults]\ndeadline = \"4m\"");
    let mut observer = Observer::start(&bed, &namespace);
    let running = bed.start_run_as(kubeconfig.path(), &namespace, &config, &[]);
    let mut active = std::collections::BTreeSet::new();
    while active.len() < NODES {
        let job = observer.wait_for(|job| job["status"]["active"] == 1);
        active.insert(job["metadata"]["name"].to_string());
    }
    let deleted: Vec<String> = (1..=NODES / 10).map(|n| format!("node-{:03}", n * 10)).collect();
    let names: Vec<&str> = deleted.iter().map(String::as_str).collect();
    ended(&mut bed.kubectl(&[&["delete", "node", "--wait=false"][..], &names].concat())).expect_code(0);
    let begun = Instant::now();
    let report = running.end().expect_code(1).json();
    assert!(begun.elapsed() < Duration::from_secs(150), "long before the deadline: {:?}", begun.elapsed());
    for node in nodes_of(&report) {
        let gone = deleted.iter().any(|name| node["name"] == name.as_str());
        let expected = if gone { Value::from("node-gone") } else { Value::Null };
        assert_eq!(node["reason"], expected, "{node}");
    }
    // Ended by us and kept, not deleted.
    assert_eq!(bed.jobs(&namespace).len(), NODES);
}
