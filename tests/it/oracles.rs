//! What we read ourselves means what it means to those who read it in a cluster: image references to
//! distribution/reference.
//!
//! The vectors are made by `tests/cluster/oracles`, whose programs say how.

use quayctl_controller::config::ImageRef;
use serde_json::Value;

use crate::support::root;

fn vectors(name: &str) -> Value {
    let text = std::fs::read_to_string(root().join("tests/vectors").join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Fails with the first of all disagreements.
#[track_caller]
fn agree(compared: usize, disagreements: Vec<String>) {
    let first: Vec<&String> = disagreements.iter().take(20).collect();
    assert!(first.is_empty(), "{} of {compared} disagree: {first:#?}", disagreements.len());
}

#[test]
fn references_are_read_as_containerd_reads_them() {
    let vectors = vectors("references.json");
    let vectors = vectors.as_array().unwrap();
    assert!(vectors.len() >= 300, "{}", vectors.len());
    let mut disagreements = Vec::new();
    for vector in vectors {
        let of = |key: &str| vector[key].as_str().unwrap_or_default().to_owned();
        let mut wanted =
            (vector["valid"] == true).then(|| ["domain", "path", "tag", "digest", "normalised"].map(of));
        // A host with an underscore is part of the path to distribution/reference, and a host to
        // containerd's client.
        if let Some([domain, path, ..]) = &mut wanted
            && domain.is_empty()
        {
            let (host, rest) = path.split_once('/').unwrap();
            (*domain, *path) = (host.to_owned(), rest.to_owned());
        }
        let found = ImageRef::parse(&of("written")).map(|image| {
            let full = image.normalised();
            [image.registry, image.repository, image.tag, image.digest, full]
        });
        if found.as_ref().ok() != wanted.as_ref() {
            disagreements.push(format!("{}: {found:?}, wanted {wanted:?}", vector["written"]));
        }
    }
    agree(vectors.len(), disagreements);
}
