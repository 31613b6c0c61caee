#![expect(clippy::disallowed_methods, reason = "a test looks at the clock for what may take minutes")]

use std::collections::BTreeMap;

use super::*;
use serde_json::json;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Wire {
    name: String,
    labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "saturating")]
    seconds: Option<u32>,
    list: Option<Vec<Element>>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Element {
    kind: String,
    count: i32,
}

#[derive(Debug, PartialEq)]
struct Object(Wire);

impl From<Wire> for Object {
    fn from(wire: Wire) -> Object {
        Object(wire)
    }
}

impl Read for Object {
    type Wire = Wire;
    const OMIT: Omit = Omit::In(&[("large", Omit::All), ("list", Omit::Nothing)]);
}

fn read(value: &Value) -> (Wire, Vec<String>) {
    let Decoded { object: Object(wire), faults } = serde_json::from_str(&value.to_string()).unwrap();
    let mut fields: Vec<String> = faults.into_iter().map(|fault| fault.field).collect();
    fields.sort();
    (wire, fields)
}

#[test]
fn what_does_not_fit_is_named_and_the_rest_is_read() {
    let (wire, faults) = read(&json!({
        "name": 5, "labels": {"a": "x", "b": null, "c": 1}, "large": [1, 2],
        "list": [{"kind": "k", "count": "many"}, 7, {"kind": "l", "count": 3}],
    }));
    assert_eq!(faults, ["labels.b", "labels.c", "list[0].count", "list[1]", "name"]);
    assert_eq!(wire.labels, BTreeMap::from([("a".to_owned(), "x".to_owned())]));
    let kinds: Vec<(String, i32)> = wire.list.unwrap().into_iter().map(|e| (e.kind, e.count)).collect();
    assert_eq!(kinds, [("k".to_owned(), 0), ("l".to_owned(), 3)]);
}

#[test]
fn numbers_that_are_too_large_are_as_large_as_can_be() {
    for (written, expected) in [
        ("5000000000", Some(u32::MAX)),
        ("18446744073709551616", Some(u32::MAX)),
        ("9223372036854775807", Some(u32::MAX)),
        ("-1", Some(0)),
        ("-1e30", Some(0)),
        ("1e30", Some(u32::MAX)),
        ("1.9", Some(1)),
        ("300", Some(300)),
        ("null", None),
    ] {
        let text = format!(r#"{{"seconds": {written}}}"#);
        let read: Decoded<Object> = serde_json::from_str(&text).unwrap();
        assert_eq!(read.object.0.seconds, expected, "{written}");
        assert_eq!(read.faults, [], "{written}");
    }
    assert_eq!(read(&json!({"seconds": "300"})).1, ["seconds"]);
}

#[test]
fn what_is_no_object_at_all_is_an_empty_one() {
    for value in [json!(null), json!(1), json!(-1), json!(1.5), json!("x"), json!(true)] {
        let (wire, faults) = read(&value);
        assert_eq!((wire, faults.len()), (Wire::default(), 1), "{value}");
    }
}

#[test]
fn thousands_of_mistakes_are_a_few() {
    let list: Vec<Value> = (0..5000).map(|n| json!({"kind": n})).collect();
    let labels: serde_json::Map<String, Value> = (0..5000).map(|n| (n.to_string(), json!(n))).collect();
    let begun = std::time::Instant::now();
    let (wire, faults) = read(&json!({"name": "n", "list": list, "labels": labels}));
    assert_eq!(wire.name, "n");
    assert!(faults.len() <= 4 * SINGLE_FAULTS_MAX, "{}", faults.len());
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}
