//! A run that is repeated, killed, or meets Jobs that are not its own: design's rules of identity, on
//! the real control plane.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::bed::{Bed, NODES, Observer, is_over, shared};
use crate::support::ended;

const ONE_NODE: &str = "node_selector = \"kubernetes.io/hostname=node-010\"";

fn one_group(images: &[&str], more: &str) -> String {
    format!("[[groups]]\nname = \"g\"\nimages = {images:?}\n{more}\n")
}

/// Creates of Jobs by the binary under test in a namespace, from the API server's audit log.
fn creates(bed: &Bed, namespace: &str) -> usize {
    let log = std::fs::read_to_string(bed.audit_log()).expect("the audit log is there");
    let events = log.lines().filter(|line| line.contains(namespace) && line.contains("quayctl-controller/"));
    let creates = events.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    creates.filter(|event| event["verb"] == "create" && event["objectRef"]["resource"] == "jobs").count()
}

fn uids(bed: &Bed, namespace: &str) -> BTreeSet<String> {
    bed.jobs(namespace).iter().map(|job| job["metadata"]["uid"].to_string()).collect()
}

/// A report without what differs between two runs of the same outcome.
fn timeless(mut report: Value) -> Value {
    for field in ["startedAt", "finishedAt", "throttled", "configHash"] {
        report[field] = Value::Null;
    }
    for node in report["groups"]
        .as_array_mut()
        .into_iter()
        .flatten()
        .flat_map(|group| group["nodes"].as_array_mut().into_iter().flatten())
    {
        node["startedAt"] = Value::Null;
        node["finishedAt"] = Value::Null;
    }
    report
}

#[test]
fn a_repeated_run_creates_nothing_and_reports_the_same() {
    let bed = shared();
    let namespace = bed.namespace("repeated");
    let config = one_group(&["quay.io/team/repeated:1"], "");
    let first = bed.run(&namespace, &config, &["--run-id", "r"]).expect_code(0).json();
    let (made, posts) = (uids(bed, &namespace), creates(bed, &namespace));
    assert_eq!((made.len(), posts), (NODES, NODES));
    let second = bed.run(&namespace, &config, &["--run-id", "r"]).expect_code(0).json();
    assert_eq!(uids(bed, &namespace), made);
    assert_eq!(creates(bed, &namespace), posts, "not even tried");
    assert_eq!(timeless(first), timeless(second));
}

#[test]
fn a_run_that_is_killed_at_any_moment_is_continued_without_a_second_job() {
    let bed = shared();
    let config = format!("concurrency = 20\n{}", one_group(&["quay.io/team/killed:1"], ""));
    // From the second run on every image is present, so reports can be compared whole.
    bed.run(&bed.namespace("kill-warm"), &config, &["--run-id", "r"]).expect_code(0);
    let whole =
        timeless(bed.run(&bed.namespace("kill-whole"), &config, &["--run-id", "r"]).expect_code(0).json());

    // Scattered over the four events that each Job has, and the same each time, so that a failure can
    // be repeated.
    let moments = (1..=20usize).map(|n| 1 + (n * n * 37 + n * 11) % (4 * NODES - 10));
    for (round, moment) in moments.enumerate() {
        let namespace = bed.namespace("kill");
        let mut observer = Observer::start(bed, &namespace);
        let running = bed.start_run(&namespace, &config, &["--run-id", "r"]);
        for _ in 0..moment {
            observer.next_job();
        }
        running.signal("KILL");
        drop(running);
        let report = bed.run(&namespace, &config, &["--run-id", "r"]).expect_code(0).json();
        assert_eq!(timeless(report), whole, "round {round}, killed after event {moment}");
        let jobs = bed.jobs(&namespace);
        let nodes: BTreeSet<String> = jobs
            .iter()
            .map(|job| job["metadata"]["annotations"]["quayctl-controller/node"].to_string())
            .collect();
        assert_eq!((jobs.len(), nodes.len()), (NODES, NODES), "round {round}, killed after event {moment}");
    }
}

#[test]
fn a_failed_job_is_final_for_its_run_and_a_new_run_tries_again() {
    let bed = shared();
    let namespace = bed.namespace("final");
    let config = one_group(&["quay.io/team/a:1", "quay.io/team/not-found:1"], ONE_NODE);
    let first = bed.run(&namespace, &config, &["--run-id", "r1"]).expect_code(1).json();
    let again = bed.run(&namespace, &config, &["--run-id", "r1"]).expect_code(1).json();
    assert_eq!(creates(bed, &namespace), 1);
    // The pod is gone by now; what it said was read off the Job.
    let states = |report: &Value| {
        let node = &report["groups"][0]["nodes"][0];
        json!([node["reason"], node["message"], node["images"][1]["reason"], node["images"][1]["message"]])
    };
    assert_eq!(states(&again), states(&first));
    assert_eq!(again["groups"][0]["nodes"][0]["reason"], "image-not-found");
    bed.run(&namespace, &config, &["--run-id", "r2"]).expect_code(1);
    assert_eq!(creates(bed, &namespace), 2);
}

/// Leaves a live Job of run `earlier` behind, as a killed process does.
fn leave_live_job(bed: &Bed, namespace: &str, config: &str) -> Value {
    let mut observer = Observer::start(bed, namespace);
    let running = bed.start_run(namespace, config, &["--run-id", "earlier"]);
    let job = observer.wait_for(|job| job["status"]["active"] == 1);
    running.signal("KILL");
    job
}

#[test]
fn a_live_job_of_an_earlier_run_with_equal_content_is_adopted() {
    let bed = shared();
    let namespace = bed.namespace("adopt-equal");
    let config = |deadline: &str| {
        one_group(&["quay.io/team/runs-8s:1"], &format!("{ONE_NODE}\ndeadline = \"{deadline}\""))
    };
    let earlier = leave_live_job(bed, &namespace, &config("60s"));
    // Another deadline is no other content.
    let report = bed.run(&namespace, &config("90s"), &["--run-id", "later"]).expect_code(0).json();
    let node = &report["groups"][0]["nodes"][0];
    assert_eq!(node["adoptedFrom"], "earlier");
    assert_eq!(node["job"], earlier["metadata"]["name"]);
    assert_eq!((creates(bed, &namespace), bed.jobs(&namespace).len()), (1, 1));
}

#[test]
fn a_live_job_of_an_earlier_run_with_other_content_is_waited_for() {
    let bed = shared();
    let namespace = bed.namespace("adopt-other");
    leave_live_job(bed, &namespace, &one_group(&["quay.io/team/runs-8s:1"], ONE_NODE));
    let config = one_group(&["quay.io/team/other:1"], ONE_NODE);
    let report = bed.run(&namespace, &config, &["--run-id", "later"]).expect_code(0).json();
    assert_eq!(report["groups"][0]["nodes"][0]["adoptedFrom"], Value::Null);
    let jobs: BTreeMap<String, Value> = bed
        .jobs(&namespace)
        .into_iter()
        .map(|job| (job["metadata"]["labels"]["quayctl-controller/run"].as_str().unwrap().to_owned(), job))
        .collect();
    let (earlier, later) = (&jobs["earlier"], &jobs["later"]);
    let completed = earlier["status"]["completionTime"].as_str().expect("it was left to complete");
    assert!(completed <= later["metadata"]["creationTimestamp"].as_str().unwrap(), "{earlier} {later}");
}

#[test]
fn replace_ends_a_live_job_of_an_earlier_run_with_other_content() {
    let bed = shared();
    let namespace = bed.namespace("replace");
    leave_live_job(bed, &namespace, &one_group(&["quay.io/team/runs-200s:1"], ONE_NODE));
    let config = one_group(&["quay.io/team/other:1"], ONE_NODE);
    bed.run(&namespace, &config, &["--run-id", "later", "--replace"]).expect_code(0);
    let jobs = bed.jobs(&namespace);
    assert_eq!(jobs.len(), 2, "ended, not deleted");
    let earlier =
        jobs.iter().find(|job| job["metadata"]["labels"]["quayctl-controller/run"] == "earlier").unwrap();
    assert!(is_over(earlier), "{earlier}");
    let note = earlier["metadata"]["annotations"]["quayctl-controller/outcome"].as_str().unwrap();
    assert!(note.contains("replaced") && note.contains("later"), "{note}");
}

#[test]
fn cleanup_deletes_the_jobs_of_the_run_with_their_pods_and_no_others() {
    let bed = shared();
    let namespace = bed.namespace("cleanup");
    let config = one_group(&["quay.io/team/a:1"], "node_selector = \"gpu\"");
    bed.run(&namespace, &config, &["--run-id", "kept"]).expect_code(0);
    let kept = uids(bed, &namespace);
    bed.run(&namespace, &config, &["--run-id", "gone", "--cleanup"]).expect_code(0);
    assert_eq!(uids(bed, &namespace), kept);
    // Pods go by the garbage collector's hand.
    let wait = [
        "wait",
        "--for=delete",
        "pod",
        "-l",
        "quayctl-controller/run=gone",
        "-n",
        &namespace,
        "--timeout=60s",
    ];
    ended(&mut bed.kubectl(&wait)).expect_code(0);
}

#[test]
fn a_job_of_another_instance_under_our_name_is_untouched_byte_for_byte() {
    let bed = shared();
    let namespace = bed.namespace("foreign-label");
    let config = one_group(&["quay.io/team/not-found:1"], ONE_NODE);
    let nodes = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(nodes.path(), bed.get(&["get", "nodes"]).to_string()).unwrap();
    let render = ["render", "--run-id", "r", "-n", &namespace, "--nodes", nodes.path().to_str().unwrap()];
    let rendered = bed.quayctl(&render, &config).expect_code(0).stdout;
    let mut job: Value = serde_saphyr::from_str(&rendered).unwrap();
    job["metadata"]["labels"]["app.kubernetes.io/instance"] = "theirs".into();
    job["spec"]["suspend"] = true.into();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), job.to_string()).unwrap();
    ended(&mut bed.kubectl(&["create", "-f", file.path().to_str().unwrap()])).expect_code(0);
    let name = job["metadata"]["name"].as_str().unwrap().to_owned();
    let get = ["get", "job", name.as_str(), "-n", &namespace];
    // Suspended, so that nobody else changes it; the Job controller says so once.
    ended(&mut bed.kubectl(&["wait", "--for=condition=Suspended", "job", &name, "-n", &namespace]))
        .expect_code(0);
    let before = bed.get(&get).to_string();

    let report =
        bed.run(&namespace, &config, &["--run-id", "r", "--replace", "--cleanup"]).expect_code(1).json();
    assert_eq!(report["groups"][0]["nodes"][0]["reason"], "name-taken");
    assert_eq!(bed.get(&get).to_string(), before);
}

#[test]
fn two_instances_with_equal_groups_do_not_see_each_other() {
    let bed = shared();
    let namespace = bed.namespace("instances");
    let config = one_group(&["quay.io/team/runs-3s:1"], "node_selector = \"gpu\"");
    let run = |instance| bed.start_run(&namespace, &config, &["--run-id", "r", "--instance", instance]);
    let (one, two) = (run("one"), run("two"));
    for running in [one, two] {
        let report = running.end().expect_code(0).json();
        assert_eq!(report["groups"][0]["counts"]["succeeded"], NODES / 10);
        assert!(
            report["groups"][0]["nodes"].as_array().unwrap().iter().all(|node| node["adoptedFrom"].is_null())
        );
    }
    assert_eq!(bed.jobs(&namespace).len(), 2 * NODES / 10);
}
