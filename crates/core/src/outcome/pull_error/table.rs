//! Who says what in a failed pull: the texts of the runtimes, registries and the kubelet, each under
//! the file that it comes from.
//!
//! A pattern is a whole clause in lower case, with a `*` where anything may begin or end it.

use super::Says::{self, Code, Means, Node};
use super::Speaker::{self, Fetcher, Ping, Policy, Resolver, Runtime, Token, Unpacker};
use crate::outcome::Reason::{
    Dns, ImageNotFound, InvalidReference, NoMatchingPlatform, RateLimited, RegistryError,
    RegistryUnreachable, Signature, Tls, Unauthorized, UnsupportedManifest,
};

type Rows<T> = &'static [(&'static str, &'static [(&'static str, T)])];

/// The kubelet's limit of pulls a second, by default 5 with bursts of 10.
pub const THROTTLED: &str = "pull qps exceeded";

/// Clauses by which a layer says that it speaks.
pub const SPEAKERS: Rows<Speaker> = &[
    (
        "containerd/containerd:core/transfer/local/pull.go",
        &[("failed to resolve image*", Resolver), ("failed to resolve source*", Resolver)],
    ),
    (
        "containerd/containerd:client/pull.go",
        &[("failed to resolve reference*", Resolver), ("failed to unpack image on snapshotter*", Unpacker)],
    ),
    (
        "containerd/containerd:core/remotes/docker/resolver.go",
        &[
            ("pulling from host*", Resolver),
            ("failed to authorize*", Token),
            ("content at*", Fetcher),
            ("failed to discard to offset*", Fetcher),
        ],
    ),
    (
        "containerd/containerd:core/remotes/docker/authorizer.go",
        &[("failed to fetch oauth token*", Token), ("failed to fetch anonymous token*", Token)],
    ),
    (
        "containerd/containerd:core/remotes/docker/fetcher.go",
        &[("could not fetch content*", Fetcher), ("unexpected head status code*", Fetcher)],
    ),
    (
        "containerd/containerd:core/remotes/docker/httpreadseeker.go",
        &[("httpreadseeker*", Fetcher), ("failed open", Fetcher)],
    ),
    (
        "containerd/containerd:core/content/helpers.go",
        &[
            ("failed to copy", Fetcher),
            ("failed to open writer", Fetcher),
            ("short read", Fetcher),
            ("failed to read expected number of bytes", Fetcher),
            ("*failed size validation", Fetcher),
            ("failed commit on ref*", Fetcher),
        ],
    ),
    (
        "containerd/containerd:core/unpack/unpacker.go",
        &[
            ("failed to extract layer*", Unpacker),
            ("failed to prepare extraction snapshot*", Unpacker),
            ("unable to prepare extraction snapshot*", Unpacker),
            ("failed to stat snapshot*", Unpacker),
            ("failed to commit snapshot*", Unpacker),
            ("wrong diff id calculated on extraction*", Unpacker),
            ("number of layers and diffids don't match*", Unpacker),
            ("unmarshal image config", Unpacker),
            ("apply layer error for*", Unpacker),
        ],
    ),
    (
        "containerd/containerd:core/mount/temp.go",
        &[("mount callback failed on*", Unpacker), ("failed to mount*", Unpacker)],
    ),
    (
        "containerd/containerd:core/diff/apply/apply.go",
        &[
            ("failed to get stream processor*", Unpacker),
            ("failed to get reader from content store", Unpacker),
        ],
    ),
    ("containerd/containerd:plugins/content/local/store.go", &[("content digest*", Unpacker)]),
    (
        "containerd/containerd:internal/cri/server/images/image_pull.go",
        &[
            ("failed to get image*", Runtime),
            ("failed to create image reference*", Runtime),
            ("failed to update image store*", Runtime),
        ],
    ),
    (
        "grpc/grpc-go:internal/transport/http2_client.go",
        &[
            ("connection error*", Runtime),
            ("error reading from server*", Runtime),
            ("transport*", Runtime),
            ("error while dialing*", Runtime),
            ("dial unix*", Runtime),
            ("grpc", Runtime),
        ],
    ),
    (
        "moby/moby:client/errors.go",
        &[("cannot connect to the docker daemon*", Runtime), ("error during connect*", Runtime)],
    ),
    (
        "moby/moby:distribution/xfer/download.go",
        &[("download failed after attempts*", Fetcher), ("failed to register layer*", Unpacker)],
    ),
    ("moby/moby:distribution/pull_v2.go", &[("error pulling image configuration*", Fetcher)]),
    (
        "containers/image:docker/docker_client.go",
        &[
            ("pinging container registry*", Ping),
            ("pinging docker registry*", Ping),
            ("error pinging docker registry*", Ping),
            ("requesting bearer token*", Token),
            ("requesting bear token*", Token),
            ("trying to obtain access token*", Token),
            ("unable to retrieve auth token*", Token),
            ("downloading signatures for*", Fetcher),
            ("fetching sigstore attachment*", Fetcher),
            ("fetching blob*", Fetcher),
            ("invalid status code returned when fetching blob*", Fetcher),
        ],
    ),
    (
        "containers/image:docker/docker_image_src.go",
        &[
            ("initializing source*", Resolver),
            ("reading manifest*", Resolver),
            ("error fetching external blob*", Fetcher),
            ("error reading signature from*", Fetcher),
            ("reading signature from*", Fetcher),
        ],
    ),
    ("containers/image:docker/body_reader.go", &[("*while reconnecting", Fetcher)]),
    (
        "containers/image:copy/single.go",
        &[
            ("source image rejected*", Policy),
            ("reading signatures*", Fetcher),
            ("getting signatures*", Fetcher),
            ("parsing image configuration*", Fetcher),
            ("reading blob*", Fetcher),
            ("copying config*", Fetcher),
            ("copying blob*", Fetcher),
            ("happened during read*", Fetcher),
        ],
    ),
    (
        "containers/image:storage/storage_dest.go",
        &[
            ("adding layer with blob*", Unpacker),
            ("applying layer*", Unpacker),
            ("unpacking failed*", Unpacker),
            ("creating layer*", Unpacker),
            ("creating image*", Unpacker),
            ("committing the finished image*", Unpacker),
            ("extracting layer*", Unpacker),
        ],
    ),
    (
        "kubernetes/kubernetes:pkg/kubelet/images/image_manager.go",
        &[("failed to record image pull intent*", Runtime)],
    ),
    ("kubernetes/kubernetes:pkg/kubelet/images/helpers.go", &[(THROTTLED, Runtime)]),
];

/// What clauses mean, wherever they stand.
pub const MEANINGS: Rows<Says> = &[
    (
        "distribution/distribution:registry/api/errcode/register.go",
        &[
            ("unauthorized", Code(Unauthorized)),
            ("denied", Code(Unauthorized)),
            ("toomanyrequests", Code(RateLimited)),
            ("name unknown", Code(ImageNotFound)),
            ("manifest unknown", Code(ImageNotFound)),
            ("repository name not known to registry", Code(ImageNotFound)),
            ("name invalid", Code(InvalidReference)),
            ("invalid repository name", Code(InvalidReference)),
            ("blob unknown*", Code(RegistryError)),
            ("unknown blob", Code(RegistryError)),
            ("manifest blob unknown", Code(RegistryError)),
            ("manifest invalid", Code(RegistryError)),
            ("manifest unverified", Code(RegistryError)),
            ("digest invalid", Code(RegistryError)),
            ("size invalid", Code(RegistryError)),
            ("unsupported", Code(RegistryError)),
            ("authentication required", Means(Unauthorized)),
            ("requested access to the resource is denied", Means(Unauthorized)),
            ("too many requests", Means(RateLimited)),
        ],
    ),
    (
        // Docker Hub, GitHub, Quay and Harbor, as their clients repeat them.
        "docker/docs:content/manuals/docker-hub/usage/_index.md",
        &[
            ("you have reached your*", Means(RateLimited)),
            ("incorrect username or password*", Means(Unauthorized)),
            ("access to the requested resource is not authorized*", Means(Unauthorized)),
            ("unauthorized to access repository*", Means(Unauthorized)),
        ],
    ),
    (
        "containerd/containerd:core/transfer/local/pull.go",
        &[
            // What follows is the kind that containerd gives the error: it would read as the kernel's.
            ("schema 1 image manifests are no longer supported", Code(UnsupportedManifest)),
        ],
    ),
    (
        // containerd 1.x converts manifests of schema 1, and nothing else there has signatures.
        "containerd/containerd:remotes/docker/schema1/converter.go",
        &[("no signatures", Means(UnsupportedManifest))],
    ),
    (
        "containerd/containerd:core/remotes/docker/resolver.go",
        &[
            ("pull access denied*", Means(Unauthorized)),
            ("media type <quoted> is no longer supported*", Means(UnsupportedManifest)),
            ("rejecting * byte manifest for*", Means(RegistryError)),
            ("content at * not found", Means(RegistryError)),
            ("unhandled content range in response", Means(RegistryError)),
            ("content range requests ignored", Means(RegistryError)),
            ("unable to discard to offset", Means(RegistryError)),
            ("stopped after 10 redirects", Means(RegistryError)),
            ("<quoted> in header not a valid digest", Means(RegistryError)),
            ("no resolve hosts", Node),
            ("no pull hosts", Node),
        ],
    ),
    (
        "containerd/containerd:core/remotes/docker/authorizer.go",
        &[
            ("authorization failed", Means(Unauthorized)),
            ("no basic auth credentials", Means(Unauthorized)),
            ("failed to handle basic auth because missing username or secret", Means(Unauthorized)),
            ("failed to find supported auth scheme", Means(RegistryError)),
        ],
    ),
    (
        "containerd/containerd:core/remotes/docker/auth/fetch.go",
        &[
            ("authorization server did not include a token in the response", Means(RegistryError)),
            ("no realm specified for token auth challenge", Means(RegistryError)),
            ("invalid token auth challenge realm", Means(RegistryError)),
            ("unable to decode token response", Means(RegistryError)),
        ],
    ),
    (
        "containerd/containerd:core/remotes/docker/fetcher.go",
        &[
            ("could not fetch content*", Means(RegistryError)),
            ("unsupported content-encoding algorithm", Means(RegistryError)),
        ],
    ),
    (
        "containerd/containerd:core/images/image.go",
        &[
            ("no match for platform*", Means(NoMatchingPlatform)),
            // A proxy or a login page has answered in the registry's place.
            ("unexpected media type*", Means(RegistryError)),
            ("unexpected-media-type*", Means(RegistryError)),
        ],
    ),
    (
        "containerd/containerd:core/content/helpers.go",
        &[
            ("short read", Means(RegistryError)),
            ("failed to read expected number of bytes", Means(RegistryError)),
            ("*failed size validation", Means(RegistryError)),
            ("unexpected commit digest*", Means(RegistryError)),
            ("unexpected commit size*", Means(RegistryError)),
        ],
    ),
    (
        "containerd/containerd:core/unpack/unpacker.go",
        &[("no unpack platforms defined", Node), ("unpacker does not support platform*", Node)],
    ),
    (
        "goharbor/harbor:src/controller/artifact/controller.go",
        &[("artifact * not found*", Means(ImageNotFound)), ("project * not found*", Means(ImageNotFound))],
    ),
    (
        "containerd/containerd:pkg/reference/reference.go",
        &[
            ("object required", Means(InvalidReference)),
            ("hostname required", Means(InvalidReference)),
            ("invalid reference", Means(InvalidReference)),
        ],
    ),
    (
        "distribution/reference:reference.go",
        &[
            ("invalid reference format*", Means(InvalidReference)),
            ("repository name must be lowercase", Means(InvalidReference)),
            ("repository name must be canonical", Means(InvalidReference)),
            ("invalid checksum digest length", Means(InvalidReference)),
            ("unsupported digest algorithm", Means(InvalidReference)),
            ("invalid checksum digest format", Means(InvalidReference)),
        ],
    ),
    (
        "kubernetes/kubernetes:pkg/util/parsers/parsers.go",
        &[
            ("couldn't parse image reference*", Means(InvalidReference)),
            ("couldn't parse image name*", Means(InvalidReference)),
            ("failed to parse image reference*", Means(InvalidReference)),
            ("invalid image name*", Means(InvalidReference)),
        ],
    ),
    (
        "containers/image:docker/errors.go",
        &[
            ("too many requests to registry", Means(RateLimited)),
            ("can't talk to a v1 container registry", Means(RegistryError)),
            ("unable to retrieve auth token", Means(Unauthorized)),
            ("invalid username/password", Means(Unauthorized)),
        ],
    ),
    (
        "containers/image:internal/manifest/oci_index.go",
        &[
            ("no image found in image index*", Means(NoMatchingPlatform)),
            ("no image found in manifest list*", Means(NoMatchingPlatform)),
        ],
    ),
    (
        "containers/image:copy/single.go",
        &[
            ("image operating system mismatch*", Means(NoMatchingPlatform)),
            ("manifest digest * does not match*", Means(RegistryError)),
            ("manifest does not match provided manifest digest*", Means(RegistryError)),
            ("digest did not match*", Means(RegistryError)),
        ],
    ),
    (
        "containers/image:manifest/manifest.go",
        &[
            ("unimplemented manifest mime type*", Means(UnsupportedManifest)),
            ("unsupported manifest media type*", Means(UnsupportedManifest)),
            ("unsupported manifest type*", Means(UnsupportedManifest)),
            ("unknown manifest mime type*", Means(UnsupportedManifest)),
            ("unsupported media type*", Means(UnsupportedManifest)),
            ("unsupported schema version*", Means(UnsupportedManifest)),
            ("unsupported docker v2s1*", Means(UnsupportedManifest)),
        ],
    ),
    (
        "containers/image:signature/policy_eval.go",
        &[
            ("a signature was required*", Means(Signature)),
            ("running image * is rejected by policy*", Means(Signature)),
            ("none of the signatures were accepted*", Means(Signature)),
            ("cryptographic signature verification failed", Means(Signature)),
            ("invalid gpg signature*", Means(Signature)),
            ("signature for identity * is not accepted*", Means(Signature)),
            ("signature validation failed", Means(Signature)),
            ("*because the signature validation failed", Means(Signature)),
        ],
    ),
    (
        "moby/moby:distribution/pull_v2.go",
        &[
            ("no matching manifest for*", Means(NoMatchingPlatform)),
            ("no supported platform found in manifest list*", Means(NoMatchingPlatform)),
            ("no supported platform in manifest list*", Means(NoMatchingPlatform)),
            ("image operating system <quoted> cannot be used on this platform", Means(NoMatchingPlatform)),
            ("operating system is not supported", Means(NoMatchingPlatform)),
            ("*does not match the specified platform*", Means(NoMatchingPlatform)),
            ("*does not match the detected host platform*", Means(NoMatchingPlatform)),
            ("unsupported manifest format", Means(UnsupportedManifest)),
            (
                "docker image format v1 and docker image manifest version 2, schema 1*",
                Means(UnsupportedManifest),
            ),
            ("*schema 1 support*", Means(UnsupportedManifest)),
            ("mediatype in manifest should be*", Means(RegistryError)),
            ("missing or empty content-type header", Means(RegistryError)),
            ("missing or empty content-length header", Means(RegistryError)),
            ("manifest verification failed for digest*", Means(RegistryError)),
            ("image config verification failed for digest*", Means(RegistryError)),
            ("image verification failed for digest*", Means(RegistryError)),
            ("filesystem layer verification failed for digest*", Means(RegistryError)),
        ],
    ),
    (
        "moby/moby:distribution/errors.go",
        &[
            ("manifest for * not found", Means(ImageNotFound)),
            ("repository * not found*", Means(ImageNotFound)),
            ("does not exist or no pull access", Means(Unauthorized)),
        ],
    ),
    (
        "kubernetes/kubernetes:pkg/kubelet/images/types.go",
        &[
            ("*because the registry is unavailable*", Means(RegistryUnreachable)),
            ("* is not present with pull policy of never", Node),
        ],
    ),
    (
        "golang/go:src/net/dnsclient_unix.go",
        &[
            ("no such host", Means(Dns)),
            ("server misbehaving", Means(Dns)),
            ("no answer from dns server", Means(Dns)),
            ("temporary failure in name resolution", Means(Dns)),
            ("lame referral", Means(Dns)),
            ("cannot unmarshal dns message", Means(Dns)),
            ("lookup *", Means(Dns)),
        ],
    ),
    (
        "golang/go:src/syscall/zerrors_linux_amd64.go",
        &[
            ("connection refused", Means(RegistryUnreachable)),
            ("connection reset by peer", Means(RegistryUnreachable)),
            ("connection timed out", Means(RegistryUnreachable)),
            ("operation timed out", Means(RegistryUnreachable)),
            ("software caused connection abort", Means(RegistryUnreachable)),
            ("no route to host", Means(RegistryUnreachable)),
            ("host is down", Means(RegistryUnreachable)),
            ("network is unreachable", Means(RegistryUnreachable)),
            ("network is down", Means(RegistryUnreachable)),
            ("broken pipe", Means(RegistryUnreachable)),
            ("cannot assign requested address", Means(RegistryUnreachable)),
            ("permission denied", Node),
            ("operation not permitted", Node),
            ("read-only file system", Node),
            ("input/output error", Node),
            ("no such file or directory", Node),
            ("file exists", Node),
            ("not a directory", Node),
            ("invalid argument", Node),
            ("cannot allocate memory", Node),
            ("too many open files", Node),
            ("device or resource busy", Node),
            ("structure needs cleaning", Node),
        ],
    ),
    (
        "golang/go:src/net/net.go",
        &[
            ("i/o timeout", Means(RegistryUnreachable)),
            ("use of closed network connection", Means(RegistryUnreachable)),
            ("operation was canceled", Means(RegistryUnreachable)),
            ("dial tcp*", Means(RegistryUnreachable)),
        ],
    ),
    (
        "golang/go:src/context/context.go",
        &[
            ("context deadline exceeded*", Means(RegistryUnreachable)),
            ("context canceled*", Means(RegistryUnreachable)),
        ],
    ),
    (
        "golang/go:src/net/http/transport.go",
        &[
            ("tls handshake timeout", Means(RegistryUnreachable)),
            ("request canceled*", Means(RegistryUnreachable)),
            ("timeout awaiting response headers", Means(RegistryUnreachable)),
            ("*client.timeout exceeded while*", Means(RegistryUnreachable)),
            ("server closed idle connection", Means(RegistryUnreachable)),
            ("proxyconnect tcp*", Means(RegistryUnreachable)),
            ("socks connect tcp*", Means(RegistryUnreachable)),
            ("malformed http response*", Means(RegistryError)),
            ("malformed http status code*", Means(RegistryError)),
            ("malformed mime header*", Means(RegistryError)),
            ("server gave http response to https client", Means(Tls)),
            // The text of a proxy's answer to CONNECT, which comes without a number.
            ("forbidden", Means(RegistryUnreachable)),
            ("proxy authentication required", Means(RegistryUnreachable)),
            ("bad gateway", Means(RegistryUnreachable)),
            ("service unavailable", Means(RegistryUnreachable)),
            ("gateway timeout", Means(RegistryUnreachable)),
        ],
    ),
    (
        "golang/net:http2/transport.go",
        &[
            ("client connection lost", Means(RegistryUnreachable)),
            ("client connection force closed*", Means(RegistryUnreachable)),
            ("http2", Means(RegistryError)),
            ("stream error", Means(RegistryError)),
            ("server sent goaway*", Means(RegistryError)),
        ],
    ),
    ("golang/go:src/io/io.go", &[("eof", Means(RegistryError)), ("unexpected eof*", Means(RegistryError))]),
    (
        "golang/go:src/encoding/json/decode.go",
        &[
            ("invalid character*", Means(RegistryError)),
            ("unexpected end of json input", Means(RegistryError)),
            ("json", Means(RegistryError)),
        ],
    ),
    (
        "golang/go:src/crypto/tls/conn.go",
        &[
            ("x509", Means(Tls)),
            ("tls", Means(Tls)),
            ("first record does not look like a tls handshake", Means(Tls)),
        ],
    ),
];

/// Alerts and local errors of TLS that another attempt may not meet again (crypto/tls/alert.go).
pub const PASSING_TLS: &[&str] = &[
    "internal error",
    "bad record mac",
    "unexpected message",
    "user canceled",
    "close notify",
    "use of closed connection",
    "protocol is shutdown",
];

/// Words in which registries speak of used-up quotas, in the free text after a code or a status. Each of
/// several words, as a name that stands there may be one.
pub const QUOTA_WORDS: &[&str] =
    &["too many requests", "rate limit", "pull quota", "pull limit", "quota exceeded", "exceeded quota"];
