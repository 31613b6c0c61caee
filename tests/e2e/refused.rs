//! What a registry will never give: a node ends as soon as the kubelet has been told twice.

use serde_json::Value;

use crate::scenario::Scenario;
use crate::site::{NEW, OLD, REAL, node};

/// Long enough for a second try, ten seconds after the first, on a busy machine; and no node may use it up.
const DEADLINE: &str = "deadline = \"90s\"";

/// The Jobs were ended by us, long before their deadline.
#[track_caller]
fn ended_early(report: &Value) {
    for name in REAL {
        let node = node(report, name);
        let at = |key: &str| node[key].as_str().expect("a time").parse::<jiff::Timestamp>().expect("a time");
        let took = at("finishedAt").duration_since(at("startedAt"));
        assert!(took.as_secs() < 60, "{name} took {took}: {node}");
    }
}

#[test]
fn a_tag_that_is_missing() {
    let mut scenario = Scenario::new("not-found-tag");
    scenario.push("not-found/app:1", &[]);
    let report = scenario.run(REAL, &[&scenario.face.image("not-found/app:2")], DEADLINE);
    scenario.all_failed(&report, REAL, "image-not-found", ": not found");
    ended_early(&report);
    scenario.record(Some("image-not-found"), true);
}

#[test]
fn a_repository_that_is_missing() {
    let mut scenario = Scenario::new("not-found-repository");
    let report = scenario.run(REAL, &[&scenario.face.image("nowhere/not-found/app:1")], DEADLINE);
    scenario.all_failed(&report, REAL, "image-not-found", ": not found");
    ended_early(&report);
    scenario.record(Some("image-not-found"), true);
}

#[test]
fn an_index_without_our_platform() {
    let mut scenario = Scenario::new("no-platform");
    let platforms = ["--platform", "linux/arm64", "--platform", "linux/s390x"];
    let image = scenario.push("no-platform/app:1", &platforms);
    let report = scenario.run(REAL, &[&image], DEADLINE);
    scenario.all_failed(&report, REAL, "no-matching-platform", "no match for platform in manifest");
    ended_early(&report);
    scenario.record(Some("no-matching-platform"), true);
}

/// A manifest says nothing of its platform, and neither containerd reads the config to find out: the
/// image is there, and a program of another processor would fail when it is started. docs/pulling.md
/// says so.
#[test]
fn a_plain_image_of_another_platform_is_pulled_without_a_word() {
    let scenario = Scenario::new("foreign-plain");
    let image = scenario.push("foreign/app:1", &["--platform", "linux/arm64"]);
    let report = scenario.run(REAL, &[&image], DEADLINE);
    scenario.all_held(&report, REAL);
}

#[test]
fn a_certificate_that_nobody_knows() {
    let mut scenario = Scenario::with_face("unknown-ca", &["--tls", "unknown"]);
    let image = scenario.push("unknown-ca/app:1", &[]);
    let report = scenario.run(REAL, &[&image], DEADLINE);
    scenario.all_failed(&report, REAL, "tls", "x509: certificate signed by unknown authority");
    ended_early(&report);
    scenario.record(Some("tls"), true);
}

#[test]
fn a_certificate_of_a_known_authority_is_fine() {
    let scenario = Scenario::with_face("known-ca", &["--tls", "known"]);
    let image = scenario.push("known-ca/app:1", &[]);
    let report = scenario.run(REAL, &[&image], DEADLINE);
    scenario.all_held(&report, REAL);
}

/// A manifest of Docker's kind before 2016. containerd 2.x refuses it; 1.x would convert it if it were
/// signed, which this one is not.
#[test]
fn a_manifest_of_schema_1() {
    let mut scenario = Scenario::new("schema-1");
    let image = scenario.push("schema-1/app:1", &["--break", "schema-1"]);
    let report = scenario.run(REAL, &[&image], DEADLINE);
    scenario.all_failed(
        &report,
        NEW,
        "unsupported-manifest",
        "schema 1 image manifests are no longer supported",
    );
    scenario.all_failed(&report, &[OLD], "unsupported-manifest", "no signatures");
    ended_early(&report);
    scenario.record(Some("unsupported-manifest"), true);
}
