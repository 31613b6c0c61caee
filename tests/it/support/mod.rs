//! What several of these tests need: the binary under test, run in a clean environment.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

pub mod bed;
pub mod serving;

/// Another binary to be tested than the one that cargo has built with the tests: for measuring, that of
/// `scripts/binary.sh`, which is optimised as the shipped one is.
pub fn optimised_binary() -> Option<PathBuf> {
    std::env::var_os("QUAYCTL_BINARY").map(PathBuf::from)
}

/// The binary under test with an environment in which nothing of this machine's speaks for it: no
/// kubeconfig, no cluster that we happen to run in, no override.
pub fn quayctl() -> Command {
    let built = || PathBuf::from(env!("CARGO_BIN_EXE_quayctl-controller"));
    let mut command = Command::new(optimised_binary().unwrap_or_else(built));
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
    output_of(command.spawn().expect("the command starts"))
}

/// Waits for the end of a command whose stdout and stderr are piped.
#[track_caller]
pub fn output_of(child: Child) -> Ended {
    let watchdog = Watchdog::over(&child);
    let Output { status, stdout, stderr } = child.wait_with_output().expect("the command ends");
    assert!(!watchdog.bit(), "hung for {LIMIT:?}; stderr:\n{}", String::from_utf8_lossy(&stderr));
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Ended { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// Kills a command that runs for longer than [`LIMIT`].
#[derive(Debug)]
pub struct Watchdog {
    over: mpsc::Sender<()>,
    thread: std::thread::JoinHandle<bool>,
}

impl Watchdog {
    pub fn over(child: &Child) -> Watchdog {
        let id = child.id().to_string();
        let (over, waited) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let hung = waited.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout);
            // Whoever waits for the child has not reaped it yet, so its number is still its own.
            hung && Command::new("kill").args(["-KILL", &id]).status().is_ok()
        });
        Watchdog { over, thread }
    }

    /// Whether it had to; nothing is watched any longer.
    pub fn bit(self) -> bool {
        drop(self.over);
        self.thread.join().expect("the watchdog ends")
    }
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
