//! The long-running process: schedules, reload, new nodes, metrics and health.
//!
//! A driver. What is due and who has come is `plan`'s to say, Jobs are `cluster`'s; this room holds the
//! strings: it waits for whatever happens next and passes it on.
#![expect(clippy::disallowed_methods, reason = "a driver looks at the clock, for all who take `now`")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::signals::Signals;
use super::{CommandError, connect_options, load_config, renderer, sources};
use crate::cli::{GlobalArgs, Selection, ServeArgs};
use crate::cluster::{Cluster, ControllerEvent, EventRecorder, Leadership, OwnPod};
use crate::config_source::load::{self, Loaded};
use crate::config_source::watch::ConfigWatch;
use crate::render::Renderer;
use crate::telemetry::{Health, Metrics, serve_endpoints};
use crate::words::counted;

use lead::{Ended, Lead};

mod gate;
mod lead;
mod live_runner;
mod nodes;
mod reload;
mod runs;

const TRY_AGAIN: Duration = Duration::from_secs(30);
/// How long the connections of scrapers and probes may take to end with the process.
const LAST_SCRAPE: Duration = Duration::from_secs(1);

/// A config with its templates compiled, in force or about to be.
#[derive(Clone)]
pub struct Active {
    pub loaded: Arc<Loaded>,
    pub renderer: Arc<Renderer>,
}

/// What lasts from the process's start to its end, whoever leads.
pub struct Station<'a> {
    pub global: &'a GlobalArgs,
    pub cluster: &'a Cluster,
    pub signals: Signals,
    hangup: Signal,
    pub config_watch: ConfigWatch,
    pub metrics: Metrics,
    pub health: Health,
    pub announcer: Option<EventRecorder>,
    pub election: Option<Leadership>,
    /// Since when the files hold a config that cannot be used.
    stale_since: Option<Timestamp>,
}

pub async fn serve(global: &GlobalArgs, args: &ServeArgs) -> Result<u8, CommandError> {
    let loaded = load_config(global, &Selection::default())?;
    let renderer = renderer(&loaded, global)?;
    let signals = Signals::listen().map_err(to_signals)?;
    let hangup = signal(SignalKind::hangup()).map_err(to_signals)?;
    let listener = listen(args.listen).await?;
    let config_watch = ConfigWatch::new(sources(global), &loaded);
    let options = connect_options(global, &loaded);
    let cluster = tokio::select! {
        cluster = Cluster::connect(&options) => cluster?,
        () = signals.stop.cancelled() => return Ok(super::SUCCESS),
    };

    let instance = loaded.config.instance.clone();
    let pod = load::own_pod(&load::environment());
    let pod = pod.map(|(name, namespace, uid)| OwnPod { name, namespace, uid });
    let (metrics, health) = (Metrics::new(cluster.traffic()), Health::default());
    let closed = CancellationToken::new();
    let endpoints = tokio::spawn(serve_endpoints(listener, metrics.clone(), health.clone(), closed.clone()));
    let announcer = pod.clone().map(|pod| cluster.event_recorder(pod, &instance));
    let election = match args.leader_elect {
        true => tokio::select! {
            election = stand(&cluster, pod.as_ref(), &instance) => Some(election?),
            () = signals.stop.cancelled() => return Ok(super::SUCCESS),
        },
        false => None,
    };
    let mut station = Station {
        global,
        cluster: &cluster,
        signals,
        hangup,
        config_watch,
        metrics,
        health,
        announcer,
        election,
        stale_since: None,
    };
    let active = Active { loaded: Arc::new(loaded), renderer: Arc::new(renderer) };
    let ended = station.work(active).await;
    closed.cancel();
    let Station { election, .. } = station;
    let release = async {
        if let Some(election) = election {
            election.release().await;
        }
    };
    let _ = tokio::join!(release, tokio::time::timeout(LAST_SCRAPE, endpoints));
    ended.map(|()| super::SUCCESS)
}

impl<'a> Station<'a> {
    /// Leads whenever it may, until a signal comes.
    async fn work(&mut self, mut active: Active) -> Result<(), CommandError> {
        let mut waited = false;
        loop {
            waited |= self.election.as_ref().is_some_and(|election| !election.is_leader());
            active = match self.wait_to_lead(active).await {
                Some(active) => active,
                None => return Ok(()),
            };
            self.metrics.set_leader(true);
            let lead = tokio::select! {
                lead = Lead::take(active.clone(), self) => lead,
                () = self.signals.stop.cancelled() => return Ok(()),
            };
            let lead = match lead {
                Ok(lead) => lead,
                // Who starts says that it does not work, and ends. Who has stood by goes on trying.
                Err(error) if !waited => return Err(error),
                Err(error) => {
                    tracing::error!("cannot begin to lead, will try again: {error}");
                    tokio::select! {
                        () = sleep(TRY_AGAIN) => continue,
                        () = self.signals.stop.cancelled() => return Ok(()),
                    }
                }
            };
            self.health.set_ready(true);
            match lead.follow(self).await {
                Ended::BySignal => return Ok(()),
                Ended::NotLeading(current) => active = current,
            }
            self.metrics.set_leader(false);
            tracing::warn!("no longer the leader: Jobs under way are left to the next one");
        }
    }

    /// With an election: follows the config and waits for its turn. `None`: a signal came.
    async fn wait_to_lead(&mut self, mut active: Active) -> Option<Active> {
        loop {
            let Some(election) = self.election.as_mut().filter(|election| !election.is_leader()) else {
                self.health.set_standby(false);
                return Some(active);
            };
            self.metrics.set_leader(false);
            self.health.set_standby(true);
            self.health.set_ready(true);
            tokio::select! {
                () = self.signals.stop.cancelled() => return None,
                _ = election.changed() => {}
                _ = self.hangup.recv() => self.config_watch.look_now(),
                changed = self.config_watch.changed() => match Active::tried(changed, &active, self.global) {
                    Ok(candidate) => {
                        active = candidate;
                        self.mark_current(&active);
                    }
                    Err(error) => self.mark_stale(&error),
                },
            }
        }
    }

    /// What the files hold is in force.
    fn mark_current(&mut self, active: &Active) {
        self.stale_since = None;
        self.health.set_stale(None);
        self.metrics.reloaded(true, Timestamp::now());
        let config = &active.loaded.config;
        let hash = config.hash.get(..12).unwrap_or_default();
        let groups = counted(config.groups.len(), "group");
        tracing::info!("the config has changed and is in force: {groups}, hash {hash}");
        self.announce(ControllerEvent::ConfigReloaded);
    }

    /// What the files hold cannot be used, and what was in force before stays so.
    fn mark_stale(&mut self, error: &str) {
        let now = Timestamp::now();
        let since = *self.stale_since.get_or_insert(now);
        self.health.set_stale(Some(since));
        self.metrics.reloaded(false, now);
        tracing::error!("the changed config is not used, the last good one stays in force:");
        // A line break within a log line is shown as one that somebody else might have put there.
        for line in error.to_string().lines().filter(|line| !line.trim().is_empty()) {
            tracing::error!("{line}");
        }
        self.announce(ControllerEvent::ConfigReloadFailed { text: error.to_owned() });
    }

    fn announce(&self, announcement: ControllerEvent) {
        if let Some(announcer) = &self.announcer {
            announcer.record(announcement);
        }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, CommandError> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        CommandError::Usage(format!(
            "cannot listen on {address}: {error}; name another address with --listen"
        ))
    })?;
    // With port 0 the system chose one, and somebody wants to know which.
    let local = listener.local_addr().map_or_else(|_| address.to_string(), |local| local.to_string());
    tracing::info!("metrics and health at http://{local}");
    Ok(listener)
}

async fn stand(cluster: &Cluster, pod: Option<&OwnPod>, instance: &str) -> Result<Leadership, CommandError> {
    let namespace = pod.map_or(&cluster.default_namespace, |pod| &pod.namespace);
    let identity = match pod {
        Some(pod) => pod.name.clone(),
        // Two of them on one machine are two.
        None => format!("quayctl-controller-{}", std::process::id()),
    };
    Ok(cluster.elect_leader(namespace, instance, &identity).await?)
}

fn to_signals(source: std::io::Error) -> CommandError {
    CommandError::Output { what: "to signals".to_owned(), source }
}
