//! Which nodes get a group's images between its runs: those that join, turn Ready, are uncordoned or
//! gain a matching label. Pure: whoever asks brings `now`.
//!
//! A node that comes and goes is not served each time: within `keep_jobs` of its last Job not at all,
//! after that at intervals that double. One whose Job has failed is tried again at the same intervals,
//! also where it stays.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::config::{Config, Group};
use crate::plan::{KnownNode, content_of};

/// The longest time between two Jobs of a node that comes and goes.
const MAX_DELAY: SignedDuration = SignedDuration::from_hours(24);

/// How long after its TTL a Job may still be there: the controller that deletes it has others to delete.
const TTL_GRACE: SignedDuration = SignedDuration::from_secs(60);

/// All nodes as they are now, and what every group that follows nodes knows of them.
#[derive(Debug, Default)]
pub struct NodeTracker {
    /// By name.
    nodes: BTreeMap<String, KnownNode>,
    groups: HashMap<String, GroupNodes>,
}

#[derive(Debug, Default)]
struct GroupNodes {
    content: String,
    /// How long a finished Job stays.
    keep: SignedDuration,
    by_node: HashMap<Arc<str>, NodeState>,
}

#[derive(Debug)]
struct NodeState {
    uid: Arc<str>,
    /// When it was last seen, it could take the group's Job.
    is_for: bool,
    /// When its last Job ended.
    last: Option<Timestamp>,
    /// Jobs that it got because it came back, or because one had failed.
    repeats: u32,
    /// When its Job, which has failed, is tried again.
    retry_at: Option<Timestamp>,
}

/// The end of a Job.
#[derive(Clone, Copy, Debug)]
pub struct JobEnd<'a> {
    pub group: &'a str,
    pub node: &'a str,
    /// Of the node.
    pub uid: &'a str,
    pub content: &'a str,
    pub at: Timestamp,
    pub succeeded: bool,
    /// Nobody else tries it again when it has failed: no later run of the group.
    pub is_last: bool,
}

impl NodeTracker {
    /// Takes a node in as it is now; whether it was not known like that.
    pub fn insert(&mut self, node: KnownNode) -> bool {
        if self.nodes.get(&node.whole().name) == Some(&node) {
            return false;
        }
        self.nodes.insert(node.whole().name.clone(), node);
        true
    }

    pub fn node(&self, name: &str) -> Option<&KnownNode> {
        self.nodes.get(name)
    }

    /// In the order of their names.
    pub fn nodes(&self) -> impl Iterator<Item = &KnownNode> {
        self.nodes.values()
    }

    /// Another config is in force. A group of other content begins anew with every node.
    pub fn apply_config(&mut self, config: &Config) {
        let mut before = std::mem::take(&mut self.groups);
        for group in config.groups.iter().filter(|group| group.new_nodes) {
            let content = content_of(config, group);
            let mut nodes = before.remove(&group.name).unwrap_or_default();
            nodes.keep = SignedDuration::from_secs(group.keep_jobs_seconds.into());
            if nodes.content != content {
                nodes.content = content;
                for state in nodes.by_node.values_mut() {
                    (state.last, state.repeats, state.retry_at) = (None, 0, None);
                }
            }
            self.groups.insert(group.name.clone(), nodes);
        }
    }

    /// Whether `node`, as it is now, is to get `group`'s Job at once.
    pub fn take_due(&mut self, group: &Group, node: &KnownNode, now: Timestamp) -> bool {
        let Some(state) = self.state(group, node) else { return false };
        let is_for = node.is_for(group);
        if std::mem::replace(&mut state.is_for, is_for) || !is_for {
            return false;
        }
        let Some(last) = state.last else { return true };
        // By a clock that was ahead: it counts from now.
        let last = last.min(now);
        state.last = Some(last);
        // The Job of the last time is there for that long, and says that nothing is left to do.
        let keep = SignedDuration::from_secs(group.keep_jobs_seconds.into());
        if now.duration_since(last) < delay(keep, state.repeats) {
            return false;
        }
        state.repeats += 1;
        true
    }

    /// Nodes whose Jobs have failed and are tried again now, each with its group.
    pub fn take_retries(&mut self, now: Timestamp) -> Vec<(String, String)> {
        let mut due = Vec::new();
        for (group, nodes) in &mut self.groups {
            for (node, state) in &mut nodes.by_node {
                // A time that a clock has set which was ahead is no later than one that is set now.
                let latest = now.checked_add(delay(nodes.keep, state.repeats) + TTL_GRACE).ok();
                state.retry_at = state.retry_at.map(|at| latest.map_or(at, |latest| at.min(latest)));
                if state.is_for && state.retry_at.is_some_and(|at| at <= now) {
                    state.retry_at = None;
                    state.repeats += 1;
                    due.push((group.clone(), node.to_string()));
                }
            }
        }
        due.sort();
        due
    }

    /// All nodes are there, and nothing is to be done about that.
    pub fn mark_all_known(&mut self, group: &Group) {
        let nodes: Vec<KnownNode> = self.nodes.values().cloned().collect();
        for node in nodes {
            self.mark_known(group, &node);
        }
    }

    /// `node` is there, and nothing is to be done about that.
    pub fn mark_known(&mut self, group: &Group, node: &KnownNode) {
        if let Some(state) = self.state(group, node) {
            state.is_for = node.is_for(group);
        }
    }

    /// Takes in the end of a Job, where the node and the group's content are still those that it was for.
    pub fn record_end(&mut self, end: JobEnd<'_>) {
        let JobEnd { group, node, uid, content, at, succeeded, is_last } = end;
        let nodes = self.groups.get_mut(group).filter(|nodes| nodes.content == content);
        let Some(GroupNodes { keep, by_node, .. }) = nodes else { return };
        let Some(state) = by_node.get_mut(node).filter(|state| *state.uid == *uid) else { return };
        state.last = Some(at);
        let again = at.checked_add(delay(*keep, state.repeats) + TTL_GRACE).ok();
        state.retry_at = again.filter(|_| !succeeded && is_last);
        if succeeded && !is_last {
            state.repeats = 0;
        }
    }

    /// The node is gone: another of its name is another.
    pub fn remove_node(&mut self, node: &str) {
        self.nodes.remove(node);
        for nodes in self.groups.values_mut() {
            nodes.by_node.remove(node);
        }
    }

    fn state(&mut self, group: &Group, node: &KnownNode) -> Option<&mut NodeState> {
        let nodes = self.groups.get_mut(&group.name)?;
        let node = node.whole();
        if !nodes.by_node.contains_key(node.name.as_str()) {
            nodes.by_node.insert(node.name.as_str().into(), NodeState::new(&node.uid));
        }
        let state = nodes.by_node.get_mut(node.name.as_str())?;
        if *state.uid != *node.uid {
            *state = NodeState::new(&node.uid);
        }
        Some(state)
    }
}

impl NodeState {
    fn new(uid: &str) -> NodeState {
        NodeState { uid: uid.into(), is_for: false, last: None, repeats: 0, retry_at: None }
    }
}

/// Until the next Job of a node that has had so many again.
fn delay(keep: SignedDuration, repeats: u32) -> SignedDuration {
    (keep * (1 << repeats.min(10))).min(MAX_DELAY.max(keep))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Node;
    use crate::plan::fixtures::{config, group, ready_node};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn known(change: impl FnOnce(&mut Node)) -> KnownNode {
        let mut node = ready_node("n");
        change(&mut node);
        KnownNode::new(node)
    }

    /// The end of `n`'s Job of group `g`, of the content in force.
    fn end(tracker: &mut NodeTracker, uid: &str, at: Timestamp, succeeded: bool) {
        let content = tracker.groups["g"].content.clone();
        let end = JobEnd { group: "g", node: "n", uid, content: &content, at, succeeded, is_last: true };
        tracker.record_end(end);
    }

    fn tracker(config: &Config) -> NodeTracker {
        let mut tracker = NodeTracker::default();
        tracker.apply_config(config);
        tracker
    }

    #[test]
    fn a_node_is_due_once_it_can_take_the_job() {
        let config = config(vec![group("g")]);
        let group = &config.groups[0];
        let mut tracker = tracker(&config);
        let not_ready = known(|node| node.ready = false);
        assert!(!tracker.take_due(group, &not_ready, at(0)));
        assert!(tracker.take_due(group, &known(|_| {}), at(1)), "it turned Ready");
        assert!(!tracker.take_due(group, &known(|_| {}), at(2)), "a heartbeat is no change");
        let mut tracker = NodeTracker::default();
        tracker.apply_config(&config);
        assert!(!tracker.take_due(group, &known(|node| node.unschedulable = true), at(3)));
        assert!(tracker.take_due(group, &known(|_| {}), at(4)), "it was uncordoned");
    }

    #[test]
    fn a_label_makes_a_node_one_of_the_group() {
        let mut selecting = group("g");
        selecting.node_selector = crate::config::NodeSelector::parse("zone=fra").unwrap();
        let config = config(vec![selecting]);
        let mut tracker = tracker(&config);
        assert!(!tracker.take_due(&config.groups[0], &known(|_| {}), at(0)));
        let labelled = known(|node| drop(node.labels.insert("zone".into(), "fra".into())));
        assert!(tracker.take_due(&config.groups[0], &labelled, at(1)));
    }

    #[test]
    fn a_node_that_comes_back_waits_for_keep_jobs_and_then_twice_as_long_each_time() {
        let config = config(vec![group("g")]);
        let group = &config.groups[0];
        let mut tracker = tracker(&config);
        let mut due_at = Vec::new();
        // Down and up again every 100 s, for four days.
        for second in (0..4 * 86_400).step_by(100) {
            tracker.take_due(group, &known(|node| node.ready = false), at(second));
            if tracker.take_due(group, &known(|_| {}), at(second + 50)) {
                end(&mut tracker, "uid-n", at(second + 50), true);
                due_at.push(second + 50);
            }
        }
        let pauses: Vec<i64> = due_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(pauses, [3600, 7200, 14_400, 28_800, 57_600, 86_400, 86_400]);
    }

    #[test]
    fn another_node_of_its_name_and_other_content_begin_anew() {
        let mut changed = config(vec![group("g")]);
        let mut tracker = tracker(&changed);
        assert!(tracker.take_due(&changed.groups[0], &known(|_| {}), at(0)));
        end(&mut tracker, "uid-n", at(0), true);
        let replaced = known(|node| node.uid = "another".into());
        assert!(tracker.take_due(&changed.groups[0], &replaced, at(1)));
        // The Job of the node that is gone says nothing of this one.
        end(&mut tracker, "uid-n", at(1), true);
        assert_eq!(tracker.groups["g"].by_node["n"].last, None);
        end(&mut tracker, "another", at(1), true);
        let of_before = tracker.groups["g"].content.clone();
        changed.groups[0].images = vec![crate::config::ImageRef::parse("quay.io/team/app:2.0").unwrap()];
        tracker.apply_config(&changed);
        assert!(!tracker.take_due(&changed.groups[0], &replaced, at(2)), "a change is the run's affair");
        let late = JobEnd {
            group: "g",
            node: "n",
            uid: "another",
            content: &of_before,
            at: at(2),
            succeeded: true,
            is_last: true,
        };
        tracker.record_end(late);
        let down = known(|node| (node.ready, node.uid) = (false, "another".into()));
        tracker.take_due(&changed.groups[0], &down, at(3));
        assert!(tracker.take_due(&changed.groups[0], &replaced, at(4)));
        tracker.remove_node("n");
        assert!(tracker.groups["g"].by_node.is_empty());
    }

    #[test]
    fn a_node_whose_job_has_failed_is_tried_again_also_where_it_stays() {
        let config = config(vec![group("g")]);
        let mut tracker = tracker(&config);
        assert!(tracker.take_due(&config.groups[0], &known(|_| {}), at(0)));
        end(&mut tracker, "uid-n", at(10), false);
        assert_eq!(tracker.take_retries(at(10 + 3600)), [], "the failed Job is still there");
        let again = [("g".to_owned(), "n".to_owned())];
        assert_eq!(tracker.take_retries(at(10 + 3660)), again);
        assert_eq!(tracker.take_retries(at(10 + 3660)), [], "once");
        end(&mut tracker, "uid-n", at(4000), false);
        assert_eq!(tracker.take_retries(at(4000 + 3660)), [], "twice as long each time");
        assert_eq!(tracker.take_retries(at(4000 + 7260)), again);
        end(&mut tracker, "uid-n", at(12_000), true);
        assert_eq!(tracker.take_retries(at(1_000_000)), []);
    }

    #[test]
    fn a_clock_that_was_ahead_keeps_no_node_waiting() {
        const YEARS: i64 = 10 * 365 * 86_400;
        let config = config(vec![group("g")]);
        let group = &config.groups[0];
        let mut failed = tracker(&config);
        assert!(failed.take_due(group, &known(|_| {}), at(YEARS)));
        end(&mut failed, "uid-n", at(YEARS), false);
        assert_eq!(failed.take_retries(at(0)), []);
        assert_eq!(failed.take_retries(at(3600 + 60)), [("g".to_owned(), "n".to_owned())]);

        let mut back = tracker(&config);
        assert!(back.take_due(group, &known(|_| {}), at(YEARS)));
        end(&mut back, "uid-n", at(YEARS), true);
        for (second, expected) in [(0, false), (100, false), (3600, true)] {
            back.take_due(group, &known(|node| node.ready = false), at(second));
            assert_eq!(back.take_due(group, &known(|_| {}), at(second)), expected, "{second}");
        }
    }

    #[test]
    fn a_group_that_does_not_follow_nodes_has_no_arrivals() {
        let mut still = group("g");
        still.new_nodes = false;
        let config = config(vec![still]);
        assert!(!tracker(&config).take_due(&config.groups[0], &known(|_| {}), at(0)));
    }
}
