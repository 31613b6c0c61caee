//! Batches that come and go while the others are followed.

use tokio::time::Instant;

use super::super::watch::Seen;
use super::Runner;
use super::batch::{Batch, FinishedBatch};
use super::ending::not_started;
use super::pass::End;
use crate::outcome::{Ending, Evidence, Failure, JobResult};
use crate::plan::{JobIndex, PlannedJob};

impl<'a> Runner<'a> {
    /// Takes a group's Jobs in, and gives the number by which they are known from now on. A batch
    /// without Jobs is over at once.
    ///
    /// No Job of it may be under way: see [`Runner::is_under_way`].
    pub fn add(&mut self, batch: Batch<'a>) -> usize {
        let (name, jobs) = (batch.planned.group.name.clone(), batch.planned.jobs.len());
        let limit = batch.planned.limit;
        let mut batch = batch;
        batch.record_stalls_at_start(&self.stalls, Instant::now());
        let number = self.batches.add(batch);
        self.queue.add_batch(number, &name, limit);
        self.hold_where_full(number);
        for job in 0..jobs {
            self.enqueue(JobIndex { group: number, job });
        }
        if jobs == 0 {
            self.over.push(number);
        }
        self.reconsider_holders(&name);
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
    ) -> bool {
        let Some(batch) = self.batches.get_mut(number).filter(|batch| !batch.closing) else { return false };
        if self.over.contains(&number) {
            return false;
        }
        batch.planned.limit = limit;
        batch.deadline = batch.deadline.max(deadline);
        let group = batch.planned.group.name.clone();
        let job = batch.push(job);
        self.queue.set_limit(&group, limit);
        self.enqueue(JobIndex { group: number, job });
        self.reconsider_holders(&group);
        true
    }

    /// Whether this very Job is waiting for its turn, or out.
    pub fn is_under_way(&self, job: &PlannedJob) -> bool {
        let key = (job.namespace.clone(), job.name.clone());
        self.by_key.contains_key(&key) || self.yielded.contains_key(&key)
    }

    /// Batches whose Jobs are all over.
    pub fn take_finished(&mut self) -> Vec<FinishedBatch> {
        let over = std::mem::take(&mut self.over);
        over.into_iter().filter_map(|number| self.forget(number)).collect()
    }

    /// Nothing more of a batch is created; what is live is followed to its end.
    pub fn give_up(&mut self, number: usize, failure: &Failure) {
        self.withdraw(number, |_, job| {
            let ending = Ending::NotCreated(failure.clone());
            let outcome = Evidence::unseen(job.group.images.len()).outcome(&ending);
            JobResult { outcome, ..not_started(job) }
        });
    }

    /// Waits a moment for the answers to what was sent, and gives every batch with what is known.
    pub async fn leave(mut self) -> Vec<FinishedBatch> {
        self.settle_answers(&End::Stopped, Instant::now()).await;
        self.into_batches()
    }

    /// What was there before the first Job, or before a namespace was added.
    pub fn take_in_listed(&mut self, listed: Vec<Seen>) {
        self.take_in(listed);
        self.settled = true;
    }

    pub fn set_concurrency(&mut self, concurrency: usize) {
        self.queue.set_concurrency(concurrency);
    }

    /// Jobs that wait for their turn, and those that have a slot.
    pub fn load(&self) -> (usize, usize) {
        (self.queue.waiting(), self.flights.len())
    }

    /// Jobs of a batch, and those of them that have a result.
    pub fn counts(&self, number: usize) -> Option<(usize, usize)> {
        self.batches.get(number).map(Batch::counts)
    }

    /// Ends the batches whose deadline has passed.
    pub(super) fn close_batches(&mut self, now: Instant) {
        let due = self.batches.iter().filter(|(_, batch)| !batch.closing);
        let due =
            due.filter(|(_, batch)| batch.ends_at(&self.stalls, now).is_some_and(|ends_at| ends_at <= now));
        let due: Vec<usize> = due.map(|(number, _)| number).collect();
        for number in due {
            if let Some(batch) = self.batches.get_mut(number) {
                batch.closing = true;
            }
            self.withdraw(number, Runner::not_begun);
            let live =
                self.flights.iter().filter(|(index, flight)| index.group == number && flight.is_live());
            let live: Vec<JobIndex> = live.map(|(index, _)| *index).collect();
            for index in live {
                self.end_at_run_deadline(index);
            }
        }
    }

    pub(super) fn enqueue(&mut self, index: JobIndex) {
        let Some(job) = self.batches.job(index) else { return };
        self.by_key.insert((job.namespace.clone(), job.name.clone()), index);
        self.queue.push(index, &job.node.name);
    }

    fn withdraw(&mut self, number: usize, result: impl Fn(&Runner<'a>, &PlannedJob) -> JobResult) {
        let Some(batch) = self.batches.get(number) else { return };
        let jobs = 0..batch.planned.jobs.len();
        for index in jobs.map(|job| JobIndex { group: number, job }) {
            if self.flights.contains_key(&index) || self.results.contains_key(&index) {
                continue;
            }
            let Some(job) = self.batches.job(index) else { continue };
            self.queue.withdraw(index, &job.node.name);
            let result = result(self, job);
            self.keep_result(index, result);
        }
    }

    fn forget(&mut self, number: usize) -> Option<FinishedBatch> {
        let finished = self.remove(number)?;
        self.queue.remove_batch(number);
        self.by_key.retain(|_, index| index.group != number);
        self.pods.retain(|_, index| index.group != number);
        self.early.retain(|index, _| index.group != number);
        self.yielded.retain(|_, index| index.group != number);
        self.finished.clear();
        if self.is_idle() {
            // Of pods of ours that are over by now, or of nobody's.
            self.early_pods.clear();
            self.early_pulls.clear();
            self.early_pulls_count = 0;
        }
        Some(finished)
    }
}
