//! Starts planned Jobs as slots come free, and follows each one to its outcome.
//!
//! One task, one loop: it alone writes the state of the run, so nothing needs a lock. What a Job's
//! facts mean is `outcome`'s to say and whose turn it is the queue's; this room listens, posts,
//! patches and keeps time. It never outlasts a Job's deadline by more than [`SLOT_GRACE`].
#![expect(clippy::disallowed_methods, reason = "this room keeps the time of a run")]

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::apply::{AppliedJob, ApplyError};
use super::watch::{JobKey, Seen};
use super::{Cluster, ClusterError, Watches};
use crate::config::ImageRef;
use crate::outcome::{
    CarrierWitness, Decision, Ending, Evidence, Failure, ImageWitness, JobFacts, JobOutcome, JobResult,
    Reason, Verdict, annotation_text,
};
use crate::plan::{JobIndex, Plan, PlannedJob, Queue};
use crate::render::Manifest;

/// How long a Job may take from its deadline, or from our ending it, to its end: Kubernetes delays
/// `Failed` while a pod terminates, on a dead node for ever.
const SLOT_GRACE: Duration = Duration::from_secs(30);
/// Jobs and pods come through two watches, so a pod's last words may arrive after its Job's end.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Creating is never the bottleneck (57 to 198 POST/s with this many in flight, measured), and API
/// priority and fairness queues no more than some 16 requests of one client well.
const POSTS_IN_FLIGHT: usize = 16;
/// After a signal: how long answers to requests under way may take before the report is written.
const FAREWELL: Duration = Duration::from_secs(2);

/// Results in the plan's shape: by group, then Job.
pub type JobResults = Vec<Vec<JobResult>>;

/// What a run does next, for whoever shows progress.
#[derive(Debug)]
pub enum Step<'a> {
    Started(&'a PlannedJob),
    Finished(&'a PlannedJob, &'a JobOutcome),
}

/// What a run needs beside the plan.
#[expect(missing_debug_implementations, reason = "it holds closures")]
pub struct RunInputs<'a> {
    pub plan: &'a Plan,
    /// Nodes with a live Job at the same time, over all groups.
    pub concurrency: usize,
    pub render: &'a dyn Fn(&PlannedJob) -> Result<Manifest, Failure>,
    /// Cancelled: create nothing more and report what is known.
    pub stop: CancellationToken,
    pub on_step: &'a mut dyn FnMut(Step<'_>),
}

/// How a run ended.
#[derive(Debug)]
pub struct RunEnd {
    /// One for every planned Job.
    pub results: JobResults,
    /// Jobs that the API server has of us, adopted ones included.
    pub created: usize,
    /// Why the run could not go on.
    pub error: Option<ClusterError>,
}

impl Cluster {
    /// Runs the whole plan.
    pub async fn apply_and_wait<'a>(&'a self, mut watches: Watches, inputs: RunInputs<'a>) -> RunEnd {
        let mut run = Run::new(self, inputs);
        for seen in watches.take_listed() {
            run.notice(seen);
        }
        let error = run.follow(&mut watches).await;
        run.settle_answers().await;
        RunEnd { created: run.created, results: run.into_results(), error }
    }
}

struct Run<'a> {
    cluster: &'a Cluster,
    inputs: RunInputs<'a>,
    queue: Queue,
    /// Every planned Job, by where the API server keeps it.
    by_key: HashMap<JobKey, JobIndex>,
    /// What was seen of Jobs of this plan that have no flight yet: an earlier process of this run
    /// may have made them.
    early: HashMap<JobIndex, Vec<Seen>>,
    /// Jobs whose slot is taken.
    flights: HashMap<JobIndex, Flight>,
    results: HashMap<JobIndex, JobResult>,
    answers: FuturesUnordered<BoxFuture<'a, Answer>>,
    posts: usize,
    created: usize,
    warned: HashSet<String>,
    troubled: bool,
}

/// A Job between the moment its slot was taken and the moment it is given back.
struct Flight {
    evidence: Evidence,
    started_at: Timestamp,
    /// The last moment at which the slot is held; moved when the Job is ended early.
    until: Instant,
    /// The Job is over; its pods' last words are waited for until this.
    over: Option<(Ending, Instant)>,
    posted: bool,
    /// We have ended it; its end confirms what was decided then.
    ended: bool,
}

enum Answer {
    Applied(JobIndex, Result<AppliedJob, ApplyError>),
    Noted(Result<(), ClusterError>),
}

impl<'a> Run<'a> {
    fn new(cluster: &'a Cluster, inputs: RunInputs<'a>) -> Run<'a> {
        let queue = Queue::new(inputs.plan, inputs.concurrency);
        let by_key = inputs
            .plan
            .indexed_jobs()
            .map(|(index, job)| ((job.namespace.clone(), job.name.clone()), index))
            .collect();
        Run {
            cluster,
            inputs,
            queue,
            by_key,
            early: HashMap::new(),
            flights: HashMap::new(),
            results: HashMap::new(),
            answers: FuturesUnordered::new(),
            posts: 0,
            created: 0,
            warned: HashSet::new(),
            troubled: false,
        }
    }

    /// The loop. Ends when every Job has its result, when the run is stopped, or with an error that
    /// all Jobs would meet.
    async fn follow(&mut self, watches: &mut Watches) -> Option<ClusterError> {
        let stop = self.inputs.stop.clone();
        loop {
            self.start_what_may_start();
            if self.flights.is_empty() && !self.queue.has_waiting() {
                return None;
            }
            let next_timer = self.next_timer();
            let fatal = tokio::select! {
                () = stop.cancelled() => return None,
                Some(answer) = self.answers.next() => self.on_answer(answer),
                seen = watches.next() => self.notice(seen),
                () = sleep_until(next_timer) => { self.on_timer(); None }
            };
            if fatal.is_some() {
                return fatal;
            }
        }
    }

    fn start_what_may_start(&mut self) {
        while self.posts < POSTS_IN_FLIGHT {
            let Some(index) = self.queue.take() else { return };
            let job = self.inputs.plan.job(index);
            let started_at = Timestamp::now();
            (self.inputs.on_step)(Step::Started(job));
            match (self.inputs.render)(job) {
                Ok(manifest) => self.post(index, manifest, started_at),
                Err(failure) => {
                    let evidence = Evidence::unseen(job.group.images.len());
                    let outcome = evidence.outcome(&Ending::NotCreated(failure));
                    self.finish(index, outcome, Some(started_at));
                }
            }
        }
    }

    fn post(&mut self, index: JobIndex, manifest: Manifest, started_at: Timestamp) {
        let evidence = evidence_of(&manifest);
        let deadline = Duration::from_secs(manifest.job.group.deadline_seconds.into());
        let until = Instant::now() + super::retry::PATIENCE + deadline + SLOT_GRACE;
        let flight = Flight { evidence, started_at, until, over: None, posted: false, ended: false };
        self.flights.insert(index, flight);
        for seen in self.early.remove(&index).unwrap_or_default() {
            self.observe(index, seen);
        }
        let cluster = self.cluster;
        self.posts += 1;
        self.answers.push(Box::pin(async move { Answer::Applied(index, cluster.apply(&manifest).await) }));
    }

    fn on_answer(&mut self, answer: Answer) -> Option<ClusterError> {
        match answer {
            Answer::Applied(index, Ok(applied)) => {
                self.posts -= 1;
                self.created += 1;
                self.on_applied(index, applied);
                None
            }
            Answer::Applied(index, Err(ApplyError::Refused(failure))) => {
                self.posts -= 1;
                self.conclude(index, Ending::NotCreated(failure));
                None
            }
            Answer::Applied(index, Err(ApplyError::Cluster(error))) => {
                self.posts -= 1;
                let failure = Failure { reason: Reason::ApiError, message: error.to_string() };
                self.conclude(index, Ending::NotCreated(failure));
                Some(error)
            }
            Answer::Noted(Ok(())) => None,
            Answer::Noted(Err(error)) => {
                self.warn_once(format!("cannot leave evidence on a failed Job: {error}"));
                None
            }
        }
    }

    fn on_applied(&mut self, index: JobIndex, applied: AppliedJob) {
        for warning in applied.warnings {
            self.warn_once(format!("the API server warns: {warning}"));
        }
        let deadline = self.inputs.plan.job(index).group.deadline_seconds;
        if let Some(flight) = self.flights.get_mut(&index) {
            flight.posted = true;
            flight.until = Instant::now() + Duration::from_secs(deadline.into()) + SLOT_GRACE;
        }
        if let Some(job) = applied.adopted {
            self.on_job(index, &JobFacts::new(&job.status));
        }
        self.decide(index);
    }

    /// Takes in what a watch noticed; an error is one that waiting does not mend.
    fn notice(&mut self, seen: Seen) -> Option<ClusterError> {
        let key = match &seen {
            Seen::Job(key, _) | Seen::JobGone(key) | Seen::Pod(key, _) | Seen::PodGone(key, _) => key,
            Seen::Denied(error) => return Some(error.clone()),
            Seen::Trouble(error) => {
                if !std::mem::replace(&mut self.troubled, true) {
                    tracing::warn!("the watch of Jobs and pods broke, trying again: {error}");
                }
                return None;
            }
        };
        if std::mem::replace(&mut self.troubled, false) {
            tracing::info!("the watch of Jobs and pods works again");
        }
        if let Some(index) = self.by_key.get(key).copied() {
            match self.flights.contains_key(&index) {
                true => self.observe(index, seen),
                false if self.results.contains_key(&index) => {}
                false => self.early.entry(index).or_default().push(seen),
            }
        }
        None
    }

    fn observe(&mut self, index: JobIndex, seen: Seen) {
        let Some(flight) = self.flights.get_mut(&index) else { return };
        match seen {
            Seen::Pod(_, facts) => flight.evidence.observe_pod(&facts),
            Seen::PodGone(_, uid) => flight.evidence.observe_pod_gone(&uid),
            Seen::Job(_, facts) => self.on_job(index, &facts),
            Seen::JobGone(_) => self.on_over(index, Ending::JobDeleted),
            Seen::Trouble(_) | Seen::Denied(_) => {}
        }
        self.decide(index);
    }

    fn on_job(&mut self, index: JobIndex, facts: &JobFacts) {
        if let Some(ending) = facts.ending() {
            self.on_over(index, ending);
        }
    }

    fn on_over(&mut self, index: JobIndex, ending: Ending) {
        if let Some(flight) = self.flights.get_mut(&index) {
            // The first end counts: a Job that is over may be deleted by its TTL.
            flight.over.get_or_insert((ending, Instant::now() + LAST_WORDS));
        }
    }

    /// Acts on what is known of a Job by now.
    fn decide(&mut self, index: JobIndex) {
        let Some(flight) = self.flights.get_mut(&index) else { return };
        if let Some((ending, _)) = &flight.over {
            if flight.evidence.has_heard_all() {
                let ending = ending.clone();
                self.conclude(index, ending);
            }
            return;
        }
        if flight.posted && !flight.ended && flight.evidence.decide() == Decision::EndEarly {
            flight.ended = true;
            flight.until = Instant::now() + SLOT_GRACE;
            let outcome = flight.evidence.outcome(&Ending::EndedEarly);
            self.leave_evidence(index, &outcome, true);
        }
    }

    fn on_timer(&mut self) {
        let now = Instant::now();
        let due: Vec<(JobIndex, Ending)> = self
            .flights
            .iter()
            .filter(|(_, flight)| flight.timer() <= now)
            .map(|(index, flight)| (*index, flight.ending_at_timer()))
            .collect();
        for (index, ending) in due {
            self.conclude(index, ending);
        }
    }

    fn next_timer(&self) -> Instant {
        // With nothing in flight the loop is about to end; an hour stands for "no timer".
        let far = Instant::now() + Duration::from_secs(3600);
        self.flights.values().map(Flight::timer).min().unwrap_or(far)
    }

    /// Judges a Job, leaves the evidence on it, and frees its slot.
    fn conclude(&mut self, index: JobIndex, ending: Ending) {
        let Some(flight) = self.flights.remove(&index) else { return };
        let outcome = flight.evidence.outcome(&ending);
        let exists = flight.posted && ending != Ending::JobDeleted;
        if exists && !flight.ended && matches!(outcome.verdict, Verdict::Failed(_)) {
            let still_live = ending == Ending::GaveUp;
            self.leave_evidence(index, &outcome, still_live);
        }
        self.finish(index, outcome, Some(flight.started_at));
    }

    fn finish(&mut self, index: JobIndex, outcome: JobOutcome, started_at: Option<Timestamp>) {
        let job = self.inputs.plan.job(index);
        (self.inputs.on_step)(Step::Finished(job, &outcome));
        self.queue.give_back(index, &job.node.name);
        let finished_at = Some(Timestamp::now());
        self.results.insert(index, JobResult { outcome, started_at, finished_at });
    }

    fn leave_evidence(&mut self, index: JobIndex, outcome: &JobOutcome, end_now: bool) {
        let job = self.inputs.plan.job(index);
        let (namespace, name) = (job.namespace.clone(), job.name.clone());
        let references = job.group.images.iter().map(ToString::to_string);
        let text = annotation_text(outcome, references);
        let cluster = self.cluster;
        self.answers.push(Box::pin(async move {
            Answer::Noted(cluster.leave_evidence(&namespace, &name, text, end_now).await)
        }));
    }

    /// Waits for the answers that are still under way, within [`FAREWELL`] where the run was
    /// stopped: a Job that was just created should not be reported as never begun.
    async fn settle_answers(&mut self) {
        let limit = match self.flights.is_empty() {
            true => super::retry::PATIENCE,
            false => FAREWELL,
        };
        let until = Instant::now() + limit;
        while let Ok(Some(answer)) =
            timeout(until.saturating_duration_since(Instant::now()), self.answers.next()).await
        {
            self.on_answer(answer);
        }
    }

    fn warn_once(&mut self, text: String) {
        if self.warned.insert(text.clone()) {
            tracing::warn!("{text}");
        }
    }

    /// Jobs that are still out are judged by what is known of them.
    fn into_results(mut self) -> JobResults {
        let out: Vec<JobIndex> = self.flights.keys().copied().collect();
        for index in out {
            if let Some(flight) = self.flights.remove(&index) {
                let ending = match (&flight.over, flight.posted) {
                    (Some((ending, _)), _) => ending.clone(),
                    (None, true) => Ending::Interrupted,
                    (None, false) => Ending::NotStarted,
                };
                let outcome = flight.evidence.outcome(&ending);
                self.finish(index, outcome, Some(flight.started_at));
            }
        }
        let results = &mut self.results;
        let mut result_of = |index, job: &PlannedJob| {
            results.remove(&index).unwrap_or_else(|| JobResult {
                outcome: Evidence::unseen(job.group.images.len()).outcome(&Ending::NotStarted),
                started_at: None,
                finished_at: None,
            })
        };
        let groups = self.inputs.plan.groups.iter().enumerate();
        groups
            .map(|(group, planned)| {
                let jobs = planned.jobs.iter().enumerate();
                jobs.map(|(job, planned)| result_of(JobIndex { group, job }, planned)).collect()
            })
            .collect()
    }
}

impl Flight {
    fn timer(&self) -> Instant {
        match &self.over {
            Some((_, last_words)) => (*last_words).min(self.until),
            None => self.until,
        }
    }

    fn ending_at_timer(&self) -> Ending {
        match &self.over {
            Some((ending, _)) => ending.clone(),
            None => Ending::GaveUp,
        }
    }
}

/// Which containers of `manifest`'s pod tell the fate of which image.
fn evidence_of(manifest: &Manifest) -> Evidence {
    let Manifest { job, image_containers, carrier_containers, carrier_image, .. } = manifest;
    let witnesses = job.group.images.iter().zip(image_containers).map(|(image, containers)| ImageWitness {
        names: names_of(image),
        runs: containers.iter().all(|container| !carrier_containers.contains(container)),
        containers: containers.clone(),
    });
    let carrier =
        CarrierWitness { names: vec![carrier_image.clone()], containers: carrier_containers.clone() };
    Evidence::new(witnesses.collect(), carrier)
}

/// How a runtime may name an image in a message: containerd normalises, others repeat what they got.
fn names_of(image: &ImageRef) -> Vec<String> {
    vec![format!("{}/{}", image.registry, image.repository), image.to_string()]
}
