//! The report for a person on an 80-column terminal: counts first, equal failures as one, and the
//! registry's own words only once for each.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};

use super::{Counts, GroupReport, NodeReason, NodeReport, NodeVerdict, RunReport, Tally};
use crate::outside_text::without_middle;
use crate::plan::SkipReason;
use crate::words::{counted, some_of};

const WIDTH: usize = 80;
/// As many names of nodes stand behind one failure; the JSON report has them all.
const NODES_MAX: usize = 10;
const NODES_IN_LINE_MAX: usize = 3;
/// As much of a message; the middle is left out, as the cause comes last.
const MESSAGE_BYTES_MAX: usize = 600;

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const RESET: &str = "\x1b[0m";

/// What is said of a node. Sorts failures first and skips last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowVerdict {
    Failed,
    /// It had no time.
    NotDone,
    Skipped,
}

/// What nodes have in common that stand in one row.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct FailureKey {
    pub verdict: RowVerdict,
    /// The code, by which rows are sorted.
    pub reason: &'static str,
    /// The image that failed, or else what the message says.
    pub subject: String,
}

/// One node's share in a row.
pub struct FailureRow<'a> {
    pub group: &'a str,
    pub node: &'a str,
    pub key: FailureKey,
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
        write_rows(&mut text, self.rows());
        text.push('\n');
        text.push_str(&self.last_line(color));
        text
    }

    /// Equal failures as one line each, for a log.
    pub fn failures_in_lines(&self) -> Vec<String> {
        let rows = collected(self.rows());
        let failures = rows.iter().filter(|(key, _)| key.verdict != RowVerdict::Skipped);
        failures.map(|(key, affected)| line(key, affected)).collect()
    }

    fn rows(&self) -> impl Iterator<Item = FailureRow<'_>> {
        let nodes =
            self.groups.iter().flat_map(|group| group.nodes.iter().map(|node| (group.name.as_str(), node)));
        nodes.flat_map(|(group, node)| {
            let keys = keys_of(node).into_iter();
            keys.map(move |(key, message)| FailureRow { group, node: &node.name, key, message })
        })
    }

    /// Nodes that had no time get a column where there are any.
    fn counts_table(&self) -> String {
        let Counts { interrupted, not_started, .. } = self.counts();
        let is_shown = |column: usize| match column {
            4 => interrupted > 0,
            5 => not_started > 0,
            _ => true,
        };
        let shown = |values: [String; 7]| -> Vec<String> {
            let values = values.into_iter().enumerate();
            values.filter(|(column, _)| is_shown(*column)).map(|(_, value)| value).collect()
        };
        let header = ["GROUP", "NODES", "SUCCEEDED", "FAILED", "INTERRUPTED", "NOT STARTED", "SKIPPED"];
        let header = shown(header.map(str::to_owned));
        let rows = self.groups.iter().map(|GroupReport { name, counts, .. }| {
            let Counts { succeeded, failed, skipped, interrupted, not_started } = *counts;
            let nodes = counts.planned() + skipped;
            let [nodes, succeeded, failed, interrupted, not_started, skipped] =
                [nodes, succeeded, failed, interrupted, not_started, skipped].map(|n| n.to_string());
            shown([name.clone(), nodes, succeeded, failed, interrupted, not_started, skipped])
        });
        columns(&header, rows)
    }

    fn last_line(&self, color: bool) -> String {
        let Counts { succeeded, failed, .. } = self.counts();
        let seconds = self.finished_at.as_second() - self.started_at.as_second();
        let (paint, reset) = match (color, self.exit_code) {
            (false, _) => ("", ""),
            (true, 0) => (GREEN, RESET),
            (true, _) => (RED, RESET),
        };
        let planned = counted(self.counts().planned(), "Job");
        let unfinished = self.counts().unfinished_in_words();
        let skipped = skipped_in_words(self.groups.iter().map(|group| {
            let skipped = group.nodes.iter().filter(|node| node.tally() == Tally::Skipped);
            skipped.map(|node| node.name.as_str())
        }));
        let throttled = match self.throttled {
            0 => String::new(),
            1 => ", throttled once by the API server".to_owned(),
            times => format!(", throttled {times} times by the API server"),
        };
        format!(
            "{paint}{succeeded} of {planned} succeeded{reset}, {failed} failed{unfinished}, {skipped}\n\
             run {}, {seconds} s{throttled}\n",
            self.run_id
        )
    }
}

/// Of the nodes that each group skips: one that two groups skip is one node.
pub fn skipped_in_words<'a>(groups: impl Iterator<Item = impl Iterator<Item = &'a str>>) -> String {
    let (mut nodes, mut times, mut in_groups) = (HashSet::new(), 0, 0);
    for group in groups {
        let before = times;
        for node in group {
            nodes.insert(node);
            times += 1;
        }
        in_groups += usize::from(times > before);
    }
    let skipped = format!("{} skipped", counted(nodes.len(), "node"));
    match times > nodes.len() {
        true => format!("{skipped} (in {})", counted(in_groups, "group")),
        false => skipped,
    }
}

/// Columns with a header; the first is text, the others are numbers.
pub fn columns(header: &[impl AsRef<str>], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().map(AsRef::as_ref));
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string().lines().map(|line| format!("{}\n", line.trim())).collect()
}

/// Equal failures once, each with its nodes as they come.
pub fn write_rows<'a>(text: &mut String, rows: impl Iterator<Item = FailureRow<'a>>) {
    for (key, affected) in &collected(rows) {
        write_row(text, key, affected);
    }
}

fn collected<'a>(rows: impl Iterator<Item = FailureRow<'a>>) -> BTreeMap<FailureKey, Affected<'a>> {
    let mut by_key: BTreeMap<FailureKey, Affected<'_>> = BTreeMap::new();
    for FailureRow { group, node, key, message } in rows {
        let affected = by_key.entry(key).or_default();
        // A node has a turn in each of its groups, often for the same reason.
        if affected.known.insert(node) {
            affected.nodes.push(node);
        }
        if affected.groups.last() != Some(&group) {
            affected.groups.push(group);
        }
        affected.message = affected.message.or(message);
    }
    by_key
}

/// A failed node has a row for each of its failed images, or one for itself.
fn keys_of(node: &NodeReport) -> Vec<(FailureKey, Option<&str>)> {
    let message = node.message.as_deref();
    match node.verdict {
        NodeVerdict::Succeeded => Vec::new(),
        NodeVerdict::Skipped => vec![(FailureKey::of_skipped(node.reason, message), None)],
        NodeVerdict::Failed => {
            let failed = node.images.iter().filter_map(|image| {
                let (reason, subject) = (image.reason?.code(), image.reference.clone());
                let key = FailureKey { verdict: RowVerdict::Failed, reason, subject };
                Some((key, image.message.as_deref()))
            });
            let keys: Vec<_> = failed.collect();
            if !keys.is_empty() {
                return keys;
            }
            let verdict = match node.tally() {
                Tally::Interrupted | Tally::NotStarted => RowVerdict::NotDone,
                _ => RowVerdict::Failed,
            };
            vec![(FailureKey::new(verdict, node.reason), message)]
        }
    }
}

fn write_row(text: &mut String, key: &FailureKey, affected: &Affected<'_>) {
    let (what, nodes, groups) =
        (key.in_words(), counted(affected.nodes.len(), "node"), affected.groups.join(", "));
    let verdict = match key.verdict {
        RowVerdict::Failed => "failed",
        RowVerdict::NotDone => "not done",
        RowVerdict::Skipped => "skipped",
    };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "\n{verdict}: {what} on {nodes} ({groups})");
    write_wrapped(text, affected.names(NODES_MAX).split(' '));
    if let Some(message) = affected.message {
        write_wrapped(text, shown(message).split(' '));
    }
}

fn line(key: &FailureKey, affected: &Affected<'_>) -> String {
    let (what, nodes, names) =
        (key.in_words(), counted(affected.nodes.len(), "node"), affected.names(NODES_IN_LINE_MAX));
    let message = affected.message.map(|message| format!(": {}", shown(message))).unwrap_or_default();
    format!("{what} on {nodes} ({names}){message}")
}

impl FailureKey {
    pub fn new(verdict: RowVerdict, reason: Option<NodeReason>) -> FailureKey {
        FailureKey { verdict, reason: reason.map_or("", NodeReason::code), subject: String::new() }
    }

    /// Of a taint the message says which.
    pub fn of_skipped(reason: Option<NodeReason>, message: Option<&str>) -> FailureKey {
        let is_tainted = reason == Some(NodeReason::Skipped(SkipReason::Tainted));
        let subject = message.filter(|_| is_tainted).unwrap_or_default().to_owned();
        FailureKey { subject, ..FailureKey::new(RowVerdict::Skipped, reason) }
    }

    /// `image-not-found: quay.io/x:y`
    fn in_words(&self) -> String {
        let colon = if self.subject.is_empty() { "" } else { ": " };
        format!("{}{colon}{}", self.reason, self.subject)
    }
}

impl Affected<'_> {
    /// Names of nodes with commas, of many the first.
    fn names(&self, max: usize) -> String {
        some_of(self.nodes.iter().copied(), max)
    }
}

fn shown(message: &str) -> Cow<'_, str> {
    without_middle(message, MESSAGE_BYTES_MAX)
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
