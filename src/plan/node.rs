//! The part of a Kubernetes node that planning decides on.

use std::collections::BTreeMap;

use crate::config::TaintEffect;

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

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    pub key: String,
    pub value: String,
    pub effect: TaintEffect,
}
