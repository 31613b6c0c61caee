//! Batches under way, as far as the runner does not know them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::effect::FinishedRun;
use crate::now::Now;
use crate::plan::{Plan, PlannedGroup, RunIdentity};
use crate::report::{RunFacts, RunReport};
use crate::runner::FinishedBatch;

/// How long a batch of new nodes takes more in: it is reported when all of its Jobs have finished, and where
/// nodes keep coming that would be never.
const JOIN_WINDOW: Duration = Duration::from_secs(60);

/// By the runner's number of the batch.
#[derive(Debug, Default)]
pub struct ActiveRuns(HashMap<usize, ActiveRun>);

#[derive(Debug)]
pub struct ActiveRun {
    group: String,
    /// `None` where it has no Job.
    content: Option<Arc<str>>,
    since: Instant,
    identity: Arc<RunIdentity>,
    config_hash: String,
    started_at: Timestamp,
    /// How long it takes where each of its Jobs takes as long as it may.
    longest_seconds: u64,
    /// A run of the group, and not nodes that came after one was planned.
    is_run: bool,
}

impl ActiveRun {
    pub fn new(
        planned: &PlannedGroup,
        identity: Arc<RunIdentity>,
        config_hash: &str,
        is_run: bool,
        now: Now,
    ) -> ActiveRun {
        ActiveRun {
            group: planned.group.name.clone(),
            content: planned.jobs.first().map(|job| job.content.clone()),
            since: now.instant,
            identity,
            config_hash: config_hash.to_owned(),
            started_at: now.time,
            longest_seconds: planned.longest_seconds(),
            is_run,
        }
    }

    pub fn group(&self) -> &str {
        &self.group
    }

    pub fn is_run(&self) -> bool {
        self.is_run
    }

    pub fn longest_seconds(&self) -> u64 {
        self.longest_seconds
    }

    /// The report of its batch.
    pub fn finish(self, finished: FinishedBatch, now: Timestamp) -> FinishedRun {
        let ActiveRun { group, identity, config_hash, started_at, is_run, .. } = self;
        let FinishedBatch { planned, results, .. } = finished;
        let facts = RunFacts {
            run_id: identity.run_id.as_str().to_owned(),
            instance: identity.instance.clone(),
            config_hash,
            started_at,
            finished_at: now,
            // The process's metrics count that.
            throttled: 0,
            strict: false,
        };
        let plan = Plan { identity, run_deadline_seconds: 0, groups: vec![planned] };
        let report = RunReport::new(&plan, &[results], facts, None);
        FinishedRun { group, is_run, report }
    }
}

impl ActiveRuns {
    pub fn insert(&mut self, number: usize, run: ActiveRun) {
        self.0.insert(number, run);
    }

    pub fn remove(&mut self, number: usize) -> Option<ActiveRun> {
        self.0.remove(&number)
    }

    pub fn get(&self, number: usize) -> Option<&ActiveRun> {
        self.0.get(&number)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How long all of them take, one after another.
    pub fn longest_seconds(&self) -> u64 {
        self.0.values().map(|run| run.longest_seconds).sum()
    }

    /// Groups with a run that is active.
    pub fn groups_with_run(&self) -> impl Iterator<Item = &str> {
        self.0.values().filter(|run| run.is_run).map(|run| run.group.as_str())
    }

    /// The batch that a new node of `group` joins: nodes that come together are reported together.
    pub fn batch_to_join(&self, group: &str, content: &Arc<str>, now: Instant) -> Option<usize> {
        let takes = |run: &ActiveRun| {
            let young = now.saturating_duration_since(run.since) < JOIN_WINDOW;
            !run.is_run && young && run.group == group && run.content.as_ref() == Some(content)
        };
        self.0.iter().filter(|(_, run)| takes(run)).map(|(number, _)| *number).min()
    }

    /// The batch has as many Jobs now, `limit` of them at a time, each of `deadline_seconds`.
    pub fn extend(&mut self, number: usize, jobs: usize, limit: usize, deadline_seconds: u32) {
        if let Some(run) = self.0.get_mut(&number) {
            let rounds = jobs.div_ceil(limit.max(1)) as u64;
            run.longest_seconds = rounds.saturating_mul(deadline_seconds.into());
        }
    }
}
