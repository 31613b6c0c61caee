//! What the process counts about itself, for Prometheus. `docs/metrics.md` has the names.
//!
//! The driver tells [`Metrics`] what happened; a scrape reads it. The only label that a user chooses is
//! the name of a group: names of nodes, images and runs are never kept here, so that the number of series
//! is bounded by the config. Reports have those names. No clock: times come in.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use super::exposition::Exposition;
use super::series::{GroupSeries, Series};
use crate::cluster::Traffic;
use crate::report::RunReport;

/// As the scraper is told; the version is of the format.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of one process; clones share them. Every method is cheap and none waits.
#[derive(Clone, Debug)]
pub struct Metrics {
    series: Arc<Mutex<Series>>,
    registry: Arc<Registry>,
}

impl Metrics {
    pub fn new(traffic: Traffic) -> Metrics {
        let series = Arc::new(Mutex::new(Series::default()));
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Exposition::new(series.clone(), traffic)));
        Metrics { series, registry: Arc::new(registry) }
    }

    /// In the text form of OpenMetrics.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // A string takes whatever is written to it.
        if let Err(error) = text::encode(&mut text, &self.registry) {
            tracing::debug!(%error, "cannot write the metrics");
        }
        text
    }

    pub fn run_started(&self, group: &str) {
        self.group(group, |series| series.runs_running += 1);
    }

    /// Takes in what `report` says of `group`. A group that was forgotten while its run went on stays
    /// forgotten.
    pub fn run_finished(&self, group: &str, report: &RunReport) {
        if let Some(series) = self.lock().groups.get_mut(group) {
            series.run_finished(group, report);
        }
    }

    /// The same of nodes that came between two runs, which is no run.
    pub fn nodes_finished(&self, group: &str, report: &RunReport) {
        if let Some(series) = self.lock().groups.get_mut(group) {
            series.nodes_finished(group, report);
        }
    }

    /// A run was due while another of the group was going, and was left out.
    pub fn runs_skipped(&self, group: &str) {
        self.group(group, |series| series.runs_skipped += 1);
    }

    /// A node was brought up to date between two runs.
    pub fn arrival(&self, group: &str) {
        self.group(group, |series| series.arrivals += 1);
    }

    pub fn set_next_run(&self, group: &str, at: Option<Timestamp>) {
        self.group(group, |series| series.next_run = at);
    }

    /// Nodes that wait for their turn, and Jobs that are live.
    pub fn set_queue(&self, waiting: usize, running: usize) {
        let mut series = self.lock();
        (series.queue_depth, series.jobs_running) = (waiting, running);
    }

    /// The config's files changed, and were taken over or not.
    pub fn reloaded(&self, ok: bool, at: Timestamp) {
        self.lock().reloaded(ok, at);
    }

    /// Nothing is under way here, nor due: another leads.
    pub fn stand_by(&self) {
        let mut series = self.lock();
        (series.queue_depth, series.jobs_running) = (0, 0);
        for group in series.groups.values_mut() {
            (group.runs_running, group.next_run) = (0, None);
        }
    }

    pub fn set_leader(&self, leader: bool) {
        self.lock().leader = leader;
    }

    /// Drops the series of a group that the config no longer has.
    pub fn forget_group(&self, group: &str) {
        self.lock().groups.remove(group);
    }

    fn group(&self, group: &str, change: impl FnOnce(&mut GroupSeries)) {
        change(self.lock().groups.entry(group.to_owned()).or_default());
    }

    fn lock(&self) -> MutexGuard<'_, Series> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
