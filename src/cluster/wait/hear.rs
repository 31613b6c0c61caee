//! What the watches notice, brought to the Job that it is about.

use tokio::time::Instant;

use super::super::ClusterError;
use super::super::watch::{JobKey, Seen, SeenJob};
use super::flight::{Look, Search};
use super::{EARLY_PODS_MAX, EARLY_PULLS_MAX, Runner, witness};
use crate::outcome::{Decision, Ending, PodEvent, PodFacts, Verdict, read_annotation};
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
        if let Seen::JobGone((namespace, _)) = &seen {
            self.room_in(namespace, Instant::now());
        }
        match (index, seen) {
            (None, Seen::Job(job)) => self.on_job_of_other_run(*job),
            (None, Seen::JobGone(key)) => {
                self.release_holder(&key);
                self.earlier.forget(&key);
                self.early_pods.remove(&key);
            }
            (None, Seen::PodEvent(uid, event)) => self.keep_pod_event(uid, event),
            (None, Seen::Pod(key, pod)) => self.keep_pod(key, pod),
            (None, Seen::PodGone(key, uid)) => {
                if let Some(pods) = self.early_pods.get_mut(&key) {
                    pods.retain(|pod| pod.uid != uid);
                }
            }
            (None, Seen::Rejected(..) | Seen::Trouble(_) | Seen::Denied(_)) => {}
            (Some(index), seen) => {
                if let Seen::Pod(_, facts) = &seen {
                    self.pods.insert(facts.uid.clone(), index);
                }
                self.route(index, seen);
            }
        }
        None
    }

    /// To the Job's flight, to its result, or kept until it has a flight. A live Job of this very run that
    /// another process has made gets one at once.
    pub(super) fn route(&mut self, index: JobIndex, seen: Seen) {
        let (is_out, is_over) = (self.flights.contains_key(&index), self.results.contains_key(&index));
        match (is_out, is_over, seen) {
            (true, _, seen) => self.observe(index, seen),
            (false, true, Seen::PodEvent(_, PodEvent::Pull(pull))) => {
                if let (Some(result), Some(job)) = (self.results.get_mut(&index), self.batches.job(index)) {
                    witness::add_pull(result, &job.group.images, &pull);
                }
            }
            (false, true, _) => {}
            // What is gone before we have created ours was not ours, nor is what was seen of it.
            (false, false, Seen::JobGone(_)) => drop(self.early.remove(&index)),
            (false, false, Seen::Job(job)) if self.may_resume(index, &job) => {
                if self.settled {
                    self.note_stranger(&job.key);
                }
                self.resume(index, *job);
            }
            (false, false, seen) => self.early.entry(index).or_default().push(seen),
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

    /// Its Job may be adopted yet: the watches do not say in which order things happened.
    fn keep_pod(&mut self, key: JobKey, pod: PodFacts) {
        if self.early_pods.len() >= EARLY_PODS_MAX {
            self.early_pods.clear();
        }
        let pods = self.early_pods.entry(key).or_default();
        pods.retain(|known| known.uid != pod.uid);
        pods.push(pod);
    }

    pub(super) fn observe(&mut self, index: JobIndex, seen: Seen) {
        let Some(flight) = self.flights.get_mut(&index) else { return };
        match seen {
            Seen::Pod(_, facts) => self.observe_pod(index, &facts),
            Seen::PodGone(_, uid) => flight.evidence.observe_pod_gone(&uid),
            Seen::PodEvent(pod, event) => flight.evidence.observe_pod_event(&pod, &event),
            Seen::Rejected(_, uid, rejection) => flight.on_rejection(uid, rejection),
            Seen::Job(job) => {
                // What the watch shows bears our labels.
                flight.disowned &= flight.key != job.key;
                self.on_job(index, *job);
            }
            // An adopted Job has two names: its own, and that of the one it stands in for. One that lost a
            // label leaves the watch as one that was deleted does.
            Seen::JobGone(key) if flight.key == key => {
                if flight.over.is_none() && flight.search != Search::LeftWatch {
                    self.search(index, Search::LeftWatch);
                }
            }
            Seen::JobGone(_) | Seen::Trouble(_) | Seen::Denied(_) => {}
        }
        self.decide(index);
    }

    pub(super) fn observe_pod(&mut self, index: JobIndex, facts: &PodFacts) {
        let Some(flight) = self.flights.get_mut(&index) else { return };
        self.pods.insert(facts.uid.clone(), index);
        flight.evidence.observe_pod(facts);
        for event in self.early_pulls.remove(&facts.uid).unwrap_or_default() {
            flight.evidence.observe_pod_event(&facts.uid, &event);
        }
    }

    pub(super) fn on_job(&mut self, index: JobIndex, job: SeenJob) {
        let Some(planned) = self.batches.job(index) else { return };
        let references = planned.group.images.iter().map(ToString::to_string);
        let Some(flight) = self.flights.get_mut(&index).filter(|flight| flight.key == job.key) else {
            return;
        };
        let now = Instant::now();
        flight.created(now, job.deadline_seconds);
        flight.identify_as(&job);
        if job.is_live() {
            flight.observe_suspension(job.suspended, now);
        }
        if job.facts.started {
            flight.mark_started(now);
        }
        if !flight.ended && (job.has_given_way() || job.is_spent()) {
            // By another process of this run.
            return self.start_over(index, job);
        }
        if job.is_spent() {
            // Ended by us while a queue holds it: nothing comes after that.
            flight.mark_over(Ending::RunOver, now);
        }
        if let Some(ending) = job.facts.ending() {
            // Judged by an earlier process of this run, while the pod could still be asked.
            if !flight.ended && matches!(ending, Ending::Failed { .. }) {
                flight.judged = job.note.and_then(|note| read_annotation(&note, references));
            }
            flight.mark_over(ending, now);
            return;
        }
        self.give_way_if_younger(index);
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
        let outstayed = flight.watch_strangers(Instant::now());
        let ends_early = outstayed || flight.evidence.decide() == Decision::EndEarly;
        if flight.disowned {
            // Nobody will say how it ends, nor may it be ended.
            if ends_early || flight.evidence.all_proven() {
                self.conclude(index, Ending::EndedEarly);
            }
            return;
        }
        if flight.posted && !flight.ended && ends_early {
            flight.ended = true;
            let outcome = flight.evidence.outcome(&Ending::EndedEarly);
            let carrier = flight.evidence.broken_carrier().map(|failure| failure.message);
            let never_created = flight.evidence.never_created().map(str::to_owned);
            let strangers = flight.evidence.strangers().join(", ");
            match (&outcome.verdict, carrier, never_created) {
                (Verdict::Succeeded, Some(cause), _) => {
                    self.warn_of_carrier("the carrier image cannot be pulled", &cause);
                }
                (Verdict::Succeeded, None, Some(cause)) => {
                    self.warn_of_carrier("the kubelet does not create containers of our pods", &cause);
                }
                _ => {}
            }
            if outstayed {
                self.warn_of_strangers(&strangers);
            }
            self.leave_evidence(index, &outcome, true);
        }
    }

    fn warn_of_strangers(&mut self, containers: &str) {
        self.warn_once(format!(
            "a webhook adds containers to our pods that do not end ({containers}): Jobs are ended as soon as all of their \
             images are on the node, which is a success, and kubectl shows them as Failed; keep the webhook away with \
             `values.pod_labels` or `values.pod_annotations`"
        ));
    }

    /// Once a run, since it is one cause for all nodes.
    fn warn_of_carrier(&mut self, what: &str, cause: &str) {
        if !std::mem::replace(&mut self.carrier_warned, true) {
            tracing::warn!(
                "{what} ({cause}): Jobs are ended as soon as all of their images are on the node; check `carrier_image`"
            );
        }
    }
}
