//! A Job between the moment its slot was taken and the moment it is given back. Keeps its times;
//! the caller brings `now`.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::super::retry::PATIENCE;
use super::super::watch::{JobKey, SeenJob};
use super::{LAST_WORDS, LOOK_LIMIT, SLOT_GRACE};
use crate::outcome::{Adopted, Ending, Evidence, Failure, JobOutcome, Rejection};

/// A pod is bound and pulling within seconds; one that is not after this long wants looking after.
const LOST_AFTER: Duration = Duration::from_secs(30);
/// How often a Job whose pod gets nowhere is looked after.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// What others have put into a pod may end by itself when the pod's own containers have, within this.
const STRANGERS_GRACE: Duration = Duration::from_secs(5);

/// How long the Job controller may take to take a Job up. At upstream's limit of 3.4 Jobs a second
/// (measured) that is the 2,000th of a run without a limit of its own.
const START_PATIENCE: Duration = Duration::from_secs(600);
/// How long a queue may hold a Job before the run does: the longest that a run's deadline can be.
const LONGEST_RUN: Duration = Duration::from_secs(168 * 3600);

/// How long a Job with this deadline holds its slot from its start, with time for a last look.
pub fn own_time(deadline_seconds: u32) -> Duration {
    Duration::from_secs(deadline_seconds.into()) + SLOT_GRACE - LOOK_LIMIT
}

pub struct Flight {
    /// Of the Job that does the work.
    pub key: JobKey,
    /// Empty until the watch has shown the Job.
    pub uid: String,
    /// To the second; `None` until the watch has shown the Job.
    pub created_at: Option<Timestamp>,
    /// The last word on why the Job of this uid has no pod: events outlive a Job, and the next one of
    /// its name must not be judged by them.
    rejection: Option<(String, Rejection)>,
    pub evidence: Evidence,
    pub started_at: Timestamp,
    /// The last moment at which the slot is held; moved when the Job has been ended early.
    pub until: Instant,
    /// Its deadline, as far as the Job controller is known to count it.
    started: bool,
    pub deadline_seconds: u32,
    /// Since when a queue has held the Job: it has no pod, and its deadline does not run.
    pub suspended: Option<Instant>,
    /// Somebody took our labels from the Job: it is followed by its pods, and not touched any more.
    pub disowned: bool,
    /// The Job is over; its pods' last words are waited for until this.
    pub over: Option<(Ending, Instant)>,
    /// The API server has the Job.
    pub posted: bool,
    /// The create got no answer; the watch may still show the Job.
    pub unanswered: Option<Failure>,
    /// We have ended it; its end confirms what was decided then.
    pub ended: bool,
    /// What an earlier process of the run has written on the failed Job.
    pub judged: Option<JobOutcome>,
    pub adopted: Option<Adopted>,
    pub search: Search,
    pub look: Look,
    /// Since when nothing is left of the Job's pod but what others have put into it.
    strangers_since: Option<Instant>,
}

/// Whether the API server was asked for the Job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    NotYet,
    /// It is being asked: the Job has left the watch.
    LeftWatch,
    /// It is being asked: nothing was heard of the Job's end, or of the Job at all.
    Unheard,
    Done,
}

/// Whether somebody looks after the Job's node.
pub enum Look {
    /// From this moment on, where the pod gets nowhere.
    From(Instant),
    /// The Job is over without a cause, and is judged once the answer is there.
    Last,
    Done,
}

/// What a timer calls for.
pub enum Due {
    End(Ending),
    Look,
    /// Something that was given time has not made use of it.
    Decide,
}

impl Flight {
    /// Of a Job that is about to be created.
    pub fn new(key: JobKey, evidence: Evidence, started_at: Timestamp, until: Instant) -> Flight {
        Flight {
            key,
            uid: String::new(),
            created_at: None,
            rejection: None,
            evidence,
            started_at,
            until,
            started: false,
            deadline_seconds: 0,
            suspended: None,
            disowned: false,
            over: None,
            posted: false,
            unanswered: None,
            ended: false,
            judged: None,
            adopted: None,
            search: Search::NotYet,
            look: Look::From(until),
            strangers_since: None,
        }
    }

    /// The API server has the Job. Its deadline runs from when the Job controller takes it up, which
    /// at upstream's limits may be minutes later in a large run.
    pub fn created(&mut self, now: Instant, deadline_seconds: u32) {
        if !std::mem::replace(&mut self.posted, true) {
            self.deadline_seconds = deadline_seconds;
            self.until = now + own_time(deadline_seconds) + START_PATIENCE;
            self.look = Look::From(now + LOST_AFTER);
        }
    }

    /// Takes in whether a queue holds the Job. While it does, no time of the Job's runs; once it does not,
    /// the Job stands as it did when it was created.
    pub fn observe_suspension(&mut self, suspended: bool, now: Instant) {
        self.evidence.observe_suspension(suspended);
        if suspended == self.suspended.is_some() {
            return;
        }
        self.suspended = suspended.then_some(now);
        if self.ended {
            return;
        }
        self.started = false;
        let (until, look) = match suspended {
            true => (LONGEST_RUN, LONGEST_RUN),
            false => (own_time(self.deadline_seconds) + START_PATIENCE, LOST_AFTER),
        };
        (self.until, self.look) = (now + until, Look::From(now + look));
    }

    /// Keeps the time of containers that others have put into the pod. True once nothing but they keeps the Job
    /// from its end and their time is over.
    pub fn watch_strangers(&mut self, now: Instant) -> bool {
        match self.evidence.strangers() {
            [] => self.strangers_since = None,
            _ => drop(self.strangers_since.get_or_insert(now)),
        }
        self.strangers_until().is_some_and(|until| until <= now)
    }

    fn strangers_until(&self) -> Option<Instant> {
        self.strangers_since.filter(|_| !self.ended).map(|since| since + STRANGERS_GRACE)
    }

    /// The Job controller has taken the Job up, at the latest now.
    pub fn mark_started(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.started, true) && !self.ended {
            self.until = now + own_time(self.deadline_seconds);
        }
    }

    /// Our patch that ends the Job has been taken.
    pub fn mark_ended(&mut self, now: Instant) {
        if self.ended && self.over.is_none() {
            self.until = self.until.min(now + SLOT_GRACE);
        }
    }

    pub fn identify_as(&mut self, job: &SeenJob) {
        self.uid.clone_from(&job.uid);
        self.created_at = job.created_at;
        self.weigh_rejection();
    }

    pub fn on_rejection(&mut self, uid: String, rejection: Rejection) {
        self.rejection = Some((uid, rejection));
        self.weigh_rejection();
    }

    fn weigh_rejection(&mut self) {
        if let Some((_, rejection)) = self.rejection.take_if(|(uid, _)| *uid == self.uid) {
            self.evidence.observe_rejection(rejection);
        }
    }

    pub fn mark_over(&mut self, ending: Ending, now: Instant) {
        // The first end counts: a Job that is over may be deleted by its TTL.
        self.over.get_or_insert((ending, now + LAST_WORDS));
    }

    /// Nothing was heard of the Job's end, or of the Job at all: after an outage the reason may be that
    /// nobody could tell. Asked once, for as long as the outage may last.
    pub fn wants_search(&self, ending: &Ending) -> bool {
        let unheard = match ending {
            Ending::GaveUp => true,
            Ending::NotCreated(_) => self.unanswered.is_some() && !self.posted,
            _ => false,
        };
        unheard && self.search == Search::NotYet
    }

    pub fn begin_search(&mut self, search: Search, now: Instant) {
        self.search = search;
        if search == Search::Unheard {
            // An answer comes by then, or an error.
            self.until = now + PATIENCE + LOOK_LIMIT;
        }
    }

    /// The search found the Job. What of it that was not known may give it time again.
    pub fn end_search(&mut self, now: Instant) {
        if let Search::Unheard = std::mem::replace(&mut self.search, Search::NotYet) {
            self.until = now;
        }
    }

    /// The Job is over, and judged once somebody has looked after its node.
    pub fn wait_for_last_look(&mut self, ending: Ending, now: Instant) {
        self.look = Look::Last;
        self.until = now + LOOK_LIMIT;
        self.over = Some((ending, self.until));
    }

    pub fn is_live(&self) -> bool {
        self.posted && self.over.is_none()
    }

    /// Whether the Job can be ended in favour of another one: it is live, known, and ours to end.
    pub fn may_give_way(&self) -> bool {
        self.is_live() && !self.uid.is_empty() && !self.ended && !self.disowned
    }

    pub fn timer(&self) -> Instant {
        let end = match &self.over {
            Some((_, last_words)) => (*last_words).min(self.until),
            None => self.until,
        };
        if self.over.is_some() {
            return end;
        }
        let look = match self.look {
            Look::From(look) => Some(look),
            Look::Last | Look::Done => None,
        };
        [look, self.strangers_until()].into_iter().flatten().fold(end, Instant::min)
    }

    pub fn due(&self, now: Instant) -> Option<Due> {
        if self.timer() > now {
            return None;
        }
        match &self.over {
            Some((ending, _)) => Some(Due::End(ending.clone())),
            None if self.until <= now => Some(Due::End(match (self.posted, &self.unanswered) {
                (false, Some(failure)) => Ending::NotCreated(failure.clone()),
                _ => Ending::GaveUp,
            })),
            None if self.strangers_until().is_some_and(|until| until <= now) => Some(Due::Decide),
            None => Some(Due::Look),
        }
    }

    pub fn looked_at(&mut self, now: Instant) {
        self.look = Look::From(now + LOOK_AGAIN);
    }

    /// A deadline without a cause may be the node's fault, and it is asked about once.
    pub fn wants_last_look(&self, ending: &Ending) -> bool {
        let timed_out = match ending {
            Ending::GaveUp | Ending::JobDeleted => true,
            Ending::Failed { reason, .. } => reason == "DeadlineExceeded",
            _ => false,
        };
        timed_out
            && self.posted
            && !self.ended
            && self.judged.is_none()
            && matches!(self.look, Look::From(_))
            && self.evidence.lacks_cause()
            && !self.evidence.all_proven()
    }
}
