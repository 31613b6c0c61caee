//! Edits of the mounted config under a running `serve`, swapped as the kubelet swaps a ConfigMap.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::bed::{self, Bed, Observer};
use crate::support::ended;
use crate::support::serving::{Mount, Serving};

fn group(name: &str, tag: &str, more: &str) -> String {
    format!("[[groups]]\nname = \"{name}\"\nimages = [\"quay.io/team/{name}:{tag}\"]\n{more}\n")
}

fn mount(config: &str) -> Mount {
    Mount::new(&[("quayctl.toml", config)])
}

fn swap(mount: &Mount, config: &str) {
    mount.swap(&[("quayctl.toml", config)]);
}

const HALF: &str = "node_selector = \"kubernetes.io/hostname in (node-001,node-002)\"";

/// A pod object for `serve` to be, so that Events have somebody to be about.
fn pod(bed: &Bed, namespace: &str) -> String {
    let spec = serde_json::json!({"spec": {
        "nodeSelector": {"nobody": "here"},
        "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "c", "image": "quayctl-controller:test", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
    }});
    let overrides = format!("--overrides={spec}");
    let args =
        ["run", "serve", "-n", namespace, "--image=quayctl-controller:test", "--restart=Never", &overrides];
    ended(&mut bed.kubectl(&args)).expect_code(0);
    let pod = bed.get(&["get", "pod", "serve", "-n", namespace]);
    pod["metadata"]["uid"].as_str().unwrap().to_owned()
}

/// Reasons and notes of the Events about that pod.
fn events(bed: &Bed, namespace: &str) -> Vec<(String, String)> {
    let about = "involvedObject.name=serve,involvedObject.kind=Pod";
    let events = bed.get(&["get", "events", "-n", namespace, "--field-selector", about]);
    let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let events = events["items"].as_array().unwrap().iter();
    events.map(|event| (text(event, "reason"), text(event, "message"))).collect()
}

#[test]
fn a_bad_config_keeps_the_last_good_one_and_everybody_can_see_it() {
    let bed = bed::shared();
    let namespace = bed.namespace("reload-bad");
    let uid = pod(bed, &namespace);
    let mount = mount(&group("g", "1", HALF));
    let environment =
        [("POD_NAME", "serve"), ("POD_NAMESPACE", namespace.as_str()), ("POD_UID", uid.as_str())];
    // What a terminal gets has colours, and nothing else does.
    let flags = ["--color", "always"];
    let serving = Serving::start_with(&bed.kubeconfig(), &namespace, &mount.config(), &flags, &environment);
    serving.wait_for_nodes("g", "succeeded", 2);
    assert_eq!(serving.metric("quayctl_config_last_reload_successful"), Some(1.0));

    swap(&mount, &group("g", "2", "node_selector = \"zone in (\"\ndeadlin = \"5m\""));
    serving.wait_for_metric("quayctl_config_reloads_total{result=\"failed\"}", 1.0);
    // The whole diagnostics: its lines come one after another.
    let diagnostics = ["quayctl.toml:4:", "quayctl.toml:5:", "did you mean `deadline`?"];
    for text in diagnostics {
        serving.wait_for(text);
    }
    let (code, words) = serving.page("/readyz");
    assert_eq!(code, 200);
    assert!(words.starts_with("stale config since 20") && words.ends_with('Z'), "{words}");
    assert_eq!(serving.metric("quayctl_config_last_reload_successful"), Some(0.0));

    swap(&mount, &group("g", "3", HALF));
    serving.wait_for_reloads(1);
    serving.wait_for_nodes("g", "succeeded", 4);
    assert_eq!(serving.page("/readyz"), (200, "ok".to_owned()));
    assert_eq!(serving.metric("quayctl_config_last_reload_successful"), Some(1.0));
    assert_eq!(serving.metric("quayctl_config_reloads_total{result=\"failed\"}"), Some(1.0));
    for text in diagnostics {
        assert_eq!(serving.count(text), 1, "said once: {text}: {}", serving.log());
    }

    // Events go out one after another beside everything else.
    let until = Instant::now() + Duration::from_secs(30);
    let expected = ["RunStarted", "RunFinished", "ConfigReloadFailed", "ConfigReloaded"];
    loop {
        let found = events(bed, &namespace);
        if expected.iter().all(|reason| found.iter().any(|(found, _)| found == reason)) {
            let (_, refused) = found.iter().find(|(reason, _)| reason == "ConfigReloadFailed").unwrap();
            assert!(refused.contains("did you mean `deadline`?"), "{refused}");
            assert!(!refused.contains("[0m") && !refused.contains('\u{1b}'), "no colours: {refused}");
            break;
        }
        assert!(Instant::now() < until, "{found:?}");
        let watch = ["wait", "--for=create", "event/none", "--timeout=1s", "-n", &namespace];
        drop(ended(&mut bed.kubectl(&watch)));
    }
    serving.terminate();
    let images: Vec<String> = bed
        .jobs(&namespace)
        .iter()
        .map(|job| job["metadata"]["annotations"]["quayctl-controller/images"].to_string())
        .collect();
    assert_eq!(images.len(), 4);
    assert!(!images.iter().any(|images| images.contains(":2")), "no half of the bad config: {images:?}");
}

#[test]
fn twenty_swaps_in_two_seconds_end_with_the_last_one_and_never_mix_two() {
    let bed = bed::shared();
    let namespace = bed.namespace("reload-storm");
    // Config and template carry the same version; a mix of two would be seen in a Job.
    let files = |version: usize| {
        let config = format!(
            "[[groups]]\nname = \"g\"\nimages = [\"quay.io/team/g:{version}\"]\n{HALF}\ntemplate = \"mine\"\n\
             [templates.mine]\nfile = \"mine.yaml.hbs\"\n"
        );
        let template =
            std::fs::read_to_string(crate::support::root().join("templates/helper.yaml.hbs")).unwrap();
        let template = template.replacen(
            "kind: Job",
            &format!("kind: Job\nmetadata:\n  annotations: {{version: \"{version}\"}}"),
            1,
        );
        (config, template)
    };
    let swap = |mount: &Mount, version| {
        let (config, template) = files(version);
        mount.swap(&[("quayctl.toml", &config), ("mine.yaml.hbs", &template)]);
    };
    let (config, template) = files(0);
    let mount = Mount::new(&[("quayctl.toml", &config), ("mine.yaml.hbs", &template)]);
    let serving = Serving::start(bed, &namespace, &mount.config(), &[]);
    serving.wait_for_nodes("g", "succeeded", 2);
    let begun = Instant::now();
    for version in 1..=20 {
        swap(&mount, version);
        // What is tested is a rate of swaps, so this is no wait for anything.
        let next = Duration::from_millis(100) * version as u32;
        std::thread::sleep(next.saturating_sub(begun.elapsed()));
    }
    let mut observer = Observer::start(bed, &namespace);
    observer.wait_for(|job| job.to_string().contains("quay.io/team/g:20") && bed::is_over(job));
    let (code, words) = serving.page("/readyz");
    assert_eq!((code, words.as_str()), (200, "ok"), "{}", serving.log());
    let refused = serving.metric("quayctl_config_reloads_total{result=\"failed\"}");
    assert_eq!(refused, Some(0.0), "{}", serving.log());
    let served = serving.terminate();
    assert_eq!(served.code, Some(0));
    let jobs = bed.jobs(&namespace);
    for job in &jobs {
        let images = job["metadata"]["annotations"]["quayctl-controller/images"].as_str().unwrap();
        let version = job["metadata"]["annotations"]["version"].as_str().unwrap();
        assert!(images.contains(&format!("quay.io/team/g:{version}\"")), "{images} with template {version}");
    }
}

#[test]
fn a_file_that_is_removed_and_comes_back_is_stale_for_that_long() {
    let bed = bed::shared();
    let namespace = bed.namespace("reload-gone");
    let mount = mount(&group("g", "1", HALF));
    let serving = Serving::start(bed, &namespace, &mount.config(), &[]);
    serving.wait_for_nodes("g", "succeeded", 2);
    mount.swap(&[]);
    serving.wait_for_metric("quayctl_config_reloads_total{result=\"failed\"}", 1.0);
    assert!(serving.page("/readyz").1.starts_with("stale config since "));
    swap(&mount, &group("g", "1", HALF));
    serving.wait_for_reloads(1);
    assert_eq!(serving.page("/readyz"), (200, "ok".to_owned()));
    let runs = serving.metric("quayctl_runs_total{group=\"g\",verdict=\"succeeded\"}");
    let running = serving.metric("quayctl_runs_running{group=\"g\"}");
    assert_eq!((runs, running), (Some(1.0), Some(0.0)), "nothing has changed: {}", serving.log());
    assert_eq!(serving.terminate().code, Some(0));
}

#[test]
fn a_run_keeps_the_config_it_began_with_and_a_group_that_is_gone_runs_no_more() {
    let bed = bed::shared();
    let namespace = bed.namespace("reload-run");
    let two = "node_selector = \"kubernetes.io/hostname in (node-001,node-002,node-003)\"\nconcurrency = 1";
    let mount = mount(&format!(
        "{}{}",
        group("runs-1s", "1", two),
        group("every", "1", &format!("schedule = \"@every 1s\"\n{HALF}"))
    ));
    let mut observer = Observer::start(bed, &namespace);
    let serving = Serving::start(bed, &namespace, &mount.config(), &[]);
    observer.wait_for(|job| job.to_string().contains("runs-1s:1") && job["status"]["active"] == 1);
    swap(&mount, &group("runs-1s", "2", two));
    serving.wait_for_reloads(1);
    serving.wait_for_nodes("runs-1s", "succeeded", 6);
    assert_eq!(serving.count("of group \"runs-1s\" (changed)"), 1);
    let over = serving.count("of group \"every\" (");
    serving.wait_for_nodes("runs-1s", "succeeded", 6);
    assert_eq!(serving.count("of group \"every\" ("), over);
    assert_eq!(serving.metric("quayctl_runs_total{group=\"every\",verdict=\"succeeded\"}"), None);
    serving.terminate();
    for tag in ["1", "2"] {
        let of_tag = bed.jobs(&namespace);
        let of_tag = of_tag.iter().filter(|job| job.to_string().contains(&format!("runs-1s:{tag}")));
        assert_eq!(of_tag.count(), 3, "tag {tag}");
    }
}

#[test]
fn a_namespace_that_the_config_adds_is_watched_before_its_first_job() {
    let bed = bed::shared();
    let namespace = bed.namespace("reload-here");
    let other = bed.namespace("reload-there");
    let mount = mount(&group("g", "1", HALF));
    let serving = Serving::start(bed, &namespace, &mount.config(), &[]);
    serving.wait_for_nodes("g", "succeeded", 2);
    swap(&mount, &group("h", "1", &format!("{HALF}\nnamespace = \"{other}\"")));
    serving.wait_for_nodes("h", "succeeded", 2);
    serving.terminate();
    assert_eq!(bed.jobs(&other).len(), 2);
}

#[test]
fn a_hangup_makes_it_look_at_once_and_an_instance_cannot_change() {
    let bed = bed::shared();
    let namespace = bed.namespace("reload-hup");
    let mount = mount(&group("g", "1", HALF));
    let serving = Serving::start(bed, &namespace, &mount.config(), &[]);
    serving.wait_for_nodes("g", "succeeded", 2);
    swap(&mount, &format!("instance = \"other\"\n{}", group("g", "2", HALF)));
    serving.signal("HUP");
    serving.wait_for("`instance` was \"default\" and is \"other\"");
    let served = serving.terminate();
    assert_eq!(served.code, Some(0));
    assert_eq!(bed.jobs(&namespace).len(), 2);
}
