//! What became of a Job and its images, by all that was observed.

use super::{Evidence, Image, Trouble};
use crate::outcome::{Ending, Failure, ImageOutcome, ImageState, JobOutcome, Pull, Reason, Verdict};

/// What to do about a Job that a queue holds.
pub const SUSPENDED_HELP: &str = "Ask the queue why (with Kueue: `kubectl get workloads`), make room in it, choose \
                                  another one with `job_labels`, or keep the Jobs' namespace out of it";

impl Evidence {
    /// What became of the Job, now that it `ended`.
    pub fn outcome(&self, ended: &Ending) -> JobOutcome {
        let complete = *ended == Ending::Complete;
        let images: Vec<ImageOutcome> = self.images.iter().map(|image| self.judge(image, ended)).collect();
        let unseen = images.iter().any(|image| image.state == ImageState::Unknown);
        let first_failed = images.iter().find_map(|image| match &image.state {
            ImageState::Failed(failure) => Some(failure.clone()),
            _ => None,
        });
        let verdict = match first_failed {
            Some(failure) => Verdict::Failed(failure),
            // An image that no container shows is vouched for by the Job alone.
            None if !unseen || complete => Verdict::Succeeded,
            None => Verdict::Failed(self.failure_of_job(ended)),
        };
        JobOutcome { verdict, images }
    }

    fn judge(&self, image: &Image, ended: &Ending) -> ImageOutcome {
        let proven = image.proven || (*ended == Ending::Complete && !image.matcher.containers.is_empty());
        let timed_out = match ended {
            Ending::Failed { reason, .. } => reason == "DeadlineExceeded",
            Ending::GaveUp | Ending::RunOver => true,
            _ => false,
        };
        let is_shown = !image.matcher.containers.is_empty();
        let cause = match self.carrier_failure() {
            // A carrier's containers wait in the same words for the carrier and for the image.
            Some(_) => image.attempts.own_cause(),
            None => image.attempts.cause(),
        };
        let state = match cause {
            _ if proven && image.pull.is_some() => ImageState::Pulled,
            _ if proven => ImageState::Present,
            Some(cause) => ImageState::Failed(self.explain(cause)),
            None if self.carrier_failure().is_some() || self.node_failure.is_some() || self.suspended => {
                ImageState::Unknown
            }
            None if timed_out && self.on_node && is_shown => ImageState::Failed(self.failure_at_deadline()),
            None => ImageState::Unknown,
        };
        let Pull { seconds, bytes } = image.pull.unwrap_or_default();
        ImageOutcome { state, seconds, bytes, digest: image.digest.clone() }
    }

    /// Of an image of which nothing was heard.
    fn failure_at_deadline(&self) -> Failure {
        let unlisted = if self.node_asked { ", and the node does not list it" } else { "" };
        let words = format!("the image was not heard of before the deadline passed{unlisted}");
        match &self.trouble {
            Some(Trouble { failure, passed: false, .. }) => failure.clone(),
            Some(Trouble { failure, .. }) => Failure::new(
                Reason::DeadlineExceeded,
                format!("{words}; before, the kubelet said: {}", failure.message),
            ),
            None => Failure::new(Reason::DeadlineExceeded, words),
        }
    }

    fn failure_of_job(&self, ended: &Ending) -> Failure {
        if let Ending::NotCreated(failure) = ended {
            return failure.clone();
        }
        if let Some(failure) = self.carrier_failure().or_else(|| self.pod_failure.clone()) {
            return failure;
        }
        if let (Some(rejection), false) = (&self.rejection, self.pod_seen) {
            return rejection.failure.clone();
        }
        if let Some(failure) = &self.node_failure {
            return failure.clone();
        }
        if self.suspended && matches!(ended, Ending::RunOver | Ending::GaveUp) {
            let words = "a queue held the Job (spec.suspend) until the run's deadline passed";
            return Failure::new(Reason::Suspended, format!("{words}. {SUSPENDED_HELP}"));
        }
        if let (Some(words), false) = (&self.unschedulable, self.on_node) {
            return Failure::new(Reason::Unschedulable, words.clone());
        }
        let trouble = self.trouble.as_ref().filter(|trouble| !trouble.passed);
        match ended {
            Ending::NotCreated(failure) => failure.clone(),
            Ending::Failed { .. } | Ending::GaveUp | Ending::EndedEarly | Ending::RunOver
                if trouble.is_some() =>
            {
                trouble.map(|trouble| trouble.failure.clone()).unwrap_or_else(|| self.failure_at_deadline())
            }
            Ending::Failed { reason, message } if reason != "DeadlineExceeded" => {
                Failure::new(Reason::JobFailed, format!("{reason}: {message}"))
            }
            Ending::Failed { .. } | Ending::GaveUp | Ending::EndedEarly | Ending::Complete => {
                Failure::new(Reason::DeadlineExceeded, "the Job was not done when its deadline passed")
            }
            Ending::RunOver => {
                Failure::new(Reason::DeadlineExceeded, "the Job was not done when the run's deadline passed")
            }
            Ending::JobDeleted => {
                Failure::new(Reason::JobDeleted, "somebody deleted the Job before its end was seen")
            }
            Ending::NotStarted => Failure::new(Reason::NotStarted, "the run ended before this node's turn"),
            Ending::Interrupted => {
                Failure::new(Reason::Interrupted, "the run was ended while the Job was live; the Job goes on")
            }
        }
    }
}
