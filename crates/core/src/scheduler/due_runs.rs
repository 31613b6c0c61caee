//! When each group of a serving process runs. Pure: callers bring `now`, so that a year passes in a test
//! in a moment.
//!
//! A group with a schedule is due at its times; one without once at the start. Both are due again when
//! their content changes. Runs of one group never overlap. Nothing is written down anywhere: which run
//! was under way when the last process ended is seen from its Jobs.

use std::collections::HashMap;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::config::{Config, Group, Overlap, Schedule, schedule};
use crate::plan::{RunId, content_of};

/// How late a run may begin and still count as on time: the process may have been busy.
const ON_TIME: SignedDuration = SignedDuration::from_secs(60);

/// All groups, in file order.
#[derive(Debug)]
pub struct Scheduler {
    groups: Vec<ScheduledGroup>,
    asked_at: Timestamp,
}

/// A run that is to begin now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueRun {
    pub group: String,
    pub run_id: RunId,
    pub trigger: Trigger,
}

/// Why a run is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    Scheduled,
    /// Its time was while no process was there, or while this one slept.
    CatchUp,
    /// An earlier process has begun it.
    Continued,
    /// At the process's start: a group without schedule, or one of which the cluster holds no run.
    Started,
    /// Images, template or values are others than before, or the group is new.
    Changed,
}

/// What is due at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DueRuns {
    /// In file order.
    pub due: Vec<DueRun>,
    /// Groups that were due while their last run was active; once for each time.
    pub skipped: Vec<String>,
}

/// Of which runs the cluster holds Jobs.
#[derive(Clone, Debug, Default)]
pub struct RunHistory(HashMap<(String, String), Found>);

/// What the cluster holds of a run's Jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    #[default]
    None,
    /// All of its Jobs have finished.
    Finished,
    /// Some Job of it is live.
    Live,
}

impl RunHistory {
    /// Takes in one Job of a group's run.
    pub fn add(&mut self, group: &str, run_id: &str, is_live: bool) {
        let state = if is_live { Found::Live } else { Found::Finished };
        let found = self.0.entry((group.to_owned(), run_id.to_owned())).or_default();
        *found = state.max(*found);
    }

    fn of(&self, group: &str, run_id: &RunId) -> Found {
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
struct ScheduledGroup {
    name: String,
    content: String,
    /// Nodes get its ready label, or lose its startup taint.
    marks_nodes: bool,
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
    /// The run to start next.
    pending: Option<(RunId, Trigger)>,
    /// A run of it is under way.
    active: bool,
    /// The time that [`Scheduler::take_changed_times`] gave last.
    announced: Option<Option<Timestamp>>,
}

/// When a group is due.
#[derive(Debug, PartialEq)]
struct Timing {
    schedule: Schedule,
    zone: TimeZone,
}

impl Scheduler {
    /// At the start of a process. `history` says of which runs the cluster holds Jobs.
    pub fn new(config: &Config, now: Timestamp, history: &RunHistory) -> Scheduler {
        let scheduled = |group: &Group| {
            let interval = group.schedule.as_ref().and_then(Schedule::interval);
            let young = |last: &Timestamp| interval.is_some_and(|s| now.duration_since(*last).as_secs() < s);
            let anchor = history.latest(&group.name, now).filter(young).unwrap_or(now);
            let mut group = ScheduledGroup::new(group, content_of(config, group), now, anchor);
            group.pending = group.pending_at_start(now, history);
            group
        };
        Scheduler { groups: config.groups.iter().map(scheduled).collect(), asked_at: now }
    }

    /// What is due at `now`. Whoever starts a run says so by [`Scheduler::mark_started`].
    pub fn take_due(&mut self, now: Timestamp) -> DueRuns {
        let mut due_runs = DueRuns::default();
        let before = std::mem::replace(&mut self.asked_at, now);
        for group in &mut self.groups {
            if before.duration_since(now) > ON_TIME {
                group.clock_went_back(now);
            }
            let skipped = group.advance(now);
            due_runs.skipped.extend(std::iter::repeat_n(group.name.clone(), skipped));
            if !group.active
                && let Some((run_id, trigger)) = group.pending.take()
            {
                due_runs.due.push(DueRun { group: group.name.clone(), run_id, trigger });
            }
        }
        due_runs
    }

    /// The group's current run was given up, and is tried again.
    pub fn retry(&mut self, group: &str) {
        if let Some(group) = self.group_mut(group) {
            let current = group.current_run();
            group.pending.get_or_insert((current, Trigger::Continued));
        }
    }

    /// When something is due next, by the schedules alone.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.groups.iter().filter_map(|group| group.next).min()
    }

    /// Groups whose next time is another than this gave last, with that time.
    pub fn take_changed_times(&mut self) -> Vec<(String, Option<Timestamp>)> {
        let changed = self.groups.iter_mut().filter(|group| group.announced != Some(group.next));
        let changed = changed.map(|group| {
            group.announced = Some(group.next);
            (group.name.clone(), group.next)
        });
        changed.collect()
    }

    /// A run of the group is under way.
    pub fn mark_started(&mut self, group: &str) {
        self.set_active(group, true);
    }

    /// No run of the group is under way any longer.
    pub fn mark_finished(&mut self, group: &str) {
        self.set_active(group, false);
    }

    /// The run that Jobs of new nodes belong to: the last one that was due.
    pub fn run_id(&self, group: &str) -> Option<RunId> {
        Some(self.group(group)?.current_run())
    }

    /// When the group was last due; `None` for one without schedule.
    pub fn last_due(&self, group: &str) -> Option<Timestamp> {
        self.group(group)?.last
    }

    /// Another config is in force. Gives the groups that are gone.
    pub fn apply_config(&mut self, config: &Config, now: Timestamp) -> Vec<String> {
        let mut before: Vec<ScheduledGroup> = std::mem::take(&mut self.groups);
        for group in &config.groups {
            let mut scheduled = ScheduledGroup::new(group, content_of(config, group), now, now);
            let known = before.iter().position(|known| known.name == scheduled.name);
            let changed = match known.map(|place| before.swap_remove(place)) {
                None => true,
                Some(known) => {
                    if known.timing == scheduled.timing {
                        (scheduled.last, scheduled.next, scheduled.anchor) =
                            (known.last, known.next, known.anchor);
                    }
                    (scheduled.active, scheduled.announced) = (known.active, known.announced);
                    // Where nodes are to show it from now on, a run finds those that have it.
                    let changed =
                        known.content != scheduled.content || (scheduled.marks_nodes && !known.marks_nodes);
                    // A run that waits for its turn is of the content by then.
                    scheduled.pending = known.pending;
                    changed
                }
            };
            if changed && (group.run_on_change || (known.is_none() && scheduled.timing.is_none())) {
                scheduled.pending = Some((scheduled.current_run(), Trigger::Changed));
            }
            self.groups.push(scheduled);
        }
        before.into_iter().map(|gone| gone.name).collect()
    }

    fn set_active(&mut self, group: &str, active: bool) {
        if let Some(group) = self.group_mut(group) {
            group.active = active;
        }
    }

    fn group(&self, name: &str) -> Option<&ScheduledGroup> {
        self.groups.iter().find(|group| group.name == name)
    }

    fn group_mut(&mut self, name: &str) -> Option<&mut ScheduledGroup> {
        self.groups.iter_mut().find(|group| group.name == name)
    }
}

impl ScheduledGroup {
    fn new(group: &Group, content: String, now: Timestamp, anchor: Timestamp) -> ScheduledGroup {
        let timing = group.schedule.clone().zip(schedule::time_zone(&group.time_zone));
        let timing = timing.map(|(schedule, zone)| Timing { schedule, zone });
        ScheduledGroup {
            name: group.name.clone(),
            content,
            marks_nodes: super::marks_nodes(group),
            overlap: group.overlap,
            catch_up: group.catch_up,
            catch_up_limit: SignedDuration::from_secs(group.catch_up_limit_seconds.into()),
            last: timing.as_ref().and_then(|timing| timing.last_at(now, anchor)),
            next: timing.as_ref().and_then(|timing| timing.next_after(now, anchor)),
            anchor,
            timing,
            pending: None,
            active: false,
            announced: None,
        }
    }

    fn pending_at_start(&self, now: Timestamp, history: &RunHistory) -> Option<(RunId, Trigger)> {
        if self.timing.is_none() {
            return Some((self.current_run(), Trigger::Started));
        }
        let last = self.last?;
        let run_id = RunId::of_time(last);
        let recent = now.duration_since(last) <= self.catch_up_limit;
        // That of an interval is when the process started, and nothing was missed.
        let may_be_missed = self.timing.as_ref().is_some_and(|timing| timing.schedule.interval().is_none());
        match history.of(&self.name, &run_id) {
            Found::Live => Some((run_id, Trigger::Continued)),
            // It may have been killed between two Jobs; where it was not, nothing is left to do.
            Found::Finished if recent => Some((run_id, Trigger::Continued)),
            Found::None if recent && self.catch_up && may_be_missed => {
                // Nobody who starts for the first time has missed anything.
                let trigger = if history.has_any(&self.name) { Trigger::CatchUp } else { Trigger::Started };
                Some((run_id, trigger))
            }
            Found::Finished | Found::None => None,
        }
    }

    /// Lets the time up to `now` pass, and gives how many runs are skipped by that.
    fn advance(&mut self, now: Timestamp) -> usize {
        let Some(timing) = &self.timing else { return 0 };
        let Some(first) = self.next.filter(|next| *next <= now) else { return 0 };
        // Of all missed times at most the latest is caught up.
        let last = timing.last_at(now, self.anchor).map_or(first, |last| last.max(first));
        self.last = Some(last);
        self.next = timing.next_after(now, self.anchor);
        let late = now.duration_since(last);
        let trigger = match late <= ON_TIME {
            true => Trigger::Scheduled,
            false if self.catch_up && late <= self.catch_up_limit => Trigger::CatchUp,
            false => return 0,
        };
        match (self.active, self.overlap) {
            (true, Overlap::Skip) => 1,
            _ => {
                let replaced = self.pending.replace((RunId::of_time(last), trigger));
                // A change goes with whatever runs next, and is not lost.
                usize::from(replaced.is_some_and(|(_, trigger)| trigger == Trigger::Scheduled))
            }
        }
    }

    /// Times that were due by a clock that was wrong are not.
    fn clock_went_back(&mut self, now: Timestamp) {
        self.anchor = self.anchor.min(now);
        let timing = self.timing.as_ref();
        self.last = timing.and_then(|timing| timing.last_at(now, self.anchor));
        self.next = timing.and_then(|timing| timing.next_after(now, self.anchor));
        // A change is not lost with the run that it was to go with.
        let is_of_later = |run_id: &RunId| RunId::time(run_id.as_str()).is_some_and(|time| time > now);
        self.pending = match self.pending.take() {
            Some((run_id, trigger @ (Trigger::Changed | Trigger::Started))) if is_of_later(&run_id) => {
                Some((self.current_run(), trigger))
            }
            pending => pending.filter(|(run_id, _)| !is_of_later(run_id)),
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
