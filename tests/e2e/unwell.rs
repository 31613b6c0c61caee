//! A registry in trouble: nothing is final, and once it is well again the kubelet's next try succeeds.

use crate::scenario::Scenario;
use crate::site::{REAL, node};

/// Where all tries fail: time for two, also where the kubelet's limit has put off the first.
const SHORT: &str = "deadline = \"40s\"";
/// Where a later one succeeds: the kubelet tries again after 10 and after 20 seconds.
const LONG: &str = "deadline = \"2m\"";

#[test]
fn a_host_that_no_name_server_knows() {
    let mut scenario = Scenario::new("unknown-host");
    let report = scenario.run(REAL, &["nope.invalid/x:1"], SHORT);
    scenario.all_failed(&report, REAL, "dns", "no such host");
    scenario.record(Some("dns"), false);
}

#[test]
fn a_registry_that_answers_503() {
    let mut scenario = Scenario::new("status-503");
    let image = scenario.push("status-503/app:1", &[]);
    scenario.face.fault("status", &["--status", "503"]);
    let report = scenario.run(REAL, &[&image], SHORT);
    scenario.all_failed(&report, REAL, "registry-error", "503 Service Unavailable");
    scenario.record(Some("registry-error"), false);
}

#[test]
fn a_registry_that_limits_pulls() {
    let mut scenario = Scenario::new("status-429");
    let image = scenario.push("status-429/app:1", &[]);
    scenario.face.fault("status", &["--status", "429"]);
    let report = scenario.run(REAL, &[&image], SHORT);
    scenario.all_failed(&report, REAL, "rate-limited", "429 Too Many Requests");
    scenario.record(Some("rate-limited"), false);
}

/// The kubelet has a back-off of its own and does not read the header: it tries again after 10 s,
/// however long it was told to wait.
#[test]
fn a_registry_that_limits_pulls_for_a_while() {
    let mut scenario = Scenario::new("retry-after");
    let image = scenario.push("retry-after/app:1", &[]);
    scenario.face.fault("status", &["--status", "429", "--retry-after", "600"]);
    let run = scenario.start(&[&image], LONG);
    scenario.until_failed(REAL, "429 Too Many Requests");
    scenario.face.heal();
    let report = run.end().expect_code(0).json();
    scenario.all_held(&report, REAL);
    scenario.record(Some("rate-limited"), false);
}

/// containerd itself asks for the rest, as often as it gets a part, and nobody hears of it.
#[test]
fn a_connection_that_is_reset_in_the_middle_of_a_layer() {
    let mut scenario = Scenario::new("reset");
    let image = scenario.push("reset/app:1", &["--size", "4MB"]);
    scenario.face.fault("reset", &["--path", "/blobs/", "--after", "1000000"]);
    let run = scenario.start(&[&image], LONG);
    scenario.until_failed(REAL, "connection reset by peer");
    scenario.face.heal();
    let report = run.end().expect_code(0).json();
    scenario.all_held(&report, REAL);
    for name in REAL {
        assert_eq!(node(&report, name)["images"][0]["state"], "pulled", "{report}");
    }
    scenario.record(Some("registry-unreachable"), false);
    scenario.starts_without_registry(REAL, &image);
}

#[test]
fn a_connection_that_is_reset_before_anything_comes() {
    let mut scenario = Scenario::new("reset-at-once");
    let image = scenario.push("reset-at-once/app:1", &[]);
    scenario.face.fault("reset", &["--path", "/blobs/", "--after", "0"]);
    let run = scenario.start(&[&image], LONG);
    scenario.until_failed(REAL, "connection reset by peer");
    scenario.face.heal();
    let report = run.end().expect_code(0).json();
    scenario.all_held(&report, REAL);
    scenario.record(Some("registry-unreachable"), false);
}

#[test]
fn a_registry_that_stops_half_way_and_comes_back() {
    let mut scenario = Scenario::new("stopped");
    let image = scenario.push("stopped/app:1", &["--size", "8MB", "--layers", "2"]);
    scenario.face.fault("throttle", &["--path", "/blobs/", "--rate", "1000000", "--per", "face"]);
    let run = scenario.start(&[&image], LONG);
    scenario.site.eventually("bytes flow", || {
        let bytes = scenario.face.counts()["bytes"].as_u64().expect("a number");
        (bytes > 2_000_000).then_some(())
    });
    scenario.face.stop();
    scenario.until_failed(REAL, "connection refused");
    scenario.face.heal();
    scenario.face.start();
    let report = run.end().expect_code(0).json();
    scenario.all_held(&report, REAL);
    scenario.record(Some("registry-unreachable"), false);
}

#[test]
fn a_layer_that_is_not_what_its_digest_says() {
    let mut scenario = Scenario::new("corrupt-layer");
    let image = scenario.push("corrupt/app:1", &["--size", "100kB", "--break", "corrupt-layer"]);
    let report = scenario.run(REAL, &[&image], SHORT);
    scenario.all_failed(&report, REAL, "registry-error", "unexpected commit digest");
    scenario.record(Some("registry-error"), false);
}

#[test]
fn a_layer_that_the_registry_has_lost() {
    let mut scenario = Scenario::new("missing-layer");
    let image = scenario.push("lost/app:1", &["--size", "100kB", "--break", "missing-blob"]);
    let report = scenario.run(REAL, &[&image], SHORT);
    scenario.all_failed(&report, REAL, "registry-error", "could not fetch content descriptor");
    scenario.record(Some("registry-error"), false);
}

/// Its neighbour is pulled all the same.
#[test]
fn a_manifest_that_is_garbage() {
    let mut scenario = Scenario::new("garbage");
    let image = scenario.push("garbage/app:1", &[]);
    let neighbour = scenario.push("neighbour/app:1", &[]);
    scenario.face.fault("garbage", &["--path", "/garbage/app/manifests/"]);
    let report = scenario.run(REAL, &[&image, &neighbour], SHORT);
    scenario.all_failed(&report, REAL, "registry-error", "unexpected commit digest");
    for name in REAL {
        assert_eq!(node(&report, name)["images"][1]["state"], "pulled", "{report}");
        assert!(scenario.site.held(name).contains(&neighbour), "{name} has no {neighbour}");
    }
    scenario.record(Some("registry-error"), false);
}
