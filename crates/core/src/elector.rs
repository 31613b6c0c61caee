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

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use crate::now::Now;

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
    /// Only where the Lease still has this `resourceVersion`. What is `None` is taken out, but for `strategy`
    /// and `preferred_holder`: those are not ours.
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
        }
    }

    /// When to call [`LeaderElector::on`] with a tick; `None` where only an answer is waited for.
    pub fn next_timer(&self) -> Option<Instant> {
        let attempt = match self.phase {
            Phase::Pausing { until } if !self.is_releasing => Some(until),
            Phase::Pausing { .. } | Phase::Calling { .. } => None,
        };
        [attempt, self.leads_until].into_iter().flatten().min()
    }

    /// What follows from `event`, in this order. The wall clock is only written into the Lease, for people.
    pub fn on(&mut self, event: Event, now: Now) -> Vec<Effect> {
        let (led_until, phase) = (self.leads_until, self.phase);
        self.leads_until = led_until.filter(|until| now.instant < *until);
        let request = match (event, phase) {
            (Event::Tick, Phase::Pausing { until }) if until <= now.instant && !self.is_releasing => {
                Some(self.attempt(now))
            }
            (Event::Answer(answer), Phase::Calling { call, sent }) => {
                self.phase = Phase::Pausing { until: sent + RETRY_PERIOD };
                self.on_answer(answer, call, sent, now)
            }
            (Event::Release, _) if !self.is_releasing => {
                self.is_releasing = true;
                self.leads_until = None;
                self.phase = Phase::Pausing { until: now.instant };
                if self.is_uncertain { Some(Request::Get) } else { self.release() }
            }
            (Event::Tick | Event::Answer(_) | Event::Release, _) => None,
        };
        let leadership = match self.leads_until {
            Some(until) => (led_until != Some(until)).then_some(Effect::LeadsUntil(until)),
            None => led_until.map(|_| Effect::Lost),
        };
        let is_ended = self.is_releasing && matches!(self.phase, Phase::Pausing { .. });
        let next = match request {
            Some(request) => Some(self.call(request, phase, now)),
            None => is_ended.then_some(Effect::Ended),
        };
        leadership.into_iter().chain(next).collect()
    }

    fn call(&mut self, request: Request, before: Phase, now: Now) -> Effect {
        let call = match &request {
            Request::Get => Call::Get,
            Request::Create(_) => Call::Create,
            Request::Replace { .. } => {
                self.is_uncertain = true;
                Call::Replace { is_after_get: matches!(before, Phase::Calling { call: Call::Get, .. }) }
            }
        };
        self.phase = Phase::Calling { call, sent: now.instant };
        Effect::Call(request)
    }

    /// A leader renews what it knows; everybody else looks first.
    fn attempt(&self, now: Now) -> Request {
        let is_known = self.leads_until.is_some() && !self.is_uncertain;
        let observed = self.observed.as_ref().filter(|_| is_known);
        observed.map_or(Request::Get, |observed| observed.replaced_by(self.record(&observed.spec, now)))
    }

    fn on_answer(&mut self, answer: Answer, call: Call, sent: Instant, now: Now) -> Option<Request> {
        let is_read = matches!(&answer, Answer::Lease(lease) if self.observe(lease, now));
        match (call, answer) {
            (Call::Get, Answer::Lease(_)) if is_read && self.is_releasing => self.release(),
            (Call::Get, Answer::Lease(_)) if is_read => self.renew_or_acquire(now),
            (Call::Get, Answer::Missing) => {
                self.observed = None;
                self.is_uncertain = false;
                self.leads_until = None;
                (!self.is_releasing).then(|| Request::Create(of_nobody()))
            }
            (Call::Replace { .. }, Answer::Lease(_)) if is_read && !self.is_releasing => {
                // Not where admission has made another's of it, nor where we were stopped for so long.
                let until = Some(sent + RENEW_DEADLINE).filter(|_| self.is_ours());
                self.leads_until = until.filter(|until| now.instant < *until);
                self.phase = Phase::Pausing { until: sent + RENEW_PERIOD };
                None
            }
            // Perhaps only an earlier request of ours was carried out, or somebody has set a label. Whoever
            // has just looked was beaten, and has a pause.
            (Call::Replace { is_after_get }, Answer::Conflict | Answer::Missing) => {
                (!is_after_get || self.is_releasing).then_some(Request::Get)
            }
            (Call::Get | Call::Create | Call::Replace { .. }, _) => None,
        }
    }

    /// The Lease was just read: whose is it?
    fn renew_or_acquire(&mut self, now: Now) -> Option<Request> {
        let is_ours = self.is_ours();
        self.leads_until = self.leads_until.filter(|_| is_ours);
        let observed = self.observed.as_ref()?;
        let is_free = holder(&observed.spec).is_none() || observed.is_expired(now.instant);
        (is_ours || is_free).then(|| observed.replaced_by(self.record(&observed.spec, now)))
    }

    fn release(&self) -> Option<Request> {
        let observed = self.observed.as_ref().filter(|_| self.is_ours())?;
        let lease_transitions = observed.spec.lease_transitions;
        Some(observed.replaced_by(LeaseSpec { lease_transitions, ..LeaseSpec::default() }))
    }

    /// Takes in the Lease as it was answered; false where nothing can be based on it.
    fn observe(&mut self, lease: &Lease, now: Now) -> bool {
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        // An empty version would be no condition at all.
        if version.is_empty() {
            return false;
        }
        let known = self.observed.as_ref().filter(|observed| observed.version == version);
        let since = known.map_or(now.instant, |observed| observed.since);
        self.observed = Some(Observed { version, spec: lease.spec.clone().unwrap_or_default(), since });
        self.is_uncertain = false;
        true
    }

    fn is_ours(&self) -> bool {
        self.observed.as_ref().and_then(|observed| holder(&observed.spec)) == Some(&self.identity)
    }

    /// What follows `spec` with us as the holder: another term where it was not ours.
    fn record(&self, spec: &LeaseSpec, now: Now) -> LeaseSpec {
        let time = Some(MicroTime(now.time));
        let (acquire_time, lease_transitions) = match holder(spec) == Some(&self.identity) {
            true => (spec.acquire_time.clone(), spec.lease_transitions),
            false => (time.clone(), Some(spec.lease_transitions.unwrap_or(0).saturating_add(1))),
        };
        let holder_identity = Some(self.identity.clone());
        LeaseSpec { holder_identity, renew_time: time, acquire_time, lease_transitions, ..base_spec() }
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
    LeaseSpec { holder_identity: Some(NOBODY.to_owned()), ..base_spec() }
}

/// What all have in common that we write.
fn base_spec() -> LeaseSpec {
    let lease_duration_seconds = i32::try_from(LEASE_DURATION.as_secs()).ok();
    LeaseSpec { lease_duration_seconds, ..LeaseSpec::default() }
}

#[cfg(test)]
mod tests;
