//! Judges what a Job and its pods say about a node's images. Pure: no client, no clock. Of the
//! world's types it knows k8s_openapi's, as plain data, and of ours only `outside_text`'s cutting.
//!
//! [`Evidence`] is fed with facts as watches deliver them, in any order and any number of times, and
//! keeps what will be gone later: at its deadline a Job's pod is deleted with all it knew.

pub use admission_help::with_admission_help;
pub use event::{PodEvent, Pull, PullFacts, Rejection, is_of_quota};
pub use evidence::{CarrierMatcher, Decision, Evidence, ImageMatcher, SUSPENDED_HELP};
pub use facts::{ContainerFacts, JobFacts, PodFacts};
pub use image_match::{add_pull, names_of, references_of};
pub use outcome_annotation::{annotation_text, read_annotation};
pub use reason::Reason;

mod admission_help;
mod attempts;
mod event;
mod evidence;
mod facts;
mod image_match;
mod outcome_annotation;
mod pull_error;
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

/// What became of one planned Job, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct JobResult {
    pub outcome: JobOutcome,
    /// When its Job was asked for; `None` where it never was.
    pub started_at: Option<jiff::Timestamp>,
    pub finished_at: Option<jiff::Timestamp>,
    /// Set where a live Job of an earlier run did the work.
    pub adopted: Option<Adopted>,
}

/// A Job of an earlier run that was taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    pub job: String,
    pub run_id: String,
}

/// How a Job came to its end, or why nobody waits for that any longer.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    Complete,
    /// The `Failed` condition's reason and message.
    Failed {
        reason: String,
        message: String,
    },
    /// Somebody deleted it.
    JobDeleted,
    /// We end it now: every image is decided and one cannot be pulled.
    EndedEarly,
    /// It outlasted its deadline and the time Kubernetes needs to say so.
    GaveUp,
    /// The run's deadline passed while it was live.
    RunOver,
    /// It could not be created.
    NotCreated(Failure),
    /// The run ended before its turn.
    NotStarted,
    /// The run ended while it was live.
    Interrupted,
}

impl Failure {
    pub fn new(reason: Reason, message: impl Into<String>) -> Failure {
        Failure { reason, message: message.into() }
    }
}
