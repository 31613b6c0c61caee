//! Groups whose run was given up for a reason that may pass: their namespace is missing, or not ours to
//! work in. Whoever applies everything at once may create it a moment after us. Pure: callers bring `now`.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// By group: when it is tried again.
#[derive(Debug, Default)]
pub struct GivenUp(HashMap<String, Again>);

#[derive(Debug)]
struct Again {
    at: Option<Instant>,
    pause: Duration,
}

impl GivenUp {
    /// A run of `group` was given up. Several Jobs may say so of one run.
    pub fn add(&mut self, group: &str, now: Instant) {
        let again = self.0.entry(group.to_owned()).or_insert(Again { at: None, pause: FIRST_PAUSE });
        if again.at.is_none() {
            again.at = Some(now + again.pause);
            again.pause = (again.pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// What was in its way is gone, as it seems.
    pub fn hurry(&mut self, group: &str, now: Instant) {
        if let Some(again) = self.0.get_mut(group) {
            again.at = again.at.map(|_| now);
        }
    }

    /// A run of `group` got through.
    pub fn forget(&mut self, group: &str) {
        self.0.remove(group);
    }

    /// Those that are to be tried again now.
    pub fn due(&mut self, now: Instant) -> Vec<String> {
        let due = self.0.iter_mut().filter(|(_, again)| again.at.is_some_and(|at| at <= now));
        let mut due: Vec<String> = due
            .map(|(group, again)| {
                again.at = None;
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

    #[tokio::test(start_paused = true)]
    async fn a_group_that_was_given_up_is_tried_again_at_intervals_that_double() {
        let (begun, mut given_up) = (Instant::now(), GivenUp::default());
        given_up.add("g", begun);
        given_up.add("g", begun);
        let mut tried = Vec::new();
        for second in 0..1000 {
            let now = begun + Duration::from_secs(second);
            for group in given_up.due(now) {
                tried.push(second);
                given_up.add(&group, now);
            }
        }
        assert_eq!(tried, [60, 180, 420, 900]);
        given_up.hurry("g", begun);
        assert_eq!(given_up.due(begun), ["g"]);
        given_up.forget("g");
        given_up.hurry("g", begun);
        assert_eq!(given_up.due(begun + LONGEST_PAUSE), [""; 0]);
    }
}
