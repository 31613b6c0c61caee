use proptest::prelude::*;
use proptest::sample::Index;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::cluster::watch::observed_job;
use crate::plan::{ListedNode, Node};

fn meta() -> Value {
    json!({
        "name": "g-node-1", "namespace": "pulls", "uid": "uid-1", "resourceVersion": "7",
        "creationTimestamp": "2026-11-25T03:00:00Z", "deletionTimestamp": "2026-11-25T03:05:00Z",
        "labels": {"quayctl-controller/group": "g", "batch.kubernetes.io/job-name": "g-node-1"},
        "annotations": {"quayctl-controller/node": "node-1"},
        "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {}}}],
    })
}

fn job() -> Value {
    json!({
        "metadata": meta(),
        "spec": {"activeDeadlineSeconds": 300, "suspend": false, "template": {"spec": {"containers": []}}},
        "status": {
            "active": 1, "startTime": "2026-11-25T03:00:01Z", "terminating": 0,
            "conditions": [{
                "type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "m",
                "lastTransitionTime": "2026-11-25T03:00:01Z",
            }],
        },
    })
}

fn pod() -> Value {
    json!({
        "metadata": meta(),
        "spec": {"nodeName": "node-1", "containers": [{"name": "a"}]},
        "status": {
            "phase": "Pending", "startTime": "2026-11-25T03:00:01Z",
            "conditions": [{"type": "PodScheduled", "status": "True", "observedGeneration": 1}],
            "containerStatuses": [{
                "name": "a", "image": "i", "imageID": "d", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}},
                "lastState": {"terminated": {"exitCode": 1, "startedAt": "2026-11-25T03:00:01Z"}},
            }],
        },
    })
}

fn event() -> Value {
    json!({
        "metadata": meta(), "reason": "Pulled", "message": "m", "count": 1,
        "involvedObject": {"kind": "Pod", "name": "g-node-1-x", "uid": "uid-2"},
    })
}

fn node() -> Value {
    json!({
        "metadata": meta(),
        "spec": {"unschedulable": false, "taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]},
        "status": {
            "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-11-25T03:00:01Z"}],
            "nodeInfo": {
                "operatingSystem": "linux", "architecture": "amd64", "kubeletVersion": "v1.37.2",
                "containerRuntimeVersion": "containerd://2.4.2",
            },
            "images": [{"names": ["a"], "sizeBytes": 1}],
        },
    })
}

fn lease() -> Value {
    json!({
        "metadata": meta(),
        "spec": {
            "holderIdentity": "h", "leaseDurationSeconds": 15, "leaseTransitions": 1,
            "acquireTime": "2026-11-25T03:00:01.000000Z", "renewTime": "2026-11-25T03:00:01.000000Z",
        },
    })
}

/// Pointers to everything in it.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(object) => {
            object
                .iter()
                .for_each(|(key, inner)| places(inner, &format!("{at}/{}", key.replace('/', "~1")), found));
        }
        Value::Array(array) => {
            array
                .iter()
                .enumerate()
                .for_each(|(index, inner)| places(inner, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!(true)),
        Just(json!(5_000_000_000_u64)),
        Just(json!(u64::MAX)),
        Just(json!(i64::MIN)),
        Just(json!(1e300)),
        Just(json!("")),
        Just(json!("0000-13-45T99:99:99Z")),
        Just(json!("\u{0}\u{202e}")),
        Just(json!([])),
        Just(json!([null, [[]], {"a": {}}])),
        Just(json!({})),
        Just(json!({"": null, "type": {"type": []}})),
    ]
}

fn decodes<T: DeserializeOwned>(object: &Value, what: &str) -> Result<T, TestCaseError> {
    // In a list and in an event of a watch, as `kube` reads them.
    let list = json!({"metadata": {"resourceVersion": "1"}, "items": [object, object]}).to_string();
    #[derive(Deserialize)]
    #[serde(bound = "T: DeserializeOwned")]
    struct List<T> {
        items: Vec<T>,
    }
    let list: Result<List<T>, _> = serde_json::from_str(&list);
    let mut list = list.map_err(|error| TestCaseError::fail(format!("{what}: {error}: {object}")))?;
    prop_assert_eq!(list.items.len(), 2);
    let line = format!(r#"{{"type":"MODIFIED","object":{object}}}"#);
    let event: Result<kube::core::WatchEvent<T>, _> = serde_json::from_str(&line);
    prop_assert!(matches!(event, Ok(kube::core::WatchEvent::Modified(_))), "{}: {}", what, line);
    Ok(list.items.remove(0))
}

proptest! {
    // Each case is 14 texts.
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn no_value_anywhere_in_an_object_keeps_it_from_being_read(
        changes in prop::collection::vec((any::<Index>(), odd()), 1..4),
    ) {
        for (kind, mut object) in
            [("job", job()), ("pod", pod()), ("event", event()), ("node", node()), ("lease", lease())]
        {
            for (index, odd) in &changes {
                let mut found = Vec::new();
                places(&object, "", &mut found);
                let place = index.get(&found).clone();
                *object.pointer_mut(&place).unwrap() = odd.clone();
            }
            match kind {
                "job" => {
                    let read = decodes::<Tolerant<WatchedJob>>(&object, kind)?;
                    // Nor does what is made of it fall over.
                    observed_job(&read.object);
                    decodes::<WatchedJob>(&object, kind)?;
                }
                "pod" => drop(decodes::<Tolerant<WatchedPod>>(&object, kind)?),
                "event" => drop(decodes::<Tolerant<WatchedEvent>>(&object, kind)?),
                "node" => {
                    decodes::<Tolerant<WatchedNode>>(&object, kind)?;
                    decodes::<Tolerant<ListedNode>>(&object, kind)?;
                    decodes::<Node>(&object, kind)?;
                }
                _ => drop(decodes::<Tolerant<k8s_openapi::api::coordination::v1::Lease>>(&object, kind)?),
            }
        }
    }
}

#[test]
fn what_is_valid_is_read_without_a_fault() {
    let text = |value: Value| value.to_string();
    let job: Tolerant<WatchedJob> = serde_json::from_str(&text(job())).unwrap();
    assert_eq!(job.faults, []);
    let seen = observed_job(&job.object).unwrap();
    assert_eq!((seen.deadline_seconds, seen.node.as_str()), (300, "node-1"));
    let pod: Tolerant<WatchedPod> = serde_json::from_str(&text(pod())).unwrap();
    assert_eq!((pod.faults, pod.object.job_name()), (vec![], Some("g-node-1")));
    assert_eq!(pod.object.node_name.as_deref(), Some("node-1"));
    assert_eq!(pod.object.status.container_statuses.map(|statuses| statuses.len()), Some(1));
    let event: Tolerant<WatchedEvent> = serde_json::from_str(&text(event())).unwrap();
    assert_eq!((event.faults, event.object.object_uid.as_str()), (vec![], "uid-2"));
    let node: Tolerant<ListedNode> = serde_json::from_str(&text(node())).unwrap();
    assert_eq!((node.faults, node.object.node.taints.len()), (vec![], 1));
    assert!(node.object.node.ready && node.object.node.mounts_image_volumes());
}

#[test]
fn a_deadline_that_the_api_server_takes_hides_neither_its_job_nor_its_end() {
    for (odd, deadline, faults) in [
        (json!(5_000_000_000_u64), u32::MAX, 0),
        (json!("300"), 0, 1),
        (json!(-1), 0, 0),
        (json!(null), 0, 0),
    ] {
        let mut job = job();
        job["spec"]["activeDeadlineSeconds"] = odd.clone();
        let read: Tolerant<WatchedJob> = serde_json::from_str(&job.to_string()).unwrap();
        let seen = observed_job(&read.object).unwrap();
        assert_eq!((seen.deadline_seconds, read.faults.len()), (deadline, faults), "{odd}");
        assert!(seen.facts.ending().is_some() && seen.group == "g", "{odd}");
    }
}

#[test]
fn an_odd_condition_hides_not_the_one_beside_it() {
    let mut job = job();
    let failed = job["status"]["conditions"][0].clone();
    job["status"]["conditions"] = json!([{"type": 5, "status": []}, null, {"type": "X", "status": "True", "lastProbeTime": "soon"}, failed]);
    let read: Tolerant<WatchedJob> = serde_json::from_str(&job.to_string()).unwrap();
    assert!(observed_job(&read.object).unwrap().facts.ending().is_some());
    let fields: Vec<&str> = read.faults.iter().map(|fault| fault.field.as_str()).collect();
    assert!(fields.contains(&"status.conditions[0].type"), "{fields:?}");
}
