//! What the attempts to pull one image have come to so far.

use super::pull_error::{PullError, classify};
use super::{Failure, Reason};

/// The kubelet alternates: `ErrImagePull` with the bare cause at each attempt, and in between
/// `ImagePullBackOff`, which since 1.32 carries the last attempt's cause.
#[derive(Clone, Debug, Default)]
pub struct Attempts {
    cause: Option<Cause>,
    /// The cause was seen twice.
    confirmed: bool,
    is_permanent: bool,
}

#[derive(Clone, Debug)]
struct Cause {
    failure: Failure,
    /// It is this image's for sure: the message names it, or nothing else is pulled for the container.
    is_own: bool,
    is_throttled: bool,
}

impl Attempts {
    /// Takes in a new waiting state with a reason that [`is_pull_failure`]; true where the kubelet only
    /// keeps to its own limit of pulls, which says nothing about the image.
    pub fn observe(&mut self, reason: &str, message: &str, is_own: bool) -> bool {
        let back_off = reason == "ImagePullBackOff";
        let (cause, carried) = cause_in(message);
        if back_off && carried.is_none() {
            // Confirms nothing, but is better than no cause at all.
            let failure = Failure::new(Reason::PullFailed, message);
            self.cause.get_or_insert(Cause { failure, is_own, is_throttled: false });
            return false;
        }
        let PullError { reason: kind, is_permanent, is_throttled } =
            classify(carried.unwrap_or(reason), cause);
        if is_throttled && self.cause.is_some() {
            // The kubelet has not tried: what is known of the image still holds.
            return true;
        }
        let again = self.cause.as_ref().is_some_and(|known| known.failure.reason == kind);
        // No registry was asked for an invalid name, so nothing can change about it.
        let certain = back_off || again || reason == "InvalidImageName";
        self.confirmed = certain && is_own && !is_throttled;
        self.is_permanent = is_permanent;
        self.cause = Some(Cause { failure: Failure::new(kind, cause), is_own, is_throttled });
        is_throttled
    }

    /// Forgets a cause that has turned out to be another image's.
    pub fn disown(&mut self, message: &str) {
        let (words, _) = cause_in(message);
        self.cause.take_if(|cause| !cause.is_own && cause.failure.message == words);
    }

    /// Why the image is not there, as far as anybody has said.
    pub fn cause(&self) -> Option<&Failure> {
        self.cause.as_ref().map(|cause| &cause.failure)
    }

    /// As [`Attempts::cause`], without what may be some other image's.
    pub fn own_cause(&self) -> Option<&Failure> {
        self.cause.as_ref().filter(|cause| cause.is_own).map(|cause| &cause.failure)
    }

    /// As [`Attempts::cause`], without the kubelet's own limit of pulls a second.
    pub fn real_cause(&self) -> Option<&Failure> {
        self.cause.as_ref().filter(|cause| !cause.is_throttled).map(|cause| &cause.failure)
    }

    /// Whether the same was seen twice: at two attempts, or at one and in the back-off after it.
    pub fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// Whether trying again cannot help.
    pub fn is_hopeless(&self) -> bool {
        self.confirmed && self.is_permanent
    }
}

/// Reasons of the kubelet's image manager (`pkg/kubelet/images/types.go`).
pub fn is_pull_failure(reason: &str) -> bool {
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

/// The cause in `Back-off pulling image "…": ErrImagePull: CAUSE`, or the whole message; and the reason
/// of the attempt where it was carried along like that.
fn cause_in(message: &str) -> (&str, Option<&str>) {
    let carried = message.strip_prefix("Back-off pulling image ").and_then(|rest| rest.split_once("\": "));
    match carried.map(|(_, attempt)| (attempt, attempt.split_once(": "))) {
        Some((_, Some((reason, cause)))) if is_pull_failure(reason) => (cause, Some(reason)),
        Some((attempt, _)) => (attempt, Some("ErrImagePull")),
        None => (message, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_back_off_carries_the_attempts_reason_with_its_cause() {
        for (message, expected) in [
            ("Back-off pulling image \"a\": ErrImagePull: x: y", ("x: y", Some("ErrImagePull"))),
            (
                "Back-off pulling image \"a\": RegistryUnavailable: down",
                ("down", Some("RegistryUnavailable")),
            ),
            ("Back-off pulling image \"a\": other: y", ("other: y", Some("ErrImagePull"))),
            ("Back-off pulling image \"a\"", ("Back-off pulling image \"a\"", None)),
            ("x: y", ("x: y", None)),
        ] {
            assert_eq!(cause_in(message), expected, "{message}");
        }
    }
}
