//! Reads the nodes that `kubectl get nodes -o yaml|json` printed.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::Node;
use super::wire::WireNode;

/// Why a text is not a list of nodes.
#[derive(Debug, Error)]
pub enum NodeFileError {
    #[error("not the output of `kubectl get nodes -o yaml` or `-o json`: {0}")]
    Syntax(String),
    #[error("found `kind: {0}`, expected a `List` or `NodeList` of nodes, or one `Node`")]
    Kind(String),
    #[error("node {0} of the list has an empty name: set `metadata.name`")]
    Nameless(usize),
}

/// Typed through and through: what is not declared is dropped while reading, and 5,000 nodes of a busy
/// cluster are 100 MB of text.
#[derive(Deserialize)]
struct Document {
    kind: String,
    #[serde(default)]
    items: Option<Vec<WireNode>>,
}

/// Nodes in the order of the text, from a `List`, a `NodeList` or a single `Node`.
pub fn nodes_from_text(text: &str) -> Result<Vec<Node>, NodeFileError> {
    // A byte order mark is what some shells put before what they redirect.
    let text = text.trim_start_matches('\u{feff}');
    let Document { kind, items } = read(text)?;
    let nodes: Vec<Node> = match kind.as_str() {
        "Node" => vec![read::<WireNode>(text)?.into()],
        "List" | "NodeList" => {
            items.unwrap_or_default().into_iter().map(node).collect::<Result<_, NodeFileError>>()?
        }
        _ => return Err(NodeFileError::Kind(kind)),
    };
    // A Job that is pinned to it would wait for ever.
    match nodes.iter().position(|node| node.name.is_empty()) {
        Some(at) => Err(NodeFileError::Nameless(at + 1)),
        None => Ok(nodes),
    }
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, NodeFileError> {
    // JSON is YAML, but its own reader is faster and knows no anchors.
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|e| NodeFileError::Syntax(e.to_string()));
    }
    let options = serde_saphyr::options! {
        // A node of 50 images is some 500 YAML nodes, and there may be 5,000 of them and more. Aliases,
        // by which a small text becomes a large one, stay bounded as they are.
        budget: serde_saphyr::budget! { max_nodes: 100_000_000, max_events: 200_000_000, max_total_scalar_bytes: 1 << 30 },
        with_snippet: false,
    };
    // Its other words are for whoever calls the library.
    let in_words =
        |error: serde_saphyr::Error| error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    serde_saphyr::from_str_with_options(text, options).map_err(|e| NodeFileError::Syntax(in_words(e)))
}

fn node(node: WireNode) -> Result<Node, NodeFileError> {
    match &node.kind {
        Some(kind) if kind != "Node" => Err(NodeFileError::Kind(kind.clone())),
        // Absent in a `NodeList`, whose items are nodes by definition.
        _ => Ok(node.into()),
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
    fn what_is_wrong_is_told_without_advice_to_programmers() {
        for text in
            ["kind: Node\nkind: Node\n", "kind: Node\n---\nkind: Node\n", "kind: !!binary x\n", "a: *b\n"]
        {
            let message = nodes_from_text(text).unwrap_err().to_string();
            let is_advice =
                ["Options", "from_str", "Policy", "deserialize"].iter().any(|word| message.contains(word));
            assert!(!is_advice, "{text:?}: {message}");
        }
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
        for text in [
            r#"{"kind":"List","items":[{"metadata":{"name":"a"}}]}"#,
            "kind: List\nitems: [{metadata: {name: a}}]",
        ] {
            assert_eq!(
                nodes_from_text(&format!("\u{feff}{text}")).unwrap().len(),
                1,
                "with a byte order mark: {text}"
            );
        }
    }

    #[test]
    fn a_large_clusters_yaml_is_within_bounds() {
        let image = "    - {names: [a, b], sizeBytes: 1}\n".repeat(50);
        let node = format!("- kind: Node\n  metadata: {{name: a}}\n  status:\n    images:\n{image}");
        let nodes = nodes_from_text(&format!("kind: List\nitems:\n{}", node.repeat(1200))).unwrap();
        assert_eq!(nodes.len(), 1200);
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
            ("kind: Node\nmetadata: {name: ''}", "node 1 of the list has an empty name"),
            ("kind: List\nitems: [{metadata: {name: a}}, {metadata: {name: ''}}]", "node 2 of the list"),
        ] {
            let error = nodes_from_text(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
