//! Reads the nodes that `kubectl` printed, as people pipe them.

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use thiserror::Error;

use super::Node;
use super::documents::{Document, Form, documents};
use super::wire::WireNode;

/// Why a text is not a list of nodes.
#[derive(Debug, Error)]
pub enum NodeFileError {
    #[error("not the output of `kubectl get nodes -o yaml` or `-o json`: {0}")]
    Syntax(String),
    #[error("found {0}, expected a `List` or `NodeList` of nodes, a list of them, or one `Node`")]
    Kind(String),
    #[error("node {0} of the list has an empty name: set `metadata.name`")]
    Nameless(usize),
}

/// What tells an object from another. Typed through and through: what is not declared is dropped while
/// reading, and 5,000 nodes of a busy cluster are 100 MB of text.
#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    items: Option<Vec<WireNode>>,
    #[serde(default)]
    metadata: Option<IgnoredAny>,
}

/// Nodes in the order of the text, whichever way `kubectl` and `jq` have put them there: a `List` or a
/// `NodeList`, one `Node`, a bare list (`jq .items`), several documents, or one after another (`jq -c
/// '.items[]'`), in YAML or JSON.
pub fn nodes_from_text(text: &str) -> Result<Vec<Node>, NodeFileError> {
    // A byte order mark is what some shells put before what they redirect.
    let text = text.trim_start_matches('\u{feff}');
    let documents = documents(text).map_err(NodeFileError::Syntax)?;
    let many = documents.len() > 1;
    let mut nodes: Vec<Node> = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        let found = nodes_of(document).map_err(|error| match error {
            NodeFileError::Syntax(words) if many => {
                NodeFileError::Syntax(format!("document {}: {words}", index + 1))
            }
            error => error,
        })?;
        nodes.extend(found);
    }
    if documents.is_empty() {
        return Err(NodeFileError::Syntax("it is empty".to_owned()));
    }
    // A Job that is pinned to it would wait for ever.
    match nodes.iter().position(|node| node.name.is_empty()) {
        Some(at) => Err(NodeFileError::Nameless(at + 1)),
        None => Ok(nodes),
    }
}

fn nodes_of(document: &Document<'_>) -> Result<Vec<Node>, NodeFileError> {
    match document.form {
        Form::List => read::<Vec<WireNode>>(document)?.into_iter().map(node).collect(),
        Form::Scalar => Err(NodeFileError::Syntax(format!("found `{}`", beginning(document.text)))),
        Form::Object => {
            let Object { kind, items, metadata } = read(document)?;
            match kind.as_deref() {
                Some("List" | "NodeList") => items.unwrap_or_default().into_iter().map(node).collect(),
                Some("Node") => Ok(vec![node(read(document)?)?]),
                Some(kind) => Err(NodeFileError::Kind(format!("`kind: {kind}`"))),
                // What the items of a `NodeList` lack, and what is left of one by `jq '{items}'`.
                None if items.is_some() => items.into_iter().flatten().map(node).collect(),
                None if metadata.is_some() => Ok(vec![node(read(document)?)?]),
                None => Err(NodeFileError::Kind("an object without `kind`".to_owned())),
            }
        }
    }
}

/// The first words of what is no object, for a message.
fn beginning(text: &str) -> String {
    text.trim().chars().take_while(|c| *c != '\n').take(40).collect()
}

fn read<T: DeserializeOwned>(document: &Document<'_>) -> Result<T, NodeFileError> {
    // JSON is YAML, but its own reader is faster and knows no anchors.
    if document.is_json {
        return serde_json::from_str(document.text).map_err(|e| NodeFileError::Syntax(e.to_string()));
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
    serde_saphyr::from_str_with_options(document.text, options)
        .map_err(|e| NodeFileError::Syntax(in_words(e)))
}

fn node(node: WireNode) -> Result<Node, NodeFileError> {
    match &node.kind {
        Some(kind) if kind != "Node" => Err(NodeFileError::Kind(format!("`kind: {kind}`"))),
        // Absent in a `NodeList`, whose items are nodes by definition.
        _ => Ok(node.into()),
    }
}

#[cfg(test)]
#[path = "list/tests.rs"]
mod tests;
