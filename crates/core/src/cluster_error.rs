//! Why a cluster cannot be worked with at all. What befalls single Jobs is an outcome instead.

use thiserror::Error;

use crate::outcome::{Failure, Reason};

/// Each of these ends a run with exit code 3.
#[derive(Clone, Debug, Error)]
pub enum ClusterError {
    #[error("{0}")]
    Kubeconfig(String),
    #[error("cannot reach the API server at {server}: {cause}; check the address, the network and --context")]
    Unreachable { server: String, cause: String },
    #[error("the API server at {server} refuses our credentials: {cause}; log in again or check --context")]
    Unauthorized { server: String, cause: String },
    #[error("cannot log in to {server}: {cause}")]
    NoLogin { server: String, cause: String },
    #[error("not allowed to {verb} {resource} {place}: {cause}; grant it to the user or service account, see README.md, Permissions", place = place(namespace))]
    Forbidden {
        verb: &'static str,
        resource: &'static str,
        /// `None` for a resource of the whole cluster.
        namespace: Option<String>,
        cause: String,
    },
    #[error("namespace {0:?} does not exist; create it, or name another with -n or the key `namespace`")]
    NamespaceMissing(String),
    #[error("the API server at {server} answered {what} with an error: {cause}")]
    Api { server: String, what: String, cause: String },
}

impl ClusterError {
    /// What a node is failed with whose group meets this.
    pub fn failure(&self) -> Failure {
        let reason = match self {
            ClusterError::Forbidden { .. }
            | ClusterError::Unauthorized { .. }
            | ClusterError::NoLogin { .. } => Reason::Forbidden,
            ClusterError::NamespaceMissing(_) => Reason::NamespaceMissing,
            ClusterError::Kubeconfig(_) | ClusterError::Unreachable { .. } | ClusterError::Api { .. } => {
                Reason::ApiError
            }
        };
        Failure::new(reason, self.to_string())
    }

    /// The one namespace that this is about; `None` where it is about the whole cluster.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            ClusterError::Forbidden { namespace, .. } => namespace.as_deref(),
            ClusterError::NamespaceMissing(namespace) => Some(namespace),
            ClusterError::Kubeconfig(_)
            | ClusterError::Unauthorized { .. }
            | ClusterError::NoLogin { .. }
            | ClusterError::Unreachable { .. }
            | ClusterError::Api { .. } => None,
        }
    }
}

/// Where something is asked for, for people.
pub fn place(namespace: &Option<String>) -> String {
    match namespace {
        Some(namespace) => format!("in namespace {namespace:?}"),
        None => "in the whole cluster".to_owned(),
    }
}
