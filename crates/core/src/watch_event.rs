//! What the watches show of Jobs, pods and their events, as facts.

use jiff::Timestamp;

use crate::cluster_error::ClusterError;
use crate::outcome::{JobFacts, PodEvent, PodFacts, Reason, Rejection, Verdict, read_annotation};

/// What ends a Job of ours early.
pub const ENDED_BY_US_SECONDS: u32 = 1;

/// Namespace and name.
pub type JobKey = (String, String);

/// What a watch noticed.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    Job(Box<ObservedJob>),
    JobGone(JobKey),
    Pod(JobKey, PodFacts),
    /// By uid: the Job may have made another pod by now.
    PodGone(JobKey, String),
    /// Of the pod with this uid.
    PodEvent(String, PodEvent),
    /// The Job, its uid, and why it has no pod.
    Rejected(JobKey, String, Rejection),
    /// The watch failed and tries again by itself.
    Interrupted(ClusterError),
    /// The watch failed in a way that trying again does not mend.
    Forbidden(ClusterError),
}

/// A Job of this instance, whichever run made it.
#[derive(Clone, Debug)]
pub struct ObservedJob {
    pub key: JobKey,
    pub uid: String,
    /// To the second.
    pub created_at: Option<Timestamp>,
    pub group: String,
    pub run_id: String,
    pub node: String,
    pub content: String,
    /// What a process of ours has found out about it.
    pub annotation: Option<String>,
    pub deadline_seconds: u32,
    /// A queue holds it: it has no pod, and its deadline does not run.
    pub suspended: bool,
    pub facts: JobFacts,
}

impl ObservedJob {
    pub fn is_live(&self) -> bool {
        self.facts.ending().is_none()
    }

    /// Whether a process of ours has ended it, so that nothing it was made for comes of it any longer.
    pub fn is_being_ended(&self) -> bool {
        self.annotation.is_some() || self.deadline_seconds == ENDED_BY_US_SECONDS
    }

    /// Whether a process of its own run has ended it in favour of another run's.
    pub fn has_given_way(&self) -> bool {
        self.annotated_reason() == Some(Reason::Yielded)
    }

    /// Whether it was its deadline that ended it, and not a process of ours by another one.
    pub fn has_run_into_its_deadline(&self) -> bool {
        self.deadline_seconds != ENDED_BY_US_SECONDS
            && self.annotated_reason() == Some(Reason::DeadlineExceeded)
    }

    /// Why it failed, where a process of ours has said so.
    fn annotated_reason(&self) -> Option<Reason> {
        match read_annotation(self.annotation.as_deref()?, std::iter::empty())?.verdict {
            Verdict::Failed(failure) => Some(failure.reason),
            Verdict::Succeeded => None,
        }
    }

    /// Whether it was ended while a queue held it: it does nothing any more, and never ends. Once it is
    /// admitted its deadline of a second runs. Told by our word on it: a deadline of a second may be its group's.
    pub fn is_spent(&self) -> bool {
        self.suspended && self.is_live() && self.annotation.is_some()
    }

    /// What tells of two live Jobs which was there first; the same for whoever looks.
    pub fn age(&self) -> (Option<Timestamp>, &str) {
        (self.created_at, &self.uid)
    }
}
