//! Events on Jobs whose node failed: what `kubectl describe job` and k9s show beside the `DeadlineExceeded`
//! by which a Job ends that was ended early.
//!
//! For people who look, as with [`super::events`]: one POST for each node that fails, sent aside, tried
//! once, and never waited for by a run. Where we may not create events there are none, and nobody is warned:
//! the report and the Job's annotation say the same.
#![expect(clippy::disallowed_methods, reason = "an event has its time")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::Cluster;
use super::error::api_status;
use super::events::cut;
use crate::outcome::{Failure, Reason};
use crate::runner::JobFailure;

/// As many nodes as may fail at once; each is some 500 bytes.
const QUEUE: usize = 5_000;
/// Few, so that what a run waits for is not queued behind them.
const IN_FLIGHT: usize = 4;
const CREATE_TIMEOUT: Duration = Duration::from_secs(5);
/// Rights may be given later, and an API server that has just started refuses everybody.
const FORBIDDEN_RETRY: Duration = Duration::from_secs(600);

/// The queue of a process; clones share it.
#[derive(Clone, Debug, Default)]
pub struct JobEvents(Arc<Mutex<Option<Queue>>>);

#[derive(Debug)]
struct Queue {
    sender: Sender<JobFailure>,
    /// How many were taken out and sent, or given up.
    done: watch::Receiver<usize>,
    queued: usize,
}

impl Cluster {
    /// Queues an event; never waits. Where the queue is full, this one is left out. Needs tokio's runtime.
    pub fn record_failure(&self, failure: JobFailure) {
        let mut queue = self.job_events.0.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queue.get_or_insert_with(|| {
            let ((sender, receiver), (counter, done)) = (mpsc::channel(QUEUE), watch::channel(0));
            tokio::spawn(create_all(self.client.clone(), receiver, counter));
            Queue { sender, done, queued: 0 }
        });
        match queue.sender.try_send(failure) {
            Ok(()) => queue.queued += 1,
            Err(error) => tracing::debug!(%error, "an event is left out"),
        }
    }

    /// Waits until what was queued is sent, at most for `limit`: for a process that is about to end.
    pub async fn flush_events(&self, limit: Duration) {
        let waiting = {
            let queue = self.job_events.0.lock().unwrap_or_else(PoisonError::into_inner);
            queue.as_ref().map(|queue| (queue.done.clone(), queue.queued))
        };
        if let Some((mut done, queued)) = waiting {
            let _ = timeout(limit, done.wait_for(|done| *done >= queued)).await;
        }
    }
}

async fn create_all(client: Client, failures: Receiver<JobFailure>, done: watch::Sender<usize>) {
    // By namespace: when we may ask again.
    let forbidden: Mutex<HashMap<String, Instant>> = Mutex::default();
    let failures = futures::stream::unfold(failures, |mut failures| async {
        let next = failures.recv().await?;
        Some((next, failures))
    });
    let create = |failure: JobFailure| async {
        create_one(&client, failure, &forbidden).await;
        done.send_modify(|done| *done += 1);
    };
    failures.for_each_concurrent(IN_FLIGHT, create).await;
}

async fn create_one(client: &Client, failure: JobFailure, forbidden: &Mutex<HashMap<String, Instant>>) {
    let forbidden = || forbidden.lock().unwrap_or_else(PoisonError::into_inner);
    let namespace = failure.job.0.clone();
    if forbidden().get(&namespace).is_some_and(|until| Instant::now() < *until) {
        return;
    }
    let event = event(failure, Timestamp::now());
    let events = Api::<Event>::namespaced(client.clone(), &namespace);
    match timeout(CREATE_TIMEOUT, events.create(&PostParams::default(), &event)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            if api_status(&error).is_some_and(|status| status.is_forbidden()) {
                forbidden().insert(namespace, Instant::now() + FORBIDDEN_RETRY);
            }
            tracing::debug!("cannot create an event on a Job: {error}");
        }
        Err(_) => tracing::debug!("cannot create an event on a Job: no answer in time"),
    }
}

fn event(failure: JobFailure, now: Timestamp) -> Event {
    let JobFailure { job: (namespace, name), uid, instance, failure: Failure { reason, message } } = failure;
    Event {
        metadata: ObjectMeta {
            // As client-go names them.
            name: Some(format!("{name}.{:x}", now.as_nanosecond())),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        action: Some("PullImages".to_owned()),
        event_time: Some(MicroTime(now)),
        note: Some(cut(message)),
        reason: Some(camel_case(reason)),
        regarding: Some(ObjectReference {
            api_version: Some("batch/v1".to_owned()),
            kind: Some("Job".to_owned()),
            name: Some(name),
            namespace: Some(namespace),
            uid: Some(uid).filter(|uid| !uid.is_empty()),
            ..ObjectReference::default()
        }),
        reporting_controller: Some("quayctl-controller".to_owned()),
        reporting_instance: Some(instance),
        type_: Some("Warning".to_owned()),
        ..Event::default()
    }
}

/// `ImageNotFound` for `image-not-found`: as reasons of events are written.
fn camel_case(reason: Reason) -> String {
    let words = reason.code().split('-');
    let capitalised = words.flat_map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        first.into_iter().chain(letters)
    });
    capitalised.collect()
}

#[cfg(test)]
mod tests {
    use super::super::events::tests::serving;
    use super::*;

    fn failure_in(namespace: &str) -> JobFailure {
        JobFailure {
            job: (namespace.to_owned(), "g-node-1-abc".to_owned()),
            uid: "u-1".to_owned(),
            instance: "default".to_owned(),
            failure: Failure::new(Reason::ImageNotFound, "quay.io/x:y: not found"),
        }
    }

    #[tokio::test]
    async fn where_we_may_not_nobody_is_asked_a_second_time() {
        let (server, cluster) = serving(100, vec![403]).await;
        cluster.record_failure(failure_in("pulls"));
        cluster.flush_events(Duration::from_secs(20)).await;
        for _ in 0..3 {
            cluster.record_failure(failure_in("pulls"));
        }
        cluster.record_failure(failure_in("other"));
        cluster.flush_events(Duration::from_secs(20)).await;
        let lines: Vec<String> = server.requests(2).await.into_iter().map(|(line, _)| line).collect();
        assert!(lines.len() == 2 && lines[1].contains("/namespaces/other/events"), "{lines:?}");
    }

    #[tokio::test]
    async fn a_server_that_does_not_answer_holds_nobody_up() {
        let (server, cluster) = serving(0, vec![]).await;
        for _ in 0..QUEUE + 10 {
            cluster.record_failure(failure_in("pulls"));
        }
        let begun = Instant::now();
        cluster.flush_events(Duration::from_millis(50)).await;
        assert!(begun.elapsed() < Duration::from_secs(4));
        assert_eq!(server.requests(IN_FLIGHT).await.len(), IN_FLIGHT);
    }

    #[test]
    fn an_event_says_what_the_report_says() {
        let now: Timestamp = "2026-11-25T03:00:00.123456789Z".parse().unwrap();
        let event = event(failure_in("pulls"), now);
        let event = serde_json::to_value(event).unwrap();
        assert_eq!(event["reason"], "ImageNotFound");
        assert_eq!(event["note"], "quay.io/x:y: not found");
        assert_eq!(event["type"], "Warning");
        assert_eq!(event["eventTime"], "2026-11-25T03:00:00.123456Z");
        assert_eq!(
            event["regarding"],
            serde_json::json!({"apiVersion": "batch/v1", "kind": "Job", "namespace": "pulls",
                "name": "g-node-1-abc", "uid": "u-1"})
        );
        let name = event["metadata"]["name"].as_str().unwrap();
        assert!(name.starts_with("g-node-1-abc.") && name.len() < 90, "{name}");
    }

    #[test]
    fn reasons_are_written_as_in_events() {
        let names = [Reason::Dns, Reason::CarrierImageFailed, Reason::ApiError].map(camel_case);
        assert_eq!(names, ["Dns", "CarrierImageFailed", "ApiError"]);
    }
}
