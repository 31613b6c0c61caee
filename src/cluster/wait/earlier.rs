//! Jobs that this process has not made: its run's own, from a process that was killed or works beside it,
//! and live ones of other runs, which are taken over or waited for.
//!
//! One live Job of an instance a node is the rule, also where two runs work at the same time. Each sees
//! the other's Jobs in its watch and leaves their nodes to them. Where both have created one for the same
//! node before they saw the other's, both come to the same conclusion, in whichever order they are told:
//! the younger Job gives way, and its run takes over the elder or waits for its end.

use jiff::Timestamp;
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tokio::time::Instant;

use super::super::watch::{ENDED_BY_US_SECONDS, JobKey, Seen, SeenJob};
use super::flight::own_time;
use super::{Flight, Runner, SLOT_GRACE, Step, witness};
use crate::outcome::{
    Adopted, Ending, Evidence, Failure, JobFacts, JobOutcome, Reason, Verdict, annotation_text,
};
use crate::plan::JobIndex;

/// How often the Job of one node gives way, or is given way to. More would be a quarrel.
const YIELDS_MAX: u8 = 5;
/// A run gives way as soon as its watch shows it the elder Job. One that has not by then has no process.
const YIELDS_WITHIN: Duration = Duration::from_secs(30);

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
    /// By when its run has given way, if it is to; `None` once that has been looked into.
    yields_by: Option<Instant>,
}

impl Holders {
    pub fn timer(&self) -> Option<Instant> {
        let times = self.live.values().flat_map(|holder| [Some(holder.until), holder.yields_by]);
        times.flatten().min()
    }

    pub fn jobs(&self) -> impl Iterator<Item = &SeenJob> {
        self.live.values().map(|holder| &holder.job)
    }

    /// The nodes that they hold.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.jobs().map(|job| job.node.as_str())
    }

    /// The Job is gone for good.
    pub fn forget(&mut self, key: &JobKey) {
        self.given_up.remove(key);
    }

    /// Those whose runs should have given way by now, each once.
    fn overdue(&mut self, now: Instant) -> Vec<SeenJob> {
        let overdue = self.live.values_mut().filter(|holder| holder.yields_by.is_some_and(|by| by <= now));
        let overdue = overdue.map(|holder| {
            holder.yields_by = None;
            holder.job.clone()
        });
        overdue.collect()
    }

    /// Those that are given up now.
    pub fn due(&mut self, now: Instant) -> Vec<JobKey> {
        let due = self.live.iter().filter(|(_, holder)| holder.until <= now);
        let due: Vec<JobKey> = due.map(|(key, _)| key.clone()).collect();
        self.given_up.extend(due.iter().cloned());
        due
    }
}

/// How long another run's Job is waited for at most.
fn holding_time(job: &SeenJob) -> Duration {
    if job.is_being_ended() { SLOT_GRACE } else { own_time(job.deadline_seconds) }
}

impl Runner<'_> {
    /// Takes in what the first lists held and what followed until all of them were there. Each is routed
    /// by what is known by its turn: a Job may be listed live, be adopted, and be told of again.
    pub fn take_in(&mut self, listed: Vec<Seen>) {
        let is_job = |seen: &Seen| matches!(seen, Seen::Job(_));
        let (jobs, others): (Vec<Seen>, Vec<Seen>) = listed.into_iter().partition(is_job);
        let settled = std::mem::replace(&mut self.settled, false);
        self.take_names_on(&jobs);
        // This run's own are on their nodes by right; then the others. Pods and events are told by Jobs.
        let is_own = |seen: &Seen| matches!(seen, Seen::Job(job) if self.by_key.contains_key(&job.key));
        let (own, foreign): (Vec<Seen>, Vec<Seen>) = jobs.into_iter().partition(is_own);
        for seen in own {
            match seen {
                Seen::Job(job) if !self.is_known(&job.key) => self.take_in_own(*job),
                seen => drop(self.notice(seen)),
            }
        }
        for seen in foreign {
            self.notice(seen);
        }
        // Pods before what events say of them; those of pods that are gone are of no use to us.
        let (pod_events, others): (Vec<Seen>, Vec<Seen>) =
            others.into_iter().partition(|seen| matches!(seen, Seen::PodEvent(..)));
        for seen in others {
            match &seen {
                // Of Jobs that are over: thousands, in a namespace that keeps them long.
                Seen::Pod(key, _)
                    if !self.by_key.contains_key(key) && !self.earlier.live.contains_key(key) => {}
                _ => drop(self.notice(seen)),
            }
        }
        let waiting: HashSet<&str> = self.early_pods.values().flatten().map(|pod| pod.uid.as_str()).collect();
        let known = |seen: &Seen| matches!(seen, Seen::PodEvent(pod, _) if self.pods.contains_key(pod) || waiting.contains(pod.as_str()));
        let pod_events: Vec<Seen> = pod_events.into_iter().filter(known).collect();
        for seen in pod_events {
            self.notice(seen);
        }
        let resumed: Vec<JobIndex> = self.flights.keys().copied().collect();
        for index in resumed {
            self.decide(index);
        }
        self.settled = settled;
    }

    /// Which names this run uses by now, in whichever order they are listed.
    fn take_names_on(&mut self, jobs: &[Seen]) {
        let given_way = jobs.iter().filter_map(|seen| match seen {
            Seen::Job(job) if job.has_given_way() || job.is_spent() => Some(&job.key),
            _ => None,
        });
        let mut given_way: HashSet<&JobKey> = given_way.collect();
        while let Some(key) = given_way.iter().find(|key| self.by_key.contains_key(**key)).copied() {
            given_way.remove(key);
            if let Some(index) = self.by_key.get(key).copied() {
                self.rename(index);
            }
        }
    }

    /// Whether the Job of this run has a flight or a result.
    fn is_known(&self, key: &JobKey) -> bool {
        let index = self.by_key.get(key);
        index.is_some_and(|index| self.flights.contains_key(index) || self.results.contains_key(index))
    }

    /// A Job of this run that was there when it began: live, or over.
    fn take_in_own(&mut self, job: SeenJob) {
        let Some(index) = self.by_key.get(&job.key).copied() else { return };
        // Where content differs the create will say so, with the name that is taken.
        if self.does_the_same(index, &job) {
            self.resume(index, job);
        }
    }

    /// Whether another process has made this Job of ours, which has not had its turn here, and it is live.
    pub(super) fn may_resume(&self, index: JobIndex, job: &SeenJob) -> bool {
        job.is_live() && self.does_the_same(index, job)
    }

    /// Follows a Job of this run that this process has not made.
    pub(super) fn resume(&mut self, index: JobIndex, job: SeenJob) {
        self.adopt(index, &job, None);
        self.on_job(index, job);
        self.decide(index);
    }

    /// A Job of another run of this instance: adopted where it does what ours would, else its node is
    /// left to it until it ends.
    pub fn on_job_of_other_run(&mut self, job: SeenJob) {
        // One that a queue holds and that ends as soon as it is admitted does nothing any more.
        let is_spent = job.suspended && job.is_being_ended();
        if !job.is_live() || is_spent {
            self.early_pods.remove(&job.key);
            return self.release_holder(&job.key);
        }
        if self.earlier.given_up.contains(&job.key) {
            return;
        }
        let now = Instant::now();
        if let Some(holder) = self.earlier.live.get_mut(&job.key) {
            let begins = job.facts.started && !holder.job.facts.started;
            let ends = job.is_being_ended() && !holder.job.is_being_ended();
            if begins || ends {
                holder.until = now + holding_time(&job);
            }
            holder.job = job;
            return;
        }
        match self.waiting_job(&job) {
            Some(index) if self.does_the_same(index, &job) && !job.is_being_ended() => {
                self.tell_of_run(index, &job.run_id);
                let adopted = Adopted { job: job.key.1.clone(), run_id: job.run_id.clone() };
                self.by_key.insert(job.key.clone(), index);
                self.adopt(index, &job, Some(adopted));
                self.on_job(index, job);
                self.decide(index);
            }
            ours => {
                let mut until = now + holding_time(&job);
                self.queue.occupy(&job.node);
                if let Some(index) = ours {
                    self.tell_of_run(index, &job.run_id);
                }
                let ours = ours.and_then(|index| self.batches.job(index));
                if let Some(ours) = ours.filter(|_| self.inputs.replace && !job.is_being_ended()) {
                    until = until.min(now + SLOT_GRACE);
                    let run_id = ours.identity.run_id.as_str();
                    let words =
                        format!("run {run_id} has other content for this node and was told to replace");
                    self.note(None, job.key.clone(), note_of(Reason::Replaced, words), true);
                }
                self.stalls.lasts(until - now);
                let node = job.node.clone();
                let yields_by = Some(now + YIELDS_WITHIN);
                self.earlier.live.insert(job.key.clone(), Holder { until, yields_by, job });
                self.give_way_on(&node);
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
            self.reconsider(&key);
        }
    }

    fn reconsider(&mut self, key: &JobKey) {
        let Some(holder) = self.earlier.live.remove(key) else { return };
        self.queue.release(&holder.job.node);
        match self.by_key.contains_key(key) {
            true if self.is_known(key) => drop(self.notice(Seen::Job(Box::new(holder.job)))),
            true => self.take_in_own(holder.job),
            false => self.on_job_of_other_run(holder.job),
        }
    }

    /// Another run's Job is on `node`: whether one of ours there is the younger.
    fn give_way_on(&mut self, node: &str) {
        let on_node = |index: &&JobIndex| self.batches.job(**index).is_some_and(|job| job.node.name == node);
        let ours: Vec<JobIndex> = self.flights.keys().filter(on_node).copied().collect();
        for index in ours {
            self.give_way_if_younger(index);
        }
    }

    /// Ends a Job of ours where an elder one of another run is live on its node.
    pub(super) fn give_way_if_younger(&mut self, index: JobIndex) {
        let Some(flight) = self.flights.get(&index).filter(|flight| flight.may_give_way()) else { return };
        let Some(batch) = self.batches.get(index.group).filter(|batch| !batch.closing) else { return };
        let Some(planned) = batch.planned.jobs.get(index.job) else { return };
        let is_own = flight.adopted.is_none() && !self.closing;
        let age = (flight.created_at, flight.uid.as_str());
        let elder = self
            .earlier
            .jobs()
            .filter(|job| job.node == planned.node.name && !job.is_being_ended() && job.age() < age);
        let elder =
            elder.min_by(|a, b| a.age().cmp(&b.age())).map(|job| (job.key.clone(), job.run_id.clone()));
        let (true, Some((elder, run_id))) = (is_own, elder) else { return };
        if flight.evidence.all_proven() {
            return self.end_what_is_done(index);
        }
        let yields = self.yields.entry(index).or_default();
        if *yields < YIELDS_MAX {
            *yields += 1;
            self.give_way(index, &elder, &run_id);
        }
    }

    /// Ends Jobs of other runs that are younger than ours on the same node, and have not given way: whoever was
    /// to end them is gone, and two would pull there at once until the last of their deadlines.
    pub(super) fn end_what_has_not_given_way(&mut self, now: Instant) {
        for younger in self.earlier.overdue(now).into_iter().filter(|job| !job.is_being_ended()) {
            let is_elder = |index: &JobIndex, flight: &Flight| {
                let on_node = self.batches.job(*index).is_some_and(|job| job.node.name == younger.node);
                let age = (flight.created_at, flight.uid.as_str());
                on_node && flight.adopted.is_none() && flight.may_give_way() && age < younger.age()
            };
            let elder = self.flights.iter().find(|(index, flight)| is_elder(index, flight));
            let Some((index, elder)) = elder.map(|(index, flight)| (*index, flight.key.1.clone())) else {
                continue;
            };
            let yields = self.yields.entry(index).or_default();
            if *yields < YIELDS_MAX {
                *yields += 1;
                let (key, run_id, node) = (younger.key, younger.run_id, younger.node);
                tracing::warn!(
                    "Job {} of run {run_id} on node {node} has not given way to our Job {elder}, which was there before; \
                     its process seems to be gone, so it is ended",
                    key.1
                );
                let words = format!("Job {elder} was there before this one");
                self.note(None, key, note_of(Reason::Yielded, words), true);
            }
        }
    }

    /// The younger of two Jobs has every image on its node already: there is nothing to be done again.
    fn end_what_is_done(&mut self, index: JobIndex) {
        let Some(flight) = self.flights.get_mut(&index) else { return };
        flight.ended = true;
        let outcome = flight.evidence.outcome(&Ending::EndedEarly);
        self.leave_evidence(index, &outcome, true);
    }

    fn give_way(&mut self, index: JobIndex, elder: &JobKey, run_id: &str) {
        self.warn_once(format!(
            "run {run_id} of this instance works at the same time: where both have created a Job for one node, ours is \
             ended where it is the younger, and the other's is taken over or waited for"
        ));
        let Some(flight) = self.flights.get(&index) else { return };
        let words = format!("Job {} of run {run_id} was there before this one", elder.1);
        let note = note_of(Reason::Yielded, words);
        let Some(job) = self.as_seen(index, flight, note.clone()) else { return };
        self.note(None, job.key.clone(), note, true);
        self.finished.push(job.key.clone());
        self.start_over(index, job);
    }

    /// The Job of this flight has given way: it holds its node until it is over, and what it was to do
    /// waits for its turn under another name.
    pub(super) fn start_over(&mut self, index: JobIndex, job: SeenJob) {
        let Some(node) = self.batches.job(index).map(|planned| planned.node.name.clone()) else { return };
        if self.closing || self.batches.get(index.group).is_none_or(|batch| batch.closing) {
            return self.conclude(index, Ending::RunOver);
        }
        let Some(flight) = self.flights.remove(&index) else { return };
        self.pods.retain(|_, of| *of != index);
        self.queue.put_back(index, &node);
        self.step_back(index);
        match flight.adopted {
            None => self.rename(index),
            // Another run's Job, whose own process has ended it. Ours has its name yet.
            Some(_) => drop(self.by_key.remove(&flight.key)),
        }
        self.on_job_of_other_run(job);
        let on_node = self.earlier.jobs().filter(|job| job.node == node && !job.is_being_ended());
        let mut on_node: Vec<SeenJob> = on_node.cloned().collect();
        on_node.sort_by(|a, b| a.age().cmp(&b.age()));
        for job in on_node {
            self.reconsider(&job.key);
        }
    }

    fn rename(&mut self, index: JobIndex) {
        let Some(batch) = self.batches.get_mut(index.group) else { return };
        let Some(job) = batch.planned.jobs.get_mut(index.job) else { return };
        let before = (job.namespace.clone(), job.name.clone());
        job.take_next_name();
        let after = (job.namespace.clone(), job.name.clone());
        self.by_key.remove(&before);
        self.yielded.insert(before, index);
        self.by_key.insert(after, index);
    }

    /// A Job of ours as the watch will show it, once it bears `note`.
    fn as_seen(&self, index: JobIndex, flight: &Flight, note: String) -> Option<SeenJob> {
        let planned = self.batches.job(index)?;
        Some(SeenJob {
            key: flight.key.clone(),
            uid: flight.uid.clone(),
            created_at: flight.created_at,
            group: planned.group.name.clone(),
            run_id: planned.identity.run_id.as_str().to_owned(),
            node: planned.node.name.clone(),
            content: planned.content.to_string(),
            note: Some(note),
            deadline_seconds: ENDED_BY_US_SECONDS,
            suspended: flight.suspended.is_some(),
            facts: JobFacts::default(),
        })
    }

    /// Another process of our instance works for the same run.
    pub(super) fn note_stranger(&mut self, (namespace, name): &JobKey) {
        if !std::mem::replace(&mut self.met_stranger, true) {
            tracing::warn!(
                "another process seems to work for the same instance: it has created Job {name} in namespace \
                 {namespace:?} before us; stop one of them, give one an `instance` of its own, or start both with \
                 --leader-elect"
            );
        }
    }

    /// Once for each run that is met.
    fn tell_of_run(&mut self, index: JobIndex, run_id: &str) {
        let own = self.batches.job(index).is_some_and(|job| job.identity.run_id.as_str() == run_id);
        if !own && self.warned.insert(format!("run {run_id}")) {
            tracing::info!(
                "run {run_id} of this instance has live Jobs on nodes of this one: those that put the same there are taken \
                 over, the others are waited for"
            );
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
        // What was seen of it while nobody knew whose it is.
        for seen in self.early.remove(&index).unwrap_or_default() {
            match seen {
                Seen::Pod(key, pod) if key == job.key => self.observe_pod(index, &pod),
                Seen::Rejected(key, uid, rejection) if key == job.key => {
                    if let Some(flight) = self.flights.get_mut(&index) {
                        flight.on_rejection(uid, rejection);
                    }
                }
                _ => {}
            }
        }
        for pod in self.early_pods.remove(&job.key).unwrap_or_default() {
            self.observe_pod(index, &pod);
        }
    }
}

/// What is written on a Job that has to make room.
fn note_of(reason: Reason, words: String) -> String {
    let verdict = Verdict::Failed(Failure::new(reason, words));
    annotation_text(&JobOutcome { verdict, images: Vec::new() }, std::iter::empty())
}
