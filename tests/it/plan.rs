//! What can be told of a run without a cluster, from a list of nodes.

use serde_json::json;
use tempfile::TempDir;

use crate::support::{Ended, ended, quayctl, root};

/// Two groups, of which the second selects no node without image volumes.
const CONFIG: &str = "[[groups]]\nname = \"all\"\nimages = [\"nginx:1.29\"]\n\
    [[groups]]\nname = \"new\"\nimages = [\"nginx:1.29\"]\nnode_selector = \"zone=fra\"\n";
const ADVICE: &str = "set `carrier_image` to the image of quayctl-controller or a mirror of it";
/// Of tests/cases/nodes.yaml: the one whose kubelet and containerd cannot mount image volumes.
const OLD: &str = "node-002.example.com";

fn folder(config: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("quayctl.toml"), config).unwrap();
    std::fs::copy(root().join("tests/cases/nodes.yaml"), folder.path().join("nodes.yaml")).unwrap();
    folder
}

fn on(folder: &TempDir, args: &[&str]) -> Ended {
    ended(quayctl().current_dir(folder).args(args).args(["--nodes", "nodes.yaml"]))
}

#[test]
fn plan_foresees_the_node_that_fails_for_want_of_a_carrier_image() {
    let folder = folder(CONFIG);
    let plan = on(&folder, &["plan", "-o", "json"]).expect_code(0).json();
    assert_eq!(plan["groups"][0]["counts"], json!({"create": 1, "skip": 1, "failed": 1}));
    assert_eq!(plan["groups"][1]["counts"], json!({"create": 1, "skip": 1}));
    let node =
        plan["groups"][0]["nodes"].as_array().unwrap().iter().find(|node| node["name"] == OLD).unwrap();
    assert_eq!((&node["action"], &node["reason"]), (&json!("failed"), &json!("carrier-image-failed")));
    assert_eq!(node["template"], "helper");
    assert!(node["message"].as_str().unwrap().contains(ADVICE), "{node}");

    let table = on(&folder, &["plan"]).expect_code(0).stdout;
    for words in [
        "GROUP  NODES  CREATE  SKIP  FAIL",
        "failed: carrier-image-failed on 1 node (all)\n  node-002.example.com",
        "2 Jobs to create, 1 node skipped (in 2 groups), 1 would fail; done within ",
    ] {
        assert!(table.contains(words), "{words}\n{table}");
    }
    // The images are not there, so there is work.
    let only = ["--group", "all", "--node", OLD];
    on(&folder, &[&["plan", "--detailed-exitcode"][..], &only].concat()).expect_code(4);

    // With one, the plan is what it was.
    let mut with = quayctl();
    with.current_dir(&folder).args(["plan", "-o", "json", "--nodes", "nodes.yaml"]);
    let plan = ended(with.env("QUAYCTL_CARRIER_IMAGE", "c:1")).expect_code(0).json();
    assert_eq!(plan["groups"][0]["counts"], json!({"create": 2, "skip": 1}));
}

#[test]
fn check_with_nodes_names_those_that_would_fail_and_only_those() {
    let old = on(&folder(CONFIG), &["check"]).expect_code(0);
    let words = "warning[no-carrier-image]: 1 node cannot mount image volumes and would fail with \
        `carrier-image-failed`, as there is no carrier image: node-002.example.com";
    assert!(old.stderr.contains(words), "{}", old.stderr);
    let report = on(&folder(CONFIG), &["check", "-o", "json"]).expect_code(0).json();
    let problem = &report["problems"][0];
    assert_eq!(
        (&problem["code"], &problem["key"]),
        (&json!("no-carrier-image"), &json!("groups[0].carrier_image"))
    );
    assert!(problem["message"].as_str().unwrap().contains(OLD), "{problem}");

    // All nodes of this group mount image volumes, so there is nothing to warn of.
    let new = CONFIG.replace("[[groups]]\nname = \"all\"\nimages = [\"nginx:1.29\"]\n", "");
    let fine = on(&folder(&new), &["check", "--strict"]);
    assert!(!fine.stderr.contains("no-carrier-image"), "{}", fine.stderr);
    let fine = on(&folder(&new), &["check"]).expect_code(0);
    assert_eq!(
        (fine.stdout.as_str(), fine.stderr.as_str()),
        ("1 group, 1 image: no problems\n", "new: selects 2 of 3 nodes\n")
    );
}

#[test]
fn check_says_in_every_form_that_the_nodes_cannot_be_read() {
    let folder = folder(CONFIG);
    std::fs::write(folder.path().join("nodes.yaml"), "NAME STATUS\nnode-001 Ready\n").unwrap();
    for form in ["table", "json", "yaml"] {
        let refused = on(&folder, &["check", "-o", form]).expect_code(2);
        assert!(
            refused.stderr.contains("not the output of `kubectl get nodes"),
            "{form}: {}",
            refused.stderr
        );
    }
}

#[test]
fn a_node_that_is_listed_twice_gets_one_job() {
    let folder = folder(CONFIG);
    let once = on(&folder, &["render", "--group", "new"]).expect_code(0);
    let listed = std::fs::read_to_string(folder.path().join("nodes.yaml")).unwrap();
    let (head, items) = listed.split_once("items:\n").unwrap();
    // As two lists of the same nodes are put together, the second from after one was made anew.
    let again = items.replace("0b6f5f4e-0001", "0b6f5f4e-1001");
    std::fs::write(folder.path().join("nodes.yaml"), format!("{head}items:\n{items}{again}")).unwrap();
    let twice = on(&folder, &["render", "--group", "new"]).expect_code(0);
    assert_eq!(twice.stdout, once.stdout);
    let words = "nodes.yaml: 3 nodes are listed more than once, and the first of each is used: node-001, \
        node-002.example.com, node-003";
    assert_eq!(twice.stderr.matches(words).count(), 1, "{}", twice.stderr);

    let plan = on(&folder, &["plan", "--group", "new", "-o", "json"]).expect_code(0).json();
    assert_eq!(plan["groups"][0]["counts"], json!({"create": 1, "skip": 1}));
    let checked = on(&folder, &["check"]).expect_code(0);
    assert!(checked.stderr.contains("new: selects 2 of 3 nodes"), "{}", checked.stderr);
}
