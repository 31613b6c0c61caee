//! Servers' certificates, and those who vouch for them.

use super::CA;
use crate::connecting::row::{Row, row};
use crate::connecting::world::pem;

pub fn trust() -> Vec<Row> {
    let of = |certificate: &'static str, says: &'static str| {
        let row = row(format!("trust: {certificate}")).server(certificate);
        if says.is_empty() { row } else { row.says(says) }
    };
    let cluster = |name: &str, keys: &str| {
        row(format!("trust: {name}")).cluster(format!("server: 'https://127.0.0.1:{{port}}', {keys}"))
    };
    vec![
        of("server-other", "unknown authority"),
        of("server-expired", "has expired at 2021-01-01T00:00:00Z"),
        of("server-future", "not valid before 2100"),
        of("server-elsewhere", "not for 127.0.0.1, but for elsewhere.test"),
        of("server-cn", "not for 127.0.0.1, and for no other name"),
        of("server-for-clients", "not one of a server"),
        of("server-v1", "version 1"),
        of("server-p384", ""),
        of("server-rsa", ""),
        of("server-ed25519", ""),
        of("server-chain", ""),
        of("server-between", "unknown authority"),
        cluster("its own authority", "certificate-authority: '{pki}/server-own.pem'").server("server-own"),
        cluster("a certificate that is trusted itself", "certificate-authority: '{pki}/server-leaf.pem'")
            .server("server-leaf"),
        cluster(
            "one that is trusted itself and has expired",
            "certificate-authority: '{pki}/server-expired.pem'",
        )
        .server("server-expired")
        .says("has expired"),
        cluster(
            "one that is trusted itself and is another's",
            "certificate-authority: '{pki}/server-elsewhere.pem'",
        )
        .server("server-elsewhere")
        .says("but for elsewhere.test"),
        cluster(
            "one that is trusted itself, for a name that it has",
            "certificate-authority: '{pki}/server-elsewhere.pem', tls-server-name: elsewhere.test",
        )
        .server("server-elsewhere"),
        cluster("an authority of version 1", "certificate-authority: '{pki}/ca-v1.pem'")
            .server("server-of-v1"),
        cluster("an authority in between alone", "certificate-authority: '{pki}/between.pem'")
            .server("server-between"),
        cluster("data", "certificate-authority-data: '{b64 ca.pem}'"),
        cluster("data with line breaks", "certificate-authority-data: \"{b64 ca.pem}\\n\\r\\n\""),
        row("trust: data over many lines").kubeconfig(folded()),
        cluster("data that is no base64", "certificate-authority-data: '***'")
            .says("`certificate-authority-data` is no valid base64"),
        cluster("data that is no PEM", "certificate-authority-data: 'aGVsbG8K'")
            .says("has no certificate in PEM"),
        cluster(
            "file and data",
            "certificate-authority: '{pki}/ca.pem', certificate-authority-data: '{b64 ca.pem}'",
        )
        .says("exclude each other"),
        cluster(
            "file, and empty data",
            "certificate-authority: '{pki}/ca.pem', certificate-authority-data: ''",
        ),
        cluster(
            "empty file, and data",
            "certificate-authority: '', certificate-authority-data: '{b64 ca.pem}'",
        ),
        cluster("a file beside the kubeconfig", "certificate-authority: ca.pem")
            .file("ca.pem", pem("ca.pem")),
        cluster("a file in a folder beside it", "certificate-authority: ./pki/../pki/ca.pem")
            .file("pki/ca.pem", pem("ca.pem")),
        cluster("a file relative to a kubeconfig in a folder", "certificate-authority: ../ca.pem")
            .file("ca.pem", pem("ca.pem"))
            .path("deep/kubeconfig"),
        cluster("a file that is not there", "certificate-authority: nowhere.pem")
            .says("`certificate-authority` DIR/nowhere.pem"),
        cluster("a folder", "certificate-authority: '{pki}'").says("no regular file"),
        cluster("an empty file", "certificate-authority: empty.pem")
            .file("empty.pem", "")
            .says("has no certificate in PEM"),
        cluster("a bundle with words between", "certificate-authority: ca.pem")
            .file("ca.pem", format!("the others\n{}\nours\n{}", pem("other-ca.pem"), pem("ca.pem"))),
        cluster("a bundle with a damaged certificate", "certificate-authority: ca.pem").file(
            "ca.pem",
            format!("-----BEGIN CERTIFICATE-----\naGVsbG8K\n-----END CERTIFICATE-----\n{}", pem("ca.pem")),
        ),
        cluster("a bundle with a key in it", "certificate-authority: ca.pem")
            .file("ca.pem", format!("{}{}", pem("client.key.pem"), pem("ca.pem"))),
        cluster("a bundle without a line break at its end", "certificate-authority: ca.pem")
            .file("ca.pem", pem("ca.pem").trim_end().to_owned()),
        cluster("a bundle with CRLF", "certificate-authority: ca.pem")
            .file("ca.pem", pem("ca.pem").replace('\n', "\r\n")),
        cluster("nobody named", "tls-server-name: ''").says("unknown authority"),
        cluster("insecure", "insecure-skip-tls-verify: true").server("server-other"),
        cluster(
            "insecure, and a name that is not its own",
            "insecure-skip-tls-verify: true, tls-server-name: x.test",
        )
        .server("server-expired"),
        cluster("insecure, and version 1", "insecure-skip-tls-verify: true").server("server-v1"),
        cluster("insecure, and version 1 over TLS 1.2", "insecure-skip-tls-verify: true")
            .server("server-v1")
            .manner(|manner| manner.is_old = true),
        cluster(
            "insecure with an authority",
            "insecure-skip-tls-verify: true, certificate-authority: '{pki}/ca.pem'",
        )
        .says("exclude each other"),
        cluster("not insecure", "insecure-skip-tls-verify: false, certificate-authority: '{pki}/ca.pem'"),
        cluster("insecure in words", "insecure-skip-tls-verify: 'true'")
            .says("`clusters[0].cluster.insecure-skip-tls-verify`"),
        cluster("another name", "tls-server-name: api.test, certificate-authority: '{pki}/ca.pem'"),
        cluster(
            "another name that it has not",
            "tls-server-name: x.test, certificate-authority: '{pki}/ca.pem'",
        )
        .says("not for x.test"),
        cluster("an address as name", "tls-server-name: '127.0.0.1', certificate-authority: '{pki}/ca.pem'"),
        cluster("a name that is none", "tls-server-name: 'a b', certificate-authority: '{pki}/ca.pem'")
            .says("`tls-server-name`"),
        row("trust: TLS with one that speaks none")
            .cluster(format!("server: 'https://127.0.0.1:1', {CA}"))
            .says("Connection refused"),
    ]
}

/// As `kubectl config view --raw` and people write long data.
fn folded() -> String {
    let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pem("ca.pem"));
    let lines: Vec<&str> =
        data.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!(
        "current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\nusers: [{{name: u, user: {{token: t0ken}}}}]\n\
         clusters:\n- name: k\n  cluster:\n    server: 'https://127.0.0.1:{{port}}'\n    certificate-authority-data: |\n      {}\n",
        lines.join("\n      ")
    )
}
