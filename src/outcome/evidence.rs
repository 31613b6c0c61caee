//! What is known of one Job's images so far, and what follows from it.

use std::collections::HashSet;

use super::reason::classify_pull;
use super::{Ending, Failure, ImageOutcome, ImageState, JobOutcome, PodFacts, Reason, Verdict};

/// Which containers of the pod tell an image's fate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageWitness {
    /// The reference as written and as the kubelet may write it: how a message names the image.
    pub names: Vec<String>,
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
    /// Pods seen, by uid, that are not known to be gone.
    pods: HashSet<String>,
    pod_seen: bool,
    on_node: bool,
    unschedulable: Option<String>,
    pod_failure: Option<Failure>,
    carrier_failure: Option<Failure>,
}

/// What the evidence calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Wait,
    /// Nothing more can come of it: every image is decided, and at least one cannot be pulled.
    EndEarly,
}

#[derive(Clone, Debug, Default)]
struct Image {
    witness: ImageWitness,
    proven: bool,
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
        self.pods.insert(pod.uid.clone());
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

    /// Whether to go on waiting.
    pub fn decide(&self) -> Decision {
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
            Ending::GaveUp => true,
            _ => false,
        };
        let state = match &image.cause {
            _ if proven => ImageState::Present,
            _ if self.carrier_failure.is_some() => ImageState::Unknown,
            Some(cause) => ImageState::Failed(cause.clone()),
            None if timed_out && self.on_node && !image.witness.containers.is_empty() => ImageState::Failed(
                Failure::new(Reason::DeadlineExceeded, "the image was not there when the deadline passed"),
            ),
            None => ImageState::Unknown,
        };
        ImageOutcome { state, seconds: None, bytes: None, digest: image.digest.clone() }
    }

    fn failure_of_job(&self, ended: &Ending) -> Failure {
        if let Some(failure) = self.carrier_failure.as_ref().or(self.pod_failure.as_ref()) {
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
        let named = |names: &[String]| names.iter().any(|name| message.contains(name.as_str()));
        let mut shown = self.images.iter().filter(|image| image.shown_by(container)).peekable();
        shown.peek().is_none()
            || (named(&self.carrier.names) && !shown.any(|image| named(&image.witness.names)))
    }
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
        let kind = classify_pull(reason, cause);
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
