//! The Lease itself: makes sure that it is there, looks at it, frees it.
//!
//! Each change depends on the version that was looked at, so whoever comes second changes nothing.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::super::apply::FIELD_MANAGER;
use super::super::error::{Access, api_status, call_error};
use super::super::wire::Tolerant;
use super::super::{Cluster, ClusterError};
use super::{CALL_LIMIT, LEASE_DURATION, LOOK_EVERY, RELEASE_LIMIT};
use crate::render::label;

/// Holds a Lease that was deleted under its holder, until that one has given up.
const NOBODY: &str = "nobody: the lease was deleted";
const RESOURCE: &str = "leases.coordination.k8s.io";

pub struct LeaseAccess {
    cluster: Cluster,
    leases: Api<Tolerant<Lease>>,
    pub namespace: String,
    /// An instance is a label of at most 63 characters, so this needs no cutting.
    pub name: String,
    instance: String,
}

impl LeaseAccess {
    /// Creates the Lease where there is none, and makes sure that we may change it: without that no
    /// controller would ever lead.
    pub async fn prepare(cluster: &Cluster, namespace: &str, instance: &str) -> Result<Self, ClusterError> {
        let access = LeaseAccess {
            cluster: cluster.clone(),
            leases: Api::namespaced(cluster.client.clone(), namespace),
            namespace: namespace.to_owned(),
            name: format!("quayctl-controller-{instance}"),
            instance: instance.to_owned(),
        };
        let found = cluster.patiently(|| access.leases.get_opt(&access.name)).await;
        if found.map_err(|error| access.error("get", &error))?.is_none() {
            let created = cluster.patiently(|| access.create(LeaseSpec::default())).await;
            created.map_err(|error| match api_status(&error) {
                // The only thing in the path that can be missing.
                Some(status) if status.code == 404 => ClusterError::NamespaceMissing(namespace.to_owned()),
                _ => access.error("create", &error),
            })?;
        }
        let params = PatchParams { dry_run: true, ..params() };
        let nothing = Patch::Merge(json!({}));
        let tried = cluster.patiently(|| access.leases.patch(&access.name, &params, &nothing)).await;
        tried.map_err(|error| access.error("patch", &error))?;
        Ok(access)
    }

    pub fn client(&self) -> Client {
        self.cluster.client.clone()
    }

    /// Waits until nobody holds the Lease. One that has not changed for its duration is freed: its
    /// holder has given up leading by then. So is one of `former`, who was us and leads no longer.
    pub async fn become_free(&self, former: Option<&str>) {
        let mut seen: Option<(String, Instant)> = None;
        let mut in_trouble = false;
        loop {
            match self.look(former, &mut seen).await {
                Ok(true) => return,
                Ok(false) => in_trouble = false,
                // A restarting API server is said once, not every other second.
                Err(error) if in_trouble => tracing::debug!(%error, "still no look at the lease"),
                Err(error) => {
                    in_trouble = true;
                    tracing::warn!(%error, "cannot stand for election now, will go on trying");
                }
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Gives up a Lease that `identity` holds; no other.
    pub async fn resign(&self, identity: &str) -> Result<(), ClusterError> {
        let resign = async {
            match self.get().await? {
                Some(lease) if holder(&lease) == Some(identity) => self.free(&lease).await.map(|_| ()),
                _ => Ok(()),
            }
        };
        timeout(RELEASE_LIMIT, resign).await.unwrap_or_else(|_| Err(self.no_answer()))
    }

    /// Whether the Lease is free. `seen` is the version that was found last, and since when.
    async fn look(
        &self,
        former: Option<&str>,
        seen: &mut Option<(String, Instant)>,
    ) -> Result<bool, ClusterError> {
        let Some(lease) = self.get().await? else {
            // Whoever led before it was deleted may not have noticed yet: so it is nobody's to take, for
            // any candidate, until it has not changed for its duration.
            let spec = LeaseSpec {
                holder_identity: Some(NOBODY.to_owned()),
                lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
                ..LeaseSpec::default()
            };
            let created = timeout(CALL_LIMIT, self.create(spec)).await;
            created.map_err(|_| self.no_answer())?.map_err(|error| self.error("create", &error))?;
            return Ok(false);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let held = holder(&lease);
        if held.is_none() && spec.renew_time.is_none() && spec.acquire_time.is_none() {
            return Ok(true);
        }
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        // By our own clock, and from when the answer was there: clocks of two machines differ.
        let since = match seen {
            Some((found, since)) if *found == version => *since,
            _ => seen.insert((version, Instant::now())).1,
        };
        let duration = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let stale = since.elapsed() >= duration.map_or(LEASE_DURATION, Duration::from_secs);
        match held {
            Some(held) if !stale && Some(held) != former => Ok(false),
            _ => self.free(&lease).await,
        }
    }

    async fn get(&self) -> Result<Option<Lease>, ClusterError> {
        let found = timeout(CALL_LIMIT, self.leases.get_opt(&self.name)).await;
        let found = found.map_err(|_| self.no_answer())?.map_err(|error| self.error("get", &error))?;
        Ok(found.map(|Tolerant { object, .. }| object))
    }

    /// Whether it is free now: not where it has changed since it was looked at.
    async fn free(&self, lease: &Lease) -> Result<bool, ClusterError> {
        let patch = json!({
            "metadata": {"resourceVersion": lease.metadata.resource_version},
            "spec": {"holderIdentity": null, "acquireTime": null, "renewTime": null, "leaseDurationSeconds": null},
        });
        let (params, patch) = (params(), Patch::Merge(&patch));
        let freed = timeout(CALL_LIMIT, self.leases.patch(&self.name, &params, &patch)).await;
        match freed.map_err(|_| self.no_answer())? {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
            Err(error) => Err(self.error("patch", &error)),
        }
    }

    /// One that is there by now is fine too.
    async fn create(&self, spec: LeaseSpec) -> Result<(), kube::Error> {
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
        let leases = Api::<Lease>::namespaced(self.client(), &self.namespace);
        match leases.create(&PostParams::default(), &lease).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn error(&self, verb: &'static str, error: &kube::Error) -> ClusterError {
        let access = Access { verb, resource: RESOURCE, namespace: Some(&self.namespace) };
        call_error(&self.cluster.server, access, error)
    }

    fn no_answer(&self) -> ClusterError {
        let cause = format!("no answer within {} s", CALL_LIMIT.as_secs());
        ClusterError::Unreachable { server: self.cluster.server.clone(), cause }
    }
}

/// "" is nobody too.
fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}
