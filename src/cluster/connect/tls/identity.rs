//! The certificate that says who we are, with its key.
//!
//! Two files are read again for each new connection, as what renews them does not restart us; what a plugin
//! gives is replaced when the plugin is asked again. May read files.
#![expect(clippy::disallowed_methods, reason = "certificates and keys are files")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::SectionKind;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use rustls::sign::CertifiedKey;
use secrecy::ExposeSecret;

use super::certificate::{Facts, in_pem, sections};
use crate::cluster::connect::access::{ClientCertificate, Pem};

/// What a key that the library does not know is told to become.
const SUPPORTED: &str = "supported are EC P-256 and P-384, Ed25519, and RSA of 2048 to 4096 bits";

/// Who we are in TLS, if anybody. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Identity(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    current: RwLock<Option<Arc<CertifiedKey>>>,
    /// Certificate and key.
    files: Option<(PathBuf, PathBuf)>,
    generation: AtomicU64,
}

impl Identity {
    /// The error is whole, and names the file or field.
    pub fn new(certificate: Option<&ClientCertificate>) -> Result<Identity, String> {
        let Some(ClientCertificate { certificate, key }) = certificate else {
            return Ok(Identity::default());
        };
        let files = match (certificate, key) {
            (Pem::File(certificate), Pem::File(key)) => Some((certificate.clone(), key.clone())),
            _ => None,
        };
        let current = certified_key(certificate, key)?;
        Ok(Identity(Arc::new(Shared { current: RwLock::new(Some(current)), files, ..Shared::default() })))
    }

    /// From now on this is what we show.
    pub fn replace(&self, certificate: Option<&ClientCertificate>) -> Result<(), String> {
        let new = certificate.map(|new| certified_key(&new.certificate, &new.key)).transpose()?;
        let mut current = self.0.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().map(|key| &key.cert) != new.as_ref().map(|key| &key.cert) {
            self.0.generation.fetch_add(1, Ordering::Relaxed);
        }
        *current = new;
        Ok(())
    }

    /// Changes with the certificate: a connection that was made before is one of somebody else.
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Relaxed)
    }

    pub fn is_anybody(&self) -> bool {
        self.current().is_some()
    }

    fn current(&self) -> Option<Arc<CertifiedKey>> {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        if let Some((certificate, key)) = &self.0.files {
            // Files that are replaced one after the other do not fit together for a moment.
            let read = certified_key(&Pem::File(certificate.clone()), &Pem::File(key.clone()));
            if let Ok(read) = read {
                *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = Some(read);
            }
        }
        self.current()
    }

    fn has_certs(&self) -> bool {
        // A plugin's comes later.
        true
    }
}

fn certified_key(certificate: &Pem, key: &Pem) -> Result<Arc<CertifiedKey>, String> {
    let chain =
        in_pem(&text_of(certificate)?).map_err(|error| format!("{} {error}", certificate.origin()))?;
    let Some(first) = chain.first() else {
        return Err(format!("{} has no certificate in PEM", certificate.origin()));
    };
    let facts = Facts::of(first);
    let private = private_key(&text_of(key)?).map_err(|error| format!("{} {error}", key.origin()))?;
    let signing = super::provider().key_provider.load_private_key(private).map_err(|_| {
        let kind = facts.as_ref().map_or_else(|| "of an unknown kind".to_owned(), Facts::key_kind);
        let hint = "have a certificate of one of those issued, or log in with a token";
        format!("{} has a key that is damaged or not supported ({kind}); {SUPPORTED}; {hint}", key.origin())
    })?;
    if let (Some(facts), Some(public)) = (&facts, signing.public_key())
        && !facts.has_key(public.as_ref())
    {
        let (key, certificate) = (key.origin(), certificate.origin());
        return Err(format!("the key in {key} is not that of the certificate in {certificate}"));
    }
    Ok(Arc::new(CertifiedKey::new(chain, signing)))
}

fn text_of(pem: &Pem) -> Result<Vec<u8>, String> {
    match pem {
        Pem::File(file) => {
            std::fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))
        }
        Pem::Text { text, .. } => Ok(text.expose_secret().as_bytes().to_vec()),
    }
}

/// The first key of a text: PKCS #1, PKCS #8 or SEC1.
fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let has = |words: &str| text.windows(words.len()).any(|window| window == words.as_bytes());
    if has("BEGIN ENCRYPTED PRIVATE KEY") || has("Proc-Type: 4,ENCRYPTED") {
        let hint = "decrypt it with `openssl pkey`, as kubectl wants it too";
        return Err(format!("has an encrypted key, for which nobody could be asked; {hint}"));
    }
    let key = sections(text)?.into_iter().find_map(|(kind, der)| match kind {
        SectionKind::PrivateKey => Some(PrivatePkcs8KeyDer::from(der).into()),
        SectionKind::RsaPrivateKey => Some(PrivatePkcs1KeyDer::from(der).into()),
        SectionKind::EcPrivateKey => Some(PrivateSec1KeyDer::from(der).into()),
        _ => None,
    });
    key.ok_or_else(|| "has no private key in PEM".to_owned())
}
