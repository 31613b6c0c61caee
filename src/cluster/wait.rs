//! Starts planned Jobs as slots come free, and follows each one to its outcome.
//!
//! One task, one loop: it alone writes the state of the run, so nothing needs a lock. What a Job's
//! facts mean is `outcome`'s to say and whose turn it is the queue's; this room listens, posts,
//! patches and keeps time. A run ends by its deadline plus [`LAST_ANSWERS`], whatever the API server
//! does, and a Job holds its slot at most [`SLOT_GRACE`] beyond its own.
#![expect(clippy::disallowed_methods, reason = "this room keeps the time of a run")]

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::apply::{AppliedJob, ApplyError, Mode};
use super::nodes::NodeState;
use super::retry::PATIENCE;
use super::watch::{JobKey, Seen};
use super::{Cluster, ClusterError, Watches};
use crate::outcome::{Ending, Evidence, Failure, JobOutcome, JobResult, PodEvent, PodFacts, Reason};
use crate::plan::{JobIndex, PlannedJob, Queue};
use crate::render::Manifest;

use batch::Batches;
use flight::{Due, Flight};

pub use batch::{Batch, FinishedBatch, Render};
pub use pass::{JobResults, RunEnd, RunInputs};

mod batch;
mod earlier;
mod ending;
mod feed;
mod flight;
mod hear;
mod look;
mod lost;
mod pass;
mod rooms;
mod stalls;
#[cfg(test)]
mod tests;
mod witness;

/// How long a Job may take from its deadline, or from our ending it, to its end: Kubernetes delays
/// `Failed` while a pod terminates, on a dead node for ever.
const SLOT_GRACE: Duration = Duration::from_secs(30);
/// Jobs and pods come through two watches, so a pod's last words may arrive after its Job's end.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long a Job waits for an answer about its node before it is judged without one.
const LOOK_LIMIT: Duration = Duration::from_secs(10);
/// Creating is never the bottleneck (57 to 198 POST/s with this many in flight, measured), and API
/// priority and fairness queues no more than some 16 requests of one client well.
const POSTS_IN_FLIGHT: usize = 16;
/// At the run's deadline: how long the API server may take to answer what ends the live Jobs.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// After a signal: how long answers to requests under way may take before the report is written.
const FAREWELL: Duration = Duration::from_secs(2);
/// Events of pods that no watch has shown yet, or never will. Each is some 300 bytes. What is lost with
/// one is how long a pull took, what ailed a pod, and in a rare case the only proof of a pull.
const EARLY_PULLS_MAX: usize = 10_000;
/// Jobs whose pods are told of before they are. Some KiB each, and gone as soon as the Job is known.
const EARLY_PODS_MAX: usize = 500;

/// Texts that were said and are not repeated, in a process that may live for a year.
const WARNED_MAX: usize = 1_000;

/// What a run does next, for whoever shows progress.
#[derive(Debug)]
pub enum Step<'a> {
    Started(&'a PlannedJob),
    /// It waits for its turn again.
    PutBack(&'a PlannedJob),
    Finished(&'a PlannedJob, &'a JobOutcome),
}

/// An error that waiting does not mend.
#[derive(Debug)]
pub struct Trouble {
    /// The batch that meets it; `None` where all do.
    pub batch: Option<usize>,
    pub error: ClusterError,
}

/// What a [`Runner`] needs beside its batches.
#[expect(missing_debug_implementations, reason = "it holds a closure")]
pub struct RunnerInputs<'a> {
    /// Nodes with a live Job at the same time, over all groups.
    pub concurrency: usize,
    /// End live Jobs of earlier runs that have other content, instead of waiting for them.
    pub replace: bool,
    /// Cancelled: create nothing more.
    pub stop: CancellationToken,
    pub on_step: Box<dyn FnMut(Step<'_>) + 'a>,
}

/// Starts the Jobs of its batches and follows them. Whoever holds one calls [`Runner::turn`] again and
/// again, and may add batches in between.
#[expect(missing_debug_implementations, reason = "it holds closures and a client")]
pub struct Runner<'a> {
    cluster: &'a Cluster,
    inputs: RunnerInputs<'a>,
    batches: Batches<'a>,
    queue: Queue,
    /// Planned and adopted Jobs, by where the API server keeps them.
    by_key: HashMap<JobKey, JobIndex>,
    /// Pods of those Jobs by uid: events name nothing else of ours.
    pods: HashMap<String, JobIndex>,
    /// What was seen of Jobs that have no flight yet.
    early: HashMap<JobIndex, Vec<Seen>>,
    /// By the uid of a pod that was not seen yet.
    early_pulls: HashMap<String, Vec<PodEvent>>,
    early_pulls_count: usize,
    /// Of Jobs that are not known as ours.
    early_pods: HashMap<JobKey, Vec<PodFacts>>,
    /// Jobs whose slot is taken.
    flights: HashMap<JobIndex, Flight>,
    /// Live Jobs of other runs that hold their nodes.
    earlier: earlier::Holders,
    /// Jobs of this run that have given way to another run's, and how often each place did.
    yielded: HashMap<JobKey, JobIndex>,
    yields: HashMap<JobIndex, u8>,
    rooms: rooms::Rooms,
    stalls: stalls::Stalls,
    /// When the run ends, as far as that is one for all batches.
    ends_at: Option<Instant>,
    results: HashMap<JobIndex, JobResult>,
    answers: FuturesUnordered<BoxFuture<'a, Answer>>,
    posts: usize,
    posts_max: usize,
    throttled: u64,
    created: usize,
    finished: Vec<JobKey>,
    /// Batches whose Jobs all have a result.
    over: Vec<usize>,
    /// What was there at the start has been taken in.
    settled: bool,
    /// Another process of our instance was noticed, and that was said.
    met_stranger: bool,
    carrier_warned: bool,
    /// The run's deadline has passed: what is still created is ended at once.
    closing: bool,
    warned: HashSet<String>,
    troubled: bool,
}

enum Answer {
    /// To the create of this Job.
    Applied(JobIndex, JobKey, Result<AppliedJob, ApplyError>),
    /// The Job, where it is one of ours that was to be ended.
    Noted(Option<JobIndex>, Result<(), ClusterError>),
    Found(JobIndex, JobKey, Result<Option<look::FoundJob>, ClusterError>),
    Looked(JobIndex, Result<NodeState, ClusterError>),
}

impl<'a> Runner<'a> {
    pub fn new(cluster: &'a Cluster, inputs: RunnerInputs<'a>) -> Runner<'a> {
        Runner {
            cluster,
            queue: Queue::new(inputs.concurrency),
            inputs,
            batches: Batches::default(),
            by_key: HashMap::new(),
            pods: HashMap::new(),
            early: HashMap::new(),
            early_pulls: HashMap::new(),
            early_pulls_count: 0,
            early_pods: HashMap::new(),
            flights: HashMap::new(),
            earlier: earlier::Holders::default(),
            yielded: HashMap::new(),
            yields: HashMap::new(),
            rooms: rooms::Rooms::default(),
            stalls: stalls::Stalls::default(),
            ends_at: None,
            results: HashMap::new(),
            answers: FuturesUnordered::new(),
            posts: 0,
            posts_max: POSTS_IN_FLIGHT,
            throttled: cluster.throttled(),
            created: 0,
            finished: Vec::new(),
            over: Vec::new(),
            settled: false,
            met_stranger: false,
            carrier_warned: false,
            closing: false,
            warned: HashSet::new(),
            troubled: false,
        }
    }

    /// Starts what may start, waits for the next thing to happen, and takes it in. May be dropped at
    /// any point and called again.
    ///
    /// Gives an error that waiting does not mend.
    pub async fn turn(&mut self, watches: &mut Watches) -> Option<Trouble> {
        self.start_what_may_start();
        if !self.over.is_empty() {
            return None;
        }
        self.observe_stalls(Instant::now());
        let next_timer = self.next_timer();
        tokio::select! {
            Some(answer) = self.answers.next() => self.on_answer(answer),
            seen = watches.next() => self.notice(seen).map(|error| Trouble { batch: None, error }),
            () = sleep_until(next_timer) => { self.on_timer(); None }
        }
    }

    /// Whether no Job is out, nor waits for its turn.
    pub fn is_idle(&self) -> bool {
        self.flights.is_empty() && !self.queue.has_waiting()
    }

    fn start_what_may_start(&mut self) {
        while self.posts < self.posts_max {
            let batches = &self.batches;
            let node_of = |index| batches.job(index).map_or("", |job| &job.node.name);
            let Some(index) = self.queue.take(node_of) else { return };
            let Some(batch) = self.batches.get(index.group) else { continue };
            let job = &batch.planned.jobs[index.job];
            let started_at = Timestamp::now();
            (self.inputs.on_step)(Step::Started(job));
            match (batch.render)(job) {
                Ok(manifest) => self.post(index, manifest, started_at),
                Err(failure) => {
                    let evidence = Evidence::unseen(job.group.images.len());
                    let outcome = evidence.outcome(&Ending::NotCreated(failure));
                    self.finish(index, outcome, Some(started_at), None);
                }
            }
        }
    }

    fn post(&mut self, index: JobIndex, manifest: Manifest, started_at: Timestamp) {
        let job = &manifest.job;
        let deadline = Duration::from_secs(job.group.deadline_seconds.into());
        let key = (job.namespace.clone(), job.name.clone());
        let until = Instant::now() + PATIENCE + deadline + SLOT_GRACE;
        let evidence = witness::evidence_of(&manifest);
        self.flights.insert(index, Flight::new(key.clone(), evidence, started_at, until));
        self.takes_room(index);
        for seen in self.early.remove(&index).unwrap_or_default() {
            self.observe(index, seen);
        }
        let cluster = self.cluster;
        self.posts += 1;
        self.answers.push(Box::pin(async move {
            Answer::Applied(index, key, cluster.apply(&manifest, Mode::Create).await)
        }));
    }

    fn on_answer(&mut self, answer: Answer) -> Option<Trouble> {
        match answer {
            Answer::Applied(index, key, applied) => {
                self.posts -= 1;
                self.heed_throttling();
                // It may have been seen before its answer, and have given way by then.
                if self.flights.get(&index).is_some_and(|flight| flight.key != key) {
                    return None;
                }
                match applied {
                    Err(ApplyError::Refused(failure)) if failure.reason == Reason::Quota => {
                        self.on_quota(index, failure);
                        return None;
                    }
                    _ => self.mark_room(index),
                }
                match applied {
                    Ok(applied) => self.on_applied(index, applied),
                    Err(ApplyError::Refused(failure)) => self.conclude(index, Ending::NotCreated(failure)),
                    Err(ApplyError::Unanswered(failure)) => self.on_unanswered(index, failure),
                    Err(ApplyError::Cluster(error)) => {
                        self.conclude(index, Ending::NotCreated(error.failure()));
                        return Some(Trouble { batch: Some(index.group), error });
                    }
                }
            }
            Answer::Noted(index, Ok(())) => {
                if let Some(flight) = index.and_then(|index| self.flights.get_mut(&index)) {
                    flight.mark_ended(Instant::now());
                }
            }
            Answer::Noted(_, Err(error)) => {
                self.warn_once(format!("cannot leave evidence on a failed Job: {error}"));
            }
            Answer::Found(index, key, found) => self.on_found(index, &key, found),
            Answer::Looked(index, looked) => self.on_looked(index, looked),
        }
        None
    }

    /// The create may have been carried out: the watch has the last word, for as long as it may take to
    /// list again.
    fn on_unanswered(&mut self, index: JobIndex, failure: Failure) {
        if let Some(flight) = self.flights.get_mut(&index).filter(|flight| !flight.posted) {
            flight.until = Instant::now() + SLOT_GRACE;
            flight.unanswered = Some(failure);
        }
    }

    /// A 429 halves how many creates are under way, each create without one adds one again.
    fn heed_throttling(&mut self) {
        let throttled = self.cluster.throttled();
        match throttled > std::mem::replace(&mut self.throttled, throttled) {
            true => self.posts_max = (self.posts_max / 2).max(1),
            false => self.posts_max = (self.posts_max + 1).min(POSTS_IN_FLIGHT),
        }
    }

    fn on_applied(&mut self, index: JobIndex, applied: AppliedJob) {
        self.created += 1;
        for warning in applied.warnings {
            self.warn_once(format!("the API server warns: {warning}"));
        }
        // Its end may have been seen before the answer to its creation, and its batch be over.
        let Some(batch) = self.batches.get(index.group) else { return };
        let (deadline, closing) = (batch.planned.group.deadline_seconds, self.closing || batch.closing);
        if let Some(flight) = self.flights.get_mut(&index) {
            flight.created(Instant::now(), deadline);
        }
        if let Some(job) = applied.adopted {
            let is_strangers = self.settled && applied.first_try && job.facts.ending().is_none();
            if is_strangers {
                self.note_stranger(&job.key);
            }
            self.on_job(index, *job);
        }
        match closing {
            true => self.end_at_run_deadline(index),
            false => self.decide(index),
        }
    }

    fn on_timer(&mut self) {
        let now = Instant::now();
        let due: Vec<(JobIndex, Due)> =
            self.flights.iter().filter_map(|(index, flight)| Some((*index, flight.due(now)?))).collect();
        for (index, due) in due {
            match due {
                Due::End(ending) => self.conclude(index, ending),
                Due::Look => self.look_if_lost(index, now),
                Due::Decide => self.decide(index),
            }
        }
        for key in self.earlier.due(now) {
            self.release_holder(&key);
        }
        self.end_what_has_not_given_way(now);
        self.close_batches(now);
        self.give_up_on_room(now);
        self.hold_full_namespaces();
    }

    fn step_back(&mut self, index: JobIndex) {
        if let Some(job) = self.batches.job(index) {
            (self.inputs.on_step)(Step::PutBack(job));
        }
    }

    fn next_timer(&self) -> Instant {
        // With nothing in flight the loop is about to end; an hour stands for "no timer".
        let far = Instant::now() + Duration::from_secs(3600);
        let flights = self.flights.values().map(Flight::timer).min().unwrap_or(far);
        let now = Instant::now();
        let open = self.batches.iter().filter(|(_, batch)| !batch.closing);
        let mut deadline =
            open.filter_map(|(_, batch)| batch.ends_at(&self.stalls, now)).min().unwrap_or(far);
        if self.stalls.is_stalled() {
            // It moves along.
            deadline = deadline.max(now + stalls::TICK);
        }
        // One whose time has come waits for a slot or a node, and those tell of themselves.
        let rooms = self.rooms.timer().filter(|next_try| *next_try > now && self.queue.has_waiting());
        let others = [self.earlier.timer(), rooms, self.stalls_timer()];
        others.into_iter().flatten().fold(flights.min(deadline), Instant::min)
    }

    fn warn_once(&mut self, text: String) {
        if self.warned.len() >= WARNED_MAX {
            self.warned.clear();
        }
        if self.warned.insert(text.clone()) {
            tracing::warn!("{text}");
        }
    }
}
