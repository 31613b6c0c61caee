//! Images of every kind, by each way of pulling; afterwards a workload starts with no registry to ask.

use crate::scenario::Scenario;
use crate::site::{NEW, OLD, REAL, node};
use crate::support::bed::OURS;

const DEADLINE: &str = "deadline = \"2m\"";

#[test]
fn image_volumes_of_an_image_in_three_layers() {
    let scenario = Scenario::new("image-volume");
    let image = scenario.push("volume/app:1", &["--size", "3MB", "--layers", "3"]);
    let report = scenario.run(NEW, &[&image], "deadline = \"2m\"\ntemplate = \"image-volume\"");
    scenario.all_held(&report, NEW);
    scenario.starts_without_registry(NEW, &image);
}

/// There is nothing in it that could be run.
#[test]
fn the_helper_with_an_image_that_has_no_program() {
    let scenario = Scenario::new("helper");
    scenario
        .site
        .registry
        .command(&["push", "helper/data:1"], &["--size", "100kB", "--seed", &scenario.namespace]);
    let data = scenario.face.image("helper/data:1");
    let app = scenario.push("helper/app:1", &["--size", "3MB"]);
    let report = scenario.run(REAL, &[&data, &app], "deadline = \"2m\"\ntemplate = \"helper\"");
    scenario.all_held(&report, REAL);
    for name in REAL {
        for image in node(&report, name)["images"].as_array().expect("images") {
            assert_eq!(image["state"], "pulled", "{image}");
            assert!(image["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{image}");
        }
    }
    scenario.starts_without_registry(REAL, &app);
}

#[test]
fn auto_on_real_and_simulated_nodes_at_once() {
    let scenario = Scenario::new("mixed");
    let image = scenario.push("mixed/app:1", &[]);
    let config =
        format!("[[groups]]\nname = \"g\"\nimages = [\"{image}\"]\nnode_selector = \"\"\n{DEADLINE}\n");
    let report = scenario.site.bed.run(&scenario.namespace, &config, &[]).expect_code(0).json();
    let nodes = report["groups"][0]["nodes"].as_array().expect("nodes");
    let mut names: Vec<&str> = nodes.iter().filter_map(|node| node["name"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, [&["node-001", "node-002"], REAL].concat());
    assert!(nodes.iter().all(|node| node["verdict"] == "succeeded"), "{report}");
    scenario.all_held(&report, REAL);
}

/// A tag that moves is of no interest to a digest. containerd keeps an image under the reference that
/// was asked for, so a workload that names it differently asks the registry again, for the manifest.
#[test]
fn by_digest_and_by_tag_and_digest() {
    let scenario = Scenario::new("digest");
    let pushed = scenario.pushed("digest/app:1", &["--size", "100kB"]);
    let digest = pushed["digest"].as_str().expect("a digest");
    let by_digest = scenario.face.image(&format!("digest/app@{digest}"));
    let by_both = scenario.face.image(&format!("digest/app:1@{digest}"));
    for (image, template) in [(&by_digest, "auto"), (&by_both, "helper")] {
        let report = scenario.run(REAL, &[image], &format!("deadline = \"2m\"\ntemplate = \"{template}\""));
        scenario.all_held(&report, REAL);
    }
    let blobs = scenario.requests("blob", "digest/app");
    let manifests = scenario.requests("manifest", "digest/app");
    let by_tag = scenario.face.image("digest/app:1");
    for name in REAL {
        let said = scenario.site.workload(&scenario.namespace, name, &by_tag, &format!("tag-{name}"));
        assert!(said.starts_with("Successfully pulled image"), "{name}: {said}");
    }
    assert!(scenario.requests("manifest", "digest/app") > manifests, "the tag had to be resolved");
    assert_eq!(scenario.requests("blob", "digest/app"), blobs, "and nothing else was fetched");
    scenario.starts_without_registry(REAL, &by_both);
}

#[test]
fn of_an_index_only_our_platform() {
    let scenario = Scenario::new("index");
    let platforms = ["--platform", "linux/arm64", "--platform", "linux/amd64", "--platform", "linux/s390x"];
    let pushed = scenario.pushed("index/app:1", &[&platforms[..], &["--size", "1MB"]].concat());
    let image = scenario.face.image("index/app:1");
    let report = scenario.run(REAL, &[&image], DEADLINE);
    scenario.all_held(&report, REAL);
    let fetched = scenario.face.counts();
    let was_fetched = |platform: &str| {
        let built = pushed["images"].as_array().expect("images");
        let built = built.iter().find(|image| image["platform"] == platform).expect("it was pushed");
        let layers = built["layers"].as_array().expect("layers");
        let random = layers.last().expect("a layer");
        fetched["rows"].as_array().expect("rows").iter().any(|row| row["reference"] == *random)
    };
    assert!(was_fetched("linux/amd64"), "{fetched}");
    assert!(!was_fetched("linux/arm64") && !was_fetched("linux/s390x"), "{fetched}");
    scenario.starts_without_registry(REAL, &image);
}

/// Carriers are small: what they ask for together fits any node.
#[test]
fn twenty_images_in_one_job() {
    let scenario = Scenario::new("twenty");
    let images: Vec<String> =
        (0..20).map(|number| scenario.push(&format!("twenty/app-{number}:1"), &[])).collect();
    let images: Vec<&str> = images.iter().map(String::as_str).collect();
    let report = scenario.run(REAL, &images, "deadline = \"4m\"");
    scenario.all_held(&report, REAL);
    let pods = scenario.site.bed.get(&["get", "pods", "-n", &scenario.namespace, "-l", OURS]);
    for pod in pods["items"].as_array().expect("pods") {
        let requests = pod["spec"]["containers"].as_array().expect("containers").iter();
        let kibibytes: u64 = requests
            .map(|container| {
                let text = container["resources"]["requests"]["memory"].as_str().expect("a request");
                text.strip_suffix("Ki").expect("in Ki").parse::<u64>().expect("a number")
            })
            .sum();
        assert!(kibibytes <= 16 * 1024, "{kibibytes} Ki in {}", pod["metadata"]["name"]);
    }
    assert_eq!(pods["items"].as_array().map(Vec::len), Some(REAL.len()), "each node has had one pod");
    scenario.starts_without_registry(&[NEW[0], OLD], images[19]);
}

/// The kubelet refuses more than ten pulls at once, and then more than five a second, and backs off as if
/// the pull had failed: `pull QPS exceeded` says nothing of an image.
#[test]
fn more_images_than_the_kubelet_pulls_at_once() {
    let mut scenario = Scenario::new("limited");
    // Of one content, so that a pull takes far less than a fifth of a second.
    let seed = ["--seed", &scenario.namespace];
    let images: Vec<String> =
        (0..40).map(|number| scenario.push(&format!("limited/app-{number}:1"), &seed)).collect();
    let images: Vec<&str> = images.iter().map(String::as_str).collect();
    let report = scenario.run(&NEW[..1], &images, "deadline = \"4m\"");
    scenario.all_held(&report, &NEW[..1]);
    // Its event may have been rationed.
    let log = scenario.site.bed.kubeconfig().with_file_name(format!("state/kubelet-{}.log", NEW[0]));
    let log = std::fs::read_to_string(log).expect("the kubelet's log");
    let was_limited = |line: &str| line.contains(&scenario.face.host) && line.contains("pull QPS exceeded");
    assert!(log.lines().any(was_limited), "the kubelet refused none of {} pulls", images.len());
    scenario.record(None, false);
}
