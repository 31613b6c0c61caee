//! Decides which Job each node gets. Pure: no client, no clock, no files.

use std::sync::Arc;

pub use node::{Node, Taint};

use crate::config::Group;

pub mod node;

/// Who a run is, in names and labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunIdentity {
    pub instance: String,
    pub run_id: String,
    /// Where Jobs of groups without a namespace of their own live.
    pub namespace: String,
}

/// What one run will do: groups in configured order, then nodes in listed order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub groups: Vec<PlannedGroup>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PlannedGroup {
    pub group: Arc<Group>,
    /// Nodes of this group with a live Job at the same time; at least one.
    pub limit: usize,
    pub jobs: Vec<PlannedJob>,
    pub skipped: Vec<Skipped>,
}

/// One node's Job of one group, all but its manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedJob {
    pub group: Arc<Group>,
    pub node: Arc<Node>,
    /// Which text to render; `auto` is decided by now.
    pub template: TemplateChoice,
    /// `metadata.name`: a DNS-1123 label of at most 63 characters.
    pub name: String,
    pub namespace: String,
    /// 64 hex digits: what the Job puts on the node, see design of names.
    pub content: Arc<str>,
    pub identity: Arc<RunIdentity>,
}

/// The template a Job is rendered from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateChoice {
    ImageVolume,
    Helper,
    User(String),
}

/// A node that a group selects and that gets no Job.
#[derive(Clone, Debug, PartialEq)]
pub struct Skipped {
    pub node: Arc<Node>,
    pub reason: SkipReason,
    /// For people: which taint, which platform.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    Cordoned,
    NotReady,
    Tainted,
    UnsupportedPlatform,
}
