//! Credential plugins.

use crate::connecting::row::{Row, row};
use crate::connecting::world::pem;

const INFO: &str = "#!/bin/sh\nout='{dir}/info'; [ -e \"$out\" ] && out='{dir}/info-2'; printf '%s' \"$KUBERNETES_EXEC_INFO\" > \"$out\"\n";

pub fn plugins() -> Vec<Row> {
    const V1: &str =
        "exec: {command: ./plugin, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never";
    let plugin = |name: &str, status: &str| {
        row(format!("plugin: {name}")).user(format!("{V1}}}")).file("plugin", credential("v1", status))
    };
    let prints = |name: &str, script: &str, says: &'static str| {
        row(format!("plugin: {name}"))
            .user(format!("{V1}}}"))
            .file("plugin", format!("{INFO}{script}"))
            .says(says)
    };
    let token = "\"token\":\"pl0gin\"";
    let keyed = |name: &str, keys: &str| {
        row(format!("plugin: {name}"))
            .user(format!("exec: {{{keys}}}"))
            .file("plugin", credential("v1", token))
    };
    let pair = |certificate: &str, key: &str| {
        let quoted = |name: &str| serde_json::json!(pem(name)).to_string();
        format!("\"clientCertificateData\":{},\"clientKeyData\":{}", quoted(certificate), quoted(key))
    };
    let command = "command: ./plugin, apiVersion: client.authentication.k8s.io/v1";
    vec![
        plugin("a token", token),
        plugin("a token that is valid for long", &format!("{token},\"expirationTimestamp\":\"2100-01-01T00:00:00Z\"")),
        plugin("a token that has expired", &format!("{token},\"expirationTimestamp\":\"2020-01-01T00:00:00Z\"")),
        plugin("a time that is none", &format!("{token},\"expirationTimestamp\":\"soon\"")).says("expirationTimestamp"),
        plugin("a certificate", &pair("client.pem", "client.key.pem")),
        plugin("a certificate and a token", &format!("{token},{}", pair("client.pem", "client.key.pem"))),
        plugin("a certificate of version 1", &pair("client-v1.pem", "client-v1.key.pem")),
        plugin("a certificate with the key of another", &pair("client.pem", "client-rsa.key.pem")).says("is not that of the certificate"),
        plugin("a certificate with an encrypted key", &pair("client.pem", "client-encrypted.key.pem")).says("encrypted"),
        plugin("a certificate alone", "\"clientCertificateData\":\"x\"").says("only one of a certificate and its key"),
        plugin("a key alone", &format!("{token},\"clientKeyData\":\"x\"")).says("only one of a certificate and its key"),
        plugin("nothing", "").says("neither a token nor a certificate"),
        plugin("an empty token", "\"token\":\"\"").says("neither a token nor a certificate"),
        row("plugin: v1beta1").user("exec: {command: ./plugin, apiVersion: client.authentication.k8s.io/v1beta1}").file("plugin", credential("v1beta1", token)),
        row("plugin: v1alpha1").user("exec: {command: ./plugin, apiVersion: client.authentication.k8s.io/v1alpha1}").file("plugin", credential("v1alpha1", token)).says("not known"),
        row("plugin: another version than asked for").user(format!("{V1}}}")).file("plugin", credential("v1beta1", token)).says("no ExecCredential of"),
        prints("YAML", "printf 'kind: ExecCredential\\napiVersion: client.authentication.k8s.io/v1\\nstatus: {token: pl0gin}\\n'", "NodeList"),
        prints("no kind", "echo '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{\"token\":\"s3cr3t\"}}'", "no ExecCredential"),
        prints("no version", "echo '{\"kind\":\"ExecCredential\",\"status\":{\"token\":\"s3cr3t\"}}'", "no ExecCredential"),
        prints("no status", "echo '{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\"}'", "without a status"),
        prints("garbage", "echo s3cr3t", "no ExecCredential"),
        prints("bytes", "printf '\\377s3cr3t'", "no UTF-8"),
        prints("nothing at all", "true", "no ExecCredential"),
        prints("a failure", "echo s3cr3t; echo 'no session' >&2; exit 3", "failed with exit code 3: no session"),
        prints("an end by a signal", "kill -9 $$", "signal: 9"),
        keyed("not there", "command: ./nowhere, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, installHint: 'get it at example.com'")
            .says("\"DIR/nowhere\" is not there; get it at example.com"),
        keyed("not there, by name", "command: n0where, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never").says("\"n0where\" is not there"),
        keyed("not to be executed", "command: ./kubeconfig, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never").says("cannot be run"),
        keyed("found by its name", "command: plugin, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never").env("PATH", "{dir}:/usr/bin:/bin"),
        keyed("with arguments and variables", "command: sh, args: [-c, 'exec ./plugin'], env: [{name: A, value: b}], apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never"),
        keyed("a variable without a name", &format!("{command}, interactiveMode: Never, env: [{{value: b}}]")).says("without a `name`"),
        keyed("no variables and no arguments", &format!("{command}, interactiveMode: Never, env: null, args: null")),
        keyed("no command", "apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never").says("no `command`"),
        keyed("no version asked for", "command: ./plugin, interactiveMode: Never").says("no `apiVersion`"),
        keyed("no mode", command).says("no `interactiveMode`"),
        keyed("a mode that is none", &format!("{command}, interactiveMode: Sometimes")).says("\"Sometimes\""),
        keyed("a terminal if there is one", &format!("{command}, interactiveMode: IfAvailable")),
        keyed("a terminal, which is not there", &format!("{command}, interactiveMode: Always")).says("wants a terminal"),
        keyed("told of the cluster", &format!("{command}, interactiveMode: Never, provideClusterInfo: true")),
        keyed("told all of the cluster", &format!("{command}, interactiveMode: Never, provideClusterInfo: true"))
            .cluster("server: 'https://127.0.0.1:{port}/k8s/?a=b', insecure-skip-tls-verify: true, tls-server-name: api.test, disable-compression: true, proxy-url: 'http://127.0.0.1:{proxy}', extensions: [{name: client.authentication.k8s.io/exec, extension: {audience: a, list: [1]}}, {name: other, extension: 1}]"),
        keyed("told of a cluster with data", &format!("{command}, interactiveMode: Never, provideClusterInfo: true"))
            .cluster("server: 'https://127.0.0.1:{port}', certificate-authority-data: '{b64 ca.pem}'"),
        plugin("beside a token", token).user(format!("{V1}}}, token: t0ken")),
        plugin("beside a name", token).user(format!("{V1}}}, username: us, password: p")),
        plugin("beside a certificate", token).user(format!("{V1}}}, client-certificate: '{{pki}}/client.pem', client-key: '{{pki}}/client.key.pem'")),
        plugin("beside a provider", token).user(format!("{V1}}}, auth-provider: {{name: oidc}}")).says("exclude each other"),
        plugin("to a server without TLS", token).cluster("server: 'http://127.0.0.1:{port}'"),
        plugin("on behalf of another", token).user(format!("{V1}}}, as: jane")),
    ]
}

fn credential(version: &str, status: &str) -> String {
    format!(
        "{INFO}cat <<'EOF'\n{{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/{version}\",\"status\":{{{status}}}}}\nEOF\n"
    )
}
