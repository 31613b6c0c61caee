//! Counts what goes to the API server and what comes back, for `/metrics` and the report.
//!
//! [`RequestMetrics`] is a layer around the client's service, so that nothing is sent past it: the list, the
//! creates, every watch, events and leases. It sees method, path and status, never a header or a body,
//! and changes nothing. What it keeps is bounded: verbs, resources and codes come from short lists, and
//! no name of an object is kept.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::{Stream, StreamExt};
use http::{Method, Request, Response, StatusCode, Uri};
use kube::client::Body;
use kube::runtime::watcher::Event;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use tower::{Layer, Service};

/// The resources that we have to do with. Others are counted together: the label's values are these.
const RESOURCES: [&str; 9] = [
    "configmaps",
    "events",
    "jobs",
    "leases",
    "namespaces",
    "nodes",
    "pods",
    "selfsubjectaccessreviews",
    "version",
];
const OTHER: &str = "other";

/// The counts of one process; clones share them.
#[derive(Clone, Debug, Default)]
pub struct RequestMetrics(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    requests: Mutex<BTreeMap<RequestKind, u64>>,
    retries: AtomicU64,
    throttled: AtomicU64,
    watch_restarts: AtomicU64,
    /// The last answer that made us try again, and when one was told.
    answer: Mutex<Option<(String, Instant)>>,
    told: Mutex<Option<Instant>>,
}

/// How often answers are told that make us try again: one outage meets every call that is under way.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What requests are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestKind {
    /// As in RBAC: `get`, `list`, `watch`, `create`, …
    pub verb: &'static str,
    /// `jobs`, `pods`, …, or `other`.
    pub resource: &'static str,
    /// `None` where there was no answer: refused, reset, or not waited for any longer.
    pub code: Option<u16>,
}

impl RequestMetrics {
    /// Every kind of request that there has been, and how many.
    pub fn requests(&self) -> Vec<(RequestKind, u64)> {
        let requests = self.0.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.iter().map(|(kind, count)| (*kind, *count)).collect()
    }

    /// Calls that were repeated because the failure was one that passes.
    pub fn retries(&self) -> u64 {
        self.0.retries.load(Ordering::Relaxed)
    }

    /// How often the API server has asked us to slow down (429).
    pub fn throttled(&self) -> u64 {
        self.0.throttled.load(Ordering::Relaxed)
    }

    /// Watches that had to list anew, beyond each one's first list.
    pub fn watch_restarts(&self) -> u64 {
        self.0.watch_restarts.load(Ordering::Relaxed)
    }

    /// Keeps an answer that makes us try again, and tells it now and then.
    pub(super) fn try_again_after(&self, answer: String, now: Instant) {
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| now.saturating_duration_since(told) >= TELL_EVERY) {
            tracing::info!("the API server answers {answer}; trying again");
            *told = Some(now);
        }
        *self.0.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some((answer, now));
    }

    /// What the API server last answered that made us try again, where that is no longer ago than `age_max`.
    pub fn last_answer(&self, now: Instant, age_max: Duration) -> Option<String> {
        let answer = self.0.answer.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: Instant| now.saturating_duration_since(at) <= age_max;
        answer.as_ref().filter(|(_, at)| is_recent(*at)).map(|(answer, _)| answer.clone())
    }

    pub(super) fn retried(&self) {
        self.0.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Passes a watcher's events on, and counts its lists after the first complete one.
    pub(super) fn count_restarts<K, E, S>(
        &self,
        events: S,
    ) -> impl Stream<Item = Result<Event<K>, E>> + Send + use<K, E, S>
    where
        S: Stream<Item = Result<Event<K>, E>> + Send,
    {
        let (counts, mut listed) = (self.0.clone(), false);
        events.inspect(move |event| match event {
            Ok(Event::InitDone) => listed = true,
            // Once for each loss of the watch, however often the new list is begun.
            Ok(Event::Init) if std::mem::take(&mut listed) => {
                counts.watch_restarts.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        })
    }

    fn count(&self, kind: RequestKind) {
        if kind.code == Some(StatusCode::TOO_MANY_REQUESTS.as_u16()) {
            self.0.throttled.fetch_add(1, Ordering::Relaxed);
        }
        let mut requests = self.0.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry(kind).or_default() += 1;
    }
}

/// What is read at each scrape.
impl Collector for RequestMetrics {
    fn encode(&self, mut page: DescriptorEncoder<'_>) -> fmt::Result {
        let counter = MetricType::Counter;
        let help = "Requests to the API server, by verb, resource and status code, or none for no answer";
        let mut requests = page.encode_descriptor("quayctl_api_requests", help, None, counter)?;
        for (RequestKind { verb, resource, code }, count) in self.requests() {
            let code = code.map_or("none".to_owned(), |code| code.to_string());
            let labels = [("verb", verb), ("resource", resource), ("code", code.as_str())];
            ConstCounter::new(count).encode(requests.encode_family(&labels)?)?;
        }
        let mut write = |name, count, help| {
            ConstCounter::new(count).encode(page.encode_descriptor(name, help, None, counter)?)
        };
        let help = "Calls that were repeated because the failure was one that passes";
        write("quayctl_api_retries", self.retries(), help)?;
        let help = "Answers by which the API server asked to slow down";
        write("quayctl_api_throttled", self.throttled(), help)?;
        write("quayctl_watch_restarts", self.watch_restarts(), "Watches that had to list anew")
    }
}

impl<S> Layer<S> for RequestMetrics {
    type Service = MetricsService<S>;

    fn layer(&self, inner: S) -> MetricsService<S> {
        MetricsService { inner, traffic: self.clone() }
    }
}

/// A service whose requests are counted.
#[derive(Clone, Debug)]
pub struct MetricsService<S> {
    inner: S,
    traffic: RequestMetrics,
}

impl<S, B> Service<Request<Body>> for MetricsService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (verb, resource) = classify(request.method(), request.uri());
        let kind = RequestKind { verb, resource, code: None };
        let mut pending = InFlightGuard { traffic: self.traffic.clone(), kind };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            pending.answered(answer.as_ref().ok().map(Response::status));
            answer
        })
    }
}

/// A request under way. MetricsService when it goes, which is also how a caller's timeout ends one.
struct InFlightGuard {
    traffic: RequestMetrics,
    kind: RequestKind,
}

impl InFlightGuard {
    fn answered(&mut self, status: Option<StatusCode>) {
        self.kind.code = status.map(|status| status.as_u16());
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.traffic.count(self.kind);
    }
}

/// Verb and resource, from `/api/v1/…` and `/apis/GROUP/VERSION/…`.
fn classify(method: &Method, uri: &Uri) -> (&'static str, &'static str) {
    let mut path = uri.path().split('/').filter(|part| !part.is_empty());
    let (resource, named) = match path.next() {
        Some("api") => resource(path.skip(1).collect()),
        Some("apis") => resource(path.skip(2).collect()),
        first => (first, true),
    };
    let known = |resource| RESOURCES.iter().find(|known| Some(**known) == resource).copied();
    let watches = uri.query().is_some_and(|query| query.split('&').any(|part| part == "watch=true"));
    let verb = match *method {
        Method::GET if watches => "watch",
        Method::GET if named => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if named => "delete",
        Method::DELETE => "deletecollection",
        _ => OTHER,
    };
    (verb, known(resource).unwrap_or(OTHER))
}

/// The resource of a path below group and version, and whether one object of it is named.
fn resource(path: Vec<&str>) -> (Option<&str>, bool) {
    match path.as_slice() {
        ["namespaces", _, resource, rest @ ..] => (Some(resource), !rest.is_empty()),
        [resource, rest @ ..] => (Some(resource), !rest.is_empty()),
        [] => (None, true),
    }
}

#[cfg(test)]
mod tests;
