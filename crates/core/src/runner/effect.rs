//! What a [`super::Runner`] wants done.

use std::collections::HashSet;
use std::sync::Arc;

use crate::cluster_error::ClusterError;
use crate::outcome::{Failure, JobOutcome};
use crate::plan::{JobIndex, Node, PlannedJob};
use crate::render::Manifest;
use crate::watch_event::JobKey;

/// Texts that were logged and are not repeated, in a process that may live for a year.
const LOGGED_MAX: usize = 1_000;

/// Something to be done, in this order. Requests are answered by one [`super::Event`] each.
#[derive(Debug)]
pub enum Effect {
    /// POST this Job.
    Create {
        index: JobIndex,
        manifest: Box<Manifest>,
    },
    /// Write `outcome` on a Job, and end it where `end_now` says so. `index`: it is one of the run's own.
    Annotate {
        index: Option<JobIndex>,
        key: JobKey,
        outcome: String,
        end_now: bool,
    },
    /// GET this Job of `instance`.
    ReadJob {
        index: JobIndex,
        key: JobKey,
        instance: String,
    },
    /// GET this node.
    ReadNode {
        index: JobIndex,
        node: Arc<Node>,
    },
    /// Ask the API server anything: whether it answers ([`super::RunEvent::ServerProbed`]).
    ProbeServer,
    /// Create an Event on a failed Job; nobody waits for it.
    RecordFailure(JobFailure),
    /// A step of a Job, for whoever shows progress: [`super::Runner::step`] tells of it until its batch is taken.
    Step(JobIndex, Step),
    Log(LogLevel, String),
    /// An error that waiting does not mend; whoever drives the runner decides what it ends.
    Fail(RunnerError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Started,
    /// It waits for its turn again.
    PutBack,
    Finished,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
}

/// A [`Step`] with what it is of.
#[derive(Debug)]
pub enum JobStep<'a> {
    Started(&'a PlannedJob),
    PutBack(&'a PlannedJob),
    Finished(&'a PlannedJob, &'a JobOutcome),
}

/// A node's failure, as an event on its Job.
#[derive(Debug)]
pub struct JobFailure {
    pub job: JobKey,
    /// Empty where no watch has shown the Job yet.
    pub uid: String,
    pub instance: String,
    pub failure: Failure,
}

/// An error that waiting does not mend.
#[derive(Clone, Debug)]
pub struct RunnerError {
    /// The batch that meets it; `None` where all do.
    pub batch: Option<usize>,
    pub error: ClusterError,
}

impl Effect {
    /// Whether an [`super::Event`] answers it.
    pub fn is_request(&self) -> bool {
        match self {
            Effect::Create { .. }
            | Effect::Annotate { .. }
            | Effect::ReadJob { .. }
            | Effect::ReadNode { .. } => true,
            Effect::ProbeServer
            | Effect::RecordFailure(_)
            | Effect::Step(..)
            | Effect::Log(..)
            | Effect::Fail(_) => false,
        }
    }
}

/// Effects that nobody has taken yet.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pending: Vec<Effect>,
    /// Requests without an answer.
    requests: usize,
    logged: HashSet<String>,
}

impl Effects {
    pub fn push(&mut self, effect: Effect) {
        self.requests += usize::from(effect.is_request());
        self.pending.push(effect);
    }

    pub fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.pending)
    }

    pub fn mark_answered(&mut self) {
        self.requests = self.requests.saturating_sub(1);
    }

    pub fn requests(&self) -> usize {
        self.requests
    }

    pub fn log(&mut self, level: LogLevel, text: impl Into<String>) {
        self.push(Effect::Log(level, text.into()));
    }

    pub fn warn_once(&mut self, text: String) {
        if self.insert(&text) {
            self.log(LogLevel::Warn, text);
        }
    }

    pub fn info_once(&mut self, text: String) {
        if self.insert(&text) {
            self.log(LogLevel::Info, text);
        }
    }

    fn insert(&mut self, text: &str) -> bool {
        if self.logged.len() >= LOGGED_MAX {
            self.logged.clear();
        }
        self.logged.insert(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch() -> Effect {
        let key = ("ns".to_owned(), "a".to_owned());
        Effect::Annotate { index: None, key, outcome: String::new(), end_now: true }
    }

    #[test]
    fn requests_are_counted_until_they_are_answered_and_effects_taken_once() {
        let mut effects = Effects::default();
        effects.push(patch());
        effects.push(Effect::ProbeServer);
        effects.push(patch());
        assert_eq!((effects.requests(), effects.take().len(), effects.take().len()), (2, 3, 0));
        for left in [1, 0, 0] {
            effects.mark_answered();
            assert_eq!(effects.requests(), left);
        }
    }

    #[test]
    fn a_text_is_logged_once_and_what_is_remembered_of_that_is_bounded() {
        let mut effects = Effects::default();
        effects.warn_once("a".into());
        effects.warn_once("a".into());
        effects.info_once("a".into());
        effects.info_once("b".into());
        assert_eq!(effects.take().len(), 2);
        for n in 0..2 * LOGGED_MAX {
            effects.warn_once(n.to_string());
            assert!(effects.logged.len() <= LOGGED_MAX);
        }
    }
}
