//! Starts planned Jobs as slots come free, and follows each one to its outcome. A state machine without
//! I/O: what has happened and the time go in ([`Event`]), what is to be done comes out ([`Effect`]).
//!
//! What a Job's facts mean is `outcome`'s to say and whose turn it is the queue's. [`jobs`] has the life of
//! each Job; here is what lies between Jobs: whose event it is, what other runs of the instance do, which
//! namespaces have no room, and when time is up. A Job holds its slot at most [`SLOT_GRACE`] beyond its
//! deadline.
//!
//! One live Job of an instance a node is the rule, also where two runs work at the same time. Each sees
//! the other's Jobs in its watch and leaves their nodes to them. Where both have created one for the same
//! node before they saw the other's, both come to the same conclusion, in whichever order they are told:
//! the younger Job gives way, and its run takes over the elder or waits for its end.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use crate::cluster_error::ClusterError;
use crate::now::Now;
use crate::outcome::{
    Adopted, Ending, Failure, JobFacts, JobOutcome, PodEvent, PodFacts, Reason, SUSPENDED_HELP, Verdict,
    annotation_text,
};
use crate::plan::{JobIndex, PlannedJob};
use crate::render::label;
use crate::watch_event::{ENDED_BY_US_SECONDS, JobKey, ObservedJob, WatchEvent};
use crate::words::counted;

use effect::Effects;
use foreign_jobs::ForeignJobs;
use inbox::Inbox;
use jobs::{Jobs, not_begun};
use quotas::Quotas;
use stalls::Stalls;
use tracked_job::{Change, Due, Read, TrackedJob};

pub use batch::{Batch, FinishedBatch, Render};
pub use effect::{Effect, JobFailure, JobStep, LogLevel, RunnerError, Step};
pub use event::{AppliedJob, ApplyError, Event, FoundJob, NodeState};
pub use single_run::{DEADLINE_GRACE, JobResults, RunEnd, RunEvent, RunInputs, RunStart, SingleRun};

mod batch;
mod effect;
mod event;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
mod foreign_jobs;
mod inbox;
mod jobs;
mod quotas;
mod single_run;
mod stalls;
#[cfg(test)]
mod tests;
mod tracked_job;

/// How long a call is repeated. An API server that is replaced is back within some 10 s, a control
/// plane that is upgraded within a minute or two.
pub const RETRY_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a Job may take from its deadline, or from our ending it, to its end: Kubernetes delays
/// `Failed` while a pod terminates, on a dead node for ever.
pub const SLOT_GRACE: Duration = Duration::from_secs(30);
/// Jobs and pods come through two watches, so a pod's final status may arrive after its Job's end.
const POD_STATUS_GRACE: Duration = Duration::from_secs(1);
/// How long a Job waits for an answer about its node before it is judged without one.
const NODE_CHECK_LIMIT: Duration = Duration::from_secs(10);
/// Creating is never the bottleneck (57 to 198 POST/s with this many in flight, measured), and API
/// priority and fairness queues no more than some 16 requests of one client well.
const CREATES_IN_FLIGHT: usize = 16;
/// How often the Job of one node gives way, or is given way to. More would be a quarrel.
const YIELDS_MAX: u8 = 5;
/// Nothing is due: looked at again after this.
const NO_TIMER: Duration = Duration::from_secs(3600);

/// What a [`Runner`] needs beside its batches.
#[derive(Clone, Copy, Debug)]
pub struct RunnerInputs {
    /// Nodes with a live Job at the same time, over all groups.
    pub concurrency: usize,
    /// End live Jobs of earlier runs that have other content, instead of waiting for them.
    pub replace: bool,
    /// Log it where another process works for the same runs: a process that stays should be the only one.
    pub log_other_processes: bool,
}

/// Starts the Jobs of its batches and follows them. Batches may be added at any time.
#[expect(missing_debug_implementations, reason = "it holds closures")]
pub struct Runner<'a> {
    jobs: Jobs<'a>,
    inbox: Inbox,
    foreign: ForeignJobs,
    quotas: Quotas,
    stalls: Stalls,
    effects: Effects,
    /// How often each Job has given way, or was given way to.
    yields: BTreeMap<JobIndex, u8>,
    replace: bool,
    creates_in_flight: usize,
    creates_max: usize,
    /// When the run ends, as far as that is one for all batches.
    ends_at: Option<Instant>,
    /// The run's deadline has passed: what is still created is ended at once.
    closing: bool,
    /// No more Jobs are to be created.
    stopped: bool,
    log_other_processes: bool,
    /// What was there has been taken in: a Job of ours that we have not made is another process's.
    settled: bool,
    /// Another process of our instance was noticed, and that was logged.
    met_other_process: bool,
    interrupted: bool,
}

impl<'a> Runner<'a> {
    pub fn new(inputs: RunnerInputs) -> Runner<'a> {
        Runner {
            jobs: Jobs::new(inputs.concurrency),
            inbox: Inbox::default(),
            foreign: ForeignJobs::default(),
            quotas: Quotas::default(),
            stalls: Stalls::default(),
            effects: Effects::default(),
            yields: BTreeMap::new(),
            replace: inputs.replace,
            creates_in_flight: 0,
            creates_max: CREATES_IN_FLIGHT,
            ends_at: None,
            closing: false,
            stopped: false,
            log_other_processes: inputs.log_other_processes,
            settled: false,
            met_other_process: false,
            interrupted: false,
        }
    }

    // Batches.

    /// Takes a group's Jobs in, and gives the number by which they are known from now on. A batch
    /// without Jobs is over at once.
    ///
    /// No Job of it may be under way: see [`Runner::is_under_way`].
    pub fn add(&mut self, mut batch: Batch<'a>, now: Now) -> usize {
        batch.record_stalls_at_start(&self.stalls, now.instant);
        let group = batch.planned().group.name.clone();
        let number = self.jobs.add(batch);
        self.hold_where_full(number, now);
        self.reconsider_foreign_of(&group, now);
        number
    }

    /// Adds a Job to a batch that is under way, which has until `deadline` now. Whether it was taken: a
    /// batch that is over takes none.
    pub fn extend(
        &mut self,
        number: usize,
        job: PlannedJob,
        limit: usize,
        deadline: Option<Instant>,
        now: Now,
    ) -> bool {
        match self.jobs.extend(number, job, limit, deadline) {
            Some(group) => {
                self.reconsider_foreign_of(&group, now);
                true
            }
            None => false,
        }
    }

    /// Whether this very Job is waiting for its turn, or is tracked.
    pub fn is_under_way(&self, job: &PlannedJob) -> bool {
        self.jobs.has_key(&(job.namespace.clone(), job.name.clone()))
    }

    /// Batches whose Jobs are all over.
    pub fn take_finished(&mut self) -> Vec<FinishedBatch> {
        let over = self.jobs.take_over();
        let finished = over.into_iter().filter_map(|number| self.remove(number)).collect();
        self.jobs.take_finished_jobs();
        if self.is_idle() {
            self.inbox.clear_pods();
        }
        finished
    }

    /// Takes out all batches, over or not. Jobs that are still out are judged by what is known of them.
    pub fn into_batches(mut self, now: Now) -> Vec<FinishedBatch> {
        self.jobs.abandon_tracked(self.closing, now, &mut self.effects);
        let numbers = self.jobs.batches().numbers();
        numbers.into_iter().filter_map(|number| self.remove(number)).collect()
    }

    fn remove(&mut self, number: usize) -> Option<FinishedBatch> {
        let (quotas, foreign, slots) = (&self.quotas, &self.foreign, self.jobs.queue().slots());
        let finished =
            self.jobs.remove(number, |job| not_begun(job, why_not_begun(quotas, foreign, slots, job)));
        self.inbox.forget_batch(number);
        finished
    }

    /// Nothing more of a batch is created; what is live is followed to its end.
    pub fn give_up(&mut self, number: usize, failure: &Failure) {
        self.jobs.withdraw(number, |job| not_begun(job, Some(failure.clone())));
    }

    /// Nothing more is created for the batches that `error` is about, which are returned: none where it is
    /// about all of them. What is live is followed to its end.
    pub fn give_up_batches_of(&mut self, error: &RunnerError) -> Vec<usize> {
        let RunnerError { batch, error } = error;
        let numbers: Vec<usize> = match (batch, error.namespace()) {
            (Some(number), _) => vec![*number],
            // All Jobs of a group are in one namespace.
            (None, Some(namespace)) => self.batches_in(namespace),
            (None, None) => Vec::new(),
        };
        let failure = error.failure();
        for number in &numbers {
            self.give_up(*number, &failure);
        }
        numbers
    }

    fn batches_in(&self, namespace: &str) -> Vec<usize> {
        let batches = self.jobs.batches().iter();
        batches.filter(|(_, batch)| batch.namespace() == Some(namespace)).map(|(number, _)| number).collect()
    }

    pub fn set_concurrency(&mut self, concurrency: usize) {
        self.jobs.queue_mut().set_concurrency(concurrency);
    }

    /// Jobs that wait for their turn, and those that have a slot.
    pub fn load(&self) -> (usize, usize) {
        (self.jobs.queue().waiting(), self.jobs.all_tracked().count())
    }

    /// Jobs of a batch, and those of them that have a result.
    pub fn counts(&self, number: usize) -> Option<(usize, usize)> {
        self.jobs.batches().get(number).map(Batch::counts)
    }

    /// Whether no Job is out, nor waits for its turn.
    pub fn is_idle(&self) -> bool {
        self.jobs.all_tracked().next().is_none() && !self.jobs.queue().has_waiting()
    }

    /// What an [`Effect::Step`] tells of; `None` once its batch has been taken out.
    pub fn step(&self, index: JobIndex, step: Step) -> Option<JobStep<'_>> {
        let job = self.jobs.job(index)?;
        Some(match step {
            Step::Started => JobStep::Started(job),
            Step::PutBack => JobStep::PutBack(job),
            Step::Finished => JobStep::Finished(job, &self.jobs.result(index)?.outcome),
        })
    }

    // Events.

    /// Takes in what has happened, and gives what is to be done: for this, and for what was added before.
    pub fn on(&mut self, event: Event, now: Now) -> Vec<Effect> {
        let mut effects = self.handle_event(event, now);
        effects.extend(self.proceed(now));
        effects
    }

    /// Takes in what has happened and starts nothing, for whoever deals with errors first and then lets it
    /// [`proceed`](Runner::proceed).
    pub fn handle_event(&mut self, event: Event, now: Now) -> Vec<Effect> {
        match event {
            Event::Watch(event) => self.on_watch(event, now),
            Event::Timer => self.on_timer(now),
            Event::Created { index, key, result, throttled } => {
                self.effects.mark_answered();
                self.on_created(index, &key, result, throttled, now);
            }
            Event::Annotated { index, result } => {
                self.effects.mark_answered();
                self.on_annotated(index, result, now);
            }
            Event::JobRead { index, key, result } => {
                self.effects.mark_answered();
                self.on_job_read(index, &key, result, now);
            }
            Event::NodeRead { index, result } => {
                self.effects.mark_answered();
                self.on_node_read(index, result, now);
            }
        }
        self.effects.take()
    }

    /// Starts what may start, and gives what is to be done.
    pub fn proceed(&mut self, now: Now) -> Vec<Effect> {
        if !self.stopped {
            self.start_waiting(now);
        }
        self.observe_stalls(now.instant);
        self.effects.take()
    }

    /// Creates nothing more. What is under way may still be answered.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// Requests that are not answered yet.
    pub fn requests(&self) -> usize {
        self.effects.requests()
    }

    /// When [`Event::Timer`] is due, if nothing else happens before.
    pub fn next_timer(&self, now: Now) -> Instant {
        let far = now.instant + NO_TIMER;
        let tracked = self.jobs.all_tracked().map(|(_, tracked)| tracked.timer()).min().unwrap_or(far);
        let open = self.jobs.batches().iter().filter(|(_, batch)| !batch.is_closing());
        let deadlines = open.filter_map(|(_, batch)| batch.ends_at(&self.stalls, now.instant));
        let mut deadline = deadlines.min().unwrap_or(far);
        if self.stalls.is_stalled() {
            // It moves along.
            deadline = deadline.max(now.instant + stalls::TICK);
        }
        // One whose time has come waits for a slot or a node, and those tell of themselves.
        let has_waiting = self.jobs.queue().has_waiting();
        let quotas = self.quotas.timer().filter(|next_try| *next_try > now.instant && has_waiting);
        let others = [self.foreign.timer(), quotas, self.stalls.timer(self.suspended_since())];
        others.into_iter().flatten().fold(tracked.min(deadline), Instant::min)
    }

    fn start_waiting(&mut self, now: Now) {
        while self.creates_in_flight < self.creates_max {
            let Some(index) = self.jobs.take_turn() else { return };
            if !self.jobs.start(index, now, &mut self.effects) {
                continue;
            }
            self.creates_in_flight += 1;
            if !self.quotas.is_empty() {
                if let Some(job) = self.jobs.job(index) {
                    self.quotas.mark_trying(&job.namespace);
                }
                self.hold_full_namespaces(now);
            }
            for event in self.inbox.take(index) {
                self.observe(index, event, now);
            }
        }
    }

    fn on_created(
        &mut self,
        index: JobIndex,
        key: &JobKey,
        result: Result<AppliedJob, ApplyError>,
        throttled: bool,
        now: Now,
    ) {
        self.creates_in_flight = self.creates_in_flight.saturating_sub(1);
        // A 429 halves how many creates are under way, each create without one adds one again.
        self.creates_max = match throttled {
            true => (self.creates_max / 2).max(1),
            false => (self.creates_max + 1).min(CREATES_IN_FLIGHT),
        };
        // It may have been seen before its answer, and have given way or be over by then.
        let is_tracked = self.jobs.tracked(index).is_some_and(|tracked| tracked.key() == key);
        let is_refused_for_quota =
            matches!(&result, Err(ApplyError::Refused(failure)) if failure.reason == Reason::Quota);
        let is_missed = is_tracked && self.jobs.tracked_mut(index).is_some_and(TrackedJob::mark_answered);
        if !is_refused_for_quota && !self.quotas.is_empty() {
            self.quotas.answered(&key.0, now.instant);
            self.hold_full_namespaces(now);
        }
        match result {
            Ok(applied) => {
                self.on_applied(index, is_tracked, applied, now);
                if is_missed {
                    self.jobs.read_job(index, Read::LeftWatch, now, &mut self.effects);
                }
            }
            Err(ApplyError::Cluster(error)) => {
                if is_tracked {
                    self.complete(index, Ending::NotCreated(error.failure()), now);
                }
                self.effects.push(Effect::Fail(RunnerError { batch: Some(index.group), error }));
            }
            Err(_) if !is_tracked => {}
            Err(ApplyError::Refused(failure)) if is_refused_for_quota => self.on_quota(index, failure, now),
            Err(ApplyError::Refused(failure)) => self.complete(index, Ending::NotCreated(failure), now),
            Err(ApplyError::Unanswered(failure)) => {
                if let Some(tracked) = self.jobs.tracked_mut(index) {
                    tracked.mark_unanswered(failure, now.instant);
                }
            }
        }
    }

    fn on_applied(&mut self, index: JobIndex, is_tracked: bool, applied: AppliedJob, now: Now) {
        self.jobs.count_created();
        for warning in applied.warnings {
            self.effects.warn_once(format!("the API server warns: {warning}"));
        }
        // Its end may have been seen before the answer to its creation, and its batch be over.
        let Some(batch) = self.jobs.batches().get(index.group).filter(|_| is_tracked) else { return };
        let (deadline, closing) =
            (batch.planned().group.deadline_seconds, self.closing || batch.is_closing());
        if let Some(tracked) = self.jobs.tracked_mut(index) {
            tracked.mark_created(now.instant, deadline);
        }
        if let Some(job) = applied.adopted {
            if self.settled && applied.first_try && job.is_live() {
                self.log_other_process(&job.key);
            }
            self.on_job(index, *job, now);
        }
        match closing {
            true => self.jobs.end_at_deadline(index, &mut self.effects),
            false => self.jobs.evaluate(index, now, &mut self.effects),
        }
    }

    fn on_annotated(&mut self, index: Option<JobIndex>, result: Result<(), ClusterError>, now: Now) {
        match result {
            Ok(()) => {
                if let Some(tracked) = index.and_then(|index| self.jobs.tracked_mut(index)) {
                    tracked.confirm_end(now.instant);
                }
            }
            Err(error) => {
                self.effects.warn_once(format!("cannot leave evidence on a failed Job: {error}"));
                // Of one that is over, it was about nothing but that.
                if let Some(tracked) = index.and_then(|index| self.jobs.tracked_mut(index)) {
                    tracked.undo_end();
                }
            }
        }
    }

    fn on_timer(&mut self, now: Now) {
        let due: Vec<(JobIndex, Due)> = self
            .jobs
            .all_tracked()
            .filter_map(|(index, tracked)| Some((index, tracked.due(now.instant)?)))
            .collect();
        for (index, due) in due {
            match due {
                Due::Complete(ending) => self.complete(index, ending, now),
                Due::Evaluate => self.jobs.evaluate(index, now, &mut self.effects),
                Due::CheckNode => {
                    let tracked = self.jobs.tracked_mut(index);
                    if tracked.is_some_and(|tracked| tracked.take_node_check(now.instant)) {
                        self.jobs.check_node(index, &mut self.effects);
                    }
                }
            }
        }
        for key in self.foreign.give_up_due(now.instant) {
            self.release_foreign(&key);
        }
        self.end_what_has_not_given_way(now);
        self.close_batches(now);
        self.give_up_full_namespaces(now);
        self.hold_full_namespaces(now);
    }

    fn complete(&mut self, index: JobIndex, ending: Ending, now: Now) {
        self.jobs.complete(index, ending, now, &mut self.effects);
    }

    // What the watches tell.

    fn on_watch(&mut self, event: WatchEvent, now: Now) {
        match &event {
            WatchEvent::Forbidden(error) => {
                let error = RunnerError { batch: None, error: error.clone() };
                return self.effects.push(Effect::Fail(error));
            }
            WatchEvent::Interrupted(error) => {
                if !std::mem::replace(&mut self.interrupted, true) {
                    let text = format!("the watch of Jobs and pods broke, trying again: {error}");
                    self.effects.log(LogLevel::Warn, text);
                }
                return;
            }
            _ if std::mem::replace(&mut self.interrupted, false) => {
                self.effects.log(LogLevel::Info, "the watch of Jobs and pods works again");
            }
            _ => {}
        }
        if let WatchEvent::JobGone((namespace, _)) = &event {
            self.quotas.freed(namespace, now.instant);
        }
        let index = match &event {
            WatchEvent::Job(job) => self.jobs.index_of(&job.key),
            WatchEvent::JobGone(key)
            | WatchEvent::Pod(key, _)
            | WatchEvent::PodGone(key, _)
            | WatchEvent::Rejected(key, _, _) => self.jobs.index_of(key),
            WatchEvent::PodEvent(uid, _) => self.jobs.index_of_pod(uid),
            WatchEvent::Interrupted(_) | WatchEvent::Forbidden(_) => None,
        };
        match index {
            Some(index) => self.route(index, event, now),
            None => self.on_unknown(event, now),
        }
    }

    /// Of a Job that is not one of the plan's, or not known to be.
    fn on_unknown(&mut self, event: WatchEvent, now: Now) {
        match event {
            WatchEvent::Job(job) => self.on_foreign_job(*job, now),
            WatchEvent::JobGone(key) => {
                self.release_foreign(&key);
                self.foreign.forget(&key);
                self.inbox.take_pods(&key);
            }
            WatchEvent::PodEvent(uid, event) => self.inbox.keep_pod_event(uid, event),
            WatchEvent::Pod(key, pod) => self.inbox.keep_pod(key, pod),
            WatchEvent::PodGone(key, uid) => self.inbox.forget_pod(&key, &uid),
            WatchEvent::Rejected(..) | WatchEvent::Interrupted(_) | WatchEvent::Forbidden(_) => {}
        }
    }

    /// To the Job that is tracked, to its result, or kept until it has its turn. A live Job of this very run
    /// that another process has made is tracked at once.
    fn route(&mut self, index: JobIndex, event: WatchEvent, now: Now) {
        if self.jobs.tracked(index).is_some() {
            return self.observe(index, event, now);
        }
        if let WatchEvent::Pod(_, pod) = &event {
            self.jobs.observe_pod(index, pod, Vec::new());
        }
        match (self.jobs.is_waiting(index), event) {
            (false, WatchEvent::PodEvent(_, event)) => self.jobs.add_pull(index, &event),
            (false, WatchEvent::JobGone(key)) => self.jobs.forget_gone(index, &key),
            (false, _) => {}
            // What is gone before we have created ours was not ours, nor is what was seen of it.
            (true, WatchEvent::JobGone(_)) => drop(self.inbox.take(index)),
            (true, WatchEvent::Job(job)) if job.is_live() && self.does_the_same(index, &job) => {
                if self.settled {
                    self.log_other_process(&job.key);
                }
                self.adopt(index, *job, None, now);
            }
            (true, event) => self.inbox.keep(index, event),
        }
    }

    fn observe(&mut self, index: JobIndex, event: WatchEvent, now: Now) {
        let Some(tracked) = self.jobs.tracked_mut(index) else { return };
        match event {
            WatchEvent::Pod(_, pod) => self.observe_pod(index, &pod),
            WatchEvent::PodGone(_, uid) => tracked.observe_pod_gone(&uid),
            WatchEvent::PodEvent(pod, event) => tracked.observe_pod_event(&pod, &event),
            WatchEvent::Rejected(_, uid, rejection) => tracked.observe_rejection(uid, rejection),
            WatchEvent::Job(job) => {
                tracked.mark_labelled(&job.key);
                self.on_job(index, *job, now);
            }
            // An adopted Job has two names: its own, and that of the one it stands in for. One that lost a
            // label leaves the watch as one that was deleted does.
            WatchEvent::JobGone(key) if *tracked.key() == key => {
                self.jobs.read_job(index, Read::LeftWatch, now, &mut self.effects);
            }
            WatchEvent::JobGone(_) | WatchEvent::Interrupted(_) | WatchEvent::Forbidden(_) => {}
        }
        self.jobs.evaluate(index, now, &mut self.effects);
    }

    fn observe_pod(&mut self, index: JobIndex, pod: &PodFacts) {
        let events: Vec<PodEvent> = self.inbox.take_pod_events(&pod.uid);
        self.jobs.observe_pod(index, pod, events);
    }

    fn on_job(&mut self, index: JobIndex, job: ObservedJob, now: Now) {
        let Some(planned) = self.jobs.job(index) else { return };
        let references: Vec<String> = planned.group.images.iter().map(ToString::to_string).collect();
        let Some(tracked) = self.jobs.tracked_mut(index).filter(|tracked| *tracked.key() == job.key) else {
            return;
        };
        match tracked.observe_job(&job, references.into_iter(), now.instant) {
            Change::None => {}
            Change::Yielded => self.start_over(index, job, now),
            Change::Live => self.give_way_if_younger(index, now),
        }
    }

    fn on_job_read(
        &mut self,
        index: JobIndex,
        key: &JobKey,
        result: Result<Option<FoundJob>, ClusterError>,
        now: Now,
    ) {
        if let Err(error) = &result {
            self.effects.warn_once(format!("cannot ask for a Job that was not heard of: {error}"));
        }
        let does_the_same =
            matches!(&result, Ok(Some(found)) if found.is_ours && self.does_the_same(index, &found.job));
        let Some(tracked) = self.jobs.tracked_mut(index).filter(|tracked| tracked.key() == key) else {
            return;
        };
        if let Some(job) = tracked.end_read(result.map_err(drop), does_the_same, now.instant) {
            if tracked.is_disowned() {
                let (namespace, name) = tracked.key();
                let (managed_by, instance) = (label::MANAGED_BY, label::INSTANCE);
                self.effects.warn_once(format!(
                    "Job {name} in namespace {namespace:?} has lost the label {managed_by} or {instance}: it is followed by \
                     its pod and not changed any more"
                ));
            }
            self.on_job(index, *job, now);
        }
        match self.jobs.tracked(index).and_then(|tracked| tracked.due(now.instant)) {
            // Asked, and found as it was.
            Some(Due::Complete(ending)) => {
                if let Some(tracked) = self.jobs.tracked_mut(index) {
                    tracked.stop_reading();
                }
                self.complete(index, ending, now);
            }
            _ => self.jobs.evaluate(index, now, &mut self.effects),
        }
    }

    fn on_node_read(&mut self, index: JobIndex, result: Result<NodeState, ClusterError>, now: Now) {
        // Also where the Job was judged without this answer: a refusal is believed late.
        if let Err(error) = &result {
            self.effects.warn_once(format!("cannot look after a node: {error}"));
        }
        self.jobs.observe_node(index, result.ok(), now, &mut self.effects);
    }

    // What was there at the start.

    /// Takes in what the first lists held and what followed until all of them were there. Each is routed
    /// by what is known by its turn: a Job may be listed live, be adopted, and be told of again.
    pub fn take_in(&mut self, listed: Vec<WatchEvent>, now: Now) {
        let is_job = |event: &WatchEvent| matches!(event, WatchEvent::Job(_));
        let (jobs, others): (Vec<WatchEvent>, Vec<WatchEvent>) = listed.into_iter().partition(is_job);
        self.settled = false;
        self.take_names_on(&jobs);
        // This run's own are on their nodes by right; then the others. Pods and events are told by Jobs.
        let is_own = |event: &WatchEvent| matches!(event, WatchEvent::Job(job) if self.jobs.index_of(&job.key).is_some());
        let (own, foreign): (Vec<WatchEvent>, Vec<WatchEvent>) = jobs.into_iter().partition(is_own);
        for event in own {
            match event {
                WatchEvent::Job(job) if !self.has_begun(&job.key) => self.take_in_own(*job, now),
                event => self.on_watch(event, now),
            }
        }
        for event in foreign {
            self.on_watch(event, now);
        }
        // Pods before what events say of them; those of pods that are gone are of no use to us.
        let (pod_events, others): (Vec<WatchEvent>, Vec<WatchEvent>) =
            others.into_iter().partition(|event| matches!(event, WatchEvent::PodEvent(..)));
        for event in others {
            match &event {
                // Of Jobs that are over: thousands, in a namespace that keeps them long.
                WatchEvent::Pod(key, _)
                    if self.jobs.index_of(key).is_none() && !self.foreign.contains(key) => {}
                _ => self.on_watch(event, now),
            }
        }
        let waiting = self.inbox.pod_uids();
        for event in pod_events {
            match &event {
                WatchEvent::PodEvent(pod, _)
                    if self.jobs.index_of_pod(pod).is_some() || waiting.contains(pod) =>
                {
                    self.on_watch(event, now);
                }
                _ => {}
            }
        }
        let resumed: Vec<JobIndex> = self.jobs.all_tracked().map(|(index, _)| index).collect();
        for index in resumed {
            self.jobs.evaluate(index, now, &mut self.effects);
        }
        self.settled = self.log_other_processes;
    }

    /// Which names this run uses by now, in whichever order they are listed.
    fn take_names_on(&mut self, jobs: &[WatchEvent]) {
        let given_way = jobs.iter().filter_map(|event| match event {
            WatchEvent::Job(job) if job.has_given_way() || job.is_spent() => Some(&job.key),
            _ => None,
        });
        let mut given_way: HashSet<&JobKey> = given_way.collect();
        while let Some(key) = given_way.iter().find(|key| self.jobs.index_of(key).is_some()).copied() {
            given_way.remove(key);
            if let Some(index) = self.jobs.index_of(key) {
                self.jobs.rename(index);
            }
        }
    }

    /// Whether the Job of this run is tracked or has a result.
    fn has_begun(&self, key: &JobKey) -> bool {
        self.jobs.index_of(key).is_some_and(|index| !self.jobs.is_waiting(index))
    }

    /// A Job of this run that was there when it began: live, or over.
    fn take_in_own(&mut self, job: ObservedJob, now: Now) {
        let Some(index) = self.jobs.index_of(&job.key) else { return };
        // Where content differs the create will say so, with the name that is taken.
        if self.does_the_same(index, &job) {
            self.adopt(index, job, None, now);
        }
    }

    /// Follows a Job that this process has not made: of this run, or of the one that it is `adopted` from.
    fn adopt(&mut self, index: JobIndex, job: ObservedJob, adopted: Option<Adopted>, now: Now) {
        self.jobs.adopt(index, &job, adopted, now, &mut self.effects);
        // What was seen of it while nobody knew whose it is.
        for event in self.inbox.take(index) {
            match event {
                WatchEvent::Pod(key, pod) if key == job.key => self.observe_pod(index, &pod),
                WatchEvent::Rejected(key, uid, rejection) if key == job.key => {
                    if let Some(tracked) = self.jobs.tracked_mut(index) {
                        tracked.observe_rejection(uid, rejection);
                    }
                }
                _ => {}
            }
        }
        for pod in self.inbox.take_pods(&job.key) {
            self.observe_pod(index, &pod);
        }
        self.on_job(index, job, now);
        self.jobs.evaluate(index, now, &mut self.effects);
    }

    // Other runs of the instance.

    /// A Job of another run of this instance: adopted where it does what ours would, else its node is
    /// left to it until it ends.
    fn on_foreign_job(&mut self, job: ObservedJob, now: Now) {
        // One that a queue holds and that ends as soon as it is admitted does nothing any more.
        let is_spent = job.suspended && job.is_being_ended();
        if !job.is_live() || is_spent {
            self.inbox.take_pods(&job.key);
            return self.release_foreign(&job.key);
        }
        if self.foreign.was_given_up(&job) || self.foreign.update(&job, now.instant) {
            return;
        }
        let ours = self.waiting_job(&job);
        if let Some(index) = ours {
            self.log_other_run(index, &job.run_id);
        }
        // Where another Job of ours is on the node one of both has to give way before.
        let is_free = !self.jobs.all_tracked().any(|(index, _)| self.is_on(index, &job.node));
        let adopts = |index: &JobIndex| is_free && self.does_the_same(*index, &job) && !job.is_being_ended();
        if let Some(index) = ours.filter(adopts) {
            let adopted = Adopted { job: job.key.1.clone(), run_id: job.run_id.clone() };
            return self.adopt(index, job, Some(adopted), now);
        }
        self.jobs.queue_mut().occupy(&job.node, &job.group);
        let ours = ours.filter(|_| self.replace && !job.is_being_ended());
        let replaced_by =
            ours.and_then(|index| Some(self.jobs.job(index)?.identity.run_id.as_str().to_owned()));
        let (node, is_replaced) = (job.node.clone(), replaced_by.is_some());
        if let Some(run_id) = replaced_by {
            let words = format!("run {run_id} has other content for this node and was told to replace");
            self.end_foreign(job.key.clone(), Reason::Replaced, words);
        }
        let wait = self.foreign.add(job, is_replaced, now.instant);
        self.stalls.lasts(wait);
        self.give_way_on(&node, now);
    }

    fn end_foreign(&mut self, key: JobKey, reason: Reason, words: String) {
        let outcome = outcome_text(reason, words);
        self.effects.push(Effect::Annotate { index: None, key, outcome, end_now: true });
    }

    fn release_foreign(&mut self, key: &JobKey) {
        if let Some(job) = self.foreign.remove(key) {
            self.jobs.queue_mut().release(&job.node, &job.group);
        }
    }

    /// A batch has been added: of the Jobs that hold its nodes it takes over those that do the same.
    fn reconsider_foreign_of(&mut self, group: &str, now: Now) {
        for key in self.foreign.keys_of_group(group) {
            self.reconsider_foreign(&key, now);
        }
    }

    fn reconsider_foreign(&mut self, key: &JobKey, now: Now) {
        let Some(job) = self.foreign.remove(key) else { return };
        self.jobs.queue_mut().release(&job.node, &job.group);
        match self.jobs.index_of(key).is_some() {
            true if self.has_begun(key) => self.on_watch(WatchEvent::Job(Box::new(job)), now),
            true => self.take_in_own(job, now),
            false => self.on_foreign_job(job, now),
        }
    }

    /// Another run's Job is on `node`: whether one of ours there is the younger.
    fn give_way_on(&mut self, node: &str, now: Now) {
        let ours = self.jobs.all_tracked().map(|(index, _)| index).filter(|index| self.is_on(*index, node));
        let ours: Vec<JobIndex> = ours.collect();
        for index in ours {
            self.give_way_if_younger(index, now);
        }
    }

    /// Ends a Job of ours where an elder one of another run is live on its node.
    fn give_way_if_younger(&mut self, index: JobIndex, now: Now) {
        let Some(tracked) = self.jobs.tracked(index).filter(|tracked| tracked.may_give_way()) else { return };
        let Some(batch) = self.jobs.batches().get(index.group).filter(|batch| !batch.is_closing()) else {
            return;
        };
        let Some(planned) = batch.planned().jobs.get(index.job) else { return };
        if tracked.adopted_from().is_some() || self.closing {
            return;
        }
        let elder = self.foreign.elder_on(&planned.node.name, tracked.age());
        let Some((elder, run_id)) = elder.map(|job| (job.key.1.clone(), job.run_id.clone())) else { return };
        if tracked.evidence().all_present() {
            // There is nothing to be done again.
            return self.jobs.end_done(index, &mut self.effects);
        }
        if self.count_yield(index) {
            self.give_way(index, &elder, &run_id, now);
        }
    }

    /// Whether a Job may give way, or be given way to, once more.
    fn count_yield(&mut self, index: JobIndex) -> bool {
        let yields = self.yields.entry(index).or_default();
        *yields = yields.saturating_add(1);
        *yields <= YIELDS_MAX
    }

    /// Ends Jobs of other runs that are younger than ours on the same node, and have not given way: whoever was
    /// to end them is gone, and two would pull there at once until the last of their deadlines.
    fn end_what_has_not_given_way(&mut self, now: Now) {
        for younger in self.foreign.take_overdue(now.instant) {
            let elder = self.jobs.all_tracked().find(|(index, tracked)| {
                let is_own = tracked.adopted_from().is_none();
                self.is_on(*index, &younger.node)
                    && is_own
                    && tracked.goes_on()
                    && tracked.age() < younger.age()
            });
            let Some((index, elder)) = elder.map(|(index, tracked)| (index, tracked.key().1.clone())) else {
                continue;
            };
            if self.count_yield(index) {
                let ObservedJob { key, run_id, node, .. } = younger;
                let text = format!(
                    "Job {} of run {run_id} on node {node} has not given way to our Job {elder}, which was there before; \
                     its process seems to be gone, so it is ended",
                    key.1
                );
                self.effects.log(LogLevel::Warn, text);
                self.end_foreign(key, Reason::Yielded, format!("Job {elder} was there before this one"));
            }
        }
    }

    fn give_way(&mut self, index: JobIndex, elder: &str, run_id: &str, now: Now) {
        self.effects.warn_once(format!(
            "run {run_id} of this instance works at the same time: where both have created a Job for one node, ours is \
             ended where it is the younger, and the other's is taken over or waited for"
        ));
        let (Some(tracked), Some(planned)) = (self.jobs.tracked(index), self.jobs.job(index)) else { return };
        let outcome =
            outcome_text(Reason::Yielded, format!("Job {elder} of run {run_id} was there before this one"));
        // As the watch will show it.
        let job = ObservedJob {
            key: tracked.key().clone(),
            uid: tracked.uid().to_owned(),
            created_at: tracked.created_at(),
            group: planned.group.name.clone(),
            run_id: planned.identity.run_id.as_str().to_owned(),
            node: planned.node.name.clone(),
            content: planned.content.to_string(),
            annotation: Some(outcome.clone()),
            deadline_seconds: ENDED_BY_US_SECONDS,
            suspended: tracked.suspended().is_some(),
            facts: JobFacts::default(),
        };
        self.effects.push(Effect::Annotate { index: None, key: job.key.clone(), outcome, end_now: true });
        self.jobs.mark_finished(job.key.clone());
        self.start_over(index, job, now);
    }

    /// A Job of ours has given way: it holds its node until it is over, and what it was to do waits for its
    /// turn under another name.
    fn start_over(&mut self, index: JobIndex, job: ObservedJob, now: Now) {
        let Some(node) = self.jobs.job(index).map(|planned| planned.node.name.clone()) else { return };
        if self.closing || self.jobs.batches().get(index.group).is_none_or(Batch::is_closing) {
            return self.complete(index, Ending::RunOver, now);
        }
        let Some(tracked) = self.jobs.put_back(index, &mut self.effects) else { return };
        match tracked.adopted_from() {
            None => self.jobs.rename(index),
            // Another run's Job, whose own process has ended it. Ours has its name yet.
            Some(_) => self.jobs.forget_adopted(index, tracked.key()),
        }
        self.on_foreign_job(job, now);
        let mut on_node: Vec<ObservedJob> = self.foreign.staying_on(&node).into_iter().cloned().collect();
        on_node.sort_by(|a, b| a.age().cmp(&b.age()));
        for job in on_node {
            self.reconsider_foreign(&job.key, now);
        }
    }

    /// Another process of our instance works for the same run.
    fn log_other_process(&mut self, (namespace, name): &JobKey) {
        if !std::mem::replace(&mut self.met_other_process, true) {
            let text = format!(
                "another process seems to work for the same instance: it has created Job {name} in namespace \
                 {namespace:?} before us; stop one of them, give one an `instance` of its own, or start both with \
                 --leader-elect"
            );
            self.effects.log(LogLevel::Warn, text);
        }
    }

    fn log_other_run(&mut self, index: JobIndex, run_id: &str) {
        if self.jobs.job(index).is_none_or(|job| job.identity.run_id.as_str() != run_id) {
            self.effects.info_once(format!(
                "run {run_id} of this instance has live Jobs on nodes of this one: those that put the same there are taken \
                 over, the others are waited for"
            ));
        }
    }

    fn is_on(&self, index: JobIndex, node: &str) -> bool {
        self.jobs.job(index).is_some_and(|job| job.node.name == node)
    }

    fn does_the_same(&self, index: JobIndex, job: &ObservedJob) -> bool {
        self.jobs.job(index).is_some_and(|planned| *planned.content == *job.content)
    }

    /// The Job of this plan for the same node and group, where it has not been started.
    fn waiting_job(&self, other: &ObservedJob) -> Option<JobIndex> {
        let batches = self.jobs.batches().iter();
        let of_group = batches.filter(|(_, batch)| batch.planned().group.name == other.group);
        let mut places = of_group.flat_map(|(group, batch)| {
            let jobs = batch.planned().jobs.iter().enumerate();
            let same = jobs.filter(|(_, job)| job.node.name == other.node && job.namespace == other.key.0);
            same.map(move |(job, _)| JobIndex { group, job })
        });
        places.find(|index| self.jobs.is_waiting(*index))
    }

    // Namespaces without room.

    /// The namespace's quota has no room for the Job: it has its turn again once there is.
    fn on_quota(&mut self, index: JobIndex, refusal: Failure, now: Now) {
        let Some(batch) = self.jobs.batches().get(index.group) else { return };
        if self.closing || batch.is_closing() {
            return self.complete(index, Ending::NotCreated(refusal), now);
        }
        let Some(namespace) = self.jobs.job(index).map(|job| job.namespace.clone()) else { return };
        if self.quotas.refused(&namespace, refusal.clone(), now.instant) {
            self.effects.warn_once(format!(
                "namespace {namespace:?} has no room for more Jobs ({}): waiting for some to go; raise the quota, or lower \
                 keep_jobs so that those that are over go sooner",
                refusal.message
            ));
        }
        self.jobs.put_back(index, &mut self.effects);
        self.hold_full_namespaces(now);
    }

    /// Lets batches go on, or keeps them, as their namespaces have room.
    fn hold_full_namespaces(&mut self, now: Now) {
        for number in self.jobs.batches().numbers() {
            self.hold_where_full(number, now);
        }
    }

    fn hold_where_full(&mut self, number: usize, now: Now) {
        let Some(namespace) = self.jobs.batches().get(number).and_then(Batch::namespace) else { return };
        let is_open = self.quotas.is_open(namespace, now.instant);
        self.jobs.queue_mut().set_on_hold(number, !is_open);
    }

    /// What waits for room that cannot come in time fails now: with nothing of ours to go before the end,
    /// only others could make some, and they have had their time.
    fn give_up_full_namespaces(&mut self, now: Now) {
        for (namespace, refusal) in self.quotas.hopeless(now.instant) {
            for number in self.batches_in(&namespace) {
                let Some(batch) = self.jobs.batches().get(number) else { continue };
                let keep = Duration::from_secs(batch.planned().group.keep_jobs_seconds.into());
                let ends_at = [batch.deadline(), self.ends_at].into_iter().flatten().min();
                if ends_at.is_some_and(|ends_at| now.instant + keep >= ends_at) {
                    self.give_up(number, &refusal);
                }
            }
        }
    }

    // Time that is up, and what others hold up.

    /// Ends the batches whose deadline has passed.
    fn close_batches(&mut self, now: Now) {
        let open = self.jobs.batches().iter().filter(|(_, batch)| !batch.is_closing());
        let due = open.filter(|(_, batch)| {
            batch.ends_at(&self.stalls, now.instant).is_some_and(|ends_at| ends_at <= now.instant)
        });
        let due: Vec<usize> = due.map(|(number, _)| number).collect();
        for number in due {
            self.jobs.close_batch(number);
            let (quotas, foreign, slots) = (&self.quotas, &self.foreign, self.jobs.queue().slots());
            self.jobs.withdraw(number, |job| not_begun(job, why_not_begun(quotas, foreign, slots, job)));
            self.end_live(|index| index.group == number);
        }
    }

    fn end_live(&mut self, is_meant: impl Fn(JobIndex) -> bool) {
        let live = self.jobs.all_tracked().filter(|(index, tracked)| tracked.is_live() && is_meant(*index));
        let live: Vec<JobIndex> = live.map(|(index, _)| index).collect();
        for index in live {
            self.jobs.end_at_deadline(index, &mut self.effects);
        }
    }

    /// The deadline of the whole run has passed: whatever is live ends now, nothing more is created.
    fn end_run(&mut self) {
        self.closing = true;
        self.end_live(|_| true);
    }

    fn suspended_since(&self) -> Option<Instant> {
        self.jobs.all_tracked().filter_map(|(_, tracked)| tracked.suspended()).min()
    }

    /// Looks at what keeps Jobs from starting, and logs it where it lasts.
    fn observe_stalls(&mut self, now: Instant) {
        let queue = self.jobs.queue();
        let is_kept = queue.has_waiting()
            && (queue.lacks_slots() || self.foreign.jobs().any(|job| queue.is_kept_from(&job.node)));
        let suspended_since = self.suspended_since();
        self.stalls.observe(is_kept, suspended_since.is_some(), now);
        if self.stalls.take_log_due(now) {
            let text = self.foreign_in_words();
            self.effects.log(LogLevel::Warn, text);
        }
        if self.stalls.take_suspension_due(suspended_since, now) {
            let suspended =
                self.jobs.all_tracked().filter_map(|(_, tracked)| Some((tracked.suspended()?, tracked)));
            let suspended: Vec<_> = suspended.collect();
            let Some((_, first)) = suspended.iter().min_by_key(|(since, _)| *since) else { return };
            let (namespace, name) = first.key();
            let text = format!(
                "suspended: a queue holds {} (spec.suspend), such as {name} in namespace {namespace:?}; they keep their \
                 slots, their deadlines do not run, and they go on when they are admitted. {SUSPENDED_HELP}",
                counted(suspended.len(), "Job"),
            );
            self.effects.log(LogLevel::Warn, text);
        }
    }

    /// Who takes the slots, and for which nodes that matters.
    fn foreign_in_words(&self) -> String {
        let mut runs: BTreeMap<&str, (usize, &str, &str)> = BTreeMap::new();
        for job in self.foreign.jobs() {
            let (_, name) = &job.key;
            let run = runs.entry(&job.run_id).or_insert((0, name, &job.node));
            run.0 += 1;
        }
        let runs: Vec<String> = runs
            .into_iter()
            .take(5)
            .map(|(run, (jobs, name, node))| format!("run {run} has {jobs}, such as {name} on node {node}"))
            .collect();
        let (taken, slots) = self.jobs.queue().slots();
        format!(
            "{} cannot start, because live Jobs of other runs of this instance hold their nodes or take slots ({taken} of \
             {slots}): {}; their end is waited for",
            counted(self.jobs.queue().waiting(), "Job"),
            runs.join("; "),
        )
    }
}

/// Why a Job never had its turn: its namespace had no room, or another run's Job had its node or its slot.
fn why_not_begun(
    quotas: &Quotas,
    foreign: &ForeignJobs,
    (taken, slots): (usize, usize),
    job: &PlannedJob,
) -> Option<Failure> {
    if let Some(refusal) = quotas.refusal(&job.namespace) {
        return Some(refusal.clone());
    }
    let on_node = foreign.jobs().find(|other| other.node == job.node.name);
    let other = on_node.or_else(|| foreign.jobs().next().filter(|_| taken >= slots))?;
    let what = if on_node.is_some() { "had the node" } else { "took the last slot" };
    let message =
        format!("the run ended before this node's turn: Job {} of run {} {what}", other.key.1, other.run_id);
    Some(Failure::new(Reason::NotStarted, message))
}

/// What is written on a Job that has to make room.
fn outcome_text(reason: Reason, words: String) -> String {
    let verdict = Verdict::Failed(Failure::new(reason, words));
    annotation_text(&JobOutcome { verdict, images: Vec::new() }, std::iter::empty())
}
