//! Our own certificates and keys.

use super::ASKS;
use crate::connecting::row::Ours::{Refuses, Sends};
use crate::connecting::row::{Row, row};
use crate::connecting::world::pem;

pub fn certificates() -> Vec<Row> {
    let pair = |name: &str, certificate: &str, key: &str| {
        row(format!("certificate: {name}"))
            .user(format!("client-certificate: '{{pki}}/{certificate}.pem', client-key: '{{pki}}/{key}.pem'"))
    };
    let user = |name: &str, keys: &str| row(format!("certificate: {name}")).user(keys);
    let unsupported = "the crypto library has no such key, and says so";
    vec![
        pair("EC, PKCS #8", "client", "client.key"),
        pair("EC, SEC1", "client", "client-sec1.key"),
        pair("EC, with the parameters of openssl before it", "client", "client-params.key"),
        pair("EC P-384", "client-p384", "client-p384.key"),
        pair("EC P-521", "client-p521", "client-p521.key").says("EC P-521").differs(unsupported, Refuses),
        pair("RSA, PKCS #8", "client-rsa", "client-rsa.key"),
        pair("RSA, PKCS #1", "client-rsa", "client-rsa1.key"),
        pair("RSA of 1024 bits", "client-rsa1024", "client-rsa1024.key").says("RSA of 1024 bits").differs(unsupported, Refuses),
        pair("Ed25519", "client-ed25519", "client-ed25519.key"),
        pair("X.509 version 1", "client-v1", "client-v1.key"),
        pair("expired", "client-expired", "client-expired.key"),
        pair("both in one file", "client-both", "client-both"),
        pair("CRLF", "client-crlf", "client-crlf.key"),
        pair("encrypted, PKCS #8", "client", "client-encrypted.key").says("encrypted"),
        pair("encrypted, as of old", "client", "client-old-encrypted.key").says("encrypted"),
        pair("the key of another", "client", "client-rsa.key").says("is not that of the certificate"),
        pair("the key of another of the same kind", "client", "client-v1.key").says("is not that of the certificate"),
        pair("a certificate for a key", "client", "client").says("has no private key"),
        pair("a key for a certificate", "client.key", "client.key").says("has no certificate"),
        pair("a key that is not there", "client", "nowhere").says("`client-key`"),
        pair("a certificate that is not there", "nowhere", "client.key").says("`client-certificate`"),
        user("both as data", "client-certificate-data: '{b64 client.pem}', client-key-data: '{b64 client.key.pem}'"),
        user("file and data mixed", "client-certificate: '{pki}/client.pem', client-key-data: '{b64 client.key.pem}'"),
        user("data and file mixed", "client-certificate-data: '{b64 client.pem}', client-key: '{pki}/client.key.pem'"),
        user("file and data of the certificate", "client-certificate: '{pki}/client.pem', client-certificate-data: '{b64 client.pem}', client-key: '{pki}/client.key.pem'")
            .says("exclude each other"),
        user("file and data of the key", "client-certificate: '{pki}/client.pem', client-key: '{pki}/client.key.pem', client-key-data: '{b64 client.key.pem}'")
            .says("exclude each other"),
        user("no key", "client-certificate: '{pki}/client.pem'").says("neither `client-key`"),
        user("a key alone", "client-key: '{pki}/client.key.pem'").differs(ASKS, Sends),
        user("a key alone that is not there", "client-key: nowhere.pem").differs(ASKS, Sends),
        user("all empty", "client-certificate: '', client-certificate-data: '', client-key: '', client-key-data: ''").differs(ASKS, Sends),
        user("data that is no base64", "client-certificate-data: '***', client-key: '{pki}/client.key.pem'").says("base64"),
        user("data with a digit too much in the last place", "client-certificate: '{pki}/client.pem', client-key-data: 'aGVsbG9='").says("client-key-data"),
        user("beside a token", "client-certificate: '{pki}/client.pem', client-key: '{pki}/client.key.pem', token: t0ken"),
        user("beside a name", "client-certificate: '{pki}/client.pem', client-key: '{pki}/client.key.pem', username: u, password: p"),
        user("relative to the kubeconfig", "client-certificate: a/client.pem, client-key: a/client.key.pem")
            .file("a/client.pem", pem("client.pem"))
            .file("a/client.key.pem", pem("client.key.pem")),
        user("to a server without TLS", "client-certificate: '{pki}/client.pem', client-key: '{pki}/client.key.pem'")
            .cluster("server: 'http://127.0.0.1:{port}'"),
        user("of a damaged key, to a server without TLS", "client-certificate: '{pki}/client.pem', client-key: '{pki}/client.pem'")
            .cluster("server: 'http://127.0.0.1:{port}'"),
    ]
}
