//! Two shared watches a namespace, Jobs and pods, turned into facts.
//!
//! They select by managed-by and instance, not by run, and are begun before the first Job is
//! created, so no end of a Job is missed. A dropped watch resumes or lists again by itself; what
//! vanished in between is reported as gone.

use std::collections::HashSet;

use futures::stream::{BoxStream, SelectAll};
use futures::{Stream, StreamExt};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::error::Access;
use super::retry::PATIENCE;
use super::wire::{WatchedJob, WatchedPod};
use super::{Cluster, ClusterError};
use crate::outcome::{JobFacts, PodFacts};
use crate::render::label;

/// A half-open connection is noticed after this and 5 s (kube's own margin), well within the
/// shortest useful deadline; 290 s, kube's default, is as long as our default deadline.
const WATCH_SECONDS: u32 = 60;

/// Namespace and name.
pub type JobKey = (String, String);

/// What a watch noticed.
#[derive(Debug)]
pub enum Seen {
    Job(JobKey, JobFacts),
    JobGone(JobKey),
    Pod(JobKey, PodFacts),
    /// By uid: the Job may have made another pod by now.
    PodGone(JobKey, String),
    /// The watch failed and tries again by itself.
    Trouble(ClusterError),
    /// The watch failed in a way that trying again does not mend.
    Denied(ClusterError),
}

/// The running watches of one run.
#[expect(missing_debug_implementations, reason = "it holds streams")]
pub struct Watches {
    stream: SelectAll<BoxStream<'static, Notice>>,
    /// What the first lists held, oldest first.
    listed: Vec<Seen>,
}

enum Notice {
    Seen(Seen),
    Listed,
}

impl Cluster {
    /// Opens the watches of `instance`'s Jobs and pods in each of `namespaces`, and returns when
    /// all of them have delivered what is there now.
    pub async fn watch(&self, namespaces: &[String], instance: &str) -> Result<Watches, ClusterError> {
        let mut stream = SelectAll::new();
        for namespace in namespaces {
            stream.push(self.watch_kind::<WatchedJob>(namespace, instance));
            stream.push(self.watch_kind::<WatchedPod>(namespace, instance));
        }
        let mut watches = Watches { listed: Vec::new(), stream };
        match timeout(PATIENCE, watches.first_lists(2 * namespaces.len())).await {
            Ok(first) => first.map(|()| watches),
            Err(_) => {
                let cause = format!("no list of Jobs and pods within {} s", PATIENCE.as_secs());
                Err(ClusterError::Unreachable { server: self.server.clone(), cause })
            }
        }
    }

    fn watch_kind<K: Watched>(&self, namespace: &str, instance: &str) -> BoxStream<'static, Notice> {
        let selector =
            format!("{}={},{}={instance}", label::MANAGED_BY, label::MANAGED_BY_VALUE, label::INSTANCE);
        let config = watcher::Config::default().labels(&selector).timeout(WATCH_SECONDS);
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        // Without a backoff a failing list is repeated as fast as the server can refuse it.
        let events = watcher(api, config).default_backoff();
        let (server, namespace) = (self.server.clone(), namespace.to_owned());
        notices(events, move |error| trouble(&server, K::RESOURCE, &namespace, &error)).boxed()
    }
}

impl Watches {
    /// The next thing that any watch notices; waits for ever where nothing happens.
    pub async fn next(&mut self) -> Seen {
        loop {
            match self.stream.next().await {
                Some(Notice::Seen(seen)) => return seen,
                Some(Notice::Listed) => {}
                // A watcher's stream has no end; without any there is nothing to notice.
                None => std::future::pending().await,
            }
        }
    }

    /// What was there before the first Job of this run.
    pub fn take_listed(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.listed)
    }

    async fn first_lists(&mut self, mut missing: usize) -> Result<(), ClusterError> {
        while missing > 0 {
            match self.stream.next().await {
                Some(Notice::Listed) => missing -= 1,
                Some(Notice::Seen(Seen::Denied(error))) => return Err(error),
                Some(Notice::Seen(seen)) => self.listed.push(seen),
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

/// A resource that one of the watches follows.
trait Watched:
    Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
    + Clone
    + std::fmt::Debug
    + DeserializeOwned
    + Send
    + 'static
{
    const RESOURCE: &str;
    /// `None` where it belongs to no Job.
    fn identity(&self) -> Option<Identity>;
    fn seen(self, job: JobKey) -> Seen;
    fn gone(identity: Identity) -> Seen;
}

/// Enough of an object to say that it is gone.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Identity {
    job: JobKey,
    uid: String,
}

impl Watched for WatchedJob {
    const RESOURCE: &str = "jobs.batch";

    fn identity(&self) -> Option<Identity> {
        let job = (self.namespace()?, self.metadata.name.clone()?);
        Some(Identity { job, uid: self.uid().unwrap_or_default() })
    }

    fn seen(self, job: JobKey) -> Seen {
        Seen::Job(job, JobFacts::new(&self.status))
    }

    fn gone(identity: Identity) -> Seen {
        Seen::JobGone(identity.job)
    }
}

impl Watched for WatchedPod {
    const RESOURCE: &str = "pods";

    fn identity(&self) -> Option<Identity> {
        let job = (self.namespace()?, self.job_name()?.to_owned());
        Some(Identity { job, uid: self.uid().unwrap_or_default() })
    }

    fn seen(self, job: JobKey) -> Seen {
        let uid = self.uid().unwrap_or_default();
        Seen::Pod(job, PodFacts::new(uid, self.node_name.is_some(), &self.status))
    }

    fn gone(identity: Identity) -> Seen {
        Seen::PodGone(identity.job, identity.uid)
    }
}

/// Turns a watcher's events into notices. Remembers what is there, because a watch that had to list
/// again says what there is and not what has gone.
fn notices<K: Watched>(
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
    trouble: impl Fn(watcher::Error) -> Seen + Send + 'static,
) -> impl Stream<Item = Notice> + Send {
    let mut there = HashSet::new();
    let mut listed = HashSet::new();
    events.flat_map(move |event| {
        let mut notices = Vec::new();
        match event {
            Ok(Event::Apply(object)) => {
                if let Some(identity) = object.identity() {
                    there.insert(identity.clone());
                    notices.push(Notice::Seen(object.seen(identity.job)));
                }
            }
            Ok(Event::InitApply(object)) => {
                if let Some(identity) = object.identity() {
                    listed.insert(identity.clone());
                    notices.push(Notice::Seen(object.seen(identity.job)));
                }
            }
            Ok(Event::Delete(object)) => {
                if let Some(identity) = object.identity() {
                    there.remove(&identity);
                    // Its last state first: a pod's end may come together with its deletion.
                    notices.push(Notice::Seen(object.seen(identity.job.clone())));
                    notices.push(Notice::Seen(K::gone(identity)));
                }
            }
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitDone) => {
                let now = std::mem::take(&mut listed);
                let gone = there.difference(&now).cloned();
                notices.extend(gone.map(|identity| Notice::Seen(K::gone(identity))));
                there = now;
                notices.push(Notice::Listed);
            }
            Err(error) => notices.push(Notice::Seen(trouble(error))),
        }
        futures::stream::iter(notices)
    })
}

fn trouble(server: &str, resource: &'static str, namespace: &str, error: &watcher::Error) -> Seen {
    let (verb, error) = match error {
        watcher::Error::InitialListFailed(error) => ("list", error),
        watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => ("watch", error),
        // 410 for the most part: the watcher lists again.
        watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion => {
            let (server, cause) = (server.to_owned(), error.to_string());
            return Seen::Trouble(ClusterError::Api { server, what: format!("watch {resource}"), cause });
        }
    };
    let access = Access { verb, resource, namespace: Some(namespace) };
    match ClusterError::from_kube(server, access, error) {
        denied @ (ClusterError::Forbidden { .. } | ClusterError::Unauthorized { .. }) => Seen::Denied(denied),
        passing => Seen::Trouble(passing),
    }
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
        WatchedJob { metadata, status: Default::default() }
    }

    async fn words(events: Vec<watcher::Result<Event<WatchedJob>>>) -> Vec<String> {
        let server = "https://127.0.0.1:6443";
        notices(futures::stream::iter(events), move |e| trouble(server, "jobs.batch", "ns", &e))
            .map(|notice| match notice {
                Notice::Listed => "listed".to_owned(),
                Notice::Seen(Seen::Job(key, _)) => format!("job {}", key.1),
                Notice::Seen(Seen::JobGone(key)) => format!("gone {}", key.1),
                Notice::Seen(Seen::Denied(error)) => error.to_string(),
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
            Err(watcher::Error::NoResourceVersion),
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
            Err(watcher::Error::NoResourceVersion),
            Ok(Event::Init),
            Ok(Event::InitApply(job("a"))),
            Ok(Event::InitDone),
        ];
        assert_eq!(words(events).await, ["job a", "listed", "trouble", "job a", "listed"]);
    }

    #[tokio::test]
    async fn a_refused_list_names_verb_resource_and_namespace() {
        let status = kube::core::Status::failure("User \"u\" cannot list", "Forbidden").with_code(403);
        let error = watcher::Error::InitialListFailed(kube::Error::Api(status.boxed()));
        let words = words(vec![Err(error)]).await;
        assert!(
            words[0].starts_with("not allowed to list jobs.batch in namespace \"ns\": User"),
            "{words:?}"
        );
    }
}
