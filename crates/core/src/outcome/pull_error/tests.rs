//! Texts as they stand in the sources that `table` names, and those of real kubelets.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::outcome::{PodEvent, Pull};
use Reason::*;

/// kubelet 1.37.2 with containerd 1.6.20 and 2.4.2.
const KUBELET_MESSAGES: &str = include_str!("../../../../../tests/vectors/kubelet_messages.jsonl");

/// The same in the tests on real nodes, which write them: `UPDATE_MESSAGES=1 tests/e2e.sh`.
const PULL_MESSAGES: &str = include_str!("../../../../../tests/vectors/pull_messages.jsonl");

fn pull_and_unpack(cause: &str) -> String {
    format!("failed to pull and unpack image \"h.example/team/a:1\": {cause}")
}

#[test]
fn what_kubelets_said_in_the_tests_on_real_nodes() {
    let mut reasons = std::collections::BTreeSet::new();
    for line in PULL_MESSAGES.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let (reason, text) = (line["reason"].as_str().unwrap(), line["text"].as_str().unwrap());
        let expected = &line["expect"];
        if let Some(code) = expected["pull_error"].as_str() {
            let found = classify(if reason == "Failed" { "ErrImagePull" } else { reason }, text);
            assert_eq!(found.reason.code(), code, "{text}");
            assert_eq!(found.is_permanent, expected["permanent"] == true, "{text}");
            assert_eq!(found.is_throttled, text.contains("pull QPS exceeded"), "{text}");
            reasons.insert(code.to_owned());
            continue;
        }
        match PodEvent::of(reason, text) {
            Some(PodEvent::Pull(pull)) => {
                assert!(reason == "Pulled" && text.contains(&format!("\"{}\"", pull.image)), "{text}");
                assert_eq!(pull.pulled.is_some(), text.contains("Successfully pulled"), "{text}");
            }
            Some(PodEvent::SecretsMissing(names)) => assert_eq!(names, "robot", "{text}"),
            Some(PodEvent::Trouble(failure)) => panic!("{failure:?}"),
            None => assert_ne!(reason, "Pulled", "{text}"),
        }
    }
    // None of them may be lost when the fixtures are written anew.
    for code in [
        "dns",
        "image-not-found",
        "no-matching-platform",
        "pull-failed",
        "rate-limited",
        "registry-error",
        "registry-unreachable",
        "tls",
        "unauthorized",
        "unsupported-manifest",
    ] {
        assert!(reasons.contains(code), "nothing was recorded of {code}");
    }
}

#[test]
fn what_real_kubelets_said() {
    let lines: Vec<Value> =
        KUBELET_MESSAGES.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 224);
    for line in lines {
        let (reason, text) = (line["reason"].as_str().unwrap(), line["text"].as_str().unwrap());
        let expected = &line["expect"];
        if let Some(code) = expected["pull_error"].as_str() {
            let found = classify(if reason == "Failed" { "ErrImagePull" } else { reason }, text);
            let expected = (code, expected["permanent"] == true);
            assert_eq!((found.reason.code(), found.is_permanent), expected, "{text}");
            continue;
        }
        if !line["where"].as_str().unwrap().starts_with("event.Pod") {
            continue;
        }
        match PodEvent::of(reason, text) {
            Some(PodEvent::Pull(pull)) => {
                let Pull { seconds, bytes } = pull.pulled.unwrap_or_default();
                let name = if pull.pulled.is_some() { "pulled" } else { "present" };
                assert_eq!(expected[name], pull.image.as_str(), "{text}");
                assert_eq!(
                    (expected["seconds"].as_f64(), expected["bytes"].as_u64()),
                    (seconds, bytes),
                    "{text}"
                );
            }
            Some(PodEvent::SecretsMissing(names)) => assert_eq!(expected["secrets_missing"], names.as_str()),
            Some(PodEvent::Trouble(failure)) => panic!("{failure:?}"),
            None => assert!(expected.is_null(), "{text}"),
        }
    }
}

/// Messages with the image `IMAGE`, the host `HOST` and the path `PATH`, and what they mean.
fn structures() -> Vec<(String, Reason, bool)> {
    let mut rows = Vec::new();
    // containerd: the resolver. Only what it says may be permanent.
    for (cause, reason, permanent) in [
        ("IMAGE: not found", ImageNotFound, true),
        ("object required", InvalidReference, true),
        (
            "unexpected status from GET request to https://HOST/v2/PATH: 403 Forbidden\nunknown: upstream answered with status 502",
            Unauthorized,
            true,
        ),
        (
            "failed to do request: Head \"https://HOST/v2/PATH\": proxyconnect tcp: tls: first record does not look like a TLS handshake",
            RegistryUnreachable,
            false,
        ),
        ("failed to do request: Head \"https://HOST/v2/PATH\": dial tcp: lookup HOST: Try again", Dns, false),
        (
            "failed to do request: Head \"https://HOST/v2/PATH\": dial tcp 10.1.2.3:443: i/o timeout (Client.Timeout exceeded while awaiting headers)",
            RegistryUnreachable,
            false,
        ),
        (
            "failed to authorize: failed to fetch anonymous token: unexpected status: 403 Forbidden",
            Unauthorized,
            true,
        ),
        ("unexpected status from HEAD request to https://HOST/v2/PATH: 401 Unauthorized", Unauthorized, true),
        ("unexpected status from HEAD request to https://HOST/v2/PATH: 403 Forbidden", Unauthorized, true),
        (
            "unexpected status from HEAD request to https://HOST/v2/PATH: 403 Forbidden\ndenied: whatever: not found",
            Unauthorized,
            true,
        ),
        (
            "unexpected status from HEAD request to https://HOST/v2/PATH: 403 Forbidden\ntoomanyrequests: pull quota used up",
            RateLimited,
            false,
        ),
        ("unexpected status from HEAD request to https://HOST/v2/PATH: 404 Not Found", ImageNotFound, true),
        (
            "unexpected status from HEAD request to https://HOST/v2/PATH: 429 Too Many Requests (Retry-After: 2026-11-25T21:00:00Z)",
            RateLimited,
            false,
        ),
        (
            "unexpected status from HEAD request to https://HOST/v2/PATH: 500 Internal Server Error\nunauthorized: not found: denied",
            RegistryError,
            false,
        ),
        ("unexpected status from GET request to https://HOST/v2/PATH: 502 Bad Gateway", RegistryError, false),
        (
            "unexpected status from GET request to https://HOST/v2/PATH: 504 Gateway Timeout",
            RegistryError,
            false,
        ),
        (
            "unexpected status from GET request to https://HOST/v2/PATH: 415 Unsupported Media Type",
            UnsupportedManifest,
            true,
        ),
        (
            "unexpected status code https://HOST/v2/PATH: 521 - Server message: unauthorized",
            RegistryError,
            false,
        ),
        (
            "pulling from host HOST failed with status code [manifests 404]: 401 Unauthorized",
            Unauthorized,
            true,
        ),
        (
            "pulling from host HOST failed with status code [manifests 401]: 503 Service Unavailable",
            RegistryError,
            false,
        ),
        (
            "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
            Unauthorized,
            true,
        ),
        (
            "pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials",
            Unauthorized,
            true,
        ),
        (
            "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://HOST/token?scope=PATH: 403 Forbidden",
            Unauthorized,
            true,
        ),
        (
            "failed to authorize: failed to fetch oauth token: unexpected status from POST request to https://HOST/token: 401 Unauthorized",
            Unauthorized,
            true,
        ),
        (
            "failed to authorize: failed to fetch oauth token: unexpected status from POST request to https://HOST/token: 503 Service Unavailable",
            RegistryError,
            false,
        ),
        (
            "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://HOST/token: 404 Not Found",
            RegistryError,
            false,
        ),
        (
            "failed to authorize: failed to fetch anonymous token: Get \"https://HOST/token?scope=repository:PATH:pull\": dial tcp 10.1.2.3:443: connect: connection refused",
            RegistryUnreachable,
            false,
        ),
        (
            "failed to authorize: failed to fetch anonymous token: Get \"https://HOST/token\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
            RegistryUnreachable,
            false,
        ),
        (
            "failed to authorize: authorization server did not include a token in the response",
            RegistryError,
            false,
        ),
        ("rejecting 99999999 byte manifest for IMAGE: not found", RegistryError, false),
        ("no resolve hosts: not found", PullFailed, false),
        ("schema 1 image manifests are no longer supported: invalid argument", UnsupportedManifest, true),
        ("no signatures", UnsupportedManifest, true),
        (
            "not implemented: media type \"application/vnd.docker.distribution.manifest.v1+prettyjws\" is no longer supported since containerd v2.1, please rebuild the image as \"a\" or \"b\"",
            UnsupportedManifest,
            true,
        ),
        (
            "failed to do request: Head \"https://HOST/v2/PATH\": dial tcp: lookup HOST on 10.0.0.10:53: no such host",
            Dns,
            false,
        ),
        (
            "failed to do request: Head \"https://HOST/v2/PATH\": dial tcp: lookup HOST on 10.0.0.10:53: read udp 10.1.0.2:4242->10.0.0.10:53: i/o timeout",
            Dns,
            false,
        ),
        (
            "failed to do request: Head \"https://HOST/v2/PATH\": dial tcp: lookup HOST: Temporary failure in name resolution",
            Dns,
            false,
        ),
        (
            "failed to do request: Head \"https://HOST/v2/PATH\": dial tcp 10.1.2.3:443: connect: connection timed out",
            RegistryUnreachable,
            false,
        ),
        (
            "failed to do request: Head \"https://HOST/v2/PATH\": dial tcp 10.1.2.3:443: connect: no route to host",
            RegistryUnreachable,
            false,
        ),
        (
            "failed to do request: Head \"https://HOST/v2/PATH\": dial tcp 10.1.2.3:443: i/o timeout",
            RegistryUnreachable,
            false,
        ),
        (
            "failed to do request: Head \"https://HOST/v2/PATH\": net/http: TLS handshake timeout",
            RegistryUnreachable,
            false,
        ),
        (
            "failed to do request: Head \"https://HOST/v2/PATH\": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)",
            RegistryUnreachable,
            false,
        ),
        (
            "failed to do request: Head \"https://HOST/v2/PATH\": net/http: timeout awaiting response headers",
            RegistryUnreachable,
            false,
        ),
        (
            "failed to do request: Head \"https://HOST/v2/PATH\": read tcp 10.0.0.1:4242->10.1.2.3:443: use of closed network connection",
            RegistryUnreachable,
            false,
        ),
        (
            "failed to do request: Head \"https://HOST/v2/PATH\": write tcp 10.0.0.1:4242->10.1.2.3:443: write: broken pipe",
            RegistryUnreachable,
            false,
        ),
        (
            "failed to do request: Head \"https://HOST/v2/PATH\": proxyconnect tcp: dial tcp 10.1.2.3:3128: connect: connection refused",
            RegistryUnreachable,
            false,
        ),
        ("failed to do request: Head \"https://HOST/v2/PATH\": Forbidden", RegistryUnreachable, false),
        (
            "failed to do request: Head \"https://HOST/v2/PATH\": Proxy Authentication Required",
            RegistryUnreachable,
            false,
        ),
        ("failed to do request: Head \"https://HOST/v2/PATH\": EOF", RegistryError, false),
        (
            "failed to do request: Head \"https://HOST/v2/PATH\": http2: client connection lost",
            RegistryUnreachable,
            false,
        ),
        (
            "failed to do request: Head \"https://HOST/v2/PATH\": http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR, debug=\"\"",
            RegistryError,
            false,
        ),
        (
            "failed to do request: Head \"https://HOST/v2/PATH\": stream error: stream ID 1; INTERNAL_ERROR; received from peer",
            RegistryError,
            false,
        ),
        (
            "failed to do request: Head \"https://HOST/v2/PATH\": net/http: HTTP/1.x transport connection broken: malformed HTTP response \"denied\"",
            RegistryError,
            false,
        ),
        (
            "failed to do request: Head \"https://HOST/v2/PATH\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
            Tls,
            true,
        ),
        (
            "failed to do request: Head \"https://HOST/v2/PATH\": x509: certificate is valid for a.example, not HOST",
            Tls,
            true,
        ),
        (
            "failed to do request: Head \"https://HOST/v2/PATH\": remote error: tls: handshake failure",
            Tls,
            true,
        ),
        (
            "failed to do request: Head \"https://HOST/v2/PATH\": remote error: tls: internal error",
            Tls,
            false,
        ),
        (
            "failed to do request: Head \"https://HOST/v2/PATH\": http: server gave HTTP response to HTTPS client",
            Tls,
            true,
        ),
        (
            "failed to do request: Head \"https://HOST/v2/PATH\": dial tcp 10.1.2.3:443: connect: permission denied",
            PullFailed,
            false,
        ),
        ("context canceled", RegistryUnreachable, false),
    ] {
        rows.push((pull_and_unpack(&format!("failed to resolve image: {cause}")), reason, permanent));
        let old = pull_and_unpack(&format!("failed to resolve reference \"IMAGE\": {cause}"));
        rows.push((format!("rpc error: code = Unknown desc = {old}"), reason, permanent));
    }
    // containerd: the fetcher. The registry has said that the image is there.
    for (cause, reason) in [
        (
            "httpReadSeeker: failed open: unexpected status code https://HOST/v2/PATH: 403 Forbidden",
            Unauthorized,
        ),
        (
            "httpReadSeeker: failed open: unexpected status code https://HOST/v2/PATH: 500 Internal Server Error - Server message: unknown: not found",
            RegistryError,
        ),
        (
            "httpReadSeeker: failed open: unexpected status from GET request to https://HOST/v2/PATH: 429 Too Many Requests",
            RateLimited,
        ),
        ("httpReadSeeker: failed open: content at https://HOST/v2/PATH not found: not found", RegistryError),
        (
            "httpReadSeeker: failed open: could not fetch content descriptor sha256:00 (application/vnd.oci.image.config.v1+json) from remote: not found",
            RegistryError,
        ),
        (
            "httpReadSeeker: failed open: failed to do request: Get \"https://HOST/PATH\": tls: failed to verify certificate: x509: certificate has expired or is not yet valid",
            Tls,
        ),
        (
            "httpReadSeeker: failed open: failed to authorize: failed to fetch oauth token: unexpected status from POST request to https://HOST/token: 401 Unauthorized",
            Unauthorized,
        ),
        ("httpReadSeeker: failed open: unexpected EOF", RegistryError),
        // The registry's own disk.
        (
            "httpReadSeeker: failed open: unexpected status from GET request to https://HOST/v2/PATH: 500 Internal Server Error\nunknown: write /var/PATH: no space left on device",
            RegistryError,
        ),
        ("read tcp 10.0.0.1:42680->10.1.2.3:443: read: connection reset by peer", RegistryUnreachable),
        ("failed to open writer: ref layer-sha256:00 locked: unavailable", PullFailed),
        ("write /var/lib/PATH/data: no space left on device", DiskFull),
        ("write /var/lib/PATH/data: disk quota exceeded: unknown", DiskFull),
        ("failed size validation: 404 != 500: failed precondition", RegistryError),
        (
            "failed commit on ref \"layer-sha256:00\": \"layer-sha256:00\" failed size validation: 404 != 500: failed precondition",
            RegistryError,
        ),
        (
            "failed commit on ref \"layer-sha256:00\": unexpected commit digest sha256:00, expected sha256:11: failed precondition",
            RegistryError,
        ),
        ("short read: expected 10003260 bytes but got 401: unexpected EOF", RegistryError),
    ] {
        rows.push((pull_and_unpack(&format!("failed to copy: {cause}")), reason, false));
    }
    // containerd: the unpacker and the node's disk. No registry is asked.
    for (cause, reason) in [
        (
            "failed to extract layer sha256:00: mount callback failed on /var/lib/PATH/containerd-mount1: open /var/lib/PATH: permission denied",
            PullFailed,
        ),
        ("mount callback failed on /var/lib/PATH: permission denied", PullFailed),
        (
            "failed to extract layer sha256:00: mount callback failed on /tmp/PATH: write /tmp/PATH/usr/lib/x: no space left on device: unknown",
            DiskFull,
        ),
        (
            "failed to extract layer sha256:00: mount callback failed on /tmp/PATH: unexpected EOF: unknown",
            PullFailed,
        ),
        (
            "failed to extract layer sha256:00: failed to get reader from content store: content digest sha256:11: not found",
            PullFailed,
        ),
        ("content digest sha256:11: not found", PullFailed),
        (
            "failed to prepare extraction snapshot \"extract-1 sha256:00\": parent snapshot sha256:11 does not exist: not found",
            PullFailed,
        ),
        ("failed to commit snapshot extract-1: failed to stat active key \"x\": not found", PullFailed),
        (
            "failed to unpack image on snapshotter overlayfs: unexpected media type text/html for sha256:00: not found",
            RegistryError,
        ),
        ("wrong diff id calculated on extraction \"sha256:00\"", PullFailed),
        ("lchown /PATH: operation not permitted", PullFailed),
        ("no match for platform in manifest sha256:00: not found", NoMatchingPlatform),
        (
            "failed to unpack image on snapshotter overlayfs: no match for platform in manifest sha256:00: not found",
            NoMatchingPlatform,
        ),
        ("failed to create image reference \"sha256:00\": context deadline exceeded", PullFailed),
        ("blob sha256:00 expected at /var/lib/PATH: blob not found: not found", PullFailed),
        (
            "failed to extract layer sha256:00: exit status 1: unpigz: skipping: <stdin>: corrupted -- crc32 mismatch: unknown",
            PullFailed,
        ),
        ("no unpack platforms defined: invalid argument", PullFailed),
    ] {
        rows.push((pull_and_unpack(cause), reason, reason == NoMatchingPlatform));
    }
    // CRI-O, by containers/image.
    for (cause, reason, permanent) in [
        ("reading manifest 404 in HOST/PATH: manifest unknown", ImageNotFound, true),
        ("reading manifest 1.0 in HOST/PATH: name unknown: repository not found", ImageNotFound, true),
        (
            "reading manifest 1.0 in HOST/PATH: unauthorized: access to the requested resource is not authorized",
            Unauthorized,
            true,
        ),
        (
            "reading manifest 1.0 in HOST/PATH: denied: requested access to the resource is denied",
            Unauthorized,
            true,
        ),
        ("reading manifest 1.0 in HOST/PATH: requested access to the resource is denied", Unauthorized, true),
        (
            "reading manifest 1.0 in HOST/PATH: toomanyrequests: You have reached your unauthenticated pull rate limit",
            RateLimited,
            false,
        ),
        (
            "reading manifest 1.0 in HOST/PATH: received unexpected HTTP status: 500 Internal Server Error",
            RegistryError,
            false,
        ),
        (
            "reading manifest 1.0 in HOST/PATH: StatusCode: 404, \"<html>denied: x509</html>\"",
            ImageNotFound,
            true,
        ),
        ("reading manifest 1.0 in HOST/PATH: StatusCode: 502, \"unauthorized\"", RegistryError, false),
        (
            "reading manifest 1.0 in HOST/PATH: error parsing HTTP 403 response body: invalid character '<' looking for beginning of value: \"<html>\"",
            Unauthorized,
            true,
        ),
        (
            "pinging container registry HOST: Get \"https://HOST/v2/\": dial tcp 10.1.2.3:443: i/o timeout",
            RegistryUnreachable,
            false,
        ),
        (
            "pinging container registry HOST: received unexpected HTTP status: 502 Bad Gateway",
            RegistryError,
            false,
        ),
        (
            "pinging container registry HOST: invalid status code from registry 404 (Not Found)",
            RegistryError,
            false,
        ),
        (
            "pinging container registry HOST: Get \"https://HOST/v2/\": x509: certificate signed by unknown authority",
            Tls,
            true,
        ),
        ("Requesting bearer token: invalid status code from registry 403 (Forbidden)", Unauthorized, true),
        (
            "Requesting bearer token: invalid status code from registry 502 (Bad Gateway)",
            RegistryError,
            false,
        ),
        (
            "unable to retrieve auth token: invalid username/password: unauthorized: incorrect username or password",
            Unauthorized,
            true,
        ),
        ("too many requests to registry", RateLimited, false),
        (
            "(Mirrors also failed: [m.example/PATH: reading manifest 1 in m.example/PATH: manifest unknown]): IMAGE: pinging container registry HOST: Get \"https://HOST/v2/\": dial tcp 10.1.2.3:443: connect: connection refused",
            RegistryUnreachable,
            false,
        ),
        ("can't talk to a V1 container registry", RegistryError, false),
    ] {
        let cause = format!("initializing source docker://IMAGE: {cause}");
        let artifact = format!(
            "unable to pull image or OCI artifact: pull image err: {cause}; artifact err: get manifest: build image source: manifest unknown"
        );
        rows.push((cause, reason, permanent));
        rows.push((artifact, reason, permanent));
    }
    for (cause, reason, permanent) in [
        (
            "copying system image from manifest list: writing blob: adding layer with blob \"sha256:00\": ApplyLayer stdout: stderr: open /PATH: permission denied exit status 1",
            PullFailed,
            false,
        ),
        (
            "copying system image from manifest list: writing blob: storing blob to file \"/var/tmp/PATH\": happened during read: unexpected EOF",
            RegistryError,
            false,
        ),
        (
            "copying system image from manifest list: parsing image configuration: fetching blob: received unexpected HTTP status: 504 Gateway Time-out",
            RegistryError,
            false,
        ),
        (
            "copying system image from manifest list: reading blob sha256:00: fetching blob: StatusCode: 404, \"\"",
            RegistryError,
            false,
        ),
        (
            "copying system image from manifest list: reading blob sha256:00: fetching blob: blob unknown to registry",
            RegistryError,
            false,
        ),
        (
            "choosing an image from manifest list docker://IMAGE: no image found in image index for architecture \"arm64\", variant \"v8\", OS \"linux\"",
            NoMatchingPlatform,
            true,
        ),
        ("Source image rejected: A signature was required, but no signature exists", Signature, true),
        (
            "Source image rejected: None of the signatures were accepted, reasons: cryptographic signature verification failed: invalid signature",
            Signature,
            true,
        ),
        ("Source image rejected: Running image docker://IMAGE is rejected by policy.", Signature, true),
        (
            "Source image rejected: reading signatures: Error reading signature from https://HOST/PATH: status 500 (Internal Server Error)",
            RegistryError,
            false,
        ),
        (
            "reading signatures: downloading signatures for sha256:00 in HOST/PATH: received unexpected HTTP status: 500 Internal Server Error",
            RegistryError,
            false,
        ),
        ("parsing image reference: invalid reference format", InvalidReference, true),
        // Docker.
        (
            "Error response from daemon: manifest for IMAGE not found: manifest unknown: manifest unknown",
            ImageNotFound,
            true,
        ),
        (
            "Error response from daemon: pull access denied for HOST/PATH, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
            Unauthorized,
            true,
        ),
        (
            "Error response from daemon: Get \"https://HOST/v2/\": net/http: request canceled (Client.Timeout exceeded while awaiting headers)",
            RegistryUnreachable,
            false,
        ),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", NoMatchingPlatform, true),
        ("no supported platform found in manifest list", NoMatchingPlatform, true),
        ("no supported platform in manifest list", NoMatchingPlatform, true),
        ("Error response from daemon: unknown: artifact team/app:1.0 not found", ImageNotFound, true),
        (
            "Error response from daemon: denied: User: arn:aws:iam::1:role/x is not authorized to perform: ecr:BatchGetImage",
            Unauthorized,
            true,
        ),
        (
            "Error response from daemon: Get https://HOST/v2/: net/http: TLS handshake timeout",
            RegistryUnreachable,
            false,
        ),
        ("unauthorized: project PATH not found, or not a valid service account", Unauthorized, true),
        (
            "failed to register layer: Error processing tar file(exit status 1): write /PATH: no space left on device",
            DiskFull,
            false,
        ),
        (
            "rpc error: code = ResourceExhausted desc = grpc: trying to send message larger than max (403 vs. 404)",
            PullFailed,
            false,
        ),
        ("missing or empty Content-Length header", RegistryError, false),
        ("manifest invalid: manifest invalid", RegistryError, false),
        ("unsupported manifest media type and no default available: text/PATH", UnsupportedManifest, true),
        (
            "error pulling image configuration: download failed after attempts=6: dial tcp 10.1.2.3:443: i/o timeout",
            RegistryUnreachable,
            false,
        ),
        ("failed to register layer: mkdir /PATH: permission denied", PullFailed, false),
        ("failed to register layer: write /PATH/unauthorized: no space left on device", DiskFull, false),
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            PullFailed,
            false,
        ),
        ("toomanyrequests: You have reached your unauthenticated pull rate limit", RateLimited, false),
        (
            "denied: Permission \"artifactregistry.repositories.downloadArtifacts\" denied on resource: permission denied",
            Unauthorized,
            true,
        ),
        // The kubelet and the way to its runtime.
        ("pull QPS exceeded", PullFailed, false),
        ("rpc error: code = Unavailable desc = error reading from server: EOF", PullFailed, false),
        (
            "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: dial unix /run/PATH.sock: connect: connection refused\"",
            PullFailed,
            false,
        ),
        ("rpc error: code = DeadlineExceeded desc = context deadline exceeded", RegistryUnreachable, false),
        ("", PullFailed, false),
    ] {
        rows.push((cause.to_owned(), reason, permanent));
    }
    rows
}

fn filled(message: &str, image: &str, host: &str, path: &str) -> String {
    message.replace("IMAGE", image).replace("HOST", host).replace("PATH", path)
}

#[test]
fn what_runtimes_and_registries_say() {
    let wrong: Vec<String> = structures()
        .iter()
        .filter_map(|(message, reason, permanent)| {
            let message = filled(message, "h.example/team/a:1", "h.example", "team/a/manifests/1");
            let found = classify("ErrImagePull", &message);
            let right = (found.reason, found.is_permanent) == (*reason, *permanent);
            (!right).then(|| format!("{message}\n  {found:?}, not {reason} ({permanent})"))
        })
        .collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_kubelets_own_reasons() {
    let socket = "Failed to inspect image \"\": rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: dial unix /run/containerd/containerd.sock: connect: connection refused\"";
    for (reason, message, expected, permanent) in [
        ("InvalidImageName", "Failed to apply default image tag \"A\": x", InvalidReference, true),
        ("RegistryUnavailable", "?", RegistryUnreachable, false),
        (
            "RegistryUnavailable",
            "image pull failed for h/a:1 because the registry is unavailable.",
            RegistryUnreachable,
            false,
        ),
        (
            "RegistryUnavailable",
            "image pull failed for h/a:1 because the registry is unavailable: pinging container registry h: Get \"https://h/v2/\": dial tcp: lookup h: no such host",
            Dns,
            false,
        ),
        ("SignatureValidationFailed", "", Signature, true),
        (
            "SignatureValidationFailed",
            "image pull failed for h/a:1 because the signature validation failed: Source image rejected: A signature was required, but no signature exists",
            Signature,
            true,
        ),
        (
            "SignatureValidationFailed",
            "image pull failed for h/a:1 because the signature validation failed: Source image rejected: reading signatures: Error reading signature from https://h/s: status 503 (Service Unavailable)",
            RegistryError,
            false,
        ),
        ("ImageInspectError", socket, PullFailed, false),
        (
            "ErrImageNeverPull",
            "Container image \"h/a:1\" is not present with pull policy of Never",
            PullFailed,
            false,
        ),
    ] {
        let found = classify(reason, message);
        assert_eq!((found.reason, found.is_permanent), (expected, permanent), "{reason}: {message}");
    }
    assert!(classify("ErrImagePull", "pull QPS exceeded").is_throttled);
    assert!(!classify("ErrImagePull", "h/pull QPS exceeded: not found").is_throttled);
}

#[test]
fn every_row_says_where_it_is_from_and_is_reachable() {
    let sources = table::SPEAKERS.iter().map(|(source, _)| *source);
    for source in sources.chain(table::MEANINGS.iter().map(|(source, _)| *source)) {
        let (repository, path) = source.split_once(':').expect("repository:path");
        assert!(repository.contains('/') && path.contains('.'), "{source}");
    }
    for (_, rows) in table::MEANINGS {
        for (pattern, meaning) in *rows {
            assert_eq!(*pattern, pattern.to_lowercase(), "clauses are in lower case");
            let clause = pattern.replace('*', "");
            assert_eq!(lookup(table::MEANINGS, &clause), Some(*meaning), "an earlier row hides {pattern}");
        }
    }
}

#[test]
fn a_page_of_a_mebibyte_is_judged_at_once() {
    for filler in ["a: ", "\"", "'", "\\\"", "404 ", "denied: ", "(", "é"] {
        let message = filler.repeat((1 << 20) / filler.len());
        classify("ErrImagePull", &message);
        let message =
            format!("failed to resolve image: {message}: dial tcp 1.2.3.4:443: connect: connection refused");
        classify("ErrImagePull", &message);
    }
    let body = "<html>\\\"denied\\\"".repeat(100_000);
    let message = format!("reading manifest 1 in h/a: StatusCode: 502, \"{body}\"");
    assert_eq!(classify("ErrImagePull", &message).reason, RegistryError);
}

/// Parts of names that are words of the table.
fn part() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("forbidden"),
        Just("unauthorized"),
        Just("denied"),
        Just("not-found"),
        Just("x509"),
        Just("tls"),
        Just("signature"),
        Just("eof"),
        Just("toomanyrequests"),
        Just("manifest"),
        Just("unknown"),
        Just("429"),
        Just("500"),
        Just("404"),
        Just("403"),
        Just("status"),
        Just("lookup"),
        Just("dial"),
        Just("schema1"),
    ]
    .prop_map(str::to_owned)
    .boxed()
    .prop_union("[a-z0-9]{1,8}".boxed())
}

fn host() -> impl Strategy<Value = String> {
    (prop::collection::vec(part(), 1..3), prop::option::of(1u16..)).prop_map(|(parts, port)| {
        let host = format!("{}.example", parts.join("."));
        port.map_or(host.clone(), |port| format!("{host}:{port}"))
    })
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(part(), 1..4).prop_map(|parts| parts.join("/"))
}

proptest! {
    #[test]
    fn the_verdict_depends_on_the_structure_alone(
        host in host(), path in path(), tag in part(), digest in any::<bool>(), pick in any::<prop::sample::Index>(),
    ) {
        let structures = structures();
        let (message, reason, permanent) = pick.get(&structures);
        let tag = if digest { format!("@sha256:{}", "0".repeat(64)) } else { format!(":{tag}") };
        let message = filled(message, &format!("{host}/{path}{tag}"), &host, &path);
        let found = classify("ErrImagePull", &message);
        prop_assert_eq!((found.reason, found.is_permanent), (*reason, *permanent), "{}", message);
    }

    #[test]
    fn no_text_is_too_odd(reason in ".{0,20}", message in "(\\PC|\"|: |\n|'|\\\\|403 |denied){0,200}") {
        classify(&reason, &message);
        PodEvent::of(&reason, &message);
        PodEvent::of("FailedToRetrieveImagePullSecret", &message);
        PodEvent::of("Pulled", &message);
    }
}
