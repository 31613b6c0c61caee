//! A Job between the moment its slot was taken and the moment it is given back. Keeps its times and what
//! is known of it; the caller brings `now`.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{NODE_CHECK_LIMIT, POD_STATUS_GRACE, RETRY_TIMEOUT, SLOT_GRACE};
use crate::config::{ImageRef, PullPolicy};
use crate::now::Now;
use crate::outcome::{
    Adopted, CarrierMatcher, Decision, Ending, Evidence, Failure, ImageMatcher, JobOutcome, PodEvent,
    PodFacts, Rejection, names_of, references_of,
};
use crate::plan::PlannedJob;
use crate::render::Manifest;
use crate::runner::event::{FoundJob, NodeState};
use crate::watch_event::{JobKey, ObservedJob};

/// A pod is bound and pulling within seconds; the node of one that is not after this long is checked.
const CHECK_NODE_AFTER: Duration = Duration::from_secs(30);
/// How often the node of a Job whose pod gets nowhere is checked.
const CHECK_NODE_AGAIN: Duration = Duration::from_secs(60);

/// What others have put into a pod may end by itself when the pod's own containers have, within this.
const INJECTED_CONTAINERS_GRACE: Duration = Duration::from_secs(5);

/// How long the Job controller may take to take a Job up. At upstream's limit of 3.4 Jobs a second
/// (measured) that is the 2,000th of a run without a limit of its own.
const START_TIMEOUT: Duration = Duration::from_secs(600);
/// How long a queue may hold a Job before the run does: the longest that a run's deadline can be.
const LONGEST_RUN: Duration = Duration::from_secs(168 * 3600);

/// How long a Job with this deadline holds its slot from its start, with time for a last check of its node.
pub fn slot_time(deadline_seconds: u32) -> Duration {
    Duration::from_secs(deadline_seconds.into()) + SLOT_GRACE - NODE_CHECK_LIMIT
}

/// Evidence for a Job made of `manifest`, with nothing seen yet.
pub fn evidence_of(manifest: &Manifest) -> Evidence {
    let Manifest { job, image_containers, carrier_containers, carrier_image, own_containers, .. } = manifest;
    let images = job.group.images.iter().zip(image_containers).map(|(image, containers)| ImageMatcher {
        names: names_of(image),
        references: references_of(image),
        runs: containers.iter().all(|container| !carrier_containers.contains(container)),
        containers: containers.clone(),
    });
    let mut names = vec![carrier_image.clone()];
    names.extend(ImageRef::parse(carrier_image).iter().flat_map(references_of));
    let carrier = CarrierMatcher { names, containers: carrier_containers.clone() };
    Evidence::new(images.collect(), carrier).with_own_containers(own_containers.clone())
}

#[derive(Debug)]
pub struct TrackedJob {
    /// Of the Job that does the work.
    key: JobKey,
    /// Empty until the watch has shown the Job.
    uid: String,
    /// To the second; `None` until the watch has shown the Job.
    created_at: Option<Timestamp>,
    /// The last word on why the Job of this uid has no pod: events outlive a Job, and the next one of
    /// its name must not be judged by them.
    rejection: Option<(String, Rejection)>,
    evidence: Evidence,
    started_at: Timestamp,
    /// The last moment at which the slot is held; moved when the Job has been ended early.
    until: Instant,
    /// Since when the Job controller is known to count its deadline, by its own clock.
    controller_started_at: Option<Timestamp>,
    deadline_seconds: u32,
    /// Since when a queue has held the Job: it has no pod, and its deadline does not run.
    suspended: Option<Instant>,
    /// Somebody took our labels from the Job: it is followed by its pods, and not touched any more.
    disowned: bool,
    /// The Job is over; its pods' final status is waited for until this.
    over: Option<(Ending, Instant)>,
    /// The API server has the Job.
    exists: bool,
    create: Create,
    /// The create got no answer; the watch may still show the Job.
    unanswered: Option<Failure>,
    /// We have ended it; its end confirms what was decided then.
    ended: bool,
    /// Our patch that was to end it has failed: it is followed to its own end.
    cannot_end: bool,
    /// What an earlier process of the run has written on the failed Job.
    judged: Option<JobOutcome>,
    adopted: Option<Adopted>,
    read: Read,
    node_check: NodeCheck,
    /// Since when nothing is left of the Job's pod but what others have put into it.
    injected_since: Option<Instant>,
}

/// What is known of our POST of the Job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Create {
    /// It has no answer: it may be sent again.
    Pending,
    /// Nor has it now, and the Job was there and has gone since: the next try makes it anew.
    Missed,
    Answered,
}

/// Whether the API server was asked for the Job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    NotYet,
    /// It is being asked: the Job has left the watch.
    LeftWatch,
    /// It is being asked: no event told of the Job's end, or of the Job at all.
    NoEvents,
    Done,
}

/// Whether the Job's node is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NodeCheck {
    /// From this moment on, where the pod gets nowhere.
    From(Instant),
    /// The Job is over without a cause, and is judged once the answer is there.
    Final,
    Done,
}

/// What a timer calls for.
#[derive(Debug)]
pub enum Due {
    Complete(Ending),
    CheckNode,
    /// Something that was given time has not made use of it.
    Evaluate,
}

/// What is known of a Job calls for this.
#[derive(Debug)]
pub enum Evaluation {
    Nothing,
    /// It is over, as far as we can follow it.
    Complete(Ending),
    /// To be ended now. `injected`: only containers that others have put into its pod kept it from its end.
    End {
        injected: Option<String>,
    },
}

/// What the end of a Job needs before it can be judged.
#[derive(Debug)]
pub enum Completion {
    /// Something that was asked is not answered yet.
    Wait,
    ReadJob,
    CheckNode,
    Judge,
}

/// What an observed Job means for the one that is tracked.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    None,
    /// Another process of this run has ended it in favour of another.
    Yielded,
    /// It is live.
    Live,
}

impl TrackedJob {
    /// Of a Job that is about to be created.
    pub fn new(key: JobKey, evidence: Evidence, now: Now, deadline: Duration) -> TrackedJob {
        let until = now.instant + RETRY_TIMEOUT + deadline + SLOT_GRACE;
        TrackedJob {
            key,
            uid: String::new(),
            created_at: None,
            rejection: None,
            evidence,
            started_at: now.time,
            until,
            controller_started_at: None,
            deadline_seconds: 0,
            suspended: None,
            disowned: false,
            over: None,
            exists: false,
            create: Create::Pending,
            unanswered: None,
            ended: false,
            cannot_end: false,
            judged: None,
            adopted: None,
            read: Read::NotYet,
            node_check: NodeCheck::From(until),
            injected_since: None,
        }
    }

    /// Of one that is there, which this process has not made.
    pub fn adopted(job: &ObservedJob, evidence: Evidence, adopted: Option<Adopted>, now: Now) -> TrackedJob {
        let mut tracked = TrackedJob::new(job.key.clone(), evidence, now, Duration::ZERO);
        tracked.mark_created(now.instant, job.deadline_seconds);
        (tracked.adopted, tracked.create) = (adopted, Create::Answered);
        tracked
    }

    pub fn key(&self) -> &JobKey {
        &self.key
    }

    pub fn uid(&self) -> &str {
        &self.uid
    }

    pub fn created_at(&self) -> Option<Timestamp> {
        self.created_at
    }

    /// What tells of two live Jobs which was there first.
    pub fn age(&self) -> (Option<Timestamp>, &str) {
        (self.created_at, &self.uid)
    }

    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    pub fn suspended(&self) -> Option<Instant> {
        self.suspended
    }

    pub fn adopted_from(&self) -> Option<&Adopted> {
        self.adopted.as_ref()
    }

    pub fn is_disowned(&self) -> bool {
        self.disowned
    }

    pub fn is_live(&self) -> bool {
        self.exists && self.over.is_none()
    }

    /// Whether the Job can be ended in favour of another one: it is live, known, and ours to end.
    pub fn may_give_way(&self) -> bool {
        self.goes_on() && !self.cannot_end
    }

    /// Whether it is live, known, ours, and not about to end.
    pub fn goes_on(&self) -> bool {
        self.is_live() && !self.uid.is_empty() && !self.ended && !self.disowned
    }

    /// Whether the API server has a Job of ours to leave something on, once it has ended so.
    pub fn is_left_behind(&self, ending: &Ending) -> bool {
        self.exists && !self.disowned && *ending != Ending::JobDeleted
    }

    /// The API server has the Job. Its deadline runs from when the Job controller takes it up, which
    /// at upstream's limits may be minutes later in a large run.
    pub fn mark_created(&mut self, now: Instant, deadline_seconds: u32) {
        if !std::mem::replace(&mut self.exists, true) {
            self.deadline_seconds = deadline_seconds;
            self.until = now + slot_time(deadline_seconds) + START_TIMEOUT;
            self.node_check = NodeCheck::From(now + CHECK_NODE_AFTER);
        }
    }

    /// Our POST was answered. Whether the Job is to be asked for: it had gone before.
    pub fn mark_answered(&mut self) -> bool {
        std::mem::replace(&mut self.create, Create::Answered) == Create::Missed
    }

    /// The create may have been carried out: the watch has the last word, for as long as it may take to
    /// list again.
    pub fn mark_unanswered(&mut self, failure: Failure, now: Instant) {
        if !self.exists {
            self.until = now + SLOT_GRACE;
            self.unanswered = Some(failure);
        }
    }

    /// Our patch that ends the Job has been taken.
    pub fn confirm_end(&mut self, now: Instant) {
        if self.ended && self.over.is_none() {
            self.until = self.until.min(now + SLOT_GRACE);
        }
    }

    /// That patch has failed for good: the Job goes on, and holds its slot.
    pub fn undo_end(&mut self) {
        (self.ended, self.cannot_end) = (false, true);
    }

    /// We end it. False: that was done before, or cannot be done.
    pub fn mark_ended(&mut self) -> bool {
        !self.cannot_end && !std::mem::replace(&mut self.ended, true)
    }

    fn mark_over(&mut self, ending: Ending, now: Instant) {
        // The first end counts: a Job that is over may be deleted by its TTL.
        self.over.get_or_insert((ending, now + POD_STATUS_GRACE));
    }

    /// Takes in the Job as it is now. `references` of its images, in the group's order.
    pub fn observe_job(
        &mut self,
        job: &ObservedJob,
        references: impl Iterator<Item = String>,
        now: Instant,
    ) -> Change {
        self.mark_created(now, job.deadline_seconds);
        self.uid.clone_from(&job.uid);
        self.created_at = job.created_at;
        self.apply_rejection();
        if job.is_live() {
            self.observe_suspension(job.suspended, now);
        }
        let starts = job.facts.started_at.filter(|at| self.controller_started_at != Some(*at));
        if starts.is_some() {
            self.controller_started_at = starts;
            self.withdraw_question();
            if !self.ended {
                // At the latest now.
                self.until = now + slot_time(self.deadline_seconds);
            }
        }
        if !self.ended && (job.has_given_way() || job.is_spent()) {
            return Change::Yielded;
        }
        if job.is_spent() {
            // Ended by us while a queue holds it: nothing comes after that.
            self.mark_over(Ending::RunOver, now);
        }
        let Some(ending) = job.facts.ending() else { return Change::Live };
        // Judged by an earlier process of this run, while the pod could still be asked.
        if !self.ended && matches!(ending, Ending::Failed { .. }) {
            let annotation = job.annotation.as_ref();
            self.judged = annotation.and_then(|text| crate::outcome::read_annotation(text, references));
        }
        self.mark_over(ending, now);
        Change::None
    }

    /// What the watch shows bears our labels.
    pub fn mark_labelled(&mut self, key: &JobKey) {
        self.disowned &= self.key != *key;
    }

    pub fn observe_pod(&mut self, pod: &PodFacts) {
        self.evidence.observe_pod(pod);
    }

    pub fn observe_pod_gone(&mut self, uid: &str) {
        self.evidence.observe_pod_gone(uid);
    }

    pub fn observe_pod_event(&mut self, pod: &str, event: &PodEvent) {
        self.evidence.observe_pod_event(pod, event);
    }

    pub fn observe_rejection(&mut self, uid: String, rejection: Rejection) {
        self.rejection = Some((uid, rejection));
        self.apply_rejection();
    }

    fn apply_rejection(&mut self) {
        if let Some((_, rejection)) = self.rejection.take_if(|(uid, _)| *uid == self.uid) {
            self.evidence.observe_rejection(rejection);
        }
    }

    /// Takes in whether a queue holds the Job. While it does, no time of the Job's runs; once it does not,
    /// the Job stands as it did when it was created.
    fn observe_suspension(&mut self, suspended: bool, now: Instant) {
        self.evidence.observe_suspension(suspended);
        if suspended == self.suspended.is_some() {
            return;
        }
        self.suspended = suspended.then_some(now);
        if self.ended {
            return;
        }
        self.withdraw_question();
        self.controller_started_at = None;
        let (until, check) = match suspended {
            true => (LONGEST_RUN, LONGEST_RUN),
            false => (slot_time(self.deadline_seconds) + START_TIMEOUT, CHECK_NODE_AFTER),
        };
        (self.until, self.node_check) = (now + until, NodeCheck::From(now + check));
    }

    /// What is known of the Job by now calls for what.
    pub fn evaluate(&mut self, now: Instant) -> Evaluation {
        if self.node_check == NodeCheck::Final {
            return Evaluation::Nothing;
        }
        if let Some((ending, _)) = &self.over {
            return match self.judged.is_some() || self.evidence.final_status_seen() {
                true => Evaluation::Complete(ending.clone()),
                false => Evaluation::Nothing,
            };
        }
        match self.evidence.injected_containers() {
            [] => self.injected_since = None,
            _ => drop(self.injected_since.get_or_insert(now)),
        }
        let outstayed = self.injected_until().is_some_and(|until| until <= now);
        let ends_early = outstayed || self.evidence.decide() == Decision::EndEarly;
        if self.disowned {
            // No event will tell how it ends, nor may it be ended.
            return match ends_early || self.evidence.all_present() {
                true => Evaluation::Complete(Ending::EndedEarly),
                false => Evaluation::Nothing,
            };
        }
        match self.exists && ends_early && self.mark_ended() {
            true => {
                let injected = outstayed.then(|| self.evidence.injected_containers().join(", "));
                Evaluation::End { injected }
            }
            false => Evaluation::Nothing,
        }
    }

    fn injected_until(&self) -> Option<Instant> {
        self.injected_since
            .filter(|_| !self.ended && !self.cannot_end)
            .map(|since| since + INJECTED_CONTAINERS_GRACE)
    }

    /// The Job has ended so: what is to be asked before it is judged.
    pub fn complete(&mut self, ending: &Ending, now: Instant) -> Completion {
        // No event told of the Job's end, or of the Job at all: after an outage the reason may be that
        // none could. Asked once, for as long as the outage may last.
        let unobserved = match ending {
            Ending::GaveUp => true,
            Ending::NotCreated(_) => self.unanswered.is_some() && !self.exists,
            _ => false,
        };
        match self.read {
            Read::NotYet if unobserved => return Completion::ReadJob,
            // It has left the watch, and that answer will do.
            Read::LeftWatch if unobserved => {
                (self.read, self.until) = (Read::NoEvents, now + RETRY_TIMEOUT + NODE_CHECK_LIMIT);
                return Completion::Wait;
            }
            _ => {}
        }
        if self.needs_final_node_check(ending) {
            self.node_check = NodeCheck::Final;
            self.until = now + NODE_CHECK_LIMIT;
            self.over = Some((ending.clone(), self.until));
            return Completion::CheckNode;
        }
        Completion::Judge
    }

    /// A deadline without a cause may be the node's fault, which is checked once.
    fn needs_final_node_check(&self, ending: &Ending) -> bool {
        let timed_out = match ending {
            Ending::GaveUp | Ending::JobDeleted => true,
            Ending::Failed { reason, .. } => reason == "DeadlineExceeded",
            _ => false,
        };
        timed_out
            && self.exists
            && !self.ended
            && self.judged.is_none()
            && matches!(self.node_check, NodeCheck::From(_))
            && self.evidence.unexplained()
            && !self.evidence.all_present()
    }

    /// What became of it, where it has ended so, and whether that is written on it already.
    pub fn judge(&self, ending: &Ending) -> (JobOutcome, bool) {
        let is_known = self.ended || self.judged.is_some();
        (self.judged.clone().unwrap_or_else(|| self.evidence.outcome(ending)), is_known)
    }

    /// What becomes of it where nobody follows it any longer.
    pub fn abandon(&self, run_is_over: bool) -> JobOutcome {
        let ending = match (&self.over, self.exists) {
            (Some((ending, _)), _) => ending.clone(),
            (None, true) if run_is_over => Ending::RunOver,
            (None, true) => Ending::Interrupted,
            (None, false) => Ending::NotStarted,
        };
        self.judge(&ending).0
    }

    /// The API server is asked for the Job. False: it has left the watch, and that is dealt with already.
    pub fn begin_read(&mut self, read: Read, now: Instant) -> bool {
        if read == Read::LeftWatch && (self.over.is_some() || self.read == Read::LeftWatch) {
            return false;
        }
        self.read = read;
        if read == Read::NoEvents {
            // An answer comes by then, or an error.
            self.until = now + RETRY_TIMEOUT + NODE_CHECK_LIMIT;
        }
        true
    }

    /// The answer to that; gives the Job where it was found. What of it was not known may give it time again. `does_the_same`: what was found
    /// is what ours was made for.
    pub fn end_read(
        &mut self,
        found: Result<Option<FoundJob>, ()>,
        does_the_same: bool,
        now: Instant,
    ) -> Option<Box<ObservedJob>> {
        if matches!(self.read, Read::NotYet | Read::Done) {
            // The watch has told, or another answer has.
            return None;
        }
        let asked = std::mem::replace(&mut self.read, Read::Done);
        match found {
            _ if self.over.is_some() => None,
            // Another one of its name is not the one that was followed, unless it was made in its place: by our
            // own POST, sent again, or by another process of the run.
            Ok(Some(found)) if self.uid.is_empty() || self.uid == found.job.uid || does_the_same => {
                if !self.uid.is_empty() && self.uid != found.job.uid {
                    self.exists = false;
                }
                self.read = Read::NotYet;
                if asked == Read::NoEvents {
                    self.until = now;
                }
                self.disowned = !found.is_ours;
                Some(found.job)
            }
            _ if !self.exists => {
                self.until = now;
                None
            }
            Err(()) if asked == Read::NoEvents => {
                self.until = now;
                None
            }
            Ok(_) | Err(()) if self.create != Create::Answered => {
                (self.create, self.exists, self.read) = (Create::Missed, false, Read::NotYet);
                self.uid.clear();
                self.until = now + RETRY_TIMEOUT + SLOT_GRACE;
                None
            }
            // No watch has shown this one yet, so none has lost it.
            Err(()) if self.uid.is_empty() => {
                self.read = Read::NotYet;
                None
            }
            Ok(_) | Err(()) => {
                self.mark_over(Ending::JobDeleted, now);
                None
            }
        }
    }

    /// The watch has told, after all, what gives the Job time again: the answer to whether there is anything to
    /// wait for is of no use any more.
    fn withdraw_question(&mut self) {
        if self.read == Read::NoEvents {
            self.read = Read::NotYet;
        }
    }

    /// Nobody asks for it once more.
    pub fn stop_reading(&mut self) {
        self.read = Read::Done;
    }

    /// The time of a check of the node has come: whether there is anything to check.
    pub fn take_node_check(&mut self, now: Instant) -> bool {
        self.node_check = NodeCheck::From(now + CHECK_NODE_AGAIN);
        self.exists && self.suspended.is_none() && self.evidence.no_active_pod()
    }

    /// The node's answer, if there was one. Gives the Job's end where it waited for just this.
    pub fn observe_node(&mut self, state: Option<NodeState>, job: Option<&PlannedJob>) -> Option<Ending> {
        let is_final = self.node_check == NodeCheck::Final;
        if let Some(NodeState { failure, images }) = state {
            if let Some(job) = job.filter(|_| is_final && failure.is_none()) {
                let listed: Vec<bool> =
                    job.group.images.iter().map(|image| lists(job, &images, image)).collect();
                self.evidence.observe_node_images(&listed);
            }
            self.evidence.observe_node(failure);
        }
        let (ending, _) = self.over.as_ref().filter(|_| is_final)?;
        self.node_check = NodeCheck::Done;
        Some(ending.clone())
    }

    pub fn timer(&self) -> Instant {
        if let Some((_, final_status_by)) = &self.over {
            return (*final_status_by).min(self.until);
        }
        let check = match self.node_check {
            NodeCheck::From(at) => Some(at),
            NodeCheck::Final | NodeCheck::Done => None,
        };
        [check, self.injected_until()].into_iter().flatten().fold(self.until, Instant::min)
    }

    pub fn due(&self, now: Instant) -> Option<Due> {
        if self.timer() > now {
            return None;
        }
        Some(match &self.over {
            Some((ending, _)) => Due::Complete(ending.clone()),
            None if self.until <= now => Due::Complete(match (self.exists, &self.unanswered) {
                (false, Some(failure)) => Ending::NotCreated(failure.clone()),
                _ => Ending::GaveUp,
            }),
            None if self.injected_until().is_some_and(|until| until <= now) => Due::Evaluate,
            None => Due::CheckNode,
        })
    }
}

/// Whether a node with `images` has what `job` was to bring: a tag that is always to be asked for anew
/// may be there as it was before.
fn lists(job: &PlannedJob, images: &[String], image: &ImageRef) -> bool {
    let may_be_old = job.group.pull_policy == PullPolicy::Always && image.digest.is_empty();
    !may_be_old && images.iter().any(|name| image.is_called(name))
}

#[cfg(test)]
mod tests;
