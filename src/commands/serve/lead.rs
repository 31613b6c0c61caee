//! What a process does while it leads: one loop over everything that can happen.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, OptionFuture};
use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::gate::Gate;
use super::live_runner::LiveRunner;
use super::reload::Opened;
use super::runs::UnderWay;
use super::{Active, Station};
use crate::clock;
use crate::cluster::{Cluster, ClusterError, NodeWatch, Wanted, Watches};
use crate::config::Group;
use crate::plan::KnownNode;
use crate::runner::RunnerError;
use crate::scheduler::{NodeTracker, RunRetries, Scheduler};
use crate::watch_event::WatchEvent;
use crate::words::counted;

use super::super::CommandError;

/// The wall clock may be set, and a laptop sleeps: timers are looked at again at least this often. What
/// has failed is tried again as often.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What goes on being refused is said this often.
const SAY_AGAIN: Duration = Duration::from_secs(3600);

/// A node on which all images of a group are now.
#[derive(Debug)]
pub struct Served {
    pub group: String,
    pub content: Arc<str>,
    pub node: String,
    /// Of the node: another of its name has nothing.
    pub uid: String,
}

/// Everything that the leading process holds.
pub struct Lead<'a> {
    pub cluster: &'a Cluster,
    pub active: Active,
    pub groups: Vec<Arc<Group>>,
    pub scheduler: Scheduler,
    pub tracker: NodeTracker,
    /// By name, as they are now.
    pub nodes: BTreeMap<String, KnownNode>,
    pub runner: LiveRunner<'a>,
    /// By number of the batch.
    pub under_way: HashMap<usize, UnderWay>,
    pub watches: Watches,
    node_watch: NodeWatch,
    /// What Jobs have finished since it was last looked at.
    pub served: Rc<RefCell<Vec<Served>>>,
    pub gate: Gate<'a>,
    /// A changed config whose namespaces are not watched yet.
    pub opening: Option<BoxFuture<'a, Opened>>,
    /// One whose namespaces could not be watched.
    pub shut: Option<Active>,
    /// Why, as it was said.
    pub shut_text: Option<String>,
    /// Namespaces that may not be watched are tried again.
    pub reopening: Option<BoxFuture<'a, Result<Watches, ClusterError>>>,
    pub retries: RunRetries,
    /// The nodes' watch is down, and this was said.
    nodes_troubled: bool,
    /// What no Job can get over, as it was said.
    refused: Option<(String, Instant)>,
    pub now: fn() -> Timestamp,
}

/// Why it does not lead any longer.
pub enum Ended {
    BySignal,
    NotLeading(Active),
}

impl<'a> Lead<'a> {
    /// Looks at what is there, and continues what an earlier process has begun.
    pub async fn take(active: Active, station: &Station<'a>) -> Result<Lead<'a>, CommandError> {
        let cluster = station.cluster;
        let config = &active.loaded.config;
        let namespaces = super::reload::namespaces(config, &cluster.default_namespace);
        let (watches, node_watch) = tokio::join!(
            cluster.watch(&namespaces, &config.instance, Wanted::LastRuns),
            cluster.watch_nodes()
        );
        let (mut watches, node_watch) = (watches?, node_watch?);
        let now = wall_clock();
        let listed = watches.take_listed();
        let scheduler = Scheduler::new(config, now, &watches.take_history());
        let served: Rc<RefCell<Vec<Served>>> = Rc::default();
        let runner = LiveRunner::new(cluster, config.concurrency.get(), served.clone());
        let mut lead = Lead {
            cluster,
            groups: config.groups.iter().cloned().map(Arc::new).collect(),
            scheduler,
            tracker: NodeTracker::default(),
            nodes: BTreeMap::new(),
            runner,
            under_way: HashMap::new(),
            watches,
            node_watch,
            served,
            gate: Gate::new(cluster),
            opening: None,
            shut: None,
            shut_text: None,
            reopening: None,
            retries: RunRetries::default(),
            nodes_troubled: false,
            refused: None,
            now: wall_clock,
            active,
        };
        lead.tracker.apply_config(&lead.active.loaded.config);
        let nodes = lead.node_watch.take_listed();
        tracing::info!(
            "serving {} on {} of {} (Kubernetes {})",
            counted(lead.groups.len(), "group"),
            counted(nodes.len(), "node"),
            cluster.server,
            cluster.version,
        );
        for (namespace, error) in lead.watches.denied() {
            tracing::error!("no Jobs in namespace {namespace:?}, will try again: {error}");
        }
        let late = lead.meet(nodes);
        // Before what is there is taken in: then Jobs of these runs are known as theirs.
        lead.begin_what_is_due(station);
        lead.serve_nodes(&late, station);
        lead.take_in_listed(listed);
        Ok(lead)
    }

    /// The loop.
    pub async fn follow(mut self, station: &mut Station<'_>) -> Ended {
        let mut second_tries = interval(LONGEST_WAIT);
        second_tries.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // What is over makes room for what is due.
            self.settle(station);
            self.begin_what_is_due(station);
            if station.election.as_ref().is_some_and(|election| !election.is_leader()) {
                return self.stand_down(station).await;
            }
            let leads = OptionFuture::from(station.election.as_mut().map(|election| election.changed()));
            let wait = self.longest_wait();
            tokio::select! {
                () = station.signals.stop.cancelled() => {
                    self.leave().await;
                    return Ended::BySignal;
                }
                Some(false) = leads => return self.stand_down(station).await,
                trouble = self.runner.turn(&mut self.watches) => self.on_trouble(trouble),
                seen = self.node_watch.next() => self.on_node(seen, station),
                Some(done) = self.gate.next() => self.on_gate(done),
                changed = station.config_watch.changed() => self.on_config(changed, station),
                Some(opened) = OptionFuture::from(self.opening.as_mut()) => self.on_opened(opened, station),
                Some(opened) = OptionFuture::from(self.reopening.as_mut()) => self.on_reopened(opened),
                _ = station.hangup.recv() => station.config_watch.look_now(),
                _ = second_tries.tick() => self.try_again(station),
                () = sleep(wait) => {}
            }
        }
    }

    /// Leaves the Jobs to whoever leads now.
    async fn stand_down(self, station: &mut Station<'_>) -> Ended {
        let active = self.active.clone();
        if self.opening.is_some() || self.shut.is_some() {
            // It was not in force yet, and whoever leads next is to hear of it.
            station.config_watch.forget();
        }
        self.leave().await;
        station.metrics.stand_by();
        Ended::NotLeading(active)
    }

    /// What was there before the first Job, or before a namespace was added.
    pub fn take_in_listed(&mut self, listed: Vec<WatchEvent>) {
        self.runner.runner.take_in(listed, clock::now());
        self.runner.runner.mark_settled();
    }

    /// What follows from whatever has happened.
    fn settle(&mut self, station: &Station<'_>) {
        for finished in self.runner.runner.take_finished() {
            self.finish(finished, station);
        }
        let served = self.served.take();
        for served in served {
            self.open_gate(&served);
        }
        let (waiting, running) = self.runner.runner.load();
        station.metrics.set_queue(waiting, running);
        for (group, next) in self.scheduler.take_changed_times() {
            station.metrics.set_next_run(&group, next);
        }
    }

    /// What has failed for a reason that may pass.
    fn try_again(&mut self, station: &mut Station<'_>) {
        self.try_gates_again();
        self.try_nodes_again(station);
        self.try_denied_again();
        for group in self.retries.take_due(Instant::now().into_std()) {
            self.scheduler.retry(&group);
        }
        if let Some(candidate) = self.shut.take() {
            self.consider(candidate, station);
        }
    }

    fn longest_wait(&self) -> Duration {
        let Some(next) = self.scheduler.next_due() else { return LONGEST_WAIT };
        let wait = next.duration_since((self.now)());
        Duration::try_from(wait).unwrap_or_default().min(LONGEST_WAIT)
    }

    /// An error that a batch cannot get over ends that batch; the process goes on.
    fn on_trouble(&mut self, trouble: Option<RunnerError>) {
        let Some(trouble) = trouble else { return };
        let given_up = self.runner.runner.give_up_batches_of(&trouble);
        for run in given_up.iter().filter_map(|number| self.under_way.get(number)) {
            self.retries.add(&run.group, Instant::now().into_std());
        }
        let text = match given_up[..] {
            [] => trouble.error.to_string(),
            _ => format!("no more Jobs of this run: {}", trouble.error),
        };
        // A watch that is refused is refused again at each of its tries.
        let known = self.refused.as_ref().is_some_and(|(said, at)| *said == text && at.elapsed() < SAY_AGAIN);
        if !known {
            tracing::error!("{text}");
            self.refused = Some((text, Instant::now()));
        }
    }

    pub fn on_nodes_trouble(&mut self, error: Option<&ClusterError>) {
        let was = std::mem::replace(&mut self.nodes_troubled, error.is_some());
        match error {
            Some(error) if !was => tracing::warn!("the watch of nodes broke, trying again: {error}"),
            None if was => tracing::info!("the watch of nodes works again"),
            _ => {}
        }
    }

    /// When a run that begins now is to end: as configured, else after all that is under way and itself
    /// would take, as in a pass over all of these groups.
    pub fn deadline(&self, own_seconds: u64) -> Instant {
        let configured = self.active.loaded.config.run_deadline_seconds;
        let seconds = configured.map_or_else(
            || {
                let others: u64 = self.under_way.values().map(|run| run.longest_seconds).sum();
                others + own_seconds + crate::plan::RUN_MARGIN_SECONDS
            },
            u64::from,
        );
        Instant::now() + Duration::from_secs(seconds)
    }
}

/// The clock of this process; tests of what depends on it bring their own to `plan`.
fn wall_clock() -> Timestamp {
    Timestamp::now()
}
