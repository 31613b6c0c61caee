//! In which order planned Jobs get their turn. Pure bookkeeping: no client, no clock.
//!
//! Work-conserving: whenever some Job may start within the limits, [`Queue::take`] returns one.
//! Three rules hold at every moment: at most `concurrency` Jobs are out, at most a group's limit of
//! that group, in however many batches its Jobs come, and at most one on a node. A node's groups take turns in file order, because the
//! kubelet pulls one image after another anyway and a deadline must not run while its Job waits.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// Where a Job stands: number of its batch, then Job of the batch. Orders as batches were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobIndex {
    pub group: usize,
    pub job: usize,
}

/// What is still to be started of all groups that were added.
#[derive(Debug)]
pub struct Queue {
    concurrency: usize,
    /// Slots taken: our own Jobs, and live ones of other runs.
    out: usize,
    /// Those of them that live Jobs of other runs take.
    others: usize,
    waiting: usize,
    batches: BTreeMap<usize, BatchTurns>,
    /// By group.
    shares: HashMap<String, Share>,
    /// Live Jobs of other runs, by group.
    others_by_group: HashMap<String, usize>,
    nodes: HashMap<String, NodeTurns>,
}

#[derive(Debug)]
struct BatchTurns {
    group: String,
    /// Jobs whose node is free.
    ready: BTreeSet<JobIndex>,
    /// Nothing of it is to start for the time being.
    on_hold: bool,
}

/// What a group may have out, and has.
#[derive(Debug)]
struct Share {
    limit: usize,
    out: usize,
    batches: usize,
}

/// One node's Jobs that have not been started, in file order. The first is ready where nothing holds
/// the node.
#[derive(Debug, Default)]
struct NodeTurns {
    waiting: VecDeque<JobIndex>,
    /// Live Jobs on the node.
    holders: usize,
    /// Those of them that are other runs'.
    others: usize,
}

impl Queue {
    pub fn new(concurrency: usize) -> Queue {
        Queue {
            concurrency,
            out: 0,
            others: 0,
            waiting: 0,
            batches: BTreeMap::new(),
            shares: HashMap::new(),
            others_by_group: HashMap::new(),
            nodes: HashMap::new(),
        }
    }

    /// A limit that holds for what is started from now on.
    pub fn set_concurrency(&mut self, concurrency: usize) {
        self.concurrency = concurrency;
    }

    /// Takes a batch of `group` in. The group's latest limit holds for all of its batches.
    pub fn add_batch(&mut self, batch: usize, group: &str, limit: usize) {
        let share = self.shares.entry(group.to_owned()).or_insert(Share { limit, out: 0, batches: 0 });
        share.limit = limit;
        share.batches += 1;
        let turns = BatchTurns { group: group.to_owned(), ready: BTreeSet::new(), on_hold: false };
        self.batches.insert(batch, turns);
    }

    /// A limit of a group that holds for what is started from now on.
    pub fn set_limit(&mut self, group: &str, limit: usize) {
        if let Some(share) = self.shares.get_mut(group) {
            share.limit = limit;
        }
    }

    /// A Job of a batch that was added is to have its turn on `node`.
    pub fn push(&mut self, index: JobIndex, node: &str) {
        if !self.batches.contains_key(&index.group) {
            return;
        }
        self.turns_of(node).waiting.push_back(index);
        self.waiting += 1;
        self.next_turn(node);
    }

    /// The next Job to start, if the limits leave room for one. Its slot stays taken until
    /// [`Queue::give_back`].
    pub fn take<'n>(&mut self, node_of: impl FnOnce(JobIndex) -> &'n str) -> Option<JobIndex> {
        if self.out >= self.concurrency {
            return None;
        }
        let index = *self.batches.values().find(|batch| self.may_start(batch))?.ready.first()?;
        self.start(index, node_of(index));
        Some(index)
    }

    /// Lets nothing more of a batch start, or lets it again. What is out goes on, and other batches need
    /// not wait for it on a node.
    pub fn set_on_hold(&mut self, number: usize, on_hold: bool) {
        let Some(batch) = self.batches.get_mut(&number) else { return };
        if std::mem::replace(&mut batch.on_hold, on_hold) == on_hold {
            return;
        }
        let waits = |turns: &NodeTurns| turns.waiting.iter().any(|index| index.group == number);
        let nodes: Vec<String> =
            self.nodes.iter().filter(|(_, turns)| waits(turns)).map(|(node, _)| node.clone()).collect();
        for node in nodes {
            self.next_turn(&node);
        }
    }

    /// Takes the slot of a certain waiting Job, whatever the limits: it is live already.
    pub fn adopt(&mut self, index: JobIndex, node: &str) {
        self.start(index, node);
    }

    /// Frees the slot of a Job that [`Queue::take`] returned or [`Queue::adopt`] took, and lets its
    /// node's next group have its turn.
    pub fn give_back(&mut self, index: JobIndex, node: &str) {
        if let Some(share) = self.share_of(index) {
            share.out = share.out.saturating_sub(1);
        }
        self.let_go(node);
    }

    /// Undoes a [`Queue::take`] or [`Queue::adopt`]: the Job is the next of its node again.
    pub fn put_back(&mut self, index: JobIndex, node: &str) {
        self.give_back(index, node);
        if !self.batches.contains_key(&index.group) {
            return;
        }
        self.turns_of(node).waiting.push_front(index);
        self.waiting += 1;
        self.next_turn(node);
    }

    /// A waiting Job is not to be started any longer.
    pub fn withdraw(&mut self, index: JobIndex, node: &str) {
        self.unlist(index, node);
        if let Some(batch) = self.batches.get_mut(&index.group) {
            batch.ready.remove(&index);
        }
        self.next_turn(node);
    }

    /// Forgets a batch all of whose Jobs have had their turn and given it back.
    pub fn remove_batch(&mut self, batch: usize) {
        let Some(BatchTurns { group, .. }) = self.batches.remove(&batch) else { return };
        if let Some(share) = self.shares.get_mut(&group) {
            share.batches -= 1;
            if share.batches == 0 {
                self.shares.remove(&group);
            }
        }
    }

    /// A live Job of another run is on `node`: it takes a slot, of its group's too, and nothing of ours starts
    /// there.
    pub fn occupy(&mut self, node: &str, group: &str) {
        self.hold(node);
        self.others += 1;
        *self.others_by_group.entry(group.to_owned()).or_default() += 1;
        if let Some(turns) = self.nodes.get_mut(node) {
            turns.others += 1;
        }
    }

    /// Undoes one [`Queue::occupy`].
    pub fn release(&mut self, node: &str, group: &str) {
        self.others = self.others.saturating_sub(1);
        if let Some(others) = self.others_by_group.get_mut(group) {
            *others -= 1;
            if *others == 0 {
                self.others_by_group.remove(group);
            }
        }
        if let Some(turns) = self.nodes.get_mut(node) {
            turns.others = turns.others.saturating_sub(1);
        }
        self.let_go(node);
    }

    /// Whether a Job could start if live Jobs of other runs did not take slots.
    pub fn lacks_slots(&self) -> bool {
        let is_full = self.out >= self.concurrency;
        self.out - self.others < self.concurrency
            && self.batches.values().any(|batch| {
                let has_room = self.has_room(batch, 0);
                has_room && (is_full || !self.may_start(batch))
            })
    }

    /// Whether a Job waits for `node`, which nothing but live Jobs of other runs holds.
    pub fn is_kept_from(&self, node: &str) -> bool {
        let turns = self.nodes.get(node);
        turns.is_some_and(|turns| {
            !turns.waiting.is_empty() && turns.others > 0 && turns.others == turns.holders
        })
    }

    /// Slots that live Jobs of other runs take, and all that there are.
    pub fn slots(&self) -> (usize, usize) {
        (self.others, self.concurrency)
    }

    /// Jobs that have not been started.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether Jobs are left that have not been started.
    pub fn has_waiting(&self) -> bool {
        self.waiting > 0
    }

    fn start(&mut self, index: JobIndex, node: &str) {
        // Before it leaves the node's list: its first one, whose turn it may be no longer, is known
        // by standing there.
        self.hold(node);
        self.unlist(index, node);
        if let Some(share) = self.share_of(index) {
            share.out += 1;
        }
    }

    /// A live Job is on `node`: it takes a slot, and nothing else starts there.
    fn hold(&mut self, node: &str) {
        self.out += 1;
        self.turns_of(node).holders += 1;
        self.next_turn(node);
    }

    /// Undoes one [`Queue::hold`].
    fn let_go(&mut self, node: &str) {
        self.out = self.out.saturating_sub(1);
        if let Some(turns) = self.nodes.get_mut(node) {
            turns.holders = turns.holders.saturating_sub(1);
        }
        self.next_turn(node);
    }

    fn may_start(&self, batch: &BatchTurns) -> bool {
        self.has_room(batch, self.others_by_group.get(&batch.group).copied().unwrap_or_default())
    }

    /// Whether a Job of the batch could start beside so many of its group that are other runs'.
    fn has_room(&self, batch: &BatchTurns, others: usize) -> bool {
        let share = self.shares.get(&batch.group);
        !batch.on_hold
            && !batch.ready.is_empty()
            && share.is_some_and(|share| share.out + others < share.limit)
    }

    fn share_of(&mut self, index: JobIndex) -> Option<&mut Share> {
        let group = &self.batches.get(&index.group)?.group;
        self.shares.get_mut(group)
    }

    fn unlist(&mut self, index: JobIndex, node: &str) {
        if let Some(turns) = self.nodes.get_mut(node) {
            let before = turns.waiting.len();
            turns.waiting.retain(|waiting| *waiting != index);
            self.waiting -= before - turns.waiting.len();
        }
    }

    fn turns_of(&mut self, node: &str) -> &mut NodeTurns {
        self.nodes.entry(node.to_owned()).or_default()
    }

    /// The first in line on a free node is ready, and none on another; a node that nobody waits for is
    /// forgotten.
    fn next_turn(&mut self, node: &str) {
        let Some(turns) = self.nodes.get(node) else { return };
        let mut is_free = turns.holders == 0;
        if is_free && turns.waiting.is_empty() {
            self.nodes.remove(node);
            return;
        }
        for index in &turns.waiting {
            let Some(batch) = self.batches.get_mut(&index.group) else { continue };
            if is_free && !batch.on_hold {
                batch.ready.insert(*index);
                is_free = false;
            } else {
                batch.ready.remove(index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fixtures::{config, group, ready_node};
    use crate::plan::{Plan, RunId, RunIdentity, plan};
    use proptest::prelude::*;

    /// A queue with all of `plan`'s Jobs.
    fn queue_of(plan: &Plan, concurrency: usize) -> Queue {
        let mut queue = Queue::new(concurrency);
        for (group, planned) in plan.groups.iter().enumerate() {
            queue.add_batch(group, &planned.group.name, planned.limit);
            for (job, planned) in planned.jobs.iter().enumerate() {
                queue.push(JobIndex { group, job }, &planned.node.name);
            }
        }
        queue
    }

    fn take(queue: &mut Queue, plan: &Plan) -> Option<JobIndex> {
        queue.take(|index| &plan.job(index).node.name)
    }

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
        let mut queue = queue_of(&plan, 20);
        let first = take(&mut queue, &plan).unwrap();
        assert_eq!(first, JobIndex { group: 0, job: 0 });
        assert_eq!(take(&mut queue, &plan), None, "the node is busy");
        assert!(queue.has_waiting());
        queue.give_back(first, "n0");
        assert_eq!(take(&mut queue, &plan), Some(JobIndex { group: 1, job: 0 }));
        assert!(!queue.has_waiting());
    }

    #[test]
    fn a_group_at_its_limit_lets_the_next_one_use_the_free_slots() {
        let plan = planned(&[(3, Some(1)), (3, None)]);
        let mut queue = queue_of(&plan, 20);
        let taken: Vec<_> = std::iter::from_fn(|| take(&mut queue, &plan)).collect();
        // Group 1 waits for the nodes until group 0 had its turn there: nothing more may start.
        assert_eq!(taken, [JobIndex { group: 0, job: 0 }]);
        queue.give_back(taken[0], "n0");
        let taken: Vec<_> = std::iter::from_fn(|| take(&mut queue, &plan)).collect();
        assert_eq!(taken, [JobIndex { group: 0, job: 1 }, JobIndex { group: 1, job: 0 }]);
    }

    #[test]
    fn a_live_job_of_an_earlier_run_holds_its_node_and_a_slot() {
        let plan = planned(&[(3, None)]);
        let mut queue = queue_of(&plan, 2);
        queue.occupy("n0", "elsewhere");
        assert_eq!(take(&mut queue, &plan), Some(JobIndex { group: 0, job: 1 }), "n0 is held");
        assert_eq!(take(&mut queue, &plan), None, "two live Jobs are all that may be");
        queue.release("n0", "elsewhere");
        assert_eq!(take(&mut queue, &plan), Some(JobIndex { group: 0, job: 0 }));
        queue.occupy("n0", "elsewhere");
        queue.give_back(JobIndex { group: 0, job: 0 }, "n0");
        queue.release("n0", "elsewhere");
        queue.occupy("elsewhere", "elsewhere");
        queue.release("elsewhere", "elsewhere");
        assert_eq!(take(&mut queue, &plan), Some(JobIndex { group: 0, job: 2 }));
        assert!(!queue.has_waiting());
    }

    #[test]
    fn an_adopted_job_is_out_whosever_turn_it_was() {
        let plan = planned(&[(2, None), (2, None)]);
        let mut queue = queue_of(&plan, 20);
        // The second group's Job on n0 is live already.
        queue.adopt(JobIndex { group: 1, job: 0 }, "n0");
        assert_eq!(take(&mut queue, &plan), Some(JobIndex { group: 0, job: 1 }), "n0 is busy");
        assert_eq!(take(&mut queue, &plan), None);
        queue.give_back(JobIndex { group: 1, job: 0 }, "n0");
        assert_eq!(take(&mut queue, &plan), Some(JobIndex { group: 0, job: 0 }));
        queue.give_back(JobIndex { group: 0, job: 0 }, "n0");
        assert_eq!(take(&mut queue, &plan), None, "nothing is left for n0");
        queue.give_back(JobIndex { group: 0, job: 1 }, "n1");
        assert_eq!(take(&mut queue, &plan), Some(JobIndex { group: 1, job: 1 }));
        assert!(!queue.has_waiting());
    }

    #[test]
    fn a_job_that_is_withdrawn_lets_the_next_group_have_the_node() {
        let plan = planned(&[(2, None), (1, None)]);
        let mut queue = queue_of(&plan, 20);
        queue.withdraw(JobIndex { group: 0, job: 0 }, "n0");
        assert_eq!(take(&mut queue, &plan), Some(JobIndex { group: 0, job: 1 }));
        assert_eq!(take(&mut queue, &plan), Some(JobIndex { group: 1, job: 0 }));
        queue.give_back(JobIndex { group: 0, job: 1 }, "n1");
        queue.give_back(JobIndex { group: 1, job: 0 }, "n0");
        queue.withdraw(JobIndex { group: 1, job: 1 }, "n1");
        assert!(!queue.has_waiting());
        assert!(queue.nodes.is_empty(), "a node that nobody waits for is forgotten");
    }

    #[test]
    fn a_group_that_is_added_later_waits_for_its_nodes() {
        let plan = planned(&[(1, None), (1, None)]);
        let mut queue = Queue::new(20);
        queue.add_batch(0, "g0", 1);
        queue.push(JobIndex { group: 0, job: 0 }, "n0");
        let first = take(&mut queue, &plan).unwrap();
        queue.add_batch(1, "g1", 1);
        queue.push(JobIndex { group: 1, job: 0 }, "n0");
        assert_eq!(take(&mut queue, &plan), None, "the node is busy");
        queue.give_back(first, "n0");
        queue.remove_batch(0);
        assert_eq!(take(&mut queue, &plan), Some(JobIndex { group: 1, job: 0 }));
    }

    #[test]
    fn a_job_that_is_put_back_is_the_next_of_its_node() {
        let plan = planned(&[(2, None), (2, None)]);
        let mut queue = queue_of(&plan, 20);
        let first = take(&mut queue, &plan).unwrap();
        queue.put_back(first, "n0");
        assert_eq!(take(&mut queue, &plan), Some(first));
        // Another run's Job has taken the node meanwhile.
        queue.occupy("n0", "elsewhere");
        queue.put_back(first, "n0");
        assert_eq!(take(&mut queue, &plan), Some(JobIndex { group: 0, job: 1 }));
        assert_eq!(take(&mut queue, &plan), None);
        assert!(queue.is_kept_from("n0") && !queue.is_kept_from("n1") && !queue.is_kept_from("n9"));
        queue.release("n0", "elsewhere");
        assert_eq!(take(&mut queue, &plan), Some(first));
        queue.give_back(first, "n0");
        assert_eq!(take(&mut queue, &plan), Some(JobIndex { group: 1, job: 0 }));
    }

    #[test]
    fn a_batch_on_hold_lets_the_others_go_first() {
        let plan = planned(&[(2, None), (2, None)]);
        let mut queue = queue_of(&plan, 20);
        queue.set_on_hold(0, true);
        assert_eq!(take(&mut queue, &plan), Some(JobIndex { group: 1, job: 0 }));
        queue.set_on_hold(0, false);
        assert_eq!(take(&mut queue, &plan), Some(JobIndex { group: 0, job: 1 }), "file order again");
        assert_eq!(take(&mut queue, &plan), None);
        queue.give_back(JobIndex { group: 1, job: 0 }, "n0");
        queue.set_on_hold(1, true);
        queue.give_back(JobIndex { group: 0, job: 1 }, "n1");
        assert_eq!(take(&mut queue, &plan), Some(JobIndex { group: 0, job: 0 }));
        assert_eq!(take(&mut queue, &plan), None);
    }

    #[test]
    fn slots_that_other_runs_take_are_told_from_ones_own() {
        let plan = planned(&[(3, None)]);
        let mut queue = queue_of(&plan, 2);
        queue.occupy("elsewhere", "elsewhere");
        assert!(!queue.lacks_slots(), "one is left");
        let own = take(&mut queue, &plan).unwrap();
        assert!(queue.lacks_slots());
        assert_eq!(queue.slots(), (1, 2));
        queue.release("elsewhere", "elsewhere");
        let second = take(&mut queue, &plan).unwrap();
        assert!(!queue.lacks_slots(), "all are ours");
        queue.give_back(own, "n0");
        queue.give_back(second, "n1");
    }

    #[test]
    fn live_jobs_of_other_runs_count_against_the_limit_of_their_group() {
        let plan = planned(&[(3, Some(1)), (3, None)]);
        let mut queue = queue_of(&plan, 20);
        queue.occupy("n2", "g0");
        assert!(queue.lacks_slots(), "g0 could start, but for the other run");
        assert_eq!(take(&mut queue, &plan), None, "g1 waits for its turn on each node");
        queue.release("n2", "g0");
        assert!(!queue.lacks_slots());
        assert_eq!(take(&mut queue, &plan), Some(JobIndex { group: 0, job: 0 }));
        assert!(queue.others_by_group.is_empty());
    }

    #[test]
    fn batches_of_one_group_share_its_limit() {
        let plan = planned(&[(2, None), (2, None)]);
        let mut queue = Queue::new(20);
        queue.add_batch(0, "g", 1);
        queue.add_batch(1, "g", 1);
        queue.push(JobIndex { group: 0, job: 0 }, "n0");
        queue.push(JobIndex { group: 1, job: 1 }, "n1");
        let first = take(&mut queue, &plan).unwrap();
        assert_eq!(take(&mut queue, &plan), None, "the group has one out");
        queue.set_limit("g", 2);
        assert_eq!(take(&mut queue, &plan), Some(JobIndex { group: 1, job: 1 }));
        queue.give_back(first, "n0");
        queue.remove_batch(0);
        assert_eq!(queue.shares["g"].out, 1);
        queue.give_back(JobIndex { group: 1, job: 1 }, "n1");
        queue.remove_batch(1);
        assert!(queue.shares.is_empty() && queue.nodes.is_empty());
    }

    proptest! {
        #[test]
        fn limits_hold_and_every_job_gets_exactly_one_turn(
            groups in proptest::collection::vec((1..12usize, proptest::option::of(1..6usize)), 1..5),
            concurrency in 1..8usize,
            finish in proptest::collection::vec(any::<proptest::sample::Index>(), 200),
        ) {
            let plan = planned(&groups);
            let mut queue = queue_of(&plan, concurrency);
            let mut out: Vec<JobIndex> = Vec::new();
            let mut done = Vec::new();
            for pick in finish {
                while let Some(index) = take(&mut queue, &plan) {
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
