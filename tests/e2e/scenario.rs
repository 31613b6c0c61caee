//! One test's namespace, registry and words: tests run side by side, and share only the nodes.

use std::process::id;

use serde_json::Value;

use crate::messages::Recorder;
use crate::registry::Face;
use crate::site::{self, REAL, Site, node, shared};

#[derive(Debug)]
pub struct Scenario {
    pub site: &'static Site,
    pub namespace: String,
    pub face: Face,
    recorder: Option<Recorder>,
}

impl Scenario {
    #[track_caller]
    pub fn new(name: &str) -> Scenario {
        Scenario::with_face(name, &[])
    }

    /// With a registry of this kind.
    #[track_caller]
    pub fn with_face(name: &str, flags: &[&str]) -> Scenario {
        let site = shared();
        // A cluster that was kept has seen this test before, and its nodes hold what it has pulled.
        let own = format!("{name}-{}", id());
        let namespace = site.bed.namespace(&own);
        let face = site.registry.face(&own, flags);
        let recorder = Recorder::start(&site.bed, name, &namespace, &face.host);
        Scenario { site, namespace, face, recorder }
    }

    /// Puts an image into the store, and gives its reference at the scenario's face.
    #[track_caller]
    pub fn push(&self, image: &str, flags: &[&str]) -> String {
        self.pushed(image, flags);
        self.face.image(image)
    }

    /// The same, and gives what was pushed. No node has seen its content before: containerd fetches no
    /// blob twice, and the kubelet remembers who has pulled an image by the image's id.
    #[track_caller]
    pub fn pushed(&self, image: &str, flags: &[&str]) -> Value {
        let seed = format!("{} {image}", self.namespace);
        self.site.registry.push(image, &[&["--size", "20kB", "--seed", &seed], flags].concat())
    }

    /// `run -o json` of these images on these nodes.
    #[track_caller]
    pub fn run(&self, nodes: &[&str], images: &[&str], more: &str) -> Value {
        let images: Vec<String> = images.iter().map(|&image| image.to_owned()).collect();
        self.site.run(&self.namespace, nodes, &images, more)
    }

    /// All images of all nodes are there: so says the report, and so says containerd.
    #[track_caller]
    pub fn all_held(&self, report: &Value, nodes: &[&str]) {
        assert_eq!(report["exitCode"], 0, "{report}");
        for name in nodes {
            let node = node(report, name);
            assert_eq!(node["verdict"], "succeeded", "{node}");
            let held = self.site.held(name);
            for image in node["images"].as_array().expect("images") {
                assert!(image["state"] == "pulled" || image["state"] == "present", "{node}");
                let reference = image["reference"].as_str().expect("a reference");
                // A tag beside a digest is decoration, and containerd drops it.
                let stored = match reference.split_once('@') {
                    Some((tagged, digest)) => format!("{}@{digest}", repository(tagged)),
                    None => reference.to_owned(),
                };
                assert!(held.contains(&stored), "{name} has no {stored}: {held:?}");
            }
        }
    }

    /// The only image failed for `reason` on all of these nodes, in words that hold `words`, and none
    /// of them has it. What the kubelets said is kept under that reason.
    #[track_caller]
    pub fn all_failed(&self, report: &Value, nodes: &[&str], reason: &str, words: &str) {
        assert_eq!(report["exitCode"], 1, "{report}");
        for name in nodes {
            let node = node(report, name);
            assert_eq!((&node["verdict"], &node["reason"]), (&"failed".into(), &reason.into()), "{node}");
            let image = &node["images"][0];
            assert_eq!((&image["state"], &image["reason"]), (&"failed".into(), &reason.into()), "{node}");
            let message = image["message"].as_str().expect("a failed image has a message");
            assert!(message.contains(words), "{node}");
            let reference = image["reference"].as_str().expect("a reference").to_owned();
            assert!(!self.site.held(name).contains(&reference), "{name} has {reference}");
        }
    }

    /// Keeps what the kubelets said, as fixtures of the classifier: of failed pulls that this is the
    /// reason. Does nothing without UPDATE_MESSAGES=1.
    pub fn record(&mut self, pull_error: Option<&str>, is_permanent: bool) {
        if let Some(recorder) = self.recorder.take() {
            recorder.finish(&self.site.bed, pull_error, is_permanent);
        }
    }

    /// With no registry to ask, a workload of the image starts on each of these nodes.
    #[track_caller]
    pub fn starts_without_registry(&self, nodes: &[&str], image: &str) {
        self.face.stop();
        for name in nodes {
            let said = self.site.workload(&self.namespace, name, image, &format!("after-{name}"));
            assert!(said.contains("already present on machine"), "{name}: {said}");
        }
        self.face.start();
    }

    /// How many requests of this kind (`blob`, `manifest`) the face has answered for a repository.
    #[track_caller]
    pub fn requests(&self, kind: &str, repository: &str) -> u64 {
        let counts = self.face.counts();
        let rows = counts["rows"].as_array().expect("rows").iter();
        let wanted = rows.filter(|row| row["kind"] == kind && row["repository"] == repository);
        wanted.map(|row| row["requests"].as_u64().expect("a number")).sum()
    }

    /// Waits until each of these nodes has said that a pull failed, in words that hold `words`.
    #[track_caller]
    pub fn until_failed(&self, nodes: &[&str], words: &str) {
        let chosen = ["get", "events", "-n", &self.namespace, "--field-selector", "reason=Failed"];
        for name in nodes {
            self.site.eventually("the kubelet says that the pull failed", || {
                let events = self.site.bed.get(&chosen);
                let events = events["items"].as_array().expect("a list");
                let said = |event: &&Value| {
                    event["source"]["host"] == *name
                        && event["message"].as_str().is_some_and(|text| text.contains(words))
                };
                if events.iter().any(|event| said(&event)) {
                    return Some(());
                }
                // kubectl takes a fifth of a second of a processor that others wait for.
                std::thread::sleep(std::time::Duration::from_secs(1));
                None
            });
        }
    }

    /// A run under way, of these images on all real nodes.
    pub fn start(&self, images: &[&str], more: &str) -> crate::support::bed::Running {
        let images: Vec<String> = images.iter().map(|&image| image.to_owned()).collect();
        let nodes: Vec<&str> = REAL.iter().flat_map(|name| ["--node", name]).collect();
        self.site.bed.start_run(&self.namespace, &site::group(&images, more), &nodes)
    }
}

impl Drop for Scenario {
    fn drop(&mut self) {
        self.face.remove();
    }
}

/// A reference without its tag.
fn repository(reference: &str) -> &str {
    let name = reference.rfind('/').map_or(0, |at| at + 1);
    match reference[name..].find(':') {
        Some(colon) => &reference[..name + colon],
        None => reference,
    }
}
