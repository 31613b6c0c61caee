//! Finds the cluster and makes sure that it answers.

use std::path::PathBuf;
use std::time::Duration;

use http::header::USER_AGENT;
use http::{HeaderValue, Uri};
use kube::Config;
use kube::client::ClientBuilder;
use kube::config::KubeConfigOptions;

use super::credentials::Credentials;
use super::error::{Access, CAUSE_BYTES_MAX, describe};
use super::error_answers::ErrorAnswers;
use super::retry::{Limits, with_retries};
use super::traffic::Traffic;
use super::watch::WATCH_SECONDS;
use super::{Cluster, ClusterError, kubeconfig};
use crate::outside_text;

/// A TCP connect over a bad link takes one or two retransmissions (1 s, 3 s); past that it is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A person waits for this one, and `/version` is a few hundred bytes from memory. Where there is nobody
/// that is said at once; one that answers and asks to come back later is starting.
const FIRST_ANSWER: Limits =
    Limits { failing: Duration::from_secs(30), unreachable: Duration::ZERO, call: Duration::from_secs(8) };
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
        let (config, server, credentials) = prepared(options).await?;
        let default_namespace = config.default_namespace.clone();
        let traffic = Traffic::default();
        let client = ClientBuilder::try_from(config)
            .map_err(|e| ClusterError::Kubeconfig(format!("cannot use the kubeconfig: {}", describe(&e))))?
            .with_layer(&credentials)
            .with_layer(&traffic)
            .with_layer(&ErrorAnswers)
            .build();
        let answer = with_retries(&traffic, FIRST_ANSWER, || client.apiserver_version()).await;
        let version = answer.map(|info| info.git_version).map_err(|error| {
            let access = Access { verb: "get", resource: "/version", namespace: None };
            ClusterError::from_kube(&server, access, &error)
        })?;
        tracing::debug!(server, version, "connected");
        Ok(Cluster { client, default_namespace, server, version, traffic, job_events: Default::default() })
    }
}

/// All that a client is made of, checked: kube panics on some of it. With the server as it may be shown.
async fn prepared(options: &ConnectOptions) -> Result<(Config, String, Credentials), ClusterError> {
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

    let url_user = take_userinfo(&mut config.cluster_url)?;
    let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    let credentials = Credentials::take(&mut config.auth_info, url_user.as_deref()).await;
    let credentials = credentials.map_err(|error| {
        let error = outside_text::one_line(&error.0).into_owned();
        ClusterError::Kubeconfig(format!("cannot log in to {server}: {error}"))
    })?;
    Ok((config, outside_text::one_line(&server).into_owned(), credentials))
}

/// What stands before the `@`, decoded. Go sends it where there is nothing better, and shows it to nobody.
fn take_userinfo(url: &mut Uri) -> Result<Option<String>, ClusterError> {
    let mut parts = url.clone().into_parts();
    let Some((userinfo, host)) =
        parts.authority.as_ref().and_then(|authority| authority.as_str().rsplit_once('@'))
    else {
        return Ok(None);
    };
    let userinfo = percent_decoded(userinfo);
    let wrong = |error: &dyn std::fmt::Display| {
        ClusterError::Kubeconfig(format!("the cluster's `server` is no address: {error}"))
    };
    parts.authority = Some(host.parse().map_err(|error: http::uri::InvalidUri| wrong(&error))?);
    *url = Uri::from_parts(parts).map_err(|error| wrong(&error))?;
    Ok(Some(userinfo))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
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
        let unusable = |cause: &str| {
            let cause = outside_text::one_line_within(cause, CAUSE_BYTES_MAX);
            ClusterError::Kubeconfig(format!("cannot use the pod's service account: {cause}"))
        };
        let mut config = Config::incluster().map_err(|e| unusable(&chain(&e)))?;
        config.default_namespace = config.default_namespace.trim().to_owned();
        check_namespace(&config.default_namespace).map_err(|e| unusable(&e))?;
        return Ok(config);
    }
    let no_cluster = |cause: &str| {
        let cause = outside_text::one_line_within(cause, CAUSE_BYTES_MAX);
        let hint = "name one with --kubeconfig, and a context of it with --context";
        ClusterError::Kubeconfig(format!("no cluster to work on: {cause}; {hint}"))
    };
    let mut found = kubeconfig::read(kubeconfig.as_deref()).map_err(|e| no_cluster(&e))?;
    kubeconfig::prepare(&mut found, context.as_deref()).map_err(|e| no_cluster(&e))?;
    let choice = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
    let mut config =
        Config::from_custom_kubeconfig(found, &choice).await.map_err(|e| no_cluster(&chain(&e)))?;
    let namespace = config.default_namespace.trim();
    config.default_namespace = match namespace {
        "" => "default".to_owned(),
        namespace => namespace.to_owned(),
    };
    check_namespace(&config.default_namespace).map_err(|e| no_cluster(&e))?;
    Ok(config)
}

/// It becomes a part of every request's path.
fn check_namespace(namespace: &str) -> Result<(), String> {
    let fits = namespace.len() <= 63
        && namespace.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
    match fits {
        true => Ok(()),
        false => Err(format!("the namespace {namespace:?} is no name of a namespace")),
    }
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
