//! What is known of one Job's images so far, and what follows from it.

use std::collections::HashMap;

use super::reason::classify_pull;
use super::{
    Ending, Failure, ImageOutcome, ImageState, JobOutcome, PodFacts, Pull, PullFacts, Reason, Rejection,
    Verdict,
};

/// Which containers of the pod tell an image's fate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageWitness {
    /// The reference as written and as the kubelet may write it: how a message names the image.
    pub names: Vec<String>,
    /// Every way to write just this image: how an event names it.
    pub references: Vec<String>,
    /// Containers that run the image or mount it. Empty: nothing in the pod shows it.
    pub containers: Vec<String>,
    /// Those of them whose own image it is, so that their `imageID` is its digest.
    pub runs: bool,
}

/// Which containers of the pod run the carrier image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CarrierWitness {
    /// As in [`ImageWitness::names`].
    pub names: Vec<String>,
    pub containers: Vec<String>,
}

/// Facts about one Job, gathered.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    images: Vec<Image>,
    carrier: CarrierWitness,
    /// Pods seen, by uid, that are not known to be gone; whether each can still do something.
    pods: HashMap<String, bool>,
    pod_seen: bool,
    on_node: bool,
    unschedulable: Option<String>,
    pod_failure: Option<Failure>,
    carrier_failure: Option<Failure>,
    rejection: Option<Rejection>,
    node_failure: Option<Failure>,
}

/// What the evidence calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Wait,
    /// Nothing more can come of it: every image is decided and at least one cannot be pulled, or no
    /// pod can be made, or the node is gone.
    EndEarly,
}

#[derive(Clone, Debug, Default)]
struct Image {
    witness: ImageWitness,
    proven: bool,
    pull: Option<Pull>,
    digest: Option<String>,
    cause: Option<Failure>,
    /// The cause is permanent and was seen twice.
    confirmed: bool,
    /// The last waiting state, to tell a new one from one that a watch delivers again.
    waiting: Option<(String, String)>,
}

impl Evidence {
    /// For a Job whose pod tells `images`' fates.
    pub fn new(images: Vec<ImageWitness>, carrier: CarrierWitness) -> Evidence {
        let images = images.into_iter().map(|witness| Image { witness, ..Image::default() }).collect();
        Evidence { images, carrier, ..Evidence::default() }
    }

    /// For a Job of which nothing will be seen.
    pub fn unseen(images: usize) -> Evidence {
        Evidence::new(vec![ImageWitness::default(); images], CarrierWitness::default())
    }

    /// Takes in a pod's state. Delivering the same state again changes nothing.
    pub fn observe_pod(&mut self, pod: &PodFacts) {
        let works = pod.on_node && !pod.terminating;
        self.pods.insert(pod.uid.clone(), works);
        if works {
            // Whatever ailed the node has passed.
            self.node_failure = None;
        }
        self.pod_seen = true;
        self.on_node |= pod.on_node;
        self.unschedulable = pod.unschedulable.clone().filter(|_| !pod.on_node);
        if let Some((reason, message)) = &pod.failed {
            self.pod_failure = Some(Failure::new(Reason::PodFailed, format!("{reason}: {message}")));
        }
        for container in &pod.containers {
            if container.ran {
                self.prove(&container.name, &container.image_id);
            }
            if let Some((reason, message)) = &container.waiting {
                self.observe_waiting(&container.name, reason, message);
            }
        }
    }

    /// A pod is gone, so nothing more will be heard of it.
    pub fn observe_pod_gone(&mut self, uid: &str) {
        self.pods.remove(uid);
    }

    /// Takes in a `Pulled` event; true where it is about one of the images.
    pub fn observe_pull(&mut self, pull: &PullFacts) -> bool {
        let mut known = false;
        for image in self.images.iter_mut().filter(|image| image.witness.references.contains(&pull.image)) {
            image.proven = true;
            // What was pulled once is present for the pod's next container.
            image.pull = image.pull.or(pull.pulled);
            known = true;
        }
        known
    }

    /// Takes in a `FailedCreate` event. A pod that was made after all is the better witness.
    pub fn observe_rejection(&mut self, rejection: Rejection) {
        if !self.pod_seen {
            self.rejection = Some(rejection);
        }
    }

    /// The Job's node is gone or does not answer.
    pub fn observe_node(&mut self, failure: Option<Failure>) {
        self.node_failure = failure;
    }

    /// Whether no pod of the Job can do anything at the moment: unscheduled, gone or on its way out.
    pub fn is_lost(&self) -> bool {
        !self.pods.values().any(|works| *works)
    }

    /// Whether nothing has been seen that would explain a failure.
    pub fn lacks_cause(&self) -> bool {
        let causes = [&self.pod_failure, &self.carrier_failure, &self.node_failure];
        causes.iter().all(|cause| cause.is_none())
            && (self.rejection.is_none() || self.pod_seen)
            && self.images.iter().all(|image| image.cause.is_none())
    }

    /// Whether every image is there, so that the node has succeeded whatever its Job does later.
    pub fn all_proven(&self) -> bool {
        self.images.iter().all(|image| image.proven)
    }

    /// Whether to go on waiting.
    pub fn decide(&self) -> Decision {
        let no_pod = self.rejection.as_ref().is_some_and(|rejection| rejection.is_final && !self.pod_seen);
        let node_gone = self.node_failure.as_ref().is_some_and(|failure| failure.reason == Reason::NodeGone);
        if (no_pod || node_gone) && !self.all_proven() {
            return Decision::EndEarly;
        }
        let decided = self.images.iter().all(|image| image.proven || image.confirmed);
        match decided && self.images.iter().any(|image| image.confirmed && !image.proven) {
            true => Decision::EndEarly,
            false => Decision::Wait,
        }
    }

    /// Of a Job that is over: whether its pods have said all they will. Jobs and pods come through
    /// two watches, and a pod's end may arrive after its Job's.
    pub fn has_heard_all(&self) -> bool {
        let settled = self.images.iter().all(|image| image.proven || image.witness.containers.is_empty());
        settled || (self.pod_seen && self.pods.is_empty())
    }

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
        let proven = image.proven || (*ended == Ending::Complete && !image.witness.containers.is_empty());
        let timed_out = match ended {
            Ending::Failed { reason, .. } => reason == "DeadlineExceeded",
            Ending::GaveUp | Ending::RunOver => true,
            _ => false,
        };
        let state = match &image.cause {
            _ if proven && image.pull.is_some() => ImageState::Pulled,
            _ if proven => ImageState::Present,
            _ if self.carrier_failure.is_some() => ImageState::Unknown,
            Some(cause) => ImageState::Failed(cause.clone()),
            None if self.node_failure.is_some() => ImageState::Unknown,
            None if timed_out && self.on_node && !image.witness.containers.is_empty() => ImageState::Failed(
                Failure::new(Reason::DeadlineExceeded, "the image was not there when the deadline passed"),
            ),
            None => ImageState::Unknown,
        };
        let Pull { seconds, bytes } = image.pull.unwrap_or_default();
        ImageOutcome { state, seconds, bytes, digest: image.digest.clone() }
    }

    fn failure_of_job(&self, ended: &Ending) -> Failure {
        if let Ending::NotCreated(failure) = ended {
            return failure.clone();
        }
        if let Some(failure) = self.carrier_failure.as_ref().or(self.pod_failure.as_ref()) {
            return failure.clone();
        }
        if let (Some(rejection), false) = (&self.rejection, self.pod_seen) {
            return rejection.failure.clone();
        }
        if let Some(failure) = &self.node_failure {
            return failure.clone();
        }
        if let (Some(words), false) = (&self.unschedulable, self.on_node) {
            return Failure::new(Reason::Unschedulable, words.clone());
        }
        match ended {
            Ending::NotCreated(failure) => failure.clone(),
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
                Failure::new(Reason::JobDeleted, "somebody deleted the Job while it was live")
            }
            Ending::NotStarted => Failure::new(Reason::NotStarted, "the run ended before this node's turn"),
            Ending::Interrupted => {
                Failure::new(Reason::Interrupted, "the run was ended while the Job was live; the Job goes on")
            }
        }
    }

    fn prove(&mut self, container: &str, image_id: &str) {
        for image in self.images.iter_mut().filter(|image| image.shown_by(container)) {
            image.proven = true;
            if image.witness.runs {
                image.digest = digest(image_id).or(image.digest.take());
            }
        }
        if self.carrier.containers.iter().any(|name| name == container) {
            self.carrier_failure = None;
        }
    }

    fn observe_waiting(&mut self, container: &str, reason: &str, message: &str) {
        // These come after the pull (kuberuntime's startContainer): the image is there.
        if reason.starts_with("CreateContainer") || reason.starts_with("RunContainer") {
            self.prove(container, "");
            self.pod_failure = Some(Failure::new(Reason::PodFailed, format!("{reason}: {message}")));
            return;
        }
        if !is_pull_failure(reason) {
            return;
        }
        if self.blames_carrier(container, message) {
            let (cause, _) = cause_in(message);
            self.carrier_failure = Some(Failure::new(Reason::CarrierImageFailed, cause));
            return;
        }
        for image in self.images.iter_mut().filter(|image| image.shown_by(container)) {
            image.observe_pull_failure(reason, message);
        }
    }

    /// A container that carries an image volume waits in the same words for its own image and for the
    /// volume's: only the reference in the message tells them apart. One that carries none, as
    /// `helper`'s init container, can only wait for its own.
    fn blames_carrier(&self, container: &str, message: &str) -> bool {
        if !self.carrier.containers.iter().any(|name| name == container) {
            return false;
        }
        let named = |names: &[String]| names.iter().any(|name| mentions(message, name));
        let mut shown = self.images.iter().filter(|image| image.shown_by(container)).peekable();
        shown.peek().is_none()
            || (named(&self.carrier.names) && !shown.any(|image| named(&image.witness.names)))
    }
}

impl ImageWitness {
    /// `message` without the image's own names: a tag such as `20260429` or a repository called
    /// `signature` says nothing about what went wrong.
    fn without_names(&self, message: &str) -> String {
        let mut names: Vec<&String> = self.references.iter().chain(&self.names).collect();
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        let mut message = message.to_owned();
        for name in names {
            message = message.replace(name.as_str(), "");
        }
        message
    }
}

/// Whether `message` names just this: `quay.io/team/app` does not stand in `quay.io/team/app-carrier`.
fn mentions(message: &str, name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    message.match_indices(name).any(|(at, _)| {
        let before = message[..at].chars().next_back();
        let after = message[at + name.len()..].chars().next();
        !before.is_some_and(inner) && !after.is_some_and(inner)
    })
}

impl Image {
    fn shown_by(&self, container: &str) -> bool {
        self.witness.containers.iter().any(|name| name == container)
    }

    /// The kubelet alternates: `ErrImagePull` with the bare cause at each attempt, and in between
    /// `ImagePullBackOff`, which since 1.32 carries the last attempt's cause.
    fn observe_pull_failure(&mut self, reason: &str, message: &str) {
        let state = (reason.to_owned(), message.to_owned());
        if self.waiting.as_ref() == Some(&state) {
            return;
        }
        self.waiting = Some(state);
        let back_off = reason == "ImagePullBackOff";
        let (cause, carried) = cause_in(message);
        if back_off && !carried {
            // Confirms nothing, but is better than no cause at all.
            self.cause.get_or_insert_with(|| Failure::new(Reason::PullFailed, message));
            return;
        }
        let kind = classify_pull(reason, &self.witness.without_names(cause));
        let again = self.cause.as_ref().is_some_and(|known| known.reason == kind);
        // No registry was asked for an invalid name, so nothing can change about it.
        let certain = back_off || again || reason == "InvalidImageName";
        self.confirmed = kind.is_permanent() && certain;
        self.cause = Some(Failure::new(kind, cause));
    }
}

/// Reasons of the kubelet's image manager (`pkg/kubelet/images/types.go`).
fn is_pull_failure(reason: &str) -> bool {
    matches!(
        reason,
        "ErrImagePull"
            | "ImagePullBackOff"
            | "InvalidImageName"
            | "ErrImageNeverPull"
            | "ImageInspectError"
            | "RegistryUnavailable"
            | "SignatureValidationFailed"
    )
}

/// The cause in `Back-off pulling image "…": ErrImagePull: CAUSE`, or the whole message; and whether
/// it was carried along like that.
fn cause_in(message: &str) -> (&str, bool) {
    let carried = message.strip_prefix("Back-off pulling image ").and_then(|rest| rest.split_once("\": "));
    match carried {
        Some((_, cause)) => (cause.strip_prefix("ErrImagePull: ").unwrap_or(cause), true),
        None => (message, false),
    }
}

/// `sha256:…` of an `imageID` such as `quay.io/team/app@sha256:…`. A bare `sha256:…` is the id of the
/// image's config, not its digest.
fn digest(image_id: &str) -> Option<String> {
    image_id.split_once('@').map(|(_, digest)| digest.to_owned())
}

#[cfg(test)]
#[path = "evidence/tests.rs"]
mod tests;
