//! Streams that are full, closed, read by nobody, or a terminal: none of them decides what a command does.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tempfile::{NamedTempFile, TempDir};

use crate::api::{Script, Server, created, failed, failure, live, start};
use crate::support::serving::Serving;
use crate::support::{Watchdog, ended, quayctl, root};

const CONFIG: &str = "[[groups]]\nname = \"g\"\nimages = [\"quay.io/team/app:1.0\"]\n";

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

/// A pipe into which nothing more goes for as long as the reader is not used.
fn blocked() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'.'; 4096]).is_ok() {}
    while writer.write(b".").is_ok() {}
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

#[track_caller]
fn code_of(mut child: Child) -> Option<i32> {
    let watchdog = Watchdog::over(&child);
    let status: ExitStatus = child.wait().unwrap();
    assert!(!watchdog.bit(), "it hung");
    status.code()
}

fn signal(child: &Child, signal: &str) {
    ended(Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()])).expect_code(0);
}

/// Awaits what a file is to hold by the end.
#[track_caller]
fn wait_for(path: &Path, is_it: impl Fn(&str) -> bool) -> String {
    let begun = Instant::now();
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if is_it(&text) {
            return text;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{text}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Commands that need no cluster, each with the code that it has where all is well.
fn commands() -> Vec<(Vec<String>, i32)> {
    let nodes = root().join("tests/cases/nodes.yaml").display().to_string();
    let with_nodes = |command: &str| [command, "--nodes", &nodes].map(str::to_owned).to_vec();
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    vec![
        (words("--help"), 0),
        (words("run --help"), 0),
        (words("--version"), 0),
        (words("schema"), 0),
        (words("man"), 0),
        (words("completions bash"), 0),
        (words("check"), 0),
        (words("check -o json"), 0),
        (words("check --explain"), 0),
        (words("check --config wrong.toml"), 2),
        (words("plann"), 2),
        (words("run --run-id Not_Ok"), 2),
        (words("run --log ,,=,"), 2),
        (words("run"), 3),
        (with_nodes("plan"), 0),
        (with_nodes("render"), 0),
    ]
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("quayctl.toml"), CONFIG).unwrap();
    std::fs::write(folder.path().join("wrong.toml"), "concurrency = \"many\"\nnope = 1\n").unwrap();
    folder
}

fn command(folder: &TempDir, args: &[String]) -> Command {
    let mut command = quayctl();
    command.current_dir(folder).args(args).env("QUAYCTL_CARRIER_IMAGE", "c:1").stdin(Stdio::null());
    command
}

#[test]
fn words_that_cannot_be_written_change_no_exit_code() {
    let folder = folder();
    for (args, code) in commands() {
        let start =
            |stderr: Stdio| command(&folder, &args).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        assert_eq!(code_of(start(full().into())), Some(code), "2>/dev/full {args:?}");
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        assert_eq!(code_of(start(writer.into())), Some(code), "2>&1 | true {args:?}");
    }
}

#[test]
fn data_that_cannot_be_written_are_an_error_and_a_closed_pipe_is_none() {
    let folder = folder();
    for (args, code) in commands() {
        let start =
            |stdout: Stdio| command(&folder, &args).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        let child = start(full().into());
        let watchdog = Watchdog::over(&child);
        let output = child.wait_with_output().unwrap();
        assert!(!watchdog.bit());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code.max(1)), ">/dev/full {args:?}: {stderr}");
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        assert_eq!(code_of(start(writer.into())), Some(code), "| true {args:?}");
    }
}

#[test]
fn closed_descriptors_change_no_exit_code() {
    let folder = folder();
    for (args, code) in commands() {
        for closed in ["2>&-", ">&-", "<&- >&- 2>&-"] {
            let mut shell = Command::new("sh");
            let binary = env!("CARGO_BIN_EXE_quayctl-controller");
            shell.args(["-c", &format!("exec \"$0\" \"$@\" {closed}"), binary]).args(&args);
            shell.current_dir(&folder).env_clear().env("QUAYCTL_CARRIER_IMAGE", "c:1").stdin(Stdio::null());
            let child = shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            assert_eq!(code_of(child), Some(code), "{closed} {args:?}");
        }
    }
}

/// A cluster of `nodes` nodes, and what a run on it needs.
struct Cluster {
    server: Arc<Server>,
    kubeconfig: NamedTempFile,
    folder: TempDir,
    serving: tokio::task::JoinHandle<()>,
}

impl Cluster {
    async fn new(nodes: usize, script: Script) -> Cluster {
        let (server, kubeconfig, serving) = start(nodes, script, usize::MAX).await;
        Cluster { server, kubeconfig, folder: folder(), serving }
    }

    fn run(&self, more: &[&str]) -> Command {
        let mut command = quayctl();
        command
            .current_dir(&self.folder)
            .args(["run", "--kubeconfig"])
            .arg(self.kubeconfig.path())
            .args(more);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_written_ends_no_run() {
    let cluster = Cluster::new(3, vec![created]).await;
    for (round, log) in ["info", "trace"].into_iter().enumerate() {
        let (closed, writer) = pipe().unwrap();
        drop(closed);
        let (_blocked, full_pipe) = blocked();
        for (name, stderr) in
            [("full", full().into()), ("closed", writer.into()), ("blocked", full_pipe.into())]
        {
            let report = cluster.folder.path().join(format!("{name}-{round}.json"));
            let mut command = cluster.run(&["--log", log, "--report", report.to_str().unwrap()]);
            let begun = Instant::now();
            let child = command.stderr::<Stdio>(stderr).spawn().unwrap();
            assert_eq!(code_of(child), Some(0), "{name} {log}");
            assert!(begun.elapsed() < Duration::from_secs(20), "{name}: {:?}", begun.elapsed());
            let report: serde_json::Value = serde_json::from_str(&wait_for(&report, |_| true)).unwrap();
            assert_eq!(report["groups"][0]["counts"]["succeeded"], 3, "{name} {log}");
        }
    }
    assert_eq!(cluster.server.posts(), 2 * 3 * 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_cannot_be_printed_is_told_by_the_exit_code_and_still_filed() {
    let cluster = Cluster::new(2, vec![created]).await;
    let report = cluster.folder.path().join("report.json");
    let child = cluster.run(&["--report", "report.json"]).stdout(full()).spawn().unwrap();
    assert_eq!(code_of(child), Some(1));
    assert!(wait_for(&report, |_| true).contains("\"succeeded\": 2"));
    // A pipe has no length that could be set.
    let mut command = cluster.run(&["--report", "/dev/stdout", "-o", "json"]);
    let ended = ended(&mut command).expect_code(0);
    assert_eq!(ended.stdout.matches("\"runId\"").count(), 2, "{}", ended.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_nobody_reads_is_filed_and_a_signal_ends_the_wait() {
    let cluster = Cluster::new(2, vec![created]).await;
    for (signals, code) in [(["TERM"].as_slice(), 143), (&["INT"], 130), (&["TERM", "TERM"], 143)] {
        for output in ["table", "json"] {
            let report = cluster.folder.path().join("report.json");
            let _ = std::fs::remove_file(&report);
            let ((_out, stdout), (_err, stderr)) = (blocked(), blocked());
            let mut command = cluster.run(&["-o", output, "--report", "report.json"]);
            let child = command.stdout(stdout).stderr(stderr).spawn().unwrap();
            // It is whole before anybody has read a byte of stdout.
            wait_for(&report, |text| text.ends_with("}\n"));
            let begun = Instant::now();
            for (n, name) in signals.iter().enumerate() {
                if n > 0 {
                    // Two that come at once are one.
                    std::thread::sleep(Duration::from_millis(300));
                }
                signal(&child, name);
            }
            assert_eq!(code_of(child), Some(code), "{signals:?} {output}");
            let limit = Duration::from_secs(if signals.len() > 1 { 3 } else { 8 });
            assert!(begun.elapsed() < limit, "{signals:?} {output}: {:?}", begun.elapsed());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_is_heard_while_the_log_is_blocked() {
    let cluster = Cluster::new(2, vec![live]).await;
    for (signals, code) in [(["TERM"].as_slice(), 143), (&["INT", "INT"], 130)] {
        let report = cluster.folder.path().join("report.json");
        let _ = std::fs::remove_file(&report);
        let posts = cluster.server.posts();
        let (_err, stderr) = blocked();
        let mut command = cluster.run(&["--log", "trace", "--report", "report.json"]);
        let child = command.stderr(stderr).spawn().unwrap();
        let begun = Instant::now();
        while cluster.server.posts() < posts + 2 {
            assert!(begun.elapsed() < Duration::from_secs(60), "no Job was created");
            std::thread::sleep(Duration::from_millis(20));
        }
        let begun = Instant::now();
        for name in signals {
            signal(&child, name);
            std::thread::sleep(Duration::from_millis(100));
        }
        assert_eq!(code_of(child), Some(code), "{signals:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{signals:?}: {:?}", begun.elapsed());
        if signals.len() == 1 {
            let report: serde_json::Value = serde_json::from_str(&wait_for(&report, |_| true)).unwrap();
            assert_eq!(report["groups"][0]["counts"]["interrupted"], 2, "{report}");
            assert_eq!(
                (&report["groups"][0]["counts"]["failed"], &report["exitCode"]),
                (&0.into(), &143.into())
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_works_and_ends_while_its_log_is_blocked() {
    let cluster = Cluster::new(2, vec![created]).await;
    let (_err, stderr) = blocked();
    let mut command = quayctl();
    command.current_dir(&cluster.folder).args(["serve", "--listen", "127.0.0.1:0", "--log", "trace"]);
    command.arg("--kubeconfig").arg(cluster.kubeconfig.path()).env("QUAYCTL_CARRIER_IMAGE", "c:1");
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
    let begun = Instant::now();
    while cluster.server.posts() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no Job was created");
        std::thread::sleep(Duration::from_millis(20));
    }
    let begun = Instant::now();
    signal(&child, "TERM");
    assert_eq!(code_of(child), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_read_late_has_what_fits_and_says_how_much_does_not() {
    let cluster = Cluster::new(1, vec![created]).await;
    let (mut reader, stderr) = blocked();
    let mut child = cluster.run(&["--log", "warn,quayctl_controller=info"]).stderr(stderr).spawn().unwrap();
    assert!(child.wait().unwrap().success());
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(text.trim_start_matches('.').is_empty(), "nothing fitted: {text}");

    let (mut reader, stderr) = pipe().unwrap();
    let mut child = cluster.run(&[]).stderr(stderr).spawn().unwrap();
    assert!(child.wait().unwrap().success());
    reader.read_to_string(&mut text).unwrap();
    assert!(text.contains("1 Job in 1 group, 0 nodes skipped") && !text.contains("left out"), "{text}");
}

/// A terminal, and what has been written to it.
struct Terminal {
    child: Child,
    shown: std::thread::JoinHandle<String>,
}

impl Terminal {
    fn start(mut command: Command) -> Terminal {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let path = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
        let open = || File::options().read(true).write(true).open(&path).unwrap();
        let child = command.stdin(open()).stdout(open()).stderr(open()).spawn().unwrap();
        drop(command);
        let shown = std::thread::spawn(move || {
            let (mut terminal, mut all, mut some) = (File::from(terminal), Vec::new(), [0; 4096]);
            // Where the last writer has closed it, Linux says EIO.
            while let Ok(count @ 1..) = terminal.read(&mut some) {
                all.extend_from_slice(&some[..count]);
            }
            String::from_utf8_lossy(&all).into_owned()
        });
        Terminal { child, shown }
    }

    #[track_caller]
    fn end(self) -> (Option<i32>, String) {
        let code = code_of(self.child);
        (code, self.shown.join().unwrap())
    }
}

#[test]
fn a_bare_call_on_a_terminal_prints_help_and_elsewhere_it_runs() {
    let (with_file, empty) = (folder(), tempfile::tempdir().unwrap());
    let call = |folder: &TempDir, args: &[&str], environment: &[(&str, &str)]| {
        let mut command = quayctl();
        command.current_dir(folder).args(args).envs(environment.iter().copied());
        command
    };
    for folder in [&with_file, &empty] {
        let (code, text) = Terminal::start(call(folder, &[], &[("TERM", "xterm")])).end();
        assert!(code == Some(2) && text.contains("Usage:") && text.contains("Exit codes:"), "{text}");
    }
    // No kubeconfig: 3 is of a run that was begun.
    for (args, environment) in [
        (&[][..], &[("QUAY_IMAGES", "nginx:1")][..]),
        (&[], &[("QUAYCTL_CONFIG", "quayctl.toml")]),
        (&["--config", "quayctl.toml"], &[]),
        (&["run"], &[]),
    ] {
        let (code, text) = Terminal::start(call(&with_file, args, environment)).end();
        assert!(code == Some(3) && !text.contains("Usage:"), "{args:?} {environment:?} {code:?}: {text}");
    }
    // In a pod, whose service account is not there.
    let pod = [("KUBERNETES_SERVICE_HOST", "127.0.0.1"), ("KUBERNETES_SERVICE_PORT", "1")];
    let (code, text) = Terminal::start(call(&with_file, &[], &pod)).end();
    assert!(code == Some(3) && !text.contains("Usage:"), "{text}");
    let ended = ended(&mut call(&with_file, &[], &[])).expect_code(3);
    assert!(!ended.stderr.contains("Usage:"), "{}", ended.stderr);
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let folder = folder();
    let colored = |args: &[&str], environment: &[(&str, &str)]| {
        let mut command = quayctl();
        command.current_dir(&folder).args(args).envs(environment.iter().copied());
        let (code, text) = Terminal::start(command).end();
        assert_eq!(code, Some(2), "{text}");
        text.contains('\x1b')
    };
    for args in [&["check", "--config", "wrong.toml"][..], &["run", "--config", "wrong.toml"]] {
        assert!(colored(args, &[("TERM", "xterm")]), "{args:?}");
        assert!(colored(args, &[("TERM", "xterm"), ("NO_COLOR", "")]), "{args:?}");
        for plain in [("NO_COLOR", "1"), ("NO_COLOR", "0"), ("TERM", "dumb")] {
            assert!(!colored(args, &[("TERM", "xterm"), plain]), "{args:?} {plain:?}");
            let always = [args, &["--color", "always"]].concat();
            assert!(colored(&always, &[("TERM", "xterm"), plain]), "{always:?} {plain:?}");
        }
    }
    assert!(!colored(&["--nope"], &[("TERM", "xterm"), ("NO_COLOR", "1")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bar_ticks_and_no_line_tears_it() {
    let cluster = Cluster::new(2, vec![live]).await;
    let run = |environment: &[(&str, &str)], more: &[&str]| {
        let mut command = cluster.run(more);
        command.envs(environment.iter().copied());
        let posts = cluster.server.posts();
        let terminal = Terminal::start(command);
        let begun = Instant::now();
        while cluster.server.posts() < posts + 2 {
            assert!(begun.elapsed() < Duration::from_secs(60), "no Job was created");
            std::thread::sleep(Duration::from_millis(20));
        }
        // Nothing happens for a while.
        std::thread::sleep(Duration::from_millis(3500));
        signal(&terminal.child, "INT");
        let (code, text) = terminal.end();
        assert_eq!(code, Some(130), "{text}");
        text
    };
    let text = run(&[("TERM", "xterm"), ("NO_COLOR", "1")], &[]);
    for frame in ["0/2 Jobs  2 running, 0 failed  1s", "0/2 Jobs  2 running, 0 failed  2s"] {
        assert!(text.contains(frame), "{text:?}");
    }
    assert!(!text.contains("\x1b[3"), "a colour: {text:?}");
    // On the screen a log line has its line to itself: where it begins, the bar has been taken off.
    for (at, _) in text.match_indices("INFO") {
        let before = &text[..at];
        let line = &before[before.rfind(['\n', '\r']).map_or(0, |end| end + 1)..];
        assert!(!line.contains("Jobs"), "{line:?} in {text:?}");
    }
    assert!(text.contains("press Ctrl-C again"), "{text:?}");
    assert!(text.contains("0 of 2 Jobs succeeded, 0 failed, 2 interrupted, 0 nodes skipped"), "{text:?}");

    for (environment, more) in
        [(&[("TERM", "dumb")][..], &[][..]), (&[("TERM", "xterm"), ("NO_COLOR", "1")], &["-q"])]
    {
        let text = run(environment, more);
        assert!(!text.contains('\x1b') && !text.contains("0/2 Jobs"), "{environment:?} {more:?}: {text:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_node_has_an_event_on_its_job() {
    let cluster = Cluster::new(3, vec![failed, created]).await;
    let mut command = cluster.run(&["-o", "json"]);
    let report = ended(&mut command).expect_code(1).json();
    let nodes = report["groups"][0]["nodes"].as_array().unwrap();
    let failed: Vec<_> = nodes.iter().filter(|node| node["verdict"] == "failed").collect();
    let events = cluster.server.events_created.lock().unwrap().clone();
    assert_eq!((failed.len(), events.len()), (1, 1), "{report}");
    let (node, event) = (failed[0], &events[0]);
    assert_eq!((&node["reason"], &event["reason"]), (&"job-failed".into(), &"JobFailed".into()));
    assert_eq!(event["note"], node["message"]);
    assert_eq!((&event["type"], &event["regarding"]["kind"]), (&"Warning".into(), &"Job".into()));
    assert_eq!((&event["regarding"]["name"], &event["regarding"]["uid"]), (&node["job"], &node["job"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_tells_a_failed_run_once_for_each_cause_and_with_its_date() {
    fn refused(job: &serde_json::Value) -> axum::response::Response {
        let node = job["metadata"]["annotations"]["quayctl-controller/node"].as_str().unwrap_or_default();
        match node.ends_with('7') {
            true => created(job),
            false => failure(400, "BadRequest", "strict decoding error: unknown field \"spec.x\""),
        }
    }
    let cluster = Cluster::new(40, vec![refused]).await;
    let config = cluster.folder.path().join("quayctl.toml");
    let timed = format!("{CONFIG}schedule = \"* * * * *\"\n");
    std::fs::write(&config, timed).unwrap();
    let served = {
        let kubeconfig = cluster.kubeconfig.path().to_owned();
        tokio::task::spawn_blocking(move || {
            let serving = Serving::start_with(&kubeconfig, "pulls", &config, &[], &[]);
            serving.wait_for_nodes("g", "failed", 36);
            serving.wait_for("api-error on 36 nodes");
            serving.terminate()
        })
    };
    let served = served.await.unwrap();
    let first: Vec<&str> = served.log.lines().filter(|line| line.contains("WARN")).take(2).collect();
    assert!(
        first[0].contains("finished: 4 succeeded, 36 failed")
            && first[1].contains("api-error on 36 nodes (node-0, "),
        "{}",
        served.log
    );
    let warnings = served.log.lines().filter(|line| line.contains("WARN")).count();
    let runs = served.log.lines().filter(|line| line.contains(" finished: ")).count();
    assert_eq!(warnings, 2 * runs, "one line for the run and one for the cause: {}", served.log);
    assert!(served.log.contains("of group \"g\" (at the start)"), "{}", served.log);
    assert!(!served.log.contains("catch-up") && !served.log.contains("Ctrl-C"), "{}", served.log);
    for line in served.log.lines() {
        let date = line.split('T').next().unwrap();
        assert!(jiff::civil::Date::strptime("%Y-%m-%d", date).is_ok(), "{line}");
    }
}
