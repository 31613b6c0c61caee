//! Every reason in words, for the reference in `docs/`: what it means, and what to do about it.

use super::Reason;

/// Two sentences or so.
#[derive(Clone, Copy, Debug)]
pub struct Explained {
    pub meaning: &'static str,
    /// What whoever reads the report does next.
    pub next: &'static str,
}

impl Reason {
    pub fn explained(self) -> Explained {
        let (meaning, next) = match self {
            Reason::ImageNotFound => (
                "The registry answered that there is no such repository, tag or digest.",
                "Check the reference for typing mistakes; push the image, or take it out of the group.",
            ),
            Reason::Unauthorized => (
                "The registry refused access. Some say the same of an image that does not exist (\"does not exist or may require authorization\").",
                "Name the workload's pull secret in `pull_secrets`, and see that it is valid and that the image exists.",
            ),
            Reason::PullSecretMissing => (
                "The registry refused access, and the kubelet found no Secret of a name in `pull_secrets`.",
                "Create the Secret in the Jobs' namespace, or correct its name; `check --cluster` looks for it.",
            ),
            Reason::NoMatchingPlatform => (
                "The image has no variant for the node's operating system and architecture.",
                "Build it for the platform, or exclude such nodes with `node_selector`.",
            ),
            Reason::InvalidReference => (
                "The container runtime takes the reference for none.",
                "Correct the reference; `check` finds most of these.",
            ),
            Reason::RegistryUnreachable => (
                "No connection to the registry from the node: refused, reset, or timed out.",
                "Try it from the node; look at firewalls, proxies and mirrors, and whether the registry is up.",
            ),
            Reason::Dns => (
                "The node cannot resolve the registry's host name.",
                "Check the host name in the reference, and the node's own DNS (not the cluster's).",
            ),
            Reason::Tls => (
                "The registry's certificate was not accepted.",
                "Give the nodes' container runtime the registry's CA, or renew the certificate; check the node's clock.",
            ),
            Reason::RateLimited => (
                "The registry answered 429 or that a pull quota is used up, or the kubelet kept back the pull itself.",
                "Lower `concurrency`, pull with credentials, or use a mirror; the kubelet tries again by itself until the deadline.",
            ),
            Reason::RegistryError => (
                "The registry or its token server answered with a 5xx, or with something that cannot be read.",
                "Run again later; if it lasts, look at the registry's log.",
            ),
            Reason::UnsupportedManifest => (
                "The image is of a format that the runtime no longer takes, such as schema 1.",
                "Push the image anew with current tools.",
            ),
            Reason::DiskFull => (
                "The node has no room for the image.",
                "Free or enlarge the disk that holds the images, or lower the kubelet's thresholds of image garbage collection.",
            ),
            Reason::Signature => (
                "The runtime's policy refuses the image's signature.",
                "Sign the image, or correct the policy on the nodes.",
            ),
            Reason::PullFailed => (
                "The pull failed, in words that this program does not know; they are in the message.",
                "Read the message, and report it, so that it gets a reason of its own.",
            ),
            Reason::PodFailed => (
                "The pod got no sandbox or mount, a container could not be created, or the pod was evicted or preempted.",
                "Read the message: it is the kubelet's own; look at the node.",
            ),
            Reason::CarrierImageFailed => (
                "The image that carries the pull could not be pulled, or the node needs one and none is set; of the group's images nothing is known.",
                "Set `carrier_image` to an image that the node can pull: this program's own, or a mirror of it.",
            ),
            Reason::DeadlineExceeded => (
                "The node's `deadline` passed, and no cause was heard of.",
                "Raise `deadline` for large images or thin links; what was pulled so far is kept where the runtime does that.",
            ),
            Reason::NotStarted => (
                "The run ended before the node had its turn.",
                "Raise `run_deadline` or `concurrency`; the message says where another run's Job had the node or the slot.",
            ),
            Reason::Interrupted => (
                "The run was ended by a signal while the Job was live; the Job goes on.",
                "Run again with the same `--run-id`: it takes the Job over.",
            ),
            Reason::Unschedulable => (
                "The scheduler did not put the pod on the node; its words are in the message.",
                "Make room on the node, lower the pod's requests, or give it a `priority_class`.",
            ),
            Reason::PodRejected => (
                "Admission refused the Job's pod: Pod Security, a webhook, or a policy.",
                "Read the message, and change the template, the policy, or the namespace.",
            ),
            Reason::Quota => (
                "A quota of the namespace left no room for the Job or its pod.",
                "Raise the quota, or lower `keep_jobs` or `concurrency`.",
            ),
            Reason::NodeGone => {
                ("The node was deleted while its Job was live.", "Nothing: it is no longer there.")
            }
            Reason::NodeNotReady => (
                "The node turned not ready while its Job was live.",
                "Look at the node, and run again once it is Ready; `serve` does so by itself.",
            ),
            Reason::JobDeleted => (
                "Somebody, or the TTL controller, deleted the Job before it was done.",
                "Find out who; run again.",
            ),
            Reason::JobFailed => (
                "The Job failed, and the template shows the state of no image.",
                "Look at the Job and its pod; give each image a container, so that the report can say more.",
            ),
            Reason::NameTaken => (
                "An object with the Job's name is there and is not ours; it was not touched.",
                "Rename or delete it, or give this installation another `instance`.",
            ),
            Reason::Replaced => (
                "A run with `--replace` had other content for the node, and ended this Job.",
                "Nothing: the other run's report has the node.",
            ),
            Reason::Yielded => (
                "Two runs had created a Job for the node, and this one was the younger. It stands on the Job, never in a report.",
                "Nothing: the other Job does the work, or another one after it.",
            ),
            Reason::Suspended => (
                "A queue held the Job (`spec.suspend`) until the run's deadline.",
                "Give the queue more quota, raise `run_deadline`, or exclude the Jobs' namespace from it.",
            ),
            Reason::NamespaceMissing => (
                "The group's namespace does not exist.",
                "Create it, with the rights that docs/deploying.md lists, or correct `namespace`.",
            ),
            Reason::Forbidden => (
                "The API server refused the request: no permission, or an admission webhook or policy.",
                "Read the message; `check --cluster` names permissions that are missing.",
            ),
            Reason::ApiError => (
                "The API server refused the Job as invalid or answered with an error, or no Job could be rendered for the node.",
                "Read the message; `check --nodes` and `check --cluster` find most causes beforehand.",
            ),
        };
        Explained { meaning, next }
    }
}

/// The reference of all reasons, Markdown.
pub fn reference() -> String {
    let mut text = String::from(
        "# Reasons\n\nMade from `src/outcome/reason/explained.rs`. Why a node or an image failed, in reports, in the annotation \
         `quayctl-controller/outcome`, and as the reason of an event on the Job (in CamelCase: `ImageNotFound`). Beside the \
         code stand the registry's, the kubelet's or the API server's own words.\n\n\
         A *permanent* reason ends a node early, once it is confirmed and no image is left to wait for: trying again does not \
         help. With every other reason the kubelet tries again until the node's `deadline`, and the next run may succeed.\n\n\
         | reason | permanent | meaning | what to do |\n|---|---|---|---|\n",
    );
    for reason in Reason::ALL {
        let Explained { meaning, next } = reason.explained();
        let permanent = if reason.is_permanent() { "yes" } else { "" };
        text.push_str(&format!("| `{reason}` | {permanent} | {meaning} | {next} |\n"));
    }
    text
}
