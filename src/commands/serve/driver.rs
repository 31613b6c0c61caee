//! Does what a [`crate::serve::Process`] asks of the cluster, and brings the answers back. Decides nothing.

use std::future::pending;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

use crate::cluster::{Cluster, ClusterError, NodeWatch, Wanted, Watches};
use crate::driver::Driver;
use crate::runner::{self, RunEvent};
use crate::scheduler::{NodeChange, NodePatch};
use crate::serve::{InitialState, OpenedWatches, ServeEffect, ServeEvent, WatchPurpose};

/// What is followed, and what was asked for and is not answered yet.
pub struct ServeDriver<'a> {
    cluster: &'a Cluster,
    runner: Driver<'a>,
    patches: FuturesUnordered<BoxFuture<'a, ServeEvent>>,
    watches: Option<Watches>,
    nodes: Option<NodeWatch>,
    starting: Option<BoxFuture<'a, Result<(Watches, NodeWatch), ClusterError>>>,
    /// One for each [`WatchPurpose`].
    reload: Option<BoxFuture<'a, Result<Watches, ClusterError>>>,
    retry: Option<BoxFuture<'a, Result<Watches, ClusterError>>>,
    /// Of the last event, until they are accepted or the next one comes.
    opened: Option<(Watches, Option<NodeWatch>)>,
}

impl<'a> ServeDriver<'a> {
    pub fn new(cluster: &'a Cluster) -> ServeDriver<'a> {
        ServeDriver {
            cluster,
            runner: Driver::new(cluster),
            patches: FuturesUnordered::new(),
            watches: None,
            nodes: None,
            starting: None,
            reload: None,
            retry: None,
            opened: None,
        }
    }

    /// Notices and the end are the caller's.
    pub fn execute(&mut self, effect: ServeEffect) {
        match effect {
            ServeEffect::Runner(effect) => self.runner.execute(effect),
            ServeEffect::StartLeading { namespaces, instance } => {
                let cluster = self.cluster;
                self.starting = Some(Box::pin(async move {
                    let watches = cluster.watch(&namespaces, &instance, Wanted::LastRuns);
                    let (watches, nodes) = tokio::join!(watches, cluster.watch_nodes());
                    Ok((watches?, nodes?))
                }));
            }
            ServeEffect::Watch { purpose, namespaces, instance } => {
                let cluster = self.cluster;
                let opening: BoxFuture<'_, _> =
                    Box::pin(async move { cluster.watch(&namespaces, &instance, Wanted::LastRuns).await });
                match purpose {
                    WatchPurpose::Reload => self.reload = Some(opening),
                    WatchPurpose::Retry => self.retry = Some(opening),
                }
            }
            ServeEffect::AcceptWatches => {
                let Some((opened, nodes)) = self.opened.take() else { return };
                self.nodes = nodes.or(self.nodes.take());
                match &mut self.watches {
                    Some(watches) => watches.join(opened),
                    None => self.watches = Some(opened),
                }
            }
            ServeEffect::KeepWatches(namespaces) => {
                if let Some(watches) = &mut self.watches {
                    watches.keep_only(&namespaces);
                }
            }
            ServeEffect::PatchNode(patch) => {
                self.patches.push(Box::pin(patch_node(self.cluster, patch)));
            }
            ServeEffect::StopLeading => *self = ServeDriver::new(self.cluster),
            ServeEffect::ReadConfig | ServeEffect::Notice(_) | ServeEffect::Exit(_) => {}
        }
    }

    /// What happens next in the cluster. May be dropped and called again.
    pub async fn next(&mut self) -> ServeEvent {
        self.opened = None;
        tokio::select! {
            event = self.runner.next() => match event {
                RunEvent::Runner(event) => ServeEvent::Runner(event),
                // Only a single run asks for these.
                RunEvent::Stop | RunEvent::ServerProbed { .. } => ServeEvent::Timer,
            },
            Some(event) = self.patches.next() => event,
            event = of(&mut self.watches, async |watches| watches.next().await) => {
                ServeEvent::Runner(runner::Event::Watch(event))
            }
            event = of(&mut self.nodes, async |nodes| nodes.next().await) => ServeEvent::Node(event),
            result = of(&mut self.starting, async |starting| starting.await) => {
                self.starting = None;
                ServeEvent::Started(result.map(|(watches, nodes)| self.keep_initial(watches, nodes)))
            }
            result = of(&mut self.reload, async |opening| opening.await) => {
                self.reload = None;
                ServeEvent::Watched(WatchPurpose::Reload, result.map(|watches| self.keep(watches, None)))
            }
            result = of(&mut self.retry, async |opening| opening.await) => {
                self.retry = None;
                ServeEvent::Watched(WatchPurpose::Retry, result.map(|watches| self.keep(watches, None)))
            }
        }
    }

    fn keep_initial(&mut self, mut watches: Watches, mut nodes: NodeWatch) -> Box<InitialState> {
        let (history, listed) = (watches.take_history(), nodes.take_listed());
        Box::new(InitialState { watches: self.keep(watches, Some(nodes)), history, nodes: listed })
    }

    fn keep(&mut self, mut watches: Watches, nodes: Option<NodeWatch>) -> OpenedWatches {
        let opened = OpenedWatches {
            namespaces: watches.namespaces().map(str::to_owned).collect(),
            forbidden: watches.forbidden().clone(),
            listed: watches.take_listed(),
        };
        self.opened = Some((watches, nodes));
        opened
    }
}

/// What comes of `source`; never, where there is none.
async fn of<S, T>(source: &mut Option<S>, next: impl AsyncFnOnce(&mut S) -> T) -> T {
    match source {
        Some(source) => next(source).await,
        None => pending().await,
    }
}

async fn patch_node(cluster: &Cluster, patch: NodePatch) -> ServeEvent {
    let key = patch.label_key();
    let result = match &patch.change {
        NodeChange::MarkReady { node, taint, .. } => {
            cluster.mark_node_ready(node, &key, patch.change.label_value(), taint.as_ref()).await
        }
        NodeChange::RemoveLabel => cluster.remove_ready_label(&patch.node, &key).await,
    };
    ServeEvent::NodePatched(patch, result)
}
