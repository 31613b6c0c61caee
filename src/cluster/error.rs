//! What a failed call says about the cluster.

use std::borrow::Cow;
use std::io;

use super::connect::credentials::CredentialError;
use super::connect::tls;
pub use crate::cluster_error::ClusterError;
use crate::cluster_error::place;
use crate::outside_text::one_line_within;
use kube::core::Status;

/// What of somebody else's words fits into an error. An admission webhook may say a lot, and the end of it
/// is the cause.
pub const CAUSE_BYTES_MAX: usize = 4096;

/// Which permission a call needs, so that a refusal can name it.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    pub verb: &'static str,
    pub resource: &'static str,
    pub namespace: Option<&'a str>,
}

/// What a failed call says about the whole cluster.
pub fn call_error(server: &str, access: Access<'_>, error: &kube::Error) -> ClusterError {
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
        None if is_credential(error) => ClusterError::NoLogin { server, cause },
        None if is_timeout(error) => {
            let place = place(&namespace.map(str::to_owned));
            let cause = format!("{cause} to a request to {verb} {resource} {place}");
            ClusterError::Unreachable { server, cause }
        }
        None => ClusterError::Unreachable { server, cause },
    }
}

/// The API server's own answer, where there was one.
pub fn api_status(error: &kube::Error) -> Option<&Status> {
    match error {
        kube::Error::Api(status) => Some(status),
        _ => None,
    }
}

/// What is looked at of an answer that is no Status.
const BODY_BYTES_MAX: usize = 64 << 10;

/// An answer that is no success, as an error.
pub fn refusal(code: http::StatusCode, body: &[u8]) -> kube::Error {
    // A proxy in between answers in its own words.
    let status = serde_json::from_slice::<Status>(body).unwrap_or_else(|_| {
        // Longer ones are web pages; what of it is shown is cut once more.
        let text = String::from_utf8_lossy(&body[..body.len().min(BODY_BYTES_MAX)]);
        Status::failure(text.trim(), code.canonical_reason().unwrap_or("error"))
    });
    kube::Error::Api(status.with_code(code.as_u16()).boxed())
}

/// One line that may be shown: the server's words, else the innermost cause. The outer layers of a client's
/// error only say that a request failed.
pub fn describe(error: &kube::Error) -> String {
    one_line_within(&words(error), CAUSE_BYTES_MAX).into_owned()
}

fn words(error: &kube::Error) -> Cow<'_, str> {
    if let Some(status) = api_status(error) {
        return match status.message.as_str() {
            "" => format!("{} (HTTP {})", status.reason, status.code).into(),
            message => message.into(),
        };
    }
    let mut innermost: &dyn std::error::Error = error;
    loop {
        if let Some(of_tls) = tls_error(innermost) {
            return tls::words(of_tls).into();
        }
        match innermost.source() {
            Some(source) => innermost = source,
            None => return innermost.to_string().into(),
        }
    }
}

/// Of TLS that was up: a server that refuses our certificate may say so after the handshake.
fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let io = error.downcast_ref::<std::io::Error>();
    // The source of such an error is that of the error within.
    io.and_then(|io| io.get_ref()).and_then(|inner| inner.downcast_ref()).or_else(|| error.downcast_ref())
}

/// Whether the request was sent, or tried to be, and nobody answered.
pub fn is_unanswered(error: &kube::Error) -> bool {
    api_status(error).is_none() && !is_credential(error)
}

/// Whether the request was not even sent, as there is nothing to log in with.
fn is_credential(error: &kube::Error) -> bool {
    let kube::Error::Service(source) = error else { return false };
    source.is::<CredentialError>()
}

/// Whether a time of ours has passed: see [`super::retry::no_answer`].
fn is_timeout(error: &kube::Error) -> bool {
    let kube::Error::Service(source) = error else { return false };
    source.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}
