//! A real control plane with simulated nodes, one for all tests of this process.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use serde_json::Value;
use serde_json::de::IoRead;

use super::{Ended, Watchdog, ended, output_of, quayctl};

/// Nodes of the shared cluster: as many as the tests of the main job speak of.
pub const NODES: usize = 50;

/// A running test bed. It ends when this process does, however that happens: it holds the other end
/// of its standard input.
#[derive(Debug)]
pub struct Bed {
    /// None where somebody else started it.
    supervisor: Option<Mutex<Child>>,
    dir: PathBuf,
    /// What the bed said when it was ready.
    pub ready: Value,
    /// The image that carries image volumes.
    pub carrier: String,
}

/// The cluster that all tests share; each makes a namespace of its own.
pub fn shared() -> &'static Bed {
    static BED: OnceLock<Bed> = OnceLock::new();
    BED.get_or_init(|| Bed::start(&["--nodes", &NODES.to_string(), "--mode", "open", "--old", "5"]))
}

/// On simulated nodes any name that says nothing of a failure will do.
const CARRIER: &str = "quayctl-controller:test";

/// One of the test bed's programs.
pub fn program(name: &str) -> PathBuf {
    let bin = std::env::var("QUAYCTL_TEST_BED").expect(
        "QUAYCTL_TEST_BED names the built test bed: run `make test`, or export it from tests/cluster/build.sh",
    );
    Path::new(&bin).join(name)
}

impl Bed {
    /// Starts a control plane and waits until all of its nodes are ready.
    pub fn start(flags: &[&str]) -> Bed {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("quayctl-bed-{}-{number}", std::process::id()));
        let mut supervisor = Command::new(program("bed"))
            .args(["run", "--until-stdin-closes", "--dir"])
            .arg(&dir)
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test bed starts");
        let stdout = supervisor.stdout.take().expect("stdout is piped");
        let line = BufReader::new(stdout).lines().next();
        let said = line.as_ref().and_then(|line| line.as_ref().ok());
        let ready: Value = said.and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
        assert_eq!(ready["ready"], true, "the test bed did not get ready: {line:?}");
        Bed { supervisor: Some(Mutex::new(supervisor)), dir, ready, carrier: CARRIER.to_owned() }
    }

    /// One that was started by `bed up` and goes on after the tests.
    pub fn kept(dir: &Path) -> Bed {
        let record = std::fs::read_to_string(dir.join("state/bed.json")).expect("a cluster is running there");
        let ready = serde_json::from_str(&record).expect("its record is JSON");
        Bed { supervisor: None, dir: dir.to_owned(), ready, carrier: CARRIER.to_owned() }
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// The kubeconfig with another user's token.
    pub fn kubeconfig_with(&self, token: &str) -> tempfile::NamedTempFile {
        let text = std::fs::read_to_string(self.kubeconfig()).expect("the kubeconfig is there");
        let mut config: Value = serde_saphyr::from_str(&text).expect("it is YAML");
        for user in config["users"].as_array_mut().expect("a list of users") {
            user["user"] = serde_json::json!({ "token": token });
        }
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), config.to_string()).expect("it is written");
        file
    }

    pub fn audit_log(&self) -> PathBuf {
        self.dir.join("state/audit.log")
    }

    pub fn kubectl(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.dir.join("bin/kubectl"));
        command.env_clear().env("HOME", "/nonexistent").env("KUBECONFIG", self.kubeconfig()).args(args);
        command
    }

    /// `kubectl … -o json`, parsed.
    #[track_caller]
    pub fn get(&self, args: &[&str]) -> serde_json::Value {
        ended(self.kubectl(args).args(["-o", "json"])).expect_code(0).json()
    }

    /// A namespace of its own for one test, under the strictest Pod Security.
    #[track_caller]
    pub fn namespace(&self, test: &str) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{test}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        ended(&mut self.kubectl(&["create", "namespace", &name])).expect_code(0);
        let label = "pod-security.kubernetes.io/enforce=restricted";
        ended(&mut self.kubectl(&["label", "namespace", &name, label])).expect_code(0);
        // Pods are refused until the controller manager has made the namespace's service account.
        let account = ["wait", "--for=create", "serviceaccount/default", "--timeout=30s", "-n", &name];
        ended(&mut self.kubectl(&account)).expect_code(0);
        name
    }

    /// The binary under test, on this cluster, with `config` as its file.
    #[track_caller]
    pub fn quayctl(&self, args: &[&str], config: &str) -> Ended {
        let (_folder, mut command) = self.command(args, config);
        ended(&mut command)
    }

    /// `run -o json` in `namespace`.
    #[track_caller]
    pub fn run(&self, namespace: &str, config: &str, more: &[&str]) -> Ended {
        self.quayctl(&[&["run", "-o", "json", "-n", namespace], more].concat(), config)
    }

    /// `run -o json` in `namespace`, under way.
    pub fn start_run(&self, namespace: &str, config: &str, more: &[&str]) -> Running {
        self.start_run_as(&self.kubeconfig(), namespace, config, more)
    }

    /// The same with another's rights.
    pub fn start_run_as(&self, kubeconfig: &Path, namespace: &str, config: &str, more: &[&str]) -> Running {
        let (folder, mut command) =
            self.command_as(kubeconfig, &[&["run", "-o", "json", "-n", namespace], more].concat(), config);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        Running { child: Some(child), _folder: folder }
    }

    fn command(&self, args: &[&str], config: &str) -> (tempfile::TempDir, Command) {
        self.command_as(&self.kubeconfig(), args, config)
    }

    fn command_as(&self, kubeconfig: &Path, args: &[&str], config: &str) -> (tempfile::TempDir, Command) {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("quayctl.toml");
        std::fs::write(&path, config).expect("the config is written");
        let mut command = quayctl();
        command.args(args).arg("--config").arg(&path).arg("--kubeconfig").arg(kubeconfig);
        command.env("QUAYCTL_CARRIER_IMAGE", &self.carrier);
        (folder, command)
    }

    /// The Jobs of ours in a namespace.
    #[track_caller]
    pub fn jobs(&self, namespace: &str) -> Vec<Value> {
        let list = self.get(&["get", "jobs", "-n", namespace, "-l", OURS]);
        list["items"].as_array().expect("a list").clone()
    }

    /// Sends a signal to one of the control plane's processes.
    pub fn signal(&self, component: &str, signal: &str) {
        let mut command = Command::new(program("bed"));
        command.arg("signal").arg("--dir").arg(&self.dir).args([
            "--component",
            component,
            "--signal",
            signal,
        ]);
        ended(&mut command).expect_code(0);
    }
}

/// What selects our Jobs and pods.
pub const OURS: &str = "app.kubernetes.io/managed-by=quayctl-controller";

/// The binary under test, running. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Option<Child>,
    _folder: tempfile::TempDir,
}

impl Running {
    pub fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().expect("it has not been waited for").id().to_string();
        ended(Command::new("kill").args([&format!("-{signal}"), &pid])).expect_code(0);
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        output_of(self.child.take().expect("it is waited for once"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Follows a namespace's Jobs through kubectl's watch: independent of our own code.
pub struct Observer {
    kubectl: Child,
    /// Ends kubectl, and so the watch, where nothing comes any longer.
    watchdog: Option<Watchdog>,
    events: serde_json::StreamDeserializer<'static, IoRead<BufReader<ChildStdout>>, Value>,
}

impl Observer {
    pub fn start(bed: &Bed, namespace: &str) -> Observer {
        let args = ["get", "jobs", "-n", namespace, "--watch", "--output-watch-events", "-o", "json"];
        let mut kubectl = bed.kubectl(&args).stdout(Stdio::piped()).spawn().expect("kubectl starts");
        let stdout = BufReader::new(kubectl.stdout.take().expect("stdout is piped"));
        let events = serde_json::Deserializer::from_reader(stdout).into_iter();
        let watchdog = Some(Watchdog::over(&kubectl));
        Observer { kubectl, watchdog, events }
    }

    /// The same, once the API server lists Jobs: it may be starting.
    pub fn start_when_up(bed: &Bed, namespace: &str) -> Observer {
        let begun = std::time::Instant::now();
        while ended(&mut bed.kubectl(&["get", "jobs", "-n", namespace])).code != Some(0) {
            assert!(begun.elapsed() < super::LIMIT, "the API server does not come back");
        }
        Observer::start(bed, namespace)
    }

    /// The next state of a Job; waits for one.
    pub fn next_job(&mut self) -> Value {
        self.events.next().expect("the watch goes on").expect("an event")["object"].take()
    }

    /// Waits for a Job of which `is_it` holds.
    pub fn wait_for(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let job = self.next_job();
            if is_it(&job) {
                return job;
            }
        }
    }

    /// In watch order, until `total` Jobs are over: the most that were live at once, over all and on
    /// one node.
    pub fn most_live_jobs(mut self, total: usize) -> (usize, usize) {
        let (mut live, mut over) = (BTreeMap::new(), BTreeSet::new());
        let (mut most, mut most_on_a_node) = (0, 0);
        while over.len() < total {
            let job = self.next_job();
            let name = job["metadata"]["name"].to_string();
            if is_over(&job) {
                live.remove(&name);
                over.insert(name);
            } else if !over.contains(&name) {
                live.insert(name, job["metadata"]["annotations"]["quayctl-controller/node"].to_string());
            }
            most = most.max(live.len());
            let nodes: BTreeSet<&String> = live.values().collect();
            most_on_a_node = most_on_a_node.max(1 + live.len() - nodes.len());
        }
        (most, most_on_a_node)
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.watchdog.take().map(Watchdog::bit);
        let _ = self.kubectl.wait();
    }
}

/// Whether a Job is complete or failed.
pub fn is_over(job: &Value) -> bool {
    let conditions = job["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().any(|c| (c["type"] == "Complete" || c["type"] == "Failed") && c["status"] == "True")
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(Ok(supervisor)) = self.supervisor.as_mut().map(Mutex::get_mut) {
            drop(supervisor.stdin.take());
            let _ = supervisor.wait();
        }
    }
}
