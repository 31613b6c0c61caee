//! Follows all nodes, for a process that stays. What a change means is `plan`'s to say.

use std::collections::HashSet;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use kube::Api;
use kube::runtime::watcher::{self, Event, watcher};
use tokio::time::timeout;

use super::nodes::PAGE_SIZE;
use super::retry::{WatchFailure, with_watch_retries};
use super::set_aside::told;
use super::watch::failure;
use super::wire::{Tolerant, WatchedNode};
use super::{Cluster, ClusterError, WATCH_SECONDS};
use crate::plan::ListedNode;
use crate::runner::RETRY_TIMEOUT;
use crate::serve::NodeEvent;

/// A running watch of all nodes.
#[expect(missing_debug_implementations, reason = "it holds a stream")]
pub struct NodeWatch {
    stream: BoxStream<'static, NodeNotice>,
    there: Vec<ListedNode>,
}

enum NodeNotice {
    Seen(NodeEvent),
    Forbidden(ClusterError),
    Listed,
}

impl Cluster {
    /// Opens the watch, and returns when it has delivered all nodes that are there.
    pub async fn watch_nodes(&self) -> Result<NodeWatch, ClusterError> {
        let api = Api::<Tolerant<WatchedNode>>::all(self.client.clone());
        let config = watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE_SIZE);
        let events = with_watch_retries(move || watcher(api.clone(), config.clone()));
        let events = self.traffic.count_restarts(told(events));
        // Nothing can be done with one that cannot be named.
        let events = events.filter(|event| std::future::ready(!is_nameless(event)));
        let server = self.server.clone();
        let stream = notices(events, move |error| failure(&server, "nodes", None, error));
        let mut watch = NodeWatch { stream: stream.boxed(), there: Vec::new() };
        let mut answer = None;
        match timeout(RETRY_TIMEOUT, watch.first_list(&mut answer)).await {
            Ok(first) => first.map(|()| watch),
            Err(_) => Err(answer.unwrap_or_else(|| {
                let cause = format!("no list of nodes within {} s", RETRY_TIMEOUT.as_secs());
                ClusterError::Unreachable { server: self.server.clone(), cause }
            })),
        }
    }
}

impl NodeWatch {
    /// The next change; waits for ever where nothing happens. May be dropped and called again.
    pub async fn next(&mut self) -> NodeEvent {
        loop {
            match self.stream.next().await {
                Some(NodeNotice::Seen(seen)) => return seen,
                Some(NodeNotice::Forbidden(error)) => return NodeEvent::Interrupted(error),
                Some(NodeNotice::Listed) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// The nodes that were there when the watch was opened.
    pub fn take_listed(&mut self) -> Vec<ListedNode> {
        std::mem::take(&mut self.there)
    }

    /// What the API server last answered in place of a list goes to `answer`.
    async fn first_list(&mut self, answer: &mut Option<ClusterError>) -> Result<(), ClusterError> {
        loop {
            match self.stream.next().await {
                Some(NodeNotice::Seen(NodeEvent::Node(node))) => self.there.push(*node),
                Some(NodeNotice::Forbidden(error)) => return Err(error),
                Some(NodeNotice::Listed) | None => return Ok(()),
                // A list that broke off begins again from its first page.
                Some(NodeNotice::Seen(NodeEvent::Interrupted(error))) => {
                    self.there.clear();
                    if let ClusterError::Api { .. } = error {
                        *answer = Some(error);
                    }
                }
                Some(NodeNotice::Seen(NodeEvent::Gone(_))) => {}
            }
        }
    }
}

fn is_nameless(event: &Result<Event<WatchedNode>, WatchFailure>) -> bool {
    match event {
        Ok(Event::Apply(node) | Event::InitApply(node) | Event::Delete(node)) => {
            node.listed.node.name.is_empty()
        }
        Ok(Event::Init | Event::InitDone) | Err(_) => false,
    }
}

/// Turns a watcher's events into notices. Remembers which nodes are there, because a watch that had to
/// list again says what there is and not what has gone.
fn notices(
    events: impl Stream<Item = Result<Event<WatchedNode>, WatchFailure>> + Send + 'static,
    trouble: impl Fn(&watcher::Error) -> ClusterError + Send + 'static,
) -> impl Stream<Item = NodeNotice> + Send {
    let mut there: HashSet<String> = HashSet::new();
    let mut listed: HashSet<String> = HashSet::new();
    events.flat_map(move |event| {
        let mut notices = Vec::new();
        match event {
            Ok(Event::Apply(WatchedNode { listed: node, .. })) => {
                there.insert(node.node.name.clone());
                notices.push(NodeNotice::Seen(NodeEvent::Node(Box::new(node))));
            }
            Ok(Event::InitApply(WatchedNode { listed: node, .. })) => {
                listed.insert(node.node.name.clone());
                notices.push(NodeNotice::Seen(NodeEvent::Node(Box::new(node))));
            }
            Ok(Event::Delete(WatchedNode { listed: node, .. })) => {
                there.remove(&node.node.name);
                notices.push(NodeNotice::Seen(NodeEvent::Gone(node.node.name)));
            }
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitDone) => {
                let before = std::mem::replace(&mut there, std::mem::take(&mut listed));
                let gone = before.into_iter().filter(|name| !there.contains(name));
                notices.extend(gone.map(|name| NodeNotice::Seen(NodeEvent::Gone(name))));
                notices.push(NodeNotice::Listed);
            }
            Err(WatchFailure { error, is_refused, .. }) => notices.push(match is_refused {
                true => NodeNotice::Forbidden(trouble(&error)),
                false => NodeNotice::Seen(NodeEvent::Interrupted(trouble(&error))),
            }),
        }
        futures::stream::iter(notices)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> WatchedNode {
        let json = serde_json::json!({"metadata": {"name": name, "uid": "u", "resourceVersion": "7"}});
        serde_json::from_value(json).unwrap()
    }

    #[tokio::test]
    async fn nodes_that_vanish_while_the_watch_is_down_are_reported_gone() {
        let events = vec![
            Ok(Event::Init),
            Ok(Event::InitApply(node("a"))),
            Ok(Event::InitApply(node("b"))),
            Ok(Event::InitDone),
            Err(WatchFailure {
                error: watcher::Error::NoResourceVersion,
                is_lasting: true,
                is_refused: false,
            }),
            Ok(Event::Init),
            Ok(Event::InitApply(node("b"))),
            Ok(Event::InitDone),
            Ok(Event::Delete(node("b"))),
        ];
        let words: Vec<String> =
            notices(futures::stream::iter(events), |error| failure("s", "nodes", None, error))
                .map(|notice| match notice {
                    NodeNotice::Seen(NodeEvent::Node(node)) => node.node.name.clone(),
                    NodeNotice::Seen(NodeEvent::Gone(name)) => format!("gone {name}"),
                    NodeNotice::Seen(NodeEvent::Interrupted(_)) => "trouble".to_owned(),
                    NodeNotice::Forbidden(error) => error.to_string(),
                    NodeNotice::Listed => "listed".to_owned(),
                })
                .collect()
                .await;
        assert_eq!(words, ["a", "b", "listed", "trouble", "b", "gone a", "listed", "gone b"]);
    }

    #[test]
    fn a_node_keeps_what_a_watch_goes_on_from() {
        let node = node("a");
        assert_eq!(node.metadata.resource_version.as_deref(), Some("7"));
        assert_eq!((node.listed.node.name.as_str(), node.listed.created_at), ("a", None));
    }
}
