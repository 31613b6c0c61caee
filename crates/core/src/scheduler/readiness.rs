//! Marks of nodes that have all images of a group: the label that says so, and the startup taint that is
//! removed then. Which node needs one, how many patches are sent at a time, and when failed ones are retried.
//! Pure: callers bring `now`, and send the patches.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::cluster_error::ClusterError;
use crate::config::{Group, RemovedTaint};
use crate::plan::Node;

/// Nodes become ready one by one; where many do at once, these many patches are in flight.
const PATCHES_IN_FLIGHT: usize = 8;

/// Between two retries of what has failed.
const FIRST_DELAY: Duration = Duration::from_secs(30);
const MAX_DELAY: Duration = Duration::from_secs(600);

/// A change of a node that is to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct NodePatch {
    pub group: String,
    pub node: String,
    pub change: NodeChange,
}

#[derive(Clone, Debug, PartialEq)]
pub enum NodeChange {
    /// On the node as it was last seen.
    MarkReady {
        node: Arc<Node>,
        content: Arc<str>,
        /// Set the ready label.
        label: bool,
        /// Remove this startup taint.
        taint: Option<RemovedTaint>,
    },
    RemoveLabel,
}

/// Why a node does not show what is on it.
#[derive(Clone, Debug, Error)]
pub enum NodePatchError {
    #[error("cannot change the label {key} of node {node}: {cause}")]
    Label { node: String, key: String, cause: ClusterError },
    #[error("cannot remove the taint {taint} of node {node}: {cause}")]
    Taint { node: String, taint: RemovedTaint, cause: ClusterError },
    #[error("cannot change the {what} of node {node}, {tries} times in a row: {cause}")]
    Contended { node: String, what: String, tries: u32, cause: ClusterError },
}

/// A change that has failed, and is made from what is known when it is retried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PendingPatch {
    /// Of the node with this uid.
    MarkReady {
        content: Arc<str>,
        uid: String,
    },
    RemoveLabel,
}

/// Patches of nodes that wait, are in flight, or have failed.
#[derive(Debug)]
pub struct Readiness {
    waiting: VecDeque<NodePatch>,
    in_flight: usize,
    /// By group and node.
    failed: HashMap<(String, String), PendingPatch>,
    /// Retries that have failed, one after another.
    failures: u32,
    retry_at: Instant,
    /// That patches fail was reported.
    reported: bool,
}

impl NodePatch {
    /// Of the group's ready label.
    pub fn label_key(&self) -> String {
        label_key(&self.group)
    }
}

impl NodeChange {
    /// The value of the group's ready label, where that is set.
    pub fn label_value(&self) -> Option<&str> {
        match self {
            NodeChange::MarkReady { content, label: true, .. } => label_value(content),
            NodeChange::MarkReady { .. } | NodeChange::RemoveLabel => None,
        }
    }
}

impl Readiness {
    pub fn new(now: Instant) -> Readiness {
        Readiness {
            waiting: VecDeque::new(),
            in_flight: 0,
            failed: HashMap::new(),
            failures: 0,
            retry_at: now,
            reported: false,
        }
    }

    /// All images of `group`, which puts `content` on nodes, are on `node`.
    pub fn mark_node_ready(&mut self, group: &Group, content: &Arc<str>, node: &Arc<Node>) {
        if !marks_nodes(group) {
            return;
        }
        self.waiting.push_back(NodePatch {
            group: group.name.clone(),
            node: node.name.clone(),
            change: NodeChange::MarkReady {
                node: node.clone(),
                content: content.clone(),
                label: group.ready_label,
                taint: group.remove_taint.clone(),
            },
        });
    }

    pub fn remove_label(&mut self, group: &str, node: &str) {
        let (group, node) = (group.to_owned(), node.to_owned());
        self.waiting.push_back(NodePatch { group, node, change: NodeChange::RemoveLabel });
    }

    /// The group is gone, or does not label nodes any longer: its label goes from those of `nodes` that have it.
    pub fn remove_group<'n>(&mut self, group: &str, nodes: impl Iterator<Item = &'n Arc<Node>>) {
        self.failed.retain(|(of, _), _| of != group);
        let key = label_key(group);
        for node in nodes.filter(|node| node.labels.contains_key(&key)) {
            self.remove_label(group, &node.name);
        }
    }

    /// The node is gone, and with it what has failed on it.
    pub fn remove_node(&mut self, node: &str) {
        self.failed.retain(|(_, of), _| of != node);
    }

    /// Patches that may be sent now; each is answered by [`Readiness::on_patched`].
    pub fn take_patches(&mut self) -> Vec<NodePatch> {
        let count = PATCHES_IN_FLIGHT.saturating_sub(self.in_flight).min(self.waiting.len());
        self.in_flight += count;
        self.waiting.drain(..count).collect()
    }

    /// Takes in how a patch went. `labels`: the group labels nodes, as it is now. Gives a failure that is to be
    /// reported.
    pub fn on_patched(
        &mut self,
        patch: NodePatch,
        result: Result<(), NodePatchError>,
        labels: bool,
    ) -> Option<NodePatchError> {
        self.in_flight = self.in_flight.saturating_sub(1);
        let NodePatch { group, node, change } = patch;
        match (result, change) {
            (Ok(()), change) => {
                (self.failures, self.reported) = (0, false);
                if !labels && matches!(change, NodeChange::MarkReady { label: true, .. }) {
                    // The group has gone while its label was on its way.
                    self.remove_label(&group, &node);
                }
                self.failed.remove(&(group, node));
                None
            }
            (Err(error), change) => {
                let pending = match change {
                    NodeChange::MarkReady { node, content, .. } => {
                        PendingPatch::MarkReady { content, uid: node.uid.clone() }
                    }
                    NodeChange::RemoveLabel => PendingPatch::RemoveLabel,
                };
                self.failed.insert((group, node), pending);
                (!std::mem::replace(&mut self.reported, true)).then_some(error)
            }
        }
    }

    /// What has failed and is retried now, by group and node; less and less often where that goes on.
    pub fn take_retries(&mut self, now: Instant) -> Vec<((String, String), PendingPatch)> {
        if self.failed.is_empty() || now < self.retry_at {
            return Vec::new();
        }
        self.retry_at = now + (FIRST_DELAY * (1 << self.failures.min(10))).min(MAX_DELAY);
        self.failures += 1;
        self.failed.drain().collect()
    }
}

/// Whether nodes are to show that the group's images are there.
pub fn marks_nodes(group: &Group) -> bool {
    group.ready_label || group.remove_taint.is_some()
}

/// Whether `node` does not show yet that `group`'s images, of `content`, are there, and is to.
pub fn needs_mark(group: &Group, content: &str, node: &Node) -> bool {
    has_startup_taint(group, node) || (group.ready_label && !has_label(group, content, node))
}

/// Whether `node` was labelled before its startup taint could be removed.
pub fn is_half_marked(group: &Group, content: &str, node: &Node) -> bool {
    group.ready_label && has_startup_taint(group, node) && has_label(group, content, node)
}

fn has_startup_taint(group: &Group, node: &Node) -> bool {
    group.remove_taint.as_ref().is_some_and(|taint| node.has_taint(taint))
}

fn has_label(group: &Group, content: &str, node: &Node) -> bool {
    let value = node.labels.get(&label_key(&group.name)).map(String::as_str);
    value.is_some() && value == label_value(content)
}

fn label_key(group: &str) -> String {
    format!("quayctl-controller/{group}")
}

fn label_value(content: &str) -> Option<&str> {
    content.get(..16)
}

#[cfg(test)]
mod tests;
