//! Whether a group's `deadline` is long enough, by what its earlier Jobs took as far as they are still there.

use super::{Plan, PlannedGroup};

/// A deadline has to be this many times what the slowest Job took: two pulls that share a thin link take twice
/// as long each, and a kubelet goes on with a pull that has run into one.
const TIMES: u64 = 2;

/// A Job of this instance that is over, whichever run made it and whatever it pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedJob {
    pub namespace: String,
    pub name: String,
    pub group: String,
    /// What it took, or at least took where it ran into its deadline.
    pub seconds: u32,
    pub ran_into_deadline: bool,
}

/// A group whose deadline is short for what its earlier Jobs took.
#[derive(Debug, PartialEq, Eq)]
pub struct ShortDeadline<'a> {
    pub group: &'a str,
    pub deadline_seconds: u32,
    pub slowest: &'a TimedJob,
    /// How many earlier Jobs are known, and how many of them ran into their deadline.
    pub jobs: usize,
    pub cut: usize,
}

impl ShortDeadline<'_> {
    /// What would be long enough for the slowest of them, as far as is known what it took.
    pub fn enough_seconds(&self) -> u64 {
        u64::from(self.slowest.seconds) * TIMES
    }
}

impl Plan {
    /// The groups whose deadline is short for what their earlier Jobs took.
    pub fn short_deadlines<'a>(&'a self, earlier: &'a [TimedJob]) -> Vec<ShortDeadline<'a>> {
        self.groups.iter().filter_map(|planned| short_deadline(planned, earlier)).collect()
    }
}

fn short_deadline<'a>(planned: &'a PlannedGroup, earlier: &'a [TimedJob]) -> Option<ShortDeadline<'a>> {
    let first = planned.jobs.first()?;
    let of_group =
        || earlier.iter().filter(|job| job.group == first.group.name && job.namespace == first.namespace);
    // Of equal ones the one that was cut off: that took more.
    let slowest = of_group().max_by_key(|job| (job.seconds, job.ran_into_deadline))?;
    let short = ShortDeadline {
        group: &first.group.name,
        deadline_seconds: first.group.deadline_seconds,
        slowest,
        jobs: of_group().count(),
        cut: of_group().filter(|job| job.ran_into_deadline).count(),
    };
    (short.enough_seconds() > u64::from(short.deadline_seconds)).then_some(short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fixtures::{config, group, ready_node};
    use crate::plan::{RunId, RunIdentity};

    fn plan() -> Plan {
        let (instance, namespace) = ("default".into(), "ns".into());
        let identity = RunIdentity { instance, run_id: RunId::parse("r").unwrap(), namespace };
        crate::plan::plan(&config(vec![group("a"), group("b")]), vec![ready_node("n")], identity)
    }

    fn took(group: &str, seconds: u32, ran_into_deadline: bool) -> TimedJob {
        let (namespace, name) = ("ns".into(), format!("{group}-{seconds}"));
        TimedJob { namespace, name, group: group.into(), seconds, ran_into_deadline }
    }

    #[test]
    fn a_deadline_is_short_where_a_job_took_more_than_half_of_it() {
        let plan = plan();
        let deadline = plan.groups[0].group.deadline_seconds;
        assert!(plan.short_deadlines(&[]).is_empty());
        let fine = [took("a", deadline / 2, false), took("gone", deadline, false)];
        assert!(plan.short_deadlines(&fine).is_empty());
        let elsewhere = TimedJob { namespace: "other".into(), ..took("a", deadline, false) };
        assert!(plan.short_deadlines(&[elsewhere]).is_empty());

        let jobs = [took("a", 1, false), took("a", deadline / 2 + 1, false), took("b", 1, false)];
        let [short] = &plan.short_deadlines(&jobs)[..] else { panic!("one group is short") };
        assert_eq!((short.group, short.slowest, short.jobs, short.cut), ("a", &jobs[1], 2, 0));
    }

    #[test]
    fn of_a_job_that_was_cut_off_the_deadline_is_the_least_that_it_took() {
        let plan = plan();
        let deadline = plan.groups[0].group.deadline_seconds;
        let jobs = [took("a", deadline, false), took("a", deadline, true)];
        let short = plan.short_deadlines(&jobs);
        assert!(short[0].slowest.ran_into_deadline && short[0].cut == 1);
        assert_eq!(short[0].enough_seconds(), 2 * u64::from(deadline));
        // It has been raised since.
        assert!(plan.short_deadlines(&[took("a", deadline / 4, true)]).is_empty());
    }
}
