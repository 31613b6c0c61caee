//! Stable reason codes.

use std::fmt;

use serde::{Serialize, Serializer};

pub use explained::{Explained, reference};

mod explained;

/// Why a node or an image failed; kebab-case in reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    ImageNotFound,
    /// Also where a registry does not say whether the image is missing or secret.
    Unauthorized,
    /// As `Unauthorized`, and the kubelet has not found a pull secret of the pod.
    PullSecretMissing,
    NoMatchingPlatform,
    InvalidReference,
    RegistryUnreachable,
    Dns,
    Tls,
    RateLimited,
    RegistryError,
    UnsupportedManifest,
    DiskFull,
    Signature,
    /// A failed pull in words that we do not know.
    PullFailed,
    PodFailed,
    CarrierImageFailed,
    DeadlineExceeded,
    NotStarted,
    /// The run was ended by a signal while the Job was live; the Job goes on.
    Interrupted,
    Unschedulable,
    PodRejected,
    Quota,
    NodeGone,
    NodeNotReady,
    JobDeleted,
    JobFailed,
    NameTaken,
    /// A later run had other content for the node and was told to replace.
    Replaced,
    /// Another run had created a Job for the node a moment earlier. Stands on the Job that has given
    /// way, never in a report: its node is done by the other Job, or by another one after it.
    Yielded,
    /// A queue held the Job (`spec.suspend`) until the run's deadline.
    Suspended,
    /// The group's namespace does not exist.
    NamespaceMissing,
    Forbidden,
    ApiError,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 33] = [
        Reason::ImageNotFound,
        Reason::Unauthorized,
        Reason::PullSecretMissing,
        Reason::NoMatchingPlatform,
        Reason::InvalidReference,
        Reason::RegistryUnreachable,
        Reason::Dns,
        Reason::Tls,
        Reason::RateLimited,
        Reason::RegistryError,
        Reason::UnsupportedManifest,
        Reason::DiskFull,
        Reason::Signature,
        Reason::PullFailed,
        Reason::PodFailed,
        Reason::CarrierImageFailed,
        Reason::DeadlineExceeded,
        Reason::NotStarted,
        Reason::Interrupted,
        Reason::Unschedulable,
        Reason::PodRejected,
        Reason::Quota,
        Reason::NodeGone,
        Reason::NodeNotReady,
        Reason::JobDeleted,
        Reason::JobFailed,
        Reason::NameTaken,
        Reason::Replaced,
        Reason::Yielded,
        Reason::Suspended,
        Reason::NamespaceMissing,
        Reason::Forbidden,
        Reason::ApiError,
    ];

    /// The reason with this code.
    pub fn from_code(code: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.code() == code)
    }

    /// The stable code that reports and annotations carry.
    pub fn code(self) -> &'static str {
        match self {
            Reason::ImageNotFound => "image-not-found",
            Reason::Unauthorized => "unauthorized",
            Reason::PullSecretMissing => "pull-secret-missing",
            Reason::NoMatchingPlatform => "no-matching-platform",
            Reason::InvalidReference => "invalid-reference",
            Reason::RegistryUnreachable => "registry-unreachable",
            Reason::Dns => "dns",
            Reason::Tls => "tls",
            Reason::RateLimited => "rate-limited",
            Reason::RegistryError => "registry-error",
            Reason::UnsupportedManifest => "unsupported-manifest",
            Reason::DiskFull => "disk-full",
            Reason::Signature => "signature",
            Reason::PullFailed => "pull-failed",
            Reason::PodFailed => "pod-failed",
            Reason::CarrierImageFailed => "carrier-image-failed",
            Reason::DeadlineExceeded => "deadline-exceeded",
            Reason::NotStarted => "not-started",
            Reason::Interrupted => "interrupted",
            Reason::Unschedulable => "unschedulable",
            Reason::PodRejected => "pod-rejected",
            Reason::Quota => "quota",
            Reason::NodeGone => "node-gone",
            Reason::NodeNotReady => "node-not-ready",
            Reason::JobDeleted => "job-deleted",
            Reason::JobFailed => "job-failed",
            Reason::NameTaken => "name-taken",
            Reason::Replaced => "replaced",
            Reason::Yielded => "yielded",
            Reason::Suspended => "suspended",
            Reason::NamespaceMissing => "namespace-missing",
            Reason::Forbidden => "forbidden",
            Reason::ApiError => "api-error",
        }
    }

    /// Whether it says of the run that it ended before the node was done, and of the node nothing.
    pub fn is_unfinished(self) -> bool {
        matches!(self, Reason::NotStarted | Reason::Interrupted)
    }

    /// Whether trying again cannot help, once it is confirmed.
    pub fn is_permanent(self) -> bool {
        matches!(
            self,
            Reason::ImageNotFound
                | Reason::Unauthorized
                | Reason::PullSecretMissing
                | Reason::NoMatchingPlatform
                | Reason::InvalidReference
                | Reason::UnsupportedManifest
                | Reason::Signature
                | Reason::Tls
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_read_back() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(reason));
        }
        assert_eq!(Reason::from_code("nonsense"), None);
        // The last one: all of them are there, in their order.
        assert_eq!(Reason::ALL.len(), Reason::ApiError as usize + 1);
        assert!(Reason::ALL.is_sorted());
    }
}
