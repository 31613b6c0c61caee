//! A real control plane with simulated nodes, one for all tests of this process.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use super::{Ended, ended, quayctl};

/// Nodes of the shared cluster: as many as the tests of the main job speak of.
pub const NODES: usize = 50;

/// A running test bed. It ends when this process does, however that happens: it holds the other end
/// of its standard input.
#[derive(Debug)]
pub struct Bed {
    supervisor: Mutex<Child>,
    dir: PathBuf,
}

/// The cluster that all tests share; each makes a namespace of its own.
pub fn shared() -> &'static Bed {
    static BED: OnceLock<Bed> = OnceLock::new();
    BED.get_or_init(|| Bed::start(&["--nodes", &NODES.to_string(), "--mode", "open", "--old", "5"]))
}

impl Bed {
    /// Starts a control plane and waits until all of its nodes are ready.
    pub fn start(flags: &[&str]) -> Bed {
        let bin = std::env::var("QUAYCTL_TEST_BED").expect(
            "QUAYCTL_TEST_BED names the built test bed: run `make test`, or export it from tests/cluster/build.sh",
        );
        let dir = std::env::temp_dir().join(format!("quayctl-bed-{}", std::process::id()));
        let mut supervisor = Command::new(Path::new(&bin).join("bed"))
            .args(["run", "--until-stdin-closes", "--dir"])
            .arg(&dir)
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test bed starts");
        let stdout = supervisor.stdout.take().expect("stdout is piped");
        let line = BufReader::new(stdout).lines().next();
        let ready = matches!(&line, Some(Ok(line)) if line.contains("\"ready\":true"));
        assert!(ready, "the test bed did not get ready: {line:?}");
        Bed { supervisor: Mutex::new(supervisor), dir }
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
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
    pub fn quayctl(&self, args: &[&str], config: &str) -> Ended {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("quayctl.toml");
        std::fs::write(&path, config).expect("the config is written");
        let mut command = quayctl();
        command.args(args).arg("--config").arg(&path).arg("--kubeconfig").arg(self.kubeconfig());
        command.env("QUAYCTL_CARRIER_IMAGE", "quayctl-controller:test");
        ended(&mut command)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Ok(supervisor) = self.supervisor.get_mut() {
            drop(supervisor.stdin.take());
            let _ = supervisor.wait();
        }
    }
}
