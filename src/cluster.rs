//! Everything that talks to the API server, and the only module that names `kube::Client`.
//!
//! It lists nodes, creates Jobs, watches them and their pods, and ends the ones that cannot
//! succeed. What the answers mean is `outcome`'s to say, what is created `plan`'s and `render`'s.
//! It never reads a Secret's data, never deletes unless told to clean up, and never changes an object without
//! both of our labels, but for the Lease of an election and, where a group asks for it, one label and
//! one taint of a node.
#![expect(clippy::disallowed_types, reason = "this is the module")]

use std::time::Duration;

use kube::Client;

pub use access_review::Permission;
pub use apply::Mode;
pub use connect::{ConnectOptions, default_namespace};
pub use error::ClusterError;
pub use events::{ControllerEvent, EventRecorder, OwnPod};
pub use image_rewrites::ImageRewrite;
pub use lease::Leadership;
pub use node_watch::NodeWatch;
pub use request_metrics::{RequestKind, RequestMetrics};
pub use watch::{Wanted, Watches};

mod access_review;
mod apply;
mod completed;
mod connect;
mod error;
mod error_answers;
mod events;
mod image_rewrites;
mod job_events;
mod lease;
mod node_patch;
mod node_watch;
mod nodes;
mod refusal;
mod request_metrics;
mod retry;
mod set_aside;
mod watch;
mod wire;

/// No single answer takes longer than this unless the API server or the way to it is stuck: its own
/// limit for requests that are not watches is 60 s (`--request-timeout`).
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A half-open connection is noticed after this and 5 s (kube's own margin), well within the
/// shortest useful deadline; 290 s, kube's default, is as long as our default deadline.
const WATCH_SECONDS: u32 = 60;

/// One cluster, reached and answering.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a client has none, and could print a token")]
pub struct Cluster {
    client: Client,
    /// The namespace of the kubeconfig's context or of the pod that we run in.
    pub default_namespace: String,
    /// Where it is, for messages.
    pub server: String,
    /// `v1.37.2`.
    pub version: String,
    traffic: RequestMetrics,
    job_events: job_events::JobEvents,
}

impl Cluster {
    /// Of a test, which answers requests itself.
    #[cfg(test)]
    pub fn scripted(client: Client) -> Cluster {
        Cluster {
            client,
            default_namespace: "ns".into(),
            server: "https://test".into(),
            version: "v1.37.2".into(),
            traffic: RequestMetrics::default(),
            job_events: Default::default(),
        }
    }

    /// What has gone over the wire so far; the clone goes on counting.
    pub fn request_metrics(&self) -> RequestMetrics {
        self.traffic.clone()
    }

    /// Whether the API server answers anything. One that refuses is there.
    pub async fn answers(&self) -> bool {
        matches!(self.client.apiserver_version().await, Ok(_) | Err(kube::Error::Api(_)))
    }

    /// How often the API server has asked us to slow down.
    pub fn throttled(&self) -> u64 {
        self.traffic.throttled()
    }
}
