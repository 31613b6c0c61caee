//! Which containers of a pod tell the fate of which image. Pure; reads the finished manifest, so
//! it holds for users' templates as for ours.

use serde_json::Value;

/// For each of `references`, the containers (init containers too) whose state speaks of it.
///
/// Those whose `image` equals the reference, and those that mount a volume whose
/// `image.reference` does. A container that mounts other images speaks of those and not of its
/// own, even if that one is in the group too: it waits for them to be pulled.
pub(super) fn image_containers(body: &Value, references: &[String]) -> Vec<Vec<String>> {
    let pod = &body["spec"]["template"]["spec"];
    let containers: Vec<_> =
        containers(pod).map(|container| (container, mounted_images(pod, container))).collect();
    let speaks_of = |reference: &str| {
        let speakers = containers.iter().filter(|(container, mounted)| match mounted.is_empty() {
            true => container["image"] == reference,
            false => mounted.contains(&reference),
        });
        speakers.filter_map(|(container, _)| container["name"].as_str()).map(str::to_owned).collect()
    };
    references.iter().map(|image| speaks_of(image)).collect()
}

/// The containers that run the carrier image.
pub(super) fn carrier_containers(body: &Value, carrier_image: &str) -> Vec<String> {
    containers(&body["spec"]["template"]["spec"])
        .filter(|container| container["image"] == carrier_image)
        .filter_map(|container| container["name"].as_str())
        .map(str::to_owned)
        .collect()
}

/// All containers but init containers.
pub(super) fn own_containers(body: &Value) -> Vec<String> {
    let names = items(&body["spec"]["template"]["spec"]["containers"]);
    names.filter_map(|container| container["name"].as_str()).map(str::to_owned).collect()
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers"].into_iter().flat_map(|field| items(&pod[field]))
}

/// References of the image volumes that `container` mounts.
fn mounted_images<'a>(pod: &'a Value, container: &Value) -> Vec<&'a str> {
    let mounts: Vec<&Value> = items(&container["volumeMounts"]).map(|mount| &mount["name"]).collect();
    items(&pod["volumes"])
        .filter(|volume| mounts.contains(&&volume["name"]))
        .filter_map(|volume| volume["image"]["reference"].as_str())
        .collect()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
