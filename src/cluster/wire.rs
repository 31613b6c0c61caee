//! Jobs and pods as far as we watch them.
//!
//! Thin on purpose: a Job of 20 images is 12 KB of JSON, and a run may hold 5,000 of them in
//! flight. What is not declared here is dropped while decoding. What is declared and does not fit is set
//! aside ([`crate::decode`]): others write these objects too.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::JobStatus;
use k8s_openapi::api::core::v1::PodStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use kube::core::{ClusterResourceScope, NamespaceResourceScope};
use serde::{Deserialize, Deserializer};

use crate::decode::{Decoded, Fault, Omit, Read, saturating, tolerantly};
use crate::plan::ListedNode;
use crate::plan::node::{OMIT, WireNode};

/// The label by which the Job controller ties a pod to its Job, since Kubernetes 1.27.
const JOB_NAME: &str = "batch.kubernetes.io/job-name";

#[derive(Clone, Debug)]
pub struct WatchedJob {
    pub metadata: ObjectMeta,
    pub active_deadline_seconds: Option<u32>,
    /// A queue holds it: it has no pod, and its deadline does not run.
    pub suspended: bool,
    pub status: JobStatus,
}

#[derive(Clone, Debug)]
pub struct WatchedPod {
    pub metadata: ObjectMeta,
    pub node_name: Option<String>,
    pub status: PodStatus,
}

/// An event that tells of a pull, of a pod's trouble, or of a pod that could not be made.
#[derive(Clone, Debug)]
pub struct WatchedEvent {
    pub metadata: ObjectMeta,
    /// Whom it is about.
    pub object_name: String,
    pub object_uid: String,
    pub reason: String,
    pub message: String,
}

/// A node as `kube` wants to watch it.
#[derive(Clone, Debug)]
pub struct WatchedNode {
    pub metadata: ObjectMeta,
    pub listed: ListedNode,
}

impl Read for WatchedNode {
    type Wire = WireNode;
    const OMIT: Omit = OMIT;
}

impl From<WireNode> for WatchedNode {
    fn from(wire: WireNode) -> WatchedNode {
        let listed = ListedNode::from(wire);
        let metadata = ObjectMeta {
            name: Some(listed.node.name.clone()),
            resource_version: Some(listed.resource_version.clone()),
            ..ObjectMeta::default()
        };
        WatchedNode { metadata, listed }
    }
}

impl WatchedPod {
    /// Name of the Job that the pod belongs to.
    pub fn job_name(&self) -> Option<&str> {
        self.metadata.labels.as_ref()?.get(JOB_NAME).map(String::as_str)
    }
}

#[derive(Debug, Default, Deserialize)]
pub struct WireJob {
    #[serde(default)]
    metadata: WireMeta,
    #[serde(default)]
    spec: Option<WireJobSpec>,
    #[serde(default)]
    status: Option<JobStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireJobSpec {
    /// The API server takes 64 bits.
    #[serde(default, deserialize_with = "saturating")]
    active_deadline_seconds: Option<u32>,
    #[serde(default)]
    suspend: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WireEvent {
    #[serde(default)]
    metadata: WireMeta,
    #[serde(default)]
    involved_object: WireReference,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireReference {
    name: String,
    uid: String,
}

#[derive(Debug, Default, Deserialize)]
pub struct WirePod {
    #[serde(default)]
    metadata: WireMeta,
    #[serde(default)]
    spec: Option<WirePodSpec>,
    #[serde(default)]
    status: Option<PodStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WirePodSpec {
    #[serde(default)]
    node_name: Option<String>,
}

/// `managedFields` above all is left out: see `plan::node`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireMeta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
}

impl From<WireMeta> for ObjectMeta {
    fn from(meta: WireMeta) -> ObjectMeta {
        let WireMeta {
            name,
            namespace,
            uid,
            resource_version,
            labels,
            annotations,
            creation_timestamp,
            deletion_timestamp,
        } = meta;
        ObjectMeta {
            name,
            namespace,
            uid,
            resource_version,
            labels,
            annotations,
            creation_timestamp,
            deletion_timestamp,
            ..ObjectMeta::default()
        }
    }
}

impl From<WireJob> for WatchedJob {
    fn from(job: WireJob) -> WatchedJob {
        let spec = job.spec.unwrap_or_default();
        WatchedJob {
            metadata: job.metadata.into(),
            active_deadline_seconds: spec.active_deadline_seconds,
            suspended: spec.suspend.unwrap_or(false),
            status: job.status.unwrap_or_default(),
        }
    }
}

impl From<WirePod> for WatchedPod {
    fn from(pod: WirePod) -> WatchedPod {
        WatchedPod {
            metadata: pod.metadata.into(),
            node_name: pod.spec.and_then(|spec| spec.node_name),
            status: pod.status.unwrap_or_default(),
        }
    }
}

impl From<WireEvent> for WatchedEvent {
    fn from(event: WireEvent) -> WatchedEvent {
        let WireReference { name, uid } = event.involved_object;
        let WireEvent { metadata, reason, message, .. } = event;
        WatchedEvent { metadata: metadata.into(), object_name: name, object_uid: uid, reason, message }
    }
}

/// Written by everybody who writes a field, and larger than all that we look at.
const META: Omit = Omit::In(&[("managedFields", Omit::All), ("ownerReferences", Omit::All)]);

impl Read for WatchedJob {
    type Wire = WireJob;
    const OMIT: Omit = Omit::In(&[
        ("metadata", META),
        (
            "spec",
            Omit::In(&[("template", Omit::All), ("podFailurePolicy", Omit::All), ("selector", Omit::All)]),
        ),
    ]);
}

impl Read for WatchedPod {
    type Wire = WirePod;
    const OMIT: Omit = Omit::In(&[
        ("metadata", META),
        (
            "spec",
            Omit::In(&[
                ("containers", Omit::All),
                ("initContainers", Omit::All),
                ("volumes", Omit::All),
                ("affinity", Omit::All),
                ("tolerations", Omit::All),
            ]),
        ),
    ]);
}

impl Read for WatchedEvent {
    type Wire = WireEvent;
    const OMIT: Omit = Omit::In(&[("metadata", META)]);
}

/// An object as far as it could be read, as `kube` can list and watch it.
#[derive(Clone, Debug)]
pub struct Tolerant<T> {
    pub object: T,
    pub faults: Vec<Fault>,
}

impl<'de, T: Read> Deserialize<'de> for Tolerant<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Decoded { object, faults } = Decoded::deserialize(deserializer)?;
        Ok(Tolerant { object, faults })
    }
}

impl<K: Resource> Resource for Tolerant<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dynamic)
    }
    fn group(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dynamic)
    }
    fn version(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dynamic)
    }
    fn plural(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dynamic)
    }
    fn meta(&self) -> &ObjectMeta {
        self.object.meta()
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.object.meta_mut()
    }
}

/// Lets `kube` list and watch `$ty` as the resource `$plural`.
macro_rules! watched_resource {
    ($ty:ty, $scope:ty, $kind:literal, $group:literal, $plural:literal) => {
        impl Resource for $ty {
            type DynamicType = ();
            type Scope = $scope;

            fn kind(_: &()) -> Cow<'_, str> {
                $kind.into()
            }
            fn group(_: &()) -> Cow<'_, str> {
                $group.into()
            }
            fn version(_: &()) -> Cow<'_, str> {
                "v1".into()
            }
            fn plural(_: &()) -> Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }

        impl<'de> Deserialize<'de> for $ty {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$ty, D::Error> {
                tolerantly(deserializer)
            }
        }
    };
}

watched_resource!(WatchedJob, NamespaceResourceScope, "Job", "batch", "jobs");
watched_resource!(WatchedPod, NamespaceResourceScope, "Pod", "", "pods");
watched_resource!(WatchedEvent, NamespaceResourceScope, "Event", "", "events");
watched_resource!(WatchedNode, ClusterResourceScope, "Node", "", "nodes");

#[cfg(test)]
mod tests;
