//! Jobs that were there before this run made any: its own, from a process that was killed, and live
//! ones of earlier runs, which are taken over or waited for.

use jiff::Timestamp;
use std::collections::{HashMap, HashSet};
use tokio::time::Instant;

use super::super::watch::{JobKey, Seen, SeenJob};
use super::flight::own_time;
use super::{Flight, Runner, SLOT_GRACE, Step, witness};
use crate::outcome::{Adopted, Evidence, Failure, JobOutcome, Reason, Verdict, annotation_text};
use crate::plan::JobIndex;

/// Live Jobs of other runs: each keeps its node from us.
#[derive(Default)]
pub struct Holders {
    live: HashMap<JobKey, Holder>,
    /// Those that were waited for in vain, so that their next event does not begin it again.
    given_up: HashSet<JobKey>,
}

struct Holder {
    job: SeenJob,
    /// When it is given up: a dead node may never report its end.
    until: Instant,
}

impl Holders {
    pub fn timer(&self) -> Option<Instant> {
        self.live.values().map(|holder| holder.until).min()
    }

    /// The Job is gone for good.
    pub fn forget(&mut self, key: &JobKey) {
        self.given_up.remove(key);
    }

    /// Those that are given up now.
    pub fn due(&mut self, now: Instant) -> Vec<JobKey> {
        let due = self.live.iter().filter(|(_, holder)| holder.until <= now);
        let due: Vec<JobKey> = due.map(|(key, _)| key.clone()).collect();
        self.given_up.extend(due.iter().cloned());
        due
    }
}

impl Runner<'_> {
    /// Takes in what the first lists held: Jobs first, since pods and events are told by them.
    pub fn take_in(&mut self, listed: Vec<Seen>) {
        let (jobs, others): (Vec<Seen>, Vec<Seen>) =
            listed.into_iter().partition(|seen| matches!(seen, Seen::Job(_)));
        let (own, foreign): (Vec<_>, Vec<_>) = jobs
            .into_iter()
            .filter_map(|seen| if let Seen::Job(job) = seen { Some(*job) } else { None })
            .partition(|job| self.by_key.contains_key(&job.key));
        for job in own {
            self.resume(job);
        }
        for job in foreign {
            self.on_job_of_other_run(job);
        }
        // Pods before what events say of them; those of pods that are gone are of no use to us.
        let (pulls, others): (Vec<Seen>, Vec<Seen>) =
            others.into_iter().partition(|seen| matches!(seen, Seen::PodEvent(..)));
        for seen in others {
            self.notice(seen);
        }
        for seen in pulls {
            if matches!(&seen, Seen::PodEvent(pod, _) if self.pods.contains_key(pod)) {
                self.notice(seen);
            }
        }
        let resumed: Vec<JobIndex> = self.flights.keys().copied().collect();
        for index in resumed {
            self.decide(index);
        }
    }

    /// A Job of this run that an earlier process made: live, or over.
    fn resume(&mut self, job: SeenJob) {
        let Some(index) = self.by_key.get(&job.key).copied() else { return };
        // Its list may be followed by changes of it before the other lists are there.
        if self.flights.contains_key(&index) || self.results.contains_key(&index) {
            return self.route(index, Seen::Job(Box::new(job)));
        }
        // Where content differs the create will say so, with the name that is taken.
        if self.does_the_same(index, &job) {
            self.adopt(index, &job, None);
            self.on_job(index, job);
        }
    }

    /// A Job of another run of this instance: adopted where it does what ours would, else its node is
    /// left to it until it ends.
    pub fn on_job_of_other_run(&mut self, job: SeenJob) {
        if job.facts.ending().is_some() {
            return self.release_holder(&job.key);
        }
        if self.earlier.live.contains_key(&job.key) || self.earlier.given_up.contains(&job.key) {
            return;
        }
        let ours = self.waiting_job(&job);
        match ours {
            Some(index) if self.does_the_same(index, &job) => {
                let adopted = Adopted { job: job.key.1.clone(), run_id: job.run_id.clone() };
                self.by_key.insert(job.key.clone(), index);
                self.adopt(index, &job, Some(adopted));
                self.on_job(index, job);
            }
            _ => {
                let mut until = Instant::now() + own_time(job.deadline_seconds);
                self.queue.occupy(&job.node);
                let ours = ours.and_then(|index| self.batches.job(index));
                if let Some(ours) = ours.filter(|_| self.inputs.replace) {
                    until = until.min(Instant::now() + SLOT_GRACE);
                    let text = replaced(ours.identity.run_id.as_str());
                    self.note(None, job.key.clone(), text, true);
                }
                self.earlier.live.insert(job.key.clone(), Holder { until, job });
            }
        }
    }

    pub fn release_holder(&mut self, key: &JobKey) {
        if let Some(holder) = self.earlier.live.remove(key) {
            self.queue.release(&holder.job.node);
        }
    }

    /// A batch has been added: of the Jobs that hold its nodes it takes over those that do the same.
    pub(super) fn reconsider_holders(&mut self, group: &str) {
        let of_group = self.earlier.live.iter().filter(|(_, holder)| holder.job.group == group);
        let keys: Vec<JobKey> = of_group.map(|(key, _)| key.clone()).collect();
        for key in keys {
            let Some(holder) = self.earlier.live.remove(&key) else { continue };
            self.queue.release(&holder.job.node);
            match self.by_key.contains_key(&key) {
                true => self.resume(holder.job),
                false => self.on_job_of_other_run(holder.job),
            }
        }
    }

    fn does_the_same(&self, index: JobIndex, job: &SeenJob) -> bool {
        self.batches.job(index).is_some_and(|planned| *planned.content == *job.content)
    }

    /// The Job of this plan for the same node and group, where it has not been started.
    fn waiting_job(&self, other: &SeenJob) -> Option<JobIndex> {
        let of_group = self.batches.iter().filter(|(_, batch)| batch.planned.group.name == other.group);
        let mut places = of_group.flat_map(|(group, batch)| {
            let jobs = batch.planned.jobs.iter().enumerate();
            let same = jobs.filter(|(_, job)| job.node.name == other.node && job.namespace == other.key.0);
            same.map(move |(job, _)| JobIndex { group, job })
        });
        places.find(|index| !self.flights.contains_key(index) && !self.results.contains_key(index))
    }

    fn adopt(&mut self, index: JobIndex, job: &SeenJob, adopted: Option<Adopted>) {
        let Some(batch) = self.batches.get(index.group) else { return };
        let planned = &batch.planned.jobs[index.job];
        let evidence = match (batch.render)(planned) {
            Ok(manifest) => witness::evidence_of(&manifest),
            Err(_) => Evidence::unseen(planned.group.images.len()),
        };
        (self.inputs.on_step)(Step::Started(planned));
        self.queue.adopt(index, &planned.node.name);
        let now = Instant::now();
        let mut flight = Flight::new(job.key.clone(), evidence, Timestamp::now(), now);
        flight.created(now, job.deadline_seconds);
        flight.adopted = adopted;
        self.flights.insert(index, flight);
        self.created += 1;
    }
}

/// What is written on a Job that has to make room.
fn replaced(run_id: &str) -> String {
    let message = format!("run {run_id} has other content for this node and was told to replace");
    let verdict = Verdict::Failed(Failure::new(Reason::Replaced, message));
    annotation_text(&JobOutcome { verdict, images: Vec::new() }, std::iter::empty())
}
