//! Decides when this process leads: it acquires or renews a Lease, as client-go's `leaderelection` does.
//!
//! A state machine without I/O: what has happened and the time go in, effects come out. It never looks at a
//! clock, and never compares what another machine's clock has written into the Lease.
//!
//! Two electors never lead at once, because
//! * one leads only by an answered request of its own, for [`RENEW_DEADLINE`] from when that was sent;
//! * another's Lease is taken when its `resourceVersion` has not changed for its duration, which is longer,
//!   from when the answer was there that has shown it;
//! * each replacement names the version that it is based on, so one that is carried out late changes nothing;
//! * a Lease that is gone may have been deleted under its holder: it is made anew as nobody's, and waited for.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// How long others wait for a change of the Lease before they take it. This, the deadline and the period
/// are the numbers of Kubernetes' own components (`--leader-elect-lease-duration` and so on).
pub const LEASE_DURATION: Duration = Duration::from_secs(15);
/// A leader whose last answered renewal was sent this long ago leads no longer.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Between two attempts to acquire, or to renew after one that failed. Not stretched at random as in
/// client-go: of two that come at the same time the API server refuses one, and replicas are few.
pub const RETRY_PERIOD: Duration = Duration::from_secs(2);
/// Between two renewals. client-go renews every [`RETRY_PERIOD`]; half the deadline costs less than half of
/// that, and leaves time for two more attempts.
pub const RENEW_PERIOD: Duration = Duration::from_secs(5);
/// The longest that a request may go unanswered; then the answer is [`Answer::Failed`].
pub const CALL_TIMEOUT: Duration = RETRY_PERIOD;

/// Holds a Lease that was deleted, until whoever held it has given up.
const NOBODY: &str = "nobody: the lease was deleted";

/// A moment, by both clocks of this process.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Decides.
    pub monotonic: Instant,
    /// Is written into the Lease, for people. It may be wrong and jump.
    pub wall_clock: Timestamp,
}

/// What has happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The time of [`LeaderElector::next_timer`] has come.
    Tick,
    /// To the latest request. Those to earlier ones are not passed on.
    Answer(Answer),
    /// Leads no longer, and gives the Lease up where it is ours.
    Release,
}

/// What the API server has said.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The Lease as it is now.
    Lease(Box<Lease>),
    /// 404
    Missing,
    /// 409: it has another version, or is there already.
    Conflict,
    /// Another error, or no answer: the request may have been carried out all the same.
    Failed,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// To be sent at once. An earlier one that is still unanswered is dropped.
    Call(Request),
    /// Leads from now on until then.
    LeadsUntil(Instant),
    /// Leads no longer.
    Lost,
    /// Nothing more will be asked: after [`Event::Release`].
    Ended,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    Get,
    Create(LeaseSpec),
    /// Only where the Lease still has this `resourceVersion`.
    Replace {
        version: String,
        spec: LeaseSpec,
    },
}

/// One candidate for one Lease.
#[derive(Debug)]
pub struct LeaderElector {
    /// As `holderIdentity`. No other process ever has the same.
    identity: String,
    /// The Lease as it was answered last.
    observed: Option<Observed>,
    /// A replacement was sent, and no answer has shown what became of it.
    is_uncertain: bool,
    leads_until: Option<Instant>,
    is_releasing: bool,
    phase: Phase,
    /// Of the event at hand.
    effects: Vec<Effect>,
}

#[derive(Debug)]
struct Observed {
    version: String,
    spec: LeaseSpec,
    /// When this version was first seen, by our own clock.
    since: Instant,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Pausing { until: Instant },
    Calling { call: Call, sent: Instant },
    Ended,
}

#[derive(Clone, Copy, Debug)]
enum Call {
    Get,
    Create,
    /// With the version that a Get has just shown, or else the last renewal.
    Replace {
        is_after_get: bool,
    },
}

impl LeaderElector {
    /// `identity` is unique to this process, also among those of the same pod or host name.
    pub fn new(identity: String, now: Instant) -> LeaderElector {
        LeaderElector {
            identity,
            observed: None,
            is_uncertain: false,
            leads_until: None,
            is_releasing: false,
            phase: Phase::Pausing { until: now },
            effects: Vec::new(),
        }
    }

    /// When to call [`LeaderElector::on`] with a tick; `None` where only an answer is waited for.
    pub fn next_timer(&self) -> Option<Instant> {
        let attempt = match self.phase {
            Phase::Pausing { until } => Some(until),
            Phase::Calling { .. } | Phase::Ended => None,
        };
        [attempt, self.leads_until].into_iter().flatten().min()
    }

    /// What follows from `event`, in this order.
    pub fn on(&mut self, event: Event, now: Now) -> Vec<Effect> {
        if self.leads_until.is_some_and(|until| until <= now.monotonic) {
            self.lose();
        }
        match (event, self.phase) {
            (Event::Tick, Phase::Pausing { until }) if until <= now.monotonic => self.attempt(now),
            (Event::Answer(answer), Phase::Calling { call, sent }) => {
                self.phase = Phase::Pausing { until: sent + RETRY_PERIOD };
                self.on_answer(answer, call, sent, now);
            }
            (Event::Release, _) if !self.is_releasing => {
                self.is_releasing = true;
                self.lose();
                match self.is_uncertain {
                    true => self.call(Call::Get, Request::Get, now),
                    false => self.release(now),
                }
            }
            (Event::Tick | Event::Answer(_) | Event::Release, _) => {}
        }
        std::mem::take(&mut self.effects)
    }

    /// A leader renews what it knows; everybody else looks first.
    fn attempt(&mut self, now: Now) {
        let known = self.leads_until.is_some() && !self.is_uncertain;
        match self.observed.as_ref().filter(|_| known) {
            Some(observed) => {
                let request = observed.replaced_by(self.record(&observed.spec, now));
                self.call(Call::Replace { is_after_get: false }, request, now);
            }
            None => self.call(Call::Get, Request::Get, now),
        }
    }

    fn on_answer(&mut self, answer: Answer, call: Call, sent: Instant, now: Now) {
        if let Answer::Lease(lease) = &answer
            && !self.observe(lease, now)
        {
            return self.end_if_releasing();
        }
        match (call, answer) {
            (Call::Get, Answer::Lease(_)) if self.is_releasing => self.release(now),
            (Call::Get, Answer::Lease(_)) => self.renew_or_acquire(now),
            (Call::Get, Answer::Missing) => {
                self.observed = None;
                self.is_uncertain = false;
                self.lose();
                match self.is_releasing {
                    true => self.end_if_releasing(),
                    false => self.call(Call::Create, Request::Create(of_nobody()), now),
                }
            }
            (Call::Replace { .. }, Answer::Lease(_)) if self.is_releasing => self.end_if_releasing(),
            (Call::Replace { .. }, Answer::Lease(_)) if self.is_ours() => {
                self.phase = Phase::Pausing { until: sent + RENEW_PERIOD };
                // Passed already where this process was stopped in between.
                let until = sent + RENEW_DEADLINE;
                if until > now.monotonic {
                    self.leads_until = Some(until);
                    self.effects.push(Effect::LeadsUntil(until));
                }
            }
            // What admission has made of it is not ours.
            (Call::Replace { .. }, Answer::Lease(_)) => self.lose(),
            // Perhaps only an earlier request of ours was carried out, or somebody has set a label. Whoever
            // has just looked was beaten, and has a pause.
            (Call::Replace { is_after_get }, Answer::Conflict | Answer::Missing)
                if !is_after_get || self.is_releasing =>
            {
                self.call(Call::Get, Request::Get, now);
            }
            (Call::Get | Call::Create | Call::Replace { .. }, _) => self.end_if_releasing(),
        }
    }

    /// The Lease was just read: whose is it?
    fn renew_or_acquire(&mut self, now: Now) {
        let Some(observed) = &self.observed else { return };
        let is_ours = self.is_ours();
        let is_free = holder(&observed.spec).is_none() || observed.is_expired(now.monotonic);
        let request = observed.replaced_by(self.record(&observed.spec, now));
        if !is_ours {
            self.lose();
        }
        if is_ours || is_free {
            self.call(Call::Replace { is_after_get: true }, request, now);
        }
    }

    fn release(&mut self, now: Now) {
        match self.observed.as_ref().filter(|_| self.is_ours()) {
            Some(observed) => {
                let request = observed.replaced_by(released(&observed.spec));
                self.call(Call::Replace { is_after_get: true }, request, now);
            }
            None => self.end_if_releasing(),
        }
    }

    /// Whoever releases has nothing more to do; everybody else tries again after a pause.
    fn end_if_releasing(&mut self) {
        if self.is_releasing {
            self.phase = Phase::Ended;
            self.effects.push(Effect::Ended);
        }
    }

    fn call(&mut self, call: Call, request: Request, now: Now) {
        self.is_uncertain |= matches!(call, Call::Replace { .. });
        self.phase = Phase::Calling { call, sent: now.monotonic };
        self.effects.push(Effect::Call(request));
    }

    fn lose(&mut self) {
        if self.leads_until.take().is_some() {
            self.effects.push(Effect::Lost);
        }
    }

    /// Takes in the Lease as it was answered; false where nothing can be based on it.
    fn observe(&mut self, lease: &Lease, now: Now) -> bool {
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        // An empty version would be no condition at all.
        if version.is_empty() {
            return false;
        }
        let since = match &self.observed {
            Some(observed) if observed.version == version => observed.since,
            _ => now.monotonic,
        };
        self.observed = Some(Observed { version, spec: lease.spec.clone().unwrap_or_default(), since });
        self.is_uncertain = false;
        true
    }

    fn is_ours(&self) -> bool {
        self.observed.as_ref().and_then(|observed| holder(&observed.spec)) == Some(&self.identity)
    }

    /// `spec` with us as its holder.
    fn record(&self, spec: &LeaseSpec, now: Now) -> LeaseSpec {
        let time = Some(MicroTime(now.wall_clock));
        let mut record = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            renew_time: time.clone(),
            ..spec.clone()
        };
        if holder(spec) != Some(&self.identity) {
            record.acquire_time = time;
            record.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
        }
        record
    }
}

impl Observed {
    /// It has not changed for as long as its holder has asked others to wait.
    fn is_expired(&self, now: Instant) -> bool {
        let seconds = self.spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        now.saturating_duration_since(self.since) >= seconds.map_or(LEASE_DURATION, Duration::from_secs)
    }

    fn replaced_by(&self, spec: LeaseSpec) -> Request {
        Request::Replace { version: self.version.clone(), spec }
    }
}

/// "" is nobody too: client-go writes that when it releases.
fn holder(spec: &LeaseSpec) -> Option<&str> {
    spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

fn of_nobody() -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(NOBODY.to_owned()),
        lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
        ..LeaseSpec::default()
    }
}

fn released(spec: &LeaseSpec) -> LeaseSpec {
    LeaseSpec {
        holder_identity: None,
        acquire_time: None,
        renew_time: None,
        lease_duration_seconds: None,
        ..spec.clone()
    }
}

#[cfg(test)]
mod tests;
