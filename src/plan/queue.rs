//! In which order planned Jobs get their turn. Pure bookkeeping: no client, no clock.
//!
//! Work-conserving: whenever some Job may start within the limits, [`Queue::take`] returns one.
//! Three rules hold at every moment: at most `concurrency` Jobs are out, at most a group's limit of
//! that group, and at most one on a node. A node's groups take turns in file order, because the
//! kubelet pulls one image after another anyway and a deadline must not run while its Job waits.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::{Plan, PlannedJob};

/// Where a Job stands in its plan: group, then Job of the group. Orders as the plan does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobIndex {
    pub group: usize,
    pub job: usize,
}

/// What is still to be started of a [`Plan`].
#[derive(Debug)]
pub struct Queue {
    concurrency: usize,
    out: usize,
    waiting: usize,
    groups: Vec<GroupTurns>,
    /// Per node its Jobs in file order; the first one is ready or out.
    nodes: HashMap<String, VecDeque<JobIndex>>,
}

#[derive(Debug)]
struct GroupTurns {
    limit: usize,
    out: usize,
    /// Jobs whose node is free.
    ready: BTreeSet<JobIndex>,
}

impl Queue {
    pub fn new(plan: &Plan, concurrency: usize) -> Queue {
        let mut groups: Vec<GroupTurns> = Vec::with_capacity(plan.groups.len());
        let mut nodes: HashMap<String, VecDeque<JobIndex>> = HashMap::new();
        for (group, planned) in plan.groups.iter().enumerate() {
            let mut ready = BTreeSet::new();
            for (job, PlannedJob { node, .. }) in planned.jobs.iter().enumerate() {
                let index = JobIndex { group, job };
                let turns = nodes.entry(node.name.clone()).or_default();
                if turns.is_empty() {
                    ready.insert(index);
                }
                turns.push_back(index);
            }
            groups.push(GroupTurns { limit: planned.limit, out: 0, ready });
        }
        let waiting = plan.jobs().count();
        Queue { concurrency, out: 0, waiting, groups, nodes }
    }

    /// The next Job to start, if the limits leave room for one. Its slot stays taken until
    /// [`Queue::give_back`].
    pub fn take(&mut self) -> Option<JobIndex> {
        if self.out >= self.concurrency {
            return None;
        }
        let group = self.groups.iter_mut().find(|g| g.out < g.limit && !g.ready.is_empty())?;
        let index = group.ready.pop_first()?;
        group.out += 1;
        self.out += 1;
        self.waiting -= 1;
        Some(index)
    }

    /// Frees the slot of a Job that [`Queue::take`] returned, and lets its node's next group have
    /// its turn.
    pub fn give_back(&mut self, index: JobIndex, node: &str) {
        self.out -= 1;
        self.groups[index.group].out -= 1;
        let Some(turns) = self.nodes.get_mut(node) else { return };
        turns.pop_front();
        if let Some(next) = turns.front() {
            self.groups[next.group].ready.insert(*next);
        }
    }

    /// Whether Jobs are left that no [`Queue::take`] has returned.
    pub fn has_waiting(&self) -> bool {
        self.waiting > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::{config, group, ready_node};
    use crate::plan::{RunId, RunIdentity, plan};
    use proptest::prelude::*;

    fn planned(limits: &[(usize, Option<usize>)]) -> Plan {
        let nodes = limits.iter().map(|(nodes, _)| *nodes).max().unwrap_or(0);
        let groups = limits
            .iter()
            .enumerate()
            .map(|(i, (_, limit))| {
                let mut group = group(&format!("g{i}"));
                group.concurrency =
                    limit.and_then(std::num::NonZeroUsize::new).map(crate::config::Limit::Nodes);
                group
            })
            .collect();
        let nodes = (0..nodes).map(|n| ready_node(&format!("n{n}"))).collect();
        let identity = RunIdentity {
            instance: "default".into(),
            run_id: RunId::parse("r").unwrap(),
            namespace: "ns".into(),
        };
        plan(&config(groups), nodes, identity)
    }

    #[test]
    fn a_node_takes_its_groups_one_after_another_in_file_order() {
        let plan = planned(&[(1, None), (1, None)]);
        let mut queue = Queue::new(&plan, 20);
        let first = queue.take().unwrap();
        assert_eq!(first, JobIndex { group: 0, job: 0 });
        assert_eq!(queue.take(), None, "the node is busy");
        assert!(queue.has_waiting());
        queue.give_back(first, "n0");
        assert_eq!(queue.take(), Some(JobIndex { group: 1, job: 0 }));
        assert!(!queue.has_waiting());
    }

    #[test]
    fn a_group_at_its_limit_lets_the_next_one_use_the_free_slots() {
        let plan = planned(&[(3, Some(1)), (3, None)]);
        let mut queue = Queue::new(&plan, 20);
        let taken: Vec<_> = std::iter::from_fn(|| queue.take()).collect();
        // Group 1 waits for the nodes until group 0 had its turn there: nothing more may start.
        assert_eq!(taken, [JobIndex { group: 0, job: 0 }]);
        queue.give_back(taken[0], "n0");
        let taken: Vec<_> = std::iter::from_fn(|| queue.take()).collect();
        assert_eq!(taken, [JobIndex { group: 0, job: 1 }, JobIndex { group: 1, job: 0 }]);
    }

    proptest! {
        #[test]
        fn limits_hold_and_every_job_gets_exactly_one_turn(
            groups in proptest::collection::vec((1..12usize, proptest::option::of(1..6usize)), 1..5),
            concurrency in 1..8usize,
            finish in proptest::collection::vec(any::<proptest::sample::Index>(), 200),
        ) {
            let plan = planned(&groups);
            let mut queue = Queue::new(&plan, concurrency);
            let mut out: Vec<JobIndex> = Vec::new();
            let mut done = Vec::new();
            for pick in finish {
                while let Some(index) = queue.take() {
                    out.push(index);
                }
                prop_assert!(out.len() <= concurrency);
                for (group, planned) in plan.groups.iter().enumerate() {
                    prop_assert!(out.iter().filter(|i| i.group == group).count() <= planned.limit);
                }
                let mut nodes: Vec<_> = out.iter().map(|i| &plan.groups[i.group].jobs[i.job].node.name).collect();
                nodes.sort();
                nodes.dedup();
                prop_assert_eq!(nodes.len(), out.len(), "two live Jobs on a node");
                if out.is_empty() {
                    break;
                }
                let index = out.swap_remove(pick.index(out.len()));
                queue.give_back(index, &plan.groups[index.group].jobs[index.job].node.name);
                done.push(index);
            }
            prop_assert!(!queue.has_waiting());
            done.sort();
            let all: Vec<_> = plan.groups.iter().enumerate()
                .flat_map(|(group, g)| (0..g.jobs.len()).map(move |job| JobIndex { group, job }))
                .collect();
            prop_assert_eq!(done, all);
        }
    }
}
