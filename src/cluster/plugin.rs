//! Runs an exec credential plugin, as client-go does.
//!
//! What it prints is a credential, so no word of its output is ever in an error. It has a minute, and is
//! ended after that.
#![expect(clippy::disallowed_methods, reason = "a credential expires by the clock")]

use std::io::IsTerminal;
use std::process::Stdio;
use std::time::Duration;

use kube::config::{ExecConfig, ExecInteractiveMode};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;

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
    api_version: Option<String>,
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

/// Runs the plugin once.
pub async fn run(exec: &ExecConfig) -> Result<Answer, String> {
    let Some(program) = exec.command.as_deref().filter(|command| !command.is_empty()) else {
        return Err("the user's exec plugin has no command".to_owned());
    };
    let named = |what: String| format!("the exec plugin {program:?} {what}");
    if program.contains('\0') {
        return Err(named("has no name that a program can have".to_owned()));
    }
    let is_interactive = match exec.interactive_mode {
        Some(ExecInteractiveMode::Never) => false,
        Some(ExecInteractiveMode::Always) if !std::io::stdin().is_terminal() => {
            return Err(named("wants a terminal, and there is none".to_owned()));
        }
        _ => std::io::stdin().is_terminal(),
    };
    let mut spec = json!({"interactive": is_interactive});
    if exec.provide_cluster_info {
        spec["cluster"] = serde_json::to_value(&exec.cluster).map_err(|error| named(error.to_string()))?;
    }
    let info = json!({"kind": "ExecCredential", "apiVersion": exec.api_version, "spec": spec});
    let mut command = Command::new(program);
    command.args(exec.args.iter().flatten()).env("KUBERNETES_EXEC_INFO", info.to_string());
    for variable in exec.env.iter().flatten() {
        if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value"))
            && is_variable(name)
        {
            command.env(name, value);
        }
    }
    command.stdin(if is_interactive { Stdio::inherit() } else { Stdio::null() });
    // Whoever is to log in must see what the plugin asks for.
    command.stderr(if is_interactive { Stdio::inherit() } else { Stdio::piped() });
    command.stdout(Stdio::piped()).kill_on_drop(true);

    let mut child = command.spawn().map_err(|error| {
        let hint = exec.install_hint.as_deref().map_or(String::new(), |hint| format!("; {}", hint.trim()));
        named(format!("cannot be run: {error}{hint}"))
    })?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ended = async { tokio::join!(read(stdout), read(stderr), child.wait()) };
    let Ok((output, complaint, status)) = timeout(TIMEOUT, ended).await else {
        return Err(named(format!("did not end within {} s", TIMEOUT.as_secs())));
    };
    let status = status.map_err(|error| named(format!("was lost: {error}")))?;
    if !status.success() {
        let complaint = String::from_utf8_lossy(&complaint);
        let complaint =
            crate::outside_text::one_line_within(complaint.trim(), COMPLAINT_BYTES_MAX).into_owned();
        let complaint = if complaint.is_empty() { complaint } else { format!(": {complaint}") };
        return Err(named(format!("failed with {status}{complaint}")));
    }
    answer(exec, &output).map_err(named)
}

fn answer(exec: &ExecConfig, output: &[u8]) -> Result<Answer, String> {
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
    if let (Some(wanted), Some(found)) = (&exec.api_version, &credential.api_version)
        && wanted != found
    {
        return Err(format!("printed an ExecCredential of another version than {wanted:?}"));
    }
    let Status { token, client_certificate_data, client_key_data, expiration_timestamp } =
        credential.status.ok_or("printed an ExecCredential without a status")?;
    let token = token.filter(|token| !token.is_empty());
    let certificate = client_certificate_data.filter(|pem| !pem.is_empty()).zip(client_key_data);
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
