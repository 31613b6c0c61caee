//! `--group` and `--node`: which part of the config is meant. A name that is nowhere is a typing
//! mistake, and nothing is done.

use super::CommandError;
use crate::cli::Selection;
use crate::config::Config;
use crate::plan::Node;

/// Leaves only the groups asked for, in file order.
pub fn narrow_groups(config: &mut Config, selection: &Selection) -> Result<(), CommandError> {
    let names: Vec<&str> = config.groups.iter().map(|group| group.name.as_str()).collect();
    if let Some(unknown) = selection.group.iter().find(|name| !names.contains(&name.as_str())) {
        let known = names.join(", ");
        return Err(CommandError::Usage(format!("there is no group {unknown:?}; the config has {known}")));
    }
    if !selection.group.is_empty() {
        config.groups.retain(|group| selection.group.contains(&group.name));
    }
    Ok(())
}

/// Leaves only the nodes asked for.
pub fn narrow_nodes(mut nodes: Vec<Node>, selection: &Selection) -> Result<Vec<Node>, CommandError> {
    let known = |name: &&String| !nodes.iter().any(|node| node.name == **name);
    if let Some(unknown) = selection.node.iter().find(known) {
        return Err(CommandError::Usage(format!(
            "there is no node {unknown:?}; `kubectl get nodes` lists them"
        )));
    }
    if !selection.node.is_empty() {
        nodes.retain(|node| selection.node.contains(&node.name));
    }
    Ok(nodes)
}
