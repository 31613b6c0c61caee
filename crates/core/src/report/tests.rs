//! Reports of small runs, face by face.

use super::*;
use crate::outcome::{Failure, JobOutcome};
use crate::plan::fixtures::{config, group, ready_node};
use crate::plan::{Node, RunId, RunIdentity, plan};

fn planned(nodes: Vec<Node>) -> Plan {
    let mut group = group("edge");
    group.images = ["quay.io/team/app:1.0", "quay.io/team/web:2.0"]
        .map(|text| crate::config::ImageRef::parse(text).unwrap())
        .to_vec();
    let identity = RunIdentity {
        instance: "default".into(),
        run_id: RunId::parse("r").unwrap(),
        namespace: "ns".into(),
    };
    plan(&config(vec![group]), nodes, identity)
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn facts() -> RunFacts {
    RunFacts {
        run_id: "r".into(),
        instance: "default".into(),
        config_hash: "c0ffee".into(),
        started_at: time("2026-11-23T03:00:00.9Z"),
        finished_at: time("2026-11-23T03:01:30Z"),
        throttled: 0,
        strict: false,
    }
}

fn image(state: ImageState) -> ImageOutcome {
    ImageOutcome { state, seconds: None, bytes: None, digest: None }
}

fn result(failure: Option<Failure>) -> JobResult {
    let (verdict, second) = match failure {
        None => (Verdict::Succeeded, ImageState::Present),
        Some(failure) => (Verdict::Failed(failure.clone()), ImageState::Failed(failure)),
    };
    JobResult {
        outcome: JobOutcome { verdict, images: vec![image(ImageState::Present), image(second)] },
        started_at: Some(time("2026-11-23T03:00:01Z")),
        finished_at: None,
        adopted: None,
    }
}

fn mixed(nodes: usize) -> RunReport {
    let mut all: Vec<Node> = (0..nodes).map(|n| ready_node(&format!("node-{n:03}"))).collect();
    all.push(Node { unschedulable: true, ..ready_node("node-cordoned") });
    let plan = planned(all);
    let words = "failed to resolve image: quay.io/team/web:2.0:\x1b[2J not found";
    let failed = |n: usize| (n > 0).then(|| Failure::new(Reason::ImageNotFound, words));
    let results = vec![(0..nodes).map(|n| result(failed(n))).collect()];
    RunReport::new(&plan, &results, facts(), None)
}

#[test]
fn the_json_has_every_field_and_null_for_what_is_unknown() {
    let report: serde_json::Value = serde_json::from_str(&mixed(2).to_json()).unwrap();
    let expected = serde_json::json!({
        "version": 1, "runId": "r", "instance": "default", "configHash": "c0ffee",
        "startedAt": "2026-11-23T03:00:00Z", "finishedAt": "2026-11-23T03:01:30Z",
        "exitCode": 1, "throttled": 0,
        "groups": [{
            "name": "edge",
            "counts": {"succeeded": 1, "failed": 1, "skipped": 1, "interrupted": 0, "notStarted": 0},
            "nodes": [report["groups"][0]["nodes"][0], {
                "name": "node-001", "verdict": "failed", "reason": "image-not-found",
                "message": "failed to resolve image: quay.io/team/web:2.0:\\u{1b}[2J not found",
                "job": report["groups"][0]["nodes"][1]["job"], "adoptedFrom": null,
                "startedAt": "2026-11-23T03:00:01Z", "finishedAt": null,
                "images": [
                    {"reference": "quay.io/team/app:1.0", "state": "present", "reason": null, "message": null,
                     "seconds": null, "bytes": null, "digest": null},
                    {"reference": "quay.io/team/web:2.0", "state": "failed", "reason": "image-not-found",
                     "message": "failed to resolve image: quay.io/team/web:2.0:\\u{1b}[2J not found",
                     "seconds": null, "bytes": null, "digest": null},
                ],
            }, {
                "name": "node-cordoned", "verdict": "skipped", "reason": "cordoned",
                "message": "the node is cordoned", "job": null, "adoptedFrom": null,
                "startedAt": null, "finishedAt": null, "images": [],
            }],
        }],
    });
    assert_eq!(report, expected);
}

#[test]
fn yaml_says_the_same_as_json() {
    let report = mixed(2);
    let yaml: serde_json::Value = serde_saphyr::from_str(&report.to_yaml()).unwrap();
    assert_eq!(yaml, serde_json::from_str::<serde_json::Value>(&report.to_json()).unwrap());
}

#[test]
fn the_table_tells_equal_failures_once_and_lets_nobody_steer_the_terminal() {
    let expected = "\
GROUP  NODES  SUCCEEDED  FAILED  SKIPPED
edge      16          1      14        1

failed: image-not-found: quay.io/team/web:2.0 on 14 nodes (edge)
  node-001, node-002, node-003, node-004, node-005, node-006, node-007,
  node-008, node-009, node-010, and 4 more
  failed to resolve image: quay.io/team/web:2.0:\\u{1b}[2J not found

skipped: cordoned on 1 node (edge)
  node-cordoned

1 of 15 Jobs succeeded, 14 failed, 1 node skipped
run r, 90 s
";
    assert_eq!(mixed(15).to_table(false), expected);
    let painted = mixed(15).to_table(true);
    assert!(painted.contains("\x1b[31m1 of 15 Jobs succeeded\x1b[0m"));
}

#[test]
fn skipped_nodes_do_not_count_against_the_run() {
    let report = mixed(1);
    assert_eq!((report.exit_code, report.counts().skipped), (0, 1));
}

#[test]
fn strict_takes_skipped_nodes_and_empty_groups_for_failures() {
    let code = |nodes: Vec<Node>, strict| {
        let plan = planned(nodes);
        let results = vec![plan.jobs().map(|_| result(None)).collect()];
        RunReport::new(&plan, &results, RunFacts { strict, ..facts() }, None).exit_code
    };
    let cordoned = Node { unschedulable: true, ..ready_node("m") };
    assert_eq!((code(vec![ready_node("n")], false), code(vec![ready_node("n")], true)), (0, 0));
    let skipped = || vec![ready_node("n"), cordoned.clone()];
    assert_eq!((code(skipped(), false), code(skipped(), true)), (0, 1));
    assert_eq!((code(vec![], false), code(vec![], true)), (0, 1));
}

#[test]
fn a_signal_decides_the_exit_code() {
    let plan = planned(vec![ready_node("n")]);
    let report = RunReport::new(&plan, &[vec![result(None)]], facts(), Some(130));
    assert_eq!(report.exit_code, 130);
}

#[test]
fn the_termination_message_fits_however_many_nodes_failed() {
    let line = mixed(5000).summary();
    assert!(line.len() <= 4096 && line.ends_with("}\n") && line.lines().count() == 1, "{}", line.len());
    let summary: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(summary["counts"]["failed"], 4999);
    assert!(summary["failed"].as_array().unwrap().len() > 30, "{line}");
}

#[test]
fn the_table_names_a_node_once_though_two_groups_skip_it() {
    let nodes = || vec![Node { unschedulable: true, ..ready_node("node-1") }];
    let identity = RunIdentity {
        instance: "default".into(),
        run_id: RunId::parse("r").unwrap(),
        namespace: "ns".into(),
    };
    let plan = plan(&config(vec![group("a"), group("b")]), nodes(), identity);
    let table = RunReport::new(&plan, &[vec![], vec![]], facts(), None).to_table(false);
    assert!(table.contains("skipped: cordoned on 1 node (a, b)\n  node-1\n"), "{table}");
}

#[test]
fn nodes_that_had_no_time_are_not_counted_as_failed() {
    let nodes = (1..=5).map(|n| ready_node(&format!("node-{n}")));
    let plan = planned(nodes.chain([Node { unschedulable: true, ..ready_node("out") }]).collect());
    let ended = |reason, words: &str| JobResult {
        outcome: JobOutcome {
            verdict: Verdict::Failed(Failure::new(reason, words)),
            images: vec![image(ImageState::Unknown), image(ImageState::Unknown)],
        },
        ..result(None)
    };
    let results = vec![
        result(None),
        result(Some(Failure::new(Reason::ImageNotFound, "not found"))),
        ended(Reason::Interrupted, "the run was ended"),
        ended(Reason::NotStarted, "the run ended first"),
        ended(Reason::NotStarted, "the run ended first"),
    ];
    let report = RunReport::new(&plan, &[results], facts(), None);
    let counts = Counts { succeeded: 1, failed: 1, skipped: 1, interrupted: 1, not_started: 2 };
    assert_eq!((report.counts(), report.exit_code), (counts, 1));
    let expected = "\
GROUP  NODES  SUCCEEDED  FAILED  INTERRUPTED  NOT STARTED  SKIPPED
edge       6          1       1            1            2        1

failed: image-not-found: quay.io/team/web:2.0 on 1 node (edge)
  node-2
  not found

not done: interrupted on 1 node (edge)
  node-3
  the run was ended

not done: not-started on 2 nodes (edge)
  node-4, node-5
  the run ended first

skipped: cordoned on 1 node (edge)
  out

1 of 5 Jobs succeeded, 1 failed, 1 interrupted, 2 not started, 1 node skipped
run r, 90 s
";
    assert_eq!(report.to_table(false), expected);
    let summary: serde_json::Value = serde_json::from_str(&report.summary()).unwrap();
    assert_eq!(
        (&summary["counts"]["notStarted"], &summary["failed"][1]),
        (&2.into(), &serde_json::Value::Null)
    );
    // Nothing is wrong with any node, and still not every one has its images.
    let all = vec![(0..5).map(|_| ended(Reason::NotStarted, "")).collect()];
    let report = RunReport::new(&plan, &all, facts(), None);
    assert_eq!((report.counts().failed, report.exit_code), (0, 1));
}

#[test]
fn for_a_log_equal_failures_are_one_line() {
    let lines = mixed(500).failures_in_lines();
    assert_eq!(
        lines,
        [
            "image-not-found: quay.io/team/web:2.0 on 499 nodes (node-001, node-002, node-003, and 496 more): failed to \
          resolve image: quay.io/team/web:2.0:\\u{1b}[2J not found"
        ]
    );
}

#[test]
fn a_node_that_two_groups_skip_is_one_node() {
    let cordoned = |name: &str| Node { unschedulable: true, ..ready_node(name) };
    let identity = RunIdentity {
        instance: "default".into(),
        run_id: RunId::parse("r").unwrap(),
        namespace: "ns".into(),
    };
    let nodes = vec![cordoned("a"), cordoned("b"), ready_node("c")];
    let plan = plan(&config(vec![group("one"), group("two")]), nodes, identity);
    let table = PlanReport::new(&plan, Vec::new(), &Default::default()).to_table();
    assert!(
        table.ends_with("\n2 Jobs to create, 2 nodes skipped (in 2 groups); done within 11m\n"),
        "{table}"
    );
    let report = RunReport::new(&plan, &[vec![result(None)], vec![result(None)]], facts(), None);
    let table = report.to_table(false);
    assert!(table.contains("\n2 of 2 Jobs succeeded, 0 failed, 2 nodes skipped (in 2 groups)\n"), "{table}");
    // Skipped by one of two groups: nothing is counted twice.
    assert_eq!(skipped_in_words([vec!["a"], vec![]].into_iter().map(Vec::into_iter)), "1 node skipped");
}

#[test]
fn a_plan_over_what_was_done_a_moment_ago_has_no_work() {
    let plan = planned(vec![ready_node("a"), ready_node("b")]);
    let all: Vec<_> = plan.indexed_jobs().map(|(index, _)| index).collect();
    let report =
        |done: &[crate::plan::JobIndex]| PlanReport::new(&plan, Vec::new(), &done.iter().copied().collect());
    assert!(report(&[]).has_work() && !report(&[]).to_json().contains("present"));
    let some = report(&all[..1]);
    assert!(
        some.has_work() && some.to_table().contains("2 Jobs to create (1 whose images are there), 0 nodes")
    );
    let none = report(&all);
    assert!(!none.has_work(), "{}", none.to_table());
    assert!(none.to_table().contains("edge       2       2     0        2"), "{}", none.to_table());
}
