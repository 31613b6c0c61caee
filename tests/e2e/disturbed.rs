//! What becomes of a pull when its disk, its deadline, its node or a program of the node fails. Each test has a
//! cluster of its own.

use serde_json::Value;

use crate::registry::Face;
use crate::site::{Site, group, node, own};
use crate::support::bed::{Running, is_over};

const NODE: &str = "real-001";

/// A face of this name, and the reference of an image of one layer there.
fn image(site: &Site, name: &str, size: &str) -> (Face, String) {
    let face = site.registry.face(name, &[]);
    site.registry.push(&format!("{name}/app:1"), &["--size", size]);
    let image = face.image(&format!("{name}/app:1"));
    (face, image)
}

/// A run of one image that is being pulled at a megabyte a second by the time this returns.
fn start_slowly(site: &Site, namespace: &str, face: &Face, image: &str, more: &str) -> Running {
    face.throttle(1_000_000);
    let run = site.bed.start_run(namespace, &group(&[image.to_owned()], more), &[]);
    site.eventually("the pull has begun", || (face.active() > 0).then_some(()));
    run
}

#[track_caller]
fn expect_image(report: &Value, index: usize, state: &str, reason: &str) {
    let image = &node(report, NODE)["images"][index];
    assert_eq!(image["state"], state, "{report}");
    assert_eq!(image["reason"].as_str().unwrap_or_default(), reason, "{report}");
}

#[test]
fn an_image_that_does_not_fit_is_disk_full_and_its_neighbour_is_there() {
    let site = own(&["--real-nodes", "1", "--small-disk", "50331648"]);
    let namespace = site.bed.namespace("disk");
    let (_, small) = image(&site, "small", "1MB");
    let (_, big) = image(&site, "big", "60MB");

    let report = site.run(&namespace, &[NODE], &[small.clone(), big.clone()], "deadline = \"20s\"");
    assert_eq!(node(&report, NODE)["verdict"], "failed", "{report}");
    assert_eq!(node(&report, NODE)["reason"], "disk-full", "{report}");
    expect_image(&report, 0, "pulled", "");
    expect_image(&report, 1, "failed", "disk-full");
    let message = node(&report, NODE)["images"][1]["message"].to_string();
    assert!(message.contains("no space left on device"), "{message}");
    let held = site.held(NODE);
    assert!(held.contains(&small) && !held.contains(&big), "{held:?}");

    let said = site.workload(&namespace, NODE, &small, "after");
    assert!(said.contains("already present on machine"), "{said}");
}

/// Each node's second image is even begun when its pod is gone.
#[test]
fn a_deadline_does_not_end_a_pull_so_more_nodes_pull_than_the_limit() {
    const NODES: [&str; 2] = ["real-001", "real-002"];
    let site = own(&["--real-nodes", "2"]);
    let namespace = site.bed.namespace("deadline");
    let face = site.registry.face("slow", &[]);
    let images = ["1", "2"].map(|tag| {
        site.registry.push(&format!("slow/app:{tag}"), &["--size", "12MB"]);
        face.image(&format!("slow/app:{tag}"))
    });
    face.throttle(1_000_000);

    let config = format!("concurrency = 1\n{}", group(&images, "deadline = \"6s\""));
    let run = site.bed.start_run(&namespace, &config, &[]);
    site.eventually("the first Job is over", || site.bed.jobs(&namespace).iter().any(is_over).then_some(()));
    // Of the first node's image only one layer is left by then.
    site.eventually("two nodes pull", || (face.active() > 1).then_some(()));
    let report = run.end().expect_code(1).json();
    for name in NODES {
        let node = node(&report, name);
        assert_eq!(node["reason"], "deadline-exceeded", "{node}");
        assert!(
            node["images"].as_array().is_some_and(|all| all.iter().all(|image| image["state"] != "pulled")),
            "{node}"
        );
    }
    // Nobody asks for them any longer, and yet they come.
    for name in NODES {
        site.eventually("both images are there", || {
            let held = site.held(name);
            images.iter().all(|image| held.contains(image)).then_some(())
        });
    }

    let report = site.run(&namespace, &NODES, &images, "deadline = \"1m\"");
    for name in NODES {
        assert_eq!(node(&report, name)["verdict"], "succeeded", "{report}");
    }
    face.stop();
    let said = site.workload(&namespace, NODE, &images[1], "after");
    assert!(said.contains("already present on machine"), "{said}");
}

#[test]
fn a_kubelet_that_is_restarted_in_a_pull_pulls_on() {
    restarted("kubelet");
}

#[test]
fn containerd_that_is_restarted_in_a_pull_pulls_again() {
    restarted("containerd");
}

fn restarted(program: &str) {
    let site = own(&["--real-nodes", "1"]);
    let namespace = site.bed.namespace(program);
    let (face, image) = image(&site, program, "6MB");
    let run = start_slowly(&site, &namespace, &face, &image, "deadline = \"2m\"");
    site.bed.signal(&format!("{program}-{NODE}"), "KILL");

    let report = run.end().expect_code(0).json();
    assert_eq!(node(&report, NODE)["verdict"], "succeeded", "{report}");
    assert!(site.held(NODE).contains(&image), "{:?}", site.held(NODE));
    face.stop();
    let said = site.workload(&namespace, NODE, &image, "after");
    assert!(said.contains("already present on machine"), "{said}");
}

#[test]
fn a_node_that_dies_in_a_pull_is_not_ready() {
    let site = own(&["--real-nodes", "1"]);
    let namespace = site.bed.namespace("dead");
    let (face, image) = image(&site, "dead", "12MB");
    // The node lifecycle controller waits for 40 s in this bed.
    let run = start_slowly(&site, &namespace, &face, &image, "deadline = \"50s\"");
    site.bed.signal(NODE, "STOP");
    site.eventually("the node is not ready", || {
        let node = site.bed.get(&["get", "node", NODE]);
        let conditions = node["status"]["conditions"].as_array()?;
        conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "Unknown").then_some(())
    });

    let report = run.end().expect_code(1).json();
    assert_eq!(node(&report, NODE)["reason"], "node-not-ready", "{report}");
    expect_image(&report, 0, "unknown", "");

    // Where it comes back it finds its pod gone, and has the image none the less.
    site.bed.signal(NODE, "CONT");
    site.eventually("the image is there", || site.held(NODE).contains(&image).then_some(()));
    let said = site.workload(&namespace, NODE, &image, "after");
    assert!(said.contains("already present on machine"), "{said}");
}
