//! Readiness of nodes: the label that says that a group's images are there, and the startup taint that
//! goes then.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::Semaphore;

use super::Active;
use super::lead::{Lead, Served};
use crate::cluster::{Cluster, GateError};
use crate::config::Group;
use crate::plan::Node;

/// Nodes become ready one by one; where many do at once, these many patches are under way.
const PATCHES_IN_FLIGHT: usize = 8;

/// Patches of nodes: under way, and owed because they failed.
pub struct Gate<'a> {
    cluster: &'a Cluster,
    patches: FuturesUnordered<BoxFuture<'a, Patched>>,
    slots: Arc<Semaphore>,
    /// By group and node.
    owed: HashMap<(String, String), Arc<str>>,
    warned: bool,
}

/// How a patch went.
pub struct Patched {
    group: String,
    node: String,
    /// What was to be written; `None` where the label was to go.
    content: Option<Arc<str>>,
    result: Result<(), GateError>,
}

impl<'a> Gate<'a> {
    pub fn new(cluster: &'a Cluster) -> Gate<'a> {
        Gate {
            cluster,
            patches: FuturesUnordered::new(),
            slots: Arc::new(Semaphore::new(PATCHES_IN_FLIGHT)),
            owed: HashMap::new(),
            warned: false,
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
            Patched { group: name, node: node.name, content: Some(content), result }
        }));
    }

    fn close(&mut self, group: String, node: String) {
        let (cluster, slots) = (self.cluster, self.slots.clone());
        self.patches.push(Box::pin(async move {
            let _slot = slots.acquire().await;
            let result = cluster.remove_ready_label(&node, &label_key(&group)).await;
            Patched { group, node, content: None, result }
        }));
    }
}

impl Lead<'_> {
    /// All images of a group are on a node now.
    pub fn open_gate(&mut self, served: &Served) {
        let Served { group, content, node } = served;
        let Some(group) = self.groups.iter().find(|g| g.name == *group && has_gate(g)) else { return };
        // A group that has changed meanwhile has another content, and its own run to come.
        if *crate::plan::content_of(&self.active.loaded.config, group) != **content {
            return;
        }
        if let Some(node) = self.nodes.get(node) {
            self.gate.open(group, (**node.whole()).clone(), content.clone());
        }
    }

    /// A node that was labelled before its taint could be removed.
    pub fn finish_gates_of(&mut self, name: &str) {
        let Some(node) = self.nodes.get(name).map(|node| node.whole().clone()) else { return };
        for group in self.groups.iter().filter(|group| group.ready_label) {
            let tainted = group.remove_taint.as_ref().is_some_and(|removed| {
                node.taints.iter().any(|taint| taint.key == removed.key && taint.effect == removed.effect)
            });
            let Some(label) = node.labels.get(&label_key(&group.name)).filter(|_| tainted) else { continue };
            let content: Arc<str> = crate::plan::content_of(&self.active.loaded.config, group).into();
            if content.get(..16) == Some(label) {
                self.gate.open(group, (*node).clone(), content);
            }
        }
    }

    pub fn on_gate(&mut self, patched: Patched) {
        let Patched { group, node, content, result } = patched;
        let key = (group, node);
        match result {
            Ok(()) => {
                self.gate.owed.remove(&key);
            }
            Err(error) => {
                if !std::mem::replace(&mut self.gate.warned, true) {
                    tracing::warn!("cannot mark node {} as ready for group {:?}: {error}", key.1, key.0);
                }
                if let Some(content) = content {
                    self.gate.owed.insert(key, content);
                }
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

    /// Tries what has failed once more.
    pub fn try_gates_again(&mut self) {
        let owed = std::mem::take(&mut self.gate.owed);
        self.gate.warned = false;
        for ((group, node), content) in owed {
            self.open_gate(&Served { group, content, node });
        }
    }
}

fn has_gate(group: &Group) -> bool {
    group.ready_label || group.remove_taint.is_some()
}

fn label_key(group: &str) -> String {
    format!("quayctl-controller/{group}")
}
