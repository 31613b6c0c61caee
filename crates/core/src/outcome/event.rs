//! What events on Jobs and their pods say, in the kubelet's and the Job controller's words.
//!
//! Events are rationed (client-go lets 25 a pod through, then one in five minutes), so one that is
//! there proves something and one that is missing proves nothing. From the tenth of its kind on, one
//! event stands for all that follow and bears the words of the last (client-go's `EventAggregator`).

use jiff::SignedDuration;

use super::facts::clip;
use super::{Failure, Reason, with_admission_help};

/// What client-go puts before the words of an event that stands for several.
const COMBINED: &str = "(combined from similar events): ";

/// What an event on a pod tells.
#[derive(Clone, Debug, PartialEq)]
pub enum PodEvent {
    Pull(PullFacts),
    /// The kubelet has not found these pull secrets of the pod, and goes on without.
    SecretsMissing(String),
    /// The pod cannot be set up, or is taken off its node.
    Trouble(Failure),
}

/// A pull that the kubelet speaks of, or found needless.
#[derive(Clone, Debug, PartialEq)]
pub struct PullFacts {
    /// As the kubelet names it.
    pub image: String,
    /// `None` where the image was there before.
    pub pulled: Option<Pull>,
}

/// How long a pull took and how large the image is, as far as the kubelet says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pull {
    pub seconds: Option<f64>,
    pub bytes: Option<u64>,
}

/// Why the Job controller could not make a Job's pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    pub failure: Failure,
    /// It cannot pass by itself: admission refuses this pod and will refuse the next.
    pub is_final: bool,
}

impl PodEvent {
    /// Reads an event of a pod; `None` where it tells nothing that we want to know.
    pub fn of(reason: &str, message: &str) -> Option<PodEvent> {
        let message = message.strip_prefix(COMBINED).unwrap_or(message);
        match reason {
            "Pulled" => PullFacts::of_message(message).map(PodEvent::Pull),
            // kubelet `pkg/kubelet/kubelet_pods.go`: "Unable to retrieve some image pull secrets (a, b); …".
            "FailedToRetrieveImagePullSecret" => {
                let names = message.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
                Some(PodEvent::SecretsMissing(clip(names.map_or(message, |(names, _)| names)).into_owned()))
            }
            _ if is_trouble(reason) => {
                let words = format!("{reason}: {}", clip(message));
                Some(PodEvent::Trouble(Failure::new(Reason::PodFailed, words)))
            }
            _ => None,
        }
    }
}

/// Reasons of the kubelet (`pkg/kubelet/events/event.go`), its eviction and preemption, and of the
/// controller that attaches volumes, for a pod that does not come to pulling.
fn is_trouble(reason: &str) -> bool {
    matches!(
        reason,
        "FailedCreatePodSandBox"
            | "FailedPodSandBoxStatus"
            | "FailedCreatePodContainer"
            | "FailedMount"
            | "FailedMapVolume"
            | "FailedAttachVolume"
            | "FailedMountOnFilesystemMismatch"
            | "FailedPrepareDynamicResources"
            | "FailedPrepareDynamicResource"
            | "FailedSync"
            | "FailedValidation"
            | "NetworkNotReady"
            | "HostPortConflict"
            | "OutOfDisk"
            | "Evicted"
            | "Preempting"
            | "Preempted"
            | "UnexpectedAdmissionError"
    )
}

impl PullFacts {
    /// Reads the message of a `Pulled` event (kubelet `pkg/kubelet/images/image_manager.go`):
    /// `Successfully pulled image "X" in 1.2s (1.3s including waiting). Image size: 42 bytes.` or
    /// `Container image "X" already present on machine`.
    pub fn of_message(message: &str) -> Option<PullFacts> {
        let (before, rest) = message.split_once('"')?;
        let (image, after) = rest.split_once('"')?;
        let image = image.to_owned();
        if after.contains("already present on machine") {
            return Some(PullFacts { image, pulled: None });
        }
        if !before.starts_with("Successfully pulled") {
            return None;
        }
        let duration = after.strip_prefix(" in ").and_then(|text| text.split_whitespace().next());
        // The kubelet gives whole milliseconds; dividing them keeps 1.676 from becoming 1.6760000000000002.
        let seconds = duration.and_then(|text| text.parse::<SignedDuration>().ok());
        let seconds = seconds.map(|pull| pull.as_millis() as f64 / 1000.0);
        let size = after.split_once("Image size: ").and_then(|(_, text)| text.split_whitespace().next());
        let bytes = size.and_then(|text| text.parse().ok());
        Some(PullFacts { image, pulled: Some(Pull { seconds, bytes }) })
    }
}

/// Whether a refusal is a quota's, which has no code of its own (`apiserver/pkg/admission/plugin/
/// resourcequota`): used up, not counted yet, or without the requests that it asks for.
pub fn is_of_quota(words: &str) -> bool {
    ["exceeded quota", "status unknown for quota", "failed quota"].iter().any(|quota| words.contains(quota))
}

impl Rejection {
    /// Reads the message of a Job's `FailedCreate` event: `Error creating: …`.
    pub fn of_message(message: &str) -> Rejection {
        let words = message.strip_prefix(COMBINED).unwrap_or(message);
        let words = words.strip_prefix("Error creating: ").unwrap_or(words);
        let quota = is_of_quota(words);
        // A webhook that cannot be reached, or an API server in trouble, may be well again at the
        // Job controller's next try; so may a quota when other pods end, and a service account that is
        // applied a moment after us.
        let passes = quota || words.contains("looking up service account") || words.contains("not yet ready");
        let is_final = words.contains("is forbidden") && !passes;
        let reason = if quota { Reason::Quota } else { Reason::PodRejected };
        Rejection { failure: Failure::new(reason, with_admission_help(words)), is_final }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pulled_events_give_time_and_size() {
        let pull = |seconds, bytes| Some(Pull { seconds: Some(seconds), bytes });
        for (message, image, pulled) in [
            (
                "Successfully pulled image \"nginx:1\" in 132ms (132ms including waiting). Image size: 3002268 bytes.",
                "nginx:1",
                pull(0.132, Some(3_002_268)),
            ),
            (
                "Successfully pulled image \"a/b:1\" in 1m2.5s (3m0s including waiting)",
                "a/b:1",
                pull(62.5, None),
            ),
            ("Successfully pulled image \"a\" in 2.5s", "a", pull(2.5, None)),
            ("Container image \"nginx:1\" already present on machine", "nginx:1", None),
            ("Container image \"n\" already present on machine and can be accessed by the pod", "n", None),
        ] {
            let expected = PullFacts { image: image.to_owned(), pulled };
            assert_eq!(PullFacts::of_message(message), Some(expected), "{message}");
        }
        let PodEvent::Pull(combined) = PodEvent::of(
            "Pulled",
            "(combined from similar events): Successfully pulled image \"a:1\" in 1.676s (2s including waiting)",
        )
        .expect("an event that stands for several is understood") else {
            panic!("a pull is a pull")
        };
        let seconds = combined.pulled.and_then(|pull| pull.seconds);
        assert_eq!((combined.image.as_str(), seconds), ("a:1", Some(1.676)));
        for message in ["", "Pulling image \"a\"", "no quotes", "Failed to pull image \"a\": x"] {
            assert_eq!(PullFacts::of_message(message), None, "{message}");
        }
    }

    #[test]
    fn only_what_admission_forbids_is_final() {
        for (message, reason, is_final) in [
            (
                "Error creating: pods \"g-1\" is forbidden: violates PodSecurity \"restricted:latest\": hostPath volumes",
                Reason::PodRejected,
                true,
            ),
            (
                "Error creating: pods \"g-1\" is forbidden: exceeded quota: one, requested: pods=1",
                Reason::Quota,
                false,
            ),
            ("Error creating: pods \"g\" is forbidden: status unknown for quota: one", Reason::Quota, false),
            (
                "Error creating: pods \"g\" is forbidden: error looking up service account ns/puller: serviceaccount \"puller\" not found",
                Reason::PodRejected,
                false,
            ),
            (
                "(combined from similar events): Error creating: pods \"g-1\" is forbidden: exceeded quota: one",
                Reason::Quota,
                false,
            ),
            (
                "Error creating: Internal error occurred: failed calling webhook \"w\": connection refused",
                Reason::PodRejected,
                false,
            ),
        ] {
            let Rejection { failure, is_final: found } = Rejection::of_message(message);
            assert_eq!((failure.reason, found), (reason, is_final), "{message}");
            assert!(!failure.message.starts_with("Error creating"));
        }
    }

    #[test]
    fn other_events_of_pods_name_secrets_and_troubles() {
        let secrets = PodEvent::of(
            "FailedToRetrieveImagePullSecret",
            "Unable to retrieve some image pull secrets (absent, gone); attempting to pull the image may not succeed.",
        );
        assert_eq!(secrets, Some(PodEvent::SecretsMissing("absent, gone".to_owned())));
        let sandbox = PodEvent::of(
            "FailedCreatePodSandBox",
            "(combined from similar events): Failed to create pod sandbox: x",
        );
        let expected =
            Failure::new(Reason::PodFailed, "FailedCreatePodSandBox: Failed to create pod sandbox: x");
        assert_eq!(sandbox, Some(PodEvent::Trouble(expected)));
        for reason in ["Scheduled", "BackOff", "Created", "MissingClusterDNS", ""] {
            assert_eq!(PodEvent::of(reason, "x"), None, "{reason}");
        }
    }
}
