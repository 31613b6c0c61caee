//! What each way of pulling leaves on a node, and that a workload then starts without a registry.

use crate::site::{NEW, OLD, REAL, node, shared};

#[test]
fn auto_makes_an_image_present_on_nodes_of_both_generations() {
    let site = shared();
    let namespace = site.bed.namespace("auto");
    let face = site.registry.face("auto", &[]);
    site.registry.push("auto/app:1", &["--size", "3MB", "--layers", "3"]);
    let image = face.image("auto/app:1");

    let report = site.run(&namespace, REAL, std::slice::from_ref(&image), "deadline = \"2m\"");
    for name in REAL {
        let node = node(&report, name);
        assert_eq!(node["verdict"], "succeeded", "{node}");
        assert_eq!(node["images"][0]["state"], "pulled", "{node}");
        assert!(site.held(name).contains(&image), "{name} has {:?}", site.held(name));
    }
    let used = |name: &str| {
        let volumes = site
            .bed
            .jobs(&namespace)
            .into_iter()
            .find(|job| job["metadata"]["annotations"]["quayctl-controller/node"] == name);
        let spec = &volumes.expect("each node has a Job")["spec"]["template"]["spec"];
        spec["volumes"].as_array().is_some_and(|all| all.iter().any(|volume| !volume["image"].is_null()))
    };
    assert!(NEW.iter().all(|name| used(name)), "containerd 2.x mounts images");
    assert!(!used(OLD), "containerd 1.x cannot");

    face.stop();
    for name in REAL {
        let said = site.workload(&namespace, name, &image, &format!("after-{name}"));
        assert!(said.contains("already present on machine"), "{name}: {said}");
    }
}
