//! When each group runs, in a process that stays. Pure: whoever asks brings `now`, so that a year
//! passes in a test in a moment.
//!
//! A group with a schedule is due at its times; one without once at the start. Both are due again when
//! their content changes. Runs of one group never overlap. Nothing is written down anywhere: which run
//! was under way when the last process ended is seen from its Jobs.

use std::collections::HashMap;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::{RunId, content_of};
use crate::config::{Config, Group, Overlap, Schedule, schedule};

/// How late a run may begin and still count as on time: the process may have been busy.
const ON_TIME: SignedDuration = SignedDuration::from_secs(60);

/// All groups, in file order.
#[derive(Debug)]
pub struct Agenda {
    entries: Vec<Entry>,
    /// When it was last asked.
    asked: Timestamp,
}

/// A run that is to begin now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    pub group: String,
    pub run_id: RunId,
    pub cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its time has come.
    Scheduled,
    /// Its time was while no process was there, or while this one slept.
    Missed,
    /// An earlier process has begun it.
    Continued,
    /// At the process's start: a group without schedule, or one of which the cluster holds no run.
    Started,
    /// Images, template or values are others than before, or the group is new.
    Changed,
}

/// What becomes of groups as time passes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Turns {
    /// In file order.
    pub due: Vec<Due>,
    /// Groups whose time has come while an earlier run was under way; once for each time.
    pub skipped: Vec<String>,
}

/// Of which runs the cluster holds Jobs.
#[derive(Clone, Debug, Default)]
pub struct Traces(HashMap<(String, String), Trace>);

/// What the cluster holds of a run's Jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Trace {
    #[default]
    None,
    /// All of its Jobs are over.
    Over,
    /// Some Job of it is live.
    Live,
}

impl Traces {
    /// Takes in one Job of a group's run.
    pub fn add(&mut self, group: &str, run_id: &str, is_live: bool) {
        let found = if is_live { Trace::Live } else { Trace::Over };
        let trace = self.0.entry((group.to_owned(), run_id.to_owned())).or_default();
        *trace = found.max(*trace);
    }

    fn of(&self, group: &str, run_id: &RunId) -> Trace {
        let key = (group.to_owned(), run_id.as_str().to_owned());
        self.0.get(&key).copied().unwrap_or_default()
    }

    fn has_any(&self, group: &str) -> bool {
        self.0.keys().any(|(name, _)| name == group)
    }

    /// When the last run of a group was due that was due at some time up to `now`. One of later is of a
    /// clock that was ahead.
    fn latest(&self, group: &str, now: Timestamp) -> Option<Timestamp> {
        let of_group = self.0.keys().filter(|(name, _)| name == group);
        of_group.filter_map(|(_, run_id)| RunId::time(run_id)).filter(|time| *time <= now).max()
    }
}

#[derive(Debug)]
struct Entry {
    name: String,
    content: String,
    /// Nodes are to show that it is on them.
    has_gate: bool,
    timing: Option<Timing>,
    overlap: Overlap,
    catch_up: bool,
    /// How old a run that is made up may be.
    catch_up_limit: SignedDuration,
    /// `@every` counts from here.
    anchor: Timestamp,
    /// The last time that it was due, whether it ran then or not.
    last: Option<Timestamp>,
    next: Option<Timestamp>,
    /// A run that has not begun.
    wish: Option<(RunId, Cause)>,
    /// A run is under way.
    busy: bool,
}

/// When a group is due.
#[derive(Debug, PartialEq)]
struct Timing {
    schedule: Schedule,
    zone: TimeZone,
}

impl Agenda {
    /// At the start of a process. `traces` says of which runs the cluster holds Jobs.
    pub fn new(config: &Config, now: Timestamp, traces: &Traces) -> Agenda {
        let entry = |group: &Group| {
            let interval = group.schedule.as_ref().and_then(Schedule::interval);
            let young = |last: &Timestamp| interval.is_some_and(|s| now.duration_since(*last).as_secs() < s);
            let anchor = traces.latest(&group.name, now).filter(young).unwrap_or(now);
            let mut entry = Entry::new(group, content_of(config, group), now, anchor);
            entry.wish = entry.wish_at_start(now, traces);
            entry
        };
        Agenda { entries: config.groups.iter().map(entry).collect(), asked: now }
    }

    /// What is due at `now`. Whoever takes a run says so by [`Agenda::began`].
    pub fn turns(&mut self, now: Timestamp) -> Turns {
        let mut turns = Turns::default();
        let before = std::mem::replace(&mut self.asked, now);
        for entry in &mut self.entries {
            if before.duration_since(now) > ON_TIME {
                entry.clock_was_ahead(now);
            }
            let skipped = entry.pass_time(now);
            turns.skipped.extend(std::iter::repeat_n(entry.name.clone(), skipped));
            if !entry.busy
                && let Some((run_id, cause)) = entry.wish.take()
            {
                turns.due.push(Due { group: entry.name.clone(), run_id, cause });
            }
        }
        turns
    }

    /// The group's current run was given up, and is tried again.
    pub fn again(&mut self, group: &str) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.name == group) {
            let current = entry.current_run();
            entry.wish.get_or_insert((current, Cause::Continued));
        }
    }

    /// When something is due next, by the schedules alone.
    pub fn next(&self) -> Option<Timestamp> {
        self.entries.iter().filter_map(|entry| entry.next).min()
    }

    /// Every group with the time at which it is due next.
    pub fn next_times(&self) -> impl Iterator<Item = (&str, Option<Timestamp>)> {
        self.entries.iter().map(|entry| (entry.name.as_str(), entry.next))
    }

    /// A run of the group is under way.
    pub fn began(&mut self, group: &str) {
        self.set_busy(group, true);
    }

    /// No run of the group is under way any longer.
    pub fn mark_finished(&mut self, group: &str) {
        self.set_busy(group, false);
    }

    /// The run that Jobs of nodes belong to that come now: the last one that was due.
    pub fn run_id(&self, group: &str) -> Option<RunId> {
        let entry = self.entries.iter().find(|entry| entry.name == group)?;
        Some(entry.last.map_or_else(|| RunId::of_content(&entry.content), RunId::of_time))
    }

    /// When the group was last due; `None` for one without schedule.
    pub fn last(&self, group: &str) -> Option<Timestamp> {
        self.entries.iter().find(|entry| entry.name == group)?.last
    }

    /// Another config is in force. Gives the groups that are gone.
    pub fn follow(&mut self, config: &Config, now: Timestamp) -> Vec<String> {
        let mut before: Vec<Entry> = std::mem::take(&mut self.entries);
        for group in &config.groups {
            let mut entry = Entry::new(group, content_of(config, group), now, now);
            let known = before.iter().position(|known| known.name == entry.name);
            let changed = match known.map(|place| before.swap_remove(place)) {
                None => true,
                Some(known) => {
                    if known.timing == entry.timing {
                        (entry.last, entry.next, entry.anchor) = (known.last, known.next, known.anchor);
                    }
                    entry.busy = known.busy;
                    // Where nodes are to show it from now on, a run finds those that have it.
                    let changed = known.content != entry.content || (entry.has_gate && !known.has_gate);
                    // A run that waits for its turn is of the content by then.
                    entry.wish = known.wish;
                    changed
                }
            };
            if changed && (group.run_on_change || (known.is_none() && entry.timing.is_none())) {
                entry.wish = Some((entry.current_run(), Cause::Changed));
            }
            self.entries.push(entry);
        }
        before.into_iter().map(|gone| gone.name).collect()
    }

    fn set_busy(&mut self, group: &str, busy: bool) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.name == group) {
            entry.busy = busy;
        }
    }
}

impl Entry {
    fn new(group: &Group, content: String, now: Timestamp, anchor: Timestamp) -> Entry {
        let timing = group.schedule.clone().zip(schedule::time_zone(&group.time_zone));
        let timing = timing.map(|(schedule, zone)| Timing { schedule, zone });
        Entry {
            name: group.name.clone(),
            content,
            has_gate: group.ready_label || group.remove_taint.is_some(),
            overlap: group.overlap,
            catch_up: group.catch_up,
            catch_up_limit: SignedDuration::from_secs(group.catch_up_limit_seconds.into()),
            last: timing.as_ref().and_then(|timing| timing.last_at(now, anchor)),
            next: timing.as_ref().and_then(|timing| timing.next_after(now, anchor)),
            anchor,
            timing,
            wish: None,
            busy: false,
        }
    }

    fn wish_at_start(&self, now: Timestamp, traces: &Traces) -> Option<(RunId, Cause)> {
        if self.timing.is_none() {
            return Some((self.current_run(), Cause::Started));
        }
        let last = self.last?;
        let run_id = RunId::of_time(last);
        let recent = now.duration_since(last) <= self.catch_up_limit;
        // That of an interval is when the process started, and nothing was missed.
        let may_be_missed = self.timing.as_ref().is_some_and(|timing| timing.schedule.interval().is_none());
        match traces.of(&self.name, &run_id) {
            Trace::Live => Some((run_id, Cause::Continued)),
            // It may have been killed between two Jobs; where it was not, nothing is left to do.
            Trace::Over if recent => Some((run_id, Cause::Continued)),
            Trace::None if recent && self.catch_up && may_be_missed => {
                // Nobody who starts for the first time has missed anything.
                let cause = if traces.has_any(&self.name) { Cause::Missed } else { Cause::Started };
                Some((run_id, cause))
            }
            Trace::Over | Trace::None => None,
        }
    }

    /// Lets the time up to `now` pass, and gives how many runs are skipped by that.
    fn pass_time(&mut self, now: Timestamp) -> usize {
        let Some(timing) = &self.timing else { return 0 };
        let Some(first) = self.next.filter(|next| *next <= now) else { return 0 };
        // Of all that were missed at most the latest is made up.
        let last = timing.last_at(now, self.anchor).map_or(first, |last| last.max(first));
        self.last = Some(last);
        self.next = timing.next_after(now, self.anchor);
        let late = now.duration_since(last);
        let wish = match late <= ON_TIME {
            true => Cause::Scheduled,
            false if self.catch_up && late <= self.catch_up_limit => Cause::Missed,
            false => return 0,
        };
        match (self.busy, self.overlap) {
            (true, Overlap::Skip) => 1,
            _ => {
                let waited = self.wish.replace((RunId::of_time(last), wish));
                // A change goes with whatever runs next, and is not lost.
                usize::from(waited.is_some_and(|(_, cause)| cause == Cause::Scheduled))
            }
        }
    }

    /// Times that were due by a clock that was wrong are not.
    fn clock_was_ahead(&mut self, now: Timestamp) {
        self.anchor = self.anchor.min(now);
        let timing = self.timing.as_ref();
        self.last = timing.and_then(|timing| timing.last_at(now, self.anchor));
        self.next = timing.and_then(|timing| timing.next_after(now, self.anchor));
        // A change is not lost with the run that it was to go with.
        let is_of_later = |run_id: &RunId| RunId::time(run_id.as_str()).is_some_and(|time| time > now);
        self.wish = match self.wish.take() {
            Some((run_id, cause @ (Cause::Changed | Cause::Started))) if is_of_later(&run_id) => {
                Some((self.current_run(), cause))
            }
            wish => wish.filter(|(run_id, _)| !is_of_later(run_id)),
        };
    }

    fn current_run(&self) -> RunId {
        self.last.map_or_else(|| RunId::of_content(&self.content), RunId::of_time)
    }
}

impl Timing {
    /// The first time after `now`.
    fn next_after(&self, now: Timestamp, anchor: Timestamp) -> Option<Timestamp> {
        match self.schedule.interval() {
            Some(interval) => {
                let passed = now.duration_since(anchor).as_secs().max(0).div_euclid(interval) + 1;
                anchor.checked_add(SignedDuration::from_secs(passed.checked_mul(interval)?)).ok()
            }
            None => self.schedule.next_after(now, &self.zone),
        }
    }

    /// The last time up to `now`; for an interval its anchor counts as one.
    fn last_at(&self, now: Timestamp, anchor: Timestamp) -> Option<Timestamp> {
        match self.schedule.interval() {
            Some(interval) => {
                let passed = now.duration_since(anchor).as_secs().max(0).div_euclid(interval);
                anchor.checked_add(SignedDuration::from_secs(passed.checked_mul(interval)?)).ok()
            }
            None => self.schedule.last_at(now, &self.zone),
        }
    }
}

#[cfg(test)]
mod tests;
