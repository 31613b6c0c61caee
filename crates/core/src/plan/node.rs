//! The part of a Kubernetes node that planning decides on.

use std::collections::BTreeMap;

use crate::config::{RemovedTaint, TaintEffect};

mod distinct;
mod documents;
mod list;
mod wire;

pub use distinct::distinct;
pub use list::{NodeFileError, nodes_from_text};
pub use wire::{OMIT, WireNode};

/// A node as listed, without what planning does not look at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    pub name: String,
    /// Empty in a hand-written `--nodes` file.
    pub uid: String,
    pub labels: BTreeMap<String, String>,
    /// `spec.unschedulable`: cordoned.
    pub unschedulable: bool,
    /// The `Ready` condition is `True`.
    pub ready: bool,
    pub taints: Vec<Taint>,
    /// `status.nodeInfo.operatingSystem`.
    pub os: String,
    /// `status.nodeInfo.architecture`.
    pub arch: String,
    /// `status.nodeInfo.kubeletVersion`, as `v1.37.2`.
    pub kubelet_version: String,
    /// `status.nodeInfo.containerRuntimeVersion`, as `containerd://2.4.2`.
    pub container_runtime: String,
}

/// A node with what a watch needs to go on from it.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedNode {
    pub node: Node,
    pub resource_version: String,
    /// `None` where the API server does not say.
    pub created_at: Option<jiff::Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    pub key: String,
    pub value: String,
    pub effect: TaintEffect,
}

impl Node {
    /// Whether the node has the taint, whatever its value.
    pub fn has_taint(&self, taint: &RemovedTaint) -> bool {
        self.taints.iter().any(|found| found.key == taint.key && found.effect == taint.effect)
    }

    /// Whether pods of this node can have `volumes[].image`: the kubelet's feature gate is on by
    /// default since 1.35 (KEP-4639), and the runtime mounts them since containerd 2.1 or
    /// CRI-O 1.31. Versions that cannot be read count as too old: `helper` works everywhere.
    pub fn mounts_image_volumes(&self) -> bool {
        let kubelet = version(self.kubelet_version.trim_start_matches('v'));
        let runtime = match self.container_runtime.split_once("://") {
            Some(("containerd", text)) => version(text.trim_start_matches('v')) >= Some((2, 1)),
            Some(("cri-o", text)) => version(text.trim_start_matches('v')) >= Some((1, 31)),
            _ => false,
        };
        runtime && kubelet >= Some((1, 35))
    }
}

/// Major and minor of `1.37.2`, `1.35.0-gke.100`, `2.1`; `None` sorts below every version.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_volumes_need_a_new_kubelet_and_a_new_runtime() {
        for (kubelet, runtime, expected) in [
            ("v1.37.2", "containerd://2.4.2", true),
            ("v1.35.0", "containerd://2.1.0", true),
            ("v1.35.1-gke.1002000", "containerd://2.1.5-k3s1", true),
            ("v1.36.0", "cri-o://1.31.0", true),
            ("v1.34.9", "containerd://2.4.2", false),
            ("v1.37.2", "containerd://2.0.9", false),
            ("v1.37.2", "containerd://1.7.27", false),
            ("v1.37.2", "cri-o://1.30.5", false),
            ("v1.37.2", "docker://28.0.1", false),
            ("v1.37.2", "", false),
            ("", "containerd://2.4.2", false),
            ("v2.0.0", "containerd://10.0.0", true),
        ] {
            let node = Node {
                kubelet_version: kubelet.to_owned(),
                container_runtime: runtime.to_owned(),
                ..Node::default()
            };
            assert_eq!(node.mounts_image_volumes(), expected, "{kubelet} {runtime}");
        }
    }
}
