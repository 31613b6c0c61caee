//! What is known of one Job's images so far, and what follows from it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::attempts::{Attempts, is_pull_failure};
use super::{ContainerFacts, Failure, PodEvent, PodFacts, Pull, PullFacts, Reason, Rejection};

mod verdict;

pub use verdict::SUSPENDED_HELP;

/// Which containers of the pod tell an image's fate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageMatcher {
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
pub struct CarrierMatcher {
    /// Every way to write it, as in [`ImageMatcher::references`].
    pub names: Vec<String>,
    pub containers: Vec<String>,
}

/// Facts about one Job, gathered.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    images: Vec<Image>,
    carrier: Carrier,
    /// The pod's containers as we have asked for them, without init containers.
    own_containers: Vec<String>,
    /// Pods seen, by uid, that are not known to be gone.
    pods: HashMap<String, Pod>,
    pod_seen: bool,
    on_node: bool,
    unschedulable: Option<String>,
    pod_failure: Option<Failure>,
    trouble: Option<Trouble>,
    /// What in its pod keeps a container from ever being created.
    never_created: Option<String>,
    /// Names of pull secrets that the kubelet has not found.
    secrets_missing: Option<String>,
    rejection: Option<Rejection>,
    node_failure: Option<Failure>,
    /// The node was asked which images it has.
    node_asked: bool,
    /// A queue holds the Job.
    suspended: bool,
}

/// What the evidence calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Wait,
    /// Nothing more can come of it: every image is decided and at least one cannot be pulled, or every
    /// image is there and the carrier is broken or never created, or no pod can be made, or the node is gone.
    EndEarly,
}

#[derive(Clone, Debug, Default)]
struct Image {
    matcher: ImageMatcher,
    proven: bool,
    pull: Option<Pull>,
    digest: Option<String>,
    attempts: Attempts,
}

#[derive(Clone, Debug, Default)]
struct Carrier {
    matcher: CarrierMatcher,
    /// The node has it.
    proven: bool,
    /// Why it could not be pulled when it was last tried.
    cause: Option<Failure>,
    /// By container: all wait for the same carrier, and each one's attempts confirm only its own.
    attempts: HashMap<String, Attempts>,
}

#[derive(Clone, Debug, Default)]
struct Pod {
    /// It can still do something.
    works: bool,
    is_set_up: bool,
    /// Of a pod whose other containers are over: those that somebody has put into it, and that go on.
    strangers: Vec<String>,
    /// Its containers' last states, hashed, to tell a new one from one that a watch delivers again.
    states: Vec<u64>,
}

/// What keeps a pod from coming to its images.
#[derive(Clone, Debug)]
struct Trouble {
    failure: Failure,
    pod: String,
    /// The pod, or another one, has got further since.
    passed: bool,
}

impl Evidence {
    /// For a Job whose pod tells `images`' fates.
    pub fn new(images: Vec<ImageMatcher>, carrier: CarrierMatcher) -> Evidence {
        let images = images.into_iter().map(|matcher| Image { matcher, ..Image::default() }).collect();
        let carrier = Carrier { matcher: carrier, ..Carrier::default() };
        Evidence { images, carrier, ..Evidence::default() }
    }

    /// Of a Job whose pod is to have just these containers, and init containers.
    pub fn with_own_containers(self, own_containers: Vec<String>) -> Evidence {
        Evidence { own_containers, ..self }
    }

    /// For a Job of which nothing will be seen.
    pub fn unseen(images: usize) -> Evidence {
        Evidence::new(vec![ImageMatcher::default(); images], CarrierMatcher::default())
    }

    /// Takes in a pod's state. Delivering the same state again changes nothing.
    pub fn observe_pod(&mut self, pod: &PodFacts) {
        let works = pod.on_node && !pod.terminating;
        let strangers = self.injected_into(pod);
        let known = self.pods.entry(pod.uid.clone()).or_default();
        (known.works, known.is_set_up, known.strangers) = (works, pod.is_set_up, strangers);
        let states: Vec<u64> = pod.containers.iter().map(hash).collect();
        let before = std::mem::replace(&mut known.states, states.clone());
        if works {
            // Whatever ailed the node has passed.
            self.node_failure = None;
        }
        self.pod_seen = true;
        self.on_node |= pod.on_node;
        self.unschedulable = pod.unschedulable.clone().filter(|_| !pod.on_node);
        if let Some(words) = &pod.failed {
            self.pod_failure = Some(Failure::new(Reason::PodFailed, words));
        }
        if let Some(words) = pod.failed.as_ref().or(pod.disrupted.as_ref()) {
            let failure = Failure::new(Reason::PodFailed, words);
            self.trouble = Some(Trouble { failure, pod: pod.uid.clone(), passed: false });
        } else if let Some(trouble) = self.trouble.as_mut().filter(|_| works) {
            trouble.passed |= pod.is_set_up || trouble.pod != pod.uid;
        }
        for (position, container) in pod.containers.iter().enumerate() {
            if before.get(position) == states.get(position) {
                continue;
            }
            if container.ran {
                self.prove(&container.name, &container.image_id);
                // The Secret that it lacked, say, has come.
                self.never_created = None;
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

    /// Takes in an event of the pod with this uid.
    pub fn observe_pod_event(&mut self, pod: &str, event: &PodEvent) {
        match event {
            PodEvent::Pull(pull) => drop(self.observe_pull(pull)),
            PodEvent::SecretsMissing(names) => self.secrets_missing = Some(names.clone()),
            PodEvent::Trouble(failure) => {
                // Pods and events come through two watches: it may have passed already.
                let passed = self.pods.get(pod).is_some_and(|pod| pod.is_set_up);
                let (failure, pod) = (failure.clone(), pod.to_owned());
                self.trouble = Some(Trouble { failure, pod, passed });
            }
        }
    }

    /// Takes in a `Pulled` event; true where it is about one of the images.
    pub fn observe_pull(&mut self, pull: &PullFacts) -> bool {
        let mut known = false;
        self.carrier.proven |= self.carrier.matcher.names.contains(&pull.image);
        for image in self.images.iter_mut().filter(|image| image.matcher.references.contains(&pull.image)) {
            image.proven = true;
            // What was pulled once is present for the pod's next container.
            image.pull = image.pull.or(pull.pulled);
            known = true;
        }
        known
    }

    /// Takes in a `FailedCreate` event. A pod that was made after all is the better matcher.
    pub fn observe_rejection(&mut self, rejection: Rejection) {
        if !self.pod_seen {
            self.rejection = Some(rejection);
        }
    }

    /// The Job's node is gone or does not answer.
    pub fn observe_node(&mut self, failure: Option<Failure>) {
        self.node_failure = failure;
    }

    /// The Job's node was asked which images it has: `listed` says so for each of the Job's. One that is
    /// listed is there; a kubelet lists 50 at most, so one that is not need not be missing.
    pub fn observe_node_images(&mut self, listed: &[bool]) {
        self.node_asked = true;
        for (image, listed) in self.images.iter_mut().zip(listed) {
            // One that no container shows is vouched for by its Job alone.
            image.proven |= *listed && !image.matcher.containers.is_empty();
        }
    }

    /// A queue holds the Job, or does so no longer.
    pub fn observe_suspension(&mut self, suspended: bool) {
        self.suspended = suspended;
    }

    /// Whether no pod of the Job can do anything at the moment: unscheduled, gone or on its way out.
    pub fn no_active_pod(&self) -> bool {
        !self.pods.values().any(|pod| pod.works)
    }

    /// Whether nothing has been seen that would explain a failure. A pod that cannot be set up may stand
    /// on a node that is going.
    pub fn unexplained(&self) -> bool {
        let causes = [&self.pod_failure, &self.node_failure];
        causes.iter().all(|cause| cause.is_none())
            && self.carrier_failure().is_none()
            && (self.rejection.is_none() || self.pod_seen)
            && self.images.iter().all(|image| image.attempts.real_cause().is_none())
    }

    /// Whether every image is there, so that the node has succeeded whatever its Job does later.
    pub fn all_present(&self) -> bool {
        self.images.iter().all(|image| image.proven)
    }

    /// Containers that are all that is left of a pod whose images are there, and that nobody of ours has
    /// asked for: a proxy or an agent that a webhook adds, and that does not know that its pod is to end.
    pub fn injected_containers(&self) -> &[String] {
        let pod = self.pods.values().find(|pod| pod.works && !pod.strangers.is_empty());
        match pod {
            Some(pod) if self.all_present() => &pod.strangers,
            _ => &[],
        }
    }

    /// Sidecars that are init containers are not meant: the kubelet ends them after the others.
    fn injected_into(&self, pod: &PodFacts) -> Vec<String> {
        let is_own = |container: &&ContainerFacts| self.own_containers.contains(&container.name);
        let (own, others): (Vec<_>, Vec<_>) =
            pod.containers.iter().filter(|container| !container.is_init).partition(is_own);
        match !own.is_empty() && own.iter().all(|container| container.is_over) {
            true => others.iter().filter(|c| !c.is_over).map(|c| c.name.clone()).collect(),
            false => Vec::new(),
        }
    }

    /// Whether to go on waiting.
    pub fn decide(&self) -> Decision {
        let no_pod = self.rejection.as_ref().is_some_and(|rejection| rejection.is_final && !self.pod_seen);
        let node_gone = self.node_failure.as_ref().is_some_and(|failure| failure.reason == Reason::NodeGone);
        if (no_pod || node_gone) && !self.all_present() {
            return Decision::EndEarly;
        }
        // With no image that a container shows only the Job's end tells, and then it is to be seen.
        let shown = self.images.iter().all(|image| !image.matcher.containers.is_empty());
        if self.all_present() && shown && (self.broken_carrier().is_some() || self.never_created.is_some()) {
            return Decision::EndEarly;
        }
        let decided = self.images.iter().all(|image| image.proven || image.attempts.is_hopeless());
        match decided && !self.all_present() {
            true => Decision::EndEarly,
            false => Decision::Wait,
        }
    }

    /// Why the carrier is not on the node. The kubelet's own limit of pulls a second is no reason.
    fn carrier_failure(&self) -> Option<Failure> {
        let cause = self.carrier.cause.as_ref().filter(|_| !self.carrier.proven)?;
        Some(Failure::new(Reason::CarrierImageFailed, self.explain(cause).message))
    }

    /// Why the carrier could not be pulled, once a container has failed for it twice.
    pub fn broken_carrier(&self) -> Option<Failure> {
        let confirmed = self.carrier.attempts.values().any(Attempts::is_confirmed);
        self.carrier_failure().filter(|_| confirmed)
    }

    /// Why a container of the pod is never created: its image is to run as root, say, which the pod forbids.
    pub fn never_created(&self) -> Option<&str> {
        self.never_created.as_deref()
    }

    /// What the registry refuses for want of a secret is the secret's fault.
    fn explain(&self, cause: &Failure) -> Failure {
        match (&self.secrets_missing, cause.reason) {
            (Some(names), Reason::Unauthorized) => Failure::new(
                Reason::PullSecretMissing,
                format!("the kubelet cannot retrieve the pull secrets {names}: {}", cause.message),
            ),
            _ => cause.clone(),
        }
    }

    /// Of a Job that is over: whether its pods have said all they will. Jobs and pods come through
    /// two watches, and a pod's end may arrive after its Job's.
    pub fn final_status_seen(&self) -> bool {
        let settled = self.images.iter().all(|image| image.proven || image.matcher.containers.is_empty());
        settled || (self.pod_seen && self.pods.is_empty())
    }

    fn prove(&mut self, container: &str, image_id: &str) {
        for image in self.images.iter_mut().filter(|image| image.is_shown_by(container)) {
            image.proven = true;
            if image.matcher.runs {
                image.digest = digest(image_id).or(image.digest.take());
            }
        }
        self.carrier.proven |= self.carrier.runs_in(container);
    }

    fn observe_waiting(&mut self, container: &str, reason: &str, message: &str) {
        if comes_after_pull(reason) {
            self.prove(container, "");
            // The kubelet comes to the same again and again: what it is about stands in the pod.
            if reason == "CreateContainerConfigError" {
                self.never_created = Some(message.to_owned());
            }
            self.pod_failure = Some(Failure::new(Reason::PodFailed, format!("{reason}: {message}")));
            return;
        }
        if !is_pull_failure(reason) {
            return;
        }
        let carries = self.carrier.runs_in(container);
        let is_carriers = carries && self.carrier.is_named_in(message);
        let mut shown: Vec<&mut Image> =
            self.images.iter_mut().filter(|image| image.is_shown_by(container)).collect();
        // A message that names an image is that image's, whoever else waits with it.
        let by_reference = shown.iter().any(|image| image.matcher.is_referred_to_in(message));
        let by_name = !is_carriers && shown.iter().any(|image| image.matcher.is_named_in(message));
        if shown.is_empty() && carries || is_carriers && !by_reference {
            self.carrier.observe_failure(container, reason, message);
            shown.iter_mut().for_each(|image| image.attempts.disown(message));
            return;
        }
        match (by_reference, by_name) {
            (true, _) => shown.retain(|image| image.matcher.is_referred_to_in(message)),
            (false, true) => shown.retain(|image| image.matcher.is_named_in(message)),
            (false, false) => {}
        }
        let is_named = by_reference || by_name;
        let is_own = is_named || (!carries && shown.len() == 1);
        for image in shown {
            image.attempts.observe(reason, message, is_own);
        }
    }
}

impl ImageMatcher {
    fn is_referred_to_in(&self, message: &str) -> bool {
        self.references.iter().any(|reference| mentions(message, reference))
    }

    fn is_named_in(&self, message: &str) -> bool {
        self.names.iter().any(|name| mentions(message, name))
    }
}

impl Carrier {
    fn runs_in(&self, container: &str) -> bool {
        self.matcher.containers.iter().any(|name| name == container)
    }

    fn is_named_in(&self, message: &str) -> bool {
        self.matcher.names.iter().any(|name| mentions(message, name))
    }

    fn observe_failure(&mut self, container: &str, reason: &str, message: &str) {
        let attempts = self.attempts.entry(container.to_owned()).or_default();
        if attempts.observe(reason, message, true) {
            return;
        }
        self.proven = false;
        self.cause = attempts.cause().cloned();
    }
}

impl Image {
    fn is_shown_by(&self, container: &str) -> bool {
        self.matcher.containers.iter().any(|name| name == container)
    }
}

/// Whether `message` names just this: `quay.io/team/app` does not stand in `quay.io/team/app-carrier`.
fn mentions(message: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/');
    !name.is_empty()
        && message.match_indices(name).any(|(at, _)| {
            let before = message[..at].chars().next_back();
            let mut after = message[at + name.len()..].chars();
            let follows = match after.next() {
                // The end of a sentence, or of a tag such as `1.2`.
                Some('.') => after.next().is_some_and(is_part),
                after => after.is_some_and(is_part),
            };
            !before.is_some_and(|c| is_part(c) || c == '.') && !follows
        })
}

/// Reasons of kuberuntime (`pkg/kubelet/kuberuntime/kuberuntime_container.go`) for what it does once the
/// image is there.
fn comes_after_pull(reason: &str) -> bool {
    let steps = ["CreateContainer", "RunContainer", "PreCreateHook", "PreStartHook", "PostStartHook"];
    reason == "CrashLoopBackOff" || steps.iter().any(|step| reason.starts_with(step))
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// `sha256:…` of an `imageID` such as `quay.io/team/app@sha256:…`. A bare `sha256:…` is the id of the
/// image's config, not its digest.
fn digest(image_id: &str) -> Option<String> {
    image_id.split_once('@').map(|(_, digest)| digest.to_owned())
}

#[cfg(test)]
#[path = "evidence/tests.rs"]
mod tests;
