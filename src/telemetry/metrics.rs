//! What the process counts about itself, for Prometheus. `docs/metrics.md` has the names.
//!
//! The driver tells [`Metrics`] what happened; a scrape reads it. The only label that a user chooses is
//! the name of a group: names of nodes, images and runs are never kept here, so that the number of series
//! is bounded by the config. Reports have those names. No clock: times come in.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::families::{Families, last_reload_success, of};
use super::process::ProcessMetrics;
use crate::report::{ImageStatus, NodeReport, RunReport, Tally};

/// As the scraper is told; the version is of the format.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of one process; clones share them. Every method is cheap and none waits.
#[derive(Clone, Debug)]
pub struct Metrics {
    families: Arc<Families>,
    last_reload_success: Arc<OnceLock<Gauge>>,
    /// Those that have series.
    groups: Arc<Mutex<BTreeSet<String>>>,
    registry: Arc<Mutex<Registry>>,
}

impl Metrics {
    /// `requests` counts those to the API server.
    pub fn new(requests: impl Collector) -> Metrics {
        let mut registry = Registry::default();
        let families = Families::new(&mut registry);
        // A process whose config does not load does not get as far as here.
        families.last_reload_successful.set(1);
        // Without an election whoever runs does the work.
        families.leader.set(1);
        registry.register_collector(Box::new(requests));
        registry.register_collector(Box::new(ProcessMetrics));
        Metrics {
            families: Arc::new(families),
            last_reload_success: Arc::default(),
            groups: Arc::default(),
            registry: Arc::new(Mutex::new(registry)),
        }
    }

    /// In the text form of OpenMetrics.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // A string takes whatever is written to it.
        if let Err(error) = text::encode(&mut text, &lock(&self.registry)) {
            tracing::debug!(%error, "cannot write the metrics");
        }
        text
    }

    pub fn run_started(&self, group: &str) {
        self.begin(group);
        self.families.runs_running.get_or_create(&of(group)).inc();
    }

    /// Takes in what `report` says of `group`. A group that was forgotten while its run went on stays
    /// forgotten.
    pub fn run_finished(&self, group: &str, report: &RunReport) {
        if !lock(&self.groups).contains(group) {
            return;
        }
        let running = self.families.runs_running.get_or_create_owned(&of(group));
        // It has none where it stood by in between.
        running.set((running.get() - 1).max(0));
        self.families.runs.add(group, report.verdict().code(), 1);
        self.families.last_run.get_or_create(&of(group)).set(report.finished_at.as_second());
        self.nodes_finished(group, report);
    }

    /// The same of nodes that came between two runs, which is no run.
    pub fn nodes_finished(&self, group: &str, report: &RunReport) {
        if !lock(&self.groups).contains(group) {
            return;
        }
        let groups = report.groups.iter().filter(|found| found.name == group);
        groups.flat_map(|found| &found.nodes).for_each(|node| self.count_node(group, node));
    }

    fn count_node(&self, group: &str, node: &NodeReport) {
        self.families.nodes.add(group, node.tally().code(), 1);
        if let (Tally::Failed, Some(reason)) = (node.tally(), node.reason) {
            self.families.failures.add(group, reason.code(), 1);
        }
        for image in &node.images {
            self.families.images.add(group, image.state.code(), 1);
            if let Some(seconds) = image.seconds {
                self.families.pull_seconds.get_or_create(&of(group)).observe(seconds);
            }
            // An image that is there already has a size too, which nobody has transferred.
            if image.state == ImageStatus::Pulled {
                self.families.pull_bytes.get_or_create(&of(group)).inc_by(image.bytes.unwrap_or(0));
            }
        }
    }

    /// A run was due while another of the group was going, and was left out.
    pub fn runs_skipped(&self, group: &str) {
        self.begin(group);
        self.families.runs_skipped.get_or_create(&of(group)).inc();
    }

    /// A node was brought up to date between two runs.
    pub fn new_node(&self, group: &str) {
        self.begin(group);
        self.families.new_nodes.get_or_create(&of(group)).inc();
    }

    pub fn set_next_run(&self, group: &str, at: Option<Timestamp>) {
        self.begin(group);
        match at {
            Some(at) => _ = self.families.next_run.get_or_create(&of(group)).set(at.as_second()),
            None => _ = self.families.next_run.remove(&of(group)),
        }
    }

    /// Nodes that wait for their turn, and Jobs that are live.
    pub fn set_queue(&self, waiting: usize, running: usize) {
        self.families.queue_depth.set(waiting as i64);
        self.families.jobs_running.set(running as i64);
    }

    /// The config's files changed, and were taken over or not.
    pub fn reloaded(&self, ok: bool, at: Timestamp) {
        let result = if ok { "succeeded" } else { "failed" };
        self.families.reloads.get_or_create(&[("result", result)]).inc();
        self.families.last_reload_successful.set(ok.into());
        if ok {
            let gauge = || last_reload_success(&mut lock(&self.registry));
            self.last_reload_success.get_or_init(gauge).set(at.as_second());
        }
    }

    /// Nothing is under way here, nor due: another leads.
    pub fn stand_by(&self) {
        self.set_queue(0, 0);
        for group in lock(&self.groups).iter() {
            self.families.runs_running.get_or_create(&of(group)).set(0);
        }
        self.families.next_run.clear();
    }

    pub fn set_leader(&self, leader: bool) {
        self.families.leader.set(leader.into());
    }

    /// Drops the series of a group that the config no longer has.
    pub fn forget_group(&self, group: &str) {
        if lock(&self.groups).remove(group) {
            self.families.forget(group);
        }
    }

    fn begin(&self, group: &str) {
        if lock(&self.groups).insert(group.to_owned()) {
            self.families.begin(group);
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
