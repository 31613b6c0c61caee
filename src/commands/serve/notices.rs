//! How people are told what a serving process does: log lines, metrics, probes and Kubernetes Events.

use jiff::Timestamp;

use crate::cluster::{Cluster, ControllerEvent, EventRecorder};
use crate::report::RunReport;
use crate::runner::Step;
use crate::scheduler::Trigger;
use crate::serve::{FinishedRun, Notice, ReloadError};
use crate::telemetry::{Health, Metrics};
use crate::words::counted;

/// Where notices go.
#[derive(Debug)]
pub struct Outlets {
    pub metrics: Metrics,
    pub health: Health,
    pub recorder: Option<EventRecorder>,
    /// The log is read on a terminal with colours.
    pub color: bool,
    /// The cluster, for messages.
    pub server: String,
}

impl Outlets {
    pub fn new(
        cluster: &Cluster,
        metrics: Metrics,
        health: Health,
        recorder: Option<EventRecorder>,
        color: bool,
    ) -> Outlets {
        let server = format!("{} (Kubernetes {})", cluster.server, cluster.version);
        Outlets { metrics, health, recorder, color, server }
    }

    pub fn tell(&self, notice: Notice, now: Timestamp) {
        match notice {
            Notice::StandingBy => {
                self.metrics.set_leader(false);
                self.health.set_standby(true);
                self.health.set_ready(true);
            }
            Notice::Elected => {
                self.health.set_standby(false);
                self.metrics.set_leader(true);
            }
            Notice::LeadershipLost => {
                self.metrics.stand_by();
                tracing::warn!("no longer the leader: active runs are handed over to the next leader");
            }
            Notice::StartFailed(error) => tracing::error!("failed to start leading, will try again: {error}"),
            Notice::Ready { groups, nodes } => {
                let (groups, nodes) = (counted(groups, "group"), counted(nodes, "node"));
                tracing::info!("serving {groups} on {nodes} of {}", self.server);
                self.health.set_ready(true);
            }
            Notice::NamespaceForbidden { namespace, error } => {
                tracing::error!("no Jobs in namespace {namespace:?}, will try again: {error}");
            }
            Notice::NamespaceWatched(namespace) => {
                tracing::info!("Jobs in namespace {namespace:?} are watched now");
            }
            Notice::NodeWatchInterrupted(error) => {
                tracing::warn!("the watch of nodes broke, trying again: {error}");
            }
            Notice::NodeWatchResumed => tracing::info!("the watch of nodes works again"),
            Notice::RunStarted { group, run_id, trigger, jobs, skipped } => {
                let (jobs, skipped) = (counted(jobs, "Job"), counted(skipped, "node"));
                let trigger = trigger_in_words(trigger);
                tracing::info!("run {run_id} of group {group:?} ({trigger}): {jobs}, {skipped} skipped");
                self.metrics.run_started(&group);
                self.record(ControllerEvent::RunStarted { group, run_id });
            }
            Notice::RunSkipped(group) => {
                self.metrics.runs_skipped(&group);
                tracing::warn!("group {group:?} is due while its last run is active: skipped");
            }
            Notice::Finished(run) => self.tell_finished(run),
            Notice::HandedOver { run, not_started } => {
                let (what, succeeded) = (what(&run), counted(run.report.counts().succeeded, "node"));
                tracing::info!(
                    "{what} handed over to the next leader: {succeeded} succeeded, {not_started} not started"
                );
            }
            Notice::RunnerFailed { error, runs: 0 } => tracing::error!("{error}"),
            Notice::RunnerFailed { error, runs: _ } => tracing::error!("no more Jobs of this run: {error}"),
            Notice::JobStep { group, node, job, step: Step::Started } => {
                tracing::debug!(node, group, job, "started");
            }
            Notice::JobStep { group, node, job, step: _ } => {
                tracing::debug!(node, group, job, "waits for its turn again");
            }
            Notice::NewNode { group, node } => {
                self.metrics.new_node(&group);
                tracing::debug!("new node {node} gets the images of group {group:?}");
            }
            Notice::NodePatchFailed { group, node, error } => {
                tracing::warn!("cannot mark node {node} for group {group:?}, will go on trying: {error}");
            }
            Notice::ConfigApplied { groups, hash } => {
                self.health.mark_current();
                self.metrics.reloaded(true, now);
                let (groups, hash) = (counted(groups, "group"), hash.get(..12).unwrap_or_default());
                tracing::info!("config reloaded: {groups}, hash {hash}");
                self.record(ControllerEvent::ConfigReloaded);
            }
            Notice::ReloadFailed(error) => self.tell_refused(&error, now),
            Notice::GroupRemoved(group) => self.metrics.forget_group(&group),
            Notice::NextRun { group, at } => self.metrics.set_next_run(&group, at),
            Notice::Queue { waiting, running } => self.metrics.set_queue(waiting, running),
        }
    }

    fn tell_finished(&self, run: FinishedRun) {
        let what = what(&run);
        let FinishedRun { group, is_run, report } = run;
        let seconds = report.finished_at.duration_since(report.started_at).as_secs();
        let text = format!("{} in {seconds} s", report.counts().in_words());
        match report.exit_code {
            0 => tracing::info!("{what} finished: {text}"),
            _ => {
                tracing::warn!("{what} finished: {text}");
                // One line for each cause: one bad tag on 500 nodes is one.
                for failure in report.failures_in_lines() {
                    tracing::warn!("{what}: {failure}");
                }
            }
        }
        match is_run {
            true => self.metrics.run_finished(&group, &report),
            false => self.metrics.nodes_finished(&group, &report),
        }
        let RunReport { run_id, exit_code, .. } = report;
        match exit_code {
            // Nodes come and go all day: of those that are fine the metrics tell.
            0 if !is_run => {}
            0 => self.record(ControllerEvent::RunFinished { group, run_id, text }),
            _ => self.record(ControllerEvent::RunFailed { group, run_id, text }),
        }
    }

    fn tell_refused(&self, error: &ReloadError, now: Timestamp) {
        self.health.mark_stale(now);
        self.metrics.reloaded(false, now);
        tracing::error!("config reload failed; keeping the last valid config:");
        // A line break within a log line is shown as one that somebody else might have put there.
        for line in error.shown(self.color).lines().filter(|line| !line.trim().is_empty()) {
            tracing::error!("{line}");
        }
        self.record(ControllerEvent::ConfigReloadFailed { text: error.shown(false) });
    }

    fn record(&self, event: ControllerEvent) {
        if let Some(recorder) = &self.recorder {
            recorder.record(event);
        }
    }
}

fn what(run: &FinishedRun) -> String {
    let what = if run.is_run { "run" } else { "new nodes of run" };
    format!("{what} {} of group {:?}", run.report.run_id, run.group)
}

fn trigger_in_words(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Scheduled => "scheduled",
        Trigger::CatchUp => "catch-up",
        Trigger::Continued => "continued",
        Trigger::Started => "at the start",
        Trigger::Changed => "changed",
    }
}
