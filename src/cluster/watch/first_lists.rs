//! What is there when the watches begin, reduced while it comes in to what somebody judges by.
//!
//! A process of a few MiB meets what runs of a week have left: thousands of Jobs that are over, each with a
//! pod and its events. So each kind is listed after the one that tells what is of use: Jobs, then their
//! pods, then what events say of those pods.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use jiff::Timestamp;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::ClusterError;
use super::{Notice, Watches};
use crate::plan::RunId;
use crate::runner::RETRY_TIMEOUT;
use crate::scheduler::RunHistory;
use crate::watch_event::{JobKey, ObservedJob, WatchEvent};

/// Which Jobs that are over are wanted. Live ones are always: each holds its node.
#[derive(Debug)]
pub enum Wanted {
    /// These.
    Jobs(HashSet<JobKey>),
    /// Those of each group's last run that was due at some time, and those of runs without a time.
    LastRuns,
}

pub struct FirstLists {
    server: String,
    wanted: Wanted,
    stream: SelectAll<BoxStream<'static, Notice>>,
    /// By namespace: ends its watches. Those that were forbidden are taken out.
    namespaces: HashMap<String, CancellationToken>,
    forbidden: BTreeMap<String, ClusterError>,
    listed: Vec<WatchEvent>,
    history: RunHistory,
    /// Jobs that were live when they were seen: their end is news.
    live: HashSet<JobKey>,
    /// Jobs that are over and not wanted.
    useless: HashSet<JobKey>,
    /// Pods of others, by uid.
    pods: HashSet<String>,
    /// Number of the next watch.
    next: usize,
}

impl FirstLists {
    pub fn new(server: &str, namespaces: &[String], wanted: Wanted) -> FirstLists {
        let namespaces = namespaces.iter().map(|name| (name.clone(), CancellationToken::new()));
        FirstLists {
            server: server.to_owned(),
            wanted,
            stream: SelectAll::new(),
            namespaces: namespaces.collect(),
            forbidden: BTreeMap::new(),
            listed: Vec::new(),
            history: RunHistory::default(),
            live: HashSet::new(),
            useless: HashSet::new(),
            pods: HashSet::new(),
            next: 0,
        }
    }

    /// Begins the watches that `open` gives for each namespace, numbered from the number that it gets, and
    /// waits until each has listed what is there.
    pub async fn round(
        &mut self,
        open: impl Fn(&str, usize) -> Vec<BoxStream<'static, Notice>>,
    ) -> Result<(), ClusterError> {
        // By number: of which namespace it is.
        let mut missing: HashMap<usize, String> = HashMap::new();
        for (namespace, end) in &self.namespaces {
            for watch in open(namespace, self.next) {
                missing.insert(self.next, namespace.clone());
                self.next += 1;
                self.stream.push(watch.take_until(end.clone().cancelled_owned()).boxed());
            }
        }
        match timeout(RETRY_TIMEOUT, self.drain(missing)).await {
            Ok(drained) => drained?,
            Err(_) => return Err(self.unlisted()),
        }
        if let Wanted::LastRuns = self.wanted {
            self.forget_earlier_runs();
        }
        match self.forbidden.values().next() {
            Some(error) if self.namespaces.is_empty() => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Why there is no list: what the API server last answered, else that it did not.
    fn unlisted(&self) -> ClusterError {
        let answer = self.listed.iter().rev().find_map(|seen| match seen {
            WatchEvent::Interrupted(error @ ClusterError::Api { .. }) => Some(error.clone()),
            _ => None,
        });
        answer.unwrap_or_else(|| {
            let cause = format!("no list of Jobs, pods and events within {} s", RETRY_TIMEOUT.as_secs());
            ClusterError::Unreachable { server: self.server.clone(), cause }
        })
    }

    pub fn into_watches(self) -> Watches {
        let FirstLists { stream, namespaces, listed, history, forbidden, .. } = self;
        Watches { stream, namespaces, listed, history, forbidden }
    }

    async fn drain(&mut self, mut missing: HashMap<usize, String>) -> Result<(), ClusterError> {
        // A watch may list again while another's first list is still out.
        while !missing.is_empty() {
            match self.stream.next().await {
                Some(Notice::Listed(watch)) => drop(missing.remove(&watch)),
                Some(Notice::Seen(WatchEvent::Forbidden(error))) => {
                    let Some(namespace) = error.namespace().map(str::to_owned) else { return Err(error) };
                    if let Some(end) = self.namespaces.remove(&namespace) {
                        end.cancel();
                    }
                    missing.retain(|_, of| *of != namespace);
                    self.forbidden.insert(namespace, error);
                }
                Some(Notice::Seen(seen)) => {
                    if self.keeps(&seen) {
                        self.listed.push(seen);
                    }
                }
                None => return Ok(()),
            }
        }
        Ok(())
    }

    fn keeps(&mut self, seen: &WatchEvent) -> bool {
        match seen {
            WatchEvent::Job(job) => {
                let is_live = job.facts.ending().is_none();
                self.history.add(&job.group, &job.run_id, is_live);
                let is_wanted = match &self.wanted {
                    Wanted::Jobs(jobs) => jobs.contains(&job.key),
                    Wanted::LastRuns => true,
                };
                if is_live {
                    self.live.insert(job.key.clone());
                    self.useless.remove(&job.key);
                } else if !is_wanted && !self.live.contains(&job.key) {
                    self.useless.insert(job.key.clone());
                }
                !self.useless.contains(&job.key)
            }
            WatchEvent::Pod(job, facts) => {
                let is_kept = !self.useless.contains(job);
                if is_kept {
                    self.pods.insert(facts.uid.clone());
                }
                is_kept
            }
            WatchEvent::JobGone(job) | WatchEvent::PodGone(job, _) | WatchEvent::Rejected(job, _, _) => {
                !self.useless.contains(job)
            }
            WatchEvent::PodEvent(pod, _) => self.pods.contains(pod),
            WatchEvent::Interrupted(_) | WatchEvent::Forbidden(_) => true,
        }
    }

    fn forget_earlier_runs(&mut self) {
        let time = |job: &ObservedJob| RunId::time(&job.run_id);
        let mut last: HashMap<String, Timestamp> = HashMap::new();
        for seen in &self.listed {
            if let WatchEvent::Job(job) = seen
                && let Some(time) = time(job)
            {
                let known = last.entry(job.group.clone()).or_insert(time);
                *known = time.max(*known);
            }
        }
        let FirstLists { listed, useless, live, .. } = self;
        listed.retain(|seen| {
            let WatchEvent::Job(job) = seen else { return true };
            let is_earlier =
                time(job).is_some_and(|time| last.get(&job.group).is_some_and(|last| time < *last));
            let is_kept = !is_earlier || live.contains(&job.key);
            if !is_kept {
                useless.insert(job.key.clone());
            }
            is_kept
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{JobFacts, PodEvent, PodFacts};
    use futures::stream;
    use k8s_openapi::api::batch::v1::{JobCondition, JobStatus};

    fn job(name: &str, run_id: &str, is_over: bool) -> Notice {
        let condition =
            JobCondition { type_: "Complete".into(), status: "True".into(), ..JobCondition::default() };
        let conditions = is_over.then(|| vec![condition]);
        let facts = JobFacts::new(&JobStatus { conditions, ..JobStatus::default() });
        Notice::Seen(WatchEvent::Job(Box::new(ObservedJob {
            key: ("ns".into(), name.into()),
            uid: format!("uid-{name}"),
            group: "g".into(),
            run_id: run_id.into(),
            node: "n".into(),
            content: String::new(),
            annotation: None,
            deadline_seconds: 0,
            created_at: None,
            suspended: false,
            facts,
        })))
    }

    fn pod(of: &str) -> Notice {
        let facts = PodFacts { uid: format!("pod-{of}"), ..PodFacts::default() };
        Notice::Seen(WatchEvent::Pod(("ns".into(), of.into()), facts))
    }

    fn pull(of: &str) -> Notice {
        Notice::Seen(WatchEvent::PodEvent(format!("pod-{of}"), PodEvent::SecretsMissing("s".into())))
    }

    fn forbidden(namespace: &str) -> Notice {
        Notice::Seen(WatchEvent::Forbidden(ClusterError::Forbidden {
            verb: "list",
            resource: "jobs.batch",
            namespace: Some(namespace.into()),
            cause: "no".into(),
        }))
    }

    /// A watch that lists these.
    fn watch(number: usize, mut notices: Vec<Notice>) -> BoxStream<'static, Notice> {
        notices.push(Notice::Listed(number));
        stream::iter(notices).chain(stream::pending()).boxed()
    }

    fn words(watches: &Watches) -> Vec<String> {
        let word = |seen: &WatchEvent| match seen {
            WatchEvent::Job(job) => {
                format!("{}{}", job.key.1, if job.facts.ending().is_some() { " over" } else { "" })
            }
            WatchEvent::Pod(job, _) => format!("pod of {}", job.1),
            WatchEvent::PodEvent(pod, _) => format!("pull of {pod}"),
            _ => "?".to_owned(),
        };
        watches.listed.iter().map(word).collect()
    }

    const JOBS: [(&str, &str, bool); 4] = [
        ("old", "20261124t030000z", true),
        ("live", "20261124t030000z", false),
        ("new", "20261125t030000z", true),
        ("other", "c-0123456789abcdef", true),
    ];

    async fn listed(wanted: Wanted) -> Watches {
        let mut lists = FirstLists::new("s", &["ns".to_owned()], wanted);
        let mut jobs: Vec<Notice> = JOBS.map(|(name, run_id, is_over)| job(name, run_id, is_over)).into();
        // It ends while the others are still listed.
        jobs.push(job("live", "20261124t030000z", true));
        let kinds = [jobs, JOBS.map(|job| pod(job.0)).into(), JOBS.map(|job| pull(job.0)).into()];
        for kind in kinds {
            let kind = std::cell::Cell::new(kind);
            lists.round(|_, number| vec![watch(number, kind.take())]).await.unwrap();
        }
        lists.into_watches()
    }

    #[tokio::test]
    async fn a_run_keeps_its_own_jobs_and_those_that_were_live_with_their_pods_and_pulls() {
        let own = HashSet::from([("ns".to_owned(), "new".to_owned())]);
        let expected = [
            "live",
            "new over",
            "live over",
            "pod of live",
            "pod of new",
            "pull of pod-live",
            "pull of pod-new",
        ];
        assert_eq!(words(&listed(Wanted::Jobs(own)).await), expected);
    }

    #[tokio::test]
    async fn a_process_that_stays_keeps_the_last_run_of_each_group_and_remembers_all_of_them() {
        let mut watches = listed(Wanted::LastRuns).await;
        let kept = words(&watches);
        let jobs: Vec<&String> =
            kept.iter().filter(|word| !word.contains(' ') || word.ends_with("over")).collect();
        assert_eq!(jobs, ["live", "new over", "other over", "live over"]);
        assert!(!kept.iter().any(|word| word.contains("old")), "{kept:?}");
        let config = crate::plan::fixtures::config(vec![crate::plan::fixtures::group("g")]);
        let now = "2026-11-25T03:01:00Z".parse().unwrap();
        // Whatever was not kept was heard of.
        crate::scheduler::Scheduler::new(&config, now, &watches.take_history());
    }

    #[tokio::test]
    async fn a_namespace_that_may_not_be_watched_is_set_aside() {
        let namespaces = ["a".to_owned(), "b".to_owned()];
        let mut lists = FirstLists::new("s", &namespaces, Wanted::LastRuns);
        let open = |namespace: &str, number| match namespace {
            "a" => vec![watch(number, vec![job("j", "r", false)])],
            _ => vec![stream::iter([forbidden("b")]).chain(stream::pending()).boxed()],
        };
        lists.round(open).await.unwrap();
        lists.round(open).await.unwrap();
        let watches = lists.into_watches();
        assert_eq!(watches.namespaces().collect::<Vec<_>>(), ["a"]);
        assert_eq!(watches.forbidden().keys().collect::<Vec<_>>(), ["b"]);
    }

    #[tokio::test]
    async fn where_no_namespace_may_be_watched_the_reason_is_the_answer() {
        let mut lists = FirstLists::new("s", &["a".to_owned()], Wanted::LastRuns);
        let refused =
            lists.round(|_, _| vec![stream::iter([forbidden("a")]).chain(stream::pending()).boxed()]).await;
        assert!(refused.unwrap_err().to_string().contains("not allowed to list jobs.batch"));
    }
}
