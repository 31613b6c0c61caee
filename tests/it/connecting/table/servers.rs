//! Addresses of servers.

use super::{ASKS, CA, HTTPS};
use crate::connecting::row::Ours::Sends;
use crate::connecting::row::{Row, row};

pub fn servers() -> Vec<Row> {
    let at = |name: &str, server: &str| {
        row(format!("server: {name}")).cluster(format!("server: '{server}', {CA}"))
    };
    vec![
        at("an address", "https://127.0.0.1:{port}"),
        at("a name", "https://localhost:{port}"),
        at("IPv6", "https://[::1]:{port}"),
        at("a scheme in capitals", "HTTPS://127.0.0.1:{port}"),
        at("a slash at the end", "https://127.0.0.1:{port}/"),
        at("a path, as of Rancher", "https://127.0.0.1:{port}/k8s/clusters/c-1"),
        at("a path with a slash at the end", "https://127.0.0.1:{port}/k8s/"),
        at("a query", "https://127.0.0.1:{port}/?a=b"),
        at("a path with a query and a fragment", "https://127.0.0.1:{port}/k8s?a=b#c"),
        at("plain HTTP, where no credentials go", "http://127.0.0.1:{port}"),
        at("plain HTTP with a path", "http://127.0.0.1:{port}/proxied"),
        at("no scheme, which is plain HTTP whatever else is said", "127.0.0.1:{port}")
            .says("panicked before"),
        at("no scheme and a name", "localhost:{port}"),
        at("no scheme and a path", "localhost:{port}/k8s").says("has a path and no scheme"),
        at("a user in the URL", "https://us%40er:pass@127.0.0.1:{port}").user("").differs(ASKS, Sends),
        at("a user in a plain URL", "http://user:pass@127.0.0.1:{port}").user(""),
        at("a user in the URL and a token", "https://user:pass@127.0.0.1:{port}"),
        at("another scheme", "ftp://127.0.0.1:{port}").says("neither http nor https"),
        at("a port that is none", "https://127.0.0.1:99999").says("port"),
        at("a port in words", "https://127.0.0.1:port").says("`server`"),
        at("no host", "https://:{port}").says("no host"),
        at("a scheme alone", "https://").says("no host"),
        at("blanks around", " https://127.0.0.1:{port} ").differs(
            "blanks around an address are not part of it, and kubectl refuses them without naming the field",
            Sends,
        ),
        row("server: empty").cluster(format!("server: '', {CA}")).says("`server` is missing"),
        row("server: none").cluster(CA).says("`server` is missing"),
        row("server: compression off").cluster(format!("{HTTPS}, disable-compression: true")),
        row("server: TLS 1.2").manner(|manner| manner.is_old = true),
        row("server: TLS 1.2 and a certificate of ours")
            .user("client-certificate: '{pki}/client.pem', client-key: '{pki}/client.key.pem'")
            .manner(|manner| manner.is_old = true),
    ]
}
