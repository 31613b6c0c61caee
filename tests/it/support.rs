//! What several of these tests need: the binary under test, run in a clean environment.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

pub mod bed;

/// The binary under test with an environment in which nothing of this machine's speaks for it: no
/// kubeconfig, no cluster that we happen to run in, no override.
pub fn quayctl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quayctl-controller"));
    command.env_clear().env("HOME", "/nonexistent");
    command
}

/// A run of the binary that has ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Nothing here runs for minutes: what does has hung, and is better said than waited for.
pub const LIMIT: Duration = Duration::from_secs(240);

/// Runs `command` to its end.
#[track_caller]
pub fn ended(command: &mut Command) -> Ended {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("the command starts");
    let id = child.id().to_string();
    let (over, waited) = mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let hung = waited.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout);
        // The child is not reaped yet, so its number is still its own.
        hung.then(|| Command::new("kill").args(["-KILL", &id]).status())
    });
    let Output { status, stdout, stderr } = child.wait_with_output().expect("the command ends");
    drop(over);
    let killed = watchdog.join().expect("the watchdog ends").is_some();
    assert!(!killed, "hung for {LIMIT:?}; stderr:\n{}", String::from_utf8_lossy(&stderr));
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Ended { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

impl Ended {
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Ended {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }
}

/// Where the checkout is.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
