//! What a run waits for where nothing of its own moves: live Jobs of other runs that hold nodes or take
//! slots, and queues that hold its Jobs. Said once it has lasted, and added to a computed deadline.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Runner;
use crate::outcome::{Failure, Reason, SUSPENDED_HELP};
use crate::words::counted;

/// Sooner it is what every cluster does: Jobs end, and queues admit.
const SAY_AFTER: Duration = Duration::from_secs(15);
/// What lasts is said again.
const SAY_AGAIN: Duration = Duration::from_secs(300);
/// How exact a deadline is that moves along with what is waited for.
pub const TICK: Duration = Duration::from_secs(1);

/// How long others have kept Jobs of ours from starting.
#[derive(Debug, Default)]
pub struct Stalls {
    since: Option<Instant>,
    /// Before that.
    total: Duration,
    /// The longest that one of them may take.
    longest: Duration,
    say_at: Option<Instant>,
    /// When queues were last said to hold Jobs.
    suspension_said: Option<Instant>,
}

impl Stalls {
    /// Whether live Jobs of other runs keep ours from starting, and whether queues hold Jobs of ours.
    fn observe(&mut self, is_kept: bool, is_held: bool, now: Instant) {
        match (is_kept || is_held, self.since) {
            (true, None) => self.since = Some(now),
            (false, Some(since)) => {
                self.total += now - since;
                self.since = None;
            }
            _ => {}
        }
        match is_kept {
            true => drop(self.say_at.get_or_insert(now + SAY_AFTER)),
            false => self.say_at = None,
        }
    }

    /// What is added to a computed deadline that lies `own` after its start: at most as much again, or as
    /// long as one of the others may take.
    pub fn extension(&self, now: Instant, own: Duration) -> Duration {
        self.extension_since(Duration::ZERO, now, own)
    }

    /// Of a deadline that was set when this long had been waited.
    pub fn extension_since(&self, before: Duration, now: Instant, own: Duration) -> Duration {
        self.total(now).saturating_sub(before).min(own.max(self.longest))
    }

    pub fn total(&self, now: Instant) -> Duration {
        self.total + self.since.map_or(Duration::ZERO, |since| now - since)
    }

    /// One more is waited for, which takes at most this long.
    pub fn lasts(&mut self, longest: Duration) {
        self.longest = self.longest.max(longest);
    }

    /// Whether somebody keeps a Job from starting just now.
    pub fn is_stalled(&self) -> bool {
        self.since.is_some()
    }
}

impl Runner<'_> {
    /// Looks at what keeps Jobs from starting, and says it where it lasts.
    pub(super) fn observe_stalls(&mut self, now: Instant) {
        let is_kept = self.queue.has_waiting()
            && (self.queue.lacks_slots() || self.earlier.nodes().any(|node| self.queue.is_kept_from(node)));
        let is_held = self.flights.values().any(|flight| flight.suspended.is_some());
        self.stalls.observe(is_kept, is_held, now);
        if self.stalls.say_at.is_some_and(|at| at <= now) {
            self.stalls.say_at = Some(now + SAY_AGAIN);
            tracing::warn!("{}", self.holders_in_words());
        }
        self.say_what_queues_hold(now);
    }

    pub(super) fn stalls_timer(&self) -> Option<Instant> {
        let suspended = self.flights.values().filter_map(|flight| flight.suspended).min();
        let suspended = suspended.map(|since| match self.stalls.suspension_said {
            Some(said) => said + SAY_AGAIN,
            None => since + SAY_AFTER,
        });
        [self.stalls.say_at, suspended].into_iter().flatten().min()
    }

    /// Who takes the slots, and for which nodes that matters.
    fn holders_in_words(&self) -> String {
        let mut runs: BTreeMap<&str, (usize, &str, &str)> = BTreeMap::new();
        for job in self.earlier.jobs() {
            let (_, name) = &job.key;
            let run = runs.entry(&job.run_id).or_insert((0, name, &job.node));
            run.0 += 1;
        }
        let runs: Vec<String> = runs
            .into_iter()
            .take(5)
            .map(|(run, (jobs, name, node))| format!("run {run} has {jobs}, such as {name} on node {node}"))
            .collect();
        let (taken, slots) = self.queue.slots();
        format!(
            "{} cannot start, because live Jobs of other runs of this instance hold their nodes or take slots ({taken} of \
             {slots}): {}; their end is waited for",
            counted(self.queue.waiting(), "Job"),
            runs.join("; "),
        )
    }

    /// Why a Job for `node` never had its turn, where that was for another run's Job.
    pub(super) fn kept_out(&self, node: &str) -> Option<Failure> {
        let (taken, slots) = self.queue.slots();
        let mut jobs = self.earlier.jobs();
        let on_node = self.earlier.jobs().find(|job| job.node == node);
        let job = on_node.or_else(|| jobs.next().filter(|_| taken >= slots))?;
        let what = if on_node.is_some() { "had the node" } else { "took the last slot" };
        let message =
            format!("the run ended before this node's turn: Job {} of run {} {what}", job.key.1, job.run_id);
        Some(Failure::new(Reason::NotStarted, message))
    }

    fn say_what_queues_hold(&mut self, now: Instant) {
        let held = self.flights.values().filter_map(|flight| Some((flight.suspended?, flight)));
        let Some((since, flight)) = held.min_by_key(|(since, _)| *since) else {
            self.stalls.suspension_said = None;
            return;
        };
        let due = self.stalls.suspension_said.map_or(since + SAY_AFTER, |said| said + SAY_AGAIN);
        if due > now {
            return;
        }
        self.stalls.suspension_said = Some(now);
        let (namespace, name) = &flight.key;
        let jobs = self.flights.values().filter(|flight| flight.suspended.is_some()).count();
        tracing::warn!(
            "suspended: a queue holds {} (spec.suspend), such as {name} in namespace {namespace:?}; they keep their slots, \
             their deadlines do not run, and they go on when they are admitted. {SUSPENDED_HELP}",
            counted(jobs, "Job"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_moves_while_others_are_waited_for_and_not_for_ever() {
        let (mut stalls, begun) = (Stalls::default(), Instant::now());
        let after = |seconds| begun + Duration::from_secs(seconds);
        let own = Duration::from_secs(60);
        assert_eq!(stalls.extension(after(5), own), Duration::ZERO);
        stalls.observe(true, false, after(5));
        stalls.observe(true, true, after(10));
        assert_eq!(stalls.extension(after(15), own), Duration::from_secs(10));
        stalls.observe(false, true, after(17));
        stalls.observe(false, false, after(20));
        stalls.observe(false, true, after(30));
        assert_eq!(stalls.extension(after(40), own), Duration::from_secs(25));
        assert_eq!(stalls.extension(after(4000), own), own);
        stalls.lasts(Duration::from_secs(1200));
        assert_eq!(stalls.extension(after(4000), own), Duration::from_secs(1200));
    }
}
