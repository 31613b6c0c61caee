//! Whether admission gives images other names in containers than in image volumes.
//!
//! Webhooks that send pulls to a mirror (Harbor's, k8s-image-swapper, policies of Kyverno) rewrite
//! `containers[].image` and mostly do not know `volumes[].image`. What an image volume then makes present is
//! not what the workloads ask for.

use serde_json::Value;

use super::{Cluster, ClusterError};
use crate::render::Manifest;

/// Of the containers that are added for the question; a DNS-1123 label with a number behind it.
const CONTAINER: &str = "name-of-image-";

/// An image that containers get under another name.
#[derive(Debug, PartialEq, Eq)]
pub struct ImageRewrite {
    pub in_volume: String,
    pub in_container: String,
}

impl Cluster {
    /// Images of `manifest` that its pod mounts, and that a container of the same pod would get under another
    /// name: none where it mounts none. `None` where admission does not take such a pod, for whatever reason.
    ///
    /// Asked by a dry run of the pod with one container more for each image.
    pub async fn image_rewrites(
        &self,
        manifest: &Manifest,
    ) -> Result<Option<Vec<ImageRewrite>>, ClusterError> {
        let pod = with_images_in_containers(manifest.pod());
        if volumes(&pod).next().is_none() {
            return Ok(Some(Vec::new()));
        }
        let taken = self.dry_run_of_pod(&manifest.job.namespace, pod).await?;
        Ok(taken.ok().map(|pod| rewrites_in(&pod)))
    }
}

/// The names of the image volumes of `pod` in their order, each with its reference.
fn volumes(pod: &Value) -> impl Iterator<Item = &str> {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    volumes.filter_map(|volume| volume["image"]["reference"].as_str())
}

/// Each image of a volume in a container as well, which is otherwise as the pod's first: so that it passes
/// where that one does.
fn with_images_in_containers(mut pod: Value) -> Value {
    let references: Vec<String> = volumes(&pod).map(str::to_owned).collect();
    let mut like = pod["spec"]["containers"][0].clone();
    let containers = pod.pointer_mut("/spec/containers").and_then(Value::as_array_mut);
    if let (Some(like), Some(containers)) = (like.as_object_mut(), containers) {
        like.remove("volumeMounts");
        containers.extend(references.into_iter().enumerate().map(|(index, reference)| {
            let mut container = like.clone();
            container.insert("name".to_owned(), format!("{CONTAINER}{index}").into());
            container.insert("image".to_owned(), reference.into());
            Value::Object(container)
        }));
    }
    pod
}

/// What admission made of such a pod.
fn rewrites_in(pod: &Value) -> Vec<ImageRewrite> {
    let containers = pod["spec"]["containers"].as_array().map_or(&[][..], Vec::as_slice);
    let image_of = |index: usize| {
        let name = format!("{CONTAINER}{index}");
        containers.iter().find(|container| container["name"] == *name)?["image"].as_str()
    };
    let images = volumes(pod).enumerate();
    let images = images.filter_map(|(index, in_volume)| Some((in_volume, image_of(index)?)));
    let differ = images.filter(|(in_volume, in_container)| in_volume != in_container);
    differ
        .map(|(in_volume, in_container)| ImageRewrite {
            in_volume: in_volume.to_owned(),
            in_container: in_container.to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Value {
        json!({"spec": {
            "containers": [{
                "name": "image-0", "image": "pause", "command": ["/pause"], "resources": {"limits": {"cpu": "1"}},
                "volumeMounts": [{"name": "image-0", "mountPath": "/image"}],
            }],
            "volumes": [
                {"name": "image-0", "image": {"reference": "a:1"}},
                {"name": "tmp", "emptyDir": {}},
                {"name": "image-1", "image": {"reference": "b:1"}},
            ],
        }})
    }

    #[test]
    fn every_image_of_a_volume_is_named_by_a_container_too() {
        let asked = with_images_in_containers(pod());
        let containers = asked["spec"]["containers"].as_array().unwrap();
        let images: Vec<&Value> = containers.iter().map(|container| &container["image"]).collect();
        assert_eq!(images, ["pause", "a:1", "b:1"]);
        assert_eq!(containers[2]["resources"], containers[0]["resources"]);
        assert!(containers[2].get("volumeMounts").is_none(), "{asked}");
        assert_eq!(rewrites_in(&asked), []);
    }

    #[test]
    fn what_only_containers_get_under_another_name_is_told() {
        let mut asked = with_images_in_containers(pod());
        asked["spec"]["containers"][1]["image"] = "mirror/a:1".into();
        asked["spec"]["containers"][2]["image"] = "mirror/b:1".into();
        asked["spec"]["volumes"][2]["image"]["reference"] = "mirror/b:1".into();
        let told = rewrites_in(&asked);
        assert_eq!(told, [ImageRewrite { in_volume: "a:1".into(), in_container: "mirror/a:1".into() }]);
    }

    #[test]
    fn a_pod_without_image_volumes_or_containers_is_no_trouble() {
        for pod in [json!({}), json!({"spec": {"containers": [], "volumes": null}}), json!([])] {
            assert_eq!(rewrites_in(&with_images_in_containers(pod)), []);
        }
    }
}
