//! A serving process as a state machine: events and the time go in, effects come out. No client, no clock.
//!
//! [`Process`] says who leads and which config is in force; [`leader`] is what it does while it leads: runs
//! that are due, new nodes, marks of nodes and changed configs. Whoever drives it waits for whatever happens
//! next, calls [`Process::on`], does what that returns, and feeds the answers back.

use std::time::{Duration, Instant};

pub use active_config::{ActiveConfig, ReloadError};
pub use effect::{FinishedRun, Notice, ServeEffect};
pub use event::{InitialState, NodeEvent, OpenedWatches, ServeEvent, WatchPurpose};

use leader::LeaderLoop;

use crate::cluster_error::ClusterError;
use crate::now::Now;

mod active_config;
mod active_runs;
mod effect;
mod event;
mod leader;
mod watched_namespaces;

/// Between two tries to begin to lead.
const START_RETRY_DELAY: Duration = Duration::from_secs(30);
/// How long answers to what was sent may take when a process ends or leads no longer.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// With nothing to wait for; the wall clock may be set, so nothing waits longer.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// One process of `serve`, from its start to its end.
#[expect(missing_debug_implementations, reason = "a runner holds closures")]
pub struct Process {
    /// In force, or the last that was while another leads.
    config: ActiveConfig,
    state: State,
    /// As the election last said.
    leads: bool,
    /// Whether another has led since the start.
    has_stood_by: bool,
}

enum State {
    Standby,
    /// The first lists are on their way, and maybe a changed config has come.
    Starting(Option<ActiveConfig>),
    /// They failed, and are tried again.
    StartFailed {
        retry_at: Instant,
    },
    Leading(Box<LeaderLoop>),
    /// Waits a moment for answers to what was sent.
    Draining {
        leader: Box<LeaderLoop>,
        until: Instant,
        exits: bool,
    },
    Ended,
}

impl Process {
    /// It stands by until [`ServeEvent::Leads`] says otherwise.
    pub fn new(config: ActiveConfig) -> Process {
        Process { config, state: State::Standby, leads: false, has_stood_by: false }
    }

    /// Takes in what has happened, and says what is to be done.
    pub fn on(&mut self, event: ServeEvent, now: Now) -> Vec<ServeEffect> {
        let mut effects = Vec::new();
        match event {
            ServeEvent::Leads(leads) => self.on_leads(leads, now, &mut effects),
            ServeEvent::Stop => self.on_stop(now, &mut effects),
            ServeEvent::Hangup => effects.push(ServeEffect::ReadConfig),
            ServeEvent::ConfigTried(Err(error)) => self.on_refused(error, &mut effects),
            ServeEvent::ConfigTried(Ok(candidate)) => match candidate.check_successor_of(&self.config) {
                Ok(()) => self.on_candidate(candidate, now, &mut effects),
                Err(error) => self.on_refused(error, &mut effects),
            },
            ServeEvent::Started(result) => self.on_started(result, now, &mut effects),
            ServeEvent::Timer => self.on_timer(now, &mut effects),
            event @ (ServeEvent::Runner(_)
            | ServeEvent::Node(_)
            | ServeEvent::NodePatched(..)
            | ServeEvent::Watched(..)) => match &mut self.state {
                State::Leading(leader) => effects.extend(leader.on(event, now)),
                State::Draining { leader, .. } => {
                    effects.extend(leader.drain(event, now));
                    if leader.has_answers() {
                        self.finish_draining(now, &mut effects);
                    }
                }
                State::Standby | State::Starting(_) | State::StartFailed { .. } | State::Ended => {}
            },
        }
        effects
    }

    /// When [`ServeEvent::Timer`] is due, unless another event comes before.
    pub fn next_timer(&self, now: Now) -> Instant {
        match &self.state {
            State::Leading(leader) => leader.next_timer(now),
            State::StartFailed { retry_at } => *retry_at,
            State::Draining { until, .. } => *until,
            State::Standby | State::Starting(_) | State::Ended => now.instant + MAX_WAIT,
        }
    }

    fn on_leads(&mut self, leads: bool, now: Now, effects: &mut Vec<ServeEffect>) {
        self.leads = leads;
        self.has_stood_by |= !leads;
        match (leads, &mut self.state) {
            (true, State::Standby) => {
                effects.push(ServeEffect::Notice(Notice::Elected));
                self.start(effects);
            }
            (false, State::Leading(_)) => self.drain(false, now, effects),
            (false, State::Standby | State::StartFailed { .. }) => self.stand_by(effects),
            (false, State::Starting(candidate)) => {
                let candidate = candidate.take();
                effects.push(ServeEffect::StopLeading);
                self.stand_by(effects);
                self.apply(candidate, effects);
            }
            (true, _) | (false, State::Draining { .. } | State::Ended) => {}
        }
    }

    fn on_stop(&mut self, now: Now, effects: &mut Vec<ServeEffect>) {
        match &mut self.state {
            State::Leading(_) => self.drain(true, now, effects),
            State::Draining { exits, .. } => *exits = true,
            State::Standby | State::Starting(_) | State::StartFailed { .. } => self.exit(Ok(()), effects),
            State::Ended => {}
        }
    }

    fn on_timer(&mut self, now: Now, effects: &mut Vec<ServeEffect>) {
        match &mut self.state {
            State::Leading(leader) => effects.extend(leader.on(ServeEvent::Timer, now)),
            State::StartFailed { retry_at } if *retry_at <= now.instant => self.start(effects),
            State::Draining { until, .. } if *until <= now.instant => self.finish_draining(now, effects),
            State::Draining { .. }
            | State::StartFailed { .. }
            | State::Standby
            | State::Starting(_)
            | State::Ended => {}
        }
    }

    fn on_started(
        &mut self,
        result: Result<Box<InitialState>, ClusterError>,
        now: Now,
        effects: &mut Vec<ServeEffect>,
    ) {
        let State::Starting(candidate) = &mut self.state else { return };
        let candidate = candidate.take();
        match result {
            Ok(initial) => {
                effects.push(ServeEffect::AcceptWatches);
                let (mut leader, begun) = LeaderLoop::start(self.config.clone(), *initial, now);
                effects.extend(begun);
                if let Some(candidate) = candidate {
                    effects.extend(leader.propose(candidate, now));
                }
                self.state = State::Leading(Box::new(leader));
            }
            // Who starts says that it does not work, and ends. Who has stood by goes on trying.
            Err(error) if !self.has_stood_by => self.exit(Err(error), effects),
            Err(error) => {
                effects.push(ServeEffect::Notice(Notice::StartFailed(error)));
                self.state = State::StartFailed { retry_at: now.instant + START_RETRY_DELAY };
                self.apply(candidate, effects);
            }
        }
    }

    /// The files hold something that cannot be used: what was on its way into force is older.
    fn on_refused(&mut self, error: ReloadError, effects: &mut Vec<ServeEffect>) {
        match &mut self.state {
            State::Leading(leader) | State::Draining { leader, .. } => leader.withdraw_candidate(),
            State::Starting(candidate) => *candidate = None,
            State::Standby | State::StartFailed { .. } | State::Ended => {}
        }
        effects.push(ServeEffect::Notice(Notice::ReloadFailed(error)));
    }

    fn on_candidate(&mut self, candidate: ActiveConfig, now: Now, effects: &mut Vec<ServeEffect>) {
        match &mut self.state {
            State::Leading(leader) => {
                effects.extend(leader.propose(candidate, now));
            }
            State::Draining { leader, .. } => {
                leader.withdraw_candidate();
                self.apply(Some(candidate), effects);
            }
            State::Starting(waiting) => *waiting = Some(candidate),
            State::Standby | State::StartFailed { .. } => self.apply(Some(candidate), effects),
            State::Ended => {}
        }
    }

    /// Puts a config in force where no run is active.
    fn apply(&mut self, candidate: Option<ActiveConfig>, effects: &mut Vec<ServeEffect>) {
        if let Some(candidate) = candidate {
            effects.push(ServeEffect::Notice(Notice::config_applied(&candidate)));
            self.config = candidate;
        }
    }

    fn start(&mut self, effects: &mut Vec<ServeEffect>) {
        self.state = State::Starting(None);
        let namespaces = self.config.namespaces().into_iter().collect();
        let instance = self.config.config().instance.clone();
        effects.push(ServeEffect::StartLeading { namespaces, instance });
    }

    fn stand_by(&mut self, effects: &mut Vec<ServeEffect>) {
        self.state = State::Standby;
        effects.push(ServeEffect::Notice(Notice::StandingBy));
    }

    fn drain(&mut self, exits: bool, now: Now, effects: &mut Vec<ServeEffect>) {
        let State::Leading(mut leader) = std::mem::replace(&mut self.state, State::Ended) else { return };
        self.config = leader.config().clone();
        leader.stop();
        let is_done = leader.has_answers();
        self.state = State::Draining { leader, until: now.instant + SHUTDOWN_GRACE, exits };
        if is_done {
            self.finish_draining(now, effects);
        }
    }

    fn finish_draining(&mut self, now: Now, effects: &mut Vec<ServeEffect>) {
        let State::Draining { leader, exits, .. } = std::mem::replace(&mut self.state, State::Ended) else {
            return;
        };
        let (candidate, handed_over) = leader.hand_over(now);
        effects.extend(handed_over.into_iter().map(ServeEffect::Notice));
        if exits {
            return self.exit(Ok(()), effects);
        }
        effects.extend([ServeEffect::StopLeading, ServeEffect::Notice(Notice::LeadershipLost)]);
        self.stand_by(effects);
        // It waited for a namespace; nothing runs by it before this process leads again.
        self.apply(candidate, effects);
        if self.leads {
            effects.push(ServeEffect::Notice(Notice::Elected));
            self.start(effects);
        }
    }

    fn exit(&mut self, result: Result<(), ClusterError>, effects: &mut Vec<ServeEffect>) {
        self.state = State::Ended;
        effects.push(ServeEffect::Exit(result));
    }
}

#[cfg(test)]
mod tests;
