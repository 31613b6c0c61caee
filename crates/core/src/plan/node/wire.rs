//! A node as the API server and `kubectl get nodes -o json` write it.
//!
//! Only what planning reads is declared, so that the rest is dropped while decoding: keeping
//! `managedFields` as values made 5,000 nodes cost six times the memory and time (measured), and
//! `status.images` is larger still.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use super::{ListedNode, Node, Taint};
use crate::config::TaintEffect;
use crate::decode::{Omit, Read, tolerantly};

/// What of a node is skipped while reading; some 90 % of it.
pub const OMIT: Omit = Omit::In(&[
    ("metadata", Omit::In(&[("managedFields", Omit::All), ("annotations", Omit::All)])),
    (
        "status",
        Omit::In(&[
            ("images", Omit::All),
            ("volumesAttached", Omit::All),
            ("volumesInUse", Omit::All),
            ("capacity", Omit::All),
            ("allocatable", Omit::All),
            ("features", Omit::All),
            ("runtimeHandlers", Omit::All),
        ]),
    ),
]);

impl Read for Node {
    type Wire = WireNode;
    const OMIT: Omit = OMIT;
}

impl Read for ListedNode {
    type Wire = WireNode;
    const OMIT: Omit = OMIT;
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        tolerantly(deserializer)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WireNode {
    #[serde(default)]
    pub kind: Option<String>,
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    resource_version: String,
    #[serde(default)]
    creation_timestamp: Option<Timestamp>,
}

#[derive(Debug, Default, Deserialize)]
struct Spec {
    #[serde(default)]
    unschedulable: Option<bool>,
    #[serde(default)]
    taints: Option<Vec<WireTaint>>,
}

#[derive(Debug, Deserialize)]
struct WireTaint {
    key: String,
    #[serde(default)]
    value: Option<String>,
    effect: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    conditions: Option<Vec<Condition>>,
    #[serde(default)]
    node_info: NodeInfo,
}

#[derive(Debug, Deserialize)]
struct Condition {
    r#type: String,
    status: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NodeInfo {
    operating_system: String,
    architecture: String,
    kubelet_version: String,
    container_runtime_version: String,
}

impl From<WireNode> for ListedNode {
    fn from(mut wire: WireNode) -> ListedNode {
        ListedNode {
            resource_version: std::mem::take(&mut wire.metadata.resource_version),
            created_at: wire.metadata.creation_timestamp,
            node: wire.into(),
        }
    }
}

impl From<WireNode> for Node {
    fn from(WireNode { kind: _, metadata, spec, status }: WireNode) -> Node {
        let NodeInfo { operating_system, architecture, kubelet_version, container_runtime_version } =
            status.node_info;
        let ready = status
            .conditions
            .iter()
            .flatten()
            .any(|condition| condition.r#type == "Ready" && condition.status == "True");
        Node {
            name: metadata.name,
            uid: metadata.uid,
            labels: metadata.labels.unwrap_or_default(),
            unschedulable: spec.unschedulable.unwrap_or(false),
            ready,
            taints: spec.taints.into_iter().flatten().filter_map(WireTaint::parse).collect(),
            os: operating_system,
            arch: architecture,
            kubelet_version,
            container_runtime: container_runtime_version,
        }
    }
}

impl WireTaint {
    /// `None` for an effect that Kubernetes 1.37 does not know: the scheduler ignores it as well.
    fn parse(self) -> Option<Taint> {
        let effect = match self.effect.as_str() {
            "NoSchedule" => TaintEffect::NoSchedule,
            "PreferNoSchedule" => TaintEffect::PreferNoSchedule,
            "NoExecute" => TaintEffect::NoExecute,
            _ => return None,
        };
        Some(Taint { key: self.key, value: self.value.unwrap_or_default(), effect })
    }
}
