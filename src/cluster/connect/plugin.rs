//! Runs an exec credential plugin, as client-go does.
//!
//! What it prints is a credential, so no word of its output is ever in an error. It has a minute, and is
//! ended after that.
#![expect(clippy::disallowed_methods, reason = "a credential expires by the clock")]

use std::io::IsTerminal;
use std::process::Stdio;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;

use super::access::Plugin;
use super::kubeconfig::{Exec, InteractiveMode};

/// Enough for somebody to log in; a call to the API server waits no longer either.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Certificates and tokens are a few KiB.
const OUTPUT_BYTES_MAX: u64 = 1 << 20;
/// What of a plugin's complaints fits into an error.
const COMPLAINT_BYTES_MAX: usize = 1024;

/// What a plugin gave.
#[derive(Debug)]
pub struct Answer {
    pub token: Option<String>,
    /// Certificate and key, both PEM.
    pub certificate: Option<(String, String)>,
    /// From now on; `None`: until it is refused.
    pub valid_for: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecCredential {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    status: Option<Status>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
    expiration_timestamp: Option<String>,
}

/// A part of what a plugin gives, for messages.
pub fn part(plugin: &Plugin, key: &str) -> String {
    format!("the `{key}` of the credential plugin {:?}", plugin.exec.command)
}

/// Runs the plugin once.
pub async fn run(plugin: &Plugin) -> Result<Answer, String> {
    let Plugin { exec, cluster } = plugin;
    let Exec { command: program, args, env, api_version, install_hint, interactive_mode, .. } = exec;
    let named = |what: String| format!("the credential plugin {program:?} {what}");
    let texts =
        args.iter().map(String::as_str).chain(env.iter().map(|variable| variable.value.expose_secret()));
    if program.contains('\0') || texts.into_iter().any(|text| text.contains('\0')) {
        return Err(named("has a NUL in its command, its arguments or its variables".to_owned()));
    }
    let has_terminal = std::io::stdin().is_terminal();
    let is_interactive = match interactive_mode {
        InteractiveMode::Never => false,
        InteractiveMode::Always if !has_terminal => {
            return Err(named("wants a terminal (`interactiveMode: Always`), and there is none".to_owned()));
        }
        _ => has_terminal,
    };
    let mut spec = json!({"interactive": is_interactive});
    if let Some(cluster) = cluster {
        spec["cluster"] = cluster.clone();
    }
    let info = json!({"kind": "ExecCredential", "apiVersion": api_version, "spec": spec});
    let mut command = Command::new(program);
    command.args(args);
    for variable in env.iter().filter(|variable| is_variable(&variable.name)) {
        command.env(&variable.name, variable.value.expose_secret());
    }
    command.env("KUBERNETES_EXEC_INFO", info.to_string());
    command.stdin(if is_interactive { Stdio::inherit() } else { Stdio::null() });
    // Whoever is to log in must see what the plugin asks for.
    command.stderr(if is_interactive { Stdio::inherit() } else { Stdio::piped() });
    command.stdout(Stdio::piped()).kill_on_drop(true);

    let mut child = command.spawn().map_err(|error| {
        let hint = match install_hint.trim() {
            "" => "; see `exec` of the user in the kubeconfig".to_owned(),
            hint => format!("; {hint}"),
        };
        named(match error.kind() {
            std::io::ErrorKind::NotFound => format!("is not there{hint}"),
            _ => format!("cannot be run: {error}{hint}"),
        })
    })?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ended = async { tokio::join!(read(stdout), read(stderr), child.wait()) };
    let Ok((output, complaint, status)) = timeout(TIMEOUT, ended).await else {
        return Err(named(format!("did not end within {} s, and was killed", TIMEOUT.as_secs())));
    };
    let status = status.map_err(|error| named(format!("was lost: {error}")))?;
    if !status.success() {
        let complaint = String::from_utf8_lossy(&complaint);
        let complaint =
            crate::outside_text::one_line_within(complaint.trim(), COMPLAINT_BYTES_MAX).into_owned();
        let complaint = if complaint.is_empty() { complaint } else { format!(": {complaint}") };
        let how = match status.code() {
            Some(code) => format!("failed with exit code {code}"),
            None => format!("was ended: {status}"),
        };
        return Err(named(format!("{how}{complaint}")));
    }
    answer(exec, &output).map_err(named)
}

fn answer(exec: &Exec, output: &[u8]) -> Result<Answer, String> {
    // Plugins write JSON, and some YAML, which client-go takes as well. Of a mistake only the place is
    // told: what stands there is a credential.
    let text = std::str::from_utf8(output).map_err(|_| "printed what is no UTF-8".to_owned())?;
    let credential: ExecCredential =
        serde_saphyr::from_str(text).map_err(|error| match error.location() {
            Some(place) => {
                format!("printed no ExecCredential: see line {}, column {}", place.line(), place.column())
            }
            None => "printed no ExecCredential".to_owned(),
        })?;
    // client-go takes one that does not say its kind.
    if !matches!(credential.kind.as_str(), "" | "ExecCredential")
        || credential.api_version != exec.api_version
    {
        return Err(format!("printed no ExecCredential of {:?}", exec.api_version));
    }
    let Status { token, client_certificate_data, client_key_data, expiration_timestamp } =
        credential.status.ok_or("printed an ExecCredential without a status")?;
    let token = token.filter(|token| !token.is_empty());
    let certificate = client_certificate_data.filter(|pem| !pem.is_empty());
    let key = client_key_data.filter(|pem| !pem.is_empty());
    if certificate.is_some() != key.is_some() {
        return Err("printed only one of a certificate and its key".to_owned());
    }
    let certificate = certificate.zip(key);
    if token.is_none() && certificate.is_none() {
        return Err("printed neither a token nor a certificate with its key".to_owned());
    }
    let valid_for = match expiration_timestamp.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => {
            let until: jiff::Timestamp = text
                .parse()
                .map_err(|_| "printed an expirationTimestamp that is no RFC 3339 time".to_owned())?;
            Some(Duration::try_from(until.duration_since(jiff::Timestamp::now())).unwrap_or_default())
        }
        None => None,
    };
    Ok(Answer { token, certificate, valid_for })
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

/// All of a stream, or as much as is looked at; the rest is read and forgotten, as a plugin that cannot
/// write waits for ever.
async fn read(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        // What was read until it broke is judged.
        let _ = (&mut stream).take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes).await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(script: &str) -> Plugin {
        let exec = json!({
            "command": "sh", "args": ["-c", script],
            "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
        });
        Plugin { exec: serde_json::from_value(exec).unwrap(), cluster: None }
    }

    // The clock is ahead as soon as nobody does anything: a minute is not waited for.
    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_has_a_minute_and_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let error = run(&plugin(&format!("echo $$ > {file:?}; exec sleep 600"))).await.unwrap_err();
        assert!(error.contains("\"sh\" did not end within 60 s, and was killed"), "{error}");
    }

    #[tokio::test]
    async fn one_that_prints_without_an_end_is_read_to_its_limit() {
        let error = run(&plugin("head -c 5000000 /dev/zero | tr '\\0' x; exit 4")).await.unwrap_err();
        assert!(error.contains("exit code 4"), "{error}");
    }
}
