//! Four shared watches a namespace, turned into facts: Jobs, pods, and two kinds of events.
//!
//! Jobs and pods are selected by managed-by and instance, not by run, and listed before the first
//! Job is created, so no end of a Job is missed. A dropped watch resumes or lists again by itself;
//! what vanished in between is reported as gone.
//!
//! Of what is listed at first only that is kept which somebody judges by ([`first_lists`]): leftovers of a
//! week are thousands of Jobs, each with a pod and its events.

use std::collections::{BTreeMap, HashMap};

use futures::stream::{BoxStream, SelectAll};
use futures::{Stream, StreamExt};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use tokio_util::sync::CancellationToken;

use super::error::{Access, call_error};
use super::retry::{WatchFailure, with_watch_retries};
use super::set_aside::told;
use super::wire::{Tolerant, WatchedEvent, WatchedJob, WatchedPod};
use super::{Cluster, ClusterError, WATCH_SECONDS};
use crate::decode::Read;
use crate::outcome::{JobFacts, PodEvent, PodFacts, Rejection};
use crate::render::label::{self, annotation};
use crate::scheduler::RunHistory;
use crate::watch_event::{JobKey, ObservedJob, WatchEvent};

use first_lists::FirstLists;
pub use first_lists::Wanted;

mod first_lists;

/// How many objects a page of a list holds. A pod of 20 images is some 40 KB of JSON, so a page with its
/// copy is 4 MB; at kube's 500 it would be ten times that.
const PAGE_SIZE: u32 = 50;

/// The running watches of one run.
#[expect(missing_debug_implementations, reason = "it holds streams")]
pub struct Watches {
    stream: SelectAll<BoxStream<'static, Notice>>,
    /// By namespace: ends its watches.
    namespaces: HashMap<String, CancellationToken>,
    /// What the first lists held, oldest first.
    listed: Vec<WatchEvent>,
    /// Of which runs the first lists held Jobs.
    history: RunHistory,
    /// By namespace: why there is no watch.
    forbidden: BTreeMap<String, ClusterError>,
}

enum Notice {
    Seen(WatchEvent),
    /// The watch of this number has listed all there is.
    Listed(usize),
}

impl Cluster {
    /// Opens the watches of `instance`'s Jobs and pods in each of `namespaces`, and returns when
    /// all of them have delivered what is there now and is `wanted`.
    ///
    /// A namespace that may not be watched is set aside ([`Watches::forbidden`]). An error is one that all of
    /// them meet.
    pub async fn watch(
        &self,
        namespaces: &[String],
        instance: &str,
        wanted: Wanted,
    ) -> Result<Watches, ClusterError> {
        let ours =
            format!("{}={},{}={instance}", label::MANAGED_BY, label::MANAGED_BY_VALUE, label::INSTANCE);
        let labelled = watcher::Config::default().labels(&ours);
        let pod_events = watcher::Config::default().fields(&pod_event_fields());
        let rejections = watcher::Config::default().fields("reason=FailedCreate,involvedObject.kind=Job");
        let mut lists = FirstLists::new(&self.server, namespaces, wanted);
        // Each round tells which objects of the next are of any use.
        lists
            .round(|namespace, number| {
                vec![self.watch_kind::<WatchedJob>(namespace, labelled.clone(), seen_job, number)]
            })
            .await?;
        lists
            .round(|namespace, number| {
                vec![
                    self.watch_kind::<WatchedPod>(namespace, labelled.clone(), seen_pod, number),
                    self.watch_kind::<WatchedEvent>(
                        namespace,
                        rejections.clone(),
                        seen_rejection,
                        number + 1,
                    ),
                ]
            })
            .await?;
        lists
            .round(|namespace, number| {
                vec![self.watch_kind::<WatchedEvent>(namespace, pod_events.clone(), seen_pod_event, number)]
            })
            .await?;
        Ok(lists.into_watches())
    }

    fn watch_kind<K: Watched>(
        &self,
        namespace: &str,
        config: watcher::Config,
        seen: fn(K) -> Option<WatchEvent>,
        number: usize,
    ) -> BoxStream<'static, Notice> {
        let api = Api::<Tolerant<K>>::namespaced(self.client.clone(), namespace);
        let config = config.timeout(WATCH_SECONDS).page_size(PAGE_SIZE);
        let events = with_watch_retries(move || watcher(api.clone(), config.clone()));
        let events = self.traffic.count_restarts(told(events));
        let (server, namespace) = (self.server.clone(), namespace.to_owned());
        notices(events, number, seen, move |error| trouble(&server, K::RESOURCE, &namespace, &error)).boxed()
    }
}

impl Watches {
    /// The next thing that any watch notices; waits for ever where nothing happens.
    pub async fn next(&mut self) -> WatchEvent {
        loop {
            match self.stream.next().await {
                Some(Notice::Seen(seen)) => return seen,
                Some(Notice::Listed(_)) => {}
                // A watcher's stream has no end; without any there is nothing to notice.
                None => std::future::pending().await,
            }
        }
    }

    /// Follows what `more` follows, too.
    pub fn join(&mut self, more: Watches) {
        let Watches { stream, namespaces, listed, history: _, forbidden } = more;
        self.stream.extend(stream);
        self.forbidden.retain(|namespace, _| !namespaces.contains_key(namespace));
        self.forbidden.extend(forbidden);
        self.namespaces.extend(namespaces);
        self.listed.extend(listed);
    }

    /// Namespaces that it follows.
    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.namespaces.keys().map(String::as_str)
    }

    /// Follows only these namespaces of those that it follows.
    pub fn keep_only(&mut self, namespaces: &[String]) {
        self.forbidden.retain(|namespace, _| namespaces.contains(namespace));
        self.namespaces.retain(|namespace, end| {
            let kept = namespaces.contains(namespace);
            if !kept {
                end.cancel();
            }
            kept
        });
    }

    /// Of which runs there were Jobs at first.
    pub fn take_history(&mut self) -> RunHistory {
        std::mem::take(&mut self.history)
    }

    /// Namespaces that may not be watched, each with the reason.
    pub fn forbidden(&self) -> &BTreeMap<String, ClusterError> {
        &self.forbidden
    }

    /// What was there before the first Job of this run.
    pub fn take_listed(&mut self) -> Vec<WatchEvent> {
        std::mem::take(&mut self.listed)
    }

    /// Of a test, which tells them what to notice.
    #[cfg(test)]
    pub fn scripted(listed: Vec<WatchEvent>, seen: BoxStream<'static, WatchEvent>) -> Watches {
        let stream = SelectAll::from_iter([seen.map(Notice::Seen).boxed()]);
        Watches {
            stream,
            namespaces: HashMap::new(),
            listed,
            history: RunHistory::default(),
            forbidden: BTreeMap::new(),
        }
    }
}

/// A resource that one of the watches follows.
trait Watched:
    Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
    + Clone
    + std::fmt::Debug
    + Read
    + Send
    + 'static
{
    const RESOURCE: &str;
    /// The Job that something is to be said about when this goes; `None` where nobody wants to know.
    fn job(&self) -> Option<JobKey>;
    fn gone(job: JobKey, uid: String) -> WatchEvent;
}

impl Watched for WatchedJob {
    const RESOURCE: &str = "jobs.batch";

    fn job(&self) -> Option<JobKey> {
        job_key(self)
    }

    fn gone(job: JobKey, _: String) -> WatchEvent {
        WatchEvent::JobGone(job)
    }
}

impl Watched for WatchedPod {
    const RESOURCE: &str = "pods";

    fn job(&self) -> Option<JobKey> {
        Some((self.namespace()?, self.job_name()?.to_owned()))
    }

    fn gone(job: JobKey, uid: String) -> WatchEvent {
        WatchEvent::PodGone(job, uid)
    }
}

impl Watched for WatchedEvent {
    const RESOURCE: &str = "events";

    fn job(&self) -> Option<JobKey> {
        None
    }

    /// Never asked for: events expire, and that says nothing.
    fn gone(job: JobKey, _: String) -> WatchEvent {
        WatchEvent::JobGone(job)
    }
}

fn job_key(job: &WatchedJob) -> Option<JobKey> {
    Some((job.namespace()?, job.metadata.name.clone()?))
}

fn seen_job(job: WatchedJob) -> Option<WatchEvent> {
    observed_job(&job).map(|job| WatchEvent::Job(Box::new(job)))
}

/// `None` for an object without a name, which no API server sends.
pub fn observed_job(job: &WatchedJob) -> Option<ObservedJob> {
    let label = |key: &str| job.labels().get(key).cloned().unwrap_or_default();
    let annotation = |key: &str| job.annotations().get(key).cloned();
    Some(ObservedJob {
        key: job_key(job)?,
        uid: job.uid().unwrap_or_default(),
        created_at: job.metadata.creation_timestamp.as_ref().map(|time| time.0),
        group: label(label::GROUP),
        run_id: label(label::RUN),
        node: annotation(annotation::NODE).unwrap_or_default(),
        content: annotation(annotation::CONTENT).unwrap_or_default(),
        annotation: annotation(annotation::OUTCOME),
        deadline_seconds: job.active_deadline_seconds.unwrap_or_default(),
        suspended: job.suspended,
        facts: JobFacts::new(&job.status),
    })
}

fn seen_pod(pod: WatchedPod) -> Option<WatchEvent> {
    let key = (pod.namespace()?, pod.job_name()?.to_owned());
    let (uid, terminating) = (pod.uid()?, pod.metadata.deletion_timestamp.is_some());
    Some(WatchEvent::Pod(key, PodFacts::new(uid, pod.node_name.is_some(), terminating, &pod.status)))
}

fn seen_pod_event(event: WatchedEvent) -> Option<WatchEvent> {
    PodEvent::of(&event.reason, &event.message).map(|told| WatchEvent::PodEvent(event.object_uid, told))
}

/// Selects the events of pods that may tell something. A field selector has no "or", so what every pod has,
/// and what its status says too, is ruled out one by one: of a pod that is well, `Pulled` is left, and of
/// others what ails them.
fn pod_event_fields() -> String {
    const SAID_ELSEWHERE: [&str; 10] = [
        "Scheduled",
        "Pulling",
        "Created",
        "Started",
        "Killing",
        "BackOff",
        "Failed",
        "InspectFailed",
        "Unhealthy",
        "TaintManagerEviction",
    ];
    let ruled_out = SAID_ELSEWHERE.iter().map(|reason| format!(",reason!={reason}"));
    format!("involvedObject.kind=Pod{}", ruled_out.collect::<String>())
}

fn seen_rejection(event: WatchedEvent) -> Option<WatchEvent> {
    let key = (event.namespace()?, event.object_name);
    Some(WatchEvent::Rejected(key, event.object_uid, Rejection::of_message(&event.message)))
}

/// Turns a watcher's events into notices. Remembers what is there, because a watch that had to list
/// again says what there is and not what has gone.
fn notices<K: Watched>(
    events: impl Stream<Item = Result<Event<K>, WatchFailure>> + Send + 'static,
    number: usize,
    seen: fn(K) -> Option<WatchEvent>,
    trouble: impl Fn(WatchFailure) -> WatchEvent + Send + 'static,
) -> impl Stream<Item = Notice> + Send {
    let mut there: HashMap<String, JobKey> = HashMap::new();
    let mut listed = HashMap::new();
    let identity = |object: &K| Some((object.uid()?, object.job()?));
    events.flat_map(move |event| {
        let mut notices = Vec::new();
        match event {
            Ok(Event::Apply(object)) => {
                there.extend(identity(&object));
                notices.extend(seen(object).map(Notice::Seen));
            }
            Ok(Event::InitApply(object)) => {
                listed.extend(identity(&object));
                notices.extend(seen(object).map(Notice::Seen));
            }
            Ok(Event::Delete(object)) => {
                let identity = identity(&object);
                // Its last state first: a pod's end may come together with its deletion.
                notices.extend(seen(object).map(Notice::Seen));
                if let Some((uid, job)) = identity {
                    there.remove(&uid);
                    notices.push(Notice::Seen(K::gone(job, uid)));
                }
            }
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitDone) => {
                let now = std::mem::take(&mut listed);
                let before = std::mem::replace(&mut there, now);
                let gone = before.into_iter().filter(|(uid, _)| !there.contains_key(uid));
                notices.extend(gone.map(|(uid, job)| Notice::Seen(K::gone(job, uid))));
                notices.push(Notice::Listed(number));
            }
            // One that passes within a moment is nobody's trouble.
            Err(failure) if !failure.is_lasting && !failure.is_refused => {}
            Err(failure) => notices.push(Notice::Seen(trouble(failure))),
        }
        futures::stream::iter(notices)
    })
}

fn trouble(server: &str, resource: &'static str, namespace: &str, failed: &WatchFailure) -> WatchEvent {
    let error = failure(server, resource, Some(namespace), &failed.error);
    if failed.is_refused { WatchEvent::Forbidden(error) } else { WatchEvent::Interrupted(error) }
}

/// What a watcher's error says about the cluster.
pub fn failure(
    server: &str,
    resource: &'static str,
    namespace: Option<&str>,
    error: &watcher::Error,
) -> ClusterError {
    let (verb, error) = match error {
        watcher::Error::InitialListFailed(error) => ("list", error),
        watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => ("watch", error),
        // 410 for the most part: the watcher lists again.
        watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion => {
            let (server, cause) = (server.to_owned(), error.to_string());
            return ClusterError::Api { server, what: format!("watch {resource}"), cause };
        }
    };
    call_error(server, Access { verb, resource, namespace }, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    fn job(name: &str) -> WatchedJob {
        let metadata = ObjectMeta {
            name: Some(name.into()),
            namespace: Some("ns".into()),
            uid: Some(format!("uid-{name}")),
            ..ObjectMeta::default()
        };
        WatchedJob { metadata, active_deadline_seconds: None, suspended: false, status: Default::default() }
    }

    fn broken(is_lasting: bool) -> WatchFailure {
        WatchFailure { error: watcher::Error::NoResourceVersion, is_lasting, is_refused: false }
    }

    async fn words(events: Vec<Result<Event<WatchedJob>, WatchFailure>>) -> Vec<String> {
        let server = "https://127.0.0.1:6443";
        notices(futures::stream::iter(events), 0, seen_job, move |e| trouble(server, "jobs.batch", "ns", &e))
            .map(|notice| match notice {
                Notice::Listed(_) => "listed".to_owned(),
                Notice::Seen(WatchEvent::Job(job)) => format!("job {}", job.key.1),
                Notice::Seen(WatchEvent::JobGone(key)) => format!("gone {}", key.1),
                Notice::Seen(WatchEvent::Forbidden(error)) => error.to_string(),
                Notice::Seen(_) => "trouble".to_owned(),
            })
            .collect()
            .await
    }

    #[tokio::test]
    async fn a_watch_that_lists_again_reports_what_has_gone_meanwhile() {
        let events = vec![
            Ok(Event::Init),
            Ok(Event::InitApply(job("a"))),
            Ok(Event::InitDone),
            Ok(Event::Apply(job("b"))),
            Err(broken(true)),
            Ok(Event::Init),
            Ok(Event::InitApply(job("b"))),
            Ok(Event::InitDone),
        ];
        let expected = ["job a", "listed", "job b", "trouble", "job b", "gone a", "listed"];
        assert_eq!(words(events).await, expected);
    }

    #[tokio::test]
    async fn a_list_that_breaks_off_makes_nothing_gone() {
        let events = vec![
            Ok(Event::Init),
            Ok(Event::InitApply(job("a"))),
            Ok(Event::InitDone),
            Ok(Event::Init),
            Err(broken(true)),
            Ok(Event::Init),
            Ok(Event::InitApply(job("a"))),
            Ok(Event::InitDone),
        ];
        assert_eq!(words(events).await, ["job a", "listed", "trouble", "job a", "listed"]);
    }

    #[tokio::test]
    async fn a_watch_that_is_back_at_once_is_nobodys_trouble() {
        let events =
            vec![Ok(Event::Init), Ok(Event::InitDone), Err(broken(false)), Ok(Event::Apply(job("a")))];
        assert_eq!(words(events).await, ["listed", "job a"]);
    }

    #[tokio::test]
    async fn a_refused_list_names_verb_resource_and_namespace() {
        let status = kube::core::Status::failure("User \"u\" cannot list", "Forbidden").with_code(403);
        let error = watcher::Error::InitialListFailed(kube::Error::Api(status.boxed()));
        let words = words(vec![Err(WatchFailure { error, is_lasting: true, is_refused: true })]).await;
        assert!(
            words[0].starts_with("not allowed to list jobs.batch in namespace \"ns\": User"),
            "{words:?}"
        );
    }
}
