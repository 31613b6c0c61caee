//! Reads the nodes that `kubectl get nodes -o yaml|json` printed.

use serde::Deserialize;
use thiserror::Error;

use super::Node;

/// Why a text is not a list of nodes.
#[derive(Debug, Error)]
pub enum NodeFileError {
    #[error("not the output of `kubectl get nodes -o yaml` or `-o json`: {0}")]
    Syntax(String),
    #[error("found `kind: {0}`, expected a `List` or `NodeList` of nodes, or one `Node`")]
    Kind(String),
}

#[derive(Deserialize)]
struct Document {
    kind: String,
    #[serde(default)]
    items: Option<Vec<Item>>,
}

#[derive(Deserialize)]
struct Item {
    /// Absent in a `NodeList`, whose items are nodes by definition.
    #[serde(default)]
    kind: Option<String>,
    #[serde(flatten)]
    node: serde_json::Value,
}

/// Nodes in the order of the text, from a `List`, a `NodeList` or a single `Node`.
pub fn nodes_from_text(text: &str) -> Result<Vec<Node>, NodeFileError> {
    // JSON is YAML, but its own reader is faster and knows no anchors.
    let document: serde_json::Value = match text.trim_start().starts_with('{') {
        true => serde_json::from_str(text).map_err(|e| NodeFileError::Syntax(e.to_string()))?,
        false => serde_saphyr::from_str(text).map_err(|e| NodeFileError::Syntax(e.to_string()))?,
    };
    let syntax = |e: serde_json::Error| NodeFileError::Syntax(e.to_string());
    let Document { kind, items } = Document::deserialize(&document).map_err(syntax)?;
    match kind.as_str() {
        "Node" => Ok(vec![Node::deserialize(&document).map_err(syntax)?]),
        "List" | "NodeList" => items.unwrap_or_default().into_iter().map(node).collect(),
        _ => Err(NodeFileError::Kind(kind)),
    }
}

fn node(Item { kind, node }: Item) -> Result<Node, NodeFileError> {
    match kind {
        Some(kind) if kind != "Node" => Err(NodeFileError::Kind(kind)),
        _ => Node::deserialize(&node).map_err(|e| NodeFileError::Syntax(e.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "
apiVersion: v1
kind: Node
metadata:
  name: node-001
  uid: 7d9ebf39-6b2d-4b4f-8ad1-0d8c3ea3a8e4
  labels: {zone: fra, octal: '010', bool: 'yes'}
  managedFields: [{manager: kubelet}]
spec:
  unschedulable: true
  taints: [{key: dedicated, value: batch, effect: NoSchedule}, {key: x, effect: Later}]
status:
  conditions: [{type: DiskPressure, status: 'False'}, {type: Ready, status: 'True'}]
  nodeInfo: {operatingSystem: linux, architecture: arm64, kubeletVersion: v1.37.2,
    containerRuntimeVersion: 'containerd://2.4.2', kernelVersion: 6.18.0}
";

    #[test]
    fn reads_one_node() {
        let nodes = nodes_from_text(NODE).unwrap();
        let node = &nodes[0];
        assert_eq!((node.name.as_str(), node.arch.as_str()), ("node-001", "arm64"));
        assert!(node.ready && node.unschedulable && node.mounts_image_volumes());
        assert_eq!(node.taints.len(), 1);
        assert_eq!(node.labels["octal"], "010");
        assert_eq!(node.labels["bool"], "yes");
    }

    #[test]
    fn reads_lists_of_both_kinds_in_yaml_and_json() {
        let item = r#"{"kind":"Node","metadata":{"name":"a"}}"#;
        for text in [
            format!(r#"{{"kind":"List","items":[{item},{item}]}}"#),
            r#"{"kind":"NodeList","items":[{"metadata":{"name":"a"}},{"metadata":{"name":"a","labels":null}}]}"#.to_owned(),
            format!("kind: List\nitems:\n- {item}\n- {item}\n"),
        ] {
            let names: Vec<_> = nodes_from_text(&text).unwrap().into_iter().map(|n| n.name).collect();
            assert_eq!(names, ["a", "a"], "{text}");
        }
        assert_eq!(nodes_from_text("kind: List\nitems: []").unwrap(), []);
    }

    #[test]
    fn says_what_else_it_found() {
        for (text, expected) in [
            ("kind: Pod", "found `kind: Pod`"),
            (r#"{"kind":"List","items":[{"kind":"Pod","metadata":{"name":"a"}}]}"#, "found `kind: Pod`"),
            ("", "not the output of"),
            ("{", "not the output of"),
            ("a: [", "not the output of"),
            ("kind: Node", "metadata"),
        ] {
            let error = nodes_from_text(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
