//! Shows a person how far a run is: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cluster::Step;
use crate::outcome::Verdict;

/// In a log one line in this time is enough to see that something moves.
const LINE_EVERY: Duration = Duration::from_secs(15);

/// Counts the steps of one run.
pub struct Progress {
    bar: ProgressBar,
    total: usize,
    live: usize,
    done: usize,
    failed: usize,
    last_line: Instant,
}

impl Progress {
    /// `quiet` shows nothing at all.
    pub fn new(total: usize, quiet: bool, now: Instant) -> Progress {
        let on_terminal = std::io::stderr().is_terminal() && !quiet;
        let target = match on_terminal {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(total as u64), target);
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} Jobs  {msg}  {elapsed}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Progress { bar, total, live: 0, done: 0, failed: 0, last_line: now }
    }

    pub fn step(&mut self, step: &Step<'_>, now: Instant) {
        match step {
            Step::Started(job) => {
                self.live += 1;
                tracing::debug!(node = job.node.name, group = job.group.name, job = job.name, "started");
            }
            Step::Finished(job, outcome) => {
                self.live = self.live.saturating_sub(1);
                self.done += 1;
                let (node, group) = (&job.node.name, &job.group.name);
                match &outcome.verdict {
                    Verdict::Succeeded => tracing::debug!(node, group, "succeeded"),
                    Verdict::Failed(failure) => {
                        self.failed += 1;
                        tracing::debug!(node, group, reason = failure.reason.code(), "failed");
                    }
                }
            }
        }
        self.show(now);
    }

    /// Takes the bar off the terminal, so that the report stands alone.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }

    fn show(&mut self, now: Instant) {
        let Progress { live, done, failed, total, .. } = *self;
        self.bar.set_position(done as u64);
        self.bar.set_message(format!("{live} running, {failed} failed"));
        if self.bar.is_hidden() && now.duration_since(self.last_line) >= LINE_EVERY {
            self.last_line = now;
            tracing::info!("{done} of {total} Jobs done, {live} running, {failed} failed");
        }
    }
}
