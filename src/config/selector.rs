//! Node label selectors in kubectl's string syntax, evaluated locally.

use std::collections::BTreeMap;

/// A parsed selector; the empty one matches every node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSelector {}

impl NodeSelector {
    pub fn matches(&self, _labels: &BTreeMap<String, String>) -> bool {
        true
    }
}
