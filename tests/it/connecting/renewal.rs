//! Credentials that change while we are at work.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::row::{self, Row, row};
use super::world::{Answer, VERSION, pem};
use crate::deploy::identity;
use crate::support::bed::{Bed, Observer};
use crate::support::{ended, output_of, quayctl};

const REFUSED: Answer =
    Answer { code: 401, headers: "", body: r#"{"kind":"Status","code":401,"message":"Unauthorized"}"# };

/// A user with this plugin, which is refused once.
fn refused_once(script: &str) -> Row {
    let keys = "command: ./plugin, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never";
    row("renewal")
        .user(format!("exec: {{{keys}}}"))
        .file("plugin", format!("#!/bin/sh\nn=$(cat '{{dir}}/n' 2>/dev/null || echo 0); n=$((n+1)); echo $n > '{{dir}}/n'\n{script}"))
        .manner(|manner| manner.answers = vec![REFUSED, VERSION])
}

fn credential(status: &str) -> String {
    format!(
        "{{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{{{status}}}}}"
    )
}

#[test]
fn a_plugin_is_asked_again_after_an_answer_of_401() {
    let did =
        refused_once(&format!("printf '{}' $n", credential("\"token\":\"t-%s\"").replace('\'', ""))).ours();
    let sent: Vec<&str> =
        did.records.iter().filter_map(|record| record.get("authorization")).map(String::as_str).collect();
    assert_eq!((sent, did.code), (vec!["Bearer t-1", "Bearer t-2"], Some(0)), "{}", did.stderr);
}

#[test]
fn a_plugins_second_certificate_is_shown_on_a_connection_of_its_own() {
    let status = |name: &str| {
        let quoted = |file: String| serde_json::json!(pem(&file)).to_string();
        let (certificate, key) = (quoted(format!("{name}.pem")), quoted(format!("{name}.key.pem")));
        credential(&format!("\"clientCertificateData\":{certificate},\"clientKeyData\":{key}"))
    };
    let did = refused_once("cat \"{dir}/answer-$n\"")
        .file("answer-1", status("client"))
        .file("answer-2", status("client-v1"))
        .ours();
    let shown: Vec<&str> =
        did.records.iter().filter_map(|record| record.get("certificate")).map(String::as_str).collect();
    assert_eq!((shown, did.code), (vec!["client", "client-v1"], Some(0)), "{}", did.stderr);
}

#[test]
fn a_token_file_is_read_again_after_an_answer_of_401() {
    // The one who answers changes the file: a pipe's other end would be another story.
    let row = row("renewal")
        .user("tokenFile: token")
        .file("token", "same\n")
        .manner(|manner| manner.answers = vec![REFUSED, VERSION]);
    let did = row.ours();
    assert_eq!(did.code, Some(0), "{}", did.stderr);
}

#[test]
fn signals_are_obeyed_while_a_plugin_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let script = format!("echo > '{}/begun'; exec sleep 300", dir.display());
    let user = format!(
        "exec: {{command: sh, args: [-c, {}], apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never}}",
        serde_json::json!(script)
    );
    let text =
        row("").cluster("server: 'https://127.0.0.1:1', insecure-skip-tls-verify: true").user(user).text();
    std::fs::write(dir.join("kubeconfig"), text).unwrap();
    std::fs::write(dir.join("quayctl.toml"), "[[groups]]\nname = \"g\"\nimages = [\"a.test/b:1\"]\n")
        .unwrap();
    for (command, signal, code) in [
        ("run", "TERM", Some(143)),
        ("run", "INT", Some(130)),
        ("serve", "TERM", Some(0)),
        ("plan", "TERM", None),
    ] {
        let _ = std::fs::remove_file(dir.join("begun"));
        let mut child = quayctl();
        child
            .current_dir(dir)
            .env("KUBECONFIG", dir.join("kubeconfig"))
            .env("PATH", "/usr/bin:/bin")
            .arg(command);
        if command == "serve" {
            child.args(["--listen", "127.0.0.1:0"]);
        }
        let child = child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let begun = Instant::now();
        while !dir.join("begun").exists() {
            assert!(begun.elapsed() < Duration::from_secs(30), "{command}: no plugin was run");
            std::thread::sleep(Duration::from_millis(20));
        }
        let told = Instant::now();
        ended(Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()])).expect_code(0);
        let ended = output_of(child);
        assert!(told.elapsed() < Duration::from_secs(10), "{command} {signal}: {:?}", told.elapsed());
        assert_eq!(ended.code, code, "{command} {signal}: {}", ended.stderr);
    }
}

/// The kubelet writes a new token into the file before the old one expires; here the old one is revoked, with
/// the Secret that it is bound to.
#[test]
fn a_pods_token_that_is_rotated_within_a_run_is_followed() {
    let bed = Bed::start(&["--nodes", "12"]);
    let (namespace, _) = identity(&bed, None);
    let token = |bound: &str| {
        ended(&mut bed.kubectl(&["create", "secret", "generic", bound, "-n", &namespace])).expect_code(0);
        let bind = ["create", "token", "quayctl-controller", "-n", &namespace, "--duration=10m"];
        let to = ["--bound-object-kind", "Secret", "--bound-object-name", bound];
        ended(&mut bed.kubectl(&[&bind[..], &to].concat())).expect_code(0).stdout
    };
    let (first, second) = (token("first"), token("second"));

    let kubeconfig: serde_json::Value =
        serde_saphyr::from_str(&std::fs::read_to_string(bed.kubeconfig()).unwrap()).unwrap();
    let cluster = &kubeconfig["clusters"][0]["cluster"];
    let server: http::Uri = cluster["server"].as_str().unwrap().parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let account = folder.path().join("account");
    let ca = row::authority_of(cluster);
    let mut command = row::in_pod(
        env!("CARGO_BIN_EXE_quayctl-controller").as_ref(),
        &[("token", first.clone()), ("ca.crt", ca)],
        folder.path(),
        &str::to_owned,
    );
    std::fs::write(
        folder.path().join("quayctl.toml"),
        format!("namespace = \"{namespace}\"\nconcurrency = 1\n[[groups]]\nname = \"g\"\nimages = [\"quay.io/team/runs-3s:1\"]\n"),
    )
    .unwrap();
    command
        .args(["run", "-o", "json", "--run-id", "r"])
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap())
        .env("QUAYCTL_CARRIER_IMAGE", "quayctl-controller:test")
        .env("KUBERNETES_SERVICE_HOST", server.host().unwrap())
        .env("KUBERNETES_SERVICE_PORT", server.port_u16().unwrap().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut observer = Observer::start(&bed, &namespace);
    let running = command.spawn().unwrap();
    observer.wait_for(|job| job["status"]["active"] == 1);

    std::fs::write(account.join("token"), second).unwrap();
    ended(&mut bed.kubectl(&["delete", "secret", "first", "-n", &namespace])).expect_code(0);
    let old = bed.kubeconfig_with(first.trim());
    let revoked = Instant::now();
    // The API server believes what it has verified for another ten seconds.
    while ended(
        Command::new(super::kubectl()).arg("--kubeconfig").arg(old.path()).args(["get", "--raw", "/version"]),
    )
    .code
        == Some(0)
    {
        assert!(revoked.elapsed() < Duration::from_secs(60), "the first token is still good");
    }
    let before = bed.jobs(&namespace).len();
    assert!(before < 12, "the run is still under way: {before}");
    let ended = output_of(running).expect_code(0);
    assert_eq!(ended.json()["groups"][0]["counts"]["succeeded"], 12, "{}", ended.stderr);
}
