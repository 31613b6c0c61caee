//! `/healthz`, `/readyz` and `/metrics` over HTTP.
//!
//! Whoever can reach the port can ask, so nothing that is said here is secret, and nobody can keep it
//! from answering others: see `connections`. It reads [`Metrics`] and [`Health`] and changes nothing.

use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Metrics, connections, metrics};

/// What the probes are told; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<Condition>>);

#[derive(Debug, Default)]
struct Condition {
    ready: bool,
    stale: Option<Timestamp>,
    standby: bool,
}

impl Health {
    /// Whether the cluster answers and the first lists are there.
    pub fn set_ready(&self, ready: bool) {
        self.lock().ready = ready;
    }

    /// The files say what cannot be taken over. It does not make the process unready: it goes on with the
    /// last valid config, and a restart would leave it with none.
    pub fn mark_stale(&self, now: Timestamp) {
        self.lock().stale.get_or_insert(now);
    }

    /// The config in force is what the files say.
    pub fn mark_current(&self) {
        self.lock().stale = None;
    }

    /// Whether another process is the leader.
    pub fn set_standby(&self, standby: bool) {
        self.lock().standby = standby;
    }

    fn words(&self) -> (StatusCode, String) {
        let Condition { ready, stale, standby } = *self.lock();
        if !ready {
            return (StatusCode::SERVICE_UNAVAILABLE, "starting".to_owned());
        }
        let mut words = String::new();
        // A string takes whatever is written to it.
        let _ = match stale {
            Some(since) => write!(words, "stale config since {since:.0}"),
            None => write!(words, "ok"),
        };
        if standby {
            words.push_str(", standby");
        }
        (StatusCode::OK, words)
    }

    fn lock(&self) -> MutexGuard<'_, Condition> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers until `stop`, and at most a second longer.
pub async fn serve_endpoints(
    listener: TcpListener,
    metrics: Metrics,
    health: Health,
    stop: CancellationToken,
) {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(|State((_, health)): State<(Metrics, Health)>| async move { health.words() }))
        .route("/metrics", get(|State((metrics, _)): State<(Metrics, Health)>| async move { page(&metrics) }))
        .layer(map_response(one_request_a_connection))
        .with_state((metrics, health));
    connections::serve(listener, router, stop).await;
}

fn page(metrics: &Metrics) -> Response {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics.encode()).into_response()
}

/// Probes and scrapes are seconds apart: what is open between them only takes a place from others.
async fn one_request_a_connection(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests;
