//! The interface of 2017 (environment and flags of the old manifests), and what plans and dry runs
//! print, on the real control plane.

use serde_json::Value;

use crate::support::bed::{Bed, NODES, shared};
use crate::support::{Ended, ended, quayctl};

/// The binary as the old CronJob called it: environment and glog flags, no file, no command.
fn as_in_2017(bed: &Bed, environment: &[(&str, &str)], more: &[&str]) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let mut command = quayctl();
    command.current_dir(&folder).args(["-logtostderr", "-v=2", "-o", "json"]).args(more);
    command.arg("--kubeconfig").arg(bed.kubeconfig()).envs(environment.iter().copied());
    command.env("QUAYCTL_CARRIER_IMAGE", "quayctl-controller:test");
    ended(&mut command)
}

#[test]
fn the_pod_of_2017_still_works() {
    let bed = shared();
    let namespace = bed.namespace("old");
    let environment = [
        (
            "QUAY_IMAGES",
            "quay.io/nicholas_lane/chihaya:latest; quay.io/nicholas_lane/kibana:5.4.1-official ;;",
        ),
        ("DEADLINE_SECONDS", "77"),
        ("MY_POD_NAMESPACE", namespace.as_str()),
        // Kubernetes injects these for a Service named quayctl-controller.
        ("QUAYCTL_CONTROLLER_PORT", "tcp://10.0.0.7:8080"),
        ("QUAYCTL_CONTROLLER_SERVICE_HOST", "10.0.0.7"),
    ];
    let ended = as_in_2017(bed, &environment, &[]).expect_code(0);
    let report = ended.json();
    assert_eq!(report["groups"][0]["name"], "quay-images");
    assert_eq!(report["groups"][0]["counts"]["succeeded"], NODES);
    let jobs = bed.jobs(&namespace);
    assert_eq!(jobs.len(), NODES);
    for job in &jobs {
        assert_eq!(job["spec"]["activeDeadlineSeconds"], 77);
        let images = job["metadata"]["annotations"]["quayctl-controller/images"].as_str().unwrap();
        assert_eq!(images.matches("quay.io/nicholas_lane/").count(), 2, "{images}");
    }
    let warnings: Vec<&str> = ended.stderr.lines().filter(|line| line.contains("WARN")).collect();
    assert!(
        warnings.len() == 2 && warnings.iter().all(|line| line.contains("has no effect")),
        "{}",
        ended.stderr
    );
}

#[test]
fn quay_images_adds_its_group_to_those_of_a_file() {
    let bed = shared();
    let namespace = bed.namespace("old-beside");
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("quayctl.toml");
    let text = "[[groups]]\nname = \"own\"\nimages = [\"nginx:1.29\"]\ndeadline = \"99s\"\nnode_selector = \"gpu\"\n";
    std::fs::write(&config, text).unwrap();
    let environment = [("QUAY_IMAGES", "nginx:1.29"), ("DEADLINE_SECONDS", "66")];
    let more = ["-n", namespace.as_str(), "--config", config.to_str().unwrap(), "--node", "node-010"];
    let report = as_in_2017(bed, &environment, &more).expect_code(0).json();
    let names: Vec<&Value> =
        report["groups"].as_array().unwrap().iter().map(|group| &group["name"]).collect();
    assert_eq!(names, ["own", "quay-images"]);
    let mut deadlines: Vec<i64> = bed
        .jobs(&namespace)
        .iter()
        .map(|job| job["spec"]["activeDeadlineSeconds"].as_i64().unwrap())
        .collect();
    deadlines.sort();
    assert_eq!(deadlines, [66, 99], "a group's own deadline stands");

    std::fs::write(&config, text.replace("own", "quay-images")).unwrap();
    let refused = as_in_2017(bed, &environment, &more).expect_code(2);
    assert!(
        refused.stderr.contains("QUAY_IMAGES") && refused.stderr.contains("duplicate group"),
        "{}",
        refused.stderr
    );
}

#[test]
fn overrides_stand_between_file_and_flags_and_name_themselves_when_wrong() {
    let bed = shared();
    let namespace = bed.namespace("override");
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("quayctl.toml");
    std::fs::write(&config, "namespace = \"file\"\n[[groups]]\nname = \"g\"\nimages = [\"nginx:1.29\"]\n")
        .unwrap();
    let config = ["--config", config.to_str().unwrap(), "--node", "node-010"];
    let run =
        |environment: &[(&str, &str)], more: &[&str]| as_in_2017(bed, environment, &[&config, more].concat());
    // MY_POD_NAMESPACE is below the file, QUAYCTL_NAMESPACE above it, the flag above all.
    let missing = run(&[("MY_POD_NAMESPACE", &namespace)], &[]).expect_code(3);
    assert!(missing.stderr.contains("namespace \"file\" does not exist"), "{}", missing.stderr);
    run(&[("QUAYCTL_NAMESPACE", &namespace)], &[]).expect_code(0);
    let missing = run(&[("QUAYCTL_NAMESPACE", &namespace)], &["-n", "flag"]).expect_code(3);
    assert!(missing.stderr.contains("namespace \"flag\" does not exist"), "{}", missing.stderr);
    for (name, value, words) in [
        ("DEADLINE_SECONDS", "abc", "invalid duration \"abc\""),
        ("DEADLINE_SECONDS", "0", "\"0s\" is too short"),
        ("QUAYCTL_DEFAULTS__DEADLINE", "5 mins", "invalid duration \"5 mins\""),
        ("QUAYCTL_CONCURRENCY", "many", "expected an integer"),
        ("QUAYCTL_DEFAULTS__PULL_SECRETS", "x", "expected a list"),
        ("QUAYCTL_RUN_ID", "Not An Id", "invalid run id"),
    ] {
        let refused = run(&[(name, value)], &["-n", &namespace]).expect_code(2);
        let named = name == "QUAYCTL_RUN_ID" || refused.stderr.contains(name);
        assert!(named && refused.stderr.contains(words), "{name}={value}: {}", refused.stderr);
    }
}

const TWO_GROUPS: &str = "[[groups]]\nname = \"all\"\nimages = [\"nginx:1.29\"]\nconcurrency = \"10%\"\n\
    [[groups]]\nname = \"gpu\"\nimages = [\"quay.io/team/gpu:1\"]\nnode_selector = \"gpu\"\ndeadline = \"20m\"\n";

#[test]
fn plan_says_what_a_run_then_does() {
    let bed = shared();
    let namespace = bed.namespace("plan");
    let args = ["-n", &namespace, "--run-id", "r", "-o", "json"];
    let plan = bed.quayctl(&[&["plan"][..], &args].concat(), TWO_GROUPS).expect_code(0).json();
    // 50 nodes at 5 a time are 10 rounds of 5 m; 5 nodes are one of 20 m; and a minute.
    assert_eq!(plan["runDeadline"], "1h11m");
    assert_eq!(plan["groups"][0]["counts"], serde_json::json!({"create": NODES, "skip": 0}));
    let dry =
        bed.quayctl(&[&["run", "--dry-run=client"][..], &args].concat(), TWO_GROUPS).expect_code(0).json();
    assert_eq!(dry, plan);
    let dry =
        bed.quayctl(&[&["run", "--dry-run=server"][..], &args].concat(), TWO_GROUPS).expect_code(0).json();
    assert_eq!(dry, plan);
    assert_eq!(bed.jobs(&namespace).len(), 0, "nothing was created");
    let detailed = [&["plan", "--detailed-exitcode"][..], &args].concat();
    bed.quayctl(&detailed, TWO_GROUPS).expect_code(4);
    let none =
        [&["plan", "--detailed-exitcode", "-n", &namespace][..], &["--group", "gpu", "--node", "node-001"]]
            .concat();
    bed.quayctl(&none, TWO_GROUPS).expect_code(0);

    let narrowed =
        [&["run"][..], &args, &["--group", "gpu", "--node", "node-010", "--node", "node-020"]].concat();
    let report = bed.quayctl(&narrowed, TWO_GROUPS).expect_code(0).json();
    assert_eq!(report["groups"].as_array().unwrap().len(), 1);
    let planned: Vec<&Value> =
        plan["groups"][1]["nodes"].as_array().unwrap().iter().map(|node| &node["job"]).collect();
    for node in report["groups"][0]["nodes"].as_array().unwrap() {
        assert!(planned.contains(&&node["job"]), "{node}");
    }
}

#[test]
fn a_plan_right_after_a_run_has_no_work() {
    let bed = shared();
    let namespace = bed.namespace("planned-again");
    let config = "[[groups]]\nname = \"g\"\nimages = [\"nginx:1.29\"]\nnode_selector = \"gpu\"\n";
    let plan = ["plan", "--detailed-exitcode", "-n", &namespace, "-o", "json"];
    bed.quayctl(&plan, config).expect_code(4);
    bed.run(&namespace, config, &[]).expect_code(0);
    let after = bed.quayctl(&plan, config).expect_code(0).json();
    assert_eq!(after["groups"][0]["counts"], serde_json::json!({"create": 5, "skip": 0, "present": 5}));
    let dry =
        bed.quayctl(&["run", "--dry-run=client", "-n", &namespace, "-o", "json"], config).expect_code(0);
    assert_eq!(dry.json()["groups"][0]["counts"], after["groups"][0]["counts"]);
    // Another image, another instance, one node more: there is work again.
    bed.quayctl(&plan, &config.replace("1.29", "1.30")).expect_code(4);
    bed.quayctl(&plan, &format!("instance = \"other\"\n{config}")).expect_code(4);
    bed.quayctl(&plan, &config.replace("\"gpu\"", "\"\"")).expect_code(4);
    let first = bed.jobs(&namespace)[0]["metadata"]["name"].as_str().unwrap().to_owned();
    ended(&mut bed.kubectl(&["delete", "job", &first, "-n", &namespace])).expect_code(0);
    bed.quayctl(&plan, config).expect_code(4);
}

#[test]
fn a_plan_for_a_namespace_that_is_missing_names_it() {
    let bed = shared();
    let here = bed.namespace("planned-here");
    let config = "[[groups]]\nname = \"g\"\nimages = [\"nginx:1.29\"]\nnode_selector = \"gpu\"\n";
    let elsewhere = format!("{config}{}namespace = \"nowhere\"\n", config.replace("\"g\"", "\"h\""));
    for (args, config) in [
        (&["plan"][..], config.to_owned()),
        (&["plan", "--detailed-exitcode"], config.to_owned()),
        (&["run", "--dry-run=client"], config.to_owned()),
        (&["run", "--dry-run=server"], config.to_owned()),
    ] {
        let refused = bed.quayctl(&[args, &["-n", "nowhere"]].concat(), &config).expect_code(3);
        assert!(
            refused.stderr.contains("namespace \"nowhere\" does not exist"),
            "{args:?}: {}",
            refused.stderr
        );
    }
    let refused = bed.quayctl(&["plan", "-n", &here], &elsewhere).expect_code(3);
    assert!(refused.stderr.contains("namespace \"nowhere\" does not exist"), "{}", refused.stderr);
}

#[test]
fn a_server_side_dry_run_tells_what_would_be_refused() {
    let bed = shared();
    let namespace = bed.namespace("dry-run");
    let quota = ["create", "quota", "none", "--hard=count/jobs.batch=0", "-n", &namespace];
    ended(&mut bed.kubectl(&quota)).expect_code(0);
    // A quota is refused only once its controller has counted.
    let counted = ["wait", "--for=jsonpath={.status.hard}", "quota/none", "-n", &namespace, "--timeout=60s"];
    ended(&mut bed.kubectl(&counted)).expect_code(0);
    let args = ["run", "--dry-run=server", "-n", &namespace, "--group", "gpu", "-o"];
    let plan = bed.quayctl(&[&args[..], &["json"]].concat(), TWO_GROUPS).expect_code(1).json();
    assert_eq!(plan["groups"][0]["counts"], serde_json::json!({"create": 0, "skip": 0, "failed": 5}));
    for node in plan["groups"][0]["nodes"].as_array().unwrap() {
        assert_eq!((&node["action"], &node["reason"]), (&"failed".into(), &"quota".into()), "{node}");
    }
    let table = bed.quayctl(&[&args[..], &["table"]].concat(), TWO_GROUPS).expect_code(1).stdout;
    assert!(table.contains("failed: quota on 5 nodes (gpu)") && table.contains("exceeded quota"), "{table}");
}

#[test]
fn unknown_groups_and_nodes_are_usage_errors() {
    let bed = shared();
    for (flag, words) in [("--group", "no group \"nowhere\""), ("--node", "no node \"nowhere\"")] {
        for command in ["run", "plan", "render"] {
            let refused = bed.quayctl(&[command, flag, "nowhere", "-n", "x"], TWO_GROUPS).expect_code(2);
            assert!(refused.stderr.contains(words) && refused.stdout.is_empty(), "{}", refused.stderr);
        }
    }
}
