//! Claims about Kubernetes, on a real control plane with 50 simulated nodes.
//!
//! A reference decides its fate there by its name: `not-found`, `denied`, `no-platform` and `slow`
//! behave so on every node, everything else is pulled at once (`tests/cluster/README.md`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::bed::{Bed, NODES, OURS, Observer, shared};
use crate::support::{Ended, ended, quayctl};

/// A config of one group named `g`, with `more` in its table.
fn one_group(images: &[&str], more: &str) -> String {
    format!("[[groups]]\nname = \"g\"\nimages = {images:?}\n{more}\n")
}

fn run(bed: &Bed, namespace: &str, config: &str, more: &[&str]) -> Ended {
    bed.run(namespace, config, more)
}

fn nodes_of(report: &Value, group: usize) -> &Vec<Value> {
    report["groups"][group]["nodes"].as_array().expect("a list of nodes")
}

#[test]
fn every_ready_node_gets_every_image() {
    let bed = shared();
    let namespace = bed.namespace("all-succeed");
    let images = ["registry.example.com/team/app:1.0", "registry.example.com/team/web:2.0", "nginx:1.29"];
    let ended = run(bed, &namespace, &one_group(&images, ""), &[]).expect_code(0);
    let report = ended.json();

    assert_eq!(report["groups"][0]["counts"]["succeeded"], NODES);
    assert_eq!(report["exitCode"], 0);
    for node in nodes_of(&report, 0) {
        assert_eq!(node["verdict"], "succeeded", "{node}");
        let states: Vec<_> = node["images"].as_array().unwrap().iter().map(|i| &i["state"]).collect();
        assert!(states.len() == 3 && states.iter().all(|s| *s == "present" || *s == "pulled"), "{node}");
    }
    let jobs = bed.get(&["get", "jobs", "-n", &namespace, "-l", OURS]);
    let on: BTreeSet<_> = items(&jobs).iter().map(|j| annotation(j, "quayctl-controller/node")).collect();
    assert_eq!(on.len(), NODES, "one Job on each node");
    assert_eq!(items(&jobs).len(), NODES);
    // `auto` used both: the bed has five nodes whose kubelet cannot mount images.
    let with_volume = |job: &&Value| job["spec"]["template"]["spec"]["volumes"][0]["image"].is_object();
    assert_eq!(items(&jobs).iter().filter(with_volume).count(), NODES - 5);
    assert!(!ended.stderr.contains("WARN"), "nothing to warn about:\n{}", ended.stderr);
}

#[test]
fn concurrency_is_never_exceeded() {
    let bed = shared();
    let namespace = bed.namespace("concurrency");
    let observer = Observer::start(bed, &namespace);
    let config = format!("concurrency = 5\n{}", one_group(&["registry.example.com/team/app:1.0"], ""));
    run(bed, &namespace, &config, &[]).expect_code(0);
    let (most, _) = observer.most_live_jobs(NODES);
    assert!(most <= 5, "{most} live Jobs at once");
    assert!(most >= 4, "work-conserving: only {most} live Jobs at once");
}

#[test]
fn an_image_that_is_not_there_is_named_and_its_neighbours_are_pulled() {
    let bed = shared();
    let namespace = bed.namespace("not-found");
    let good = "registry.example.com/team/app:1.0";
    let bad = "registry.example.com/team/not-found:1.0";
    let config = format!(
        "[[groups]]\nname = \"good\"\nimages = [\"{good}\"]\nnode_selector = \"zone=fra\"\n\
         [[groups]]\nname = \"bad\"\nimages = [\"{good}\", \"{bad}\", \"nginx:1.29\"]\nnode_selector = \"zone=fra\"\n"
    );
    let report = run(bed, &namespace, &config, &["--run-id", "r1"]).expect_code(1).json();

    let counts = &report["groups"][0]["counts"];
    assert!(counts["failed"] == 0 && counts["succeeded"].as_u64() > Some(10), "{counts}");
    let nodes = nodes_of(&report, 1);
    assert!(nodes.len() > 10);
    for node in nodes {
        assert_eq!(node["verdict"], "failed");
        assert_eq!(node["reason"], "image-not-found", "{node}");
        assert!(node["message"].as_str().unwrap().contains("not-found:1.0"), "{node}");
        assert_eq!(node["images"][1]["reason"], "image-not-found");
        for neighbour in [0, 2] {
            let state = &node["images"][neighbour]["state"];
            assert!(state == "present" || state == "pulled", "{node}");
        }
    }
    // Ended early and kept readable, with what was found on the Job itself.
    let selector = format!("{OURS},quayctl-controller/group=bad");
    let jobs = bed.get(&["get", "jobs", "-n", &namespace, "-l", &selector]);
    assert_eq!(items(&jobs).len(), nodes.len());
    for job in items(&jobs) {
        let outcome: Value = serde_json::from_str(&annotation(job, "quayctl-controller/outcome")).unwrap();
        assert!(outcome.to_string().contains("image-not-found"), "{outcome}");
        let failed = job["status"]["conditions"].as_array().unwrap().iter().any(|c| c["type"] == "Failed");
        assert!(failed, "{job}");
    }
}

#[test]
fn the_registrys_words_become_reasons() {
    let bed = shared();
    let namespace = bed.namespace("reasons");
    for (image, reason) in [
        ("registry.example.com/team/denied:1.0", "unauthorized"),
        ("registry.example.com/team/no-platform:1.0", "no-matching-platform"),
    ] {
        let config = one_group(&[image], "node_selector = \"gpu\"");
        let report = run(bed, &namespace, &config, &[]).expect_code(1).json();
        assert!(!nodes_of(&report, 0).is_empty());
        for node in nodes_of(&report, 0) {
            assert_eq!(node["reason"], reason, "{node}");
        }
    }
}

#[test]
fn what_events_say_of_a_pod_is_told_with_its_images() {
    let bed = shared();
    let namespace = bed.namespace("pod-events");
    let run = |images: &[&str], deadline: &str, reason: &str, message: &str| {
        let config = one_group(images, &format!("deadline = \"{deadline}\"\ntemplate = \"helper\""));
        let mut observer = Observer::start(bed, &namespace);
        let running = bed.start_run(&namespace, &config, &["--node", "node-001"]);
        let job = observer.wait_for(|job| job["status"]["active"] == 1);
        let selector = format!("batch.kubernetes.io/job-name={}", job["metadata"]["name"].as_str().unwrap());
        let pods = bed.get(&["get", "pods", "-n", &namespace, "-l", &selector]);
        let pod = &items(&pods)[0]["metadata"];
        let event = serde_json::json!({
            "apiVersion": "v1", "kind": "Event", "type": "Warning", "reason": reason, "message": message,
            "metadata": {"name": format!("{}.1", pod["name"].as_str().unwrap()), "namespace": namespace},
            "involvedObject": {"kind": "Pod", "namespace": namespace, "name": pod["name"], "uid": pod["uid"]},
        });
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), event.to_string()).unwrap();
        let path = file.path().to_str().unwrap();
        ended(&mut bed.kubectl(&["create", "-n", &namespace, "-f", path])).expect_code(0);
        nodes_of(&running.end().expect_code(1).json(), 0)[0].clone()
    };
    // The second image keeps the kubelet from telling of the first one before the event is there.
    let node = run(
        &["registry.example.com/team/denied:1.0", "registry.example.com/team/slow-10s:1.0"],
        "60s",
        "FailedToRetrieveImagePullSecret",
        "Unable to retrieve some image pull secrets (absent); attempting to pull the image may not succeed.",
    );
    assert_eq!(node["reason"], "pull-secret-missing", "{node}");
    let words = node["message"].as_str().unwrap();
    assert!(words.contains("absent") && words.contains("no basic auth credentials"), "{words}");
    let words = "MountVolume.SetUp failed for volume \"x\"";
    let node = run(&["registry.example.com/team/slow-90s:1.0"], "10s", "FailedMount", words);
    assert_eq!(node["reason"], "deadline-exceeded", "its sandbox stands: {node}");
    assert!(node["message"].as_str().unwrap().contains(words), "{node}");
}

#[test]
fn a_pull_that_outlasts_the_deadline_fails_and_its_neighbours_do_not() {
    let bed = shared();
    let namespace = bed.namespace("deadline");
    let images = ["registry.example.com/team/app:1.0", "registry.example.com/team/slow-90s:1.0"];
    let config = one_group(&images, "deadline = \"6s\"\ntemplate = \"helper\"\nnode_selector = \"gpu\"");
    let report = run(bed, &namespace, &config, &[]).expect_code(1).json();
    assert!(!nodes_of(&report, 0).is_empty());
    for node in nodes_of(&report, 0) {
        assert_eq!(node["reason"], "deadline-exceeded", "{node}");
        assert_eq!(node["images"][1]["reason"], "deadline-exceeded", "{node}");
        assert_ne!(node["images"][0]["state"], "failed", "{node}");
    }
}

#[test]
fn a_selector_that_matches_no_node_is_no_failure() {
    let bed = shared();
    let namespace = bed.namespace("no-match");
    let config = one_group(&["nginx:1.29"], "node_selector = \"zone=mars\"");
    let ended = run(bed, &namespace, &config, &[]).expect_code(0);
    assert_eq!(ended.json()["groups"][0]["nodes"], Value::Array(vec![]));
    assert!(ended.stderr.contains("no node matches node_selector \"zone=mars\""), "{}", ended.stderr);
}

#[test]
fn a_second_run_of_the_same_id_adopts_what_is_there() {
    let bed = shared();
    let namespace = bed.namespace("same-id");
    let config = one_group(&["nginx:1.29"], "node_selector = \"gpu\"");
    run(bed, &namespace, &config, &["--run-id", "r1"]).expect_code(0);
    let names = |jobs: &Value| -> BTreeSet<String> {
        items(jobs).iter().map(|j| j["metadata"]["uid"].to_string()).collect()
    };
    let before = names(&bed.get(&["get", "jobs", "-n", &namespace]));
    run(bed, &namespace, &config, &["--run-id", "r1"]).expect_code(0);
    assert_eq!(names(&bed.get(&["get", "jobs", "-n", &namespace])), before);
}

#[test]
fn a_foreign_job_of_our_name_is_left_alone() {
    let bed = shared();
    let namespace = bed.namespace("foreign");
    let config = one_group(&["nginx:1.29"], "node_selector = \"kubernetes.io/hostname=node-010\"");
    let rendered = rendered(bed, &namespace, &config);
    let name = rendered.keys().next().unwrap();
    let create = ["create", "job", name, "--image=nginx", "-n", &namespace];
    ended(&mut bed.kubectl(&create)).expect_code(0);
    let before = bed.get(&["get", "job", name, "-n", &namespace])["metadata"].clone();

    let report = run(bed, &namespace, &config, &["--run-id", "x"]).expect_code(1).json();
    assert_eq!(nodes_of(&report, 0)[0]["reason"], "name-taken");
    let after = bed.get(&["get", "job", name, "-n", &namespace])["metadata"].clone();
    assert_eq!(after["uid"], before["uid"]);
    assert_eq!(after["labels"], before["labels"]);
    assert_eq!(after.get("annotations"), before.get("annotations"));
}

#[test]
fn what_render_prints_is_what_run_creates() {
    let bed = shared();
    let namespace = bed.namespace("render-run");
    let config = one_group(
        &["registry.example.com/team/app:1.0", "nginx:1.29"],
        "pull_policy = \"Always\"\npull_secrets = [\"s\"]\nkeep_jobs = \"10m\"\n\
         tolerations = [{ key = \"dedicated\", operator = \"Exists\" }]\nvalues = { cpu = \"2m\" }",
    );
    let rendered = rendered(bed, &namespace, &config);
    run(bed, &namespace, &config, &["--run-id", "x"]).expect_code(0);
    let created = bed.get(&["get", "jobs", "-n", &namespace]);
    let created: BTreeMap<String, &Value> =
        items(&created).iter().map(|job| (text(&job["metadata"]["name"]), job)).collect();
    assert_eq!(rendered.keys().collect::<Vec<_>>(), created.keys().collect::<Vec<_>>());
    assert_eq!(rendered.len(), NODES);
    for (name, job) in &rendered {
        assert_part_of(job, created[name], name);
    }
}

#[test]
fn the_pods_of_every_template_are_admitted_under_restricted_without_a_warning() {
    let bed = shared();
    let namespace = bed.namespace("restricted");
    for template in ["image-volume", "helper", "auto"] {
        let config =
            one_group(&["nginx:1.29", "quay.io/team/app:1.0"], &format!("template = \"{template}\""));
        let rendered = rendered(bed, &namespace, &config);
        // Two kinds of nodes are all that a built-in template looks at.
        for job in [rendered.values().next().unwrap(), rendered.values().last().unwrap()] {
            let mut pod = job["spec"]["template"].clone();
            pod["apiVersion"] = "v1".into();
            pod["kind"] = "Pod".into();
            pod["metadata"]["name"] = "probe".into();
            for object in [&pod, job] {
                let file = tempfile::NamedTempFile::new().unwrap();
                std::fs::write(file.path(), object.to_string()).unwrap();
                let path = file.path().to_str().unwrap();
                let create = ["create", "--dry-run=server", "-n", &namespace, "-f", path];
                let answer = ended(&mut bed.kubectl(&create)).expect_code(0);
                assert_eq!(answer.stderr, "", "{template}: {object}");
            }
        }
    }
}

#[test]
fn the_pod_of_2017_is_taken_where_pods_may_have_the_nodes_network() {
    let bed = shared();
    let mut nodes = bed.get(&["get", "nodes", "-l", "gpu"]);
    for node in nodes["items"].as_array_mut().unwrap() {
        node["status"]["nodeInfo"]["containerRuntimeVersion"] = "docker://20.10.24".into();
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), nodes.to_string()).unwrap();
    let config = one_group(&["quay.io/team/a:1", "quay.io/team/b:1"], "template = \"quayctl\"");
    let render = ["render", "-n", "default", "--nodes", file.path().to_str().unwrap()];
    let jobs = bed.quayctl(&render, &config).expect_code(0).stdout;
    assert_eq!(jobs.matches("hostPort: 5000").count(), NODES / 10);
    std::fs::write(file.path(), jobs).unwrap();
    let create = ["create", "--dry-run=server", "-f", file.path().to_str().unwrap()];
    let answer = ended(&mut bed.kubectl(&create)).expect_code(0);
    assert_eq!((answer.stdout.lines().count(), answer.stderr.as_str()), (NODES / 10, ""));
}

#[test]
fn kubectl_reads_everything_we_made() {
    let bed = shared();
    let namespace = bed.namespace("kubectl");
    let config = one_group(&["nginx:1.29"], "node_selector = \"gpu\"");
    run(bed, &namespace, &config, &["--run-id", "nightly"]).expect_code(0);
    let selector =
        "quayctl-controller/group=g,quayctl-controller/run=nightly,app.kubernetes.io/instance=default";
    let list = |kind| ended(&mut bed.kubectl(&["get", kind, "-n", &namespace, "-l", selector, "-o", "wide"]));
    for kind in ["jobs", "pods"] {
        let lines = list(kind).expect_code(0).stdout;
        assert_eq!(lines.lines().count(), 1 + NODES / 10, "{lines}");
    }
    let described =
        ended(&mut bed.kubectl(&["describe", "jobs", "-n", &namespace, "-l", selector])).expect_code(0);
    assert!(described.stdout.contains("Completed"), "{}", described.stdout);
    assert_eq!(described.stderr, "");
}

#[test]
fn a_wrong_config_sends_nothing() {
    let bed = shared();
    let namespace = bed.namespace("wrong-config");
    let ended = run(bed, &namespace, "[[groups]]\nname = \"g\"\nimages = []\n", &[]).expect_code(2);
    assert!(ended.stderr.contains("quayctl.toml:3:"), "{}", ended.stderr);
    let audit = std::fs::read_to_string(bed.audit_log()).unwrap();
    let ours = audit.lines().filter(|line| line.contains("quayctl-controller/") && line.contains(&namespace));
    assert_eq!(ours.count(), 0);
}

#[test]
fn a_missing_namespace_is_said_once() {
    let ended = run(shared(), "no-such-namespace", &one_group(&["nginx:1.29"], ""), &[]).expect_code(3);
    assert_one_error(&ended, &["no-such-namespace", "does not exist"]);
}

#[test]
fn a_wrong_context_is_said_once() {
    let ended = run(shared(), "x", &one_group(&["nginx:1.29"], ""), &["--context", "nowhere"]).expect_code(3);
    assert_one_error(&ended, &["nowhere"]);
}

/// What a run of a service account says that was granted these, each with a name, verbs, a resource, and
/// whether it is one of the whole cluster.
fn run_with(granted: &[(&str, &str, &str, bool)]) -> (Ended, String) {
    let bed = shared();
    let namespace = bed.namespace("rbac");
    for (name, verbs, resource, is_cluster) in granted {
        let (role, binding) =
            if *is_cluster { ("clusterrole", "clusterrolebinding") } else { ("role", "rolebinding") };
        let role_name = format!("{namespace}-{name}");
        let verbs = format!("--verb={verbs}");
        let resource = format!("--resource={resource}");
        let role_flag = format!("--{role}={role_name}");
        let user = format!("--serviceaccount={namespace}:default");
        ended(&mut bed.kubectl(&["create", role, &role_name, &verbs, &resource, "-n", &namespace]))
            .expect_code(0);
        ended(&mut bed.kubectl(&["create", binding, &role_name, &role_flag, &user, "-n", &namespace]))
            .expect_code(0);
    }
    let token =
        ended(&mut bed.kubectl(&["create", "token", "default", "-n", &namespace])).expect_code(0).stdout;
    let kubeconfig = bed.kubeconfig_with(token.trim());
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    std::fs::write(file.path(), one_group(&["nginx:1.29"], "node_selector = \"gpu\"")).unwrap();
    let mut command = quayctl();
    command.args(["run", "-n", &namespace, "--config"]).arg(file.path());
    command.arg("--kubeconfig").arg(kubeconfig.path());
    command.env("QUAYCTL_CARRIER_IMAGE", "quayctl-controller:test");
    (ended(&mut command), namespace)
}

#[test]
fn a_missing_permission_is_named_by_verb_resource_and_namespace() {
    let granted = [
        ("nodes", "list", "nodes", true),
        ("jobs", "list,watch", "jobs.batch", false),
        ("pods", "list,watch", "pods", false),
        ("events", "list,watch", "events", false),
        ("create", "create", "jobs.batch", false),
    ];
    // At the same time: a refusal is believed once it has been repeated for half a minute.
    let ran = std::thread::scope(|scope| {
        let runs: Vec<_> =
            (0..=granted.len()).map(|n| scope.spawn(move || run_with(&granted[..n]))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect::<Vec<_>>()
    });
    let lacking = [
        "list nodes in the whole cluster",
        "list jobs.batch in namespace",
        // Pods and events are asked for at the same time, and the first refusal is the one that is told.
        " in namespace",
        "list events in namespace",
        "create jobs.batch in namespace",
    ];
    let mut ran = ran.into_iter();
    for (words, (ended, namespace)) in lacking.iter().zip(&mut ran) {
        assert_one_error(&ended.expect_code(3), &[*words, namespace.as_str()]);
    }
    for (ended, _) in ran {
        ended.expect_code(0);
    }
}

/// Exactly one line of error, with all of `words` in it.
#[track_caller]
fn assert_one_error(ended: &Ended, words: &[&str]) {
    let errors: Vec<&str> = ended.stderr.lines().filter(|line| line.contains("rror")).collect();
    assert!(errors.len() == 1 && errors[0].starts_with("error: "), "{}", ended.stderr);
    for word in words {
        assert!(errors[0].contains(word), "{word:?} is missing: {}", ended.stderr);
    }
    assert_eq!(ended.stdout, "");
}

/// Jobs by name, as `render --nodes` prints them for run id `x` on this cluster's nodes.
fn rendered(bed: &Bed, namespace: &str, config: &str) -> BTreeMap<String, Value> {
    let nodes = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(nodes.path(), bed.get(&["get", "nodes"]).to_string()).unwrap();
    let path = nodes.path().to_str().unwrap();
    let ended =
        bed.quayctl(&["render", "--run-id", "x", "-n", namespace, "--nodes", path], config).expect_code(0);
    let jobs: Vec<Value> = serde_saphyr::from_multiple(&ended.stdout).unwrap();
    jobs.into_iter().map(|job| (text(&job["metadata"]["name"]), job)).collect()
}

/// Every field of `part` stands in `whole` with the same value; lists have the same length.
#[track_caller]
fn assert_part_of(part: &Value, whole: &Value, at: &str) {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            for (key, value) in part {
                let found = whole.get(key).unwrap_or_else(|| panic!("{at}.{key} is missing"));
                assert_part_of(value, found, &format!("{at}.{key}"));
            }
        }
        (Value::Array(part), Value::Array(whole)) => {
            assert_eq!(part.len(), whole.len(), "{at}");
            for (i, (part, whole)) in part.iter().zip(whole).enumerate() {
                assert_part_of(part, whole, &format!("{at}[{i}]"));
            }
        }
        _ => assert_eq!(part, whole, "{at}"),
    }
}

fn items(list: &Value) -> &Vec<Value> {
    list["items"].as_array().expect("a list")
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

fn annotation(object: &Value, key: &str) -> String {
    text(&object["metadata"]["annotations"][key])
}
