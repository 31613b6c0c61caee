//! What a [`super::Runner`] is told.

use crate::cluster_error::ClusterError;
use crate::outcome::Failure;
use crate::plan::JobIndex;
use crate::watch_event::{JobKey, ObservedJob, WatchEvent};

/// Something that has happened. All but the first and the last answer an [`super::Effect`].
#[derive(Debug)]
pub enum Event {
    Watch(WatchEvent),
    /// To the create of the Job with this key.
    Created {
        index: JobIndex,
        key: JobKey,
        result: Result<AppliedJob, ApplyError>,
        /// The API server has asked us to slow down since the create before.
        throttled: bool,
    },
    /// To a patch; `index` where it ends one of the run's own Jobs.
    Annotated {
        index: Option<JobIndex>,
        result: Result<(), ClusterError>,
    },
    JobRead {
        index: JobIndex,
        key: JobKey,
        result: Result<Option<FoundJob>, ClusterError>,
    },
    NodeRead {
        index: JobIndex,
        result: Result<NodeState, ClusterError>,
    },
    /// The time that [`super::Runner::next_timer`] gave has come.
    Timer,
}

/// A Job of ours that the API server has.
#[derive(Debug)]
pub struct AppliedJob {
    /// Set where an equal Job was there before: its state as of now.
    pub adopted: Option<Box<ObservedJob>>,
    /// No earlier try of ours can have made it.
    pub first_try: bool,
    /// The API server's `Warning` headers; they decide nothing.
    pub warnings: Vec<String>,
}

/// Why there is no such Job.
#[derive(Debug)]
pub enum ApplyError {
    /// This node's Job was refused; others may fare better.
    Refused(Failure),
    /// No answer came: the Job may have been created.
    Unanswered(Failure),
    /// No Job of this run can be created.
    Cluster(ClusterError),
}

/// A Job that was asked for by name.
#[derive(Debug)]
pub struct FoundJob {
    pub job: Box<ObservedJob>,
    /// It bears both of the labels without which nothing is ever changed.
    pub is_ours: bool,
}

/// How a node stands that was asked for by itself.
#[derive(Debug)]
pub struct NodeState {
    /// What keeps it from working.
    pub failure: Option<Failure>,
    /// Names of images that it says it has, up to 50 images by the kubelet's default.
    pub images: Vec<String>,
}
