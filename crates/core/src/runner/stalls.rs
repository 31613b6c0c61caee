//! What a run waits for where nothing of its own moves: live Jobs of other runs that hold nodes or take
//! slots, and queues that hold its Jobs. Logged once it has lasted, and added to a computed deadline.

use std::time::{Duration, Instant};

/// Sooner it is what every cluster does: Jobs end, and queues admit.
const LOG_AFTER: Duration = Duration::from_secs(15);
/// What lasts is logged again.
const LOG_AGAIN: Duration = Duration::from_secs(300);
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
    log_at: Option<Instant>,
    /// When it was last logged that queues hold Jobs.
    suspension_logged: Option<Instant>,
}

impl Stalls {
    /// Whether live Jobs of other runs keep ours from starting, and whether queues hold Jobs of ours.
    pub fn observe(&mut self, is_kept: bool, is_held: bool, now: Instant) {
        match (is_kept || is_held, self.since) {
            (true, None) => self.since = Some(now),
            (false, Some(since)) => {
                self.total += now - since;
                self.since = None;
            }
            _ => {}
        }
        match is_kept {
            true => drop(self.log_at.get_or_insert(now + LOG_AFTER)),
            false => self.log_at = None,
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

    /// Whether it is time to log that live Jobs of other runs keep ours from starting.
    pub fn take_log_due(&mut self, now: Instant) -> bool {
        let is_due = self.log_at.is_some_and(|at| at <= now);
        if is_due {
            self.log_at = Some(now + LOG_AGAIN);
        }
        is_due
    }

    /// Whether it is time to log that queues hold Jobs, the first since `since`; `None`: no queue does.
    pub fn take_suspension_due(&mut self, since: Option<Instant>, now: Instant) -> bool {
        let Some(due) = self.suspension_due(since) else {
            self.suspension_logged = None;
            return false;
        };
        if due <= now {
            self.suspension_logged = Some(now);
        }
        due <= now
    }

    fn suspension_due(&self, since: Option<Instant>) -> Option<Instant> {
        let since = since?;
        Some(self.suspension_logged.map_or(since + LOG_AFTER, |logged| logged + LOG_AGAIN))
    }

    /// When the next of both is due; queues hold Jobs since `suspended_since`.
    pub fn timer(&self, suspended_since: Option<Instant>) -> Option<Instant> {
        [self.log_at, self.suspension_due(suspended_since)].into_iter().flatten().min()
    }

    /// Whether somebody keeps a Job from starting just now.
    pub fn is_stalled(&self) -> bool {
        self.since.is_some()
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
