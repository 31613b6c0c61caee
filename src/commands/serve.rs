//! The long-running process: schedules, reload, new nodes, metrics and health.
//!
//! A driver. What is done when is [`Process`]'s to say; this waits for whatever happens next, passes it on,
//! and does what comes back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::OptionFuture;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::signals::Signals;
use super::templates::manifest;
use super::{CommandError, connect_options, load_config, renderer, sources};
use crate::cli::{GlobalArgs, Selection, ServeArgs};
use crate::clock;
use crate::cluster::{Cluster, Leadership, OwnPod};
use crate::config::Config;
use crate::config_source::load;
use crate::config_source::watch::ConfigWatch;
use crate::render::Renderer;
use crate::serve::{ActiveConfig, Process, ServeEffect, ServeEvent};
use crate::telemetry::{Health, Metrics, serve_endpoints, use_color};

use config_trial::{ConfigTrials, TriedConfig, try_config};
use driver::ServeDriver;
use notices::Outlets;

mod config_trial;
mod driver;
mod notices;

/// How long the connections of scrapers and probes may take to end with the process.
const LAST_SCRAPE: Duration = Duration::from_secs(1);

/// What wakes the process beside the cluster.
struct Wakers {
    stop: CancellationToken,
    hangup: Signal,
    config_trials: ConfigTrials<TriedConfig>,
    election: Option<Leadership>,
}

pub async fn serve(global: &GlobalArgs, args: &ServeArgs) -> Result<u8, CommandError> {
    let loaded = load_config(global, &Selection::default())?;
    let renderer = renderer(&loaded, global)?;
    let signals = Signals::listen().map_err(no_signals)?;
    let hangup = signal(SignalKind::hangup()).map_err(no_signals)?;
    let listener = listen(args.listen).await?;
    let watch = ConfigWatch::new(sources(global), &loaded);
    let options = connect_options(global, &loaded);
    let cluster = tokio::select! {
        cluster = Cluster::connect(&options) => cluster?,
        () = signals.stop.cancelled() => return Ok(super::SUCCESS),
    };

    let instance = loaded.config.instance.clone();
    let pod = load::own_pod(&load::environment());
    let pod = pod.map(|(name, namespace, uid)| OwnPod { name, namespace, uid });
    let (metrics, health) = (Metrics::new(cluster.request_metrics()), Health::default());
    let closed = CancellationToken::new();
    let endpoints = tokio::spawn(serve_endpoints(listener, metrics.clone(), health.clone(), closed.clone()));
    let recorder = pod.clone().map(|pod| cluster.event_recorder(pod, &instance));
    let election = match args.leader_elect {
        true => tokio::select! {
            election = join_election(&cluster, pod.as_ref(), &instance) => Some(election?),
            () = signals.stop.cancelled() => return Ok(super::SUCCESS),
        },
        false => None,
    };
    let config_trials = ConfigTrials::start(watch, try_config)
        .map_err(|source| CommandError::Start { what: "start the thread that tries configs", source })?;
    let mut wakers = Wakers { stop: signals.stop, hangup, config_trials, election };
    let outlets = Outlets::new(&cluster, metrics, health, recorder, use_color(global, &std::io::stderr()));
    let process = Process::new(active(loaded.config, renderer, &cluster));
    let ended = drive(process, &cluster, &mut wakers, &outlets).await;
    closed.cancel();
    let release = async {
        if let Some(election) = wakers.election {
            election.release().await;
        }
    };
    let _ = tokio::join!(release, tokio::time::timeout(LAST_SCRAPE, endpoints));
    ended.map(|()| super::SUCCESS)
}

/// The loop.
async fn drive(
    mut process: Process,
    cluster: &Cluster,
    wakers: &mut Wakers,
    outlets: &Outlets,
) -> Result<(), CommandError> {
    let mut driver = ServeDriver::new(cluster);
    let mut event = ServeEvent::Leads(wakers.election.as_ref().is_none_or(Leadership::is_leader));
    let mut stopped = false;
    loop {
        let now = clock::now();
        for effect in process.on(event, now) {
            match effect {
                ServeEffect::Notice(notice) => outlets.tell(notice, now.time),
                ServeEffect::ReadConfig => wakers.config_trials.trigger(),
                ServeEffect::Exit(result) => return Ok(result?),
                effect => driver.execute(effect),
            }
        }
        let timer = Instant::from_std(process.next_timer(now));
        let Wakers { stop, hangup, config_trials, election } = wakers;
        event = tokio::select! {
            biased;
            () = stop.cancelled(), if !stopped => {
                stopped = true;
                ServeEvent::Stop
            }
            // Before anything is done that only a leader may do.
            Some(leads) = OptionFuture::from(election.as_mut().map(Leadership::changed)) => {
                ServeEvent::Leads(leads)
            }
            event = async {
                // Fair: a watch that never rests must not keep a timer from its turn.
                tokio::select! {
                    event = driver.next() => event,
                    tried = config_trials.next() => of_trial(tried, cluster),
                    _ = hangup.recv() => ServeEvent::Hangup,
                    () = sleep_until(timer) => ServeEvent::Timer,
                }
            } => event,
        };
    }
}

fn of_trial(tried: TriedConfig, cluster: &Cluster) -> ServeEvent {
    for warning in tried.warnings {
        tracing::warn!("{warning}");
    }
    ServeEvent::ConfigTried(tried.result.map(|(config, renderer)| active(config, renderer, cluster)))
}

fn active(config: Config, renderer: Renderer, cluster: &Cluster) -> ActiveConfig {
    let render = Arc::new(move |job: &_| manifest(&renderer, job));
    ActiveConfig::new(config, render, &cluster.default_namespace)
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

async fn join_election(
    cluster: &Cluster,
    pod: Option<&OwnPod>,
    instance: &str,
) -> Result<Leadership, CommandError> {
    let namespace = pod.map_or(&cluster.default_namespace, |pod| &pod.namespace);
    let identity = match pod {
        Some(pod) => pod.name.clone(),
        // Two of them on one machine are two.
        None => format!("quayctl-controller-{}", std::process::id()),
    };
    Ok(cluster.elect_leader(namespace, instance, &identity).await?)
}

fn no_signals(source: std::io::Error) -> CommandError {
    CommandError::Start { what: "install signal handlers", source }
}
