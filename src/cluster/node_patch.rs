//! Tells on a node that a group's images are there: sets a label, and removes a startup taint.
//!
//! One label and one taint, each named by the caller, and nothing else of a node is ever changed; only
//! groups that ask for it get here. When a node is done is the caller's to say. A node that is gone, or
//! that another of its name has taken the place of, is no error: there is nothing left to tell on it.

use super::apply::FIELD_MANAGER;
use super::error::{Access, api_status, call_error};
use super::{Cluster, ClusterError};
use crate::config::RemovedTaint;
use crate::plan::Node;
use crate::scheduler::NodePatchError;
use kube::Api;
use kube::api::{GetParams, Patch, PatchParams};
use kube::core::Request;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Others change a young node's taints too: the cloud's and the node lifecycle's controllers, each a
/// few times in its first minute.
const TRIES: u32 = 5;

/// The taints as they are, for a `test` compares whole values.
#[derive(Deserialize)]
struct TaintedNode {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    uid: String,
}

#[derive(Default, Deserialize)]
struct Spec {
    #[serde(default)]
    taints: Option<Vec<Value>>,
}

impl Cluster {
    /// Sets the label `key` to `content16`, then removes `taint`, on `node` as it was last seen: what it
    /// shows there already costs no request.
    pub async fn mark_node_ready(
        &self,
        node: &Node,
        key: &str,
        content16: Option<&str>,
        taint: Option<&RemovedTaint>,
    ) -> Result<(), NodePatchError> {
        // The label first: who waits for the taint to go finds it there.
        if let Some(content) = content16.filter(|content| node.labels.get(key).is_none_or(|v| v != content)) {
            self.patch_label(&node.name, &node.uid, key, Some(content)).await?;
        }
        match taint.filter(|taint| node.has_taint(taint)) {
            Some(taint) => self.remove_taint(node, taint).await,
            None => Ok(()),
        }
    }

    /// Removes the label `key`, as its group is gone.
    pub async fn remove_ready_label(&self, node_name: &str, key: &str) -> Result<(), NodePatchError> {
        self.patch_label(node_name, "", key, None).await
    }

    async fn patch_label(
        &self,
        name: &str,
        uid: &str,
        key: &str,
        value: Option<&str>,
    ) -> Result<(), NodePatchError> {
        let failed = |cause| NodePatchError::Label { node: name.to_owned(), key: key.to_owned(), cause };
        let mut patch = json!({"metadata": {"labels": {key: value}}});
        if !uid.is_empty() {
            // Another node of this name has another, which the API server does not let us change.
            patch["metadata"]["uid"] = uid.into();
        }
        let mut tries = 0;
        loop {
            tries += 1;
            let Patched::Conflict(cause) =
                self.patch_node(name, &Patch::Merge(&patch)).await.map_err(failed)?
            else {
                return Ok(());
            };
            // Or it is a node that many write to: the API server gives up after five tries of its own.
            match self.node_now(name).await.map_err(failed)? {
                Some(found) if uid.is_empty() || found.metadata.uid == uid => {}
                _ => return Ok(()),
            }
            if tries == TRIES {
                let what = format!("label {key}");
                return Err(NodePatchError::Contended { node: name.to_owned(), what, tries, cause });
            }
        }
    }

    async fn remove_taint(&self, node: &Node, taint: &RemovedTaint) -> Result<(), NodePatchError> {
        let failed = |cause| NodePatchError::Taint { node: node.name.clone(), taint: taint.clone(), cause };
        let mut tries = 0;
        loop {
            tries += 1;
            let Some(found) = self.node_now(&node.name).await.map_err(failed)? else { return Ok(()) };
            if !node.uid.is_empty() && found.metadata.uid != node.uid {
                return Ok(());
            }
            let taints = found.spec.taints.unwrap_or_default();
            let is_it =
                |found: &Value| found["key"] == *taint.key && found["effect"] == taint.effect.as_str();
            let Some(index) = taints.iter().position(is_it) else { return Ok(()) };
            let path = format!("/spec/taints/{index}");
            let patch = json!([
                {"op": "test", "path": "/metadata/uid", "value": found.metadata.uid},
                {"op": "test", "path": path, "value": taints[index]},
                {"op": "remove", "path": path},
            ]);
            let patch = serde_json::from_value(patch).map_err(kube::Error::SerdeError);
            let patch = Patch::<()>::Json(patch.map_err(|error| failed(self.node_error("patch", &error)))?);
            let Patched::Conflict(cause) = self.patch_node(&node.name, &patch).await.map_err(failed)? else {
                return Ok(());
            };
            if tries == TRIES {
                let what = format!("taint {taint}");
                return Err(NodePatchError::Contended { node: node.name.clone(), what, tries, cause });
            }
        }
    }

    /// One patch, repeated only where it got no answer: a conflict is the caller's to look at.
    async fn patch_node<P: Serialize + std::fmt::Debug>(
        &self,
        name: &str,
        patch: &Patch<P>,
    ) -> Result<Patched, ClusterError> {
        let nodes = Api::<k8s_openapi::api::core::v1::Node>::all(self.client.clone());
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patched = self.patiently(async || match nodes.patch_metadata(name, &params, patch).await {
            Ok(_) => Ok(Patched::Done),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Patched::Done),
            // 422 is a `test` that failed, a path that is not there any longer, or another uid.
            Err(error) if api_status(&error).is_some_and(|status| matches!(status.code, 409 | 422)) => {
                Ok(Patched::Conflict(self.node_error("patch", &error)))
            }
            Err(error) => Err(error),
        });
        patched.await.map_err(|error| self.node_error("patch", &error))
    }

    async fn node_now(&self, name: &str) -> Result<Option<TaintedNode>, ClusterError> {
        let get = || async {
            let request = Request::new("/api/v1/nodes").get(name, &GetParams::default());
            match self.client.request::<TaintedNode>(request.map_err(kube::Error::BuildRequest)?).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
                found => found.map(Some),
            }
        };
        self.patiently(get).await.map_err(|error| self.node_error("get", &error))
    }

    fn node_error(&self, verb: &'static str, error: &kube::Error) -> ClusterError {
        call_error(&self.server, Access { verb, resource: "nodes", namespace: None }, error)
    }
}

enum Patched {
    /// Or there is no such node any longer.
    Done,
    /// It is not as it was thought to be.
    Conflict(ClusterError),
}
