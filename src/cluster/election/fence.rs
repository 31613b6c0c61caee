//! The client that `kube-lease-manager` gets: it bounds each call, makes each change depend on what was
//! last seen, and notes from the answers until when the Lease is ours.
//!
//! It never frees a Lease: a request to do so is answered here, as one that came too late.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tower::Service;

use super::{CALL_LIMIT, GOOD_FOR};
use crate::cluster::wire::Tolerant;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// `client` for one candidacy.
pub fn client(client: &Client, identity: &str, held: watch::Sender<Option<Instant>>) -> Client {
    let known = Known { identity: identity.to_owned(), version: Mutex::default(), held };
    Client::new(Fence { client: client.clone(), known: Arc::new(known) }, client.default_namespace())
}

#[derive(Clone)]
struct Fence {
    client: Client,
    known: Arc<Known>,
}

/// What the answers so far have told.
struct Known {
    identity: String,
    /// The Lease's resource version.
    version: Mutex<Option<String>>,
    held: watch::Sender<Option<Instant>>,
}

impl Service<Request<Body>> for Fence {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // `Client::send` waits for its own turn.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Fence { client, known } = self.clone();
        Box::pin(async move {
            match timeout(CALL_LIMIT, send(&client, &known, request)).await {
                Ok(answer) => answer,
                Err(_) => Err(format!("no answer within {} s", CALL_LIMIT.as_secs()).into()),
            }
        })
    }
}

async fn send(client: &Client, known: &Known, request: Request<Body>) -> Result<Response<Body>, BoxError> {
    let (parts, body) = request.into_parts();
    let changes = parts.method == Method::PATCH;
    let mut body = body.collect().await?.to_bytes().to_vec();
    let mut renews = false;
    if changes {
        let mut patch: Value = serde_json::from_slice(&body)?;
        if patch.pointer("/spec/holderIdentity") == Some(&Value::Null) {
            return conflict();
        }
        renews = patch["spec"]["renewTime"].is_string();
        patch["metadata"]["resourceVersion"] = json!(*known.version());
        body = serde_json::to_vec(&patch)?;
    }
    // Before it is sent: whenever it is carried out, it is not earlier than this.
    let begun = Instant::now();
    let response = client.send(Request::from_parts(parts, body.into())).await?;
    let (mut parts, body) = response.into_parts();
    let mut body = body.collect().await?.to_bytes().to_vec();
    if parts.status.is_success() {
        let Tolerant::<Lease> { object, faults } = serde_json::from_slice(&body)?;
        known.learn(&object, renews.then_some(begun));
        if !faults.is_empty() {
            // The lease manager would give up on what it cannot read.
            body = serde_json::to_vec(&object)?;
            parts.headers.remove(http::header::CONTENT_LENGTH);
        }
    } else if changes && matches!(parts.status, StatusCode::CONFLICT | StatusCode::NOT_FOUND) {
        // Whatever we knew of it is not so any longer.
        known.lose();
    }
    Ok(Response::from_parts(parts, body.into()))
}

impl Known {
    fn learn(&self, lease: &Lease, renewed: Option<Instant>) {
        self.version().clone_from(&lease.metadata.resource_version);
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref());
        if holder != Some(&self.identity) {
            self.lose();
        } else if let Some(begun) = renewed {
            self.held.send_replace(Some(begun + GOOD_FOR));
        }
    }

    fn lose(&self) {
        self.held.send_if_modified(|held| held.take().is_some());
    }

    fn version(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As the API server says it: the lease manager looks again and goes on.
fn conflict() -> Result<Response<Body>, BoxError> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 409,
        "reason": "Conflict", "message": "only a free lease is taken",
    });
    Ok(Response::builder().status(StatusCode::CONFLICT).body(serde_json::to_vec(&status)?.into())?)
}
