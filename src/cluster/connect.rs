//! Finds the cluster as kubectl would, and makes sure that it answers.
//!
//! `kubeconfig` and `in_pod` say what is written, `access` is what both come to; `proxy`, `server` and `tls`
//! decide; `dial` and `transport` carry. kube's own `Config` has none of a say: where the two differ it is
//! kubectl that people compare us with (`tests/it/connecting`).

use std::path::PathBuf;
use std::time::Duration;

use http::header::{PROXY_AUTHORIZATION, USER_AGENT};
use http::{HeaderName, HeaderValue};
use kube::client::ClientBuilder;
use kube::client::middleware::BaseUriLayer;
use tower::Layer;
use tower_http::decompression::DecompressionLayer;

use super::error::{Access as Right, CAUSE_BYTES_MAX, call_error};
use super::error_answers::ErrorAnswers;
use super::request_metrics::RequestMetrics;
use super::retry::{Limits, with_retries};
use super::{Cluster, ClusterError};
use crate::outside_text;
use access::Access;
use credentials::Credentials;
use dial::Dial;
use kubeconfig::KubeconfigError;
use proxy::{Environment, Kind};
use tls::Identity;
use transport::Transport;

mod access;
pub mod credentials;
mod dial;
mod impersonation;
mod in_pod;
mod kubeconfig;
mod oidc;
mod plugin;
mod proxy;
mod server;
pub mod tls;
mod transport;

/// A person waits for this one, and `/version` is a few hundred bytes from memory. Where there is nobody
/// that is said at once; one that answers and asks to come back later is starting.
const FIRST_ANSWER: Limits =
    Limits { failing: Duration::from_secs(30), unreachable: Duration::ZERO, call: Duration::from_secs(8) };

/// Which cluster was asked for.
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// `--kubeconfig`; else `KUBECONFIG`, else `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`; else the kubeconfig's current one.
    pub context: Option<String>,
    /// Whether we run in a pod, by `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT`.
    pub in_cluster: bool,
}

impl ConnectOptions {
    /// What was asked for by flag, else the pod's service account, else the kubeconfig. Not the order of
    /// kubectl: a stray kubeconfig in a pod would have us work on another cluster than our own.
    fn wants_pod(&self) -> bool {
        self.in_cluster && self.kubeconfig.is_none() && self.context.is_none()
    }
}

impl Cluster {
    /// Connects, and asks for the version once, which needs no permission: whoever holds a
    /// [`Cluster`] has one that answered.
    pub async fn connect(options: &ConnectOptions) -> Result<Cluster, ClusterError> {
        let access = access(options)?;
        let (server, default_namespace) = (access.server.shown(), access.namespace.clone());
        let base = BaseUriLayer::new(access.server.url.clone());
        let compression = DecompressionLayer::new().gzip(!access.disable_compression);
        let traffic = RequestMetrics::default();
        let (transport, credentials) = prepared(access).await?;
        let client = ClientBuilder::new(base.layer(compression.layer(transport)), default_namespace.clone())
            .with_layer(&credentials)
            .with_layer(&traffic)
            .with_layer(&ErrorAnswers)
            .build();
        let answer = with_retries(&traffic, FIRST_ANSWER, || client.apiserver_version()).await;
        let version = answer.map(|info| info.git_version).map_err(|error| {
            let right = Right { verb: "get", resource: "/version", namespace: None };
            call_error(&server, right, &error)
        })?;
        tracing::debug!(server, version, "connected");
        Ok(Cluster { client, default_namespace, server, version, traffic, job_events: Default::default() })
    }
}

/// The namespace that a Cluster of these options would have, without asking one.
pub async fn default_namespace(options: &ConnectOptions) -> Result<String, ClusterError> {
    if options.wants_pod() {
        return in_pod::namespace().map_err(|error| of_pod(&error));
    }
    let kubeconfig = kubeconfig::read(options.kubeconfig.as_deref()).map_err(of_kubeconfig)?;
    kubeconfig.select(options.context.as_deref()).and_then(|found| found.namespace()).map_err(of_kubeconfig)
}

fn access(options: &ConnectOptions) -> Result<Access, ClusterError> {
    if options.wants_pod() {
        return in_pod::access().map_err(|error| of_pod(&error));
    }
    let kubeconfig = kubeconfig::read(options.kubeconfig.as_deref()).map_err(of_kubeconfig)?;
    kubeconfig.select(options.context.as_deref()).and_then(|found| found.access()).map_err(of_kubeconfig)
}

fn of_pod(error: &str) -> ClusterError {
    let error = outside_text::one_line_within(error, CAUSE_BYTES_MAX);
    ClusterError::Kubeconfig(format!("cannot use the pod's service account: {error}"))
}

fn of_kubeconfig(error: KubeconfigError) -> ClusterError {
    let error = outside_text::one_line_within(&error.to_string(), CAUSE_BYTES_MAX).into_owned();
    ClusterError::Kubeconfig(error)
}

/// All that requests go through, checked.
async fn prepared(access: Access) -> Result<(Transport, Credentials), ClusterError> {
    let shown = access.server.shown();
    let cannot = |what: &str, error: &str| {
        let error = outside_text::one_line_within(error, CAUSE_BYTES_MAX);
        ClusterError::Kubeconfig(format!("cannot {what} {shown}: {error}"))
    };
    let proxy = match access.proxy {
        Some(proxy) => Some(proxy),
        None => proxy::for_server(&access.server.url, &Environment::read())
            .map_err(|e| cannot("connect to", &e))?,
    };
    let identity = Identity::new(access.tls.certificate.as_ref()).map_err(|e| cannot("log in to", &e))?;
    let needs_tls = access.server.has_tls() || proxy.as_ref().is_some_and(|proxy| proxy.kind == Kind::Https);
    let tls = needs_tls.then(|| tls::client(&access.tls, &identity)).transpose();
    let tls = tls.map_err(|e| cannot("connect to", &e))?;

    let agent = HeaderValue::from_static(concat!("quayctl-controller/", env!("CARGO_PKG_VERSION")));
    let mut headers: Vec<(HeaderName, HeaderValue)> = vec![(USER_AGENT, agent)];
    headers.extend(impersonation::headers(&access.impersonation).map_err(|e| cannot("log in to", &e))?);
    if let Some(proxy) = proxy.as_ref().filter(|proxy| proxy.kind != Kind::Socks5 && !access.server.has_tls())
    {
        headers.extend(dial::proxy_authorization(proxy).map(|login| (PROXY_AUTHORIZATION, login)));
    }
    let url_user = access.server.userinfo.as_deref();
    let credentials = Credentials::new(access.login, url_user, &identity).await;
    let credentials = credentials.map_err(|error| cannot("log in to", &error.0))?;
    Ok((Transport::new(Dial::new(proxy, tls), identity, headers), credentials))
}

/// Whether it can be a part of every request's path.
fn is_namespace(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 63
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
}
