//! What the watches have told of Jobs and pods that are not known as ours yet: they do not say in which
//! order things happened.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::outcome::{PodEvent, PodFacts};
use crate::plan::JobIndex;
use crate::watch_event::{JobKey, WatchEvent};

/// Events of pods that no watch has shown yet, or never will. Each is some 300 bytes. What is lost with
/// one is how long a pull took, what ailed a pod, and in a rare case the only proof of a pull.
const POD_EVENTS_MAX: usize = 10_000;
/// Jobs whose pods are told of before they are. Some KiB each, and gone as soon as the Job is known.
const PODS_MAX: usize = 500;

/// Kept until somebody asks for it, within bounds.
#[derive(Debug, Default)]
pub struct Inbox {
    /// Of Jobs of the plan that have not had their turn.
    by_job: BTreeMap<JobIndex, Vec<WatchEvent>>,
    /// Of Jobs that are not known as ours.
    pods: BTreeMap<JobKey, Vec<PodFacts>>,
    /// By the uid of a pod that was not seen yet.
    pod_events: HashMap<String, Vec<PodEvent>>,
    pod_events_count: usize,
}

impl Inbox {
    pub fn keep(&mut self, index: JobIndex, event: WatchEvent) {
        self.by_job.entry(index).or_default().push(event);
    }

    pub fn keep_pod(&mut self, key: JobKey, pod: PodFacts) {
        if self.pods.len() >= PODS_MAX {
            self.pods.clear();
        }
        let pods = self.pods.entry(key).or_default();
        pods.retain(|known| known.uid != pod.uid);
        pods.push(pod);
    }

    pub fn keep_pod_event(&mut self, pod: String, event: PodEvent) {
        self.pod_events_count += 1;
        if self.pod_events_count > POD_EVENTS_MAX {
            self.pod_events.clear();
            self.pod_events_count = 1;
        }
        self.pod_events.entry(pod).or_default().push(event);
    }

    pub fn take(&mut self, index: JobIndex) -> Vec<WatchEvent> {
        self.by_job.remove(&index).unwrap_or_default()
    }

    pub fn take_pods(&mut self, key: &JobKey) -> Vec<PodFacts> {
        self.pods.remove(key).unwrap_or_default()
    }

    pub fn take_pod_events(&mut self, pod: &str) -> Vec<PodEvent> {
        self.pod_events.remove(pod).unwrap_or_default()
    }

    pub fn forget_pod(&mut self, key: &JobKey, uid: &str) {
        if let Some(pods) = self.pods.get_mut(key) {
            pods.retain(|pod| pod.uid != uid);
        }
    }

    pub fn forget_batch(&mut self, number: usize) {
        self.by_job.retain(|index, _| index.group != number);
    }

    /// Of pods of ours that are over by now, or of nobody's.
    pub fn clear_pods(&mut self) {
        self.pods.clear();
        self.pod_events.clear();
        self.pod_events_count = 0;
    }

    /// Uids of the pods that are kept.
    pub fn pod_uids(&self) -> HashSet<String> {
        self.pods.values().flatten().map(|pod| pod.uid.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::*;
    use super::*;

    fn event() -> PodEvent {
        PodEvent::SecretsMissing("s".into())
    }

    #[test]
    fn what_came_before_its_job_was_known_is_handed_over_once_and_in_order() {
        let mut inbox = Inbox::default();
        let (index, key) = (JobIndex { group: 0, job: 0 }, ("ns".to_owned(), "a".to_owned()));
        inbox.keep(index, watched(seen(&job(), 0)));
        inbox.keep(index, WatchEvent::JobGone(key.clone()));
        let kept = inbox.take(index);
        assert!(
            matches!(kept[..], [WatchEvent::Job(_), WatchEvent::JobGone(_)]) && inbox.take(index).is_empty()
        );
        inbox.keep_pod(key.clone(), pod(&[container("image-0", false)]));
        inbox.keep_pod(key.clone(), pod(&[container("image-0", true)]));
        inbox.keep_pod_event("pod".into(), event());
        assert!(inbox.pod_uids().contains("pod"));
        let pods = inbox.take_pods(&key);
        assert!(matches!(&pods[..], [pod] if pod.containers[0].ran), "the last state of each pod");
        assert_eq!((inbox.take_pod_events("pod").len(), inbox.take_pod_events("pod").len()), (1, 0));
        inbox.keep_pod(key.clone(), pod(&[]));
        inbox.forget_pod(&key, "pod");
        assert!(inbox.take_pods(&key).is_empty());
        inbox.keep(index, WatchEvent::JobGone(key));
        inbox.forget_batch(0);
        assert!(inbox.take(index).is_empty());
    }

    #[test]
    fn it_holds_no_more_than_its_bounds() {
        let mut inbox = Inbox::default();
        for n in 0..3 * PODS_MAX {
            inbox.keep_pod(("ns".into(), n.to_string()), pod(&[]));
            assert!(inbox.pods.len() <= PODS_MAX);
        }
        for n in 0..2 * POD_EVENTS_MAX + 1 {
            inbox.keep_pod_event((n % 7).to_string(), event());
        }
        assert_eq!(inbox.pod_events.values().map(Vec::len).sum::<usize>(), 1);
        inbox.clear_pods();
        assert!(inbox.pods.is_empty() && inbox.pod_events.is_empty() && inbox.pod_events_count == 0);
    }
}
