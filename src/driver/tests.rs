//! Stories of one run, told by a scripted API server and watches, on a clock that jumps.
//!
//! What is scripted is what a real control plane does too rarely or too slowly: two runs at the same
//! moment, an outage, a queue, a quota.
#![expect(clippy::disallowed_types, reason = "the API server of these tests is a service under a client")]
#![expect(clippy::disallowed_methods, reason = "they measure on tokio's clock, which jumps")]

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::channel::mpsc::{UnboundedSender, unbounded};
use http::{Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;
use crate::config::Templates;
use crate::outcome::{ContainerFacts, JobFacts, JobResult, PodEvent, PodFacts, PullFacts, Verdict};
use crate::plan::{Plan, PlannedJob};
use crate::render::Renderer;
use crate::runner::fixtures::{self, plan_of};
use crate::watch_event::{ObservedJob, WatchEvent};

/// As the runner has it.
const CREATES_IN_FLIGHT: usize = 16;
/// When the Job controller took a Job up, whoever is asked.
const STARTED_AT: &str = "2027-01-15T08:00:00Z";

type Script = Box<dyn FnMut(&str, &str, &Value) -> Option<(u16, Value)> + Send>;

/// An API server that takes every Job, knows none, and has ready nodes, where the script says nothing.
#[derive(Clone)]
struct Server {
    script: Arc<Mutex<Script>>,
    requests: Arc<Mutex<Vec<(String, String, Value)>>>,
}

impl tower::Service<Request<Body>> for Server {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let (method, path) = (parts.method.as_str().to_owned(), parts.uri.path().to_owned());
            let scripted = (server.script.lock().unwrap())(&method, &path, &body);
            let (code, answer) = scripted.unwrap_or_else(|| match method.as_str() {
                "POST" if path.ends_with("selfsubjectaccessreviews") => {
                    (201, json!({"spec": {}, "status": {"allowed": true}}))
                }
                "POST" => (201, body.clone()),
                "PATCH" => (200, json!({"metadata": {"name": "x", "namespace": "ns"}})),
                _ if path.starts_with("/api/v1/nodes/") => (200, node(&path, &[])),
                _ if path == "/version" => (200, json!({"major": "1", "minor": "37", "gitVersion": "v1.37.2",
                    "gitCommit": "", "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": ""})),
                _ => (404, status(404, "NotFound", "not found")),
            });
            server.requests.lock().unwrap().push((method, path, body));
            Ok(Response::builder().status(code).body(Body::from(answer.to_string().into_bytes())).unwrap())
        })
    }
}

impl Server {
    fn new(script: impl FnMut(&str, &str, &Value) -> Option<(u16, Value)> + Send + 'static) -> Server {
        Server { script: Arc::new(Mutex::new(Box::new(script))), requests: Arc::default() }
    }

    fn silent() -> Server {
        Server::new(|_, _, _| None)
    }

    fn cluster(&self) -> Cluster {
        Cluster::scripted(Client::new(self.clone(), "ns"))
    }

    /// Names of the Jobs whose creation was asked for.
    fn posts(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        let posts = requests.iter().filter(|(method, path, _)| method == "POST" && path.ends_with("/jobs"));
        posts.map(|(_, _, body)| body["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Names of the Jobs that were to be changed, with what was written.
    fn patches(&self) -> Vec<(String, Value)> {
        let requests = self.requests.lock().unwrap();
        let patches = requests.iter().filter(|(method, _, _)| method == "PATCH");
        patches.map(|(_, path, body)| (path.rsplit('/').next().unwrap().to_owned(), body.clone())).collect()
    }

    /// Waits until it has been asked to create `count` Jobs.
    async fn wait_for_posts(&self, count: usize) {
        while self.posts().len() < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason, "message": message})
}

fn node(path: &str, images: &[&str]) -> Value {
    let name = path.rsplit('/').next().unwrap();
    json!({
        "metadata": {"name": name, "uid": format!("uid-{name}")},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "images": [{"names": images, "sizeBytes": 1}]},
    })
}

fn first(plan: &Plan) -> &PlannedJob {
    &plan.groups[0].jobs[0]
}

/// As the watch shows it, live, created so many seconds into the story.
fn seen(job: &PlannedJob, second: i64) -> ObservedJob {
    ObservedJob { facts: facts(None, true), ..fixtures::seen(job, second) }
}

fn facts(condition: Option<(&str, &str)>, started: bool) -> JobFacts {
    fixtures::facts(started.then_some(0), condition)
}

fn complete(job: &ObservedJob) -> WatchEvent {
    WatchEvent::Job(Box::new(ObservedJob { facts: facts(Some(("Complete", "")), true), ..job.clone() }))
}

fn failed(job: &ObservedJob, note: Option<&str>) -> WatchEvent {
    let facts = facts(Some(("Failed", "DeadlineExceeded")), true);
    WatchEvent::Job(Box::new(ObservedJob { facts, annotation: note.map(str::to_owned), ..job.clone() }))
}

fn live(job: &ObservedJob) -> WatchEvent {
    WatchEvent::Job(Box::new(job.clone()))
}

fn pod(job: &ObservedJob, waiting: Option<(&str, &str)>, ran: bool) -> WatchEvent {
    let waiting = waiting.map(|(reason, message)| (reason.to_owned(), message.to_owned()));
    let container = ContainerFacts { name: "image-0".into(), ran, waiting, ..ContainerFacts::default() };
    let uid = format!("pod-of-{}", job.key.1);
    WatchEvent::Pod(
        job.key.clone(),
        PodFacts { uid, on_node: true, containers: vec![container], ..PodFacts::default() },
    )
}

/// The Job as a GET gives it.
fn job_object(job: &ObservedJob, ours: bool, complete: bool) -> Value {
    let conditions = if complete { json!([{"type": "Complete", "status": "True"}]) } else { json!([]) };
    let labels = if ours {
        json!({"app.kubernetes.io/managed-by": "quayctl-controller", "app.kubernetes.io/instance": "default",
               "quayctl-controller/group": job.group, "quayctl-controller/run": job.run_id})
    } else {
        json!({})
    };
    json!({
        "metadata": {"name": job.key.1, "namespace": job.key.0, "uid": job.uid, "labels": labels,
            "creationTimestamp": "2026-11-25T00:00:00Z",
            "annotations": {"quayctl-controller/node": job.node, "quayctl-controller/content": job.content}},
        "spec": {"activeDeadlineSeconds": job.deadline_seconds},
        "status": {"startTime": STARTED_AT, "conditions": conditions},
    })
}

/// A run, and what is told to it.
struct Story {
    server: Server,
    plan: Plan,
    listed: Vec<WatchEvent>,
    concurrency: usize,
    deadline_seconds: u64,
    deadline_is_computed: bool,
}

struct Told {
    results: Vec<JobResult>,
    took: Duration,
}

impl Story {
    fn new(server: Server, plan: Plan) -> Story {
        let deadline_seconds = 7200;
        Story {
            server,
            plan,
            listed: Vec::new(),
            concurrency: 20,
            deadline_seconds,
            deadline_is_computed: false,
        }
    }

    /// Runs it to its end while `tell` says what the watches see.
    async fn tell<F: Future<Output = ()>>(self, tell: impl FnOnce(UnboundedSender<WatchEvent>) -> F) -> Told {
        let Story { server, plan, listed, concurrency, deadline_seconds, deadline_is_computed } = self;
        let (sender, receiver) = unbounded();
        // The watches stay open, whatever the story says.
        let open = sender.clone();
        let watches = Watches::scripted(listed, receiver.boxed());
        let cluster = server.cluster();
        let renderer = Renderer::new(&Templates::default()).unwrap();
        let begun = Instant::now();
        let inputs = RunInputs {
            plan,
            concurrency,
            deadline: (begun + Duration::from_secs(deadline_seconds)).into_std(),
            deadline_is_computed,
            replace: false,
            render: Arc::new(move |job: &PlannedJob| Ok(renderer.render(job).unwrap())),
        };
        let (end, ()) =
            tokio::join!(run(&cluster, watches, inputs, CancellationToken::new(), |_| {}), tell(sender));
        drop(open);
        assert!(end.error.is_none(), "{:?}", end.error);
        Told { results: end.results.into_iter().flatten().collect(), took: begun.elapsed() }
    }
}

impl Told {
    fn reasons(&self) -> Vec<Option<&'static str>> {
        let reason = |result: &JobResult| match &result.outcome.verdict {
            Verdict::Succeeded => None,
            Verdict::Failed(failure) => Some(failure.reason.code()),
        };
        self.results.iter().map(reason).collect()
    }

    fn adopted_from(&self) -> Vec<Option<&str>> {
        self.results.iter().map(|result| Some(result.adopted.as_ref()?.run_id.as_str())).collect()
    }

    fn message(&self) -> &str {
        match &self.results[0].outcome.verdict {
            Verdict::Failed(failure) => &failure.message,
            Verdict::Succeeded => "",
        }
    }
}

/// One Job was ended early, with the word that its node has all that it was to get.
#[track_caller]
fn assert_ended_as_succeeded(server: &Server) {
    let patches = server.patches();
    assert_eq!(patches.len(), 1);
    assert_eq!(patches[0].1["spec"]["activeDeadlineSeconds"], 1);
    let note = patches[0].1["metadata"]["annotations"]["quayctl-controller/outcome"].as_str().unwrap();
    assert!(note.contains("\"verdict\":\"succeeded\""), "{note}");
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

async fn nothing(_: UnboundedSender<WatchEvent>) {}

#[tokio::test(start_paused = true)]
async fn an_adopted_jobs_end_that_was_listed_before_its_adoption_is_heard() {
    let earlier = seen(first(&plan_of("earlier", 1, |_| {})), 0);
    let server = Server::silent();
    let mut story = Story::new(server.clone(), plan_of("later", 1, |_| {}));
    // The list, and what its watch told while another watch's list was still out.
    story.listed = vec![live(&earlier), pod(&earlier, None, true), complete(&earlier)];
    let told = story.tell(nothing).await;
    assert_eq!((told.reasons(), told.adopted_from()), (vec![None], vec![Some("earlier")]));
    assert!(told.took < Duration::from_secs(5), "{:?}", told.took);
    assert_eq!(server.posts(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_listed_job_that_is_deleted_before_all_lists_are_there_is_not_waited_for() {
    let earlier = seen(first(&plan_of("earlier", 1, |_| {})), 0);
    let server = Server::silent();
    let mut story = Story::new(server.clone(), plan_of("later", 1, |_| {}));
    story.listed = vec![live(&earlier), WatchEvent::JobGone(earlier.key.clone())];
    let told = story.tell(nothing).await;
    assert_eq!(told.reasons(), [Some("job-deleted")]);
    assert!(told.took < Duration::from_secs(5), "{:?}", told.took);
}

#[tokio::test(start_paused = true)]
async fn what_a_pod_said_before_its_job_was_known_counts() {
    let other = seen(
        &PlannedJob { name: "other".into(), ..first(&plan_of("other", 1, |g| g.name = "h".into())).clone() },
        0,
    );
    let earlier = seen(first(&plan_of("earlier", 1, |_| {})), 0);
    let server = Server::silent();
    let mut story = Story::new(server.clone(), plan_of("later", 1, |_| {}));
    // Keeps the node, so that the other run's Job meets one that waits.
    story.listed = vec![live(&other)];
    let words =
        "Back-off pulling image \"quay.io/team/app:1.0\": ErrImagePull: quay.io/team/app:1.0: not found";
    let told = story
        .tell(async |watch| {
            watch.unbounded_send(pod(&earlier, Some(("ImagePullBackOff", words)), false)).unwrap();
            watch.unbounded_send(live(&earlier)).unwrap();
            seconds(2).await;
            watch.unbounded_send(failed(&earlier, None)).unwrap();
        })
        .await;
    assert_eq!(told.reasons(), [Some("image-not-found")]);
    assert_eq!(server.patches().len(), 1, "ended as soon as it was adopted");
}

/// Two Jobs for one node, as the process of run `a` sees it; whether it has ended its own.
async fn has_given_way(own_second: i64, other_second: i64, own_first: bool) -> bool {
    let (plan, other) = (plan_of("a", 1, |_| {}), plan_of("b", 1, |_| {}));
    let (own, other) = (seen(first(&plan), own_second), seen(first(&other), other_second));
    let server = Server::silent();
    let told = Story::new(server.clone(), plan)
        .tell(async |watch| {
            server.wait_for_posts(1).await;
            let both = if own_first { [live(&own), live(&other)] } else { [live(&other), live(&own)] };
            for job in both {
                watch.unbounded_send(job).unwrap();
            }
            seconds(2).await;
            for job in [failed(&own, None), complete(&other)] {
                // Its own end is that of a Job that has given way, or of one that goes on.
                let is_own_going_on =
                    server.patches().is_empty() && matches!(&job, WatchEvent::Job(j) if j.key == own.key);
                watch.unbounded_send(if is_own_going_on { complete(&own) } else { job }).unwrap();
            }
        })
        .await;
    assert_eq!(told.reasons(), [None]);
    assert_eq!(server.posts().len(), 1);
    let patches = server.patches();
    let gave_way = !patches.is_empty();
    assert_eq!(told.adopted_from(), [gave_way.then_some("b")]);
    if gave_way {
        assert_eq!(patches.len(), 1);
        assert_eq!(patches[0].0, own.key.1);
        assert_eq!(patches[0].1["spec"]["activeDeadlineSeconds"], 1);
        let note = patches[0].1["metadata"]["annotations"]["quayctl-controller/outcome"].as_str().unwrap();
        assert!(note.contains("yielded") && note.contains(&other.key.1), "{note}");
    }
    gave_way
}

#[tokio::test(start_paused = true)]
async fn of_two_jobs_that_were_created_at_the_same_moment_the_younger_gives_way() {
    for own_first in [true, false] {
        assert!(has_given_way(5, 4, own_first).await);
        assert!(!has_given_way(4, 5, own_first).await);
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_jobs_of_the_same_second_exactly_one_gives_way() {
    let by_uid = first(&plan_of("a", 1, |_| {})).name > first(&plan_of("b", 1, |_| {})).name;
    for own_first in [true, false] {
        assert_eq!(has_given_way(4, 4, own_first).await, by_uid);
    }
}

#[tokio::test(start_paused = true)]
async fn a_younger_job_that_has_done_its_work_is_ended_and_nothing_is_done_again() {
    let plan = plan_of("a", 1, |_| {});
    let (own, other) = (seen(first(&plan), 5), seen(first(&plan_of("b", 1, |_| {})), 4));
    let server = Server::silent();
    let told = Story::new(server.clone(), plan)
        .tell(async |watch| {
            server.wait_for_posts(1).await;
            watch.unbounded_send(live(&own)).unwrap();
            watch.unbounded_send(pod(&own, None, true)).unwrap();
            watch.unbounded_send(live(&other)).unwrap();
            seconds(1).await;
            watch.unbounded_send(failed(&own, Some("{}"))).unwrap();
        })
        .await;
    assert_eq!((told.reasons(), told.adopted_from()), (vec![None], vec![None]));
    assert_eq!((server.posts().len(), server.patches().len()), (1, 1));
    assert_eq!(server.patches()[0].1["spec"]["activeDeadlineSeconds"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_gave_way_to_other_content_is_made_again_afterwards() {
    let plan = plan_of("a", 1, |_| {});
    let other = plan_of("b", 1, |g| g.service_account = "other".into());
    let (own, other) = (seen(first(&plan), 5), seen(first(&other), 4));
    let mut again = first(&plan).clone();
    again.take_next_name();
    let again = seen(&again, 9);
    let server = Server::silent();
    let told = Story::new(server.clone(), plan)
        .tell(async |watch| {
            server.wait_for_posts(1).await;
            watch.unbounded_send(live(&own)).unwrap();
            watch.unbounded_send(live(&other)).unwrap();
            seconds(1).await;
            watch.unbounded_send(failed(&own, Some("{}"))).unwrap();
            seconds(20).await;
            assert_eq!(server.posts().len(), 1, "the other's end is waited for");
            watch.unbounded_send(complete(&other)).unwrap();
            server.wait_for_posts(2).await;
            watch.unbounded_send(complete(&again)).unwrap();
        })
        .await;
    assert_eq!((told.reasons(), told.adopted_from()), (vec![None], vec![None]));
    assert_eq!(server.posts(), [own.key.1.as_str(), again.key.1.as_str()]);
    assert_eq!(server.patches().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_younger_job_whose_process_died_before_it_gave_way_is_ended_by_the_elders_run() {
    for (second, is_being_ended, expected) in [(5, false, 1), (5, true, 0), (3, false, 0)] {
        let plan = plan_of("a", 1, |_| {});
        let other = plan_of("b", 1, |g| g.service_account = "other".into());
        let (own, mut other) = (seen(first(&plan), 4), seen(first(&other), second));
        other.annotation = is_being_ended.then(|| "{}".to_owned());
        let server = Server::silent();
        let told = Story::new(server.clone(), plan)
            .tell(async |watch| {
                server.wait_for_posts(1).await;
                watch.unbounded_send(live(&own)).unwrap();
                watch.unbounded_send(live(&other)).unwrap();
                seconds(25).await;
                let of_other = || server.patches().iter().filter(|(name, _)| *name == other.key.1).count();
                assert_eq!(of_other(), 0, "its run has the time to do it itself");
                seconds(10).await;
                assert_eq!(of_other(), expected, "{:?}", server.patches());
                seconds(60).await;
                assert_eq!(of_other(), expected, "once");
                watch.unbounded_send(failed(&other, Some(YIELDED))).unwrap();
                watch.unbounded_send(complete(&own)).unwrap();
                if server.posts().len() > 1 || second < 4 {
                    let mut again = first(&plan_of("a", 1, |_| {})).clone();
                    again.take_next_name();
                    server.wait_for_posts(2).await;
                    watch.unbounded_send(complete(&seen(&again, 9))).unwrap();
                }
            })
            .await;
        assert_eq!(told.reasons(), [None]);
        if expected > 0 {
            let patches = server.patches();
            assert_eq!(patches[0].1["spec"]["activeDeadlineSeconds"], 1);
            let note = &patches[0].1["metadata"]["annotations"]["quayctl-controller/outcome"];
            let note = note.as_str().unwrap();
            assert!(note.contains("yielded") && note.contains(&own.key.1), "{note}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_both_processes_died_the_next_run_takes_over_one_job_and_waits_for_the_other() {
    let [elder, younger] =
        [("a", 4), ("b", 5)].map(|(run, second)| seen(first(&plan_of(run, 1, |_| {})), second));
    for listed in [vec![live(&elder), live(&younger)], vec![live(&younger), live(&elder)]] {
        let server = Server::silent();
        let mut story = Story::new(server.clone(), plan_of("c", 1, |_| {}));
        story.listed = listed;
        let told = story
            .tell(async |watch| {
                seconds(60).await;
                watch.unbounded_send(complete(&elder)).unwrap();
                watch.unbounded_send(complete(&younger)).unwrap();
            })
            .await;
        assert_eq!(told.reasons(), [None]);
        assert!(told.adopted_from()[0].is_some());
        assert_eq!((server.posts().len(), server.patches().len()), (0, 0));
    }
}

const YIELDED: &str = r#"{"verdict":"failed","reason":"yielded","message":"m","images":[]}"#;

#[tokio::test(start_paused = true)]
async fn a_repeated_run_knows_the_second_job_of_a_node_that_gave_way_once() {
    let plan = plan_of("a", 1, |_| {});
    let own = seen(first(&plan), 5);
    let mut again = first(&plan).clone();
    again.take_next_name();
    let again = seen(&again, 9);
    for listed in [
        vec![complete(&again), failed(&own, Some(YIELDED))],
        vec![failed(&own, Some(YIELDED)), complete(&again)],
    ] {
        let server = Server::silent();
        let mut story = Story::new(server.clone(), plan_of("a", 1, |_| {}));
        story.listed = listed;
        let told = story.tell(nothing).await;
        assert_eq!((told.reasons(), server.posts().len()), (vec![None], 0));
    }
}

#[tokio::test(start_paused = true)]
async fn another_process_of_the_same_run_that_gave_way_is_followed_there() {
    let plan = plan_of("a", 1, |_| {});
    let own = seen(first(&plan), 5);
    let elder = seen(first(&plan_of("b", 1, |_| {})), 4);
    let server = Server::silent();
    let told = Story::new(server.clone(), plan)
        .tell(async |watch| {
            server.wait_for_posts(1).await;
            watch.unbounded_send(live(&own)).unwrap();
            seconds(1).await;
            watch.unbounded_send(failed(&own, Some(YIELDED))).unwrap();
            watch.unbounded_send(live(&elder)).unwrap();
            seconds(1).await;
            watch.unbounded_send(complete(&elder)).unwrap();
            // Where the other run's Job is told of too late, ours is made once more.
            if server.posts().len() > 1 {
                let mut again = first(&plan_of("a", 1, |_| {})).clone();
                again.take_next_name();
                watch.unbounded_send(complete(&seen(&again, 7))).unwrap();
            }
        })
        .await;
    assert_eq!(told.reasons(), [None]);
    assert!(server.posts().len() <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_being_ended_is_waited_for_and_not_adopted() {
    let earlier = seen(first(&plan_of("earlier", 1, |_| {})), 0);
    let noted = ObservedJob { annotation: Some("{}".into()), ..earlier.clone() };
    let ended = ObservedJob { deadline_seconds: 1, ..earlier.clone() };
    for marked in [noted, ended] {
        let server = Server::silent();
        let plan = plan_of("later", 1, |_| {});
        let own = seen(first(&plan), 9);
        let mut story = Story::new(server.clone(), plan);
        story.listed = vec![live(&marked)];
        let told = story
            .tell(async |watch| {
                seconds(5).await;
                assert_eq!(server.posts().len(), 0, "it is live, and has the node");
                watch.unbounded_send(failed(&marked, None)).unwrap();
                server.wait_for_posts(1).await;
                watch.unbounded_send(complete(&own)).unwrap();
            })
            .await;
        assert_eq!((told.reasons(), told.adopted_from()), (vec![None], vec![None]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_spent_job_that_a_queue_holds_for_ever_keeps_no_node() {
    let earlier = seen(first(&plan_of("earlier", 1, |_| {})), 0);
    let spent =
        ObservedJob { annotation: Some("{}".into()), suspended: true, facts: facts(None, false), ..earlier };
    let server = Server::silent();
    let plan = plan_of("later", 1, |_| {});
    let own = seen(first(&plan), 9);
    let mut story = Story::new(server.clone(), plan);
    story.listed = vec![live(&spent)];
    let told = story
        .tell(async |watch| {
            server.wait_for_posts(1).await;
            watch.unbounded_send(complete(&own)).unwrap();
        })
        .await;
    assert_eq!(told.reasons(), [None]);
    assert!(told.took < Duration::from_secs(5), "{:?}", told.took);
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_that_outlasts_the_deadline_the_job_is_asked_for_before_it_is_given_up() {
    for (is_complete, reason, patches) in [(true, None, 0), (false, Some("deadline-exceeded"), 1)] {
        let plan = plan_of("a", 1, |_| {});
        let own = seen(first(&plan), 0);
        let answer = job_object(&own, true, is_complete);
        let server = Server::new(move |method, path, _| {
            (method == "GET" && path.contains("/jobs/")).then(|| (200, answer.clone()))
        });
        let told = Story::new(server.clone(), plan)
            .tell(async |watch| {
                server.wait_for_posts(1).await;
                watch.unbounded_send(live(&own)).unwrap();
            })
            .await;
        assert_eq!(told.reasons(), [reason]);
        assert_eq!(server.patches().len(), patches);
        let own_time = Duration::from_secs(300 + 30);
        assert!(told.took >= Duration::from_secs(300) && told.took <= own_time, "{:?}", told.took);
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_without_an_answer_is_asked_for_before_it_is_given_up() {
    let plan = plan_of("a", 1, |_| {});
    let own = seen(first(&plan), 0);
    let answer = job_object(&own, true, false);
    let server = Server::new(move |method, path, _| match method {
        "POST" if path.ends_with("/jobs") => Some((503, status(503, "ServiceUnavailable", "no"))),
        "GET" if path.contains("/jobs/") => Some((200, answer.clone())),
        _ => None,
    });
    let told = Story::new(server.clone(), plan)
        .tell(async |watch| {
            // Some retries, and the time in which the watch might have shown it.
            seconds(90 + 30 + 10).await;
            watch.unbounded_send(complete(&own)).unwrap();
        })
        .await;
    assert_eq!(told.reasons(), [None]);
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_label_was_taken_is_followed_by_its_pod_and_left_alone() {
    let plan = plan_of("a", 1, |_| {});
    let own = seen(first(&plan), 0);
    let answer = job_object(&own, false, false);
    let server = Server::new(move |method, path, _| {
        (method == "GET" && path.contains("/jobs/")).then(|| (200, answer.clone()))
    });
    let told = Story::new(server.clone(), plan)
        .tell(async |watch| {
            server.wait_for_posts(1).await;
            watch.unbounded_send(live(&own)).unwrap();
            watch.unbounded_send(WatchEvent::JobGone(own.key.clone())).unwrap();
            seconds(20).await;
            watch.unbounded_send(pod(&own, None, true)).unwrap();
        })
        .await;
    assert_eq!(told.reasons(), [None]);
    assert!(told.took >= Duration::from_secs(20) && told.took < Duration::from_secs(25), "{:?}", told.took);
    assert_eq!(server.patches(), []);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_gone_is_deleted_unless_its_node_has_the_images() {
    for (images, reason) in
        [(&["quay.io/team/app:1.00"][..], Some("job-deleted")), (&["quay.io/team/app:1.0"], None)]
    {
        let plan = plan_of("a", 1, |_| {});
        let own = seen(first(&plan), 0);
        let server = Server::new(move |method, path, _| {
            (method == "GET" && path.starts_with("/api/v1/nodes/")).then(|| (200, node(path, images)))
        });
        let told = Story::new(server.clone(), plan)
            .tell(async |watch| {
                server.wait_for_posts(1).await;
                watch.unbounded_send(live(&own)).unwrap();
                watch.unbounded_send(pod(&own, Some(("ContainerCreating", "")), false)).unwrap();
                watch.unbounded_send(WatchEvent::JobGone(own.key.clone())).unwrap();
            })
            .await;
        assert_eq!(told.reasons(), [reason]);
        assert!(told.took < Duration::from_secs(5), "{:?}", told.took);
        assert_eq!(server.patches(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn where_a_deadline_passes_without_a_cause_the_node_is_asked_what_it_has() {
    for (policy, images, reason) in [
        (crate::config::PullPolicy::IfNotPresent, &["quay.io/team/app:1.0"][..], None),
        (crate::config::PullPolicy::IfNotPresent, &["quay.io/team/app:1.0.1"], Some("deadline-exceeded")),
        (crate::config::PullPolicy::Always, &["quay.io/team/app:1.0"], Some("deadline-exceeded")),
    ] {
        let plan = plan_of("a", 1, |group| group.pull_policy = policy);
        let own = seen(first(&plan), 0);
        let server = Server::new(move |method, path, _| {
            (method == "GET" && path.starts_with("/api/v1/nodes/")).then(|| (200, node(path, images)))
        });
        let told = Story::new(server.clone(), plan)
            .tell(async |watch| {
                server.wait_for_posts(1).await;
                watch.unbounded_send(live(&own)).unwrap();
                watch.unbounded_send(pod(&own, Some(("ContainerCreating", "")), false)).unwrap();
                seconds(300).await;
                watch.unbounded_send(failed(&own, None)).unwrap();
            })
            .await;
        assert_eq!(told.reasons(), [reason], "{images:?}");
        if reason.is_some() {
            assert!(told.message().contains("not heard of"), "{}", told.message());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_carrier_ends_a_job_whose_images_are_there_and_the_node_has_succeeded() {
    let plan = plan_of("a", 1, |_| {});
    let own = seen(first(&plan), 0);
    let carrier = crate::render::DEFAULT_CARRIER_IMAGE;
    let words = format!(
        "Back-off pulling image \"{carrier}\": ErrImagePull: failed to resolve image: {carrier}: not found"
    );
    let server = Server::silent();
    let told = Story::new(server.clone(), plan)
        .tell(async |watch| {
            server.wait_for_posts(1).await;
            watch.unbounded_send(live(&own)).unwrap();
            watch.unbounded_send(pod(&own, Some(("ImagePullBackOff", &words)), false)).unwrap();
            let pull = PullFacts { image: "quay.io/team/app:1.0".into(), pulled: None };
            watch
                .unbounded_send(WatchEvent::PodEvent(format!("pod-of-{}", own.key.1), PodEvent::Pull(pull)))
                .unwrap();
            seconds(3).await;
            watch.unbounded_send(failed(&own, None)).unwrap();
        })
        .await;
    assert_eq!(told.reasons(), [None]);
    assert!(told.took < Duration::from_secs(10), "{:?}", told.took);
    assert_ended_as_succeeded(&server);
}

#[tokio::test(start_paused = true)]
async fn a_suspended_jobs_deadline_does_not_run_and_it_goes_on_when_it_is_admitted() {
    let plan = plan_of("a", 1, |_| {});
    let own = seen(first(&plan), 0);
    let held = ObservedJob { suspended: true, facts: facts(None, false), ..own.clone() };
    let server = Server::silent();
    let told = Story::new(server.clone(), plan)
        .tell(async |watch| {
            server.wait_for_posts(1).await;
            watch.unbounded_send(live(&held)).unwrap();
            seconds(3600).await;
            watch.unbounded_send(live(&own)).unwrap();
            seconds(290).await;
            watch.unbounded_send(complete(&own)).unwrap();
        })
        .await;
    assert_eq!(told.reasons(), [None]);
    assert_eq!(server.patches(), []);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_never_admitted_is_suspended_at_the_runs_deadline() {
    let plan = plan_of("a", 1, |_| {});
    let own = seen(first(&plan), 0);
    let held = ObservedJob { suspended: true, facts: facts(None, false), ..own.clone() };
    let server = Server::silent();
    let mut story = Story::new(server.clone(), plan);
    story.deadline_seconds = 1000;
    let told = story
        .tell(async |watch| {
            server.wait_for_posts(1).await;
            watch.unbounded_send(live(&held)).unwrap();
        })
        .await;
    assert_eq!(told.reasons(), [Some("suspended")]);
    assert!(told.took >= Duration::from_secs(1000), "{:?}", told.took);
    assert_eq!(server.patches().len(), 1, "it does not come alive when nobody waits for it");
}

/// As the watch shows it once it was ended while a queue held it.
fn spent(job: &ObservedJob) -> ObservedJob {
    let note = json!({"verdict": "failed", "reason": "suspended", "message": "", "images": []});
    let note = Some(note.to_string());
    ObservedJob {
        annotation: note,
        deadline_seconds: 1,
        suspended: true,
        facts: facts(None, false),
        ..job.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn a_suspended_job_of_this_very_run_that_was_ended_does_not_keep_its_node() {
    // A process of the same run gave it up: listed at the start, or told of while we wait for our turn.
    for is_listed in [true, false] {
        let server = Server::silent();
        let mut plan = plan_of("a", 1, |_| {});
        let given_up = spent(&seen(first(&plan), 0));
        plan.groups[0].jobs[0].take_next_name();
        let own = seen(first(&plan), 9);
        let mut story = Story::new(server.clone(), plan_of("a", 1, |_| {}));
        if is_listed {
            story.listed = vec![live(&given_up)];
        }
        let told = story
            .tell(async |watch| {
                if !is_listed {
                    server.wait_for_posts(1).await;
                    watch.unbounded_send(live(&given_up)).unwrap();
                }
                while server.posts().last() != Some(&own.key.1) {
                    seconds(1).await;
                }
                watch.unbounded_send(complete(&own)).unwrap();
            })
            .await;
        assert_eq!((told.reasons(), told.adopted_from()), (vec![None], vec![None]));
        assert!(told.took < Duration::from_secs(10), "{:?}", told.took);
        assert_eq!(server.patches(), [], "it is left as it was");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_of_a_second_makes_no_job_spent_that_a_queue_holds() {
    let plan = plan_of("a", 1, |group| group.deadline_seconds = 1);
    let own = seen(first(&plan), 0);
    let held = ObservedJob { suspended: true, facts: facts(None, false), ..own.clone() };
    let server = Server::silent();
    let told = Story::new(server.clone(), plan)
        .tell(async |watch| {
            server.wait_for_posts(1).await;
            watch.unbounded_send(live(&held)).unwrap();
            seconds(600).await;
            watch.unbounded_send(complete(&own)).unwrap();
        })
        .await;
    assert_eq!((told.reasons(), server.posts().len()), (vec![None], 1));
}

#[tokio::test(start_paused = true)]
async fn time_in_a_queue_is_added_to_a_computed_deadline() {
    for (is_computed, reason) in [(true, None), (false, Some("deadline-exceeded"))] {
        let server = Server::silent();
        let plan = plan_of("a", 1, |_| {});
        let own = seen(first(&plan), 0);
        let held = ObservedJob { suspended: true, facts: facts(None, false), ..own.clone() };
        let mut story = Story::new(server.clone(), plan);
        (story.deadline_seconds, story.deadline_is_computed) = (100, is_computed);
        let told = story
            .tell(async |watch| {
                server.wait_for_posts(1).await;
                watch.unbounded_send(live(&held)).unwrap();
                seconds(90).await;
                watch.unbounded_send(live(&own)).unwrap();
                seconds(60).await;
                let _ = watch.unbounded_send(complete(&own));
            })
            .await;
        assert_eq!(told.reasons(), [reason]);
    }
}

/// A pod with a container of ours, one that a webhook has added, and a sidecar that the kubelet ends.
fn injected_pod(job: &ObservedJob, own_is_over: bool, added_is_over: bool) -> WatchEvent {
    let container = |name: &str, is_init: bool, is_over: bool| ContainerFacts {
        name: name.into(),
        ran: true,
        is_init,
        is_over,
        ..ContainerFacts::default()
    };
    let containers = vec![
        container("native-sidecar", true, false),
        container("image-0", false, own_is_over),
        container("vault-agent", false, added_is_over),
    ];
    let uid = format!("pod-of-{}", job.key.1);
    WatchEvent::Pod(job.key.clone(), PodFacts { uid, on_node: true, containers, ..PodFacts::default() })
}

#[tokio::test(start_paused = true)]
async fn a_container_that_was_injected_and_never_ends_holds_no_slot_once_every_image_is_there() {
    let plan = plan_of("a", 1, |_| {});
    let own = seen(first(&plan), 0);
    let server = Server::silent();
    let told = Story::new(server.clone(), plan)
        .tell(async |watch| {
            server.wait_for_posts(1).await;
            watch.unbounded_send(live(&own)).unwrap();
            watch.unbounded_send(injected_pod(&own, false, false)).unwrap();
            seconds(60).await;
            assert_eq!(server.patches(), [], "ours is not done");
            watch.unbounded_send(injected_pod(&own, true, false)).unwrap();
            seconds(4).await;
            assert_eq!(server.patches(), [], "it may end by itself");
            seconds(3).await;
            watch.unbounded_send(failed(&own, None)).unwrap();
        })
        .await;
    assert_eq!(told.reasons(), [None]);
    assert!(told.took < Duration::from_secs(75), "{:?}", told.took);
    assert_ended_as_succeeded(&server);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_was_injected_and_ends_with_ours_leaves_the_job_to_complete() {
    let plan = plan_of("a", 1, |_| {});
    let own = seen(first(&plan), 0);
    let server = Server::silent();
    let told = Story::new(server.clone(), plan)
        .tell(async |watch| {
            server.wait_for_posts(1).await;
            watch.unbounded_send(live(&own)).unwrap();
            watch.unbounded_send(injected_pod(&own, true, false)).unwrap();
            seconds(3).await;
            watch.unbounded_send(injected_pod(&own, true, true)).unwrap();
            seconds(60).await;
            watch.unbounded_send(complete(&own)).unwrap();
        })
        .await;
    assert_eq!((told.reasons(), server.patches()), (vec![None], vec![]));
}

fn quota() -> (u16, Value) {
    let message = "jobs.batch \"g\" is forbidden: exceeded quota: few, requested: count/jobs.batch=1, used: \
                   count/jobs.batch=2, limited: count/jobs.batch=2";
    (403, status(403, "Forbidden", message))
}

#[tokio::test(start_paused = true)]
async fn a_quota_of_jobs_is_waited_out_without_a_storm_of_creates() {
    // Room for two Jobs at a time, and each goes half a minute after it was made.
    let there: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let (sender, receiver) = unbounded::<String>();
    let server = Server::new({
        let there = there.clone();
        move |method, path, body| {
            if method != "POST" || !path.ends_with("/jobs") {
                return None;
            }
            let mut there = there.lock().unwrap();
            there.retain(|made| made.elapsed() < Duration::from_secs(30));
            if there.len() >= 2 {
                return Some(quota());
            }
            there.push(Instant::now());
            sender.unbounded_send(body["metadata"]["name"].as_str().unwrap().to_owned()).unwrap();
            Some((201, body.clone()))
        }
    });
    let plan = plan_of("a", 8, |group| group.keep_jobs_seconds = 60);
    let jobs: Vec<ObservedJob> = plan.jobs().map(|job| seen(job, 0)).collect();
    let told = Story::new(server.clone(), plan)
        .tell(async |watch| {
            let mut made = receiver.take(8);
            while let Some(name) = made.next().await {
                let job = jobs.iter().find(|job| job.key.1 == name).unwrap();
                watch.unbounded_send(complete(job)).unwrap();
            }
        })
        .await;
    assert_eq!(told.reasons(), [None; 8]);
    // The first eight went out together; after that one at a time.
    let posts = server.posts().len();
    assert!(posts <= 8 + 6 + 12, "{posts} creates in {:?}", told.took);
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_cannot_pass_in_time_is_the_nodes_reason() {
    let server = Server::new(|method, path, _| (method == "POST" && path.ends_with("/jobs")).then(quota));
    let mut story = Story::new(server.clone(), plan_of("a", 40, |_| {}));
    // What is over is kept for an hour, and the run ends before.
    story.deadline_seconds = 1800;
    let told = story.tell(nothing).await;
    assert!(told.reasons().iter().all(|reason| *reason == Some("quota")), "{:?}", told.reasons());
    assert!(told.message().contains("exceeded quota: few"), "{}", told.message());
    assert!(told.took < Duration::from_secs(180), "{:?}", told.took);
    let posts = server.posts().len();
    assert!(posts <= CREATES_IN_FLIGHT + 6, "{posts} creates");

    let server = Server::new(|method, path, _| (method == "POST" && path.ends_with("/jobs")).then(quota));
    let mut story = Story::new(server.clone(), plan_of("a", 40, |_| {}));
    story.deadline_seconds = 7200;
    let told = story.tell(nothing).await;
    assert!(told.reasons().iter().all(|reason| *reason == Some("quota")), "{:?}", told.reasons());
    let posts = server.posts().len();
    assert!(posts <= CREATES_IN_FLIGHT + 125, "{posts} creates in two hours");
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_another_runs_jobs_is_added_to_a_computed_deadline() {
    // Of another group on another node, and it takes the only slot.
    let elsewhere = plan_of("other", 2, |group| group.name = "h".into());
    let other = seen(&elsewhere.groups[0].jobs[1], 0);
    for (is_computed, reason) in [(true, None), (false, Some("not-started"))] {
        let server = Server::silent();
        let plan = plan_of("a", 1, |_| {});
        let own = seen(first(&plan), 9);
        let mut story = Story::new(server.clone(), plan);
        (story.concurrency, story.deadline_seconds, story.deadline_is_computed) = (1, 60, is_computed);
        story.listed = vec![live(&other)];
        let told = story
            .tell(async |watch| {
                seconds(200).await;
                let _ = watch.unbounded_send(complete(&other));
                if is_computed {
                    server.wait_for_posts(1).await;
                    watch.unbounded_send(complete(&own)).unwrap();
                }
            })
            .await;
        assert_eq!(told.reasons(), [reason]);
        if reason.is_some() {
            assert!(told.message().contains("run other"), "{}", told.message());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_is_no_quota_is_final() {
    let server = Server::new(|method, path, _| {
        let words = "admission webhook \"w\" denied the request: no";
        (method == "POST" && path.ends_with("/jobs")).then(|| (403, status(403, "Forbidden", words)))
    });
    let told = Story::new(server.clone(), plan_of("a", 3, |_| {})).tell(nothing).await;
    assert_eq!(told.reasons(), [Some("forbidden"); 3]);
    assert_eq!(server.posts().len(), 3);
}
