//! Live Jobs of other runs of this instance: each keeps its node from us until it is over, or given up.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::SLOT_GRACE;
use super::tracked_job::slot_time;
use crate::watch_event::{JobKey, ObservedJob};

/// A run gives way as soon as its watch shows it the elder Job. One that has not by then has no process.
const YIELDS_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub struct ForeignJobs {
    live: BTreeMap<JobKey, ForeignJob>,
    /// Those that were waited for in vain, so that their next event does not begin it again, with the start
    /// that was waited out: what a queue admits once more is another matter.
    given_up: HashMap<JobKey, Option<Timestamp>>,
}

#[derive(Debug)]
struct ForeignJob {
    job: ObservedJob,
    /// When it is given up: a dead node may never report its end.
    until: Instant,
    /// By when its run has given way, if it is to; `None` once that has been looked into.
    yields_by: Option<Instant>,
}

impl ForeignJobs {
    pub fn timer(&self) -> Option<Instant> {
        let times = self.live.values().flat_map(|foreign| [Some(foreign.until), foreign.yields_by]);
        times.flatten().min()
    }

    pub fn jobs(&self) -> impl Iterator<Item = &ObservedJob> {
        self.live.values().map(|foreign| &foreign.job)
    }

    /// Those of them on this node that do not end anyway.
    pub fn staying_on(&self, node: &str) -> Vec<&ObservedJob> {
        self.jobs().filter(|job| job.node == node && !job.is_being_ended()).collect()
    }

    /// Of those on this node the one that was there first, if it was there before `age`.
    pub fn elder_on(&self, node: &str, age: (Option<Timestamp>, &str)) -> Option<&ObservedJob> {
        self.staying_on(node).into_iter().filter(|job| job.age() < age).min_by(|a, b| a.age().cmp(&b.age()))
    }

    pub fn contains(&self, key: &JobKey) -> bool {
        self.live.contains_key(key)
    }

    pub fn keys_of_group(&self, group: &str) -> Vec<JobKey> {
        let of_group = self.live.iter().filter(|(_, foreign)| foreign.job.group == group);
        of_group.map(|(key, _)| key.clone()).collect()
    }

    pub fn was_given_up(&self, job: &ObservedJob) -> bool {
        let begins =
            |waited_out: &Option<Timestamp>| job.facts.started_at.is_some_and(|at| Some(at) != *waited_out);
        self.given_up.get(&job.key).is_some_and(|waited_out| !begins(waited_out))
    }

    /// Waits for `job`, and gives how long at most. `replaced`: it is about to be ended.
    pub fn add(&mut self, job: ObservedJob, replaced: bool, now: Instant) -> Duration {
        let mut wait = holding_time(&job);
        if replaced {
            wait = wait.min(SLOT_GRACE);
        }
        let yields_by = Some(now + YIELDS_WITHIN);
        self.live.insert(job.key.clone(), ForeignJob { until: now + wait, yields_by, job });
        wait
    }

    /// Takes in how a Job that is waited for is now. False: it is none of them.
    pub fn update(&mut self, job: &ObservedJob, now: Instant) -> bool {
        let Some(known) = self.live.get_mut(&job.key) else { return false };
        let begins = job.facts.started_at.is_some() && job.facts.started_at != known.job.facts.started_at;
        let ends = job.is_being_ended() && !known.job.is_being_ended();
        if begins || ends {
            known.until = now + holding_time(job);
        }
        known.job = job.clone();
        true
    }

    pub fn remove(&mut self, key: &JobKey) -> Option<ObservedJob> {
        Some(self.live.remove(key)?.job)
    }

    /// The Job is gone for good.
    pub fn forget(&mut self, key: &JobKey) {
        self.given_up.remove(key);
    }

    /// Those whose runs should have given way by now, each once.
    pub fn take_overdue(&mut self, now: Instant) -> Vec<ObservedJob> {
        let overdue = self.live.values_mut().filter(|foreign| foreign.yields_by.is_some_and(|by| by <= now));
        let overdue = overdue.map(|foreign| {
            foreign.yields_by = None;
            foreign.job.clone()
        });
        overdue.filter(|job| !job.is_being_ended()).collect()
    }

    /// Those that are given up now.
    pub fn give_up_due(&mut self, now: Instant) -> Vec<JobKey> {
        let due = self.live.iter().filter(|(_, foreign)| foreign.until <= now);
        let due: Vec<_> = due.map(|(key, foreign)| (key.clone(), foreign.job.facts.started_at)).collect();
        self.given_up.extend(due.iter().cloned());
        due.into_iter().map(|(key, _)| key).collect()
    }
}

/// How long another run's Job is waited for at most.
fn holding_time(job: &ObservedJob) -> Duration {
    if job.is_being_ended() { SLOT_GRACE } else { slot_time(job.deadline_seconds) }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::*;
    use super::*;

    fn keys(jobs: &[ObservedJob]) -> Vec<&str> {
        jobs.iter().map(|job| job.key.1.as_str()).collect()
    }

    fn named(name: &str, second: i64) -> ObservedJob {
        ObservedJob { key: ("ns".into(), name.into()), uid: name.into(), ..seen(&job(), second) }
    }

    #[test]
    fn the_elder_on_a_node_is_the_one_that_was_there_first_and_does_not_end_anyway() {
        let (mut foreign, begun) = (ForeignJobs::default(), start());
        for job in [named("b", 4), named("c", 3), noted(&named("d", 1), "replaced")] {
            foreign.add(job, false, begun.instant);
        }
        let at = |second| Timestamp::from_second(EPOCH_SECONDS + second).ok();
        let elder = |age| foreign.elder_on("n0", age).map(|job| job.key.1.as_str());
        assert_eq!(elder((at(5), "a")), Some("c"));
        assert_eq!(elder((at(3), "a")), None);
        assert_eq!(elder((at(3), "z")), Some("c"), "of the same second the uid tells");
        assert_eq!(foreign.elder_on("n1", (at(5), "a")).map(|job| &job.uid), None);
    }

    #[test]
    fn one_is_waited_for_as_long_as_its_deadline_and_anew_once_it_begins_anew() {
        let (mut foreign, begun) = (ForeignJobs::default(), start());
        let job = named("a", 0);
        let wait = foreign.add(job.clone(), false, begun.instant);
        assert_eq!(wait, slot_time(300));
        assert!(foreign.update(&started(&job, 100), after(begun, 100).instant));
        assert!(foreign.give_up_due(after(begun, 100 + wait.as_secs() - 1).instant).is_empty());
        // Ended by its own run it has no more than that takes.
        assert!(foreign.update(&noted(&started(&job, 100), "yielded"), after(begun, 200).instant));
        let due = after(begun, 200 + SLOT_GRACE.as_secs()).instant;
        assert_eq!(foreign.give_up_due(due), std::slice::from_ref(&job.key));
        foreign.remove(&job.key);
        assert!(foreign.was_given_up(&started(&job, 100)) && foreign.was_given_up(&job));
        assert!(!foreign.was_given_up(&started(&job, 300)), "a queue admits it once more");
        foreign.forget(&job.key);
        assert!(!foreign.was_given_up(&started(&job, 100)));
        assert!(!foreign.update(&job, begun.instant) && foreign.timer().is_none());
    }

    #[test]
    fn one_that_has_not_given_way_in_time_is_named_once() {
        let (mut foreign, begun) = (ForeignJobs::default(), start());
        foreign.add(named("a", 0), false, begun.instant);
        foreign.add(noted(&named("b", 0), "yielded"), false, begun.instant);
        assert_eq!(foreign.timer(), Some(begun.instant + YIELDS_WITHIN));
        assert_eq!(keys(&foreign.take_overdue(after(begun, 29).instant)), [""; 0]);
        assert_eq!(keys(&foreign.take_overdue(after(begun, 30).instant)), ["a"]);
        assert_eq!(keys(&foreign.take_overdue(after(begun, 99).instant)), [""; 0]);
    }

    #[test]
    fn one_that_is_replaced_is_waited_for_no_longer_than_an_end_takes() {
        let (mut foreign, begun) = (ForeignJobs::default(), start());
        assert_eq!(foreign.add(named("a", 0), true, begun.instant), SLOT_GRACE);
        assert_eq!(foreign.keys_of_group("g").len(), 1);
        assert!(foreign.contains(&("ns".into(), "a".into())) && foreign.keys_of_group("h").is_empty());
    }
}
