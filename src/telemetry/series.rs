//! The numbers behind `/metrics`, by group. Plain data: no names of metrics, no clock.

use std::collections::BTreeMap;

use jiff::Timestamp;
use prometheus_client::metrics::histogram::Histogram;

use crate::report::{GroupReport, NodeReport, RunReport, Tally};

/// Seconds of a pull: a small image on a near registry to many gigabytes over a thin line.
const PULL_SECONDS: [f64; 13] =
    [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0];

/// Counts by the value of one label.
pub(super) type CountBy = BTreeMap<&'static str, u64>;

#[derive(Debug)]
pub(super) struct Series {
    pub groups: BTreeMap<String, GroupSeries>,
    pub queue_depth: usize,
    pub jobs_running: usize,
    pub reloads: CountBy,
    pub last_reload_ok: bool,
    pub last_reload_ok_at: Option<Timestamp>,
    pub leader: bool,
}

#[derive(Debug)]
pub(super) struct GroupSeries {
    pub runs: CountBy,
    pub runs_running: u64,
    pub runs_skipped: u64,
    pub nodes: CountBy,
    pub images: CountBy,
    pub failures: CountBy,
    pub pull_seconds: Histogram,
    pub pull_bytes: u64,
    pub arrivals: u64,
    pub next_run: Option<Timestamp>,
    pub last_run: Option<Timestamp>,
}

impl Default for Series {
    fn default() -> Series {
        Series {
            groups: BTreeMap::new(),
            queue_depth: 0,
            jobs_running: 0,
            reloads: zeros(["failed", "succeeded"]),
            // A process whose config does not load does not get as far as here.
            last_reload_ok: true,
            last_reload_ok_at: None,
            // Without an election whoever runs does the work.
            leader: true,
        }
    }
}

impl Default for GroupSeries {
    fn default() -> GroupSeries {
        GroupSeries {
            runs: zeros(["aborted", "failed", "succeeded"]),
            runs_running: 0,
            runs_skipped: 0,
            nodes: zeros(["failed", "interrupted", "not-started", "skipped", "succeeded"]),
            images: zeros(["failed", "pulled", "present", "unknown"]),
            failures: CountBy::new(),
            pull_seconds: Histogram::new(PULL_SECONDS),
            pull_bytes: 0,
            arrivals: 0,
            next_run: None,
            last_run: None,
        }
    }
}

/// Series that are there from the start: `increase` does not see a series' first value.
fn zeros<const N: usize>(values: [&'static str; N]) -> CountBy {
    values.into_iter().map(|value| (value, 0)).collect()
}

impl Series {
    pub fn reloaded(&mut self, ok: bool, at: Timestamp) {
        *self.reloads.entry(if ok { "succeeded" } else { "failed" }).or_default() += 1;
        self.last_reload_ok = ok;
        if ok {
            self.last_reload_ok_at = Some(at);
        }
    }
}

impl GroupSeries {
    pub fn run_finished(&mut self, group: &str, report: &RunReport) {
        self.runs_running = self.runs_running.saturating_sub(1);
        *self.runs.entry(verdict(report.exit_code)).or_default() += 1;
        self.last_run = Some(report.finished_at);
        self.nodes_finished(group, report);
    }

    pub fn nodes_finished(&mut self, group: &str, report: &RunReport) {
        for GroupReport { nodes, .. } in report.groups.iter().filter(|found| found.name == group) {
            nodes.iter().for_each(|node| self.count_node(node));
        }
    }

    fn count_node(&mut self, node: &NodeReport) {
        let verdict = match node.tally() {
            Tally::Succeeded => "succeeded",
            Tally::Failed => "failed",
            Tally::Skipped => "skipped",
            Tally::Interrupted => "interrupted",
            Tally::NotStarted => "not-started",
        };
        *self.nodes.entry(verdict).or_default() += 1;
        if let (Tally::Failed, Some(reason)) = (node.tally(), node.reason) {
            *self.failures.entry(reason).or_default() += 1;
        }
        for image in &node.images {
            *self.images.entry(image.state).or_default() += 1;
            if let Some(seconds) = image.seconds {
                self.pull_seconds.observe(seconds);
            }
            // An image that is there already has a size too, which nobody has transferred.
            if image.state == "pulled" {
                self.pull_bytes = self.pull_bytes.saturating_add(image.bytes.unwrap_or(0));
            }
        }
    }
}

/// Other codes are of runs that a signal or a lost cluster has ended, which says nothing about nodes.
fn verdict(exit_code: u8) -> &'static str {
    match exit_code {
        0 => "succeeded",
        1 => "failed",
        _ => "aborted",
    }
}
