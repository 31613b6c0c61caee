//! Readiness of nodes: the label that says that a group's images are there, and the startup taint that
//! goes then.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::Active;
use super::lead::{Lead, Served};
use crate::cluster::{Cluster, GateError};
use crate::config::Group;
use crate::plan::{KnownNode, Node};

/// Nodes become ready one by one; where many do at once, these many patches are under way.
const PATCHES_IN_FLIGHT: usize = 8;

/// Between two tries of what has failed.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Patches of nodes: under way, and owed because they failed.
pub struct Gate<'a> {
    cluster: &'a Cluster,
    patches: FuturesUnordered<BoxFuture<'a, Patched>>,
    slots: Arc<Semaphore>,
    /// By group and node: what is to be there.
    owed: HashMap<(String, String), Owed>,
    /// Rounds in which some patch has failed, one after another.
    failures: u32,
    /// When what is owed is tried again.
    again_at: Instant,
    /// The last failure, as it was said.
    said: Option<String>,
}

/// A patch that is to be made.
#[derive(Clone, Debug)]
enum Owed {
    /// Of the node with this uid.
    Open {
        content: Arc<str>,
        uid: String,
    },
    Close,
}

/// How a patch went.
pub struct Patched {
    group: String,
    node: String,
    owed: Owed,
    result: Result<(), GateError>,
}

impl<'a> Gate<'a> {
    pub fn new(cluster: &'a Cluster) -> Gate<'a> {
        Gate {
            cluster,
            patches: FuturesUnordered::new(),
            slots: Arc::new(Semaphore::new(PATCHES_IN_FLIGHT)),
            owed: HashMap::new(),
            failures: 0,
            again_at: Instant::now(),
            said: None,
        }
    }

    /// The next patch that is through; waits for ever where none is under way.
    pub async fn next(&mut self) -> Option<Patched> {
        match self.patches.next().await {
            Some(patched) => Some(patched),
            None => std::future::pending().await,
        }
    }

    fn open(&mut self, group: &Group, node: Node, content: Arc<str>) {
        let (cluster, slots) = (self.cluster, self.slots.clone());
        let (name, taint) = (group.name.clone(), group.remove_taint.clone());
        let labels = group.ready_label;
        self.patches.push(Box::pin(async move {
            // The semaphore is never closed; without a permit it would only be one more at once.
            let _slot = slots.acquire().await;
            let digits = content.get(..16).filter(|_| labels);
            let result = cluster.open_gate(&node, &label_key(&name), digits, taint.as_ref()).await;
            let owed = Owed::Open { content, uid: node.uid };
            Patched { group: name, node: node.name, owed, result }
        }));
    }

    /// The node is gone, and with it what was owed on it.
    pub fn forget_node(&mut self, name: &str) {
        self.owed.retain(|(_, node), _| node != name);
    }

    fn close(&mut self, group: String, node: String) {
        let (cluster, slots) = (self.cluster, self.slots.clone());
        self.patches.push(Box::pin(async move {
            let _slot = slots.acquire().await;
            let result = cluster.remove_ready_label(&node, &label_key(&group)).await;
            Patched { group, node, owed: Owed::Close, result }
        }));
    }
}

impl Lead<'_> {
    /// All images of a group are on a node now.
    pub fn open_gate(&mut self, served: &Served) {
        let Served { group, content, node, uid } = served;
        let Some(group) = self.groups.iter().find(|g| g.name == *group && has_gate(g)) else { return };
        // A group that has changed meanwhile has another content, and its own run to come.
        if *crate::plan::content_of(&self.active.loaded.config, group) != **content {
            return;
        }
        if let Some(node) = self.nodes.get(node).map(KnownNode::whole).filter(|node| node.uid == *uid) {
            self.gate.open(group, (**node).clone(), content.clone());
        }
    }

    /// Whether `node` does not show yet that `group`'s images are on it, and is to.
    pub fn waits_at_the_gate(&self, group: &Group, node: &Node) -> bool {
        let shows = || {
            let content = crate::plan::content_of(&self.active.loaded.config, group);
            node.labels.get(&label_key(&group.name)).is_some_and(|label| content.get(..16) == Some(label))
        };
        group.remove_taint.as_ref().is_some_and(|taint| node.has_taint(taint))
            || (group.ready_label && !shows())
    }

    /// A node that was labelled before its taint could be removed.
    pub fn finish_gates_of(&mut self, name: &str) {
        let Some(node) = self.nodes.get(name).map(|node| node.whole().clone()) else { return };
        for group in self.groups.iter().filter(|group| group.ready_label) {
            let tainted = group.remove_taint.as_ref().is_some_and(|taint| node.has_taint(taint));
            let Some(label) = node.labels.get(&label_key(&group.name)).filter(|_| tainted) else { continue };
            let content: Arc<str> = crate::plan::content_of(&self.active.loaded.config, group).into();
            if content.get(..16) == Some(label) {
                self.gate.open(group, (*node).clone(), content);
            }
        }
    }

    pub fn on_gate(&mut self, patched: Patched) {
        let Patched { group, node, owed, result } = patched;
        let key = (group, node);
        match result {
            Ok(()) => {
                self.gate.owed.remove(&key);
                (self.gate.failures, self.gate.said) = (0, None);
                let is_shown = self.groups.iter().any(|group| group.name == key.0 && group.ready_label);
                if !is_shown && matches!(owed, Owed::Open { .. }) {
                    // The group has gone while its label was on its way.
                    self.gate.close(key.0, key.1);
                }
            }
            Err(error) => {
                let text = error.to_string();
                if self.gate.said.is_none() {
                    tracing::warn!(
                        "cannot mark node {} for group {:?}, will go on trying: {text}",
                        key.1,
                        key.0
                    );
                }
                self.gate.said = Some(text);
                self.gate.owed.insert(key, owed);
            }
        }
    }

    /// Labels of groups that are gone, or that are not to be labelled any longer.
    pub fn close_gates_of(&mut self, before: &Active) {
        for old in before.loaded.config.groups.iter().filter(|group| group.ready_label) {
            if self.groups.iter().any(|group| group.name == old.name && group.ready_label) {
                continue;
            }
            let key = label_key(&old.name);
            self.gate.owed.retain(|(group, _), _| *group != old.name);
            for node in self.nodes.values().filter(|node| node.whole().labels.contains_key(&key)) {
                self.gate.close(old.name.clone(), node.whole().name.clone());
            }
        }
    }

    /// Tries what has failed once more, less and less often where that goes on.
    pub fn try_gates_again(&mut self) {
        let now = Instant::now();
        if self.gate.owed.is_empty() || now < self.gate.again_at {
            return;
        }
        self.gate.again_at = now + (FIRST_PAUSE * (1 << self.gate.failures.min(10))).min(LONGEST_PAUSE);
        self.gate.failures += 1;
        for ((group, node), owed) in std::mem::take(&mut self.gate.owed) {
            match owed {
                Owed::Open { content, uid } => self.open_gate(&Served { group, content, node, uid }),
                Owed::Close => self.gate.close(group, node),
            }
        }
    }
}

fn has_gate(group: &Group) -> bool {
    group.ready_label || group.remove_taint.is_some()
}

fn label_key(group: &str) -> String {
    format!("quayctl-controller/{group}")
}
