//! Sends requests over connections that are kept, and makes new ones where those say the wrong thing about us.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use kube::client::Body;
use tower::{BoxError, Service};

use super::dial::Dial;
use super::tls::Identity;
use crate::cluster::WATCH_SECONDS;

/// A TCP connect over a bad link takes one or two retransmissions (1 s, 3 s); past that it is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A body we send is at most a Job of a few KiB.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// A watch in which nothing happens is quiet until its own end. The runtime's watcher waits for its lists and
/// for the beginning of its watches without a limit: on a connection whose other end has vanished that would
/// be as long as TCP tries.
const READ_TIMEOUT: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 15);

/// The innermost service of a client.
pub struct Transport {
    dial: Dial,
    identity: Identity,
    /// What every request carries.
    headers: Arc<[(HeaderName, HeaderValue)]>,
    client: Client<TimeoutConnector<Dial>, Body>,
    /// Of the identity, when the client was made.
    generation: u64,
    /// Our certificate was refused, and may be a newer one on a new connection.
    is_refused: Arc<AtomicBool>,
}

impl Transport {
    pub fn new(dial: Dial, identity: Identity, headers: Vec<(HeaderName, HeaderValue)>) -> Transport {
        let (client, generation) = (client(&dial), identity.generation());
        Transport {
            dial,
            identity,
            headers: headers.into(),
            client,
            generation,
            is_refused: Default::default(),
        }
    }

    /// A connection is that of who we were when it was made.
    fn renew(&mut self) {
        let generation = self.identity.generation();
        let is_refused = self.is_refused.swap(false, Ordering::Relaxed);
        if generation != self.generation || is_refused {
            self.client = client(&self.dial);
            self.generation = generation;
        }
    }
}

fn client(dial: &Dial) -> Client<TimeoutConnector<Dial>, Body> {
    let mut connector = TimeoutConnector::new(dial.clone());
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_read_timeout(Some(READ_TIMEOUT));
    connector.set_write_timeout(Some(WRITE_TIMEOUT));
    connector.set_reset_reader_on_write(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Incoming>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        self.renew();
        for (name, value) in self.headers.iter() {
            request.headers_mut().append(name, value.clone());
        }
        let answer = self.client.request(request);
        let refused = self.identity.is_anybody().then(|| self.is_refused.clone());
        Box::pin(async move {
            let answer = answer.await?;
            if let (StatusCode::UNAUTHORIZED, Some(refused)) = (answer.status(), refused) {
                refused.store(true, Ordering::Relaxed);
            }
            Ok(answer)
        })
    }
}
