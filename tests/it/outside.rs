//! What others wrote, as the program shows it; and files that are no files. Without a cluster.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::{Ended, ended, quayctl, root};

const CONFIG: &str = "[[groups]]\nname = \"g\"\nimages = [\"nginx:1.29\"]\n";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn nodes() -> PathBuf {
    root().join("tests/cases/nodes.yaml")
}

fn in_folder(folder: &TempDir, args: &[&str]) -> Ended {
    ended(quayctl().current_dir(folder).args(args))
}

/// A command line of bash, in which `$0` is the program.
fn bash(folder: &TempDir, line: &str) -> Ended {
    let program = quayctl();
    let mut command = Command::new("bash");
    command.current_dir(folder).args(["-c", line]).arg(program.get_program());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    ended(command.stdin(Stdio::null()))
}

#[test]
fn a_pipe_that_nobody_writes_into_is_refused() {
    let template = "[templates.t]\nfile = \"pipe\"\n[[groups]]\nname = \"g\"\nimages = [\"nginx:1.29\"]\ntemplate = \"t\"\n";
    let folder = folder(&[("quayctl.toml", CONFIG), ("template.toml", template)]);
    assert!(Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap().success());
    let nodes = nodes();
    let nodes = nodes.to_str().unwrap();
    for (args, code, words) in [
        (vec!["check", "--config", "pipe"], 2, "nobody writes into it"),
        (vec!["check", "--config", "template.toml"], 2, "not a file"),
        (vec!["plan", "--config", "quayctl.toml", "--nodes", "pipe"], 2, "nobody writes into it"),
        (vec!["render", "--config", "pipe", "--nodes", nodes], 2, "nobody writes into it"),
        (vec!["run", "--kubeconfig", "pipe"], 3, "nobody writes into it"),
    ] {
        let ended = in_folder(&folder, &args).expect_code(code);
        assert!(ended.stderr.contains(words), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn nodes_come_from_a_pipe_with_a_writer_and_from_stdin() {
    let folder = folder(&[("quayctl.toml", CONFIG)]);
    let nodes = nodes();
    let nodes = nodes.display();
    let expected =
        in_folder(&folder, &["plan", "--nodes", &nodes.to_string(), "-o", "json"]).expect_code(0).stdout;
    for line in [
        format!("\"$0\" plan -o json --nodes <(cat {nodes})"),
        format!("\"$0\" plan -o json --nodes <(sleep 0.5; cat {nodes})"),
        format!("cat {nodes} | \"$0\" plan -o json --nodes -"),
        format!("(sleep 0.5; cat {nodes}) | \"$0\" plan -o json --nodes /dev/stdin"),
        format!("\"$0\" plan -o json --nodes /dev/stdin < {nodes}"),
        format!("\"$0\" plan -o json --config <(cat quayctl.toml) --nodes {nodes}"),
    ] {
        assert_eq!(bash(&folder, &line).expect_code(0).stdout, expected, "{line}");
    }
}

#[test]
fn a_nodes_name_does_not_act_on_the_terminal() {
    let folder = folder(&[("quayctl.toml", CONFIG)]);
    let named = "\"node-001\\e[2J\\u202egnp\\u0085\\nx\"";
    let text = fs::read_to_string(nodes()).unwrap();
    assert!(text.contains("name: node-001\n"));
    // A node that is skipped is told of by its name.
    let text = text.replace("name: node-001\n", &format!("name: {named}\n")).replacen(
        "status: \"True\"",
        "status: \"False\"",
        1,
    );
    fs::write(folder.path().join("nodes.yaml"), text).unwrap();
    for output in ["table", "json", "yaml"] {
        let ended = in_folder(&folder, &["plan", "--nodes", "nodes.yaml", "-o", output]).expect_code(0);
        let acts = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!ended.stdout.contains(acts), "{:?}", ended.stdout);
        assert!(ended.stdout.contains("u{202e}gnp"), "{}", ended.stdout);
    }
}

#[test]
fn a_password_in_a_url_is_shown_by_nothing() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let kubeconfig = |cluster: &str, user: &str| {
        format!(
            "{{apiVersion: v1, kind: Config, current-context: c, users: [{{name: u, user: {user}}}], \
             clusters: [{{name: c, cluster: {cluster}}}], contexts: [{{name: c, context: {{cluster: c, user: u}}}}]}}"
        )
    };
    for text in [
        kubeconfig(&format!("{{server: 'http://robot:s3cret@{closed}'}}"), "{}"),
        kubeconfig(
            &format!("{{server: 'http://{closed}', proxy-url: 'http://robot:s3cret@{closed}'}}"),
            "{}",
        ),
        kubeconfig(&format!("{{server: 'http://{closed}', proxy-url: 'robot:s3cret@{closed}'}}"), "{}"),
        kubeconfig(&format!("{{server: 'http://{closed}'}}"), "{token: \"s3cret\\nmore\"}"),
        kubeconfig(&format!("{{server: 'http://{closed}'}}"), "{token: [s3cret]}"),
    ] {
        let folder = folder(&[("quayctl.toml", CONFIG), ("kubeconfig", &text)]);
        for more in [&["-vv"][..], &["-vv", "--log-format", "json"], &[]] {
            let args = [&["run", "--kubeconfig", "kubeconfig"], more].concat();
            let ended = in_folder(&folder, &args).expect_code(3);
            assert!(!ended.stderr.contains("s3cret") && !ended.stderr.is_empty(), "{}", ended.stderr);
        }
    }
}

#[test]
fn a_pasted_docker_config_is_starred_everywhere() {
    let pasted = r#"{"auths":{"quay.io":{"auth":"cm9ib3Q6czNjcmV0"}}}"#;
    let config =
        format!("[defaults]\npull_secrets = ['{pasted}']\n{CONFIG}values = {{ a = '{pasted}' }}\nnmae = 1\n");
    let valid = format!("{CONFIG}values = {{ a = '{pasted}' }}\n");
    let folder = folder(&[("wrong.toml", &config), ("right.toml", &valid)]);
    for args in [
        vec!["check", "--config", "wrong.toml"],
        vec!["check", "--config", "wrong.toml", "-o", "json"],
        vec!["check", "--config", "right.toml", "--explain"],
        vec!["plan", "--config", "wrong.toml", "--nodes", "/dev/null"],
        vec!["run", "--config", "wrong.toml"],
    ] {
        let ended = in_folder(&folder, &args);
        let shown = format!("{}{}", ended.stdout, ended.stderr);
        assert!(!shown.contains("cm9ib3Q6") && !shown.is_empty(), "{args:?}: {shown}");
    }
}
