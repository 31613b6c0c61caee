//! What went wrong with TLS, in words that say whose certificate it is about. Pure.

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error};

/// The error goes on from the name of the server.
pub fn words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(why) => format!("the server's certificate {}", of_server(why)),
        Error::AlertReceived(alert) => match of_ours(*alert) {
            Some(why) => format!("the server refuses our client certificate: {why}"),
            None => match alert {
                AlertDescription::HandshakeFailure => {
                    "the server and we have no TLS in common: it may have a certificate with a key that is not \
                     supported here, such as EC P-521"
                        .to_owned()
                }
                AlertDescription::UnrecognisedName => {
                    "the server has no certificate for this name; see `tls-server-name`".to_owned()
                }
                alert => format!("the server ended TLS: {alert:?}"),
            },
        },
        Error::InvalidMessage(_) => {
            "the server does not speak TLS; if it is plain HTTP, write its address with `http://`".to_owned()
        }
        Error::PeerIncompatible(_) => format!("the server and we have no TLS in common: {error}"),
        error => format!("TLS failed: {error}"),
    }
}

fn of_server(why: &CertificateError) -> String {
    match why {
        CertificateError::Expired => "has expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => format!("has expired at {}", time(*not_after)),
        CertificateError::NotValidYet => "is not valid yet; compare the clocks".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("is not valid before {}; compare the clocks", time(*not_before))
        }
        CertificateError::UnknownIssuer => {
            "is signed by an unknown authority; see `certificate-authority` of the cluster".to_owned()
        }
        CertificateError::BadSignature => {
            "is not signed by the authority that it names; see `certificate-authority` of the cluster"
                .to_owned()
        }
        CertificateError::NotValidForName => "is not for this name; see `tls-server-name`".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            match presented.is_empty() {
                true => format!("is not for {expected}, and for no other name"),
                false => format!("is not for {expected}, but for {}", names(presented)),
            }
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not one of a server".to_owned()
        }
        CertificateError::Revoked => "has been revoked".to_owned(),
        why => {
            let why = format!("{why:?}");
            match (why.contains("UnsupportedCertVersion"), why.contains("CaUsedAsEndEntity")) {
                (true, _) => "is of X.509 version 1, which has no names".to_owned(),
                (_, true) => {
                    "is an authority's own; name it itself as `certificate-authority`, or have another issued"
                        .to_owned()
                }
                _ => format!("is not one that can be checked: {why}"),
            }
        }
    }
}

fn names(presented: &[String]) -> String {
    const NAMES_MAX: usize = 10;
    let shown: Vec<String> = presented.iter().take(NAMES_MAX).map(|name| plain_name(name)).collect();
    shown.join(", ")
}

/// webpki writes `DnsName("a")`.
fn plain_name(name: &str) -> String {
    match name.split_once("(\"").and_then(|(_, rest)| rest.strip_suffix("\")")) {
        Some(name) => name.to_owned(),
        None => name.to_owned(),
    }
}

/// Alerts that are about a certificate are about the one that was received.
fn of_ours(alert: AlertDescription) -> Option<&'static str> {
    Some(match alert {
        AlertDescription::CertificateExpired => "it has expired",
        AlertDescription::UnknownCA => "it is signed by an authority unknown to the server",
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            "it wants one, and we have none"
        }
        AlertDescription::CertificateRevoked => "it has been revoked",
        AlertDescription::BadCertificate => "it is bad",
        AlertDescription::UnsupportedCertificate => "it is of a kind that the server does not support",
        AlertDescription::CertificateUnknown => "it is not acceptable",
        AlertDescription::AccessDenied => "access denied",
        AlertDescription::DecryptError => "its signature is wrong",
        _ => return None,
    })
}

fn time(at: UnixTime) -> String {
    let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "a time far away".to_owned(), |at| at.to_string())
}
