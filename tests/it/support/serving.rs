//! `serve` under test: a process that stays, its config mounted as the kubelet mounts a ConfigMap.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::bed::Bed;
use super::{Watchdog, quayctl};

/// Nothing that is waited for here takes longer, on a machine that does several things at once: a schedule of each
/// minute may be a minute away, and its run takes some seconds more.
const PATIENCE: Duration = Duration::from_secs(150);

/// A folder that looks to its reader like a mounted ConfigMap: `quayctl.toml -> ..data/quayctl.toml`,
/// and `..data -> ..VERSION`, which is swapped by a rename.
#[derive(Debug)]
pub struct Mount {
    folder: tempfile::TempDir,
    version: Mutex<u32>,
}

impl Mount {
    pub fn new(files: &[(&str, &str)]) -> Mount {
        let mount = Mount { folder: tempfile::tempdir().unwrap(), version: Mutex::new(0) };
        mount.swap(files);
        for (name, _) in files {
            std::os::unix::fs::symlink(Path::new("..data").join(name), mount.path().join(name)).unwrap();
        }
        mount
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn config(&self) -> PathBuf {
        self.path().join("quayctl.toml")
    }

    /// What the kubelet does when the ConfigMap has changed: a new folder of a new name, a new link to
    /// it, renamed over the old one, and the old folder is removed.
    pub fn swap(&self, files: &[(&str, &str)]) {
        let mut version = self.version.lock().unwrap();
        let old = self.path().join(format!("..version_{version}"));
        *version += 1;
        let name = format!("..version_{version}");
        let new = self.path().join(&name);
        std::fs::create_dir(&new).unwrap();
        for (file, text) in files {
            std::fs::write(new.join(file), text).unwrap();
        }
        std::os::unix::fs::symlink(&name, self.path().join("..data_tmp")).unwrap();
        std::fs::rename(self.path().join("..data_tmp"), self.path().join("..data")).unwrap();
        if old.exists() {
            std::fs::remove_dir_all(old).unwrap();
        }
    }
}

/// A running `serve`. Killed when dropped.
#[derive(Debug)]
pub struct Serving {
    child: Option<Child>,
    watchdog: Option<Watchdog>,
    log: Arc<Log>,
    address: String,
}

/// The lines of its stderr so far.
#[derive(Debug, Default)]
struct Log {
    lines: Mutex<(Vec<String>, bool)>,
    changed: Condvar,
}

/// What was left when it had ended.
#[derive(Debug)]
pub struct Served {
    pub code: Option<i32>,
    pub log: String,
    pub took: Duration,
}

impl Serving {
    /// Starts it in `namespace` and waits until it listens.
    #[track_caller]
    pub fn start(bed: &Bed, namespace: &str, config: &Path, more: &[&str]) -> Serving {
        Serving::start_with(&bed.kubeconfig(), namespace, config, more, &[])
    }

    #[track_caller]
    pub fn start_with(
        kubeconfig: &Path,
        namespace: &str,
        config: &Path,
        more: &[&str],
        environment: &[(&str, &str)],
    ) -> Serving {
        let mut command = quayctl();
        command.args(["serve", "--listen", "127.0.0.1:0", "-n", namespace, "--config"]).arg(config);
        command.arg("--kubeconfig").arg(kubeconfig).args(more);
        command.env("QUAYCTL_CARRIER_IMAGE", "quayctl-controller:test").envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let log: Arc<Log> = Arc::default();
        let kept = log.clone();
        std::thread::spawn(move || {
            for line in stderr.lines() {
                let Ok(line) = line else { break };
                kept.lines.lock().unwrap().0.push(line);
                kept.changed.notify_all();
            }
            kept.lines.lock().unwrap().1 = true;
            kept.changed.notify_all();
        });
        let watchdog = Some(Watchdog::over(&child));
        let mut serving = Serving { child: Some(child), watchdog, log, address: String::new() };
        let line = serving.wait_for("http://127.0.0.1:");
        serving.address =
            line[line.find("127.0.0.1:").unwrap()..].split(['"', ' ']).next().unwrap().to_owned();
        serving
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it has not been waited for").id()
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        super::ended(std::process::Command::new("kill").args([&format!("-{signal}"), &pid])).expect_code(0);
    }

    /// The log so far.
    pub fn log(&self) -> String {
        self.log.lines.lock().unwrap().0.join("\n")
    }

    /// Lines of the log with this text.
    pub fn count(&self, text: &str) -> usize {
        self.log.lines.lock().unwrap().0.iter().filter(|line| line.contains(text)).count()
    }

    /// Waits for a line with this text, and gives it.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_for_nth(text, 1)
    }

    /// Waits until that many lines have this text, and gives the last of them.
    #[track_caller]
    pub fn wait_for_nth(&self, text: &str, n: usize) -> String {
        let until = Instant::now() + PATIENCE;
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.0.iter().filter(|line| line.contains(text)).nth(n - 1) {
                return line.clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero() && !lines.1, "no line {n} with {text:?}; log:\n{}", lines.0.join("\n"));
            lines = self.log.changed.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Status and body of one of its pages.
    #[track_caller]
    pub fn page(&self, path: &str) -> (u16, String) {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let code = head.split(' ').nth(1).expect("a status").parse().expect("a number");
        (code, body.to_owned())
    }

    /// The value of a series, by its name with labels as they are written.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let (code, body) = self.page("/metrics");
        assert_eq!(code, 200);
        let line =
            body.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Waits until `is_it` holds.
    #[track_caller]
    pub fn wait_until(&self, what: &str, is_it: impl Fn(&Serving) -> bool) {
        let begun = Instant::now();
        while !is_it(self) {
            assert!(begun.elapsed() < PATIENCE, "not: {what}; log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until it leads and is ready.
    #[track_caller]
    pub fn wait_until_leading(&self) {
        self.wait_until("it leads", |serving| serving.page("/readyz") == (200, "ok".to_owned()));
    }

    /// Waits until as many runs of a group have succeeded, each on `nodes` nodes, and none has failed.
    #[track_caller]
    pub fn wait_for_runs(&self, group: &str, runs: u32, nodes: usize) {
        let count = |what: &str, verdict: &str| {
            let series = format!("quayctl_{what}_total{{group={group:?},verdict={verdict:?}}}");
            self.metric(&series).unwrap_or(0.0)
        };
        self.wait_until("so many runs have succeeded", |_| count("runs", "succeeded") >= f64::from(runs));
        let over = (count("runs", "succeeded"), count("runs", "failed"), count("runs", "aborted"));
        assert_eq!((over.1, over.2), (0.0, 0.0), "{}", self.log());
        let (succeeded, failed) = (count("nodes", "succeeded"), count("nodes", "failed"));
        assert_eq!(failed, 0.0, "{}", self.log());
        assert!(succeeded >= over.0 * nodes as f64, "{succeeded}; log:\n{}", self.log());
    }

    /// Waits until a series has at least this value.
    #[track_caller]
    pub fn wait_for_metric(&self, series: &str, value: f64) {
        self.wait_until(series, |serving| serving.metric(series).is_some_and(|found| found >= value));
    }

    /// Waits until as many nodes of a group have finished like this, in all of its runs together.
    #[track_caller]
    pub fn wait_for_nodes(&self, group: &str, verdict: &str, nodes: usize) {
        let series = format!("quayctl_nodes_total{{group={group:?},verdict={verdict:?}}}");
        self.wait_for_metric(&series, nodes as f64);
    }

    /// Waits until it has taken over as many changes of its config.
    #[track_caller]
    pub fn wait_for_reloads(&self, count: usize) {
        self.wait_for_metric("quayctl_config_reloads_total{result=\"succeeded\"}", count as f64);
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(mut self) -> Served {
        let begun = Instant::now();
        let mut child = self.child.take().expect("it is waited for once");
        let status = child.wait().expect("it ends");
        let hung = self.watchdog.take().is_some_and(Watchdog::bit);
        let mut lines = self.log.lines.lock().unwrap();
        while !lines.1 {
            lines = self.log.changed.wait(lines).unwrap();
        }
        let log = lines.0.join("\n");
        assert!(!hung, "hung; log:\n{log}");
        Served { code: status.code(), log, took: begun.elapsed() }
    }

    /// SIGTERM, and its end.
    #[track_caller]
    pub fn terminate(self) -> Served {
        self.signal("TERM");
        self.end()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = self.watchdog.take().map(Watchdog::bit);
    }
}
