//! Finds the cluster and makes sure that it answers.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::Config;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::time::timeout;

use super::error::{Access, describe};
use super::traffic::Traffic;
use super::watch::WATCH_SECONDS;
use super::{Cluster, ClusterError};

/// A TCP connect over a bad link takes one or two retransmissions (1 s, 3 s); past that it is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A person waits for this one, and `/version` is a few hundred bytes from memory.
const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_secs(8);
/// A body we send is at most a Job of a few KiB.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// A watch in which nothing happens is quiet until its own end.
const READ_TIMEOUT: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 15);

/// Which cluster was asked for.
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// `--kubeconfig`; else `KUBECONFIG`, else `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`; else the kubeconfig's current one.
    pub context: Option<String>,
    /// Whether we run in a pod, by `KUBERNETES_SERVICE_HOST`.
    pub in_cluster: bool,
}

impl Cluster {
    /// Connects, and asks for the version once, which needs no permission: whoever holds a
    /// [`Cluster`] has one that answered.
    pub async fn connect(options: &ConnectOptions) -> Result<Cluster, ClusterError> {
        let mut config = read_config(options).await?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.write_timeout = Some(WRITE_TIMEOUT);
        // The runtime's watcher waits for its lists and for the beginning of its watches without a limit:
        // on a connection whose other end has vanished that would be as long as TCP tries.
        config.read_timeout = Some(READ_TIMEOUT);
        config.reset_reader_on_write = true;
        // Its own retries could outlast our deadlines; `retry` has ours.
        config.default_retry = false;
        let agent = concat!("quayctl-controller/", env!("CARGO_PKG_VERSION"));
        config.headers.push((USER_AGENT, HeaderValue::from_static(agent)));

        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let default_namespace = config.default_namespace.clone();
        let traffic = Traffic::default();
        let client = ClientBuilder::try_from(config)
            .map_err(|e| ClusterError::Kubeconfig(format!("cannot use the kubeconfig: {}", describe(&e))))?
            .with_layer(&traffic)
            .build();
        let version = match timeout(FIRST_ANSWER_TIMEOUT, client.apiserver_version()).await {
            Ok(Ok(info)) => info.git_version,
            Ok(Err(error)) => {
                let access = Access { verb: "get", resource: "/version", namespace: None };
                return Err(ClusterError::from_kube(&server, access, &error));
            }
            Err(_) => {
                let cause = format!("no answer within {} s", FIRST_ANSWER_TIMEOUT.as_secs());
                return Err(ClusterError::Unreachable { server, cause });
            }
        };
        tracing::debug!(server, version, "connected");
        Ok(Cluster {
            client,
            default_namespace,
            server,
            version,
            traffic,
            forgiveness: Duration::ZERO,
            job_events: Default::default(),
        })
    }
}

/// The namespace that a Cluster of these options would have, without asking one.
pub async fn default_namespace(options: &ConnectOptions) -> Result<String, ClusterError> {
    read_config(options).await.map(|config| config.default_namespace)
}

/// What was asked for by flag, else the pod's service account, else the kubeconfig. Not kube's own
/// `infer`: that tries a stray kubeconfig before the service account, and a pod would then work on
/// another cluster than its own.
async fn read_config(options: &ConnectOptions) -> Result<Config, ClusterError> {
    let ConnectOptions { kubeconfig, context, in_cluster } = options;
    let by_flag = kubeconfig.is_some() || context.is_some();
    if *in_cluster && !by_flag {
        return Config::incluster().map_err(|e| {
            ClusterError::Kubeconfig(format!("cannot use the pod's service account: {}", chain(&e)))
        });
    }
    let choice = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
    let config = match kubeconfig {
        Some(path) => match Kubeconfig::read_from(path) {
            Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &choice).await,
            Err(error) => Err(error),
        },
        None => Config::from_kubeconfig(&choice).await,
    };
    config.map_err(|e| {
        let hint = "name one with --kubeconfig, and a context of it with --context";
        ClusterError::Kubeconfig(format!("no cluster to work on: {}; {hint}", chain(&e)))
    })
}

/// An error and its causes on one line, without what an outer one repeats of an inner one.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    text
}
