//! Events on our own pod, on the real control plane, with no other right than to write them.

use std::time::Duration;

use quayctl_controller::cluster::{Cluster, ConnectOptions, ControllerEvent, OwnPod};
use quayctl_controller::config_source::load::own_pod;
use quayctl_controller::telemetry::Metrics;
use serde_json::{Value, json};

use crate::support::bed::{Bed, shared};
use crate::support::ended;

/// A pod, and an identity that may create and patch events and nothing else.
fn pod_and_identity(bed: &Bed) -> (OwnPod, tempfile::NamedTempFile) {
    let namespace = bed.namespace("announce");
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "quayctl-0"}, "spec": {
        "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "c", "image": "nginx:1.29", "securityContext":
            {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]}});
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pod.to_string()).unwrap();
    for command in [
        vec!["create", "-f", file.path().to_str().unwrap()],
        vec!["create", "serviceaccount", "announcer"],
        vec!["create", "role", "announcer", "--verb=create,patch", "--resource=events.events.k8s.io"],
        vec![
            "create",
            "rolebinding",
            "announcer",
            "--role=announcer",
            &format!("--serviceaccount={namespace}:announcer"),
        ],
    ] {
        ended(&mut bed.kubectl(&[&command[..], &["-n", &namespace]].concat())).expect_code(0);
    }
    let token =
        ended(&mut bed.kubectl(&["create", "token", "announcer", "-n", &namespace])).expect_code(0).stdout;
    let pod = bed.get(&["get", "pod", "quayctl-0", "-n", &namespace]);
    let uid = pod["metadata"]["uid"].as_str().unwrap().to_owned();
    (OwnPod { name: "quayctl-0".into(), namespace, uid: Some(uid) }, bed.kubeconfig_with(token.trim()))
}

/// The events on the pod with our reasons, once there are as many.
fn events(bed: &Bed, pod: &OwnPod, count: usize) -> Vec<Value> {
    let selector = format!(
        "involvedObject.uid={},reportingComponent=quayctl-controller",
        pod.uid.as_deref().expect("a real pod has one")
    );
    let mut items = Vec::new();
    for _ in 0..50 {
        let list = bed.get(&["get", "events", "-n", &pod.namespace, "--field-selector", &selector]);
        items = list["items"].as_array().unwrap().clone();
        let said: u64 = items.iter().map(|event| event["series"]["count"].as_u64().unwrap_or(1)).sum();
        if said >= count as u64 {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    items
}

#[tokio::test]
async fn runs_and_reloads_are_told_on_the_pod() {
    let bed = shared();
    let (pod, kubeconfig) = pod_and_identity(bed);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options =
        ConnectOptions { kubeconfig: Some(kubeconfig.path().to_owned()), ..ConnectOptions::default() };
    let cluster = Cluster::connect(&options).await.unwrap();
    let recorder = cluster.event_recorder(pod.clone(), "default");
    let (group, run_id, text) = ("logging".to_owned(), "r1".to_owned(), "50 nodes succeeded".to_owned());
    recorder.record(ControllerEvent::RunStarted { group: group.clone(), run_id: run_id.clone() });
    recorder.record(ControllerEvent::RunFinished { group, run_id, text });
    let long = "x".repeat(5000);
    for text in ["line 3", "line 3", &long] {
        recorder.record(ControllerEvent::ConfigReloadFailed { text: text.into() });
    }
    let found = tokio::task::spawn_blocking(move || events(bed, &pod, 5)).await.unwrap();
    let mut told: Vec<(&str, &str, u64)> = found
        .iter()
        .map(|event| {
            let text = |key: &str| event[key].as_str().unwrap();
            (text("type"), text("reason"), event["series"]["count"].as_u64().unwrap_or(1))
        })
        .collect();
    told.sort_unstable();
    let expected = [
        ("Normal", "RunFinished", 1),
        ("Normal", "RunStarted", 1),
        ("Warning", "ConfigReloadFailed", 1),
        ("Warning", "ConfigReloadFailed", 2),
    ];
    assert_eq!(told, expected, "{found:#?}");
    let finished = found.iter().find(|event| event["reason"] == "RunFinished").unwrap();
    assert_eq!(finished["message"], "group logging, run r1: 50 nodes succeeded");
    // And the requests are in a scrape, once their answers are here.
    let metrics = Metrics::new(cluster.request_metrics());
    let answered = || cluster.request_metrics().requests().iter().map(|(_, count)| count).sum::<u64>() == 6;
    for _ in 0..100 {
        if answered() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let scrape = metrics.encode();
    for line in [
        "quayctl_api_requests_total{verb=\"create\",resource=\"events\",code=\"201\"} 4\n",
        "quayctl_api_requests_total{verb=\"get\",resource=\"version\",code=\"200\"} 1\n",
        "quayctl_api_requests_total{verb=\"patch\",resource=\"events\",code=\"200\"} 1\n",
    ] {
        assert!(scrape.contains(line), "{line}is not in\n{scrape}");
    }
}

#[test]
fn our_pod_is_known_where_the_downward_api_tells() {
    let environment = |pairs: &[(&str, &str)]| {
        own_pod(&pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect())
    };
    let (name, namespace) = (("POD_NAME", "quayctl-0"), ("POD_NAMESPACE", "pulls"));
    let pod = |uid: Option<&str>| Some(("quayctl-0".into(), "pulls".into(), uid.map(str::to_owned)));
    assert_eq!(environment(&[name, namespace]), pod(None));
    assert_eq!(environment(&[name, namespace, ("POD_UID", "u-1")]), pod(Some("u-1")));
    assert_eq!(environment(&[name, namespace, ("POD_UID", "")]), pod(None));
    assert_eq!(environment(&[name]), None);
    assert_eq!(environment(&[namespace, ("POD_NAME", "")]), None);
}
