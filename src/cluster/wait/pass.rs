//! One pass: all batches at the start, and an end when they are over, at the deadline, or by a signal.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::super::retry::PATIENCE;
use super::super::watch::JobKey;
use super::super::{Cluster, ClusterError, Watches};
use super::batch::{Batch, Render};
use super::lost::Lost;
use super::stalls::TICK;
use super::{LAST_ANSWERS, Runner, RunnerInputs, Step, Trouble};
use crate::outcome::JobResult;
use crate::plan::Plan;

/// Results in the plan's shape: by group, then Job.
pub type JobResults = Vec<Vec<JobResult>>;

/// What one pass needs.
#[expect(missing_debug_implementations, reason = "it holds closures")]
pub struct RunInputs<'a> {
    pub plan: Plan,
    /// Nodes with a live Job at the same time, over all groups.
    pub concurrency: usize,
    /// When the run ends, done or not.
    pub deadline: Instant,
    /// The deadline was computed: what other runs' Jobs hold this one up comes on top of it.
    pub deadline_is_computed: bool,
    /// End live Jobs of earlier runs that have other content, instead of waiting for them.
    pub replace: bool,
    pub render: Render<'a>,
    /// Cancelled: create nothing more and report what is known.
    pub stop: CancellationToken,
    pub on_step: Box<dyn FnMut(Step<'_>) + 'a>,
}

/// How a run ended.
#[derive(Debug)]
pub struct RunEnd {
    pub plan: Plan,
    /// One for every planned Job.
    pub results: JobResults,
    /// Jobs that the API server has of us, adopted ones included.
    pub created: usize,
    /// Jobs of ours that are over.
    pub finished: Vec<JobKey>,
    /// Why the run could not go on; of a group that could not, beside others that did, its results tell.
    pub error: Option<ClusterError>,
}

impl Cluster {
    /// Runs the whole plan.
    pub async fn apply_and_wait<'a>(&'a self, mut watches: Watches, inputs: RunInputs<'a>) -> RunEnd {
        let RunInputs { plan, concurrency, deadline, deadline_is_computed, replace, render, stop, on_step } =
            inputs;
        let Plan { identity, run_deadline_seconds, groups } = plan;
        let mut runner = Runner::new(self, RunnerInputs { concurrency, replace, stop, on_step });
        for planned in groups {
            runner.add(Batch::new(planned, render.clone(), None));
        }
        runner.take_in(watches.take_listed());
        let mut lost = Lost::default();
        let denied = watches.denied().values();
        let denied = denied.map(|error| Trouble { batch: None, error: error.clone() });
        let mut denied = denied.filter_map(|trouble| lost.add(&mut runner, trouble));
        let fatal = denied.next();
        drop(denied);
        let end = match fatal {
            Some(error) => End::Fatal(error),
            None => runner.follow(&mut watches, (deadline, deadline_is_computed), &mut lost).await,
        };
        let deadline = runner.ends_at.unwrap_or(deadline);
        if let End::Deadline = end {
            runner.end_live_jobs();
        }
        let (late, answers) = tokio::join!(runner.settle_answers(&end, deadline), self.answers_at(&end));
        let error = match end {
            End::Fatal(error) => Some(error),
            End::Done if late.is_some() => late,
            End::Deadline if !answers || !runner.answers.is_empty() => {
                let server = self.server.clone();
                let said = self.traffic.last_answer(Instant::now().into_std(), PATIENCE).filter(|_| answers);
                Some(match said {
                    // It was there all the time, and had us try again.
                    Some(cause) => {
                        ClusterError::Api { server, what: "what the run still asked for".to_owned(), cause }
                    }
                    None => {
                        let seconds = LAST_ANSWERS.as_secs();
                        let cause = format!("no answer within {seconds} s at the run's deadline");
                        ClusterError::Unreachable { server, cause }
                    }
                })
            }
            End::Done | End::Stopped | End::Deadline => None,
        };
        let (created, finished) = (runner.created, std::mem::take(&mut runner.finished));
        let (groups, results) = runner.into_batches().into_iter().map(|b| (b.planned, b.results)).unzip();
        let plan = Plan { identity, run_deadline_seconds, groups };
        RunEnd { plan, results, created, finished, error }
    }
}

impl Cluster {
    /// At a run's deadline: whether the API server answers at all. Where nothing had to be ended, nothing
    /// else tells a cluster that is slow from one that is gone.
    async fn answers_at(&self, end: &End) -> bool {
        match end {
            End::Deadline => {
                let answer = timeout(LAST_ANSWERS, self.client.apiserver_version()).await;
                // One that refuses is there.
                matches!(answer, Ok(Ok(_) | Err(kube::Error::Api(_))))
            }
            End::Done | End::Stopped | End::Fatal(_) => true,
        }
    }
}

/// Why the loop ended.
pub enum End {
    Done,
    Stopped,
    Deadline,
    /// All Jobs would meet this error.
    Fatal(ClusterError),
}

impl Runner<'_> {
    /// The loop of one pass.
    ///
    /// The deadline moves on while others keep Jobs from starting, where it is computed.
    async fn follow(
        &mut self,
        watches: &mut Watches,
        (deadline, is_computed): (Instant, bool),
        lost: &mut Lost,
    ) -> End {
        let stop = self.inputs.stop.clone();
        let own = deadline.saturating_duration_since(Instant::now());
        loop {
            let now = Instant::now();
            let held_up = if is_computed { self.stalls.extension(now, own) } else { Duration::ZERO };
            let ends_at = deadline + held_up;
            self.ends_at = Some(ends_at);
            if ends_at <= now {
                return End::Deadline;
            }
            self.start_what_may_start();
            // One pass keeps its batches to the end, for the report.
            self.over.clear();
            if self.is_idle() {
                return End::Done;
            }
            // Where it moves along it is looked at again.
            let wake = if is_computed { ends_at.max(now + TICK) } else { ends_at };
            let trouble = tokio::select! {
                biased;
                () = stop.cancelled() => return End::Stopped,
                () = sleep_until(wake) => None,
                trouble = self.turn(watches) => trouble,
            };
            if let Some(error) = trouble.and_then(|trouble| lost.add(self, trouble)) {
                return End::Fatal(error);
            }
        }
    }
}
