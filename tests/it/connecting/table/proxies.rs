//! Proxies, of clusters and of the environment.

use super::HTTPS;
use crate::connecting::row::{Row, row};

pub fn proxies() -> Vec<Row> {
    // An address of this machine that is not loopback, and a name that only a proxy knows.
    const ANY: &str = "server: 'https://0.0.0.0:{port}', certificate-authority: '{pki}/ca.pem'";
    const NAME: &str = "server: 'https://api.test:{port}', certificate-authority: '{pki}/ca.pem'";
    let of = |name: &str, cluster: &str| row(format!("proxy: {name}")).cluster(cluster);
    let url = |name: &str, url: &str| of(name, &format!("{NAME}, proxy-url: '{url}'"));
    let except = |no_proxy: &str| {
        of(&format!("NO_PROXY={no_proxy:?} and an address"), ANY)
            .env("HTTPS_PROXY", "http://127.0.0.1:{proxy}")
            .env("NO_PROXY", no_proxy)
    };
    let except_name = |no_proxy: &str| {
        of(&format!("NO_PROXY={no_proxy:?} and a name"), NAME)
            .env("HTTPS_PROXY", "http://127.0.0.1:{proxy}")
            .env("NO_PROXY", no_proxy)
    };
    let mut rows = vec![
        url("of the cluster", "http://127.0.0.1:{proxy}"),
        url("of the cluster, with a password", "http://us:p%40ss@127.0.0.1:{proxy}"),
        url("of the cluster, with a name alone", "http://us@127.0.0.1:{proxy}/"),
        url("of the cluster, over TLS", "https://127.0.0.1:{proxy}"),
        url("of the cluster, over TLS and with a password", "https://us:pass@localhost:{proxy}"),
        url("of the cluster, SOCKS", "socks5://127.0.0.1:{proxy}"),
        url("of the cluster, SOCKS with a password", "socks5://us:pass@127.0.0.1:{proxy}").manner(|manner| manner.socks_wants_login = true),
        url("of the cluster, SOCKS without the password that it wants", "socks5://127.0.0.1:{proxy}")
            .manner(|manner| manner.socks_wants_login = true)
            .says("did not connect us"),
        url("of the cluster, SOCKS with names", "socks5h://127.0.0.1:{proxy}").says("write socks5"),
        url("of the cluster, without a scheme", "127.0.0.1:{proxy}").says("`proxy-url`"),
        url("of the cluster, another scheme", "ftp://127.0.0.1:{proxy}").says("`proxy-url`"),
        url("of the cluster, not there", "http://127.0.0.1:1").says("the proxy http://127.0.0.1:1 (`proxy-url` of the cluster \"k\") cannot be reached"),
        url("of the cluster, which wants a password", "http://127.0.0.1:{proxy}").manner(|manner| manner.proxy_answers = 407).says("answered 407"),
        url("of the cluster, which says no", "http://127.0.0.1:{proxy}").manner(|manner| manner.proxy_answers = 502).says("answered 502"),
        url("of the cluster, with another 2xx", "http://127.0.0.1:{proxy}").manner(|manner| manner.proxy_answers = 204).says("answered 204"),
        of("of the cluster, for loopback", &format!("{HTTPS}, proxy-url: 'http://127.0.0.1:{{proxy}}'")),
        of("of the cluster, for localhost over SOCKS", "server: 'https://localhost:{port}', certificate-authority: '{pki}/ca.pem', proxy-url: 'socks5://127.0.0.1:{proxy}'"),
        of("of the cluster, for IPv6", "server: 'https://[::1]:{port}', certificate-authority: '{pki}/ca.pem', proxy-url: 'http://127.0.0.1:{proxy}'"),
        of("of the cluster, for IPv6 over SOCKS", "server: 'https://[::1]:{port}', certificate-authority: '{pki}/ca.pem', proxy-url: 'socks5://127.0.0.1:{proxy}'"),
        of("of the cluster, whatever NO_PROXY says", &format!("{ANY}, proxy-url: 'http://127.0.0.1:{{proxy}}'")).env("NO_PROXY", "*"),
        of("of the cluster before that of the environment", &format!("{NAME}, proxy-url: 'http://127.0.0.1:{{proxy}}'")).env("HTTPS_PROXY", "http://127.0.0.1:1"),
        of("of the cluster, without TLS behind it", "server: 'http://api.test:{port}/k8s', proxy-url: 'http://us:pass@127.0.0.1:{proxy}'"),
        of("of the cluster, TLS to it and none behind", "server: 'http://api.test:{port}', insecure-skip-tls-verify: true, proxy-url: 'https://127.0.0.1:{proxy}'").says("unknown authority"),
        of("of the cluster, SOCKS without TLS behind it", "server: 'http://api.test:{port}', proxy-url: 'socks5://127.0.0.1:{proxy}'"),
        of("of the cluster, and a certificate of ours", &format!("{NAME}, proxy-url: 'https://127.0.0.1:{{proxy}}'"))
            .user("client-certificate: '{pki}/client.pem', client-key: '{pki}/client.key.pem'"),
        of("of the cluster, over TLS and with another name", "server: 'https://x.test:{port}', tls-server-name: api.test, certificate-authority: '{pki}/ca.pem', proxy-url: 'https://127.0.0.1:{proxy}'"),
        of("HTTPS_PROXY", NAME).env("HTTPS_PROXY", "http://127.0.0.1:{proxy}"),
        of("HTTPS_PROXY with a password", NAME).env("HTTPS_PROXY", "http://us:p%40ss@127.0.0.1:{proxy}"),
        of("https_proxy", NAME).env("https_proxy", "http://127.0.0.1:{proxy}"),
        of("both, of which capitals win", NAME).env("HTTPS_PROXY", "http://127.0.0.1:{proxy}").env("https_proxy", "http://127.0.0.1:1"),
        of("an empty one in capitals", NAME).env("HTTPS_PROXY", "").env("https_proxy", "http://127.0.0.1:{proxy}"),
        of("no_proxy beside an empty NO_PROXY", ANY).env("HTTPS_PROXY", "http://127.0.0.1:{proxy}").env("NO_PROXY", "").env("no_proxy", "0.0.0.0"),
        of("NO_PROXY before no_proxy", ANY).env("HTTPS_PROXY", "http://127.0.0.1:{proxy}").env("NO_PROXY", "x.test").env("no_proxy", "0.0.0.0"),
        of("HTTPS_PROXY without a scheme", NAME).env("HTTPS_PROXY", "127.0.0.1:{proxy}"),
        of("HTTPS_PROXY over TLS", NAME).env("HTTPS_PROXY", "https://127.0.0.1:{proxy}"),
        of("HTTPS_PROXY, SOCKS", NAME).env("HTTPS_PROXY", "socks5://127.0.0.1:{proxy}"),
        of("HTTPS_PROXY, SOCKS with names", NAME).env("HTTPS_PROXY", "socks5h://127.0.0.1:{proxy}"),
        of("HTTPS_PROXY that is none", ANY).env("HTTPS_PROXY", "http://[").says("HTTPS_PROXY"),
        of("HTTPS_PROXY that is none, for loopback", HTTPS).env("HTTPS_PROXY", "http://["),
        of("HTTP_PROXY alone, with TLS", ANY).env("HTTP_PROXY", "http://127.0.0.1:{proxy}"),
        of("HTTP_PROXY without TLS", "server: 'http://api.test:{port}'").env("HTTP_PROXY", "http://us:pass@127.0.0.1:{proxy}"),
        of("http_proxy without TLS", "server: 'http://api.test:{port}'").env("http_proxy", "127.0.0.1:{proxy}"),
        of("HTTPS_PROXY alone, without TLS", "server: 'http://0.0.0.0:{port}'").env("HTTPS_PROXY", "http://127.0.0.1:{proxy}"),
        of("HTTP_PROXY of a web server", "server: 'http://0.0.0.0:{port}'").env("HTTP_PROXY", "http://127.0.0.1:{proxy}").env("REQUEST_METHOD", "GET").says("REQUEST_METHOD"),
        of("HTTPS_PROXY of a web server", NAME).env("HTTPS_PROXY", "http://127.0.0.1:{proxy}").env("REQUEST_METHOD", "GET"),
        of("ALL_PROXY, which Go does not know", ANY).env("ALL_PROXY", "http://127.0.0.1:{proxy}"),
        of("loopback", HTTPS).env("HTTPS_PROXY", "http://127.0.0.1:{proxy}"),
        of("loopback, another address of it", "server: 'https://127.0.0.2:{port}', insecure-skip-tls-verify: true").env("HTTPS_PROXY", "http://127.0.0.1:{proxy}"),
        of("loopback of IPv6", "server: 'https://[::1]:{port}', certificate-authority: '{pki}/ca.pem'").env("HTTPS_PROXY", "http://127.0.0.1:{proxy}"),
        of("localhost", "server: 'https://localhost:{port}', certificate-authority: '{pki}/ca.pem'").env("HTTPS_PROXY", "http://127.0.0.1:{proxy}"),
        of("localhost in capitals", "server: 'https://LOCALHOST:{port}', certificate-authority: '{pki}/ca.pem'").env("HTTPS_PROXY", "http://127.0.0.1:{proxy}"),
        of("localhost without TLS", "server: 'http://localhost:{port}'").env("HTTP_PROXY", "http://127.0.0.1:{proxy}"),
        of("an address that is not loopback", ANY).env("HTTPS_PROXY", "http://127.0.0.1:{proxy}"),
    ];
    for no_proxy in [
        "*",
        "0.0.0.0",
        "0.0.0.0/8",
        "10.0.0.0/8",
        "0.0.0.0:{port}",
        "0.0.0.0:1",
        " 0.0.0.0 , x.test,",
        ",,",
        "x.test,0.0.0.0/0",
        "::/0",
        "10.0.0.0/8,*",
        "0.0.0",
        "0.0.0.0/33",
        "https://0.0.0.0",
        "[0.0.0.0]",
        "0.0.0.0:",
        "0.0.0.0;x",
        "0.0.0.0 x.test",
    ] {
        rows.push(except(no_proxy));
    }
    for no_proxy in [
        "x.test",
        "pi.test",
        ".api.test",
        "*.api.test",
        "api.test:1",
        "test:1",
        "10.0.0.0/8",
        "api",
        ":{port}",
        "https://api.test",
        "api.test.",
        "*api.test",
        "tes",
    ] {
        rows.push(except_name(no_proxy));
    }
    for no_proxy in ["api.test", "test", ".test", "*.test", "API.TEST", "api.test:{port}", " api.test,", "*"]
    {
        rows.push(except_name(no_proxy));
    }
    rows
}
