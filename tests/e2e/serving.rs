//! `deploy/serve` on real nodes: an edit of its ConfigMap, a rollout, and a node that joins.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::installed::{Installed, PEAK_BYTES_MAX};
use crate::site::own;
use crate::support::ended;

const NAMESPACE: &str = "image-pulls-serve";
/// Where `serve` runs, and the node that joins.
const STAYS: &str = "real-001";
const JOINS: &str = "real-002";

fn config(image: &str) -> String {
    let more = "deadline = \"2m\"\nremove_taint = \"quayctl.test/startup:NoSchedule\"\nready_label = true";
    crate::site::group(&[image.to_owned()], more)
}

/// The pod that serves now.
fn serving(installed: &Installed) -> Option<Value> {
    let pods = installed.pods("app.kubernetes.io/component=serve");
    let ready = |pod: &Value| {
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
    };
    pods.into_iter().find(|pod| pod["metadata"]["deletionTimestamp"].is_null() && ready(pod))
}

/// Waits until that pod's log has this text `times` times.
fn logged(installed: &Installed, text: &str, times: usize) {
    installed.site.eventually(text, || {
        let pod = serving(installed)?;
        let name = pod["metadata"]["name"].as_str()?;
        let mut logs = installed.site.bed.kubectl(&["logs", name, "-n", NAMESPACE]);
        (ended(&mut logs).stdout.matches(text).count() >= times).then_some(())
    });
}

/// Puts another config into the ConfigMap, as kubectl, Flux and Argo CD do.
fn edit(installed: &Installed, config: &str) {
    let patch = json!({"data": {"quayctl.toml": config}}).to_string();
    installed.kubectl(&["patch", "configmap", "quayctl-config", "--type=merge", "-p", &patch]);
}

#[test]
fn serve_follows_an_edit_hands_over_in_a_rollout_and_readies_a_node_that_joins() {
    let site = own(&["--real-nodes", "2"]);
    let face = site.registry.face("served", &[]);
    let images = ["1", "2", "3"].map(|tag| {
        site.registry.push(&format!("served/app:{tag}"), &["--size", "10MB"]);
        face.image(&format!("served/app:{tag}"))
    });
    ended(&mut site.bed.kubectl(&["cordon", JOINS])).expect_code(0);
    let installed = Installed::apply(site, "deploy/serve", NAMESPACE, &config(&images[0]));
    let rights = crate::support::root().join("deploy/serve/rbac-nodes-patch.yaml");
    installed.kubectl(&["apply", "-f", rights.to_str().expect("UTF-8")]);
    let site = &installed.site;
    logged(&installed, "finished: 1 succeeded", 1);
    let first = serving(&installed).expect("it serves");

    // The kubelet of this bed looks every 5 s, where others take a minute.
    let begun = Instant::now();
    edit(&installed, &config(&images[1]));
    logged(&installed, "config reloaded", 1);
    let by_itself = begun.elapsed();
    logged(&installed, "finished: 1 succeeded", 2);
    assert!(site.held(STAYS).contains(&images[1]), "{:?}", site.held(STAYS));

    // The third image is slow, so that its run is under way when the pod is replaced.
    face.throttle(1_000_000);
    let begun = Instant::now();
    edit(&installed, &config(&images[2]));
    let selector = "-l=app.kubernetes.io/component=serve";
    installed.kubectl(&["annotate", "pod", selector, "example.com/edited=now", "--overwrite"]);
    logged(&installed, "config reloaded", 2);
    let asked = begun.elapsed();
    site.eventually("the pull has begun", || (face.active() > 0).then_some(()));
    installed.kubectl(&["rollout", "restart", "deployment/quayctl-controller"]);
    installed.kubectl(&["rollout", "status", "deployment/quayctl-controller", "--timeout=120s"]);
    let second = serving(&installed).expect("it serves");
    assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
    site.eventually("the run is over", || {
        let jobs = installed.pulls();
        jobs.iter().all(crate::support::bed::is_over).then_some(())
    });
    let of_third = |job: &&Value| job["spec"].to_string().contains(&images[2]);
    let jobs = installed.pulls();
    assert_eq!(jobs.iter().filter(of_third).count(), 1, "the next pod goes on with it: {jobs:?}");
    assert!(site.held(STAYS).contains(&images[2]), "{:?}", site.held(STAYS));
    logged(&installed, "finished: 1 succeeded", 1);

    // A node that joins is one that was not known before, without our images.
    for image in &images {
        ended(&mut site.containerd(JOINS, &["images", "rm", "--sync", image]));
    }
    face.heal();
    let joins = Instant::now();
    ended(&mut site.bed.kubectl(&["delete", "node", JOINS])).expect_code(0);
    site.bed.signal(&format!("kubelet-{JOINS}"), "KILL");
    let ready = format!("node/{JOINS}");
    let wait = |what: &[&str]| {
        ended(&mut site.bed.kubectl(&[&["wait", &ready, "--timeout=120s"], what].concat())).expect_code(0)
    };
    wait(&["--for=create"]);
    let node = site.bed.get(&["get", "node", JOINS]);
    assert!(node["spec"]["taints"].to_string().contains("quayctl.test/startup"), "{node}");
    wait(&["--for=condition=Ready"]);
    let begun = Instant::now();
    site.eventually("its startup taint is gone", || {
        let node = site.bed.get(&["get", "node", JOINS]);
        (!node["spec"]["taints"].to_string().contains("quayctl.test/startup")).then_some(())
    });
    let took = begun.elapsed();
    assert!(site.held(JOINS).contains(&images[2]), "{:?}", site.held(JOINS));
    let node = site.bed.get(&["get", "node", JOINS]);
    assert!(node["metadata"]["labels"]["quayctl-controller/g"].is_string(), "{node}");

    let peak = Installed::peak_bytes(&second).expect("its cgroup is there");
    eprintln!(
        "an edit was in force after {by_itself:.1?}, after {asked:.1?} with an annotation; a node was ready after \
         {:.1?}, and its images there {took:.1?} later; serve had {peak} bytes of memory at most",
        begun - joins
    );
    assert!(took <= Duration::from_secs(20), "{took:?}");
    assert!(peak <= PEAK_BYTES_MAX, "{peak}");
    let secrets: Vec<String> =
        installed.requests().into_iter().filter(|what| what.contains("secret")).collect();
    assert!(secrets.is_empty(), "{secrets:?}");
}
