//! What a serving process does when: which runs are due, which nodes are served between runs, what is
//! retried. Pure: whoever asks brings the time.

pub use due_runs::{DueRun, DueRuns, RunHistory, Scheduler, Trigger};
pub use node_tracker::{JobEnd, NodeTracker};
pub use run_retries::RunRetries;

mod due_runs;
mod node_tracker;
mod run_retries;
