//! What a certificate says of itself. Pure. It proves nothing: that is for rustls.

use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{SectionKind, from_buf};
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::oid::db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_SERVER_AUTH};
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::ExtendedKeyUsage;
use x509_cert::spki::{SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};

/// RFC 5480 and RFC 8410.
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const CURVES: [(ObjectIdentifier, &str); 4] = [
    (ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"), "P-256"),
    (ObjectIdentifier::new_unwrap("1.3.132.0.33"), "P-224"),
    (ObjectIdentifier::new_unwrap("1.3.132.0.34"), "P-384"),
    (ObjectIdentifier::new_unwrap("1.3.132.0.35"), "P-521"),
];

/// A certificate that could be read.
pub struct Facts(Certificate);

impl Facts {
    pub fn of(der: &[u8]) -> Option<Facts> {
        Certificate::from_der(der).ok().map(Facts)
    }

    /// Both since 1970.
    pub fn validity(&self) -> (Duration, Duration) {
        let validity = self.0.tbs_certificate().validity();
        (validity.not_before.to_unix_duration(), validity.not_after.to_unix_duration())
    }

    /// Where nothing is said of its use, it may be used for all.
    pub fn is_for_servers(&self) -> bool {
        match self.0.tbs_certificate().get_extension::<ExtendedKeyUsage>() {
            Ok(Some((_, usage))) => {
                usage.0.iter().any(|use_| [ID_KP_SERVER_AUTH, ANY_EXTENDED_KEY_USAGE].contains(use_))
            }
            Ok(None) => true,
            Err(_) => false,
        }
    }

    pub fn key(&self) -> &SubjectPublicKeyInfoOwned {
        self.0.tbs_certificate().subject_public_key_info()
    }

    /// The algorithm of its key as DER without the sequence around it, as rustls names algorithms, and the key.
    pub fn raw_key(&self) -> Option<(Vec<u8>, &[u8])> {
        let mut algorithm = self.key().algorithm.oid.to_der().ok()?;
        if let Some(parameters) = &self.key().algorithm.parameters {
            algorithm.extend(parameters.to_der().ok()?);
        }
        Some((algorithm, self.key().subject_public_key.raw_bytes()))
    }

    /// Whether this public key, in DER, is its own.
    pub fn has_key(&self, key: &[u8]) -> bool {
        SubjectPublicKeyInfoRef::from_der(key)
            .is_ok_and(|key| key.subject_public_key.raw_bytes() == self.key().subject_public_key.raw_bytes())
    }

    /// `RSA of 1024 bits`, `EC P-521`.
    pub fn key_kind(&self) -> String {
        let algorithm = &self.key().algorithm;
        let bytes = self.key().subject_public_key.raw_bytes();
        match algorithm.oid {
            RSA => match rsa_bits(bytes) {
                Some(bits) => format!("RSA of {bits} bits"),
                None => "RSA".to_owned(),
            },
            EC => {
                let curve = algorithm.parameters.as_ref().and_then(|curve| curve.decode_as().ok());
                let named = CURVES.iter().find(|(oid, _)| Some(*oid) == curve);
                match (named, curve) {
                    (Some((_, name)), _) => format!("EC {name}"),
                    (None, Some(oid)) => format!("EC of curve {oid}"),
                    (None, None) => "EC without a named curve".to_owned(),
                }
            }
            oid => format!("of the algorithm {oid}"),
        }
    }
}

/// The length of the modulus, which is the first number of the key's sequence.
fn rsa_bits(key: &[u8]) -> Option<usize> {
    let numbers: Vec<x509_cert::der::asn1::Int> = Vec::from_der(key).ok()?;
    let modulus = numbers.first()?.as_bytes();
    let modulus = &modulus[modulus.iter().position(|byte| *byte != 0)?..];
    Some(modulus.len() * 8 - modulus.first()?.leading_zeros() as usize)
}

/// All certificates of a text, the damaged included.
pub fn in_pem(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    Ok(sections(text)?
        .into_iter()
        .filter(|(kind, _)| *kind == SectionKind::Certificate)
        .map(|(_, der)| der.into())
        .collect())
}

/// The sections of a text whose kinds are known; others are passed over.
pub fn sections(text: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>, String> {
    let mut rest = text;
    let mut sections = Vec::new();
    loop {
        match from_buf(&mut rest) {
            Ok(Some(section)) => sections.push(section),
            Ok(None) => return Ok(sections),
            Err(_) => return Err("is no valid PEM".to_owned()),
        }
    }
}
