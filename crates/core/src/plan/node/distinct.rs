//! A node has one place in a plan, however often a list names it.

use std::collections::BTreeSet;

use super::Node;

/// Each node as it was listed first, in that order, and the names of those that were listed again. In a
/// cluster a name belongs to one node; in a file that was put together of several outputs of kubectl it
/// may come twice, with another uid too where a node was replaced in between.
pub fn distinct(nodes: Vec<Node>) -> (Vec<Node>, BTreeSet<String>) {
    let mut known = BTreeSet::new();
    let mut repeated = BTreeSet::new();
    let mut first = nodes;
    first.retain(|node| {
        let is_new = known.insert(node.name.clone());
        if !is_new {
            repeated.insert(node.name.clone());
        }
        is_new
    });
    (first, repeated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_listed_again_is_left_out_and_named_once() {
        let node = |name: &str, uid: &str| Node { name: name.into(), uid: uid.into(), ..Node::default() };
        let listed = vec![
            node("b", "1"),
            node("a", "2"),
            node("b", "1"),
            node("b", "3"),
            node("c", ""),
            node("a", "2"),
        ];
        let (nodes, repeated) = distinct(listed);
        let kept: Vec<_> = nodes.iter().map(|node| (node.name.as_str(), node.uid.as_str())).collect();
        assert_eq!(kept, [("b", "1"), ("a", "2"), ("c", "")]);
        assert_eq!(repeated.into_iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(distinct(Vec::new()), (Vec::new(), BTreeSet::new()));
    }
}
