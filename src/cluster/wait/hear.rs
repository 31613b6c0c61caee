//! What the watches notice, brought to the Job that it is about.

use tokio::time::Instant;

use super::super::ClusterError;
use super::super::watch::{Seen, SeenJob};
use super::flight::Look;
use super::{EARLY_PULLS_MAX, Runner, witness};
use crate::outcome::{Decision, Ending, PodEvent, read_annotation};
use crate::plan::JobIndex;

impl Runner<'_> {
    /// Takes in what a watch noticed; an error is one that waiting does not mend.
    pub(super) fn notice(&mut self, seen: Seen) -> Option<ClusterError> {
        match &seen {
            Seen::Denied(error) => return Some(error.clone()),
            Seen::Trouble(error) => {
                if !std::mem::replace(&mut self.troubled, true) {
                    tracing::warn!("the watch of Jobs and pods broke, trying again: {error}");
                }
                return None;
            }
            _ if std::mem::replace(&mut self.troubled, false) => {
                tracing::info!("the watch of Jobs and pods works again");
            }
            _ => {}
        }
        let index = match &seen {
            Seen::Job(job) => self.by_key.get(&job.key).copied(),
            Seen::JobGone(key) | Seen::Pod(key, _) | Seen::PodGone(key, _) | Seen::Rejected(key, _, _) => {
                self.by_key.get(key).copied()
            }
            Seen::PodEvent(uid, _) => self.pods.get(uid).copied(),
            Seen::Trouble(_) | Seen::Denied(_) => None,
        };
        match (index, seen) {
            (None, Seen::Job(job)) => self.on_job_of_other_run(*job),
            (None, Seen::JobGone(key)) => {
                self.release_holder(&key);
                self.earlier.forget(&key);
            }
            (None, Seen::PodEvent(uid, event)) => self.keep_pod_event(uid, event),
            (None, _) => {}
            (Some(index), seen) => {
                if let Seen::Pod(_, facts) = &seen {
                    self.pods.insert(facts.uid.clone(), index);
                }
                self.route(index, seen);
            }
        }
        None
    }

    /// To the Job's flight, to its result, or kept until it has a flight.
    pub(super) fn route(&mut self, index: JobIndex, seen: Seen) {
        match (self.flights.contains_key(&index), self.results.get_mut(&index), seen) {
            (true, _, seen) => self.observe(index, seen),
            (false, Some(result), Seen::PodEvent(_, PodEvent::Pull(pull))) => {
                if let Some(job) = self.batches.job(index) {
                    witness::add_pull(result, &job.group.images, &pull);
                }
            }
            (false, Some(_), _) => {}
            // What is gone before we have created ours was not ours, nor is what was seen of it.
            (false, None, Seen::JobGone(_)) => drop(self.early.remove(&index)),
            (false, None, seen) => self.early.entry(index).or_default().push(seen),
        }
    }

    fn keep_pod_event(&mut self, pod: String, event: PodEvent) {
        self.early_pulls_count += 1;
        if self.early_pulls_count > EARLY_PULLS_MAX {
            self.early_pulls.clear();
            self.early_pulls_count = 1;
        }
        self.early_pulls.entry(pod).or_default().push(event);
    }

    pub(super) fn observe(&mut self, index: JobIndex, seen: Seen) {
        let Some(flight) = self.flights.get_mut(&index) else { return };
        match seen {
            Seen::Pod(_, facts) => {
                flight.evidence.observe_pod(&facts);
                for event in self.early_pulls.remove(&facts.uid).unwrap_or_default() {
                    flight.evidence.observe_pod_event(&facts.uid, &event);
                }
            }
            Seen::PodGone(_, uid) => flight.evidence.observe_pod_gone(&uid),
            Seen::PodEvent(pod, event) => flight.evidence.observe_pod_event(&pod, &event),
            Seen::Rejected(_, uid, rejection) => flight.on_rejection(uid, rejection),
            Seen::Job(job) => self.on_job(index, *job),
            // An adopted Job has two names: its own, and that of the one it stands in for.
            Seen::JobGone(key) if flight.key == key => flight.is_over(Ending::JobDeleted, Instant::now()),
            Seen::JobGone(_) | Seen::Trouble(_) | Seen::Denied(_) => {}
        }
        self.decide(index);
    }

    pub(super) fn on_job(&mut self, index: JobIndex, job: SeenJob) {
        let Some(planned) = self.batches.job(index) else { return };
        let references = planned.group.images.iter().map(ToString::to_string);
        let Some(flight) = self.flights.get_mut(&index).filter(|flight| flight.key == job.key) else {
            return;
        };
        flight.created(Instant::now(), job.deadline_seconds);
        flight.is_known_as(job.uid);
        if job.facts.started {
            flight.is_started(Instant::now());
        }
        if let Some(ending) = job.facts.ending() {
            // Judged by an earlier process of this run, while the pod could still be asked.
            if !flight.ended && matches!(ending, Ending::Failed { .. }) {
                flight.judged = job.note.and_then(|note| read_annotation(&note, references));
            }
            flight.is_over(ending, Instant::now());
        }
    }

    /// Acts on what is known of a Job by now.
    pub(super) fn decide(&mut self, index: JobIndex) {
        let Some(flight) = self.flights.get_mut(&index) else { return };
        if let Look::Last = flight.look {
            return;
        }
        if let Some((ending, _)) = &flight.over {
            if flight.judged.is_some() || flight.evidence.has_heard_all() {
                let ending = ending.clone();
                self.conclude(index, ending);
            }
            return;
        }
        if flight.posted && !flight.ended && flight.evidence.decide() == Decision::EndEarly {
            flight.ended = true;
            let outcome = flight.evidence.outcome(&Ending::EndedEarly);
            self.leave_evidence(index, &outcome, true);
        }
    }
}
