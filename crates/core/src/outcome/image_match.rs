//! Which names in messages and events speak of which image.

use super::{ImageState, JobResult, PullFacts};
use crate::config::ImageRef;

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
pub fn names_of(image: &ImageRef) -> Vec<String> {
    vec![format!("{}/{}", image.registry, image.repository), image.to_string()]
}

/// Every way in which the kubelet and the runtime may write just this image: as the pod has it, with the
/// tag that the kubelet adds, and in full.
pub fn references_of(image: &ImageRef) -> Vec<String> {
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
