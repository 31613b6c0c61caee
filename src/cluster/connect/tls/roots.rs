//! Whom we believe to be the API server.
//!
//! A bundle in a file is read again for new connections, as that of a pod rotates (client-go's
//! `ClientsAllowCARotation`). May read files.
#![expect(clippy::disallowed_methods, reason = "bundles are files, which are read again by the clock")]

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, RootCertStore, SignatureScheme,
};
use secrecy::ExposeSecret;

use super::certificate::{Facts, in_pem};
use crate::cluster::connect::access::{Pem, Trust};

/// How old a bundle may be: as kube and client-go have it for tokens.
const FRESH_FOR: Duration = Duration::from_secs(60);

/// What checks a server's certificate. The error is whole.
pub fn verifier(
    trust: &Trust,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let algorithms = provider.signature_verification_algorithms;
    Ok(match trust {
        Trust::Anybody => Arc::new(Anybody(algorithms)),
        Trust::System => {
            let found = rustls_native_certs::load_native_certs();
            let authorities = Authorities::new(found.certs, provider).ok_or(
                "the system has no certificate authorities, and the cluster names no `certificate-authority`",
            )?;
            Arc::new(Bundle {
                file: None,
                provider: provider.clone(),
                read: RwLock::new((authorities, Instant::now())),
            })
        }
        Trust::Authorities(pem) => {
            let origin = pem.origin();
            let (file, text) = match pem {
                Pem::File(file) => {
                    let text =
                        std::fs::read(file).map_err(|error| format!("cannot read {origin}: {error}"))?;
                    (Some(file.clone()), text)
                }
                Pem::Text { text, .. } => (None, text.expose_secret().as_bytes().to_vec()),
            };
            let certificates = certificates(&text).map_err(|error| format!("{origin} {error}"))?;
            let authorities = Authorities::new(certificates, provider)
                .ok_or_else(|| format!("{origin} has no certificate that can be read"))?;
            Arc::new(Bundle {
                file,
                provider: provider.clone(),
                read: RwLock::new((authorities, Instant::now())),
            })
        }
    })
}

/// Whether a file holds authorities.
pub fn check(file: &Path) -> Result<(), String> {
    let text = std::fs::read(file).map_err(|error| error.to_string())?;
    certificates(&text).map(|_| ())
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = in_pem(text)?;
    match certificates.is_empty() {
        true => Err("has no certificate in PEM".to_owned()),
        false => Ok(certificates),
    }
}

/// Those who vouch for servers.
#[derive(Debug)]
struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    webpki: Arc<WebPkiServerVerifier>,
}

impl Authorities {
    /// `None` where there is none at all: one that cannot be read is passed over, as Go does.
    fn new(
        certificates: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Option<Authorities> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(certificates.iter().cloned());
        let webpki =
            WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone()).build().ok()?;
        Some(Authorities { certificates, webpki })
    }
}

/// Authorities, perhaps of a file that changes.
#[derive(Debug)]
struct Bundle {
    file: Option<std::path::PathBuf>,
    provider: Arc<CryptoProvider>,
    read: RwLock<(Authorities, Instant)>,
}

impl Bundle {
    fn refresh(&self) {
        let Some(file) = &self.file else { return };
        if self.read.read().unwrap_or_else(PoisonError::into_inner).1.elapsed() < FRESH_FOR {
            return;
        }
        let mut read = self.read.write().unwrap_or_else(PoisonError::into_inner);
        // A file that is gone or torn does not take away what was in it.
        let fresh = std::fs::read(file).ok().and_then(|text| certificates(&text).ok());
        if let Some(authorities) = fresh.and_then(|fresh| Authorities::new(fresh, &self.provider)) {
            read.0 = authorities;
        }
        read.1 = Instant::now();
    }
}

impl ServerCertVerifier for Bundle {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.refresh();
        let (Authorities { certificates, webpki }, _) =
            &*self.read.read().unwrap_or_else(PoisonError::into_inner);
        let verified = webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(_) if certificates.contains(end_entity) => trusted_itself(end_entity, server_name, now),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A server's certificate that is one of those we believe, and so needs nobody to vouch for it: in Go
/// (`x509.Certificate.Verify`) it still has its dates, its names and its use.
fn trusted_itself(
    certificate: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let facts = Facts::of(certificate).ok_or(CertificateError::BadEncoding)?;
    let (not_before, not_after) = facts.validity();
    let now = Duration::from_secs(now.as_secs());
    if now > not_after {
        return Err(CertificateError::ExpiredContext {
            time: UnixTime::since_unix_epoch(now),
            not_after: UnixTime::since_unix_epoch(not_after),
        }
        .into());
    }
    if now < not_before {
        return Err(CertificateError::NotValidYetContext {
            time: UnixTime::since_unix_epoch(now),
            not_before: UnixTime::since_unix_epoch(not_before),
        }
        .into());
    }
    if !facts.is_for_servers() {
        return Err(CertificateError::InvalidPurpose.into());
    }
    rustls::client::verify_server_name(&ParsedCertificate::try_from(certificate)?, server_name)?;
    Ok(ServerCertVerified::assertion())
}

/// Whether the server has the key of its certificate. Without webpki, which reads no certificate of X.509
/// version 1.
fn verify_signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let bad = || Error::from(CertificateError::BadSignature);
    let facts = Facts::of(certificate).ok_or(CertificateError::BadEncoding)?;
    let (algorithm, key) = facts.raw_key().ok_or(CertificateError::BadEncoding)?;
    let (_, candidates) = algorithms
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == signed.scheme)
        .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    let is_valid = candidates.iter().any(|candidate| {
        candidate.public_key_alg_id().as_ref() == algorithm
            && candidate.verify_signature(key, message, signed.signature()).is_ok()
    });
    is_valid.then(HandshakeSignatureValid::assertion).ok_or_else(bad)
}

/// For `insecure-skip-tls-verify`: whoever has the key of the certificate that it shows.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
