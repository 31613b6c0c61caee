//! Stable reason codes, and which of the kubelet's, registry's and runtime's words mean which.
//!
//! Text decides only where Kubernetes gives nothing else: for every failed pull it has the one reason
//! `ErrImagePull` and a message that containerd, CRI-O or the registry wrote.

use std::fmt;

use serde::{Serialize, Serializer};

/// Why a node or an image failed; kebab-case in reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    ImageNotFound,
    /// Also where a registry does not say whether the image is missing or secret.
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
    Forbidden,
    ApiError,
}

impl Reason {
    /// Every reason.
    const ALL: [Reason; 29] = [
        Reason::ImageNotFound,
        Reason::Unauthorized,
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

/// Words of a failed pull, in lower case, and what they mean. The first row with a match wins, so a
/// row stands above those whose words also occur in its messages.
const PULL_WORDS: &[(Reason, &[&str])] = &[
    // containerd: "no match for platform in manifest: not found".
    (
        Reason::NoMatchingPlatform,
        &[
            "no match for platform",
            "no matching manifest",
            "no image found in manifest list",
            "no image found in image index",
        ],
    ),
    (Reason::InvalidReference, &["invalid reference", "invalid image name", "couldn't parse image"]),
    (Reason::DiskFull, &["no space left on device", "disk quota exceeded"]),
    (
        Reason::UnsupportedManifest,
        &["schema 1", "schema1", "manifest.v1+prettyjws", "unsupported manifest media type"],
    ),
    (Reason::Signature, &["signature", "source image rejected"]),
    // Docker Hub's quota comes as 429 or as text in a 403.
    (Reason::RateLimited, &["toomanyrequests", "too many requests", "rate limit", "pull quota"]),
    // "repository does not exist or may require authorization: server message: insufficient_scope".
    (
        Reason::Unauthorized,
        &[
            "may require authorization",
            "unauthorized",
            "authorization failed",
            "authentication required",
            "denied",
            "forbidden",
            "no basic auth credentials",
        ],
    ),
    // Before `tls`, whose words it shares.
    (Reason::RegistryUnreachable, &["tls handshake timeout"]),
    (Reason::Tls, &["x509:", "tls: ", "server gave http response to https client"]),
    // "dial tcp: lookup HOST on 10.0.0.10:53: read udp …: i/o timeout" is a failing resolver.
    (Reason::Dns, &["no such host", "dial tcp: lookup", "server misbehaving", "name resolution"]),
    (
        Reason::RegistryUnreachable,
        &[
            "connection refused",
            "connection reset",
            "i/o timeout",
            "deadline exceeded",
            "no route to host",
            "network is unreachable",
            "broken pipe",
            "request canceled while waiting",
        ],
    ),
    (
        Reason::RegistryError,
        &[
            "500 internal",
            "502 bad gateway",
            "503 service unavailable",
            "504 gateway",
            "unexpected eof",
            "unexpected status",
            "unexpected end of json",
            "invalid character",
            "failed size validation",
            "unexpected commit digest",
        ],
    ),
    (Reason::ImageNotFound, &["not found", "manifest unknown", "name unknown", "repository does not exist"]),
];

/// What a failed pull's `reason` and `message` mean. `pull QPS exceeded` (the kubelet limits itself)
/// is deliberately none of the rows: it passes by itself.
pub fn classify_pull(reason: &str, message: &str) -> Reason {
    match reason {
        "InvalidImageName" => return Reason::InvalidReference,
        "SignatureValidationFailed" => return Reason::Signature,
        _ => {}
    }
    let message = without_addresses(&message.to_lowercase());
    let row = PULL_WORDS.iter().find(|(_, words)| words.iter().any(|word| message.contains(word)));
    match (row, reason) {
        (Some((reason, _)), _) => *reason,
        (None, "RegistryUnavailable") => Reason::RegistryUnreachable,
        (None, _) => Reason::PullFailed,
    }
}

/// URLs and digests hold names and numbers of the user's own choosing, or of chance.
fn without_addresses(message: &str) -> String {
    let is_address = |word: &&str| {
        let word = word.trim_start_matches(['"', '(', '\'']);
        word.starts_with("http://") || word.starts_with("https://") || word.contains("sha256:")
    };
    message.split(' ').filter(|word| !is_address(word)).collect::<Vec<_>>().join(" ")
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
    }

    #[test]
    fn words_of_runtimes_and_registries() {
        use Reason::*;
        for (message, expected) in [
            (
                "rpc error: code = NotFound desc = failed to pull and unpack image \"h/a:1\": failed to resolve image: h/a:1: not found",
                ImageNotFound,
            ),
            ("reading manifest 1.0 in registry.example.com/a: manifest unknown", ImageNotFound),
            (
                "rpc error: code = NotFound desc = failed to pull and unpack image \"h/a:1\": no match for platform in manifest: not found",
                NoMatchingPlatform,
            ),
            (
                "choosing an image from manifest list docker://h/a:1: no image found in image index for architecture \"arm64\"",
                NoMatchingPlatform,
            ),
            (
                "failed to resolve image: pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
                Unauthorized,
            ),
            (
                "failed to authorize: failed to fetch oauth token: unexpected status from GET request: 401 Unauthorized",
                Unauthorized,
            ),
            (
                "failed to do request: Head \"https://h/v2/a/manifests/1\": dial tcp: lookup h on 10.0.0.10:53: no such host",
                Dns,
            ),
            ("dial tcp: lookup h on 10.0.0.10:53: read udp 10.1.0.2:4242->10.0.0.10:53: i/o timeout", Dns),
            ("dial tcp 10.9.9.9:443: i/o timeout", RegistryUnreachable),
            ("dial tcp 127.0.0.1:5000: connect: connection refused", RegistryUnreachable),
            ("Head \"https://h/v2/\": net/http: TLS handshake timeout", RegistryUnreachable),
            ("tls: failed to verify certificate: x509: certificate signed by unknown authority", Tls),
            ("http: server gave HTTP response to HTTPS client", Tls),
            ("toomanyrequests: You have reached your unauthenticated pull rate limit", RateLimited),
            ("unexpected status from HEAD request to https://h/v2/a: 429 Too Many Requests", RateLimited),
            ("unexpected status from HEAD request to https://h/v2/a: 503 Service Unavailable", RegistryError),
            ("httpReadSeeker: failed open: unexpected EOF", RegistryError),
            ("failed to extract layer: write /usr/lib/x: no space left on device", DiskFull),
            (
                "media type \"application/vnd.docker.distribution.manifest.v1+prettyjws\" is no longer supported since containerd v2.1",
                UnsupportedManifest,
            ),
            ("Source image rejected: A signature was required, but no signature exists", Signature),
            ("pull QPS exceeded", PullFailed),
            ("", PullFailed),
        ] {
            assert_eq!(classify_pull("ErrImagePull", message), expected, "{message}");
        }
        assert_eq!(classify_pull("InvalidImageName", "Failed to apply default image tag"), InvalidReference);
        assert_eq!(classify_pull("RegistryUnavailable", "?"), RegistryUnreachable);
    }
}
