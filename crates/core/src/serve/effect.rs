//! What comes out of a [`super::Process`].

use super::ReloadError;
use super::event::WatchPurpose;
use crate::cluster_error::ClusterError;
use crate::report::RunReport;
use crate::runner::{self, Step};
use crate::scheduler::{NodePatch, NodePatchError, Trigger};

/// Something to be done, in this order.
#[derive(Debug)]
pub enum ServeEffect {
    Runner(runner::Effect),
    /// Watch these namespaces and all nodes. Answered by [`super::ServeEvent::Started`].
    StartLeading {
        namespaces: Vec<String>,
        instance: String,
    },
    /// Watch these namespaces too. Answered by [`super::ServeEvent::Watched`].
    Watch {
        purpose: WatchPurpose,
        namespaces: Vec<String>,
        instance: String,
    },
    /// Follow the watches that the event has brought; without this they are closed.
    AcceptWatches,
    /// Follow no other namespaces than these.
    KeepWatches(Vec<String>),
    /// Answered by [`super::ServeEvent::NodePatched`].
    PatchNode(NodePatch),
    /// Close all watches and forget all requests: this process does not lead.
    StopLeading,
    /// Look at the config's files at once.
    ReadConfig,
    Notice(Notice),
    /// End the process.
    Exit(Result<(), ClusterError>),
}

/// What people are told: in the log, by metrics, by probes and by Kubernetes Events.
#[derive(Debug)]
pub enum Notice {
    StandingBy,
    Elected,
    LeadershipLost,
    /// Leading could not begin; it is tried again.
    StartFailed(ClusterError),
    /// Everything is listed and followed.
    Ready {
        groups: usize,
        nodes: usize,
    },
    NamespaceForbidden {
        namespace: String,
        error: ClusterError,
    },
    NamespaceWatched(String),
    NodeWatchInterrupted(ClusterError),
    NodeWatchResumed,
    RunStarted {
        group: String,
        run_id: String,
        trigger: Trigger,
        jobs: usize,
        skipped: usize,
    },
    /// It was due while the group's last run was active.
    RunSkipped(String),
    Finished(FinishedRun),
    /// The next leader continues it.
    HandedOver {
        run: FinishedRun,
        not_started: usize,
    },
    /// An error that waiting does not mend; `runs` were given up for it.
    RunnerFailed {
        error: ClusterError,
        runs: usize,
    },
    JobStep {
        group: String,
        node: String,
        job: String,
        step: Step,
    },
    /// A node got its Job between two runs.
    NewNode {
        group: String,
        node: String,
    },
    NodePatchFailed {
        group: String,
        node: String,
        error: NodePatchError,
    },
    ConfigApplied {
        groups: usize,
        hash: String,
    },
    ReloadFailed(ReloadError),
    GroupRemoved(String),
    NextRun {
        group: String,
        at: Option<jiff::Timestamp>,
    },
    /// Nodes that wait for their turn, and Jobs that are live.
    Queue {
        waiting: usize,
        running: usize,
    },
}

/// One run, or the Jobs of nodes that came after it was planned.
#[derive(Debug)]
pub struct FinishedRun {
    pub group: String,
    pub is_run: bool,
    pub report: RunReport,
}
