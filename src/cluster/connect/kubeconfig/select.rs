//! One context of a kubeconfig, and what it comes to.
//!
//! What client-go refuses is refused (`clientcmd.ConfirmUsable` and what reads after it), by the name of the
//! entry, its file and its field. What we refuse beyond that is said where it is done.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::entries::{AuthProvider, Cluster, Context, Exec, InteractiveMode, User};
use super::{Kubeconfig, KubeconfigError, Named};
use crate::cluster::connect::access::{
    Access, ClientCertificate, Impersonation, Login, Pem, Plugin, TlsSettings, Trust,
};
use crate::cluster::connect::oidc;
use crate::cluster::connect::proxy::Proxy;
use crate::cluster::connect::server::Server;

/// What of many contexts is named in an error.
const NAMES_MAX: usize = 20;
/// The extension of a cluster that is for its plugin: `k8s.io/client-go/tools/clientcmd/client_config.go`.
const PLUGIN_EXTENSION: &str = "client.authentication.k8s.io/exec";
const PLUGIN_VERSIONS: [&str; 2] =
    ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/// As Go reads it: line breaks are passed over, and what a last digit holds too much.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// The chosen context with its cluster and user.
#[derive(Debug)]
pub struct Selected<'a> {
    context: &'a Named<Context>,
    cluster: &'a Named<Cluster>,
    /// One that the context does not name, or that is not there, is nobody: kubectl goes on.
    user: Option<&'a Named<User>>,
}

impl Kubeconfig {
    /// The context of this name, else the current one.
    ///
    /// kubectl goes on without one, to `http://localhost:8080`; we do not, as whatever listens there was not
    /// asked for.
    pub fn select(&self, context: Option<&str>) -> Result<Selected<'_>, KubeconfigError> {
        let no_cluster = |why: String| Err(KubeconfigError::NoCluster(why));
        let named = context.filter(|name| !name.is_empty()).unwrap_or(&self.current_context);
        let files = self.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
        if named.is_empty() {
            return no_cluster(format!("there is no `current-context` in {files}"));
        }
        let Some(context) = self.contexts.get(named) else {
            let names: Vec<&str> = self.contexts.keys().map(String::as_str).take(NAMES_MAX).collect();
            let known = match names.is_empty() {
                true => "there is none".to_owned(),
                false => format!("there are {}", names.join(", ")),
            };
            return no_cluster(format!("there is no context {named:?} in {files}; {known}"));
        };
        let Some(cluster) = self.clusters.get(&context.entry.cluster) else {
            let place = format!("the context {named:?} in {}", context.file.display());
            return no_cluster(match context.entry.cluster.as_str() {
                "" => format!("{place} names no `cluster`"),
                cluster => format!("{place} names the cluster {cluster:?}, which is not there"),
            });
        };
        let user = self.users.get(&context.entry.user);
        if user.is_none() && !context.entry.user.is_empty() {
            let user = crate::outside_text::one_line(&context.entry.user);
            tracing::warn!("the context names the user {user:?}, who is not in {files}: going on as nobody");
        }
        Ok(Selected { context, cluster, user })
    }
}

impl Selected<'_> {
    /// The context's, else `default`.
    pub fn namespace(&self) -> Result<String, KubeconfigError> {
        let Named { name, file, entry } = self.context;
        match entry.namespace.trim() {
            "" => Ok("default".to_owned()),
            namespace if crate::cluster::connect::is_namespace(namespace) => Ok(namespace.to_owned()),
            namespace => {
                let what =
                    format!("`namespace` of the context {name:?} is {namespace:?}, which none can be called");
                Err(KubeconfigError::Wrong { file: file.clone(), what })
            }
        }
    }

    /// All that a connection is made of.
    pub fn access(&self) -> Result<Access, KubeconfigError> {
        let of_cluster = |what: String| KubeconfigError::Wrong {
            file: self.cluster.file.clone(),
            what: format!("the cluster {:?}: {what}", self.cluster.name),
        };
        let cluster = &self.cluster.entry;
        let folder = folder_of(&self.cluster.file);
        let server =
            Server::parse(&cluster.server).map_err(|error| of_cluster(format!("`server` {error}")))?;
        let proxy = match cluster.proxy_url.as_str() {
            "" => None,
            url => {
                let from = format!("`proxy-url` of the cluster {:?}", self.cluster.name);
                let proxy = Proxy::of_cluster(url, from);
                Some(proxy.map_err(|error| of_cluster(format!("`proxy-url` {error}")))?)
            }
        };
        let trust = trust(self.cluster, &folder, server.has_tls()).map_err(of_cluster)?;
        let server_name = Some(cluster.tls_server_name.clone()).filter(|name| !name.is_empty());

        let (certificate, login, impersonation) = match self.user {
            None => (None, Login::Nothing, Impersonation::default()),
            Some(user) => {
                let of_user = |what: String| KubeconfigError::Wrong {
                    file: user.file.clone(),
                    what: format!("the user {:?}: {what}", user.name),
                };
                let certificate = certificate(user).map_err(of_user)?;
                let login = login(user, certificate.is_some(), self.cluster, &server).map_err(of_user)?;
                let impersonation = impersonation(&user.entry).map_err(of_user)?;
                (certificate, login, impersonation)
            }
        };
        // client-go shows who we are to nobody over plain HTTP, but for whom we act as.
        let (certificate, login) = match server.has_tls() {
            true => (certificate, login),
            false => (None, Login::Nothing),
        };
        Ok(Access {
            server,
            namespace: self.namespace()?,
            tls: TlsSettings { trust, server_name, certificate },
            login,
            impersonation,
            proxy,
            disable_compression: cluster.disable_compression,
        })
    }
}

/// What a kubeconfig names, beside it; without the `.` that it may be written with.
fn beside(folder: &Path, name: &str) -> PathBuf {
    folder.join(name).components().collect()
}

/// Paths in a kubeconfig are relative to it.
fn folder_of(file: &Path) -> PathBuf {
    let folder = file.parent().unwrap_or(Path::new(""));
    // Where there is no current folder, as it was removed, nothing relative is found either.
    std::path::absolute(folder).unwrap_or(folder.to_owned())
}

fn trust(named: &Named<Cluster>, folder: &Path, has_tls: bool) -> Result<Trust, String> {
    let Named { name, file, entry: cluster } = named;
    let (path, data) = (&cluster.certificate_authority, &cluster.certificate_authority_data);
    let from = format!("`certificate-authority-data` of the cluster {name:?} in {}", file.display());
    let authorities = pem(folder, ("certificate-authority", path), data, from)?;
    match authorities {
        _ if !has_tls => Ok(Trust::System),
        Some(_) if cluster.insecure_skip_tls_verify => {
            Err("`insecure-skip-tls-verify` and a `certificate-authority` exclude each other; remove one"
                .to_owned())
        }
        None if cluster.insecure_skip_tls_verify => Ok(Trust::Anybody),
        Some(pem) => Ok(Trust::Authorities(pem)),
        None => Ok(Trust::System),
    }
}

/// A file, or the data that a key of the same name with `-data` holds.
fn pem(folder: &Path, (key, path): (&str, &str), data: &str, from: String) -> Result<Option<Pem>, String> {
    match (path, data) {
        ("", "") => Ok(None),
        (path, "") => {
            let path = beside(folder, path);
            check_file(&path).map_err(|error| format!("`{key}` {}: {error}", path.display()))?;
            Ok(Some(Pem::File(path)))
        }
        ("", data) => {
            let text = decoded(data).map_err(|why| format!("`{key}-data` is no {why}"))?;
            Ok(Some(Pem::Text { from, text }))
        }
        (_, _) => Err(format!("`{key}` and `{key}-data` exclude each other; remove one")),
    }
}

fn decoded(data: &str) -> Result<SecretString, &'static str> {
    let data: String = data.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let bytes = BASE64.decode(data).map_err(|_| "valid base64")?;
    String::from_utf8(bytes).map(SecretString::from).map_err(|_| "text in base64: PEM is text")
}

/// Whether somebody may read it, and to its end.
pub fn check_file(path: &Path) -> std::io::Result<()> {
    let input = crate::config_source::input::open(path)?;
    drop(input);
    match std::fs::metadata(path)?.is_file() {
        true => Ok(()),
        false => Err(std::io::Error::other("no regular file")),
    }
}

fn certificate(named: &Named<User>) -> Result<Option<ClientCertificate>, String> {
    let Named { name, file, entry: user } = named;
    let folder = folder_of(file);
    let from = |key: &str| format!("`{key}` of the user {name:?} in {}", file.display());
    let certificate = pem(
        &folder,
        ("client-certificate", &user.client_certificate),
        &user.client_certificate_data,
        from("client-certificate-data"),
    )?;
    // A key alone is nothing to client-go.
    let Some(certificate) = certificate else { return Ok(None) };
    let key = pem(
        &folder,
        ("client-key", &user.client_key),
        user.client_key_data.expose_secret(),
        from("client-key-data"),
    )?;
    match key {
        Some(key) => Ok(Some(ClientCertificate { certificate, key })),
        None => {
            Err("there is a `client-certificate`, and neither `client-key` nor `client-key-data`".to_owned())
        }
    }
}

/// Who logs in how, where several ways are named: as client-go, and what it takes for a contradiction is one.
fn login(
    named: &Named<User>,
    has_certificate: bool,
    cluster: &Named<Cluster>,
    server: &Server,
) -> Result<Login, String> {
    let Named { name, file, entry: user } = named;
    let token = Some(user.token.clone()).filter(|token| !token.expose_secret().is_empty());
    let has_basic = !user.username.is_empty() || !user.password.expose_secret().is_empty();
    let plugin = user.exec.as_ref().map(|exec| plugin(exec, file)).transpose()?;
    if plugin.is_some() && user.auth_provider.is_some() {
        return Err("`exec` and `auth-provider` exclude each other; remove one".to_owned());
    }
    if has_basic && token.is_some() {
        return Err("`token` and `username` exclude each other; remove one".to_owned());
    }
    // Nothing of this is read where it is not sent.
    if !server.has_tls() {
        return Ok(Login::Nothing);
    }
    if !user.token_file.is_empty() {
        if !user.username.is_empty() {
            return Err("`tokenFile` and `username` exclude each other; remove one".to_owned());
        }
        let file = beside(&folder_of(file), &user.token_file);
        return Ok(Login::TokenFile { file, otherwise: token });
    }
    if let Some(token) = token {
        return Ok(Login::Token {
            from: format!("`token` of the user {name:?} in {}", file.display()),
            token,
        });
    }
    if !user.username.is_empty() {
        return Ok(Login::Basic { user: user.username.clone(), password: user.password.clone() });
    }
    if let Some(AuthProvider { name: provider, config }) = &user.auth_provider {
        return match provider.as_str() {
            "oidc" => {
                let from = format!("`id-token` of the user {name:?} in {}", file.display());
                Ok(Login::Token { token: oidc::token(config)?, from })
            }
            provider => Err(format!(
                "the auth provider {provider:?} is not supported, as in kubectl since 1.26; use its exec plugin"
            )),
        };
    }
    match plugin {
        Some(exec) if !has_certificate => {
            let cluster = exec.provide_cluster_info.then(|| cluster_info(cluster, server)).transpose()?;
            Ok(Login::Plugin(Box::new(Plugin { exec, cluster })))
        }
        _ => Ok(Login::Nothing),
    }
}

/// The plugin with its command where it is, and every field one that it can have.
fn plugin(exec: &Exec, file: &Path) -> Result<Exec, String> {
    let mut exec = exec.clone();
    if exec.command.is_empty() {
        return Err("`exec` has no `command`".to_owned());
    }
    if !PLUGIN_VERSIONS.contains(&exec.api_version.as_str()) {
        let known = PLUGIN_VERSIONS.join(" or ");
        return Err(match exec.api_version.as_str() {
            "" => format!("`exec` has no `apiVersion`; it is {known}"),
            other => format!("`exec` has the `apiVersion` {other:?}, which is not known; it is {known}"),
        });
    }
    if exec.env.iter().any(|variable| variable.name.is_empty()) {
        return Err("`exec` has a variable in `env` without a `name`".to_owned());
    }
    exec.interactive_mode = match (exec.interactive_mode, exec.api_version.ends_with("/v1")) {
        (InteractiveMode::Unknown(mode), _) => {
            return Err(format!("`interactiveMode` {mode:?} is none of Never, IfAvailable and Always"));
        }
        (InteractiveMode::Unset, true) => {
            return Err("`exec` has no `interactiveMode`: Never, IfAvailable or Always".to_owned());
        }
        (InteractiveMode::Unset, false) => InteractiveMode::IfAvailable,
        (mode, _) => mode,
    };
    // What is no path is looked for where programs are.
    if exec.command.contains('/') {
        let path = beside(&folder_of(file), &exec.command);
        exec.command = path.to_str().ok_or("`exec` has a `command` that is not UTF-8")?.to_owned();
    }
    Ok(exec)
}

/// What a plugin is told of the cluster: `rest.ConfigToExecCluster`.
fn cluster_info(named: &Named<Cluster>, server: &Server) -> Result<serde_json::Value, String> {
    let cluster = &named.entry;
    let authorities =
        match (cluster.certificate_authority.as_str(), cluster.certificate_authority_data.as_str()) {
            ("", "") => None,
            ("", data) => Some(decoded(data).map_err(str::to_owned)?.expose_secret().as_bytes().to_vec()),
            (path, _) => {
                let path = beside(&folder_of(&named.file), path);
                let read = std::fs::read(&path);
                Some(read.map_err(|error| format!("`certificate-authority` {}: {error}", path.display()))?)
            }
        };
    let mut info = json!({"server": cluster.server});
    // Of a server with a path client-go has made a URL, without what does not reach it.
    if server.url.path() != "/" {
        info["server"] = cluster.server.split(['?', '#']).next().unwrap_or_default().into();
    }
    let texts = [("tls-server-name", &cluster.tls_server_name), ("proxy-url", &cluster.proxy_url)];
    for (key, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        info[key] = text.as_str().into();
    }
    let switches = [
        ("insecure-skip-tls-verify", cluster.insecure_skip_tls_verify),
        ("disable-compression", cluster.disable_compression),
    ];
    for (key, _) in switches.into_iter().filter(|(_, is_on)| *is_on) {
        info[key] = true.into();
    }
    if let Some(bytes) = authorities {
        info["certificate-authority-data"] = BASE64.encode(bytes).into();
    }
    let extension = cluster.extensions.iter().find(|extension| extension.name == PLUGIN_EXTENSION);
    info["config"] = extension.map_or(serde_json::Value::Null, |extension| extension.extension.clone());
    Ok(info)
}

fn impersonation(user: &User) -> Result<Impersonation, String> {
    let User { impersonate, impersonate_uid, impersonate_groups, impersonate_extra, .. } = user;
    let has_more =
        !impersonate_uid.is_empty() || !impersonate_groups.is_empty() || !impersonate_extra.is_empty();
    if impersonate.is_empty() && has_more {
        return Err("`as-uid`, `as-groups` and `as-user-extra` need `as`".to_owned());
    }
    let values = |(key, values): (&String, &Option<Vec<String>>)| {
        let pairs: Vec<_> = values.iter().flatten().map(|value| (key.clone(), value.clone())).collect();
        pairs
    };
    Ok(Impersonation {
        user: impersonate.clone(),
        uid: impersonate_uid.clone(),
        groups: impersonate_groups.clone(),
        extra: impersonate_extra.iter().flat_map(values).collect(),
    })
}
