//! Which parts of a pod, and which names in messages and events, speak of which image.

use crate::config::ImageRef;
use crate::outcome::{CarrierWitness, Evidence, ImageState, ImageWitness, JobResult, PullFacts};
use crate::render::Manifest;

/// Evidence for a Job made of `manifest`, with nothing seen yet.
pub fn evidence_of(manifest: &Manifest) -> Evidence {
    let Manifest { job, image_containers, carrier_containers, carrier_image, own_containers, .. } = manifest;
    let witnesses = job.group.images.iter().zip(image_containers).map(|(image, containers)| ImageWitness {
        names: names_of(image),
        references: references_of(image),
        runs: containers.iter().all(|container| !carrier_containers.contains(container)),
        containers: containers.clone(),
    });
    let mut names = vec![carrier_image.clone()];
    names.extend(ImageRef::parse(carrier_image).iter().flat_map(references_of));
    let carrier = CarrierWitness { names, containers: carrier_containers.clone() };
    Evidence::new(witnesses.collect(), carrier).with_own_containers(own_containers.clone())
}

/// Adds what an event says to a result that was there before it.
pub fn add_pull(result: &mut JobResult, images: &[ImageRef], pull: &PullFacts) {
    let Some(pulled) = pull.pulled else { return };
    for (image, outcome) in images.iter().zip(&mut result.outcome.images) {
        if outcome.state == ImageState::Present && references_of(image).contains(&pull.image) {
            outcome.state = ImageState::Pulled;
            (outcome.seconds, outcome.bytes) = (pulled.seconds, pulled.bytes);
        }
    }
}

/// How a runtime may name an image in a message: containerd normalises, others repeat what they got.
fn names_of(image: &ImageRef) -> Vec<String> {
    vec![format!("{}/{}", image.registry, image.repository), image.to_string()]
}

/// Every way in which the kubelet and the runtime may write just this image: as the pod has it, with the
/// tag that the kubelet adds, and in full.
fn references_of(image: &ImageRef) -> Vec<String> {
    let mut references = vec![image.to_string(), image.normalised()];
    if image.lacks_tag() {
        references.push(format!("{image}:{}", image.tag));
    }
    if !image.digest.is_empty() {
        // containerd leaves the tag beside a digest out.
        references.push(format!("{}/{}@{}", image.registry, image.repository, image.digest));
    }
    references
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_known_however_the_runtime_writes_it() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (image, written) in [
            ("pause:3.10", "docker.io/library/pause:3.10".to_owned()),
            ("pause", "docker.io/library/pause:latest".to_owned()),
            ("pause", "pause:latest".to_owned()),
            (&format!("h.example/a:1@{digest}"), format!("h.example/a@{digest}")),
        ] {
            let references = references_of(&ImageRef::parse(image).unwrap());
            assert!(references.contains(&written), "{image}: {references:?}");
        }
    }
}
