//! Lists the nodes. Choosing among them is `plan`'s work.

use http_body_util::BodyExt;
use kube::api::{GetParams, ListParams};
use kube::core::Request;
use serde::Deserialize;

use super::error::{Access, call_error, refusal};
use super::set_aside::SetAside;
use super::wire::Tolerant;
use super::{Cluster, ClusterError};
use crate::outcome::{Failure, Reason};
use crate::plan::Node;
use crate::runner::NodeState;

/// A page of nodes with 50 images each is some 4 MB on the wire, and decoding it took 7 MB more
/// (measured; 15 MB at kubectl's 500). 5,000 nodes are 20 requests.
pub const PAGE_SIZE: u32 = 250;
/// A list whose pages expire this often is longer than the cluster keeps its history.
const RESTARTS_MAX: u32 = 3;

#[derive(Deserialize)]
struct Page {
    metadata: PageMetadata,
    items: Vec<Tolerant<Node>>,
}

#[derive(Deserialize)]
struct PageMetadata {
    #[serde(default, rename = "continue")]
    continue_token: Option<String>,
}

/// A list of nodes leaves this out: it is larger than all the rest.
#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeImages {
    status: ImagesStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ImagesStatus {
    images: Option<Vec<NamedImage>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NamedImage {
    names: Option<Vec<String>>,
}

impl Cluster {
    /// All nodes, or those that `selector` (in the API's syntax) matches, in the order of their
    /// names.
    pub async fn list_nodes(&self, selector: Option<&str>) -> Result<Vec<Node>, ClusterError> {
        let mut nodes = Vec::new();
        let mut params = ListParams::default().limit(PAGE_SIZE);
        params.label_selector = selector.map(str::to_owned);
        let mut restarts = 0;
        let mut set_aside = SetAside::default();
        loop {
            let page = match self.patiently(|| self.node_page(&params)).await {
                Ok(page) => page,
                // The token outlived etcd's history: begin again, what was read may be stale.
                Err(kube::Error::Api(status)) if status.code == 410 && restarts < RESTARTS_MAX => {
                    restarts += 1;
                    nodes.clear();
                    params.continue_token = None;
                    continue;
                }
                Err(error) => {
                    let access = Access { verb: "list", resource: "nodes", namespace: None };
                    return Err(call_error(&self.server, access, &error));
                }
            };
            for Tolerant { object, faults } in page.items {
                set_aside.tell("node", None, &object.name, &faults);
                // Nothing can be done with one that cannot be named.
                if !object.name.is_empty() {
                    nodes.push(object);
                }
            }
            params.continue_token = page.metadata.continue_token.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                return Ok(nodes);
            }
        }
    }

    /// How `node` stands by now: gone, replaced by another of its name, or not ready, and what it has.
    pub async fn read_node(&self, node: &Node) -> Result<NodeState, ClusterError> {
        let get = || async {
            let request = Request::new("/api/v1/nodes").get(&node.name, &GetParams::default());
            let text = self.client.request_text(request.map_err(kube::Error::BuildRequest)?).await?;
            let found: Node = serde_json::from_str(&text).map_err(kube::Error::SerdeError)?;
            // What the node lists is no more than a hint: a list that cannot be read is none.
            let has: NodeImages = serde_json::from_str(&text).unwrap_or_default();
            Ok((found, has.status.images.into_iter().flatten().filter_map(|image| image.names).flatten()))
        };
        let failed = |failure| Ok(NodeState { failure: Some(failure), images: Vec::new() });
        let (found, images) = match self.patiently(get).await {
            Ok(found) => found,
            Err(kube::Error::Api(status)) if status.is_not_found() => {
                return failed(Failure::new(Reason::NodeGone, "the node was deleted"));
            }
            Err(error) => {
                let access = Access { verb: "get", resource: "nodes", namespace: None };
                return Err(call_error(&self.server, access, &error));
            }
        };
        if !node.uid.is_empty() && found.uid != node.uid {
            let message = "the node was deleted, and another has its name by now";
            return failed(Failure::new(Reason::NodeGone, message));
        }
        let not_ready =
            || Failure::new(Reason::NodeNotReady, "the node's Ready condition is not True any longer");
        Ok(NodeState { failure: (!found.ready).then(not_ready), images: images.collect() })
    }

    async fn node_page(&self, params: &ListParams) -> Result<Page, kube::Error> {
        let request = Request::new("/api/v1/nodes").list(params).map_err(kube::Error::BuildRequest)?;
        // Not `Client::request`, which copies the whole body once more to make a string of it.
        let response = self.client.send(request.map(Into::into)).await?;
        let code = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if code.is_success() {
            return serde_json::from_slice(&body).map_err(kube::Error::SerdeError);
        }
        Err(refusal(code, &body))
    }
}
