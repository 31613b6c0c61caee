//! Groups whose Jobs are under way, each under a number that is given once.
//!
//! One pass adds all of its groups at the start; a process that stays adds each when it is due, and
//! more Jobs to one that is under way when a node joins.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::stalls::Stalls;
use crate::outcome::{Failure, JobResult};
use crate::plan::{JobIndex, PlannedGroup, PlannedJob};
use crate::render::Manifest;

/// Makes a Job's manifest, from the templates that were in force when its group began.
pub type Render<'a> = Arc<dyn Fn(&PlannedJob) -> Result<Manifest, Failure> + 'a>;

/// One group of a run, with what its Jobs need.
#[expect(missing_debug_implementations, reason = "it holds a closure")]
pub struct Batch<'a> {
    planned: PlannedGroup,
    render: Render<'a>,
    /// When its run ends, done or not; `None` where somebody else sees to that.
    deadline: Option<Instant>,
    /// The deadline was computed from what the Jobs may take, which what others hold up comes on top of:
    /// when it was set, and how long they had held up Jobs of ours by then.
    computed: Option<(Instant, Duration)>,
    /// Its deadline has passed: what is still created is ended at once.
    closing: bool,
    /// Jobs without a result.
    open: usize,
}

/// One group of a run, all of whose Jobs are over.
#[derive(Debug)]
pub struct FinishedBatch {
    pub number: usize,
    pub planned: PlannedGroup,
    /// One for each of its Jobs.
    pub results: Vec<JobResult>,
}

/// In the order in which they were added.
#[derive(Default)]
pub struct Batches<'a> {
    /// Number of the first that is kept.
    first: usize,
    batches: VecDeque<Option<Batch<'a>>>,
}

impl<'a> Batch<'a> {
    pub fn new(planned: PlannedGroup, render: Render<'a>, deadline: Option<Instant>) -> Batch<'a> {
        let open = planned.jobs.len();
        Batch { planned, render, deadline, computed: None, closing: false, open }
    }

    /// Its deadline moves on while others keep its Jobs from starting.
    pub fn with_computed_deadline(self, now: Instant) -> Batch<'a> {
        Batch { computed: Some((now, Duration::ZERO)), ..self }
    }

    /// It is added to a runner whose Jobs others have held up for this long.
    pub fn record_stalls_at_start(&mut self, stalls: &Stalls, now: Instant) {
        if let Some((_, held_up)) = &mut self.computed {
            *held_up = stalls.total(now);
        }
    }

    /// When it ends, done or not.
    pub fn ends_at(&self, stalls: &Stalls, now: Instant) -> Option<Instant> {
        let deadline = self.deadline?;
        let Some((since, held_up)) = self.computed else { return Some(deadline) };
        let own = deadline.saturating_duration_since(since);
        Some(deadline + stalls.extension_since(held_up, now, own))
    }

    pub fn planned(&self) -> &PlannedGroup {
        &self.planned
    }

    pub fn planned_mut(&mut self) -> &mut PlannedGroup {
        &mut self.planned
    }

    pub fn into_planned(self) -> PlannedGroup {
        self.planned
    }

    pub fn render(&self, job: &PlannedJob) -> Result<Manifest, Failure> {
        (self.render)(job)
    }

    /// Where all of its Jobs are; `None` without any.
    pub fn namespace(&self) -> Option<&str> {
        self.planned.jobs.first().map(|job| job.namespace.as_str())
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// It has until `deadline` at least, and may have `limit` Jobs out.
    pub fn extend(&mut self, limit: usize, deadline: Option<Instant>) {
        self.planned.limit = limit;
        self.deadline = self.deadline.max(deadline);
    }

    /// Its deadline has passed: what is still created is ended at once.
    pub fn is_closing(&self) -> bool {
        self.closing
    }

    pub fn close(&mut self) {
        self.closing = true;
    }

    /// Adds a Job, and says where it stands.
    pub fn push(&mut self, job: PlannedJob) -> usize {
        self.open += 1;
        self.planned.jobs.push(job);
        self.planned.jobs.len() - 1
    }

    /// One Job more has a result; whether it was the last.
    pub fn finish_one(&mut self) -> bool {
        self.open = self.open.saturating_sub(1);
        self.open == 0
    }

    /// Jobs, and those that have a result.
    pub fn counts(&self) -> (usize, usize) {
        (self.planned.jobs.len(), self.planned.jobs.len() - self.open)
    }
}

impl<'a> Batches<'a> {
    pub fn add(&mut self, batch: Batch<'a>) -> usize {
        self.batches.push_back(Some(batch));
        self.first + self.batches.len() - 1
    }

    pub fn get(&self, number: usize) -> Option<&Batch<'a>> {
        self.batches.get(number.checked_sub(self.first)?)?.as_ref()
    }

    pub fn get_mut(&mut self, number: usize) -> Option<&mut Batch<'a>> {
        self.batches.get_mut(number.checked_sub(self.first)?)?.as_mut()
    }

    pub fn remove(&mut self, number: usize) -> Option<Batch<'a>> {
        let batch = self.batches.get_mut(number.checked_sub(self.first)?)?.take();
        while let Some(None) = self.batches.front() {
            self.batches.pop_front();
            self.first += 1;
        }
        batch
    }

    pub fn iter(&self) -> impl Iterator<Item = (usize, &Batch<'a>)> {
        let numbered = self.batches.iter().enumerate();
        numbered.filter_map(|(place, batch)| Some((self.first + place, batch.as_ref()?)))
    }

    pub fn numbers(&self) -> Vec<usize> {
        self.iter().map(|(number, _)| number).collect()
    }

    /// The Job at this place; `None` once its batch is over and removed.
    pub fn job(&self, index: JobIndex) -> Option<&PlannedJob> {
        self.get(index.group)?.planned.jobs.get(index.job)
    }
}
