//! Nodes that come, change and go.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Station;
use super::lead::Lead;
use super::runs::UnderWay;
use crate::clock;
use crate::cluster::NodeSeen;
use crate::config::Group;
use crate::plan::{KnownNode, ListedNode, plan_one};

/// How long a batch of nodes takes more in: it is told of when all of its Jobs are over, and where nodes
/// keep coming that would be never.
const TOGETHER: Duration = Duration::from_secs(60);

impl Lead<'_> {
    /// The nodes at the start. Gives those that have come since a group was last due: they were not
    /// there for that run.
    pub fn meet(&mut self, nodes: Vec<ListedNode>) -> Vec<(Arc<Group>, String)> {
        let mut late = Vec::new();
        for ListedNode { node, created_at, .. } in nodes {
            let name = node.name.clone();
            let node = KnownNode::new(node);
            for group in &self.groups {
                let is_new = |last| created_at.is_some_and(|created| created > last);
                // One that was made to wait, and came back while nobody was there, waits still.
                let waits = self.waits_at_the_gate(group, node.whole());
                match waits || self.scheduler.last_due(&group.name).is_some_and(is_new) {
                    true => late.push((group.clone(), name.clone())),
                    false => self.tracker.mark_known(group, &node),
                }
            }
            self.nodes.insert(name, node);
        }
        late
    }

    pub fn on_node(&mut self, seen: NodeSeen, station: &Station<'_>) {
        match seen {
            NodeSeen::Trouble(error) => return self.on_nodes_trouble(Some(&error)),
            NodeSeen::Gone(name) => {
                self.nodes.remove(&name);
                self.tracker.remove_node(&name);
                self.gate.forget_node(&name);
            }
            NodeSeen::Node(listed) => {
                let node = KnownNode::new(listed.node);
                let name = node.whole().name.clone();
                // A heartbeat changes nothing that anybody here looks at.
                if self.nodes.get(&name) != Some(&node) {
                    self.nodes.insert(name.clone(), node);
                    let groups = self.groups.clone();
                    let pairs: Vec<_> = groups.into_iter().map(|group| (group, name.clone())).collect();
                    self.serve_nodes(&pairs, station);
                    self.finish_gates_of(&name);
                }
            }
        }
        self.on_nodes_trouble(None);
    }

    /// Jobs that have failed, and that no run is going to repeat.
    pub fn try_nodes_again(&mut self, station: &Station<'_>) {
        for (group, node) in self.tracker.take_retries((self.now)()) {
            let group = self.groups.iter().find(|known| known.name == group).cloned();
            if let (Some(group), Some(node)) = (group, self.nodes.get(&node).cloned()) {
                self.serve_node(&group, &node, station);
            }
        }
    }

    /// Each node that can take its group's Job only now gets it.
    pub fn serve_nodes(&mut self, pairs: &[(Arc<Group>, String)], station: &Station<'_>) {
        for (group, name) in pairs {
            let Some(node) = self.nodes.get(name).cloned() else { continue };
            if self.tracker.take_due(group, &node, (self.now)()) {
                self.serve_node(group, &node, station);
            }
        }
    }

    fn serve_node(&mut self, group: &Arc<Group>, node: &KnownNode, station: &Station<'_>) {
        let Some(run_id) = self.scheduler.run_id(&group.name) else { return };
        let config = &self.active.loaded.config;
        let identity = self.identity(run_id);
        let mut planned = plan_one(config, group, std::iter::once(node), &identity);
        // The group's limit may be a share of all of its nodes, not of this one.
        planned.limit = crate::plan::limit_over(config, group, self.nodes.values());
        let Some(job) = planned.jobs.pop().filter(|job| !self.runner.runner.is_under_way(job)) else {
            return;
        };
        let name = &node.whole().name;
        // Nodes that come together are told of together.
        let mut runs = self.under_way.iter();
        let together = |(_, run): &(&usize, &UnderWay)| {
            let young = run.since.elapsed() < TOGETHER;
            !run.is_run && young && run.group == group.name && run.content.as_ref() == Some(&job.content)
        };
        let together = runs.find(together).map(|(number, _)| *number);
        let taken = together.is_some_and(|number| {
            let jobs = self.runner.runner.counts(number).map_or(0, |(jobs, _)| jobs) + 1;
            if let Some(run) = self.under_way.get_mut(&number) {
                let rounds = jobs.div_ceil(planned.limit.max(1)) as u64;
                run.longest_seconds = rounds.saturating_mul(group.deadline_seconds.into());
            }
            // What is under way counts this batch as well.
            let deadline = Some(self.deadline(0));
            self.runner.runner.extend(
                number,
                job.clone(),
                planned.limit,
                deadline.map(Instant::into_std),
                clock::now(),
            )
        });
        if !taken {
            planned.jobs.push(job);
            self.add(group.clone(), planned, identity, false);
        }
        station.metrics.arrival(&group.name);
        tracing::debug!("node {name} has come and gets the images of group {:?}", group.name);
    }
}
