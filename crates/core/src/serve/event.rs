//! What goes into a [`super::Process`].

use std::collections::{BTreeMap, BTreeSet};

use super::{ActiveConfig, ReloadError};
use crate::cluster_error::ClusterError;
use crate::plan::ListedNode;
use crate::runner;
use crate::scheduler::{NodePatch, NodePatchError, RunHistory};
use crate::watch_event::WatchEvent;

/// All that wakes a serving process.
#[derive(Debug)]
pub enum ServeEvent {
    /// Whether this process leads from now on. One without an election leads from its start.
    Leads(bool),
    /// Answers [`super::ServeEffect::StartLeading`].
    Started(Result<Box<InitialState>, ClusterError>),
    Runner(runner::Event),
    Node(NodeEvent),
    /// Answers [`super::ServeEffect::PatchNode`].
    NodePatched(NodePatch, Result<(), NodePatchError>),
    /// A signal: look at the config's files at once.
    Hangup,
    /// The config's files have changed, and were read, checked and tried.
    ConfigTried(Result<ActiveConfig, ReloadError>),
    /// Answers [`super::ServeEffect::Watch`].
    Watched(WatchPurpose, Result<OpenedWatches, ClusterError>),
    /// The time that [`super::Process::next_timer`] gave has come.
    Timer,
    /// A signal: end in good order.
    Stop,
}

/// What is there when a process begins to lead.
#[derive(Debug, Default)]
pub struct InitialState {
    pub watches: OpenedWatches,
    /// Of which runs the cluster holds Jobs.
    pub history: RunHistory,
    pub nodes: Vec<ListedNode>,
}

/// Watches of namespaces whose first lists are complete.
#[derive(Debug, Default)]
pub struct OpenedWatches {
    pub namespaces: BTreeSet<String>,
    /// Namespaces that may not be watched.
    pub forbidden: BTreeMap<String, ClusterError>,
    /// What the first lists held, oldest first.
    pub listed: Vec<WatchEvent>,
}

/// What namespaces are watched for. One request of each is under way: a newer one takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchPurpose {
    /// A changed config names them.
    Reload,
    /// They were forbidden, and rights may have been given since.
    Retry,
}

/// What the watch of nodes shows.
#[derive(Clone, Debug)]
pub enum NodeEvent {
    Node(Box<ListedNode>),
    Gone(String),
    /// The watch failed and tries again by itself.
    Interrupted(ClusterError),
}
