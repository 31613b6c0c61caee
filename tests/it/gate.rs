//! A node shows that its images are there: by a label that is set, moved and taken away, and by a
//! startup taint that goes. First on a real API server, then on the wire.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use quayctl_controller::cluster::{Cluster, ConnectOptions};
use quayctl_controller::config::{RemovedTaint, TaintEffect};
use quayctl_controller::plan::Node;
use quayctl_controller::scheduler::NodePatchError;
use serde_json::{Value, json};

use crate::support::bed::Bed;
use crate::support::ended;

const KEY: &str = "quayctl-controller/logging";
const FIRST: &str = "0123456789abcdef";
const SECOND: &str = "fedcba9876543210";

/// Its nodes change: it is not for tests that count theirs.
fn bed() -> &'static Bed {
    static BED: OnceLock<Bed> = OnceLock::new();
    BED.get_or_init(|| Bed::start(&["--nodes", "1"]))
}

async fn connect(kubeconfig: &std::path::Path) -> Cluster {
    let options = ConnectOptions { kubeconfig: Some(kubeconfig.to_owned()), ..ConnectOptions::default() };
    Cluster::connect(&options).await.expect("it answers")
}

fn starting() -> RemovedTaint {
    RemovedTaint { key: "example.com/starting".to_owned(), effect: TaintEffect::NoSchedule }
}

/// A node of its own for one test: `uid` and all.
#[track_caller]
fn create_node(name: &str, taints: &Value) {
    let node =
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"taints": taints}});
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), node.to_string()).unwrap();
    ended(&mut bed().kubectl(&["create", "-f", file.path().to_str().unwrap()])).expect_code(0);
}

#[track_caller]
fn delete_node(name: &str) {
    ended(&mut bed().kubectl(&["delete", "node", name])).expect_code(0);
}

/// The node as `kubectl` shows it, and as we list it.
async fn node(cluster: &Cluster, name: &str) -> (Value, Node) {
    let shown = bed().get(&["get", "node", name]);
    let listed = cluster.list_nodes(None).await.unwrap();
    (shown, listed.into_iter().find(|node| node.name == name).expect("it is listed"))
}

fn taint_keys(node: &Value) -> Vec<&str> {
    let taints = node["spec"]["taints"].as_array();
    // The node lifecycle's controller has its own to say about a node without a kubelet.
    taints
        .into_iter()
        .flatten()
        .filter_map(|taint| taint["key"].as_str())
        .filter(|key| key.starts_with("example.com/"))
        .collect()
}

#[tokio::test]
async fn the_label_is_set_moves_and_goes() {
    let cluster = connect(&bed().kubeconfig()).await;
    create_node("labelled", &json!([]));
    let (_, fresh) = node(&cluster, "labelled").await;
    cluster.mark_node_ready(&fresh, KEY, Some(FIRST), None).await.unwrap();
    let (shown, labelled) = node(&cluster, "labelled").await;
    assert_eq!(shown["metadata"]["labels"][KEY], FIRST);

    cluster.mark_node_ready(&labelled, KEY, Some(SECOND), None).await.unwrap();
    assert_eq!(node(&cluster, "labelled").await.0["metadata"]["labels"][KEY], SECOND);
    cluster.remove_ready_label("labelled", KEY).await.unwrap();
    cluster.remove_ready_label("labelled", KEY).await.expect("once more is fine");
    assert!(node(&cluster, "labelled").await.0["metadata"]["labels"][KEY].is_null());
    delete_node("labelled");
}

#[tokio::test]
async fn one_taint_goes_whatever_its_value_and_the_others_stay() {
    let cluster = connect(&bed().kubeconfig()).await;
    create_node(
        "tainted",
        &json!([
            {"key": "example.com/other", "effect": "NoSchedule", "value": "x"},
            {"key": "example.com/starting", "effect": "PreferNoSchedule"},
            {"key": "example.com/starting", "effect": "NoSchedule", "value": "yes"},
            {"key": "example.com/last", "effect": "PreferNoSchedule"},
        ]),
    );
    let (_, tainted) = node(&cluster, "tainted").await;
    cluster.mark_node_ready(&tainted, KEY, None, Some(&starting())).await.unwrap();
    let (shown, _) = node(&cluster, "tainted").await;
    let left = ["example.com/other", "example.com/starting", "example.com/last"];
    assert_eq!(taint_keys(&shown), left, "of the key with two effects one is left: {shown}");
    assert!(shown["metadata"]["labels"][KEY].is_null());
    cluster.mark_node_ready(&tainted, KEY, None, Some(&starting())).await.expect("gone is fine");
    delete_node("tainted");
}

#[tokio::test]
async fn taints_that_are_removed_at_the_same_time_all_go() {
    let cluster = connect(&bed().kubeconfig()).await;
    // Each change of another's makes one try fail, and there are five: with five it cannot be too many.
    let keys = ["example.com/1", "example.com/2", "example.com/3", "example.com/4", "example.com/5"];
    create_node("contended", &keys.iter().map(|key| json!({"key": key, "effect": "NoSchedule"})).collect());
    let (_, contended) = node(&cluster, "contended").await;
    let removals = keys.map(|key| {
        let taint = RemovedTaint { key: key.to_owned(), effect: TaintEffect::NoSchedule };
        let (cluster, contended) = (cluster.clone(), contended.clone());
        async move { cluster.mark_node_ready(&contended, KEY, None, Some(&taint)).await }
    });
    for removed in futures::future::join_all(removals).await {
        removed.unwrap();
    }
    assert_eq!(taint_keys(&node(&cluster, "contended").await.0), Vec::<&str>::new());
    delete_node("contended");
}

#[tokio::test]
async fn a_node_that_is_gone_or_replaced_is_left_alone() {
    let cluster = connect(&bed().kubeconfig()).await;
    let taints = json!([{"key": "example.com/starting", "effect": "NoSchedule"}]);
    create_node("replaced", &taints);
    let (_, old) = node(&cluster, "replaced").await;
    delete_node("replaced");
    cluster.mark_node_ready(&old, KEY, Some(FIRST), Some(&starting())).await.expect("gone is fine");
    cluster.remove_ready_label("replaced", KEY).await.expect("gone is fine");

    create_node("replaced", &taints);
    cluster.mark_node_ready(&old, KEY, Some(FIRST), Some(&starting())).await.expect("it is another node");
    let (shown, _) = node(&cluster, "replaced").await;
    assert!(shown["metadata"]["labels"][KEY].is_null(), "another node has nothing of ours: {shown}");
    assert_eq!(taint_keys(&shown), ["example.com/starting"]);
    delete_node("replaced");
}

/// What the wire tests see and answer.
#[derive(Default)]
struct Server {
    /// The answers to patches, in turn; then 200.
    patches: Mutex<Vec<u16>>,
    taints: Mutex<Value>,
    uid: Mutex<String>,
    requests: Mutex<Vec<(String, Value)>>,
}

async fn server(patches: &[u16], taints: Value) -> (Arc<Server>, Cluster) {
    let server = Arc::new(Server {
        patches: Mutex::new(patches.to_vec()),
        taints: Mutex::new(taints),
        uid: Mutex::new("uid-1".to_owned()),
        requests: Mutex::default(),
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(answer).with_state(server.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut kubeconfig = tempfile::NamedTempFile::new().unwrap();
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    });
    write!(kubeconfig, "{text}").unwrap();
    let cluster = connect(kubeconfig.path()).await;
    server.requests.lock().unwrap().clear();
    (server, cluster)
}

async fn answer(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let kind = parts.headers.get("content-type").map_or("", |kind| kind.to_str().unwrap());
    server.requests.lock().unwrap().push((format!("{} {} {kind}", parts.method, parts.uri), body));
    if parts.uri.path() == "/version" {
        return axum::Json(json!({
            "major": "1", "minor": "37", "gitVersion": "v1.37.2", "gitCommit": "", "gitTreeState": "",
            "buildDate": "", "goVersion": "", "compiler": "", "platform": "",
        }))
        .into_response();
    }
    let mut patches = server.patches.lock().unwrap();
    if parts.method == "PATCH" && !patches.is_empty() {
        let code = patches.remove(0);
        let reason = if code == 409 { "Conflict" } else { "Invalid" };
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
            "reason": reason, "message": "scripted",
        });
        return (StatusCode::from_u16(code).unwrap(), axum::Json(status)).into_response();
    }
    axum::Json(json!({
        "metadata": {"name": "n", "uid": *server.uid.lock().unwrap()},
        "spec": {"taints": *server.taints.lock().unwrap()},
    }))
    .into_response()
}

impl Server {
    fn requests(&self) -> Vec<(String, Value)> {
        self.requests.lock().unwrap().clone()
    }

    fn count(&self, method: &str) -> usize {
        self.requests().iter().filter(|(request, _)| request.starts_with(method)).count()
    }
}

/// A node as last seen: with the startup taint.
fn seen() -> Node {
    let wire = json!({
        "metadata": {"name": "n", "uid": "uid-1", "labels": {KEY: FIRST}},
        "spec": {"taints": [{"key": "example.com/starting", "effect": "NoSchedule"}]},
    });
    serde_json::from_value(wire).unwrap()
}

fn two_taints() -> Value {
    json!([
        {"key": "example.com/other", "effect": "NoExecute", "timeAdded": "2026-11-25T04:00:00Z"},
        {"key": "example.com/starting", "effect": "NoSchedule", "value": "yes"},
    ])
}

#[tokio::test]
async fn a_label_is_one_patch_that_names_the_node_by_its_uid() {
    let (server, cluster) = server(&[], json!([])).await;
    cluster.mark_node_ready(&seen(), KEY, Some(SECOND), None).await.unwrap();
    let path = "PATCH /api/v1/nodes/n?&fieldManager=quayctl-controller application/merge-patch+json";
    let body = json!({"metadata": {"uid": "uid-1", "labels": {KEY: SECOND}}});
    assert_eq!(server.requests(), [(path.to_owned(), body)]);
}

#[tokio::test]
async fn what_a_node_shows_already_costs_nothing() {
    let (server, cluster) = server(&[], json!([])).await;
    let mut node = seen();
    node.taints.clear();
    cluster.mark_node_ready(&node, KEY, Some(FIRST), Some(&starting())).await.unwrap();
    assert_eq!(server.requests(), []);
}

#[tokio::test]
async fn a_taint_is_removed_only_where_it_was_seen() {
    let (server, cluster) = server(&[], two_taints()).await;
    cluster.mark_node_ready(&seen(), KEY, None, Some(&starting())).await.unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert!(requests[0].0.starts_with("GET /api/v1/nodes/n"));
    assert!(requests[1].0.ends_with("application/json-patch+json"), "{}", requests[1].0);
    assert_eq!(
        requests[1].1,
        json!([
            {"op": "test", "path": "/metadata/uid", "value": "uid-1"},
            {"op": "test", "path": "/spec/taints/1", "value": two_taints()[1]},
            {"op": "remove", "path": "/spec/taints/1"},
        ])
    );
}

#[tokio::test]
async fn a_node_that_changes_meanwhile_is_looked_at_again_five_times_at_most() {
    let (contended, cluster) = server(&[422, 409, 422, 422], two_taints()).await;
    cluster.mark_node_ready(&seen(), KEY, None, Some(&starting())).await.unwrap();
    assert_eq!((contended.count("GET"), contended.count("PATCH")), (5, 5));

    let (contended, cluster) = server(&[422, 422, 422, 422, 422], two_taints()).await;
    let error = cluster.mark_node_ready(&seen(), KEY, None, Some(&starting())).await.unwrap_err();
    assert!(matches!(error, NodePatchError::Contended { .. }), "{error}");
    assert_eq!((contended.count("GET"), contended.count("PATCH")), (5, 5));
    let told = error.to_string();
    let begins = "cannot change the taint example.com/starting:NoSchedule of node n, 5 times in a row: ";
    assert!(told.starts_with(begins) && told.ends_with("scripted"), "{told}");

    // A label's conflict is another node, or a node that many write to.
    let (contended, cluster) = server(&[409, 409], two_taints()).await;
    cluster.mark_node_ready(&seen(), KEY, Some(SECOND), None).await.unwrap();
    assert_eq!((contended.count("GET"), contended.count("PATCH")), (2, 3));
    let (replaced, cluster) = server(&[409], two_taints()).await;
    *replaced.uid.lock().unwrap() = "uid-2".to_owned();
    cluster.mark_node_ready(&seen(), KEY, Some(SECOND), Some(&starting())).await.unwrap();
    assert_eq!((replaced.count("GET"), replaced.count("PATCH")), (2, 1));
}

#[tokio::test]
async fn a_taint_that_is_gone_or_a_node_that_is_another_is_left_alone() {
    let (server, cluster) = server(&[], json!([{"key": "example.com/other", "effect": "NoSchedule"}])).await;
    cluster.mark_node_ready(&seen(), KEY, None, Some(&starting())).await.unwrap();
    *server.taints.lock().unwrap() = two_taints();
    *server.uid.lock().unwrap() = "uid-2".to_owned();
    cluster.mark_node_ready(&seen(), KEY, None, Some(&starting())).await.unwrap();
    assert_eq!((server.count("GET"), server.count("PATCH")), (2, 0));
}
