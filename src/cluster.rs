//! Everything that talks to the API server, and the only room that names `kube::Client`.
//!
//! It lists nodes, creates Jobs, watches them and their pods, and ends the ones that cannot
//! succeed. What the answers mean is `outcome`'s to say, what is created `plan`'s and `render`'s.
//! It never reads a Secret's data, never deletes unless told to clean up, and never changes an object without
//! both of our labels.
#![expect(clippy::disallowed_types, reason = "this is the room")]

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use kube::Client;

pub use apply::{ApplyError, Mode};
pub use ask::Permission;
pub use connect::{ConnectOptions, default_namespace};
pub use error::ClusterError;
pub use wait::{JobResults, RunEnd, RunInputs, Step};
pub use watch::{JobKey, Watches};

mod apply;
mod ask;
mod connect;
mod error;
mod nodes;
mod retry;
mod wait;
mod watch;
mod wire;

/// No single answer takes longer than this unless the API server or the way to it is stuck: its own
/// limit for requests that are not watches is 60 s (`--request-timeout`).
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

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
    throttled: Arc<AtomicU64>,
}
