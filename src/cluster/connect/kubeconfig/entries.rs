//! The entries of a kubeconfig as written: `k8s.io/client-go/tools/clientcmd/api/v1`. Unknown keys are
//! passed over, and `null` is what is not there.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct File {
    #[serde(deserialize_with = "or_default")]
    pub kind: String,
    #[serde(rename = "apiVersion", deserialize_with = "or_default")]
    pub api_version: String,
    #[serde(rename = "current-context", deserialize_with = "or_default")]
    pub current_context: String,
    #[serde(deserialize_with = "or_default")]
    pub clusters: Vec<NamedCluster>,
    #[serde(deserialize_with = "or_default")]
    pub users: Vec<NamedUser>,
    #[serde(deserialize_with = "or_default")]
    pub contexts: Vec<NamedContext>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct NamedCluster {
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub cluster: Cluster,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct NamedUser {
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub user: User,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct NamedContext {
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub context: Context,
}

/// Everywhere an empty text is one that is not set.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Cluster {
    #[serde(deserialize_with = "or_default")]
    pub server: String,
    #[serde(deserialize_with = "or_default")]
    pub tls_server_name: String,
    #[serde(deserialize_with = "or_default")]
    pub insecure_skip_tls_verify: bool,
    #[serde(deserialize_with = "or_default")]
    pub certificate_authority: String,
    #[serde(deserialize_with = "or_default")]
    pub certificate_authority_data: String,
    #[serde(deserialize_with = "or_default")]
    pub proxy_url: String,
    #[serde(deserialize_with = "or_default")]
    pub disable_compression: bool,
    #[serde(deserialize_with = "or_default")]
    pub extensions: Vec<Extension>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Extension {
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    pub extension: Value,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct User {
    #[serde(deserialize_with = "or_default")]
    pub client_certificate: String,
    #[serde(deserialize_with = "or_default")]
    pub client_certificate_data: String,
    #[serde(deserialize_with = "or_default")]
    pub client_key: String,
    #[serde(deserialize_with = "secret")]
    pub client_key_data: SecretString,
    #[serde(deserialize_with = "secret")]
    pub token: SecretString,
    #[serde(rename = "tokenFile", deserialize_with = "or_default")]
    pub token_file: String,
    #[serde(rename = "as", deserialize_with = "or_default")]
    pub impersonate: String,
    #[serde(rename = "as-uid", deserialize_with = "or_default")]
    pub impersonate_uid: String,
    #[serde(rename = "as-groups", deserialize_with = "or_default")]
    pub impersonate_groups: Vec<String>,
    #[serde(rename = "as-user-extra", deserialize_with = "or_default")]
    pub impersonate_extra: BTreeMap<String, Option<Vec<String>>>,
    #[serde(deserialize_with = "or_default")]
    pub username: String,
    #[serde(deserialize_with = "secret")]
    pub password: SecretString,
    pub auth_provider: Option<AuthProvider>,
    pub exec: Option<Exec>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Context {
    #[serde(deserialize_with = "or_default")]
    pub cluster: String,
    #[serde(deserialize_with = "or_default")]
    pub user: String,
    #[serde(deserialize_with = "or_default")]
    pub namespace: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AuthProvider {
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub config: BTreeMap<String, SecretString>,
}

/// A credential plugin.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Exec {
    #[serde(deserialize_with = "or_default")]
    pub command: String,
    #[serde(deserialize_with = "or_default")]
    pub args: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<ExecEnv>,
    #[serde(deserialize_with = "or_default")]
    pub api_version: String,
    #[serde(deserialize_with = "or_default")]
    pub install_hint: String,
    #[serde(deserialize_with = "or_default")]
    pub provide_cluster_info: bool,
    #[serde(deserialize_with = "or_default")]
    pub interactive_mode: InteractiveMode,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ExecEnv {
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    #[serde(deserialize_with = "secret")]
    pub value: SecretString,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub enum InteractiveMode {
    #[default]
    #[serde(rename = "")]
    Unset,
    Never,
    IfAvailable,
    Always,
    #[serde(untagged)]
    Unknown(String),
}

fn or_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<SecretString, D::Error> {
    Option::<String>::deserialize(from).map(|text| text.unwrap_or_default().into())
}
