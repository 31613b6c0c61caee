//! The report for a person on an 80-column terminal: counts first, equal failures as one, and the
//! registry's own words only once for each.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};

use super::{Counts, NodeReport, NodeVerdict, RunReport};

const WIDTH: usize = 80;
/// As many names of nodes stand behind one cause; the JSON report has them all.
const NODES_MAX: usize = 10;
const MESSAGE_MAX: usize = 300;

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const RESET: &str = "\x1b[0m";

/// What nodes have in common that are told of together. Sorts failures before skips.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct Cause<'a> {
    pub verdict: &'static str,
    pub reason: &'a str,
    /// The image that failed, or else what the message says.
    pub subject: String,
}

/// One node's share in a cause.
pub struct Told<'a> {
    pub group: &'a str,
    pub node: &'a str,
    pub cause: Cause<'a>,
    pub message: Option<&'a str>,
}

#[derive(Default)]
struct Affected<'a> {
    nodes: Vec<&'a str>,
    known: HashSet<&'a str>,
    groups: Vec<&'a str>,
    message: Option<&'a str>,
}

impl RunReport {
    /// Ends with a newline; `color` allows ANSI colours.
    pub fn to_table(&self, color: bool) -> String {
        let mut text = self.counts_table();
        let nodes =
            self.groups.iter().flat_map(|group| group.nodes.iter().map(|node| (group.name.as_str(), node)));
        let told = nodes.flat_map(|(group, node)| {
            let causes = causes_of(node).into_iter();
            causes.map(move |(cause, message)| Told { group, node: &node.name, cause, message })
        });
        write_causes(&mut text, told);
        text.push('\n');
        text.push_str(&self.last_line(color));
        text
    }

    fn counts_table(&self) -> String {
        let header = ["GROUP", "NODES", "SUCCEEDED", "FAILED", "SKIPPED"];
        let rows = self.groups.iter().map(|group| {
            let Counts { succeeded, failed, skipped } = group.counts;
            let numbers = [succeeded + failed + skipped, succeeded, failed, skipped].map(|n| n.to_string());
            std::iter::once(group.name.clone()).chain(numbers).collect()
        });
        columns(&header, rows)
    }

    fn last_line(&self, color: bool) -> String {
        let Counts { succeeded, failed, skipped } = self.counts();
        let seconds = self.finished_at.as_second() - self.started_at.as_second();
        let (paint, reset) = match (color, self.exit_code) {
            (false, _) => ("", ""),
            (true, 0) => (GREEN, RESET),
            (true, _) => (RED, RESET),
        };
        let planned = succeeded + failed;
        let nodes = if skipped == 1 { "node" } else { "nodes" };
        let throttled = match self.throttled {
            0 => String::new(),
            1 => ", throttled once by the API server".to_owned(),
            times => format!(", throttled {times} times by the API server"),
        };
        format!(
            "{paint}{succeeded} of {planned} Jobs succeeded{reset}, {failed} failed, {skipped} {nodes} skipped\n\
             run {}, {seconds} s{throttled}\n",
            self.run_id
        )
    }
}

/// Columns with a header; the first is text, the others are numbers.
pub fn columns(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string().lines().map(|line| format!("{}\n", line.trim())).collect()
}

/// Equal causes once, each with its nodes as they come.
pub fn write_causes<'a>(text: &mut String, told: impl Iterator<Item = Told<'a>>) {
    let mut causes: BTreeMap<Cause<'_>, Affected<'_>> = BTreeMap::new();
    for Told { group, node, cause, message } in told {
        let affected = causes.entry(cause).or_default();
        // A node has a turn in each of its groups, often for the same reason.
        if affected.known.insert(node) {
            affected.nodes.push(node);
        }
        if affected.groups.last() != Some(&group) {
            affected.groups.push(group);
        }
        affected.message = affected.message.or(message);
    }
    for (cause, affected) in &causes {
        write_cause(text, cause, affected);
    }
}

/// A failed node is told of once for each of its failed images, or once for itself.
fn causes_of(node: &NodeReport) -> Vec<(Cause<'_>, Option<&str>)> {
    let reason = node.reason.unwrap_or("");
    let message = node.message.as_deref();
    match node.verdict {
        NodeVerdict::Succeeded => Vec::new(),
        NodeVerdict::Skipped => {
            let subject = if reason == "tainted" { message.unwrap_or("").to_owned() } else { String::new() };
            vec![(Cause { verdict: "skipped", reason, subject }, None)]
        }
        NodeVerdict::Failed => {
            let failed = node.images.iter().filter_map(|image| {
                let cause = Cause {
                    verdict: "failed",
                    reason: image.reason?.code(),
                    subject: image.reference.clone(),
                };
                Some((cause, image.message.as_deref()))
            });
            let causes: Vec<_> = failed.collect();
            match causes.is_empty() {
                true => vec![(Cause { verdict: "failed", reason, subject: String::new() }, message)],
                false => causes,
            }
        }
    }
}

fn write_cause(text: &mut String, cause: &Cause<'_>, affected: &Affected<'_>) {
    let Cause { verdict, reason, subject } = cause;
    let count = affected.nodes.len();
    let colon = if subject.is_empty() { "" } else { ": " };
    let nodes = if count == 1 { "node" } else { "nodes" };
    let subject = printable(subject);
    let groups = affected.groups.join(", ");
    // Writing to a String cannot fail.
    let _ = writeln!(text, "\n{verdict}: {reason}{colon}{subject} on {count} {nodes} ({groups})");
    let mut names: Vec<&str> = affected.nodes.iter().take(NODES_MAX).copied().collect();
    let more = format!("and {} more", count.saturating_sub(NODES_MAX));
    if count > NODES_MAX {
        names.push(&more);
    }
    write_wrapped(text, names.join(", ").split(' '));
    if let Some(message) = affected.message {
        let message: String = printable(message).chars().take(MESSAGE_MAX).collect();
        write_wrapped(text, message.split(' '));
    }
}

/// Words in lines of at most 80 columns, indented; a longer word stands alone.
fn write_wrapped<'a>(text: &mut String, words: impl Iterator<Item = &'a str>) {
    let mut line = String::from(" ");
    for word in words {
        if line.len() > 1 && line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = String::from(" ");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}

/// A registry's words reach a terminal: without control characters they cannot steer it.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
