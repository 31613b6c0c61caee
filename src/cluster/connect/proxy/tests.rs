use super::*;

fn environment(https: &str, http: &str, no_proxy: &str) -> Environment {
    let variable = |name, value: &str| Variable { name, value: value.to_owned() };
    Environment {
        https_proxy: variable("HTTPS_PROXY", https),
        http_proxy: variable("HTTP_PROXY", http),
        no_proxy: no_proxy.to_owned(),
        is_cgi: false,
    }
}

/// The cases of `golang.org/x/net/http/httpproxy/proxy_test.go` (`UseProxyTests`, with their `NO_PROXY`), and
/// what people write besides.
#[test]
fn no_proxy_means_what_it_means_in_go() {
    let of_go = "foobar.com, .barbaz.net, *.quux.com, 192.168.1.1, 192.168.1.2:81, 192.168.1.3:80, 10.0.0.0/30, \
                 2001:db8::52:0:1, [2001:db8::52:0:2]:443, [2001:db8::52:0:3]:80, 2002:db8:a::45/64";
    for (no_proxy, host, port, expected) in [
        (of_go, "localhost", 80, false),
        (of_go, "127.0.0.1", 80, false),
        (of_go, "127.0.0.2", 80, false),
        (of_go, "[::1]", 80, false),
        (of_go, "[::2]", 80, true),
        (of_go, "192.168.1.1", 80, false),
        (of_go, "192.168.1.2", 80, true),
        (of_go, "192.168.1.2", 81, false),
        (of_go, "192.168.1.3", 80, false),
        (of_go, "192.168.1.4", 80, true),
        (of_go, "10.0.0.2", 80, false),
        (of_go, "10.0.0.4", 80, true),
        (of_go, "[2001:db8::52:0:1]", 80, false),
        (of_go, "[2001:db8::52:0:2]", 443, false),
        (of_go, "[2001:db8::52:0:2]", 80, true),
        (of_go, "[2001:db8::52:0:3]", 80, false),
        (of_go, "[2002:db8:a::123]", 80, false),
        (of_go, "[fe80::424b:c8be:1643:a1b6]", 80, true),
        (of_go, "barbaz.net", 80, true),
        (of_go, "www.barbaz.net", 80, false),
        (of_go, "foobar.com", 80, false),
        (of_go, "www.foobar.com", 80, false),
        (of_go, "foofoobar.com", 80, true),
        (of_go, "baz.com", 80, true),
        (of_go, "localhost.net", 80, true),
        (of_go, "local.localhost", 80, true),
        (of_go, "barbarbaz.net", 80, true),
        (of_go, "www.quux.com", 80, false),
        (of_go, "quux.com", 80, true),
        ("*", "example.com", 443, false),
        ("*,anything.com", "192.168.1.1", 443, false),
        ("10.0.0.0/8", "10.96.0.1", 443, false),
        ("10.0.0.0/8", "11.96.0.1", 443, true),
        ("example.com:443", "api.example.com", 443, false),
        ("example.com:443", "api.example.com", 6443, true),
        (" example.com ,, ", "EXAMPLE.com", 443, false),
        (",", "example.com", 443, true),
        (":443", "example.com", 443, true),
        ("EXAMPLE.COM", "api.example.com", 443, false),
        ("https://example.com", "example.com", 443, true),
        ("example.com/", "example.com", 443, true),
        ("10.0.0.1 10.0.0.2", "10.0.0.1", 443, true),
        ("10.0.0.0/8", "[::ffff:10.0.0.1]", 443, false),
        ("", "LOCALHOST", 443, true),
        ("", "0.0.0.0", 443, true),
    ] {
        assert_eq!(is_proxied(host, port, no_proxy), expected, "{host}:{port} with {no_proxy:?}");
    }
}

#[test]
fn the_scheme_of_the_server_says_which_variable_counts() {
    let environment = environment("secure:1", "http://plain", "");
    let of = |url: &str| for_server(&url.parse().unwrap(), &environment).unwrap().unwrap();
    assert_eq!(of("https://h").shown(), "http://secure:1 (HTTPS_PROXY)");
    assert_eq!(of("http://h").shown(), "http://plain:80 (HTTP_PROXY)");
    let none = super::tests::environment("", "http://plain", "");
    assert!(for_server(&"https://h".parse().unwrap(), &none).unwrap().is_none());
    let cgi = Environment { is_cgi: true, ..environment };
    assert!(for_server(&"https://h".parse().unwrap(), &cgi).is_ok());
    assert!(for_server(&"http://h".parse().unwrap(), &cgi).unwrap_err().contains("REQUEST_METHOD"));
}

#[test]
fn a_proxy_is_read_as_a_url() {
    for (url, shown, login) in [
        ("http://p:3128", "http://p:3128 (x)", None),
        ("HTTPS://p", "https://p:443 (x)", None),
        ("socks5://[::1]/", "socks5://[::1]:1080 (x)", None),
        ("http://u%40d:s3cr3t%3A@p:1/path?q", "http://p:1 (x)", Some(("u@d", "s3cr3t:"))),
        ("http://u@p:", "http://p:80 (x)", Some(("u", ""))),
    ] {
        use secrecy::ExposeSecret;
        let proxy = Proxy::of_cluster(url, "x".to_owned()).unwrap();
        let found = proxy.login.as_ref().map(|(user, password)| (user.as_str(), password.expose_secret()));
        assert_eq!((proxy.shown().as_str(), found), (shown, login), "{url}");
        assert!(!format!("{proxy:?}").contains("s3cr3t"));
    }
    for (url, words) in [
        ("p:3128", "no scheme"),
        ("ftp://p", "none of http, https and socks5"),
        ("http://", "no proxy's address"),
        ("http://p:0", "port"),
        ("http://p:x", "no proxy's address"),
        ("socks5h://p", "write socks5"),
    ] {
        let error = Proxy::of_cluster(url, "x".to_owned()).unwrap_err();
        assert!(error.contains(words), "{url}: {error}");
    }
}
