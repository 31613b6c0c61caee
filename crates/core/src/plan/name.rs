//! The name of a Job: deterministic, so that a repeated run meets its own Jobs, and short enough.

use super::{Node, RunIdentity};
use crate::config::sha256_hex;

/// A Job's name becomes a label value of its pods, and those end at 63 characters.
const NAME_MAX: usize = 63;
const GROUP_MAX: usize = 20;
/// 40 bits: among the 10⁴ Jobs of a large run a collision has odds below 10⁻⁴, and it would be
/// refused as `name-taken`, not mixed up.
const HASH_DIGITS: usize = 10;

/// `GROUP-NODE-HASH`: a DNS-1123 label without dots, because a dotted pod name draws a warning from
/// the API server at each create.
pub fn job_name(group: &str, node: &Node, identity: &RunIdentity, content: &str) -> String {
    let node_identity = if node.uid.is_empty() { &node.name } else { &node.uid };
    // None of the parts can hold a NUL, so two different lists never join to the same text.
    let parts = [&identity.instance, group, node_identity, identity.run_id.as_str(), content];
    let hash = sha256_hex(parts.join("\0").as_bytes());

    let group = label_part(group, GROUP_MAX);
    let room = NAME_MAX - HASH_DIGITS - 2 - group.len();
    let node = label_part(&node.name, room);
    let hash = &hash[..HASH_DIGITS];
    match node.is_empty() {
        // A hand-written list of nodes may name one `…`.
        true => format!("{group}-{hash}"),
        false => format!("{group}-{node}-{hash}"),
    }
}

/// The name of a second Job for what a Job called `name` was to do: that one has given way to another
/// run's and keeps its name until its TTL. As deterministic, so that a repeated run meets it as well.
pub fn next_name(name: &str) -> String {
    let digits = sha256_hex(name.as_bytes());
    let stem = name.rsplit_once('-').map_or(name, |(stem, _)| stem);
    format!("{stem}-{}", &digits[..HASH_DIGITS])
}

/// `text` in a label's alphabet, cut to `max`, without dashes at its ends.
fn label_part(text: &str, max: usize) -> String {
    let dashed: String = text
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(max)
        .collect();
    dashed.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::RunId;

    fn name(group: &str, node: &str, uid: &str, run_id: &str) -> String {
        let node = Node { name: node.into(), uid: uid.into(), ..Node::default() };
        let identity = RunIdentity {
            instance: "default".into(),
            run_id: RunId::parse(run_id).unwrap(),
            namespace: "ns".into(),
        };
        job_name(group, &node, &identity, "c0ffee")
    }

    #[test]
    fn reads_group_and_node_and_ends_in_a_hash() {
        let name = name("logging", "node-001", "u", "r");
        assert!(name.starts_with("logging-node-001-"), "{name}");
        assert_eq!(name.len(), "logging-node-001-".len() + 10);
    }

    #[test]
    fn is_a_label_of_at_most_63_characters_whatever_the_node_is_called() {
        let longest = format!("{}.{}", "a".repeat(63), "b".repeat(189));
        for node in [longest.as_str(), "ip-10-0-0-1.eu-central-1.compute.internal", "Node_É…", "…"] {
            let name = name(&"g".repeat(63), node, "u", "r");
            assert!(name.len() <= 63, "{name}");
            assert!(!name.contains("--") || node.contains('_') || node.contains('É'), "{name}");
            let ends = name.starts_with('-') || name.ends_with('-');
            assert!(
                !ends && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{name}"
            );
        }
    }

    #[test]
    fn differs_with_each_part_of_the_identity() {
        let names = [
            name("g", "n", "u", "r"),
            name("h", "n", "u", "r"),
            name("g", "n", "v", "r"),
            name("g", "n", "u", "s"),
            // Dots become dashes, so only the hash tells these two apart.
            name("g", "n.a", "", "r"),
            name("g", "n-a", "", "r"),
        ];
        for (i, one) in names.iter().enumerate() {
            assert!(names[i + 1..].iter().all(|other| other != one), "{names:?}");
        }
    }

    #[test]
    fn a_second_job_is_told_from_the_first_by_its_hash_alone() {
        let first = name(&"g".repeat(63), &"n".repeat(100), "u", "r");
        let second = next_name(&first);
        assert_eq!(second.len(), first.len());
        assert_eq!(second[..second.len() - 10], first[..first.len() - 10]);
        assert!(second != first && next_name(&second) != second);
        assert_eq!(next_name("logging-node-001-0a93c02919"), next_name("logging-node-001-0a93c02919"));
    }

    #[test]
    fn stays_the_same_from_release_to_release() {
        // A running cluster has Jobs of these names: changing them would repeat every pull once.
        assert_eq!(name("logging", "node-001", "u", "r"), "logging-node-001-0a93c02919");
    }
}
