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
