//! Namespaces whose quota of Jobs is used up. A refused Job waits for room instead of failing, and
//! nothing but one create now and then asks whether there is any.
//!
//! Room comes when Jobs go: by their TTL, or by somebody's hand. The watch tells of ours, so that is
//! when it is asked again; of others' nobody tells, so it is asked at longer and longer intervals too.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::RETRY_TIMEOUT;
use crate::outcome::Failure;

/// The quota controller counts a Job that went some seconds later.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A namespace that has taken every Job for this long has room.
const ROOMY_AFTER: Duration = Duration::from_secs(60);

/// By namespace.
#[derive(Debug, Default)]
pub struct Quotas {
    full: BTreeMap<String, FullNamespace>,
}

#[derive(Debug)]
struct FullNamespace {
    refusal: Failure,
    /// Since when it has taken no Job.
    since: Instant,
    refused_at: Instant,
    next_try: Instant,
    pause: Duration,
    /// A create is under way, and only its answer lets another one go.
    trying: bool,
}

impl Quotas {
    /// Its quota has refused a Job. Whether that is news.
    pub fn refused(&mut self, namespace: &str, refusal: Failure, now: Instant) -> bool {
        match self.full.get_mut(namespace) {
            Some(full) => {
                full.refusal = refusal;
                full.refused_at = now;
                // Those that were sent beside the first that was refused say nothing new.
                if std::mem::take(&mut full.trying) {
                    full.next_try = now + full.pause;
                    full.pause = (full.pause * 2).min(LONGEST_PAUSE);
                }
                false
            }
            None => {
                let full = FullNamespace {
                    refusal,
                    since: now,
                    refused_at: now,
                    next_try: now + FIRST_PAUSE,
                    pause: FIRST_PAUSE * 2,
                    trying: false,
                };
                self.full.insert(namespace.to_owned(), full);
                true
            }
        }
    }

    /// It has answered a create in another way: the next may follow, one after another for a while.
    pub fn answered(&mut self, namespace: &str, now: Instant) {
        let Some(full) = self.full.get_mut(namespace) else { return };
        (full.trying, full.pause, full.next_try, full.since) = (false, FIRST_PAUSE, now, now);
        if now >= full.refused_at + ROOMY_AFTER {
            self.full.remove(namespace);
        }
    }

    /// A Job has gone from it.
    pub fn freed(&mut self, namespace: &str, now: Instant) {
        if let Some(full) = self.full.get_mut(namespace) {
            full.next_try = full.next_try.min(now + FIRST_PAUSE);
        }
    }

    /// Whether a create may be sent now.
    pub fn is_open(&self, namespace: &str, now: Instant) -> bool {
        self.full.get(namespace).is_none_or(|full| !full.trying && full.next_try <= now)
    }

    pub fn mark_trying(&mut self, namespace: &str) {
        if let Some(full) = self.full.get_mut(namespace) {
            full.trying = true;
        }
    }

    /// Whether there is no namespace without room.
    pub fn is_empty(&self) -> bool {
        self.full.is_empty()
    }

    /// Why nothing more goes into it.
    pub fn refusal(&self, namespace: &str) -> Option<&Failure> {
        Some(&self.full.get(namespace)?.refusal)
    }

    /// When the next create may be sent.
    pub fn timer(&self) -> Option<Instant> {
        self.full.values().filter(|full| !full.trying).map(|full| full.next_try).min()
    }

    /// Those that have taken no Job for longer than a refusal is waited out, with the reason.
    pub fn hopeless(&self, now: Instant) -> Vec<(String, Failure)> {
        let hopeless = self.full.iter().filter(|(_, full)| now >= full.since + RETRY_TIMEOUT);
        hopeless.map(|(namespace, full)| (namespace.clone(), full.refusal.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Reason;

    fn refusal() -> Failure {
        Failure::new(Reason::Quota, "exceeded quota: one")
    }

    #[test]
    fn a_full_namespace_is_asked_by_one_create_at_a_time_and_ever_more_rarely() {
        let (mut quotas, begun) = (Quotas::default(), Instant::now());
        assert!(quotas.is_open("a", begun));
        assert!(quotas.refused("a", refusal(), begun));
        // Sent beside the first.
        assert!(!quotas.refused("a", refusal(), begun));
        assert!(quotas.is_open("b", begun));
        let mut now = begun;
        let mut tries = 0;
        while now < begun + Duration::from_secs(3600) {
            if quotas.is_open("a", now) {
                tries += 1;
                quotas.mark_trying("a");
                assert!(!quotas.is_open("a", now));
                quotas.refused("a", refusal(), now);
            }
            now += Duration::from_secs(1);
        }
        assert!((60..=65).contains(&tries), "{tries} in an hour");
        assert_eq!(quotas.hopeless(now).len(), 1);
    }

    #[test]
    fn room_that_comes_is_used_at_once_and_one_after_another() {
        let (mut quotas, begun) = (Quotas::default(), Instant::now());
        quotas.refused("a", refusal(), begun);
        for _ in 0..10 {
            quotas.mark_trying("a");
            quotas.refused("a", refusal(), begun);
        }
        assert!(quotas.timer().unwrap() >= begun + LONGEST_PAUSE);
        quotas.freed("a", begun);
        assert_eq!(quotas.timer(), Some(begun + FIRST_PAUSE));
        let now = begun + FIRST_PAUSE;
        quotas.mark_trying("a");
        assert_eq!(quotas.timer(), None, "its answer is waited for");
        quotas.answered("a", now);
        assert!(quotas.is_open("a", now));
        assert!(quotas.refusal("a").is_some() && quotas.hopeless(now).is_empty());
        quotas.answered("a", begun + ROOMY_AFTER);
        assert!(quotas.refusal("a").is_none(), "as before");
    }
}
