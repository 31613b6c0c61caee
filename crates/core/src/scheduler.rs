//! What a serving process does when: which runs are due, which nodes are served between runs, which nodes are
//! marked as ready, what is retried. Pure: whoever asks brings the time.

pub use due_runs::{DueRun, DueRuns, RunHistory, Scheduler, Trigger};
pub use node_tracker::{JobEnd, NodeTracker};
pub use readiness::{
    NodeChange, NodePatch, NodePatchError, PendingPatch, Readiness, is_half_marked, marks_nodes, needs_mark,
};
pub use run_retries::RunRetries;

mod due_runs;
mod node_tracker;
mod readiness;
mod run_retries;
