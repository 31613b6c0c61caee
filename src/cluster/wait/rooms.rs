//! Namespaces whose quota of Jobs is used up. A refused Job waits for room instead of failing, and
//! nothing but one create now and then asks whether there is any.
//!
//! Room comes when Jobs go: by their TTL, or by somebody's hand. The watch tells of ours, so that is
//! when it is asked again; of others' nobody tells, so it is asked at longer and longer intervals too.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::super::retry::PATIENCE;
use super::Runner;
use crate::outcome::{Ending, Failure};
use crate::plan::JobIndex;

/// The quota controller counts a Job that went some seconds later.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A namespace that has taken every Job for this long has room.
const ROOMY_AFTER: Duration = Duration::from_secs(60);

/// By namespace.
#[derive(Default)]
pub struct Rooms {
    full: HashMap<String, FullNamespace>,
}

struct FullNamespace {
    refusal: Failure,
    /// Since when it has taken no Job.
    since: Instant,
    refused_at: Instant,
    next_try: Instant,
    pause: Duration,
    /// A create is under way, and only its answer lets another one go.
    is_trying: bool,
}

impl Rooms {
    /// Its quota has refused a Job. Whether that is news.
    fn refused(&mut self, namespace: &str, refusal: Failure, now: Instant) -> bool {
        match self.full.get_mut(namespace) {
            Some(full) => {
                full.refusal = refusal;
                full.refused_at = now;
                // Those that were sent beside the first that was refused say nothing new.
                if std::mem::take(&mut full.is_trying) {
                    full.next_try = now + full.pause;
                    full.pause = (full.pause * 2).min(LONGEST_PAUSE);
                }
                false
            }
            None => {
                let full = FullNamespace {
                    refusal,
                    since: now,
                    refused_at: now,
                    next_try: now + FIRST_PAUSE,
                    pause: FIRST_PAUSE * 2,
                    is_trying: false,
                };
                self.full.insert(namespace.to_owned(), full);
                true
            }
        }
    }

    /// It has answered a create in another way: the next may follow, one after another for a while.
    fn answered(&mut self, namespace: &str, now: Instant) {
        let Some(full) = self.full.get_mut(namespace) else { return };
        (full.is_trying, full.pause, full.next_try, full.since) = (false, FIRST_PAUSE, now, now);
        if now >= full.refused_at + ROOMY_AFTER {
            self.full.remove(namespace);
        }
    }

    /// A Job has gone from it.
    fn freed(&mut self, namespace: &str, now: Instant) {
        if let Some(full) = self.full.get_mut(namespace) {
            full.next_try = full.next_try.min(now + FIRST_PAUSE);
        }
    }

    /// Whether a create may be sent now.
    fn is_open(&self, namespace: &str, now: Instant) -> bool {
        self.full.get(namespace).is_none_or(|full| !full.is_trying && full.next_try <= now)
    }

    fn trying(&mut self, namespace: &str) {
        if let Some(full) = self.full.get_mut(namespace) {
            full.is_trying = true;
        }
    }

    /// Why nothing more goes into it.
    pub fn refusal(&self, namespace: &str) -> Option<&Failure> {
        Some(&self.full.get(namespace)?.refusal)
    }

    /// When the next create may be sent.
    pub fn timer(&self) -> Option<Instant> {
        self.full.values().filter(|full| !full.is_trying).map(|full| full.next_try).min()
    }

    /// Those that have taken no Job for longer than a refusal is waited out, with the reason.
    fn hopeless(&self, now: Instant) -> Vec<(String, Failure)> {
        let hopeless = self.full.iter().filter(|(_, full)| now >= full.since + PATIENCE);
        hopeless.map(|(namespace, full)| (namespace.clone(), full.refusal.clone())).collect()
    }
}

impl Runner<'_> {
    /// The namespace's quota has no room for the Job: it has its turn again once there is.
    pub(super) fn on_quota(&mut self, index: JobIndex, refusal: Failure) {
        let Some(batch) = self.batches.get(index.group) else { return };
        if self.closing || batch.closing {
            return self.conclude(index, Ending::NotCreated(refusal));
        }
        let Some(job) = self.batches.job(index) else { return };
        let (namespace, node) = (job.namespace.clone(), job.node.name.clone());
        if self.rooms.refused(&namespace, refusal.clone(), Instant::now()) {
            self.warn_once(format!(
                "namespace {namespace:?} has no room for more Jobs ({}): waiting for some to go; raise the quota, or lower \
                 keep_jobs so that those that are over go sooner",
                refusal.message
            ));
        }
        self.flights.remove(&index);
        self.queue.put_back(index, &node);
        self.step_back(index);
        self.hold_full_namespaces();
    }

    /// A create into this Job's namespace has been answered, and not by its quota.
    pub(super) fn mark_room(&mut self, index: JobIndex) {
        if self.rooms.full.is_empty() {
            return;
        }
        if let Some(job) = self.batches.job(index) {
            self.rooms.answered(&job.namespace, Instant::now());
        }
        self.hold_full_namespaces();
    }

    /// A Job has gone from the namespace.
    pub(super) fn room_in(&mut self, namespace: &str, now: Instant) {
        self.rooms.freed(namespace, now);
    }

    /// A create of this Job is about to be sent.
    pub(super) fn takes_room(&mut self, index: JobIndex) {
        if self.rooms.full.is_empty() {
            return;
        }
        if let Some(job) = self.batches.job(index) {
            self.rooms.trying(&job.namespace);
        }
        self.hold_full_namespaces();
    }

    /// Lets batches go on, or keeps them, as their namespaces have room.
    pub(super) fn hold_full_namespaces(&mut self) {
        for number in self.batches.numbers() {
            self.hold_where_full(number);
        }
    }

    pub(super) fn hold_where_full(&mut self, number: usize) {
        let Some(job) = self.batches.get(number).and_then(|batch| batch.planned.jobs.first()) else { return };
        let is_open = self.rooms.is_open(&job.namespace, Instant::now());
        self.queue.set_on_hold(number, !is_open);
    }

    /// What waits for room that cannot come in time fails now: with nothing of ours to go before the end,
    /// only others could make some, and they have had their time.
    pub(super) fn give_up_on_room(&mut self, now: Instant) {
        for (namespace, refusal) in self.rooms.hopeless(now) {
            for number in self.batches.numbers() {
                let Some(batch) = self.batches.get(number) else { continue };
                let Some(job) = batch.planned.jobs.first().filter(|job| job.namespace == namespace) else {
                    continue;
                };
                let keep = Duration::from_secs(job.group.keep_jobs_seconds.into());
                let ends_at = [batch.deadline, self.ends_at].into_iter().flatten().min();
                if ends_at.is_some_and(|ends_at| now + keep >= ends_at) {
                    self.give_up(number, &refusal);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Reason;

    fn refusal() -> Failure {
        Failure::new(Reason::Quota, "exceeded quota: one")
    }

    #[test]
    fn a_full_namespace_is_asked_by_one_create_at_a_time_and_ever_more_rarely() {
        let (mut rooms, begun) = (Rooms::default(), Instant::now());
        assert!(rooms.is_open("a", begun));
        assert!(rooms.refused("a", refusal(), begun));
        // Sent beside the first.
        assert!(!rooms.refused("a", refusal(), begun));
        assert!(rooms.is_open("b", begun));
        let mut now = begun;
        let mut tries = 0;
        while now < begun + Duration::from_secs(3600) {
            if rooms.is_open("a", now) {
                tries += 1;
                rooms.trying("a");
                assert!(!rooms.is_open("a", now));
                rooms.refused("a", refusal(), now);
            }
            now += Duration::from_secs(1);
        }
        assert!((60..=65).contains(&tries), "{tries} in an hour");
        assert_eq!(rooms.hopeless(now).len(), 1);
    }

    #[test]
    fn room_that_comes_is_used_at_once_and_one_after_another() {
        let (mut rooms, begun) = (Rooms::default(), Instant::now());
        rooms.refused("a", refusal(), begun);
        for _ in 0..10 {
            rooms.trying("a");
            rooms.refused("a", refusal(), begun);
        }
        assert!(rooms.timer().unwrap() >= begun + LONGEST_PAUSE);
        rooms.freed("a", begun);
        assert_eq!(rooms.timer(), Some(begun + FIRST_PAUSE));
        let now = begun + FIRST_PAUSE;
        rooms.trying("a");
        assert_eq!(rooms.timer(), None, "its answer is waited for");
        rooms.answered("a", now);
        assert!(rooms.is_open("a", now));
        assert!(rooms.refusal("a").is_some() && rooms.hopeless(now).is_empty());
        rooms.answered("a", begun + ROOMY_AFTER);
        assert!(rooms.refusal("a").is_none(), "as before");
    }
}
