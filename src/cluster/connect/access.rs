//! What a connection is made of, whoever wrote it: a context of a kubeconfig, or a pod's service account.

use std::path::PathBuf;

use secrecy::SecretString;

use super::kubeconfig::Exec;
use super::proxy::Proxy;
use super::server::Server;

/// A cluster, and who we are to it. What is in it has been read as far as that needs no network, but for
/// tokens in files and what plugins give.
#[derive(Clone, Debug)]
pub struct Access {
    pub server: Server,
    /// Of the context, or of the pod.
    pub namespace: String,
    pub tls: TlsSettings,
    pub login: Login,
    pub impersonation: Impersonation,
    /// The cluster's own, which goes before those of the environment.
    pub proxy: Option<Proxy>,
    pub disable_compression: bool,
}

/// How both ends of a TLS connection prove who they are.
#[derive(Clone, Debug, Default)]
pub struct TlsSettings {
    pub trust: Trust,
    /// The name that the server's certificate must have, where it is not the one of its address.
    pub server_name: Option<String>,
    pub certificate: Option<ClientCertificate>,
}

/// Whose certificates are believed.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// The machine's own authorities.
    #[default]
    System,
    Authorities(Pem),
    /// Anybody's: `insecure-skip-tls-verify`.
    Anybody,
}

#[derive(Clone, Debug)]
pub struct ClientCertificate {
    pub certificate: Pem,
    pub key: Pem,
}

/// A text in PEM.
#[derive(Clone, Debug)]
pub enum Pem {
    /// Read again when it changes.
    File(PathBuf),
    /// With the words for where it is from.
    Text { from: String, text: SecretString },
}

impl Pem {
    /// Where it is from, for messages.
    pub fn origin(&self) -> String {
        match self {
            Pem::File(file) => file.display().to_string(),
            Pem::Text { from, .. } => from.clone(),
        }
    }
}

/// What proves our identity beside a certificate.
#[derive(Clone, Debug)]
pub enum Login {
    /// Nothing beside it.
    Nothing,
    Basic {
        user: String,
        password: SecretString,
    },
    /// With the words for where it is from.
    Token {
        from: String,
        token: SecretString,
    },
    /// A file that is read again, and what is used while it cannot be read.
    TokenFile {
        file: PathBuf,
        otherwise: Option<SecretString>,
    },
    Plugin(Box<Plugin>),
}

/// A credential plugin with what it is told.
#[derive(Clone, Debug)]
pub struct Plugin {
    pub exec: Exec,
    /// `spec.cluster` of its input, where it wants that.
    pub cluster: Option<serde_json::Value>,
}

/// Whom we act as.
#[derive(Clone, Debug, Default)]
pub struct Impersonation {
    pub user: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: Vec<(String, String)>,
}
