//! TLS as kubectl has it, as far as the crypto library goes: what that cannot do is said in one line.
//!
//! rustls alone is stricter than Go. It takes no client certificate of X.509 version 1, no server's that is
//! trusted itself, and no bundle of authorities with one bad certificate in it.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;

pub use identity::Identity;
pub use words::words;

use super::access::TlsSettings;

mod certificate;
mod identity;
pub mod roots;
mod words;

/// A side of TLS connections: ours.
#[derive(Clone, Debug)]
pub struct Tls {
    pub config: Arc<ClientConfig>,
    /// The name that every other end must have; else that of its address.
    pub server_name: Option<ServerName<'static>>,
}

/// The error is whole.
pub fn client(settings: &TlsSettings, identity: &Identity) -> Result<Tls, String> {
    let provider = provider();
    let verifier = roots::verifier(&settings.trust, &provider)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("there is no TLS: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(identity.clone()));
    // A session that is resumed is that of the certificate it was begun with, which may have been renewed.
    config.resumption = Resumption::disabled();
    let server_name = settings.server_name.as_deref().map(|name| {
        server_name(name)
            .ok_or_else(|| format!("`tls-server-name` {name:?} is no name that a server can have"))
    });
    Ok(Tls { config: Arc::new(config), server_name: server_name.transpose()? })
}

/// The name of a host of a URL, where an address of IPv6 stands in brackets.
pub fn server_name(host: &str) -> Option<ServerName<'static>> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // Go leaves the dots of an absolute name away as well.
    ServerName::try_from(host.trim_end_matches('.').to_owned()).ok()
}

fn provider() -> Arc<CryptoProvider> {
    match CryptoProvider::get_default() {
        Some(provider) => provider.clone(),
        None => Arc::new(rustls::crypto::ring::default_provider()),
    }
}
