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
    for text in ["kind: Node\nkind: Node\n", "kind: Node\n---\nkind: Node\n", "kind: !!binary x\n", "a: *b\n"]
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
        r#"{"kind":"NodeList","items":[{"metadata":{"name":"a"}},{"metadata":{"name":"a","labels":null}}]}"#
            .to_owned(),
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
        ("", "it is empty"),
        ("null", "found `null`"),
        ("node/a\nnode/b", "found `node/a`"),
        ("NAME STATUS\na Ready", "found `NAME STATUS`"),
        (r#"{"name":"a"}"#, "an object without `kind`"),
        ("kind: Node\nmetadata: {name: a}\n---\nkind: Pod\nmetadata: {name: b}", "found `kind: Pod`"),
        ("kind: Node\nmetadata: {name: a}\n---\nkind: Node\nmetadata: [", "document 2"),
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

/// What `kubectl get nodes` and `jq` print for two nodes.
const ITEM_A: &str = r#"{"kind":"Node","metadata":{"name":"a","resourceVersion":"1"}}"#;
const ITEM_B: &str = r#"{"metadata":{"name":"b"},"status":{}}"#;

#[test]
fn takes_what_people_pipe() {
    let yaml = |name: &str| format!("apiVersion: v1\nkind: Node\nmetadata:\n  name: {name}\n");
    let list = format!(
        r#"{{"apiVersion":"v1","items":[{ITEM_A},{ITEM_B}],"kind":"List","metadata":{{"resourceVersion":""}}}}"#
    );
    for (way, text) in [
        ("jq .items", format!("[\n  {ITEM_A},\n  {ITEM_B}\n]\n")),
        ("jq -c .items[]", format!("{ITEM_A}\n{ITEM_B}\n")),
        ("jq .items[]", format!("{{\n  \"kind\": \"Node\",\n  \"metadata\": {{\"name\": \"a\"}}\n}}\n{ITEM_B}\n")),
        ("jq {items}", format!(r#"{{"items":[{ITEM_A},{ITEM_B}]}}"#)),
        ("get --raw", format!(r#"{{"kind":"NodeList","apiVersion":"v1","metadata":{{"resourceVersion":"7"}},"items":[{ITEM_B},{ITEM_B}]}}"#).replacen("\"b\"", "\"a\"", 1)),
        ("yq .items", format!("- {ITEM_A}\n- metadata:\n    name: b\n")),
        ("several documents", format!("---\n{}---\n{}", yaml("a"), yaml("b"))),
        ("get a; get b", format!("{}{}", yaml("a"), yaml("b"))),
        ("mixed", format!("{}---\n{ITEM_B}\n", yaml("a"))),
        ("mixed without a marker", format!("{}{ITEM_B}\n", yaml("a"))),
        ("two lists", format!("{ITEM_A}\n[{ITEM_B}]\n")),
        ("a list", list),
        ("carriage returns", format!("---\n{}---\n{}", yaml("a"), yaml("b")).replace('\n', "\r\n")),
    ] {
        let nodes = nodes_from_text(&text).unwrap_or_else(|error| panic!("{way}: {error}"));
        let names: Vec<_> = nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["a", "b"], "{way}");
    }
    assert_eq!(nodes_from_text(&yaml("a")).unwrap().len(), 1);
    assert_eq!(nodes_from_text("[]").unwrap(), []);
}
