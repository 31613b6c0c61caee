//! What kubelets say, kept as fixtures: `UPDATE_MESSAGES=1 tests/e2e.sh` writes the waiting states of
//! containers and the events of pods that the scenarios see, in their order, into
//! `tests/vectors/pull_messages.jsonl`. The classifier's tests read them, and the simulated kubelet's.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::{Child, Stdio};
use std::sync::Mutex;

use regex::Regex;
use serde_json::{Value, json};

use crate::support::bed::Bed;
use crate::support::root;

/// Follows the pods and events of a namespace.
#[derive(Debug)]
pub struct Recorder {
    scenario: String,
    namespace: String,
    host: String,
    folder: tempfile::TempDir,
    watches: Vec<Child>,
}

impl Recorder {
    /// None unless the fixtures are to be written.
    pub fn start(bed: &Bed, scenario: &str, namespace: &str, host: &str) -> Option<Recorder> {
        std::env::var_os("UPDATE_MESSAGES")?;
        let folder = tempfile::tempdir().expect("a temporary directory");
        let watch = |kind: &str| {
            let file = File::create(folder.path().join(kind)).expect("a file");
            let args = ["get", kind, "-n", namespace, "--watch", "--output-watch-events", "-o", "json"];
            bed.kubectl(&args).stdin(Stdio::null()).stdout(file).spawn().expect("kubectl starts")
        };
        let watches = vec![watch("pods"), watch("events")];
        Some(Recorder {
            scenario: scenario.to_owned(),
            namespace: namespace.to_owned(),
            host: host.to_owned(),
            folder,
            watches,
        })
    }

    /// Writes down what was said.
    pub fn finish(mut self, bed: &Bed, pull_error: Option<&str>, is_permanent: bool) {
        // Events are sent a moment after what they tell.
        std::thread::sleep(std::time::Duration::from_secs(3));
        for mut watch in self.watches.drain(..) {
            let _ = watch.kill();
            let _ = watch.wait();
        }
        let nodes = bed.get(&["get", "nodes"]);
        let runtimes: BTreeMap<&str, &Value> = nodes["items"]
            .as_array()
            .expect("nodes")
            .iter()
            .map(|node| (node["metadata"]["name"].as_str().expect("a name"), &node["status"]["nodeInfo"]))
            .collect();
        let expect = pull_error.map(|code| json!({"pull_error": code, "permanent": is_permanent}));
        let mut lines: Vec<Value> = vec![];
        let mut add = |node: &str,
                       template: &str,
                       place: String,
                       container: &str,
                       reason: &str,
                       text: &str| {
            let Some(info) = runtimes.get(node) else { return };
            let throttled = text.contains("pull QPS exceeded");
            let of_pull = ["ErrImagePull", "ImagePullBackOff"].contains(&reason)
                || (reason == "Failed" && text.starts_with("Failed to pull image"));
            let line = json!({
                "scenario": self.scenario,
                "template": template,
                "runtime": info["containerRuntimeVersion"].as_str().unwrap_or_default().replace("://", " "),
                "kubelet": info["kubeletVersion"],
                "where": place,
                "container": container,
                "reason": reason,
                "text": self.normalised(text),
                "expect": match (of_pull, throttled) {
                    (true, true) => json!({"pull_error": "pull-failed", "permanent": false}),
                    // A registry that goes is heard of in two ways.
                    (true, false) if text.contains("unexpected EOF") => {
                        json!({"pull_error": "registry-error", "permanent": false})
                    }
                    (true, false) => json!(expect),
                    _ => Value::Null,
                },
            });
            if !lines.contains(&line) {
                lines.push(line);
            }
        };
        let mut templates = BTreeMap::new();
        for pod in objects(&self.folder, "pods") {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let ours = pod["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "quayctl-controller";
            let template = match (ours, pod["spec"]["initContainers"].is_array()) {
                (false, _) => "workload",
                (true, true) => "helper",
                (true, false) => "image-volume",
            };
            templates.insert(name, template);
            let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
            for kind in ["initContainerStatuses", "containerStatuses"] {
                for status in pod["status"][kind].as_array().into_iter().flatten() {
                    let waiting = &status["state"]["waiting"];
                    let (Some(reason), Some(text)) =
                        (waiting["reason"].as_str(), waiting["message"].as_str())
                    else {
                        continue;
                    };
                    let container = status["name"].as_str().unwrap_or_default();
                    add(node, template, format!("{kind}.waiting"), container, reason, text);
                }
            }
        }
        for event in objects(&self.folder, "events") {
            let involved = &event["involvedObject"];
            let node = event["source"]["host"].as_str().unwrap_or_default();
            let template = templates.get(involved["name"].as_str().unwrap_or_default());
            let container = involved["fieldPath"].as_str().unwrap_or_default();
            if let (Some(&template), "kubelet") =
                (template, event["source"]["component"].as_str().unwrap_or(""))
            {
                let place = format!("event.Pod.{}", event["type"].as_str().unwrap_or_default());
                let (reason, text) = (&event["reason"], &event["message"]);
                let (Some(reason), Some(text)) = (reason.as_str(), text.as_str()) else { continue };
                add(node, template, place, container, reason, text);
            }
        }
        write(&self.scenario, lines);
    }

    /// Without what differs from run to run.
    fn normalised(&self, text: &str) -> String {
        let text = text.replace(&self.host, "registry.example.com:5000");
        let text = text.replace(&self.host.replace(':', "%3A"), "registry.example.com%3A5000");
        let text = text.replace(&self.namespace, "image-pulls");
        [
            (r"ours\.test:\d+", "carrier.example.com:5000"),
            (r"198\.18\.\d+\.3:53", "10.0.0.10:53"),
            (r"198\.18\.\d+\.\d+:\d+->", "10.0.0.1:40000->"),
            (r"198\.18\.\d+\.\d+:\d+", "10.0.0.3:5000"),
            (
                r"sha256:[0-9a-f]{64}",
                "sha256:1111111111111111111111111111111111111111111111111111111111111111",
            ),
            (r"in [0-9a-z.]+ \([0-9a-z.]+ including waiting\)", "in 1.5s (1.5s including waiting)"),
            (r"Image size: \d+ bytes", "Image size: 1000000 bytes"),
            (r"g-real-00\d-[0-9a-f]{10}-[a-z0-9]{5}", "pod"),
            (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "uid"),
        ]
        .iter()
        .fold(text, |text, (pattern, with)| {
            Regex::new(pattern).expect("a pattern of ours").replace_all(&text, *with).into_owned()
        })
    }
}

/// What a watch has told, object by object.
fn objects(folder: &tempfile::TempDir, kind: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.path().join(kind)).expect("what kubectl wrote");
    // The last one may be cut.
    let events = serde_json::Deserializer::from_str(&text).into_iter::<Value>().map_while(Result::ok);
    events.map(|mut event| event["object"].take()).collect()
}

/// Puts a scenario's lines in the place of its former ones.
fn write(scenario: &str, lines: Vec<Value>) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock();
    let path = root().join("tests/vectors/pull_messages.jsonl");
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let before = before.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"));
    let mut all: Vec<Value> = before.filter(|line| line["scenario"] != scenario).chain(lines).collect();
    // Stable: within these the order is the kubelet's.
    all.sort_by_key(|line| {
        ["scenario", "runtime", "template"].map(|key| line[key].as_str().unwrap_or_default().to_owned())
    });
    let text: String = all.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(path, text).expect("the fixtures are written");
}

impl Drop for Recorder {
    fn drop(&mut self) {
        for watch in &mut self.watches {
            let _ = watch.kill();
            let _ = watch.wait();
        }
    }
}
