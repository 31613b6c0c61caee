use super::*;
use crate::config::TaintEffect;
use crate::plan::Taint;
use crate::plan::fixtures::{group, ready_node};

const CONTENT: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn taint() -> RemovedTaint {
    RemovedTaint { key: "example.com/starting".into(), effect: TaintEffect::NoSchedule }
}

fn labelling() -> Group {
    Group { ready_label: true, remove_taint: Some(taint()), ..group("g") }
}

fn node(label: Option<&str>, tainted: bool) -> Arc<Node> {
    let mut node = ready_node("n");
    node.labels.extend(label.map(|value| ("quayctl-controller/g".to_owned(), value.to_owned())));
    node.taints.extend(tainted.then(|| Taint {
        key: taint().key,
        value: String::new(),
        effect: taint().effect,
    }));
    Arc::new(node)
}

fn failure() -> NodePatchError {
    let cause = ClusterError::Unreachable { server: "s".into(), cause: "refused".into() };
    NodePatchError::Label { node: "n".into(), key: "k".into(), cause }
}

fn marked(readiness: &mut Readiness, group: &Group) -> NodePatch {
    readiness.mark_node_ready(group, &CONTENT.into(), &node(None, true));
    readiness.take_patches().pop().unwrap()
}

#[test]
fn a_node_needs_a_mark_until_it_shows_this_content_and_has_no_startup_taint() {
    let (label, none) = (&CONTENT[..16], None);
    for (shown, tainted, needs, half) in [
        (none, false, true, false),
        (none, true, true, false),
        (Some(label), true, true, true),
        (Some(label), false, false, false),
        (Some("fedcba9876543210"), false, true, false),
    ] {
        let node = node(shown, tainted);
        assert_eq!(needs_mark(&labelling(), CONTENT, &node), needs, "{shown:?} {tainted}");
        assert_eq!(is_half_marked(&labelling(), CONTENT, &node), half, "{shown:?} {tainted}");
        assert!(!needs_mark(&group("g"), CONTENT, &node), "a group that marks nothing");
    }
}

#[test]
fn a_patch_says_what_its_group_asks_for() {
    let mut readiness = Readiness::new(Instant::now());
    readiness.mark_node_ready(&group("g"), &CONTENT.into(), &node(None, true));
    assert_eq!(readiness.take_patches(), []);
    let patch = marked(&mut readiness, &labelling());
    assert_eq!(patch.label_key(), "quayctl-controller/g");
    assert_eq!(patch.change.label_value(), Some(&CONTENT[..16]));
    let only_taint = Group { ready_label: false, ..labelling() };
    assert_eq!(marked(&mut readiness, &only_taint).change.label_value(), None);
}

#[test]
fn eight_patches_are_in_flight_and_each_answer_lets_one_more_go() {
    let mut readiness = Readiness::new(Instant::now());
    for _ in 0..20 {
        readiness.mark_node_ready(&labelling(), &CONTENT.into(), &node(None, true));
    }
    let mut sent = readiness.take_patches();
    assert_eq!((sent.len(), readiness.take_patches().len()), (8, 0));
    for _ in 0..3 {
        assert!(readiness.on_patched(sent.pop().unwrap(), Ok(()), true).is_none());
    }
    assert_eq!(readiness.take_patches().len(), 3);
}

#[test]
fn failed_patches_are_reported_once_and_retried_less_and_less_often() {
    let begun = Instant::now();
    let mut readiness = Readiness::new(begun);
    let patch = marked(&mut readiness, &labelling());
    assert!(readiness.on_patched(patch.clone(), Err(failure()), true).is_some());
    let mut retried = Vec::new();
    for second in 0..2500 {
        let due = readiness.take_retries(begun + Duration::from_secs(second));
        for ((group, node), pending) in due {
            assert_eq!((group.as_str(), node.as_str()), ("g", "n"));
            assert_eq!(pending, PendingPatch::MarkReady { content: CONTENT.into(), uid: "uid-n".into() });
            retried.push(second);
            let patch = marked(&mut readiness, &labelling());
            assert!(readiness.on_patched(patch, Err(failure()), true).is_none(), "reported once");
        }
    }
    assert_eq!(retried, [0, 30, 90, 210, 450, 930, 1530, 2130]);
    // One that gets through ends the row.
    let patch = marked(&mut readiness, &labelling());
    assert!(readiness.on_patched(patch.clone(), Ok(()), true).is_none());
    assert!(readiness.take_retries(begun + Duration::from_secs(10_000)).is_empty());
    assert!(readiness.on_patched(patch, Err(failure()), true).is_some(), "news again");
}

#[test]
fn what_failed_on_a_node_that_is_gone_is_not_retried() {
    let begun = Instant::now();
    let mut readiness = Readiness::new(begun);
    let patch = marked(&mut readiness, &labelling());
    readiness.on_patched(patch, Err(failure()), true);
    readiness.remove_node("n");
    assert!(readiness.take_retries(begun).is_empty());
}

#[test]
fn the_label_of_a_group_that_is_gone_is_removed_also_where_it_was_on_its_way() {
    let mut readiness = Readiness::new(Instant::now());
    let in_flight = marked(&mut readiness, &labelling());
    let nodes = [node(Some("fedcba9876543210"), false), Arc::new(ready_node("other"))];
    readiness.remove_group("g", nodes.iter());
    let removal = NodePatch { group: "g".into(), node: "n".into(), change: NodeChange::RemoveLabel };
    assert_eq!(readiness.take_patches(), std::slice::from_ref(&removal));
    readiness.on_patched(in_flight, Ok(()), false);
    assert_eq!(readiness.take_patches(), std::slice::from_ref(&removal));
    // One that sets no label leaves none behind.
    let only_taint = marked(&mut readiness, &Group { ready_label: false, ..labelling() });
    readiness.on_patched(only_taint, Ok(()), false);
    assert_eq!(readiness.take_patches(), []);
    // A removal that fails is retried as one.
    readiness.on_patched(removal, Err(failure()), false);
    let retried = readiness.take_retries(Instant::now());
    assert_eq!(retried[0].1, PendingPatch::RemoveLabel);
}
