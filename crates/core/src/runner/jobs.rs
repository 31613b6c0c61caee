//! The life of each planned Job: it waits for its turn, is tracked while its slot is taken, and has a result.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::batch::{Batch, Batches, FinishedBatch};
use super::effect::{Effect, Effects, JobFailure, LogLevel, Step};
use super::event::NodeState;
use super::tracked_job::{Completion, Evaluation, Read, TrackedJob, evidence_of};
use crate::now::Now;
use crate::outcome::{
    Adopted, Ending, Evidence, Failure, JobOutcome, JobResult, PodEvent, PodFacts, Verdict, add_pull,
    annotation_text,
};
use crate::plan::{JobIndex, PlannedJob, Queue};
use crate::watch_event::{JobKey, ObservedJob};

/// All Jobs of the batches, each in one of the three states.
pub struct Jobs<'a> {
    batches: Batches<'a>,
    queue: Queue,
    /// Planned and adopted Jobs, by where the API server keeps them.
    by_key: HashMap<JobKey, JobIndex>,
    /// Pods of those Jobs by uid: events name nothing else of ours.
    by_pod: HashMap<String, JobIndex>,
    /// Jobs whose slot is taken.
    tracked: BTreeMap<JobIndex, TrackedJob>,
    results: HashMap<JobIndex, JobResult>,
    /// Names of Jobs of this run that have given way to another run's.
    yielded: HashMap<JobKey, JobIndex>,
    /// Batches whose Jobs all have a result.
    over: Vec<usize>,
    /// How many the API server has had of us, adopted ones included.
    created: usize,
    /// Jobs that are over.
    finished: Vec<JobKey>,
    carrier_logged: bool,
}

impl<'a> Jobs<'a> {
    pub fn new(concurrency: usize) -> Jobs<'a> {
        Jobs {
            batches: Batches::default(),
            queue: Queue::new(concurrency),
            by_key: HashMap::new(),
            by_pod: HashMap::new(),
            tracked: BTreeMap::new(),
            results: HashMap::new(),
            yielded: HashMap::new(),
            over: Vec::new(),
            created: 0,
            finished: Vec::new(),
            carrier_logged: false,
        }
    }

    pub fn add(&mut self, batch: Batch<'a>) -> usize {
        let planned = batch.planned();
        let (name, jobs, limit) = (planned.group.name.clone(), planned.jobs.len(), planned.limit);
        let number = self.batches.add(batch);
        self.queue.add_batch(number, &name, limit);
        for job in 0..jobs {
            self.enqueue(JobIndex { group: number, job });
        }
        if jobs == 0 {
            self.over.push(number);
        }
        number
    }

    /// Gives the name of the group, or `None` where the batch takes no more.
    pub fn extend(
        &mut self,
        number: usize,
        job: PlannedJob,
        limit: usize,
        deadline: Option<Instant>,
    ) -> Option<String> {
        let batch = self.batches.get_mut(number).filter(|batch| !batch.is_closing())?;
        if self.over.contains(&number) {
            return None;
        }
        batch.extend(limit, deadline);
        let group = batch.planned().group.name.clone();
        let job = batch.push(job);
        self.queue.set_limit(&group, limit);
        self.enqueue(JobIndex { group: number, job });
        Some(group)
    }

    fn enqueue(&mut self, index: JobIndex) {
        let Some(job) = self.batches.job(index) else { return };
        self.by_key.insert((job.namespace.clone(), job.name.clone()), index);
        self.queue.push(index, &job.node.name);
    }

    pub fn batches(&self) -> &Batches<'a> {
        &self.batches
    }

    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    pub fn queue_mut(&mut self) -> &mut Queue {
        &mut self.queue
    }

    pub fn job(&self, index: JobIndex) -> Option<&PlannedJob> {
        self.batches.job(index)
    }

    pub fn result(&self, index: JobIndex) -> Option<&JobResult> {
        self.results.get(&index)
    }

    pub fn index_of(&self, key: &JobKey) -> Option<JobIndex> {
        self.by_key.get(key).copied()
    }

    pub fn index_of_pod(&self, uid: &str) -> Option<JobIndex> {
        self.by_pod.get(uid).copied()
    }

    /// Whether this Job waits for its turn, or is tracked.
    pub fn has_key(&self, key: &JobKey) -> bool {
        self.by_key.contains_key(key) || self.yielded.contains_key(key)
    }

    pub fn tracked(&self, index: JobIndex) -> Option<&TrackedJob> {
        self.tracked.get(&index)
    }

    pub fn tracked_mut(&mut self, index: JobIndex) -> Option<&mut TrackedJob> {
        self.tracked.get_mut(&index)
    }

    pub fn all_tracked(&self) -> impl Iterator<Item = (JobIndex, &TrackedJob)> {
        self.tracked.iter().map(|(index, tracked)| (*index, tracked))
    }

    pub fn is_waiting(&self, index: JobIndex) -> bool {
        !self.tracked.contains_key(&index) && !self.results.contains_key(&index)
    }

    pub fn created(&self) -> usize {
        self.created
    }

    pub fn count_created(&mut self) {
        self.created += 1;
    }

    pub fn take_finished_jobs(&mut self) -> Vec<JobKey> {
        std::mem::take(&mut self.finished)
    }

    /// Of a Job that has been ended for good.
    pub fn mark_finished(&mut self, key: JobKey) {
        self.finished.push(key);
    }

    pub fn take_over(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.over)
    }

    pub fn close_batch(&mut self, number: usize) {
        if let Some(batch) = self.batches.get_mut(number) {
            batch.close();
        }
    }

    /// The next Job whose turn it is, if the limits leave room.
    pub fn take_turn(&mut self) -> Option<JobIndex> {
        let batches = &self.batches;
        self.queue.take(|index| batches.job(index).map_or("", |job| &job.node.name))
    }

    /// Renders a Job whose turn it is and asks for its creation. False: it cannot be rendered.
    pub fn start(&mut self, index: JobIndex, now: Now, effects: &mut Effects) -> bool {
        let Some(batch) = self.batches.get(index.group) else { return false };
        let Some(job) = batch.planned().jobs.get(index.job) else { return false };
        effects.push(Effect::Step(index, Step::Started));
        match batch.render(job) {
            Ok(manifest) => {
                let deadline = Duration::from_secs(job.group.deadline_seconds.into());
                let key = (job.namespace.clone(), job.name.clone());
                let tracked = TrackedJob::new(key, evidence_of(&manifest), now, deadline);
                self.tracked.insert(index, tracked);
                effects.push(Effect::Create { index, manifest: Box::new(manifest) });
                true
            }
            Err(failure) => {
                let evidence = Evidence::unseen(job.group.images.len());
                let outcome = evidence.outcome(&Ending::NotCreated(failure));
                self.finish(index, outcome, Some(now.time), None, now, effects);
                false
            }
        }
    }

    /// Tracks a live Job that is there, in the place of one that waits.
    pub fn adopt(
        &mut self,
        index: JobIndex,
        job: &ObservedJob,
        adopted: Option<Adopted>,
        now: Now,
        effects: &mut Effects,
    ) {
        let Some(batch) = self.batches.get(index.group) else { return };
        let planned = &batch.planned().jobs[index.job];
        let evidence = match batch.render(planned) {
            Ok(manifest) => evidence_of(&manifest),
            Err(_) => Evidence::unseen(planned.group.images.len()),
        };
        effects.push(Effect::Step(index, Step::Started));
        self.queue.adopt(index, &planned.node.name);
        if adopted.is_some() {
            self.by_key.insert(job.key.clone(), index);
        }
        self.tracked.insert(index, TrackedJob::adopted(job, evidence, adopted, now));
        self.created += 1;
    }

    pub fn observe_pod(&mut self, index: JobIndex, pod: &PodFacts, events: Vec<PodEvent>) {
        self.by_pod.insert(pod.uid.clone(), index);
        let Some(tracked) = self.tracked.get_mut(&index) else { return };
        tracked.observe_pod(pod);
        for event in events {
            tracked.observe_pod_event(&pod.uid, &event);
        }
    }

    /// What an event says of a pull of a Job that has its result.
    pub fn add_pull(&mut self, index: JobIndex, event: &PodEvent) {
        let (Some(result), Some(job)) = (self.results.get_mut(&index), self.batches.job(index)) else {
            return;
        };
        if let PodEvent::Pull(pull) = event {
            add_pull(result, &job.group.images, pull);
        }
    }

    /// Acts on what is known of a Job by now.
    pub fn evaluate(&mut self, index: JobIndex, now: Now, effects: &mut Effects) {
        let Some(tracked) = self.tracked.get_mut(&index) else { return };
        match tracked.evaluate(now.instant) {
            Evaluation::Nothing => {}
            Evaluation::Complete(ending) => self.complete(index, ending, now, effects),
            Evaluation::End { injected } => self.end_early(index, injected.as_deref(), effects),
        }
    }

    fn end_early(&mut self, index: JobIndex, injected: Option<&str>, effects: &mut Effects) {
        let Some(tracked) = self.tracked.get(&index) else { return };
        let evidence = tracked.evidence();
        let outcome = evidence.outcome(&Ending::EndedEarly);
        if outcome.verdict == Verdict::Succeeded && !self.carrier_logged {
            let carrier = evidence.broken_carrier().map(|failure| failure.message);
            let carrier = carrier.map(|cause| ("the carrier image cannot be pulled", cause));
            let never_created = evidence.never_created().map(str::to_owned);
            let never_created =
                never_created.map(|cause| ("the kubelet does not create containers of our pods", cause));
            if let Some((what, cause)) = carrier.or(never_created) {
                // Once a run, since it is one cause for all nodes.
                self.carrier_logged = true;
                effects.log(LogLevel::Warn, format!(
                    "{what} ({cause}): Jobs are ended as soon as all of their images are on the node; check `carrier_image`"
                ));
            }
        }
        if let Some(containers) = injected {
            effects.warn_once(format!(
                "a webhook adds containers to our pods that do not end ({containers}): Jobs are ended as soon as all of their \
                 images are on the node, which is a success, and kubectl shows them as Failed; keep the webhook away with \
                 `values.pod_labels` or `values.pod_annotations`"
            ));
        }
        self.annotate(index, &outcome, true, effects);
    }

    /// The Job has every image on its node already: it is ended, as a success.
    pub fn end_done(&mut self, index: JobIndex, effects: &mut Effects) {
        let Some(tracked) = self.tracked.get_mut(&index) else { return };
        tracked.mark_ended();
        let outcome = tracked.evidence().outcome(&Ending::EndedEarly);
        self.annotate(index, &outcome, true, effects);
    }

    /// The deadline of its run has passed: ends the Job, unless it may end by itself as a success.
    pub fn end_at_deadline(&mut self, index: JobIndex, effects: &mut Effects) {
        let Some(tracked) = self.tracked.get_mut(&index) else { return };
        if !tracked.evidence().all_present() && tracked.mark_ended() {
            let outcome = tracked.evidence().outcome(&Ending::RunOver);
            self.annotate(index, &outcome, true, effects);
        }
    }

    /// Judges a Job, leaves the outcome on it, and frees its slot; or asks first what is not known.
    pub fn complete(&mut self, index: JobIndex, ending: Ending, now: Now, effects: &mut Effects) {
        let Some(tracked) = self.tracked.get_mut(&index) else { return };
        match tracked.complete(&ending, now.instant) {
            Completion::ReadJob => return self.read_job(index, Read::NoEvents, now, effects),
            Completion::CheckNode => return self.check_node(index, effects),
            Completion::Wait => return,
            Completion::Judge => {}
        }
        let (outcome, is_known) = tracked.judge(&ending);
        let is_left_behind = tracked.is_left_behind(&ending);
        if is_left_behind && !is_known && matches!(outcome.verdict, Verdict::Failed(_)) {
            self.annotate(index, &outcome, ending == Ending::GaveUp, effects);
        }
        let Some(tracked) = self.tracked.remove(&index) else { return };
        if is_left_behind {
            self.finished.push(tracked.key().clone());
        }
        if ending == Ending::JobDeleted {
            self.forget_gone(index, tracked.key());
        }
        let adopted = tracked.adopted_from().cloned();
        self.finish(index, outcome, Some(tracked.started_at()), adopted, now, effects);
    }

    fn finish(
        &mut self,
        index: JobIndex,
        outcome: JobOutcome,
        started_at: Option<jiff::Timestamp>,
        adopted: Option<Adopted>,
        now: Now,
        effects: &mut Effects,
    ) {
        if let Some(job) = self.batches.job(index) {
            effects.push(Effect::Step(index, Step::Finished));
            self.queue.give_back(index, &job.node.name);
        }
        self.keep_result(index, JobResult { outcome, started_at, finished_at: Some(now.time), adopted });
    }

    fn keep_result(&mut self, index: JobIndex, result: JobResult) {
        self.results.insert(index, result);
        if self.batches.get_mut(index.group).is_some_and(Batch::finish_one) {
            self.over.push(index.group);
        }
    }

    fn annotate(&self, index: JobIndex, outcome: &JobOutcome, end_now: bool, effects: &mut Effects) {
        let Some(tracked) = self.tracked.get(&index).filter(|tracked| !tracked.is_disowned()) else { return };
        let Some(job) = self.batches.job(index) else { return };
        let references = job.group.images.iter().map(ToString::to_string);
        let key = tracked.key().clone();
        if let Verdict::Failed(failure) = &outcome.verdict {
            effects.push(Effect::RecordFailure(JobFailure {
                job: key.clone(),
                uid: tracked.uid().to_owned(),
                instance: job.identity.instance.clone(),
                failure: failure.clone(),
            }));
        }
        let outcome = annotation_text(outcome, references);
        effects.push(Effect::Annotate { index: Some(index), key, outcome, end_now });
    }

    /// Asks for the Job itself.
    pub fn read_job(&mut self, index: JobIndex, read: Read, now: Now, effects: &mut Effects) {
        let (Some(tracked), Some(job)) = (self.tracked.get_mut(&index), self.batches.job(index)) else {
            return;
        };
        if tracked.begin_read(read, now.instant) {
            let (key, instance) = (tracked.key().clone(), job.identity.instance.clone());
            effects.push(Effect::ReadJob { index, key, instance });
        }
    }

    /// Asks for the node of a Job.
    pub fn check_node(&self, index: JobIndex, effects: &mut Effects) {
        if let Some(job) = self.batches.job(index) {
            effects.push(Effect::ReadNode { index, node: job.node.clone() });
        }
    }

    /// The node's answer, if there was one.
    pub fn observe_node(
        &mut self,
        index: JobIndex,
        state: Option<NodeState>,
        now: Now,
        effects: &mut Effects,
    ) {
        let Some(tracked) = self.tracked.get_mut(&index) else { return };
        match tracked.observe_node(state, self.batches.job(index)) {
            Some(ending) => self.complete(index, ending, now, effects),
            None => self.evaluate(index, now, effects),
        }
    }

    /// Frees a Job's slot: it waits for its turn again.
    pub fn put_back(&mut self, index: JobIndex, effects: &mut Effects) -> Option<TrackedJob> {
        let tracked = self.tracked.remove(&index)?;
        if let Some(job) = self.batches.job(index) {
            self.queue.put_back(index, &job.node.name);
            effects.push(Effect::Step(index, Step::PutBack));
        }
        Some(tracked)
    }

    /// The Job that was adopted has been ended by its own run: ours waits under its own name.
    pub fn forget_adopted(&mut self, index: JobIndex, key: &JobKey) {
        self.forget_pods(index);
        self.by_key.remove(key);
    }

    /// A Job that was adopted is gone: the next one of its name is another run's, as any.
    pub fn forget_gone(&mut self, index: JobIndex, key: &JobKey) {
        if self.batches.job(index).is_some_and(|job| (&job.namespace, &job.name) != (&key.0, &key.1)) {
            self.by_key.remove(key);
        }
    }

    /// The Job of this name has given way: what it was to do gets the next name.
    pub fn rename(&mut self, index: JobIndex) {
        let Some(batch) = self.batches.get_mut(index.group) else { return };
        let Some(job) = batch.planned_mut().jobs.get_mut(index.job) else { return };
        let before = (job.namespace.clone(), job.name.clone());
        job.take_next_name();
        let after = (job.namespace.clone(), job.name.clone());
        self.forget_pods(index);
        self.by_key.remove(&before);
        self.yielded.insert(before, index);
        self.by_key.insert(after, index);
    }

    fn forget_pods(&mut self, index: JobIndex) {
        self.by_pod.retain(|_, of| *of != index);
    }

    /// Gives those Jobs of a batch a result that have not had their turn.
    pub fn withdraw(&mut self, number: usize, result: impl Fn(&PlannedJob) -> JobResult) {
        let Some(batch) = self.batches.get(number) else { return };
        let jobs = 0..batch.planned().jobs.len();
        for index in jobs.map(|job| JobIndex { group: number, job }) {
            if !self.is_waiting(index) {
                continue;
            }
            let Some(job) = self.batches.job(index) else { continue };
            self.queue.withdraw(index, &job.node.name);
            let result = result(job);
            self.keep_result(index, result);
        }
    }

    /// Judges what is tracked by what is known of it.
    pub fn abandon_tracked(&mut self, run_is_over: bool, now: Now, effects: &mut Effects) {
        for (index, tracked) in std::mem::take(&mut self.tracked) {
            let adopted = tracked.adopted_from().cloned();
            let outcome = tracked.abandon(run_is_over);
            self.finish(index, outcome, Some(tracked.started_at()), adopted, now, effects);
        }
    }

    /// Takes a batch out, with what is known of each of its Jobs; `not_begun` for the others.
    pub fn remove(
        &mut self,
        number: usize,
        not_begun: impl Fn(&PlannedJob) -> JobResult,
    ) -> Option<FinishedBatch> {
        let planned = self.batches.remove(number)?.into_planned();
        let mut results = Vec::with_capacity(planned.jobs.len());
        for (job, planned) in planned.jobs.iter().enumerate() {
            let known = self.results.remove(&JobIndex { group: number, job });
            results.push(known.unwrap_or_else(|| not_begun(planned)));
        }
        self.queue.remove_batch(number);
        self.by_key.retain(|_, index| index.group != number);
        self.by_pod.retain(|_, index| index.group != number);
        self.yielded.retain(|_, index| index.group != number);
        Some(FinishedBatch { number, planned, results })
    }
}

/// What is said of a Job that never had its turn, `failure` being why.
pub fn not_begun(job: &PlannedJob, failure: Option<Failure>) -> JobResult {
    let ending = failure.map_or(Ending::NotStarted, Ending::NotCreated);
    JobResult {
        outcome: Evidence::unseen(job.group.images.len()).outcome(&ending),
        started_at: None,
        finished_at: None,
        adopted: None,
    }
}
