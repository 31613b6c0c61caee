//! Exact wire behaviour against a scripted API server on loopback: what a real one does too rarely,
//! or too destructively, to wait for.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::support::serving::Serving;
use crate::support::{Ended, ended, quayctl};

const JOBS: &str = "/apis/batch/v1/namespaces/pulls/jobs";

/// What the server answers to creates, in order; the last one is repeated.
pub type Script = Vec<fn(&Value) -> Response>;

pub struct Server {
    script: Script,
    nodes: Value,
    pub requests: Mutex<Vec<String>>,
    /// Events that we have created, by the API group of today.
    pub events_created: Mutex<Vec<Value>>,
    bodies: Mutex<Vec<Value>>,
    jobs: Mutex<HashMap<String, Value>>,
    /// Jobs that are over, oldest first, and how many of them are kept: what a TTL does.
    over: Mutex<VecDeque<String>>,
    kept: usize,
    /// Every event so far. A watch begins after the list it continues, wherever that leaves it: as
    /// with a real API server nothing that happened in between is lost.
    events: tokio::sync::watch::Sender<Vec<String>>,
}

/// Starts a server with `nodes` ready nodes, and gives it with a kubeconfig for it.
pub async fn start(
    nodes: usize,
    script: Script,
    kept: usize,
) -> (Arc<Server>, NamedTempFile, JoinHandle<()>) {
    let nodes: Vec<Value> = (0..nodes).map(|n| node(&format!("node-{n}"))).collect();
    let server = Arc::new(Server {
        script,
        nodes: json!({"kind": "NodeList", "metadata": {"resourceVersion": "1"}, "items": nodes}),
        requests: Mutex::default(),
        events_created: Mutex::default(),
        bodies: Mutex::default(),
        jobs: Mutex::default(),
        over: Mutex::default(),
        kept,
        events: tokio::sync::watch::Sender::default(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(answer).with_state(server.clone());
    let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

    let mut kubeconfig = NamedTempFile::new().unwrap();
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "u", "user": {"token": "s3cr3t-t0ken"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "pulls"}}],
    });
    write!(kubeconfig, "{text}").unwrap();
    (server, kubeconfig, serving)
}

/// Starts a server with `nodes` ready nodes, runs the binary against it, and returns both.
async fn run_against(nodes: usize, script: Script, more: &str) -> (Ended, Arc<Server>) {
    let (server, kubeconfig, serving) = start(nodes, script, usize::MAX).await;
    let mut config = NamedTempFile::with_suffix(".toml").unwrap();
    write!(config, "[[groups]]\nname = \"g\"\nimages = [\"quay.io/team/app:1.0\"]\n{more}\n").unwrap();

    let mut command = quayctl();
    command.args(["run", "-o", "json", "--run-id", "r", "--log", "trace", "--config"]).arg(config.path());
    command.arg("--kubeconfig").arg(kubeconfig.path());
    let run = tokio::task::spawn_blocking(move || ended(&mut command));
    let ended = run.await.unwrap();
    serving.abort();
    (ended, server)
}

async fn answer(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let query = parts.uri.query().unwrap_or("").to_owned();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    server.requests.lock().unwrap().push(format!("{} {path}?{query}", parts.method));
    if parts.method == "POST" && path == JOBS {
        server.bodies.lock().unwrap().push(body.clone());
        let turn = server.bodies.lock().unwrap().len() - 1;
        let response = server.script[turn.min(server.script.len() - 1)](&body);
        if response.headers().contains_key("x-stays-live") {
            return response;
        }
        if response.headers().contains_key("x-fails") {
            server.end(body, json!({"type": "Failed", "reason": "BackoffLimitExceeded", "message": "no"}));
            return response;
        }
        if response.status() == StatusCode::CREATED || response.headers().contains_key("x-kept-anyway") {
            server.complete(body);
        }
        return response;
    }
    match (parts.method.as_str(), path.as_str()) {
        ("GET", "/version") => axum::Json(json!({
            "major": "1", "minor": "37", "gitVersion": "v1.37.2", "gitCommit": "", "gitTreeState": "",
            "buildDate": "", "goVersion": "", "compiler": "", "platform": "",
        }))
        .into_response(),
        ("GET", "/api/v1/nodes") if !query.contains("watch=true") => {
            axum::Json(server.nodes.clone()).into_response()
        }
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews") => {
            let mut review = body;
            review["status"] = json!({"allowed": true});
            (StatusCode::CREATED, axum::Json(review)).into_response()
        }
        ("GET", _) if query.contains("watch=true") && path == JOBS => server.watch(),
        ("GET", _) if query.contains("watch=true") => quiet(),
        ("GET", path) if path.starts_with(&format!("{JOBS}/")) => {
            let name = path.rsplit('/').next().unwrap();
            match server.jobs.lock().unwrap().get(name) {
                Some(job) => axum::Json(job.clone()).into_response(),
                None => failure(404, "NotFound", "jobs.batch not found"),
            }
        }
        ("GET", _) => axum::Json(json!({"metadata": {"resourceVersion": "1"}, "items": []})).into_response(),
        ("POST", "/apis/events.k8s.io/v1/namespaces/pulls/events") => {
            server.events_created.lock().unwrap().push(body.clone());
            created(&body)
        }
        ("PATCH", _) => axum::Json(json!({"metadata": {"name": "x"}})).into_response(),
        _ => failure(404, "NotFound", "not scripted"),
    }
}

impl Server {
    /// Keeps the Job and lets it complete at once.
    fn complete(&self, job: Value) {
        self.end(job, json!({"type": "Complete"}));
    }

    fn end(&self, mut job: Value, mut condition: Value) {
        job["metadata"]["uid"] = job["metadata"]["name"].clone();
        job["metadata"]["resourceVersion"] = "2".into();
        condition["status"] = "True".into();
        job["status"] = json!({"conditions": [condition]});
        let name = job["metadata"]["name"].as_str().unwrap().to_owned();
        let mut news = vec![json!({"type": "MODIFIED", "object": job}).to_string()];
        let mut jobs = self.jobs.lock().unwrap();
        let mut over = self.over.lock().unwrap();
        jobs.insert(name.clone(), job);
        over.push_back(name);
        if over.len() > self.kept {
            let job = over.pop_front().and_then(|oldest| jobs.remove(&oldest));
            news.extend(job.map(|job| json!({"type": "DELETED", "object": job}).to_string()));
        }
        self.events.send_modify(|events| events.extend(news));
    }

    /// An open watch from the empty list on.
    fn watch(&self) -> Response {
        let events = futures::stream::unfold((self.events.subscribe(), 0), |(mut events, told)| async move {
            let new = events.wait_for(|events| events.len() > told).await.ok()?[told..].join("\n") + "\n";
            let told = told + new.lines().count();
            Some((Ok::<_, std::io::Error>(new), (events, told)))
        });
        Body::from_stream(events).into_response()
    }

    pub fn posts(&self) -> usize {
        self.bodies.lock().unwrap().len()
    }
}

/// An open watch in which nothing happens.
fn quiet() -> Response {
    Body::from_stream(futures::stream::pending::<Result<String, std::io::Error>>()).into_response()
}

fn node(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "uid": format!("uid-{name}"), "labels": {"name": name}},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {
                "operatingSystem": "linux", "architecture": "amd64", "kubeletVersion": "v1.37.2",
                "containerRuntimeVersion": "containerd://2.4.2",
            },
        },
    })
}

pub fn created(job: &Value) -> Response {
    (StatusCode::CREATED, axum::Json(job.clone())).into_response()
}

/// The Job is there and goes on.
pub fn live(job: &Value) -> Response {
    let mut response = created(job);
    response.headers_mut().insert("x-stays-live", "yes".parse().unwrap());
    response
}

/// The Job is there and fails at once.
pub fn failed(job: &Value) -> Response {
    let mut response = created(job);
    response.headers_mut().insert("x-fails", "yes".parse().unwrap());
    response
}

pub fn failure(code: u16, reason: &str, message: &str) -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": message, "metadata": {},
    });
    (StatusCode::from_u16(code).unwrap(), axum::Json(status)).into_response()
}

fn first_node(ended: &Ended) -> Value {
    ended.json()["groups"][0]["nodes"][0].clone()
}

#[tokio::test]
async fn a_run_costs_one_post_a_node_and_ten_requests_beside() {
    let (ended, server) = run_against(40, vec![created], "").await;
    ended.expect_code(0);
    let requests = server.requests.lock().unwrap();
    assert_eq!(server.posts(), 40);
    assert_eq!(requests.len(), 40 + 10, "{requests:#?}");
    let first_post = requests.iter().position(|r| r.starts_with("POST")).unwrap();
    let (watches, lists): (Vec<&String>, Vec<&String>) =
        requests.iter().filter(|r| r.contains("Selector=")).partition(|r| r.contains("watch=true"));
    let listed = |list: &&String| requests.iter().take(first_post).any(|request| request == *list);
    assert!(lists.len() == 4 && lists.iter().all(listed), "lists before the first create: {requests:#?}");
    let resumes =
        |watch: &&String| watch.contains("resourceVersion=1&") || watch.ends_with("resourceVersion=1");
    assert!(watches.len() == 4 && watches.iter().all(resumes), "watches go on from there: {requests:#?}");
    let post = &requests[first_post];
    assert!(
        post.contains("fieldManager=quayctl-controller") && post.contains("fieldValidation=Strict"),
        "{post}"
    );
}

#[tokio::test]
async fn a_create_that_failed_after_it_was_committed_is_adopted() {
    fn committed_but_failed(_: &Value) -> Response {
        let mut response = failure(500, "InternalError", "etcdserver: request timed out");
        response.headers_mut().insert("x-kept-anyway", "yes".parse().unwrap());
        response
    }
    fn taken(_: &Value) -> Response {
        failure(409, "AlreadyExists", "jobs.batch already exists")
    }
    let (ended, server) = run_against(1, vec![committed_but_failed, taken], "").await;
    assert_eq!(first_node(&ended.expect_code(0))["verdict"], "succeeded");
    assert_eq!(server.posts(), 2);
    let requests = server.requests.lock().unwrap();
    let gets = requests.iter().filter(|r| r.starts_with(&format!("GET {JOBS}/"))).count();
    assert_eq!(gets, 1, "one look at what is in the way: {requests:#?}");
}

#[tokio::test]
async fn a_throttled_create_waits_as_it_was_asked_to() {
    fn throttled(_: &Value) -> Response {
        let mut status = json!({"kind": "Status", "status": "Failure", "code": 429, "reason": "TooManyRequests", "message": "slow down"});
        status["details"] = json!({"retryAfterSeconds": 1});
        (StatusCode::TOO_MANY_REQUESTS, axum::Json(status)).into_response()
    }
    let begun = std::time::Instant::now();
    let (ended, server) = run_against(1, vec![throttled, created], "").await;
    ended.expect_code(0);
    assert_eq!(server.posts(), 2);
    assert!(begun.elapsed() >= std::time::Duration::from_secs(1));
}

#[tokio::test]
async fn admissions_refusals_are_the_nodes_and_not_the_runs() {
    fn quota(_: &Value) -> Response {
        failure(
            403,
            "Forbidden",
            "jobs.batch \"g\" is forbidden: exceeded quota: one, requested: count/jobs.batch=1",
        )
    }
    fn webhook(_: &Value) -> Response {
        failure(403, "Forbidden", "admission webhook \"w\" denied the request: no")
    }
    fn strict(_: &Value) -> Response {
        failure(400, "BadRequest", "strict decoding error: unknown field \"spec.x\"")
    }
    for (script, reason, words) in [
        (quota as fn(&Value) -> Response, "quota", "exceeded quota: one"),
        (webhook, "forbidden", "denied the request: no"),
        (strict, "api-error", "unknown field"),
    ] {
        let (ended, server) = run_against(2, vec![script, created], "concurrency = 1").await;
        let ended = ended.expect_code(1);
        let node = first_node(&ended);
        assert_eq!(node["reason"], reason);
        assert!(node["message"].as_str().unwrap().contains(words), "{node}");
        assert_eq!(ended.json()["groups"][0]["counts"]["succeeded"], 1);
        assert_eq!(server.posts(), 2);
    }
}

#[tokio::test]
async fn the_token_is_in_no_log_line_and_in_no_report() {
    let (ended, _) = run_against(1, vec![created], "").await;
    let ended = ended.expect_code(0);
    assert!(!ended.stderr.contains("s3cr3t") && !ended.stdout.contains("s3cr3t"));
    assert!(ended.stderr.contains("TRACE"), "the log is as verbose as can be: {}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_runs_of_serve_take_no_more_memory_than_a_hundred() {
    const GROUPS: usize = 40;
    let (_server, kubeconfig, serving) = start(GROUPS, vec![created], 200).await;
    // Each with a node of its own, so that none waits for another.
    let groups = (0..GROUPS).map(|n| {
        format!(
            "[[groups]]\nname = \"g{n}\"\nimages = [\"quay.io/team/app:{n}\"]\nschedule = \"@every 1s\"\n\
             node_selector = \"name=node-{n}\"\noverlap = \"wait\"\n"
        )
    });
    let mut config = NamedTempFile::with_suffix(".toml").unwrap();
    write!(config, "concurrency = {GROUPS}\n{}", groups.collect::<String>()).unwrap();
    let measured = tokio::task::spawn_blocking(move || {
        let serve = Serving::start_with(kubeconfig.path(), "pulls", config.path(), &[], &[]);
        let mut resident = Vec::new();
        for runs in [100, 1000] {
            serve.wait_for_nth("is over: 1 succeeded, 0 failed, 0 skipped", runs);
            let status = std::fs::read_to_string(format!("/proc/{}/status", serve.pid())).unwrap();
            let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
            resident.push(line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap());
        }
        let served = serve.terminate();
        assert_eq!(served.code, Some(0), "{}", served.log);
        resident
    });
    let resident = measured.await.unwrap();
    serving.abort();
    assert!(resident[1] <= resident[0] * 1.1, "KiB after 100 and 1,000 runs: {resident:?}");
}
