//! Kubelet's, registry's and scheduler's words → stable reason codes.

/// Why a node or an image failed; kebab-case in reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    ImageNotFound,
    Unauthorized,
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
    PullFailed,
    PodFailed,
    CarrierImageFailed,
    DeadlineExceeded,
    NotStarted,
    Unschedulable,
    PodRejected,
    Quota,
    NodeGone,
    NodeNotReady,
    JobDeleted,
    JobFailed,
    NameTaken,
    Forbidden,
    ApiError,
}
