//! One run: all batches at the start, and an end when they are over, at the deadline, or by a signal.
//!
//! It ends by its deadline plus [`DEADLINE_GRACE`], whatever the API server does.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::stalls::TICK;
use super::{Batch, Effect, Event, LogLevel, RETRY_TIMEOUT, Render, Runner, RunnerError, RunnerInputs};
use crate::cluster_error::ClusterError;
use crate::now::Now;
use crate::outcome::JobResult;
use crate::plan::Plan;
use crate::watch_event::{JobKey, WatchEvent};

/// At the run's deadline: how long the API server may take to answer what ends the live Jobs.
pub const DEADLINE_GRACE: Duration = Duration::from_secs(5);
/// After a signal: how long answers to requests under way may take before the report is written.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// Results in the plan's shape: by group, then Job.
pub type JobResults = Vec<Vec<JobResult>>;

/// What one run needs.
#[expect(missing_debug_implementations, reason = "it holds a closure")]
pub struct RunInputs<'a> {
    pub plan: Plan,
    /// Nodes with a live Job at the same time, over all groups.
    pub concurrency: usize,
    /// When the run ends, done or not.
    pub deadline: Instant,
    /// The deadline was computed: what other runs' Jobs hold this one up comes on top of it.
    pub deadline_is_computed: bool,
    /// End live Jobs of earlier runs that have other content, instead of waiting for them.
    pub replace: bool,
    pub render: Render<'a>,
}

/// What is known of the cluster as a run begins.
#[derive(Debug, Default)]
pub struct RunStart {
    /// What was there when the watches began.
    pub listed: Vec<WatchEvent>,
    /// Namespaces that may not be watched.
    pub forbidden: Vec<ClusterError>,
    /// The API server, for messages.
    pub server: String,
}

/// How a run ended.
#[derive(Debug)]
pub struct RunEnd {
    pub plan: Plan,
    /// One for every planned Job.
    pub results: JobResults,
    /// Jobs that the API server has of us, adopted ones included.
    pub created: usize,
    /// Jobs of ours that are over.
    pub finished: Vec<JobKey>,
    /// Why the run could not go on; of a group that could not, beside others that did, its results tell.
    pub error: Option<ClusterError>,
}

/// Something that has happened to a run.
#[derive(Debug)]
pub enum RunEvent {
    Runner(Event),
    /// Create nothing more and report what is known.
    Stop,
    /// The answer to [`Effect::ProbeServer`].
    ServerProbed {
        answers: bool,
        /// What it last answered within [`RETRY_TIMEOUT`], where that was an error.
        last_answer: Option<String>,
    },
}

/// The state of a run.
#[expect(missing_debug_implementations, reason = "it holds closures")]
pub struct SingleRun<'a> {
    runner: Runner<'a>,
    /// Of the plan, what is not in the batches.
    identity: std::sync::Arc<crate::plan::RunIdentity>,
    run_deadline_seconds: u64,
    server: String,
    deadline: Instant,
    deadline_is_computed: bool,
    /// From the start to the deadline.
    own_time: Duration,
    /// Groups that cannot go on, beside others that can: their namespace is missing, or is not ours to work in.
    lost: BTreeSet<usize>,
    stopped: bool,
    settling: Option<Settling>,
}

/// The last answers are waited for: a Job that was just created should not be reported as never begun, nor a
/// failed one stay without its evidence.
#[derive(Debug)]
struct Settling {
    end: End,
    until: Instant,
    /// What all Jobs would have met.
    late: Option<ClusterError>,
    probe: Probe,
}

/// Why there is nothing more to do.
#[derive(Debug)]
enum End {
    Done,
    Stopped,
    Deadline,
    /// All Jobs would meet this error.
    Fatal(ClusterError),
}

/// Whether the API server answers at all, asked at the deadline: where nothing had to be ended, nothing else
/// tells a cluster that is slow from one that is gone.
#[derive(Debug)]
enum Probe {
    NotAsked,
    Asked,
    Answered { last_answer: Option<String> },
    Unanswered,
}

impl<'a> SingleRun<'a> {
    /// Begins the run, and gives what is to be done first.
    pub fn new(inputs: RunInputs<'a>, start: RunStart, now: Now) -> (SingleRun<'a>, Vec<Effect>) {
        let RunInputs { plan, concurrency, deadline, deadline_is_computed, .. } = inputs;
        let Plan { identity, run_deadline_seconds, groups } = plan;
        let mut runner =
            Runner::new(RunnerInputs { concurrency, replace: inputs.replace, log_other_processes: false });
        for planned in groups {
            runner.add(Batch::new(planned, inputs.render.clone(), None), now);
        }
        runner.take_in(start.listed, now);
        let own_time = deadline.saturating_duration_since(now.instant);
        let mut run = SingleRun {
            runner,
            identity,
            run_deadline_seconds,
            server: start.server,
            deadline,
            deadline_is_computed,
            own_time,
            lost: BTreeSet::new(),
            stopped: false,
            settling: None,
        };
        let mut effects = Vec::new();
        for error in start.forbidden {
            if run.settling.is_none() {
                run.lose(RunnerError { batch: None, error }, now, &mut effects);
            }
        }
        run.proceed(now, &mut effects);
        (run, effects)
    }

    /// Takes in what has happened, and gives what is to be done.
    pub fn on(&mut self, event: RunEvent, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.ends_at(now) <= now.instant {
            // Before anything else: nothing is created any more.
            self.settle(End::Deadline, now, &mut effects);
        }
        match event {
            RunEvent::Stop => {
                self.stopped = true;
                match &mut self.settling {
                    Some(settling) => settling.hurry(now),
                    None => self.settle(End::Stopped, now, &mut effects),
                }
            }
            RunEvent::ServerProbed { answers, last_answer } => {
                if let Some(settling) = &mut self.settling {
                    settling.probe =
                        if answers { Probe::Answered { last_answer } } else { Probe::Unanswered };
                }
            }
            RunEvent::Runner(event) => self.on_runner(event, now, &mut effects),
        }
        self.proceed(now, &mut effects);
        effects
    }

    fn on_runner(&mut self, event: Event, now: Now, effects: &mut Vec<Effect>) {
        match (&event, &self.settling) {
            // Only answers count now.
            (Event::Watch(_) | Event::Timer, Some(_)) => {}
            _ => {
                let new = self.runner.handle_event(event, now);
                self.take_errors(new, now, effects);
            }
        }
    }

    /// What follows from whatever has happened.
    fn proceed(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.settling.is_some() {
            return;
        }
        let ends_at = self.ends_at(now);
        self.runner.ends_at = Some(ends_at);
        if ends_at <= now.instant {
            return self.settle(End::Deadline, now, effects);
        }
        let new = self.runner.proceed(now);
        self.take_errors(new, now, effects);
        // A run keeps its batches to the end, for the report.
        self.runner.jobs.take_over();
        if self.runner.is_idle() {
            self.settle(End::Done, now, effects);
        }
    }

    /// The deadline moves on while others keep Jobs from starting, where it is computed.
    fn ends_at(&self, now: Now) -> Instant {
        match self.deadline_is_computed {
            true => self.deadline + self.runner.stalls.extension(now.instant, self.own_time),
            false => self.deadline,
        }
    }

    fn settle(&mut self, end: End, now: Now, effects: &mut Vec<Effect>) {
        if self.settling.is_some() {
            return;
        }
        self.runner.stop();
        let deadline = self.ends_at(now).max(now.instant);
        let until = match end {
            End::Done => (now.instant + RETRY_TIMEOUT).min(deadline + DEADLINE_GRACE),
            End::Deadline => now.instant + DEADLINE_GRACE,
            End::Stopped | End::Fatal(_) => now.instant + SHUTDOWN_GRACE,
        };
        let mut probe = Probe::NotAsked;
        if let End::Deadline = end {
            self.runner.end_run();
            effects.extend(self.runner.proceed(now));
            effects.push(Effect::ProbeServer);
            probe = Probe::Asked;
        }
        let mut settling = Settling { end, until, late: None, probe };
        if self.stopped {
            settling.hurry(now);
        }
        self.settling = Some(settling);
    }

    fn take_errors(&mut self, new: Vec<Effect>, now: Now, effects: &mut Vec<Effect>) {
        for effect in new {
            match effect {
                Effect::Fail(error) => match &mut self.settling {
                    Some(settling) => drop(settling.late.get_or_insert(error.error)),
                    None => self.lose(error, now, effects),
                },
                effect => effects.push(effect),
            }
        }
    }

    /// Takes the batches that `error` is about out of the run. Where no other batch is left that has Jobs the
    /// run itself cannot go on.
    fn lose(&mut self, error: RunnerError, now: Now, effects: &mut Vec<Effect>) {
        if error.error.namespace().is_none() {
            return self.settle(End::Fatal(error.error), now, effects);
        }
        let lost = self.runner.give_up_batches_of(&error);
        let new: Vec<usize> = lost.into_iter().filter(|number| self.lost.insert(*number)).collect();
        let batches = self.runner.jobs.batches();
        let goes_on = batches
            .iter()
            .any(|(number, batch)| !self.lost.contains(&number) && !batch.planned().jobs.is_empty());
        if !goes_on {
            return self.settle(End::Fatal(error.error), now, effects);
        }
        for batch in new.into_iter().filter_map(|number| batches.get(number)) {
            let text = format!("group {:?} is given up: {}", batch.planned().group.name, error.error);
            effects.push(Effect::Log(LogLevel::Error, text));
        }
    }

    /// When [`Event::Timer`] is due, if nothing else happens before.
    pub fn next_timer(&self, now: Now) -> Instant {
        match &self.settling {
            Some(settling) => settling.until,
            None => {
                let ends_at = self.ends_at(now);
                // Where it moves along it is looked at again.
                let wake = if self.deadline_is_computed { ends_at.max(now.instant + TICK) } else { ends_at };
                wake.min(self.runner.next_timer(now))
            }
        }
    }

    /// Whether nothing is waited for any longer.
    pub fn is_over(&self, now: Now) -> bool {
        self.settling.as_ref().is_some_and(|settling| {
            let is_answered = self.runner.requests() == 0 && !matches!(settling.probe, Probe::Asked);
            is_answered || settling.until <= now.instant
        })
    }

    /// The Jobs of [`Effect::Step`], and their outcomes.
    pub fn runner(&self) -> &Runner<'a> {
        &self.runner
    }

    /// Judges what is still out by what is known of it.
    pub fn abandon(&mut self, now: Now) -> Vec<Effect> {
        let run_is_over = self.runner.closing;
        self.runner.jobs.abandon_tracked(run_is_over, now, &mut self.runner.effects);
        self.runner.effects.take()
    }

    /// What has become of the run; of one that is not over, what is known by now.
    pub fn into_end(self, now: Now) -> RunEnd {
        let SingleRun { mut runner, identity, run_deadline_seconds, server, settling, .. } = self;
        let is_answered = runner.requests() == 0;
        let error = settling.and_then(|Settling { end, late, probe, .. }| match (end, probe) {
            (End::Fatal(error), _) => Some(error),
            (End::Done, _) => late,
            (End::Stopped, _) => None,
            (End::Deadline, Probe::Answered { .. }) if is_answered => None,
            // It was there all the time, and had us try again.
            (End::Deadline, Probe::Answered { last_answer: Some(cause) }) => {
                Some(ClusterError::Api { server, what: "what the run still asked for".to_owned(), cause })
            }
            (End::Deadline, _) => {
                let cause = format!("no answer within {} s at the run's deadline", DEADLINE_GRACE.as_secs());
                Some(ClusterError::Unreachable { server, cause })
            }
        });
        let (created, finished) = (runner.jobs.created(), runner.jobs.take_finished_jobs());
        let batches = runner.into_batches(now);
        let (groups, results) = batches.into_iter().map(|batch| (batch.planned, batch.results)).unzip();
        let plan = Plan { identity, run_deadline_seconds, groups };
        RunEnd { plan, results, created, finished, error }
    }
}

impl Settling {
    /// A signal asks for the end.
    fn hurry(&mut self, now: Now) {
        if !matches!(self.end, End::Stopped) {
            self.until = self.until.min(now.instant + SHUTDOWN_GRACE);
        }
    }
}

#[cfg(test)]
mod tests;
