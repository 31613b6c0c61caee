//! Which nodes get a Job, on a cluster with every kind of node.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::bed::Bed;

const KINDS: [&str; 11] = [
    "old",
    "cordoned",
    "tainted",
    "not-ready",
    "arm64",
    "windows",
    "virtual",
    "no-execute",
    "prefer-no-schedule",
    "long-names",
    "dotted-names",
];

fn mixed() -> Bed {
    let flags: Vec<String> = KINDS.iter().map(|kind| format!("--{kind}=1")).collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(["--nodes=14"]).collect();
    Bed::start(&flags)
}

/// Node (by number: names of some kinds are long) → reason, of the one group.
fn reasons(report: &Value) -> BTreeMap<String, Option<String>> {
    let nodes = report["groups"][0]["nodes"].as_array().unwrap();
    nodes
        .iter()
        .map(|node| (node["name"].as_str().unwrap().to_owned(), node["reason"].as_str().map(str::to_owned)))
        .collect()
}

#[test]
fn every_kind_of_node_is_planned_or_skipped_with_its_reason() {
    let bed = mixed();
    let namespace = bed.namespace("kinds");
    let run = |more: &str, flags: &[&str], code| {
        let config = format!("[[groups]]\nname = \"g\"\nimages = [\"quay.io/team/a:1\"]\n{more}\n");
        bed.run(&namespace, &config, flags).expect_code(code)
    };
    let plain = run("", &[], 0);
    assert!(!plain.stderr.contains("WARN"), "no Warning for a long or dotted name: {}", plain.stderr);
    let report = plain.json();
    let found = reasons(&report);
    assert_eq!(found.len(), 14);
    let count = |reason: Option<&str>| found.values().filter(|found| found.as_deref() == reason).count();
    // tainted, virtual, no-execute; the windows node has no taint of its own.
    let counts =
        ["cordoned", "not-ready", "tainted", "unsupported-platform"].map(|reason| count(Some(reason)));
    assert_eq!((counts, count(None)), ([1, 1, 3, 1], 8), "{found:#?}");
    let long = found.keys().find(|name| name.len() == 253).expect("a node with a name of 253 characters");
    let dotted = found
        .keys()
        .find(|name| name.len() < 253 && name.contains('.'))
        .expect("a node with dots in its name");
    for name in [long, dotted] {
        let node = report["groups"][0]["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .find(|node| node["name"] == name.as_str())
            .unwrap();
        let job = node["job"].as_str().unwrap();
        assert!(node["verdict"] == "succeeded" && job.len() <= 63 && !job.contains('.'), "{node}");
    }

    // Skipped nodes count against a strict run only.
    run("", &["--strict"], 1);
    // What is tolerated is planned, and its Job runs there.
    let tolerant = "tolerations = [{ operator = \"Exists\" }]";
    let tolerated = reasons(&run(tolerant, &[], 0).json());
    let left: Vec<&String> = tolerated.values().flatten().collect();
    assert_eq!(left, ["not-ready", "unsupported-platform"]);
    let one_effect =
        "tolerations = [{ key = \"dedicated\", operator = \"Exists\", effect = \"NoSchedule\" }]";
    let by_effect = reasons(&run(one_effect, &[], 0).json());
    let tainted = by_effect.values().flatten().filter(|reason| *reason == "tainted").count();
    assert_eq!(tainted, 2, "NoExecute and the virtual node's taint are others: {by_effect:#?}");
    // The pod of 2017 has nowhere to go without Docker.
    let quayctl = reasons(&run("template = \"quayctl\"", &[], 0).json());
    assert!(quayctl.values().all(Option::is_some), "{quayctl:#?}");
}
