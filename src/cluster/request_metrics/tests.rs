use std::convert::Infallible;

use super::*;
use kube::runtime::watcher;

#[test]
fn a_request_is_told_by_its_verb_and_resource() {
    for (method, path, verb, resource) in [
        ("GET", "/version", "get", "version"),
        ("GET", "/readyz", "get", "other"),
        ("GET", "/api/v1/nodes?limit=500", "list", "nodes"),
        ("GET", "/api/v1/nodes/node-1", "get", "nodes"),
        ("PATCH", "/api/v1/nodes/node-1?", "patch", "nodes"),
        ("GET", "/api/v1/namespaces/pulls", "get", "namespaces"),
        ("GET", "/api/v1/namespaces", "list", "namespaces"),
        ("GET", "/api/v1/namespaces/pulls/pods?watch=true&timeoutSeconds=60", "watch", "pods"),
        ("GET", "/api/v1/nodes?watch=true", "watch", "nodes"),
        ("GET", "/api/v1/namespaces/pulls/pods/watch=true", "get", "pods"),
        ("GET", "/api/v1/namespaces/pulls/events?fieldSelector=a", "list", "events"),
        ("POST", "/apis/batch/v1/namespaces/pulls/jobs?fieldValidation=Strict", "create", "jobs"),
        ("PATCH", "/apis/batch/v1/namespaces/pulls/jobs/j/status", "patch", "jobs"),
        ("DELETE", "/apis/batch/v1/namespaces/pulls/jobs/j", "delete", "jobs"),
        ("DELETE", "/apis/batch/v1/namespaces/pulls/jobs", "deletecollection", "jobs"),
        ("PUT", "/apis/coordination.k8s.io/v1/namespaces/pulls/leases/l", "update", "leases"),
        ("POST", "/apis/events.k8s.io/v1/namespaces/pulls/events", "create", "events"),
        ("POST", "/apis/example.com/v1/namespaces/pulls/gadgets", "create", "other"),
        ("GET", "/apis", "get", "other"),
        ("BREW", "/api/v1/nodes/n", "other", "nodes"),
    ] {
        let found = classify(&method.parse().unwrap(), &path.parse().unwrap());
        assert_eq!(found, (verb, resource), "{method} {path}");
    }
}

/// Answers with the code that the path ends in, with nothing where that is `error`, and never where
/// it is `never`.
#[derive(Clone)]
struct Echo;

impl Service<Request<Body>> for Echo {
    type Response = Response<()>;
    type Error = &'static str;
    type Future = BoxFuture<'static, Result<Response<()>, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let name = request.uri().path().rsplit('/').next().unwrap().to_owned();
        Box::pin(async move {
            match name.as_str() {
                "error" => Err("refused"),
                "never" => std::future::pending::<Result<_, Infallible>>().await.map_err(|_| ""),
                code => Ok(Response::builder().status(code).body(()).unwrap()),
            }
        })
    }
}

#[tokio::test]
async fn every_request_is_counted_by_its_answer() {
    let traffic = RequestMetrics::default();
    let mut service = traffic.layer(Echo);
    let mut get = |name: &str| {
        let uri = format!("/api/v1/nodes/{name}");
        service.call(Request::get(uri).body(Body::empty()).unwrap())
    };
    for name in ["200", "429", "429", "503", "200"] {
        get(name).await.unwrap();
    }
    get("error").await.unwrap_err();
    // A caller that has lost its patience.
    drop(get("never"));
    let kind = |code| RequestKind { verb: "get", resource: "nodes", code };
    let expected = [(kind(None), 2), (kind(Some(200)), 2), (kind(Some(429)), 2), (kind(Some(503)), 1)];
    assert_eq!(traffic.requests(), expected);
    assert_eq!((traffic.throttled(), traffic.retries()), (2, 0));
}

#[tokio::test]
async fn a_watch_that_lists_again_is_a_restart() {
    let traffic = RequestMetrics::default();
    let begun = || Ok(Event::<()>::Init);
    let broken = || Err(watcher::Error::NoResourceVersion);
    let first = vec![begun(), broken(), begun(), Ok(Event::InitApply(())), Ok(Event::InitDone)];
    let events = traffic.count_restarts(futures::stream::iter(first));
    assert_eq!(events.count().await, 5);
    assert_eq!(traffic.watch_restarts(), 0, "its first list may take several tries");

    let lost = vec![begun(), Ok(Event::InitDone), broken(), begun(), broken(), begun(), Ok(Event::InitDone)];
    assert_eq!(traffic.count_restarts(futures::stream::iter(lost)).count().await, 7);
    assert_eq!(traffic.watch_restarts(), 1);
}
