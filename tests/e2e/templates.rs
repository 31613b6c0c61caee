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

/// What the kubelet refuses after the pull it refuses for ever, and the Job would wait for its deadline.
#[test]
fn a_carrier_that_is_to_run_as_root_keeps_no_slot_once_the_images_are_there() {
    let site = shared();
    let namespace = site.bed.namespace("root");
    let face = site.registry.face("root", &[]);
    site.registry.push("root/app:1", &[]);
    site.registry.push("root/carrier:1", &[]);
    let config = crate::site::group(
        &[face.image("root/app:1")],
        &format!("deadline = \"1h\"\ncarrier_image = \"{}\"", face.image("root/carrier:1")),
    );
    // Nothing here is waited for as long as that.
    let ended = site.bed.run(&namespace, &config, &["--node", NEW[0]]).expect_code(0);
    assert_eq!(node(&ended.json(), NEW[0])["verdict"], "succeeded", "{}", ended.stdout);
    assert!(ended.stderr.contains("image will run as root"), "{}", ended.stderr);
    assert!(site.held(NEW[0]).contains(&face.image("root/app:1")));
}
