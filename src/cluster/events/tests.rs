use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kube::client::ClientBuilder;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::super::request_metrics::RequestMetrics;
use super::*;

/// Keeps what it is sent, and answers each request once it may.
pub struct Server {
    may_answer: Semaphore,
    /// The codes of its first answers; then it is content.
    codes: Mutex<Vec<u16>>,
    seen: Mutex<Vec<(String, Value)>>,
}

async fn answer(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    server.seen.lock().unwrap().push((format!("{} {}", parts.method, parts.uri), body.clone()));
    server.may_answer.acquire().await.unwrap().forget();
    match server.codes.lock().unwrap().pop() {
        Some(code) => {
            let reason = if code == 403 { "Forbidden" } else { "InternalError" };
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                "reason": reason, "message": "no"});
            (StatusCode::from_u16(code).unwrap(), axum::Json(status)).into_response()
        }
        None => (StatusCode::CREATED, axum::Json(body)).into_response(),
    }
}

impl Server {
    /// Waits for as many requests.
    pub async fn requests(&self, count: usize) -> Vec<(String, Value)> {
        for _ in 0..1000 {
            let seen = self.seen.lock().unwrap().clone();
            if seen.len() >= count {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{:?}", self.seen.lock().unwrap());
    }
}

/// A server that may answer `answers` requests, the first with these codes, and a recorder on it.
async fn recording(answers: usize, codes: Vec<u16>) -> (Arc<Server>, EventRecorder) {
    let (server, cluster) = serving(answers, codes).await;
    let pod = OwnPod { name: "quayctl-0".into(), namespace: "pulls".into(), uid: Some("u-1".into()) };
    (server, cluster.event_recorder(pod, "default"))
}

/// The same without a recorder.
pub async fn serving(answers: usize, mut codes: Vec<u16>) -> (Arc<Server>, Cluster) {
    codes.reverse();
    let (codes, seen) = (Mutex::new(codes), Mutex::default());
    let server = Arc::new(Server { may_answer: Semaphore::new(answers), codes, seen });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(server.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let config = kube::Config::new(url.parse().unwrap());
    let cluster = Cluster {
        client: ClientBuilder::try_from(config).unwrap().build(),
        default_namespace: "pulls".into(),
        server: url,
        version: "v1.37.2".into(),
        traffic: RequestMetrics::default(),
        job_events: Default::default(),
    };
    (server, cluster)
}

fn started(run_id: &str) -> ControllerEvent {
    ControllerEvent::RunStarted { group: "logging".into(), run_id: run_id.into() }
}

fn failed(text: &str) -> ControllerEvent {
    ControllerEvent::ConfigReloadFailed { text: text.into() }
}

const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/pulls/events";

#[tokio::test]
async fn what_is_recorded_is_an_event_on_our_pod() {
    let (server, recorder) = recording(5, vec![]).await;
    recorder.record(started("r1"));
    recorder.record(ControllerEvent::RunFailed {
        group: "logging".into(),
        run_id: "r1".into(),
        text: "2 of 50 nodes failed".into(),
    });
    recorder.record(ControllerEvent::ConfigReloaded);
    let seen = server.requests(3).await;
    let (line, body) = &seen[0];
    assert!(line.starts_with(&format!("POST {EVENTS}?")), "{line}");
    assert_eq!(
        body["regarding"],
        json!({"apiVersion": "v1", "kind": "Pod", "name": "quayctl-0", "namespace": "pulls", "uid": "u-1"})
    );
    assert_eq!(body["metadata"]["namespace"], "pulls");
    assert!(body["metadata"]["name"].as_str().unwrap().starts_with("quayctl-0."));
    assert_eq!(body["reportingController"], "quayctl-controller");
    assert_eq!(body["reportingInstance"], "default");
    let words = |(_, body): &(String, Value)| {
        ["type", "reason", "action", "note"].map(|key| body[key].as_str().unwrap().to_owned())
    };
    assert_eq!(words(&seen[0]), ["Normal", "RunStarted", "StartRun", "group logging, run r1"]);
    let note = "group logging, run r1: 2 of 50 nodes failed";
    assert_eq!(words(&seen[1]), ["Warning", "RunFailed", "FinishRun", note]);
    let note = "the changed config is in force";
    assert_eq!(words(&seen[2]), ["Normal", "ConfigReloaded", "ReloadConfig", note]);
}

#[tokio::test]
async fn the_same_once_more_is_counted_and_another_note_is_another_event() {
    let (server, recorder) = recording(9, vec![]).await;
    for text in ["line 3", "line 3", "line 4", "line 4", "line 4"] {
        recorder.record(failed(text));
    }
    let seen = server.requests(5).await;
    let methods: Vec<&str> = seen.iter().map(|(line, _)| line.split(' ').next().unwrap()).collect();
    assert_eq!(methods, ["POST", "PATCH", "POST", "PATCH", "PATCH"]);
    let name = seen[2].1["metadata"]["name"].as_str().unwrap();
    assert!(seen[4].0.starts_with(&format!("PATCH {EVENTS}/{name}?")), "{}", seen[4].0);
    assert_eq!(seen[4].1["series"]["count"], 3);
    assert_eq!(seen[4].1["note"], "keeping the last valid config: line 4");
}

#[tokio::test]
async fn what_is_refused_is_not_tried_again_and_the_next_is_a_new_event() {
    let (server, recorder) = recording(9, vec![403, 400]).await;
    for _ in 0..3 {
        recorder.record(failed("line 3"));
    }
    let seen = server.requests(3).await;
    assert!(seen.iter().all(|(line, _)| line.starts_with("POST")), "{seen:?}");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.requests(3).await.len(), 3);
}

#[tokio::test]
async fn more_than_the_queue_holds_is_left_out() {
    let (server, recorder) = recording(1000, vec![]).await;
    // The task has no turn before this one waits.
    for n in 0..200 {
        recorder.record(started(&format!("r{n}")));
    }
    let seen = server.requests(QUEUE).await;
    assert_eq!(seen[QUEUE - 1].1["note"], format!("group logging, run r{}", QUEUE - 1));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.requests(QUEUE).await.len(), QUEUE);
}

#[tokio::test]
async fn a_server_that_hangs_costs_each_its_time_and_no_more() {
    let (server, recorder) = recording(0, vec![]).await;
    recorder.record(started("r1"));
    recorder.record(started("r2"));
    assert_eq!(server.requests(1).await.len(), 1);
    tokio::time::pause();
    tokio::time::advance(WRITE_TIMEOUT).await;
    tokio::time::resume();
    let seen = server.requests(2).await;
    assert_eq!(seen[1].1["note"], "group logging, run r2");
}

#[tokio::test]
async fn an_event_without_an_answer_says_what_was_asked_and_of_whom() {
    let (server, cluster) = serving(0, vec![]).await;
    let pod = OwnPod { name: "quayctl-0".into(), namespace: "pulls".into(), uid: None };
    let mut writer = EventWriter::new(&cluster, pod, "default");
    let event = started("r1");
    let hang = async {
        server.requests(1).await;
        tokio::time::pause();
        tokio::time::advance(WRITE_TIMEOUT).await;
    };
    let (error, ()) = tokio::join!(writer.publish(&event), hang);
    let told = format!(
        "cannot reach the API server at {}: no answer within 10 s to a request to create or patch \
         events.events.k8s.io in namespace \"pulls\"; check the address, the network and --context",
        cluster.server
    );
    assert_eq!(error.unwrap_err().to_string(), told);
}

#[test]
fn a_long_note_is_cut_between_characters() {
    let note = EventFields::new(&failed(&"ü".repeat(2000))).note;
    assert!(note.len() <= NOTE_BYTES_MAX && note.len() > NOTE_BYTES_MAX - 6, "{}", note.len());
    assert!(
        note.starts_with("keeping the last valid config") && note.contains("ü…ü") && note.ends_with("ü"),
        "{note}"
    );
    assert_eq!(cut("a".repeat(NOTE_BYTES_MAX)), "a".repeat(NOTE_BYTES_MAX));
}
