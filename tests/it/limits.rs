//! How many Jobs are live at once, and for how long a run may go on.

use serde_json::Value;

use crate::support::bed::{NODES, Observer, is_over, shared};
use crate::support::ended;

fn group(name: &str, more: &str) -> String {
    format!("[[groups]]\nname = \"{name}\"\nimages = [\"quay.io/team/{name}:1\"]\n{more}\n")
}

#[test]
fn five_groups_on_twenty_nodes_never_have_two_live_jobs_on_a_node() {
    let bed = shared();
    let namespace = bed.namespace("one-a-node");
    let observer = Observer::start(bed, &namespace);
    let config: String = (0..5).map(|n| group(&format!("g{n}"), "node_selector = \"rack=r1\"")).collect();
    let config = format!("concurrency = 50\n{config}");
    let report = bed.run(&namespace, &config, &[]).expect_code(0).json();
    let nodes = report["groups"][0]["nodes"].as_array().unwrap().len();
    assert_eq!(nodes, 20);
    let (most, most_on_a_node) = observer.most_live_jobs(5 * nodes);
    assert_eq!(most_on_a_node, 1);
    assert!(most <= nodes, "{most}");
}

#[test]
fn a_groups_percentage_is_of_its_eligible_nodes_and_rounded_up() {
    let bed = shared();
    let namespace = bed.namespace("percent");
    let observer = Observer::start(bed, &namespace);
    // 7 % of 50 nodes are 3.5.
    bed.run(&namespace, &group("g", "concurrency = \"7%\""), &[]).expect_code(0);
    let (most, _) = observer.most_live_jobs(NODES);
    assert_eq!(most, 4, "rounded up, and work-conserving within the limit");
}

#[test]
fn at_the_runs_deadline_live_jobs_are_ended_and_the_rest_is_not_started() {
    let bed = shared();
    let namespace = bed.namespace("run-deadline");
    let config =
        format!("run_deadline = \"5s\"\nconcurrency = 2\n{}", group("slow-100s", "node_selector = \"gpu\""));
    let begun = std::time::Instant::now();
    let report = bed.run(&namespace, &config, &[]).expect_code(1).json();
    assert!(begun.elapsed().as_secs() < 15, "{:?}", begun.elapsed());
    let nodes = report["groups"][0]["nodes"].as_array().unwrap();
    let reasons: Vec<&Value> = nodes.iter().map(|node| &node["reason"]).collect();
    assert_eq!(
        reasons,
        ["deadline-exceeded", "deadline-exceeded", "not-started", "not-started", "not-started"]
    );
    assert!(nodes[4]["startedAt"].is_null() && nodes[4]["job"].is_string());
    let mut observer = Observer::start(bed, &namespace);
    for _ in 0..2 {
        let job = observer.wait_for(is_over);
        assert_eq!(job["spec"]["activeDeadlineSeconds"], 1);
        let note = job["metadata"]["annotations"]["quayctl-controller/outcome"].as_str().unwrap();
        assert!(note.contains("deadline-exceeded"), "{note}");
    }
    assert_eq!(bed.jobs(&namespace).len(), 2);
}

#[test]
fn a_terminated_run_reports_what_is_known_and_leaves_its_jobs() {
    let bed = shared();
    let namespace = bed.namespace("terminated");
    let mut observer = Observer::start(bed, &namespace);
    let config = format!("concurrency = 2\n{}", group("slow-15s", "node_selector = \"gpu\""));
    let running = bed.start_run(&namespace, &config, &["--run-id", "r"]);
    observer.wait_for(|job| job["status"]["active"] == 1);
    running.signal("TERM");
    let ended = running.end().expect_code(143);
    let reasons: Vec<Value> = ended.json()["groups"][0]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["reason"].clone())
        .collect();
    assert_eq!(reasons, ["interrupted", "interrupted", "not-started", "not-started", "not-started"]);
    assert_eq!(ended.json()["exitCode"], 143);
    let jobs = bed.jobs(&namespace);
    assert!(jobs.len() == 2 && !jobs.iter().any(is_over), "left for the next process of this run");
    // Which goes on with it.
    let report =
        bed.run(&namespace, &config.replace("concurrency = 2", "concurrency = 5"), &["--run-id", "r"]);
    assert_eq!(report.expect_code(0).json()["groups"][0]["counts"]["succeeded"], 5);
    assert_eq!(bed.jobs(&namespace).len(), 5);
}

#[test]
fn a_pod_that_admission_refuses_is_said_long_before_the_deadline() {
    let bed = shared();
    let namespace = bed.namespace("rejected");
    let config = "[[groups]]\nname = \"g\"\nimages = [\"nginx:1.29\"]\ntemplate = \"mine\"\nnode_selector = \"gpu\"\n\
        [templates.mine]\ninline = '''\napiVersion: batch/v1\nkind: Job\nspec:\n  template:\n    spec:\n      \
        hostNetwork: true\n      containers: [{ name: a, image: \"{{images.[0].reference}}\" }]\n'''\n";
    let begun = std::time::Instant::now();
    let ended = bed.run(&namespace, config, &[]).expect_code(1);
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
    for node in ended.json()["groups"][0]["nodes"].as_array().unwrap() {
        assert_eq!(node["reason"], "pod-rejected", "{node}");
        assert!(node["message"].as_str().unwrap().contains("violates PodSecurity"), "{node}");
    }
    let warnings = ended.stderr.lines().filter(|line| line.contains("would violate PodSecurity")).count();
    assert_eq!(warnings, 1, "said once, not once a node: {}", ended.stderr);
}

#[test]
fn a_pull_gives_seconds_and_bytes_once_and_is_present_afterwards() {
    let bed = shared();
    let config = group("fresh", "node_selector = \"gpu\"");
    let images = |namespace: &str| -> Vec<Value> {
        let report = bed.run(namespace, &config, &[]).expect_code(0).json();
        let nodes = report["groups"][0]["nodes"].as_array().unwrap().clone();
        nodes.iter().map(|node| node["images"][0].clone()).collect()
    };
    for image in images(&bed.namespace("pulled")) {
        assert_eq!(image["state"], "pulled", "{image}");
        assert!(image["seconds"].as_f64() > Some(0.0) && image["bytes"].as_u64() > Some(0), "{image}");
    }
    for image in images(&bed.namespace("present")) {
        assert_eq!((&image["state"], &image["seconds"]), (&Value::from("present"), &Value::Null), "{image}");
    }
}

#[test]
fn a_namespace_that_is_missing_fails_its_group_and_no_other() {
    let bed = shared();
    let namespace = bed.namespace("beside");
    let missing = group("missing", "node_selector = \"gpu\"\nnamespace = \"no-such-namespace\"");
    let config = format!("{missing}{}", group("fine", "node_selector = \"gpu\""));
    let report = bed.run(&namespace, &config, &[]).expect_code(1).json();
    assert_eq!(report["groups"][1]["counts"]["succeeded"], NODES / 10, "{report}");
    for node in report["groups"][0]["nodes"].as_array().unwrap() {
        assert_eq!(node["reason"], "namespace-missing", "{node}");
        assert!(node["message"].as_str().unwrap().contains("\"no-such-namespace\" does not exist"), "{node}");
    }
    let dry = bed.run(&namespace, &config, &["--dry-run=server"]).expect_code(1).json();
    assert_eq!(dry["groups"][0]["nodes"][0]["reason"], "namespace-missing", "{dry}");
    assert_eq!(dry["groups"][1]["counts"]["create"], NODES / 10, "{dry}");
}

#[test]
fn a_job_of_somebody_else_that_we_cannot_count_keeps_no_run_from_its_work() {
    let bed = shared();
    let namespace = bed.namespace("odd");
    let job = serde_json::json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "odd", "labels": {
            "app.kubernetes.io/managed-by": "quayctl-controller", "app.kubernetes.io/instance": "default",
        }},
        "spec": {
            // 64 bits, for the API server.
            "activeDeadlineSeconds": 5_000_000_000_u64, "suspend": true,
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}},
        },
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), job.to_string()).unwrap();
    let create = ["create", "-n", &namespace, "-f", file.path().to_str().unwrap()];
    ended(&mut bed.kubectl(&create)).expect_code(0);
    let ended = bed.run(&namespace, &group("g", "node_selector = \"gpu\""), &[]).expect_code(0);
    assert_eq!(ended.json()["groups"][0]["counts"]["succeeded"], NODES / 10);
}

#[test]
fn a_job_that_a_policy_refuses_is_forbidden_in_the_policys_words() {
    let bed = shared();
    let namespace = bed.namespace("policy");
    let policy = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [{
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": namespace},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "resourceRules": [{
                    "apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"],
                }],
            },
            "validations": [{"expression": "false", "message": "not in this namespace"}],
        },
    }, {
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": namespace},
        "spec": {"policyName": namespace, "validationActions": ["Deny"]},
    }]});
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), policy.to_string()).unwrap();
    ended(&mut bed.kubectl(&["create", "-f", file.path().to_str().unwrap()])).expect_code(0);
    // The API server takes a new policy up within seconds.
    let begun = std::time::Instant::now();
    let create = ["create", "job", "x", "--image=a", "--dry-run=server", "-n", &namespace];
    while ended(&mut bed.kubectl(&create)).code == Some(0) {
        assert!(begun.elapsed().as_secs() < 60, "the policy is not in force");
    }
    let ended = bed.run(&namespace, &group("g", "node_selector = \"gpu\""), &[]).expect_code(1);
    for node in ended.json()["groups"][0]["nodes"].as_array().unwrap() {
        assert_eq!(node["reason"], "forbidden", "{node}");
        assert!(node["message"].as_str().unwrap().contains("not in this namespace"), "{node}");
    }
}
