//! What others do to our Jobs while a run waits for them: a queue holds them, a label is taken, a quota
//! leaves no room.

use crate::support::bed::{Bed, Observer, shared};
use crate::support::ended;

const ONE_NODE: &str = "node_selector = \"kubernetes.io/hostname=node-020\"";

fn one_group(images: &[&str], more: &str) -> String {
    format!("{more}\n[[groups]]\nname = \"g\"\nimages = {images:?}\n")
}

fn kubectl(bed: &Bed, args: &[&str]) {
    ended(&mut bed.kubectl(args)).expect_code(0);
}

/// When a line of the log was written, in seconds of its day.
fn second_of(line: &str) -> i32 {
    let time = line.split('Z').next().unwrap();
    time.split(':').fold(0, |seconds, part| 60 * seconds + part.parse::<i32>().unwrap())
}

#[test]
fn who_holds_the_slots_is_said_after_fifteen_seconds() {
    let bed = shared();
    let namespace = bed.namespace("slots");
    let config = format!("{}{ONE_NODE}\n", one_group(&["quay.io/team/slow-25s:1"], ""));
    let mut observer = Observer::start(bed, &namespace);
    let first = bed.start_run(&namespace, &config, &["--run-id", "first"]);
    let job = observer.wait_for(|job| job["status"]["active"] == 1);
    let name = job["metadata"]["name"].as_str().unwrap();
    // Another node, and the only slot.
    let config = one_group(&["quay.io/team/quick:1"], "concurrency = 1");
    let config = format!("{config}node_selector = \"kubernetes.io/hostname=node-019\"\n");
    let second = bed.run(&namespace, &config, &["--run-id", "second"]).expect_code(0);
    first.end().expect_code(0);
    let said = format!(
        "1 Job cannot start, because live Jobs of other runs of this instance hold their nodes or take slots (1 of 1): \
         run first has 1, such as {name} on node node-020"
    );
    let line = |words: &str| second.stderr.lines().find(|line| line.contains(words)).unwrap();
    let waited = (second_of(line(&said)) - second_of(line("run second on "))).rem_euclid(24 * 3600);
    assert!((14..=20).contains(&waited), "{waited} s: {}", second.stderr);
    assert_eq!(second.stderr.matches("cannot start").count(), 1, "{}", second.stderr);
}

#[test]
fn a_job_that_a_queue_holds_is_suspended_at_the_runs_deadline() {
    let bed = shared();
    let namespace = bed.namespace("suspended");
    let config = format!("{}{ONE_NODE}\n", one_group(&["quay.io/team/slow-60s:1"], "run_deadline = \"12s\""));
    let mut observer = Observer::start(bed, &namespace);
    let running = bed.start_run(&namespace, &config, &[]);
    let job = observer.wait_for(|job| job["status"]["active"] == 1);
    let name = job["metadata"]["name"].as_str().unwrap();
    kubectl(bed, &["patch", "job", name, "-n", &namespace, "-p", "{\"spec\":{\"suspend\":true}}"]);
    let report = running.end().expect_code(1).json();
    let node = &report["groups"][0]["nodes"][0];
    assert_eq!(node["reason"], "suspended", "{node}");
}

#[test]
fn a_job_that_is_admitted_again_goes_on() {
    let bed = shared();
    let namespace = bed.namespace("admitted");
    let config = format!("{}{ONE_NODE}\n", one_group(&["quay.io/team/slow-4s:1"], ""));
    let mut observer = Observer::start(bed, &namespace);
    let running = bed.start_run(&namespace, &config, &[]);
    let job = observer.wait_for(|job| job["status"]["active"] == 1);
    let name = job["metadata"]["name"].as_str().unwrap();
    let suspend = |value: bool| {
        let patch = format!("{{\"spec\":{{\"suspend\":{value}}}}}");
        kubectl(bed, &["patch", "job", name, "-n", &namespace, "-p", &patch]);
    };
    suspend(true);
    kubectl(bed, &["wait", "--for=condition=Suspended", "job", name, "-n", &namespace, "--timeout=30s"]);
    suspend(false);
    let report = running.end().expect_code(0).json();
    assert_eq!(report["groups"][0]["nodes"][0]["verdict"], "succeeded", "{report}");
}

#[test]
fn a_job_whose_label_was_taken_is_not_called_deleted() {
    let bed = shared();
    let namespace = bed.namespace("unlabelled");
    let config = format!("{}{ONE_NODE}\n", one_group(&["quay.io/team/slow-5s:1"], ""));
    let mut observer = Observer::start(bed, &namespace);
    let running = bed.start_run(&namespace, &config, &[]);
    let job = observer.wait_for(|job| job["status"]["active"] == 1);
    let name = job["metadata"]["name"].as_str().unwrap();
    kubectl(bed, &["label", "job", name, "-n", &namespace, "app.kubernetes.io/managed-by-"]);
    let report = running.end().expect_code(0).json();
    assert_eq!(report["groups"][0]["nodes"][0]["verdict"], "succeeded", "{report}");
    let job = bed.get(&["get", "job", name, "-n", &namespace]);
    assert!(job["metadata"]["annotations"].get("quayctl-controller/outcome").is_none(), "{job}");
}

#[test]
fn a_quota_of_jobs_is_not_met_by_a_create_for_each_node() {
    let bed = shared();
    let namespace = bed.namespace("quota");
    kubectl(bed, &["create", "quota", "few", "-n", &namespace, "--hard=count/jobs.batch=3"]);
    let counted =
        ["wait", "--for=jsonpath={.status.used.count/jobs\\.batch}=0", "quota/few", "-n", &namespace];
    kubectl(bed, &counted);
    // As long as the run: nothing goes before its end.
    let config = one_group(&["quay.io/team/a:1"], "concurrency = 2\nrun_deadline = \"20s\"");
    let report = bed.run(&namespace, &config, &[]).expect_code(1).json();
    let nodes = report["groups"][0]["nodes"].as_array().unwrap();
    let of = |reason: &str| nodes.iter().filter(|node| node["reason"] == reason).count();
    assert_eq!(report["groups"][0]["counts"]["succeeded"], 3, "{report}");
    assert_eq!(of("quota"), nodes.len() - 3, "{report}");
    assert!(
        nodes.iter().any(|node| node["message"].as_str().is_some_and(|m| m.contains("exceeded quota: few")))
    );
    let log = std::fs::read_to_string(bed.audit_log()).unwrap();
    let creates =
        log.lines().filter(|line| line.contains(&namespace) && line.contains("\"verb\":\"create\""));
    let creates =
        creates.filter(|line| line.contains("\"resource\":\"jobs\"") && line.contains("quayctl-controller/"));
    let creates = creates.count();
    assert!(creates <= 3 + 2 + 3, "{creates} creates for {} nodes", nodes.len());
}
