//! How Jobs end, and the run with them: judging, leaving evidence, freeing slots, the last answers.

use futures::StreamExt;
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use super::super::ClusterError;
use super::super::job_events::JobFailure;
use super::super::retry::PATIENCE;
use super::super::watch::JobKey;
use super::batch::{Batch, FinishedBatch};
use super::flight::{Flight, Search};
use super::pass::End;
use super::{Answer, FAREWELL, LAST_ANSWERS, Runner, Step, Trouble};
use crate::outcome::{Adopted, Ending, Evidence, JobOutcome, JobResult, Verdict, annotation_text};
use crate::plan::{JobIndex, PlannedJob};

impl Runner<'_> {
    /// Judges a Job, leaves the evidence on it, and frees its slot.
    pub(super) fn conclude(&mut self, index: JobIndex, ending: Ending) {
        let Some(flight) = self.flights.get_mut(&index) else { return };
        if flight.wants_search(&ending) {
            return self.search(index, Search::Unheard);
        }
        if flight.wants_last_look(&ending) {
            flight.wait_for_last_look(ending, Instant::now());
            return self.look(index);
        }
        let Some(Flight { evidence, judged, posted, ended, disowned, started_at, .. }) =
            self.flights.get(&index)
        else {
            return;
        };
        let (judged, started_at) = (judged.clone(), *started_at);
        let exists = *posted && !disowned && ending != Ending::JobDeleted;
        let known = *ended || judged.is_some();
        let outcome = judged.unwrap_or_else(|| evidence.outcome(&ending));
        if exists && !known && matches!(outcome.verdict, Verdict::Failed(_)) {
            self.leave_evidence(index, &outcome, ending == Ending::GaveUp);
        }
        let Some(Flight { key, adopted, .. }) = self.flights.remove(&index) else { return };
        if exists {
            self.finished.push(key);
        }
        self.finish(index, outcome, Some(started_at), adopted);
    }

    pub(super) fn finish(
        &mut self,
        index: JobIndex,
        outcome: JobOutcome,
        started_at: Option<Timestamp>,
        adopted: Option<Adopted>,
    ) {
        if let Some(job) = self.batches.job(index) {
            (self.inputs.on_step)(Step::Finished(job, &outcome));
            self.queue.give_back(index, &job.node.name);
        }
        let finished_at = Some(Timestamp::now());
        self.keep_result(index, JobResult { outcome, started_at, finished_at, adopted });
    }

    pub(super) fn keep_result(&mut self, index: JobIndex, result: JobResult) {
        self.results.insert(index, result);
        if self.batches.get_mut(index.group).is_some_and(Batch::finish_one) {
            self.over.push(index.group);
        }
    }

    pub(super) fn leave_evidence(&mut self, index: JobIndex, outcome: &JobOutcome, end_now: bool) {
        let Some(flight) = self.flights.get(&index).filter(|flight| !flight.disowned) else { return };
        let Some(job) = self.batches.job(index) else { return };
        let references = job.group.images.iter().map(ToString::to_string);
        let text = annotation_text(outcome, references);
        if let Verdict::Failed(failure) = &outcome.verdict {
            self.cluster.record_failure(JobFailure {
                job: flight.key.clone(),
                uid: flight.uid.clone(),
                instance: job.identity.instance.clone(),
                failure: failure.clone(),
            });
        }
        self.note(Some(index), flight.key.clone(), text, end_now);
    }

    pub(super) fn note(
        &mut self,
        index: Option<JobIndex>,
        (namespace, name): JobKey,
        text: String,
        end_now: bool,
    ) {
        let cluster = self.cluster;
        self.answers.push(Box::pin(async move {
            Answer::Noted(index, cluster.leave_evidence(&namespace, &name, text, end_now).await)
        }));
    }

    /// The run's deadline has passed: whatever is live ends now.
    pub(super) fn end_live_jobs(&mut self) {
        self.closing = true;
        let live: Vec<JobIndex> =
            self.flights.iter().filter(|(_, f)| f.is_live()).map(|(index, _)| *index).collect();
        for index in live {
            self.end_at_run_deadline(index);
        }
    }

    pub(super) fn end_at_run_deadline(&mut self, index: JobIndex) {
        let Some(flight) = self.flights.get_mut(&index) else { return };
        // Where every image is there the node has succeeded, and its Job may end by itself.
        if !flight.evidence.all_proven() && !std::mem::replace(&mut flight.ended, true) {
            let outcome = flight.evidence.outcome(&Ending::RunOver);
            self.leave_evidence(index, &outcome, true);
        }
    }

    /// Waits for the answers that are still under way: a Job that was just created should not be
    /// reported as never begun, nor a failed one stay without its evidence.
    ///
    /// Gives an error that all Jobs would meet.
    pub(super) async fn settle_answers(&mut self, end: &End, deadline: Instant) -> Option<ClusterError> {
        let now = Instant::now();
        let stop = self.inputs.stop.clone();
        let mut until = match end {
            End::Done => (now + PATIENCE).min(deadline.max(now) + LAST_ANSWERS),
            End::Deadline => now + LAST_ANSWERS,
            End::Stopped | End::Fatal(_) => now + FAREWELL,
        };
        let mut fatal = None;
        while !self.answers.is_empty() {
            tokio::select! {
                () = sleep_until(until) => break,
                () = stop.cancelled(), if !matches!(end, End::Stopped) && until > Instant::now() + FAREWELL => {
                    until = Instant::now() + FAREWELL;
                }
                Some(answer) = self.answers.next() => {
                    fatal = fatal.or(self.on_answer(answer).map(|Trouble { error, .. }| error));
                }
            }
        }
        fatal
    }

    /// All batches, over or not. Jobs that are still out are judged by what is known of them.
    pub(super) fn into_batches(mut self) -> Vec<FinishedBatch> {
        let out: Vec<JobIndex> = self.flights.keys().copied().collect();
        for index in out {
            let Some(flight) = self.flights.remove(&index) else { continue };
            let ending = match (&flight.over, flight.posted) {
                (Some((ending, _)), _) => ending.clone(),
                (None, true) if self.closing => Ending::RunOver,
                (None, true) => Ending::Interrupted,
                (None, false) => Ending::NotStarted,
            };
            let outcome = flight.judged.unwrap_or_else(|| flight.evidence.outcome(&ending));
            self.finish(index, outcome, Some(flight.started_at), flight.adopted);
        }
        let numbers = self.batches.numbers();
        numbers.into_iter().filter_map(|number| self.remove(number)).collect()
    }

    /// Takes a batch out, with what is known of each of its Jobs.
    pub(super) fn remove(&mut self, number: usize) -> Option<FinishedBatch> {
        let planned = self.batches.remove(number)?.planned;
        let jobs = planned.jobs.iter().enumerate();
        let mut results = Vec::with_capacity(planned.jobs.len());
        for (job, planned) in jobs {
            let known = self.results.remove(&JobIndex { group: number, job });
            results.push(known.unwrap_or_else(|| self.not_begun(planned)));
        }
        Some(FinishedBatch { number, planned, results })
    }
}

impl Runner<'_> {
    /// What is said of a Job that never had its turn, and why it had none.
    pub(super) fn not_begun(&self, job: &PlannedJob) -> JobResult {
        let result = not_started(job);
        let failure = self.rooms.refusal(&job.namespace).cloned().or_else(|| self.kept_out(&job.node.name));
        let Some(failure) = failure else { return result };
        let evidence = Evidence::unseen(job.group.images.len());
        JobResult { outcome: evidence.outcome(&Ending::NotCreated(failure)), ..result }
    }
}

/// What is said of a Job that never had its turn.
pub fn not_started(job: &PlannedJob) -> JobResult {
    JobResult {
        outcome: Evidence::unseen(job.group.images.len()).outcome(&Ending::NotStarted),
        started_at: None,
        finished_at: None,
        adopted: None,
    }
}
