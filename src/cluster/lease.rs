//! Lets one of several controllers of an instance lead, by a Lease.
//!
//! [`LeaderElector`] decides; this carries its requests out, one at a time and each within a limit, and
//! tells others until when we lead. Nothing here decides what a leader does.
#![expect(clippy::disallowed_methods, reason = "leadership runs out by the clock")]

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use futures::future::{BoxFuture, OptionFuture};
use futures::{FutureExt, TryFutureExt};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::Api;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::apply::FIELD_MANAGER;
use super::error::{Access, api_status, call_error};
use super::retry::no_answer;
use super::wire::Tolerant;
use super::{Cluster, ClusterError};
use crate::clock;
use crate::elector::{Answer, CALL_TIMEOUT, Effect, Event, LeaderElector, RENEW_DEADLINE, Request};
use crate::render::label;

const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);
const RESOURCE: &str = "leases.coordination.k8s.io";

/// Our part in an election; whoever drops it without [`Leadership::release`] lets the Lease run out, as a
/// crash would.
#[derive(Debug)]
pub struct Leadership {
    leads_until: watch::Receiver<Option<Instant>>,
    /// What [`Leadership::changed`] has last returned; at first everybody stands by.
    last_returned: bool,
    release: CancellationToken,
    task: JoinHandle<()>,
}

impl Cluster {
    /// Takes part in the election among the controllers of `instance` in `namespace`. `identity` says who we
    /// are to people, such as the pod's name; it need not be unique.
    ///
    /// Creates the Lease where there is none. So whoever deletes it should not start a controller within the
    /// next 10 s, in which the one that led may still do so.
    ///
    /// # Errors
    /// Where the namespace is missing, or we may not get, create or patch the Lease: no controller would
    /// ever lead.
    pub async fn elect_leader(
        &self,
        namespace: &str,
        instance: &str,
        identity: &str,
    ) -> Result<Leadership, ClusterError> {
        let lease = LeaseClient::prepare(self, namespace, instance).await?;
        // As client-go's users have it: a host name, and what no other process has.
        let identity = format!("{identity}_{:016x}", RandomState::new().hash_one(0));
        let elector = LeaderElector::new(identity, clock::now().instant);
        let (sender, leads_until) = watch::channel(None);
        let release = CancellationToken::new();
        let task = tokio::spawn(run(lease, elector, sender, release.clone()));
        Ok(Leadership { leads_until, last_returned: false, release, task })
    }
}

impl Leadership {
    /// Whether we lead at this moment: false from when the Lease could not be renewed in time, which is
    /// before another can take it.
    pub fn is_leader(&self) -> bool {
        self.leads_until.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Waits until we lead where we did not, or no longer where we did, and returns which. Cancel-safe.
    pub async fn changed(&mut self) -> bool {
        while self.is_leader() == self.last_returned {
            if self.leads_until.changed().await.is_err() {
                // The task is gone, and with it the renewals.
                sleep(RENEW_DEADLINE).await;
            }
        }
        self.last_returned = !self.last_returned;
        self.last_returned
    }

    /// Gives up the Lease, so that another leads at once instead of when it has run out.
    pub async fn release(mut self) {
        self.release.cancel();
        if timeout(RELEASE_TIMEOUT, &mut self.task).await.is_err() {
            tracing::warn!("the lease could not be released in time; another leads when it has run out");
        }
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes events to `elector` and carries its effects out, until the Lease is released.
async fn run(
    lease: LeaseClient,
    mut elector: LeaderElector,
    leads_until: watch::Sender<Option<Instant>>,
    release: CancellationToken,
) {
    let mut call: Option<BoxFuture<'_, Result<Answer, ClusterError>>> = None;
    let (mut is_releasing, mut is_failing) = (false, false);
    loop {
        let timer = elector.next_timer().map(Instant::from_std);
        let event = tokio::select! {
            biased;
            () = release.cancelled(), if !is_releasing => {
                is_releasing = true;
                Event::Release
            }
            Some(answer) = OptionFuture::from(call.as_mut()) => {
                call = None;
                // A restarting API server is reported once, not every other second.
                match &answer {
                    Err(error) if !is_failing => tracing::warn!("leader election fails, will go on trying: {error}"),
                    Err(error) => tracing::debug!("leader election still fails: {error}"),
                    Ok(_) => {}
                }
                is_failing = answer.is_err();
                Event::Answer(answer.unwrap_or(Answer::Failed))
            }
            Some(()) = OptionFuture::from(timer.map(sleep_until)) => Event::Tick,
            else => return,
        };
        for effect in elector.on(event, clock::now()) {
            match effect {
                Effect::Call(request) => call = Some(lease.answer(request).boxed()),
                Effect::LeadsUntil(until) => drop(leads_until.send_replace(Some(Instant::from_std(until)))),
                Effect::Lost => drop(leads_until.send_replace(None)),
                Effect::Ended => return,
            }
        }
    }
}

struct LeaseClient {
    cluster: Cluster,
    leases: Api<Tolerant<Lease>>,
    namespace: String,
    /// An instance is a label of at most 63 characters, so this needs no cutting.
    name: String,
    instance: String,
}

impl LeaseClient {
    /// Creates the Lease where there is none, and makes sure that we may change it.
    async fn prepare(cluster: &Cluster, namespace: &str, instance: &str) -> Result<Self, ClusterError> {
        let lease = LeaseClient {
            cluster: cluster.clone(),
            leases: Api::namespaced(cluster.client.clone(), namespace),
            namespace: namespace.to_owned(),
            name: format!("quayctl-controller-{instance}"),
            instance: instance.to_owned(),
        };
        let found = cluster.patiently(|| lease.leases.get_opt(&lease.name)).await;
        if found.map_err(|error| lease.error("get", &error))?.is_none() {
            match cluster.patiently(|| lease.create(LeaseSpec::default())).await {
                Err(error) if !api_status(&error).is_some_and(|status| status.is_already_exists()) => {
                    return Err(lease.error("create", &error));
                }
                Ok(_) | Err(_) => {}
            }
        }
        let tried = cluster.patiently(|| lease.patch(true, json!({}))).await;
        tried.map_err(|error| lease.error("patch", &error))?;
        Ok(lease)
    }

    /// Carries `request` out, or gives up on it after [`CALL_TIMEOUT`].
    async fn answer(&self, request: Request) -> Result<Answer, ClusterError> {
        let (verb, call) = match request {
            Request::Get => {
                let found = self.leases.get_opt(&self.name);
                ("get", found.map_ok(|found| found.map(|Tolerant { object, .. }| object)).boxed())
            }
            Request::Create(spec) => ("create", self.create(spec).map_ok(Some).boxed()),
            Request::Replace { version, spec } => {
                let patch = json!({"metadata": {"resourceVersion": version}, "spec": {
                    "holderIdentity": spec.holder_identity, "leaseDurationSeconds": spec.lease_duration_seconds,
                    "acquireTime": spec.acquire_time, "renewTime": spec.renew_time,
                    "leaseTransitions": spec.lease_transitions,
                }});
                ("patch", self.patch(false, patch).map_ok(Some).boxed())
            }
        };
        match timeout(CALL_TIMEOUT, call).await.unwrap_or_else(|_| Err(no_answer(CALL_TIMEOUT))) {
            Ok(Some(lease)) => Ok(Answer::Lease(Box::new(lease))),
            Ok(None) => Ok(Answer::Missing),
            Err(error) => match api_status(&error).map(|status| status.code) {
                Some(404) if verb != "create" => Ok(Answer::Missing),
                Some(409) => Ok(Answer::Conflict),
                _ => Err(self.error(verb, &error)),
            },
        }
    }

    /// A merge patch that names a version is refused like an update where the object has another (409), and
    /// leaves alone what we do not know or could not read.
    async fn patch(&self, dry_run: bool, patch: Value) -> Result<Lease, kube::Error> {
        let params =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), dry_run, ..PatchParams::default() };
        self.leases
            .patch(&self.name, &params, &Patch::Merge(patch))
            .await
            .map(|Tolerant { object, .. }| object)
    }

    async fn create(&self, spec: LeaseSpec) -> Result<Lease, kube::Error> {
        let labels = [(label::MANAGED_BY, label::MANAGED_BY_VALUE), (label::INSTANCE, &*self.instance)];
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
                // It has no more of an owner than a Job, and is in nobody's Git.
                annotations: Some(
                    label::ARGO_CD.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
                ),
                ..ObjectMeta::default()
            },
            spec: Some(spec),
        };
        let leases = Api::<Lease>::namespaced(self.cluster.client.clone(), &self.namespace);
        leases.create(&PostParams::default(), &lease).await
    }

    fn error(&self, verb: &'static str, error: &kube::Error) -> ClusterError {
        // The only thing in the path that can be missing as a Lease is created.
        if verb == "create" && api_status(error).is_some_and(|status| status.code == 404) {
            return ClusterError::NamespaceMissing(self.namespace.clone());
        }
        let access = Access { verb, resource: RESOURCE, namespace: Some(&self.namespace) };
        call_error(&self.cluster.server, access, error)
    }
}

#[cfg(test)]
mod tests;
