//! Judges what a Job and its pods say about a node's images. Pure; knows k8s_openapi's types as
//! plain data and nothing else of ours.

pub use reason::Reason;

pub mod reason;

/// What became of one node's Job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobOutcome {
    pub verdict: Verdict,
    /// In the group's file order.
    pub images: Vec<ImageOutcome>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Succeeded,
    Failed(Failure),
}

/// Why something failed: a stable code and the words of whoever said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub reason: Reason,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ImageOutcome {
    pub state: ImageState,
    /// Seconds a pull took, from a `Pulled` event.
    pub seconds: Option<f64>,
    /// Size of the image, from a `Pulled` event.
    pub bytes: Option<u64>,
    /// `sha256:…` of what the container ran, where the container's image is the image itself.
    pub digest: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ImageState {
    /// A `Pulled` event gave the pull's time and size.
    Pulled,
    /// It is there; no pull was seen.
    Present,
    Failed(Failure),
    Unknown,
}
