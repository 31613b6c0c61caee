//! Connections of whom we know nothing, within bounds: how many, for how long, how much they may say.
//!
//! A connection carries one short request, so it needs neither long nor many bytes. Where too many are
//! open, the oldest makes room: a client that is slow on purpose then only keeps itself waiting.

use std::collections::VecDeque;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Prometheus and a few probes; each of them has one open at a time.
pub(super) const CONNECTIONS_MAX: usize = 64;
/// Prometheus' own limit for a scrape.
const LIFETIME: Duration = Duration::from_secs(10);
/// A request line and headers; a scraper's are some 500.
const REQUEST_BYTES_MAX: usize = 16 << 10;
/// For answers that are under way when the process is told to end.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// Answers by `router` until `stop`, and at most [`SHUTDOWN_GRACE`] longer; then nothing is open any more.
pub(super) async fn serve(mut listener: TcpListener, router: Router, stop: CancellationToken) {
    let service = TowerToHyperService::new(router);
    let mut http = http1::Builder::new();
    http.max_buf_size(REQUEST_BYTES_MAX);
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            // axum's own: it waits where the process is out of file descriptors.
            accepted = Listener::accept(&mut listener) => accepted,
            () = stop.cancelled() => break,
        };
        while connections.try_join_next().is_some() {}
        oldest_first.retain(|connection| !connection.is_finished());
        if oldest_first.len() >= CONNECTIONS_MAX {
            oldest_first.pop_front().inspect(AbortHandle::abort);
        }
        let connection = http.serve_connection(TokioIo::new(accepted.0), service.clone());
        oldest_first.push_back(connections.spawn(timeout(LIFETIME, connection)));
    }
    drop(listener);
    // What does not end by then is ended with the set.
    let _ = timeout(SHUTDOWN_GRACE, async { while connections.join_next().await.is_some() {} }).await;
    connections.shutdown().await;
}
