//! Retries of runs that were given up for a reason that may pass: their namespace is missing, or we may not
//! work in it. Whoever applies everything at once may create it a moment after us. Pure: callers bring `now`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

const FIRST_DELAY: Duration = Duration::from_secs(60);
const MAX_DELAY: Duration = Duration::from_secs(3600);

/// By group: when its run is retried.
#[derive(Debug, Default)]
pub struct RunRetries(HashMap<String, Retry>);

#[derive(Debug)]
struct Retry {
    at: Option<Instant>,
    delay: Duration,
}

impl RunRetries {
    /// A run of `group` was given up. Several Jobs may say so of one run.
    pub fn add(&mut self, group: &str, now: Instant) {
        let retry = self.0.entry(group.to_owned()).or_insert(Retry { at: None, delay: FIRST_DELAY });
        if retry.at.is_none() {
            retry.at = Some(now + retry.delay);
            retry.delay = (retry.delay * 2).min(MAX_DELAY);
        }
    }

    /// What was in its way is gone, as it seems.
    pub fn retry_now(&mut self, group: &str, now: Instant) {
        if let Some(retry) = self.0.get_mut(group) {
            retry.at = retry.at.map(|_| now);
        }
    }

    /// A run of `group` got through.
    pub fn forget(&mut self, group: &str) {
        self.0.remove(group);
    }

    /// Groups whose run is retried now.
    pub fn take_due(&mut self, now: Instant) -> Vec<String> {
        let due = self.0.iter_mut().filter(|(_, retry)| retry.at.is_some_and(|at| at <= now));
        let mut due: Vec<String> = due
            .map(|(group, retry)| {
                retry.at = None;
                group.clone()
            })
            .collect();
        due.sort();
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_was_retries_is_tried_again_at_intervals_that_double() {
        let (begun, mut retries) = (Instant::now(), RunRetries::default());
        retries.add("g", begun);
        retries.add("g", begun);
        let mut tried = Vec::new();
        for second in 0..1000 {
            let now = begun + Duration::from_secs(second);
            for group in retries.take_due(now) {
                tried.push(second);
                retries.add(&group, now);
            }
        }
        assert_eq!(tried, [60, 180, 420, 900]);
        retries.retry_now("g", begun);
        assert_eq!(retries.take_due(begun), ["g"]);
        retries.forget("g");
        retries.retry_now("g", begun);
        assert_eq!(retries.take_due(begun + MAX_DELAY), [""; 0]);
    }
}
