//! Exit codes, help, and what goes to stdout and what to stderr.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{ended, quayctl, root};

const CONFIG: &str = "[[groups]]\nname = \"g\"\nimages = [\"quay.io/team/app:1.0\"]\n";

fn in_folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[test]
fn help_names_the_commands_and_the_exit_codes() {
    for args in [&["--help"][..], &["-h"], &["help"], &["run", "--help"], &["render", "-h"]] {
        let help = ended(quayctl().args(args)).expect_code(0);
        assert_eq!(help.stderr, "");
        assert!(help.stdout.contains("--config <FILE>"), "{}", help.stdout);
    }
    insta::assert_snapshot!("help", ended(quayctl().arg("--help")).stdout);
    insta::assert_snapshot!("help-run", ended(quayctl().args(["run", "--help"])).stdout);
    insta::assert_snapshot!("help-render", ended(quayctl().args(["render", "--help"])).stdout);
}

#[test]
fn usage_errors_exit_with_2() {
    for args in [&["--nope"][..], &["plann"], &["run", "--run-id", "Not A Label"], &["run", "-o", "xml"]] {
        let ended = ended(quayctl().args(args).arg("--config").arg(root().join("config/quayctl.toml")))
            .expect_code(2);
        assert!(ended.stderr.starts_with("error: ") && ended.stdout.is_empty(), "{}", ended.stderr);
    }
}

#[test]
fn without_a_config_it_says_where_it_looked() {
    let folder = in_folder(&[]);
    let ended = ended(quayctl().current_dir(&folder).arg("run")).expect_code(2);
    assert!(ended.stderr.contains("quayctl.toml") && ended.stderr.contains("--config"), "{}", ended.stderr);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = in_folder(&[]);
    for path in ["missing.toml", "."] {
        let ended = ended(quayctl().current_dir(&folder).args(["run", "--config", path])).expect_code(2);
        assert!(ended.stderr.contains(path), "{}", ended.stderr);
    }
}

#[test]
fn a_file_that_no_configmap_could_hold_is_refused() {
    let large = format!("{CONFIG}# {}\n", "x".repeat(2 << 20));
    let with = format!("{CONFIG}template = \"t\"\n[templates.t]\nfile = \"large.hbs\"\n");
    let folder = in_folder(&[("quayctl.toml", &large), ("with.toml", &with), ("large.hbs", &large)]);
    for command in ["check", "render", "run"] {
        let ended = ended(quayctl().current_dir(&folder).arg(command)).expect_code(2);
        assert!(ended.stderr.contains("larger than 1 MiB") && ended.stderr.len() < 1000, "{}", ended.stderr);
    }
    let ended = ended(quayctl().current_dir(&folder).args(["check", "--config", "with.toml"])).expect_code(2);
    assert!(ended.stderr.contains("large.hbs: it is larger than 1 MiB"), "{}", ended.stderr);
}

#[test]
fn an_old_node_without_a_carrier_is_no_silent_gap_in_a_rendering() {
    let nodes = root().join("tests/cases/nodes.yaml");
    let folder = in_folder(&[("quayctl.toml", CONFIG)]);
    let mut command = quayctl();
    command.current_dir(&folder).arg("render").arg("--nodes").arg(nodes);
    let ended = ended(command.args(["--node", "node-002.example.com"])).expect_code(2);
    assert!(ended.stdout.is_empty() && ended.stderr.contains("set `carrier_image`"), "{}", ended.stderr);
}

#[test]
fn no_cluster_is_said_within_ten_seconds() {
    let folder = in_folder(&[("quayctl.toml", CONFIG)]);
    // No kubeconfig at all.
    let none = ended(quayctl().current_dir(&folder).arg("run")).expect_code(3);
    assert!(none.stderr.contains("--kubeconfig"), "{}", none.stderr);

    // A port that nobody listens on, and one that accepts and never answers.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [closed, mute.local_addr().unwrap()] {
        let kubeconfig = format!(
            "{{apiVersion: v1, kind: Config, current-context: c, users: [{{name: u, user: {{token: t}}}}], \
             clusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}], \
             contexts: [{{name: c, context: {{cluster: c, user: u}}}}]}}"
        );
        let folder = in_folder(&[("quayctl.toml", CONFIG), ("kubeconfig", &kubeconfig)]);
        let begun = Instant::now();
        let ended =
            ended(quayctl().current_dir(&folder).args(["run", "--kubeconfig", "kubeconfig"])).expect_code(3);
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert!(ended.stderr.contains(&address.to_string()), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let nodes = root().join("tests/cases/nodes.yaml");
    let folder = in_folder(&[("quayctl.toml", CONFIG)]);
    let mut command = quayctl();
    command.current_dir(&folder).arg("render").arg("--nodes").arg(nodes);
    command.env("QUAYCTL_CARRIER_IMAGE", "c:1").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn render_is_byte_stable() {
    let nodes = root().join("tests/cases/nodes.yaml");
    let folder = in_folder(&[("quayctl.toml", CONFIG)]);
    let mut command = quayctl();
    command.current_dir(&folder).arg("render").arg("--nodes").arg(nodes).env("QUAYCTL_CARRIER_IMAGE", "c:1");
    let first = ended(&mut command).expect_code(0);
    assert!(first.stdout.starts_with("---\n"));
    assert_eq!(first.stdout, ended(&mut command).stdout);
}
