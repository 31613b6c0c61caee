//! Why a cluster cannot be worked with at all. What befalls single Jobs is an outcome instead.

use kube::core::Status;
use thiserror::Error;

/// Each of these ends a run with exit code 3.
#[derive(Clone, Debug, Error)]
pub enum ClusterError {
    #[error("{0}")]
    Kubeconfig(String),
    #[error("cannot reach the API server at {server}: {cause}; check the address, the network and --context")]
    Unreachable { server: String, cause: String },
    #[error("the API server at {server} refuses our credentials: {cause}; log in again or check --context")]
    Unauthorized { server: String, cause: String },
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

/// Which permission a call needs, so that a refusal can name it.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    pub verb: &'static str,
    pub resource: &'static str,
    pub namespace: Option<&'a str>,
}

impl ClusterError {
    /// What a failed call says about the whole cluster.
    pub fn from_kube(server: &str, access: Access<'_>, error: &kube::Error) -> ClusterError {
        let server = server.to_owned();
        let Access { verb, resource, namespace } = access;
        let cause = describe(error);
        match api_status(error) {
            Some(status) if status.is_forbidden() => {
                let namespace = namespace.map(str::to_owned);
                ClusterError::Forbidden { verb, resource, namespace, cause }
            }
            Some(status) if status.code == 401 => ClusterError::Unauthorized { server, cause },
            Some(_) => ClusterError::Api { server, what: format!("{verb} {resource}"), cause },
            None => ClusterError::Unreachable { server, cause },
        }
    }
}

/// The API server's own answer, where there was one.
pub fn api_status(error: &kube::Error) -> Option<&Status> {
    match error {
        kube::Error::Api(status) => Some(status),
        _ => None,
    }
}

/// An answer that is no success, as an error.
pub fn refusal(code: http::StatusCode, body: &[u8]) -> kube::Error {
    // A proxy in between answers in its own words.
    let status = serde_json::from_slice::<Status>(body).unwrap_or_else(|_| {
        let text: String = String::from_utf8_lossy(body).chars().take(300).collect();
        Status::failure(&text, code.canonical_reason().unwrap_or("error"))
    });
    kube::Error::Api(status.with_code(code.as_u16()).boxed())
}

/// One line: the server's words, else the innermost cause. The outer layers of a client's error
/// only say that a request failed.
pub fn describe(error: &kube::Error) -> String {
    if let Some(status) = api_status(error) {
        return match status.message.as_str() {
            "" => format!("{} (HTTP {})", status.reason, status.code),
            message => message.to_owned(),
        };
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn place(namespace: &Option<String>) -> String {
    match namespace {
        Some(namespace) => format!("in namespace {namespace:?}"),
        None => "in the whole cluster".to_owned(),
    }
}
