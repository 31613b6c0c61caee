//! The cluster that all scenarios share: three real nodes, the last of them with containerd 1.x, two
//! simulated ones, and registries that hold our own image.

use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

use serde_json::{Value, json};

use crate::registry::Registry;
use crate::support::bed::Bed;
use crate::support::{LIMIT, ended};

/// Nodes with containerd 2.x: they mount images.
pub const NEW: &[&str] = &["real-001", "real-002"];
/// The node with containerd 1.x, which cannot.
pub const OLD: &str = "real-003";
/// All real nodes.
pub const REAL: &[&str] = &["real-001", "real-002", "real-003"];

/// What selects the real nodes.
pub const REAL_SELECTOR: &str = "quayctl.test/real=true";

#[derive(Debug)]
pub struct Site {
    pub bed: Bed,
    pub registry: Registry,
}

/// The folder of our static programs.
pub fn programs() -> String {
    std::env::var("QUAYCTL_TEST_PROGRAMS").expect("tests/e2e.sh names the folder of the static programs")
}

pub fn shared() -> &'static Site {
    static SITE: OnceLock<Site> = OnceLock::new();
    SITE.get_or_init(|| {
        let bed = match std::env::var_os("QUAYCTL_TEST_SITE") {
            Some(kept) => Bed::kept(kept.as_ref()),
            None => {
                let flags =
                    std::env::var("QUAYCTL_TEST_SITE_FLAGS").expect("tests/e2e.sh says what to start");
                Bed::start(&flags.split_whitespace().collect::<Vec<_>>())
            }
        };
        Site::furnished(bed)
    })
}

/// A cluster of its own, for a test that disturbs a node or the whole cluster: without simulated nodes, and
/// with as many real ones as `flags` say. What is killed there is back after 3 s.
pub fn own(flags: &[&str]) -> Site {
    let always = ["--nodes", "0", "--mode", "open", "--on-component-end", "restart", "--restart-after", "3s"];
    Site::furnished(Bed::start(&[&always, flags].concat()))
}

impl Site {
    /// Puts our own image into the registries of a bed.
    fn furnished(mut bed: Bed) -> Site {
        let registry =
            Registry::new(bed.ready["registry"].as_str().expect("a bed of real nodes has registries"));
        let archive = std::env::var("QUAYCTL_TEST_IMAGE").expect("tests/e2e.sh names our image's archive");
        registry.command(&["push-archive", &archive, "quayctl-controller:test"], &[]);
        bed.carrier = registry.face("ours", &[]).image("quayctl-controller:test");
        Site { bed, registry }
    }

    /// `run -o json` of one group `g` of these images on these nodes, in a namespace of its own. `more`
    /// are further lines of the group.
    #[track_caller]
    pub fn run(&self, namespace: &str, nodes: &[&str], images: &[String], more: &str) -> Value {
        let mut args = vec![];
        for node in nodes {
            args.extend(["--node", node]);
        }
        self.bed.run(namespace, &group(images, more), &args).json()
    }

    /// The references of the images that containerd holds on a node, fully downloaded and unpacked: one of
    /// an index without the node's platform is listed as well.
    #[track_caller]
    pub fn held(&self, node: &str) -> Vec<String> {
        // It ends with 1 where one of them is such an image.
        let listed = ended(&mut self.containerd(node, &["images", "check", "-q"])).stdout;
        assert!(!listed.is_empty(), "{node} has no image at all");
        listed.lines().map(str::to_owned).collect()
    }

    /// containerd's own client on a node.
    pub fn containerd(&self, node: &str, args: &[&str]) -> Command {
        let status = ended(Command::new(crate::support::bed::program("bed")).args([
            "status",
            "--dir",
            self.bed.ready["dir"].as_str().expect("a bed has a folder"),
            "-o",
            "json",
        ]))
        .expect_code(0)
        .json();
        let name = format!("containerd-{node}");
        let components = status["components"].as_array().expect("components");
        let process = components.iter().find(|c| c["name"] == name).expect("the node is there");
        let mut command = Command::new(crate::support::bed::program("ctr"));
        let socket = format!("/proc/{}/root/run/containerd/containerd.sock", process["pid"]);
        command.args(["--address", &socket, "--namespace", "k8s.io"]).args(args);
        command
    }

    /// Starts a pod of an image on a node, and gives what the kubelet said of pulling it, once it runs.
    #[track_caller]
    pub fn workload(&self, namespace: &str, node: &str, reference: &str, name: &str) -> String {
        self.start_workload(namespace, node, reference, name, &[]);
        self.running_workload(namespace, name)
    }

    /// What the kubelet said of pulling a pod's image, once it runs.
    #[track_caller]
    pub fn running_workload(&self, namespace: &str, name: &str) -> String {
        let wait =
            ["wait", "--for=condition=Ready", &format!("pod/{name}"), "-n", namespace, "--timeout=120s"];
        ended(&mut self.bed.kubectl(&wait)).expect_code(0);
        let chosen = format!("involvedObject.name={name},reason=Pulled");
        self.eventually("the kubelet says how it got the image", || {
            let events = self.bed.get(&["get", "events", "-n", namespace, "--field-selector", &chosen]);
            events["items"][0]["message"].as_str().map(str::to_owned)
        })
    }

    /// Makes a pod of an image on a node, with these pull secrets.
    #[track_caller]
    pub fn start_workload(&self, namespace: &str, node: &str, reference: &str, name: &str, secrets: &[&str]) {
        let secrets: Vec<Value> = secrets.iter().map(|name| json!({"name": name})).collect();
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "nodeName": node, "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false,
                "imagePullSecrets": secrets,
                "containers": [{
                    "name": "main", "image": reference, "imagePullPolicy": "IfNotPresent",
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                }],
                "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            },
        });
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), pod.to_string()).expect("it is written");
        let path = file.path().to_str().expect("a path of ours is UTF-8");
        ended(&mut self.bed.kubectl(&["apply", "-f", path])).expect_code(0);
    }

    /// Waits until `found` gives something.
    #[track_caller]
    pub fn eventually<T>(&self, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(it) = found() {
                return it;
            }
            assert!(begun.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    }
}

/// A config of one group `g`.
pub fn group(images: &[String], more: &str) -> String {
    let images = serde_json::to_string(images).expect("strings are JSON");
    format!("[[groups]]\nname = \"g\"\nimages = {images}\nnode_selector = \"{REAL_SELECTOR}\"\n{more}\n")
}

/// The report's node of this name.
#[track_caller]
pub fn node<'a>(report: &'a Value, name: &str) -> &'a Value {
    let nodes = report["groups"][0]["nodes"].as_array().expect("a report has nodes");
    nodes.iter().find(|node| node["name"] == name).unwrap_or_else(|| panic!("no node {name} in {report}"))
}
