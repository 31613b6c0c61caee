//! Exact wire behaviour against a scripted API server on loopback: what a real one does too rarely,
//! or too destructively, to wait for.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

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
use crate::support::{Ended, ended, optimised_binary, quayctl};

const JOBS: &str = "/apis/batch/v1/namespaces/pulls/jobs";

/// What the server answers to creates, in order; the last one is repeated.
pub type Script = Vec<fn(&Value) -> Response>;

/// What a list holds at its nth place, in the namespace or of the name that is given.
type MakeItem = fn(&str, usize) -> Value;

/// How a server is beside what it answers to creates.
#[derive(Clone, Default)]
struct World {
    /// It has just started, and answers everybody with this code for so long.
    refuses: Option<(u16, Duration)>,
    /// By the end of a list's path: what is there at the start. Pages are made when they are asked for.
    leftovers: Option<(usize, MakeItem)>,
    /// So many watches of Jobs are told that their place in history is gone.
    expired_watches: usize,
    /// Namespaces in which everything is forbidden.
    forbidden: &'static str,
}

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
    world: World,
    begun: Instant,
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
    start_in(World::default(), nodes, script, kept).await
}

async fn start_in(
    world: World,
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
        world,
        begun: Instant::now(),
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
    run_in(World::default(), nodes, script, more).await
}

async fn run_in(world: World, nodes: usize, script: Script, more: &str) -> (Ended, Arc<Server>) {
    let (server, kubeconfig, serving) = start_in(world, nodes, script, usize::MAX).await;
    let config = config(more);
    let mut command = quayctl();
    command.args(["run", "-o", "json", "--run-id", "r", "--log", "trace", "--config"]).arg(config.path());
    command.arg("--kubeconfig").arg(kubeconfig.path());
    let run = tokio::task::spawn_blocking(move || ended(&mut command));
    let ended = run.await.unwrap();
    serving.abort();
    (ended, server)
}

/// A config of one group, and `more` after it.
fn config(more: &str) -> NamedTempFile {
    let mut config = NamedTempFile::with_suffix(".toml").unwrap();
    write!(config, "[[groups]]\nname = \"g\"\nimages = [\"quay.io/team/app:1.0\"]\n{more}\n").unwrap();
    config
}

async fn answer(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let query = parts.uri.query().unwrap_or("").to_owned();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    server.requests.lock().unwrap().push(format!("{} {path}?{query}", parts.method));
    if let Some((code, time)) = server.world.refuses.filter(|(_, time)| server.begun.elapsed() < *time) {
        let words = format!("User \"u\" cannot do that for another {time:?}");
        return failure(code, "", &format!("things are forbidden: {words}"));
    }
    let forbidden = server.world.forbidden;
    if !forbidden.is_empty() && path.contains(&format!("/namespaces/{forbidden}/")) {
        return failure(
            403,
            "Forbidden",
            "jobs.batch is forbidden: User \"u\" cannot list resource \"jobs\"",
        );
    }
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
        ("GET", _) if query.contains("watch=true") && path == JOBS => {
            let asked = |request: &&String| request.contains("watch=true") && request.contains(JOBS);
            let number = server.requests.lock().unwrap().iter().filter(asked).count();
            match number <= server.world.expired_watches {
                true => failure(410, "Expired", "too old resource version: 1 (7)"),
                false => server.watch(),
            }
        }
        ("GET", _) if query.contains("watch=true") => quiet(),
        ("GET", path) if path.starts_with(&format!("{JOBS}/")) => {
            let name = path.rsplit('/').next().unwrap();
            match server.jobs.lock().unwrap().get(name) {
                Some(job) => axum::Json(job.clone()).into_response(),
                None => failure(404, "NotFound", "jobs.batch not found"),
            }
        }
        ("GET", path) => axum::Json(server.page(path, &query)).into_response(),
        ("POST", "/apis/events.k8s.io/v1/namespaces/pulls/events") => {
            server.events_created.lock().unwrap().push(body.clone());
            created(&body)
        }
        ("PATCH", _) => axum::Json(json!({"metadata": {"name": "x"}})).into_response(),
        _ => failure(404, "NotFound", "not scripted"),
    }
}

impl Server {
    /// A page of what is there, as large as it was asked for.
    fn page(&self, path: &str, query: &str) -> Value {
        let Some((count, object)) = self.world.leftovers else {
            return json!({"metadata": {"resourceVersion": "1"}, "items": []});
        };
        let number = |key: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(name, _)| *name == key).and_then(|(_, value)| value.parse::<usize>().ok())
        };
        let from = number("continue").unwrap_or(0);
        let to = count.min(from + number("limit").unwrap_or(count));
        // `FailedCreate` is rare, and what pulls leave is not.
        let items: Vec<Value> = match query.contains("FailedCreate") {
            true => Vec::new(),
            false => (from..to).map(|index| object(path, index)).collect(),
        };
        let rest = if to < count { to.to_string() } else { String::new() };
        json!({"metadata": {"resourceVersion": "1", "continue": rest}, "items": items})
    }

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

/// As the API server's priority and fairness answers (`k8s.io/apiserver/pkg/server/filters`): no Status.
fn too_many_requests(_: &Value) -> Response {
    let words = "Too many requests, please try again later.\n";
    (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1"), ("content-type", "text/plain")], words)
        .into_response()
}

#[tokio::test]
async fn a_throttled_create_waits_as_it_was_asked_to() {
    fn in_body(_: &Value) -> Response {
        let mut status = json!({"kind": "Status", "status": "Failure", "code": 429, "reason": "TooManyRequests", "message": "slow down"});
        status["details"] = json!({"retryAfterSeconds": 1});
        (StatusCode::TOO_MANY_REQUESTS, axum::Json(status)).into_response()
    }
    fn unavailable(_: &Value) -> Response {
        (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")], "starting").into_response()
    }
    fn later(_: &Value) -> Response {
        (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "7")], "later").into_response()
    }
    for (script, seconds) in
        [(too_many_requests as fn(&Value) -> Response, 1), (in_body, 1), (unavailable, 1), (later, 7)]
    {
        let begun = Instant::now();
        let (ended, server) = run_against(1, vec![script, created], "").await;
        ended.expect_code(0);
        assert_eq!(server.posts(), 2);
        assert!(begun.elapsed() >= Duration::from_secs(seconds), "{seconds}: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_server_that_asks_for_an_hour_does_not_keep_a_run_beyond_its_deadline() {
    fn in_an_hour(_: &Value) -> Response {
        (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "3600")], "later").into_response()
    }
    let begun = Instant::now();
    let (server, kubeconfig, serving) = start(1, vec![in_an_hour], usize::MAX).await;
    let mut config = NamedTempFile::with_suffix(".toml").unwrap();
    let text = "run_deadline = \"3s\"\n[[groups]]\nname = \"g\"\nimages = [\"quay.io/team/app:1.0\"]\n";
    write!(config, "{text}").unwrap();
    let mut command = quayctl();
    command
        .args(["run", "-o", "json", "--config"])
        .arg(config.path())
        .arg("--kubeconfig")
        .arg(kubeconfig.path());
    let run = tokio::task::spawn_blocking(move || ended(&mut command));
    let ended = run.await.unwrap();
    serving.abort();
    assert_eq!(server.posts(), 1, "{}", ended.stderr);
    assert!(begun.elapsed() < Duration::from_secs(3 + 10), "{:?}", begun.elapsed());
    assert!(matches!(ended.code, Some(1 | 3)), "{:?}", ended.code);
}

#[tokio::test]
async fn a_webhook_that_is_down_is_told_by_its_name_and_not_as_a_server_that_cannot_be_reached() {
    fn down(_: &Value) -> Response {
        failure(500, "InternalError", "failed calling webhook \"w.example.com\": connection refused")
    }
    let (server, kubeconfig, serving) = start(1, vec![down], usize::MAX).await;
    let mut config = NamedTempFile::with_suffix(".toml").unwrap();
    let text = "run_deadline = \"3s\"\n[[groups]]\nname = \"g\"\nimages = [\"quay.io/team/app:1.0\"]\n";
    write!(config, "{text}").unwrap();
    let mut command = quayctl();
    command.args(["run", "--config"]).arg(config.path()).arg("--kubeconfig").arg(kubeconfig.path());
    let ended = tokio::task::spawn_blocking(move || ended(&mut command)).await.unwrap();
    serving.abort();
    assert!(server.posts() > 1, "{}", ended.stderr);
    let told = "INFO the API server answers 500: failed calling webhook \"w.example.com\": connection refused; trying again";
    let plain = ended.stderr.replace("  ", " ");
    assert!(plain.contains(told), "{plain}");
    assert!(!plain.contains("cannot reach"), "{plain}");
    let last = plain.lines().last().unwrap();
    assert!(last.contains("failed calling webhook"), "{plain}");
}

#[tokio::test]
async fn an_api_server_that_has_just_started_and_refuses_everybody_is_waited_for() {
    for code in [401, 403] {
        let world = World { refuses: Some((code, Duration::from_secs(6))), ..World::default() };
        let (ended, server) = run_in(world, 3, vec![created], "").await;
        ended.expect_code(0);
        assert_eq!(server.posts(), 3);
    }
}

#[tokio::test]
async fn creates_and_watches_that_are_refused_for_a_while_end_nothing() {
    fn refused(_: &Value) -> Response {
        failure(403, "Forbidden", "jobs.batch is forbidden: User \"u\" cannot create resource \"jobs\"")
    }
    fn unauthorized(_: &Value) -> Response {
        failure(401, "Unauthorized", "Unauthorized")
    }
    let (ended, server) = run_against(2, vec![refused, unauthorized, refused, created], "").await;
    ended.expect_code(0);
    assert_eq!(server.posts(), 5);
}

#[tokio::test]
async fn a_namespace_that_is_forbidden_ends_its_group_and_no_other() {
    let other = "[[groups]]\nname = \"other\"\nnamespace = \"secret\"\nimages = [\"quay.io/team/b:1.0\"]\n";
    let world = World { forbidden: "secret", ..World::default() };
    let (ended, server) = run_in(world, 2, vec![created], other).await;
    let ended = ended.expect_code(1);
    assert_eq!(server.posts(), 2);
    let report = ended.json();
    assert_eq!(report["groups"][0]["counts"]["succeeded"], 2, "{report}");
    for node in report["groups"][1]["nodes"].as_array().unwrap() {
        assert_eq!(node["reason"], "forbidden", "{node}");
        assert!(node["message"].as_str().unwrap().contains("namespace \"secret\""), "{node}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_goes_on_where_a_namespace_of_one_group_is_forbidden() {
    let world = World { forbidden: "secret", ..World::default() };
    let (server, kubeconfig, serving) = start_in(world, 2, vec![created], usize::MAX).await;
    let other = "[[groups]]\nname = \"other\"\nnamespace = \"secret\"\nimages = [\"quay.io/team/b:1.0\"]\n";
    let config = config(other);
    let posts = server.clone();
    let served = tokio::task::spawn_blocking(move || {
        let serve = Serving::start_with(kubeconfig.path(), "pulls", config.path(), &[], &[]);
        let begun = Instant::now();
        while posts.posts() < 2 {
            assert!(begun.elapsed() < Duration::from_secs(90), "the other group has no Jobs");
            std::thread::sleep(Duration::from_millis(50));
        }
        serve.terminate()
    });
    let served = served.await.unwrap();
    serving.abort();
    assert_eq!(served.code, Some(0), "{}", served.log);
    assert!(served.log.contains("not allowed to list"), "{}", served.log);
    assert_eq!(server.posts(), 2);
}

#[tokio::test]
async fn a_watch_whose_place_in_history_is_gone_when_it_begins_lists_anew() {
    let world = World { expired_watches: 1, ..World::default() };
    let (ended, server) = run_in(world, 2, vec![created], "deadline = \"10s\"").await;
    ended.expect_code(0);
    let requests = server.requests.lock().unwrap();
    let list =
        |request: &&String| request.starts_with(&format!("GET {JOBS}?")) && !request.contains("watch=true");
    assert_eq!(requests.iter().filter(list).count(), 2, "{requests:#?}");
}

/// What others may have written: the API server takes it, and it is no concern of ours.
fn odd(path: &str, index: usize) -> Value {
    let mut object = leftover(path, index);
    object["metadata"]["labels"]["null"] = Value::Null;
    let one_of = |values: Value| values[index % 4].clone();
    if path.ends_with("/jobs") {
        object["spec"]["activeDeadlineSeconds"] = one_of(json!([5_000_000_000_u64, "300", -1, {}]));
        object["status"]["conditions"] = one_of(json!([null, [null], "none", [{"type": 7}]]));
        object["status"]["startTime"] = json!("soon");
    } else {
        let status = json!({"containerStatuses": [null, {"name": 3, "state": []}]});
        object["status"] = one_of(json!([null, "odd", status, 5]));
        object["message"] = json!(17);
    }
    object
}

#[tokio::test]
async fn objects_of_others_that_cannot_be_read_keep_no_run_from_its_work() {
    let world = World { leftovers: Some((8, odd)), ..World::default() };
    let (ended, server) = run_in(world, 2, vec![created], "node_selector = \"name=node-1\"").await;
    let ended = ended.expect_code(0);
    assert_eq!(server.posts(), 1);
    assert!(
        ended.stderr.contains("job pulls/g-left-1: cannot read spec.activeDeadlineSeconds"),
        "{}",
        ended.stderr
    );
}

/// A Job that is over, its pod, or what was told of a pull, as large as the real ones are.
fn leftover(path: &str, index: usize) -> Value {
    let name = format!("g-left-{index}");
    let images: Vec<String> =
        (0..20).map(|n| format!("registry.example.com:5000/team/application-{n}:1.0")).collect();
    let container = |n: usize| {
        json!({
            "name": format!("image-{n}"), "image": "registry.k8s.io/pause:3.10.1", "command": ["/pause", "-v"],
            "resources": {"limits": {"cpu": "100m", "memory": "16Mi"}, "requests": {"cpu": "1m", "memory": "512Ki"}},
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [{"name": format!("image-{n}"), "mountPath": "/image", "readOnly": true}],
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        })
    };
    let containers: Vec<Value> = (0..20).map(container).collect();
    let metadata = json!({
        "name": name, "namespace": "pulls", "uid": format!("{path}-{index}"), "resourceVersion": "1",
        "labels": {
            "app.kubernetes.io/managed-by": "quayctl-controller", "app.kubernetes.io/instance": "default",
            "batch.kubernetes.io/job-name": name, "quayctl-controller/group": "g",
            "quayctl-controller/run": "yesterday",
        },
        "annotations": {
            "quayctl-controller/node": format!("other-{index}"), "quayctl-controller/images": json!(images).to_string(),
            "quayctl-controller/content": "c".repeat(64),
        },
        "managedFields": [{"manager": "kube-controller-manager", "operation": "Update", "fieldsV1": containers}],
    });
    if path.ends_with("/jobs") {
        return json!({
            "metadata": metadata,
            "spec": {"activeDeadlineSeconds": 300, "template": {"spec": {"containers": containers}}},
            "status": {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]},
        });
    }
    if path.ends_with("/events") {
        return json!({
            "metadata": metadata, "reason": "Pulled",
            "involvedObject": {"kind": "Pod", "name": name, "uid": format!("pod-{index}")},
            "message": "Successfully pulled image \"quay.io/team/app:1.0\" in 132ms (132ms including waiting). Image size: 3002268 bytes.",
        });
    }
    let status = |n: usize| {
        json!({
            "name": format!("image-{n}"), "image": images[n], "ready": false, "restartCount": 0, "started": false,
            "imageID": format!("registry.k8s.io/pause@sha256:{}", "d".repeat(64)),
            "containerID": format!("containerd://{}", "e".repeat(64)),
            "state": {"terminated": {
                "exitCode": 0, "reason": "Completed", "startedAt": "2026-11-24T03:00:05Z",
                "finishedAt": "2026-11-24T03:00:05Z", "containerID": format!("containerd://{}", "e".repeat(64)),
            }},
        })
    };
    let statuses: Vec<Value> = (0..20).map(status).collect();
    json!({
        "metadata": metadata, "spec": {"nodeName": format!("node-{index}"), "containers": containers},
        "status": {"phase": "Succeeded", "containerStatuses": statuses},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_runs_of_a_week_have_left_fits_into_the_cronjobs_memory() {
    // Taken, and never over: the run is looked at while it waits.
    fn taken(job: &Value) -> Response {
        (StatusCode::ACCEPTED, axum::Json(job.clone())).into_response()
    }
    let world = World { leftovers: Some((2000, leftover)), ..World::default() };
    let (server, kubeconfig, serving) = start_in(world, 1, vec![taken], usize::MAX).await;
    let config = config("");
    let mut command = quayctl();
    command.args(["run", "--config"]).arg(config.path()).arg("--kubeconfig").arg(kubeconfig.path());
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    let begun = Instant::now();
    while server.posts() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(120), "{:#?}", server.requests.lock().unwrap());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    serving.abort();
    let kib = |key: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    // The program's own pages are a third of the binary that cargo builds for tests, which is not optimised,
    // and at most 16 MiB of the one in the image.
    const PROGRAM_KIB: u64 = 16 * 1024;
    let peak_kib = match optimised_binary() {
        Some(_) => kib("VmHWM"),
        None => kib("VmHWM") - kib("RssFile") + PROGRAM_KIB.min(kib("RssFile")),
    };
    println!("VmHWM {} KiB, of which files {} KiB; bounded: {peak_kib} KiB", kib("VmHWM"), kib("RssFile"));
    assert!(peak_kib <= 32 * 1024, "{peak_kib} KiB");
}

#[tokio::test]
async fn a_quota_of_jobs_is_asked_again_and_keeps_other_creates_back() {
    fn quota(_: &Value) -> Response {
        failure(
            403,
            "Forbidden",
            "jobs.batch \"g\" is forbidden: exceeded quota: one, requested: count/jobs.batch=1",
        )
    }
    let begun = std::time::Instant::now();
    let (ended, server) = run_against(2, vec![quota, created], "concurrency = 1").await;
    ended.expect_code(0);
    assert_eq!(server.posts(), 3);
    assert!(begun.elapsed() >= std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn admissions_refusals_are_the_nodes_and_not_the_runs() {
    fn webhook(_: &Value) -> Response {
        failure(403, "Forbidden", "admission webhook \"w\" denied the request: no")
    }
    fn policy(_: &Value) -> Response {
        let words = "jobs.batch \"g\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: never";
        failure(422, "Invalid", words)
    }
    fn policy_with_another_code(_: &Value) -> Response {
        let words = "jobs.batch \"g\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: never";
        failure(401, "Unauthorized", words)
    }
    fn strict(_: &Value) -> Response {
        failure(400, "BadRequest", "strict decoding error: unknown field \"spec.x\"")
    }
    for (script, reason, words) in [
        (webhook as fn(&Value) -> Response, "forbidden", "denied the request: no"),
        (policy, "forbidden", "denied request: never"),
        (policy_with_another_code, "forbidden", "denied request: never"),
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
            serve.wait_for_nth("finished: 1 succeeded, 0 failed, 0 skipped", runs);
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
