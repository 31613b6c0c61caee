//! One line of JSON for the container's termination message.

use serde::Serialize;
use serde_json::json;

use super::{NodeReason, RunReport, Tally};

/// Kubernetes keeps 4096 bytes of a container's termination message.
const MAX_BYTES: usize = 4096;

#[derive(Serialize)]
struct Line<'a> {
    group: &'a str,
    node: &'a str,
    reason: &'a str,
}

impl RunReport {
    /// Counts first, then as many failed nodes as fit.
    pub fn summary(&self) -> String {
        let failed = self.groups.iter().flat_map(|group| {
            let failed = group.nodes.iter().filter(|node| node.tally() == Tally::Failed);
            failed.map(|node| Line {
                group: &group.name,
                node: &node.name,
                reason: node.reason.map_or("", NodeReason::code),
            })
        });
        // A line is at least 40 bytes, so more of them than this can never fit.
        let mut lines: Vec<Line<'_>> = failed.take(MAX_BYTES / 40).collect();
        loop {
            let line = json!({
                "runId": self.run_id,
                "exitCode": self.exit_code,
                "counts": self.counts(),
                "failed": lines,
            });
            let mut text = line.to_string();
            text.push('\n');
            if text.len() <= MAX_BYTES || lines.pop().is_none() {
                return text;
            }
        }
    }
}
