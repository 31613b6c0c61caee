//! What is there already, what has moved, and what cannot be carried.

use crate::scenario::Scenario;
use crate::site::{NEW, OLD, REAL, REAL_SELECTOR, node};

#[test]
fn a_second_run_pulls_nothing_and_needs_no_registry() {
    let mut scenario = Scenario::new("repeat");
    let image = scenario.push("repeat/app:1", &["--size", "1MB"]);
    let report = scenario.run(REAL, &[&image], "deadline = \"2m\"");
    scenario.all_held(&report, REAL);
    scenario.face.stop();
    // Another deadline is the same content; a run of its own makes Jobs of its own.
    let report = scenario.run(REAL, &[&image], "deadline = \"90s\"");
    scenario.all_held(&report, REAL);
    for name in REAL {
        assert_eq!(node(&report, name)["images"][0]["state"], "present", "{report}");
    }
    scenario.record(None, false);
}

#[test]
fn two_groups_with_one_image_pull_it_once() {
    let scenario = Scenario::new("two-groups");
    let image = scenario.push("two/app:1", &["--size", "1MB"]);
    let group = |name: &str| {
        format!(
            "[[groups]]\nname = \"{name}\"\nimages = [\"{image}\"]\nnode_selector = \"{REAL_SELECTOR}\"\ndeadline = \"2m\"\n"
        )
    };
    let config = group("first") + &group("second");
    let report = scenario.site.bed.run(&scenario.namespace, &config, &[]).expect_code(0).json();
    for (position, state) in [(0, "pulled"), (1, "present")] {
        for node in report["groups"][position]["nodes"].as_array().expect("nodes") {
            assert_eq!(
                (&node["verdict"], &node["images"][0]["state"]),
                (&"succeeded".into(), &state.into()),
                "{node}"
            );
        }
    }
    scenario.all_held(&report, REAL);
    let counts = scenario.face.counts();
    // The layer with its program may be on a node already, from another image.
    let rows = counts["rows"].as_array().expect("rows");
    let own = rows.iter().filter(|row| row["kind"] == "blob" && row["bytes"].as_u64() > Some(3_000_000));
    assert_eq!(own.clone().count(), 1, "the layer of this image alone: {counts}");
    for row in own {
        assert_eq!(row["requests"], REAL.len(), "each node fetches it once: {counts}");
    }
}

#[test]
fn always_follows_a_tag_that_moved() {
    let scenario = Scenario::new("moved");
    let digest_of = |seed: &str| {
        let pushed = scenario.pushed("moved/app:1", &["--seed", &format!("{seed} {}", scenario.namespace)]);
        pushed["digest"].as_str().expect("a digest").to_owned()
    };
    let image = scenario.face.image("moved/app:1");
    let held = |digest: &str| {
        for name in REAL {
            let wanted = format!("name=={image}");
            let mut listed = scenario.site.containerd(name, &["images", "ls", &wanted]);
            let listed = crate::support::ended(&mut listed).expect_code(0).stdout;
            assert!(listed.contains(digest), "{name} has not {digest}: {listed}");
        }
    };
    let first = digest_of("first");
    scenario.all_held(&scenario.run(REAL, &[&image], "deadline = \"2m\""), REAL);
    held(&first);
    let second = digest_of("second");
    scenario.all_held(&scenario.run(REAL, &[&image], "deadline = \"90s\""), REAL);
    held(&first);
    let report = scenario.run(REAL, &[&image], "deadline = \"2m\"\npull_policy = \"Always\"");
    scenario.all_held(&report, REAL);
    for name in REAL {
        assert_eq!(node(&report, name)["images"][0]["state"], "pulled", "{report}");
    }
    held(&second);
    scenario.starts_without_registry(REAL, &image);
}

/// The images' own state is told where it is known: with image volumes they are pulled before any
/// carrier is asked for. The helper needs its carrier first, and nothing is known of them.
#[test]
fn a_carrier_that_is_missing() {
    let mut scenario = Scenario::new("carrier-not-found");
    let image = scenario.push("carried/app:1", &[]);
    let carrier = scenario.face.image("carrier/not-found:1");
    let report = scenario.run(REAL, &[&image], &format!("deadline = \"40s\"\ncarrier_image = \"{carrier}\""));
    for name in NEW {
        let node = node(&report, name);
        assert_eq!(
            (&node["verdict"], &node["images"][0]["state"]),
            (&"succeeded".into(), &"pulled".into()),
            "{node}"
        );
        assert!(scenario.site.held(name).contains(&image), "{name} has no {image}");
    }
    let old = node(&report, OLD);
    assert_eq!(
        (&old["verdict"], &old["reason"]),
        (&"failed".into(), &"carrier-image-failed".into()),
        "{old}"
    );
    assert_eq!(old["images"][0]["state"], "unknown", "{old}");
    assert!(old["message"].as_str().is_some_and(|text| text.contains(&carrier)), "{old}");
    scenario.record(Some("image-not-found"), true);
}
