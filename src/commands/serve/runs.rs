//! Runs of groups: how they begin, what is said of them, and how they are left.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;

use super::super::templates::manifest;
use super::Station;
use super::lead::Lead;
use crate::clock;
use crate::cluster::ControllerEvent;
use crate::config::Group;
use crate::outcome::Verdict;
use crate::plan::{Plan, PlannedGroup, RunId, RunIdentity, plan_one};
use crate::report::{RunFacts, RunReport};
use crate::runner::{Batch, FinishedBatch, Render, RunnerError};
use crate::scheduler::{DueRun, JobEnd, Trigger};
use crate::words::counted;

/// A batch that is under way, as far as the runner does not know it.
#[derive(Debug)]
pub struct UnderWay {
    pub group: String,
    /// `None` where it has no Job.
    pub content: Option<Arc<str>>,
    /// When it began.
    pub since: Instant,
    identity: Arc<RunIdentity>,
    config_hash: String,
    started_at: Timestamp,
    throttled: u64,
    /// How long it takes where each of its Jobs takes as long as it may.
    pub longest_seconds: u64,
    /// A run of the group, and not nodes that came after one was planned.
    pub is_run: bool,
}

impl Lead<'_> {
    /// Begins the runs whose time has come.
    pub fn begin_what_is_due(&mut self, station: &Station<'_>) {
        let turns = self.scheduler.take_due((self.now)());
        for group in turns.skipped {
            station.metrics.runs_skipped(&group);
            tracing::warn!("group {group:?} is due, and its last run is still under way: skipped");
        }
        for due in turns.due {
            self.begin(due, station);
        }
    }

    fn begin(&mut self, due: DueRun, station: &Station<'_>) {
        let DueRun { group: name, run_id, trigger } = due;
        let Some(group) = self.groups.iter().find(|group| group.name == name).cloned() else { return };
        let identity = self.identity(run_id);
        let mut planned = plan_one(&self.active.loaded.config, &group, self.nodes.values(), &identity);
        // Of nodes that came a moment ago: they are told of where they are.
        planned.jobs.retain(|job| !self.runner.runner.is_under_way(job));
        let (jobs, skipped) = (counted(planned.jobs.len(), "Job"), counted(planned.skipped.len(), "node"));
        let id = identity.run_id.as_str();
        tracing::info!(
            "run {id} of group {name:?} ({}): {jobs}, {skipped} skipped",
            trigger_in_words(trigger)
        );
        station.metrics.run_started(&name);
        station.announce(ControllerEvent::RunStarted { group: name.clone(), run_id: id.to_owned() });
        self.scheduler.mark_started(&name);
        self.add(group, planned, identity, true);
    }

    /// Hands a group's Jobs to the runner.
    pub fn add(
        &mut self,
        group: Arc<Group>,
        planned: PlannedGroup,
        identity: Arc<RunIdentity>,
        is_run: bool,
    ) {
        let config = &self.active.loaded.config;
        let longest_seconds = planned.longest_seconds();
        let run = UnderWay {
            group: group.name.clone(),
            since: Instant::now(),
            content: planned.jobs.first().map(|job| job.content.clone()),
            identity,
            config_hash: config.hash.clone(),
            started_at: (self.now)(),
            throttled: self.cluster.throttled(),
            longest_seconds,
            is_run,
        };
        let deadline = self.deadline(longest_seconds);
        let renderer = self.active.renderer.clone();
        let render: Render<'_> = Arc::new(move |job| manifest(&renderer, job));
        let namespace = planned.jobs.first().map(|job| job.namespace.clone());
        let mut batch = Batch::new(planned, render, Some(deadline.into_std()));
        if config.run_deadline_seconds.is_none() {
            batch = batch.with_computed_deadline(clock::now().instant);
        }
        let number = self.runner.runner.add(batch, clock::now());
        self.under_way.insert(number, run);
        // Nobody would hear of its Jobs.
        if let Some(error) = namespace.and_then(|namespace| self.watches.denied().get(&namespace)) {
            self.runner.runner.give_up_batches_of(&RunnerError { batch: Some(number), error: error.clone() });
            self.retries.add(&group.name, Instant::now().into_std());
        }
    }

    pub fn identity(&self, run_id: RunId) -> Arc<RunIdentity> {
        let config = &self.active.loaded.config;
        let namespace = config.namespace.clone().unwrap_or_else(|| self.cluster.default_namespace.clone());
        Arc::new(RunIdentity { instance: config.instance.clone(), run_id, namespace })
    }

    /// Says what has become of a run.
    pub fn finish(&mut self, finished: FinishedBatch, station: &Station<'_>) {
        let Some(run) = self.under_way.remove(&finished.number) else { return };
        let now = (self.now)();
        let scheduled = finished.planned.group.schedule.is_some();
        for (job, result) in finished.planned.jobs.iter().zip(&finished.results) {
            // Of a Job that never began nothing is known.
            let (Some(_), Some(at)) = (result.started_at, result.finished_at) else { continue };
            self.tracker.record_end(JobEnd {
                group: &run.group,
                node: &job.node.name,
                uid: &job.node.uid,
                content: &job.content,
                at,
                succeeded: matches!(result.outcome.verdict, Verdict::Succeeded),
                is_last: !(run.is_run && scheduled),
            });
        }
        if run.is_run {
            self.scheduler.mark_finished(&run.group);
        }
        let throttled = self.cluster.throttled().saturating_sub(run.throttled);
        let (group, id, is_run) = (run.group.clone(), run.identity.run_id.as_str().to_owned(), run.is_run);
        let (report, text) = report_of(run, finished, now, throttled, false);
        match is_run {
            true => station.metrics.run_finished(&group, &report),
            false => station.metrics.nodes_finished(&group, &report),
        }
        if report.exit_code == 0 {
            self.retries.forget(&group);
        }
        match report.exit_code {
            // Nodes come and go all day: of those that are fine the metrics tell.
            0 if !is_run => {}
            0 => station.announce(ControllerEvent::RunFinished { group, run_id: id, text }),
            _ => station.announce(ControllerEvent::RunFailed { group, run_id: id, text }),
        }
        self.watch_only_what_is_needed();
    }

    /// Leaves everything that is under way to the next process, and says how far it is.
    pub async fn leave(self) {
        let Lead { runner, mut under_way, now, cluster, .. } = self;
        let left = runner.leave().await;
        for batch in left {
            let Some(run) = under_way.remove(&batch.number) else { continue };
            let throttled = cluster.throttled().saturating_sub(run.throttled);
            report_of(run, batch, now(), throttled, true);
        }
    }
}

/// The report of one batch, told to the log: one line for the run, and one for each trigger of failure.
fn report_of(
    run: UnderWay,
    finished: FinishedBatch,
    now: Timestamp,
    throttled: u64,
    is_left: bool,
) -> (RunReport, String) {
    let UnderWay { group, identity, config_hash, started_at, is_run, .. } = run;
    let FinishedBatch { planned, results, .. } = finished;
    let facts = RunFacts {
        run_id: identity.run_id.as_str().to_owned(),
        instance: identity.instance.clone(),
        config_hash,
        started_at,
        finished_at: now,
        throttled,
        strict: false,
    };
    let out = results.iter().filter(|result| result.finished_at.is_none()).count();
    let plan = Plan { identity, run_deadline_seconds: 0, groups: vec![planned] };
    let report = RunReport::new(&plan, &[results], facts, None);
    let counts = report.counts();
    let seconds = now.duration_since(started_at).as_secs();
    let what = if is_run { "run" } else { "nodes of run" };
    let text = format!("{} in {seconds} s", counts.in_words());
    let id = &report.run_id;
    match is_left {
        // What was still out is no failure: the next process goes on with it.
        true => tracing::info!(
            "{what} {id} of group {group:?} is left under way: {} succeeded, {out} not begun; the next process \
             continues it",
            counted(counts.succeeded, "node")
        ),
        false if report.exit_code == 0 => tracing::info!("{what} {id} of group {group:?} is over: {text}"),
        false => {
            tracing::warn!("{what} {id} of group {group:?} is over: {text}");
            // One line for each trigger: one bad tag on 500 nodes is one.
            for failure in report.failures_in_lines() {
                tracing::warn!("{what} {id} of group {group:?}: {failure}");
            }
        }
    }
    (report, text)
}

fn trigger_in_words(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Scheduled => "its time has come",
        Trigger::CatchUp => "its time was missed",
        Trigger::Continued => "continued",
        Trigger::Started => "at the start",
        Trigger::Changed => "it has changed",
    }
}
