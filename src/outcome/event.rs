//! What two kinds of events say, in the kubelet's and the Job controller's words.
//!
//! Events are rationed (client-go lets 25 a pod through, then one in five minutes), so one that is
//! there proves something and one that is missing proves nothing.

use jiff::SignedDuration;

use super::{Failure, Reason};

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
        let seconds = duration.and_then(|text| text.parse::<SignedDuration>().ok()).map(|d| d.as_secs_f64());
        let size = after.split_once("Image size: ").and_then(|(_, text)| text.split_whitespace().next());
        let bytes = size.and_then(|text| text.parse().ok());
        Some(PullFacts { image, pulled: Some(Pull { seconds, bytes }) })
    }
}

impl Rejection {
    /// Reads the message of a Job's `FailedCreate` event: `Error creating: …`.
    pub fn of_message(message: &str) -> Rejection {
        let words = message.strip_prefix("Error creating: ").unwrap_or(message);
        let quota =
            ["exceeded quota", "status unknown for quota", "failed quota"].iter().any(|q| words.contains(q));
        // A webhook that cannot be reached, or an API server in trouble, may be well again at the
        // Job controller's next try; so may a quota when other pods end, and a service account that is
        // applied a moment after us.
        let passes = quota || words.contains("looking up service account") || words.contains("not yet ready");
        let is_final = words.contains("is forbidden") && !passes;
        let reason = if quota { Reason::Quota } else { Reason::PodRejected };
        Rejection { failure: Failure::new(reason, words), is_final }
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
}
