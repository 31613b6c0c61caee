//! Which other reference of an image that was pulled finds it on the node.

use crate::site::{NEW, node, shared};

#[test]
fn a_digest_is_found_after_a_pull_by_tag_and_a_tag_is_asked_for_after_one_by_digest() {
    let site = shared();
    let namespace = site.bed.namespace("references");
    let face = site.registry.face("references", &[]);
    let digests = ["1", "2"].map(|tag| {
        let pushed = site.registry.push(&format!("references/app:{tag}"), &["--size", "1MB"]);
        pushed["digest"].as_str().expect("what was pushed has a digest").to_owned()
    });
    let tagged = face.image("references/app:1");
    let pinned = face.image(&format!("references/app:2@{}", digests[1]));
    let report = site.run(&namespace, &NEW[..1], &[tagged.clone(), pinned.clone()], "deadline = \"2m\"");
    assert_eq!(node(&report, NEW[0])["verdict"], "succeeded", "{report}");

    face.counts_until_now();
    for (name, reference) in [("tagged", &*format!("{tagged}@{}", digests[0])), ("pinned", &*pinned)] {
        let said = site.workload(&namespace, NEW[0], reference, name);
        assert!(said.contains("already present on machine"), "{said}");
    }
    assert_eq!(face.counts_until_now()["requests"], 0);

    let said = site.workload(&namespace, NEW[0], &face.image("references/app:2"), "plain");
    assert!(said.contains("Successfully pulled image"), "{said}");
    let asked = face.counts_until_now();
    let rows = asked["rows"].as_array().expect("rows");
    assert!(rows.iter().all(|row| row["kind"] == "manifest" && row["method"] == "HEAD"), "{asked}");
    assert_eq!(asked["requests"], 1, "{asked}");
}
