//! Through which proxy an API server is reached, by the rules of Go. Pure, but for [`Environment::read`].
//!
//! `golang.org/x/net/http/httpproxy` is what kubectl follows: loopback is never proxied, `NO_PROXY` is a list
//! of hosts, suffixes, addresses and networks, each perhaps with a port. What kube 5.0 does differs: it
//! compares `NO_PROXY` with the proxy's own host, and knows no `HTTP_PROXY`.

use std::net::IpAddr;

use http::Uri;
use http::uri::Authority;
use secrecy::SecretString;

use super::server::percent_decoded;

/// What the environment says about proxies; an empty variable is one that is not set.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    pub https_proxy: Variable,
    pub http_proxy: Variable,
    pub no_proxy: String,
    /// We were started by a web server, where `HTTP_PROXY` is a header of whoever asked (httpoxy).
    pub is_cgi: bool,
}

/// A variable under the name it was found by.
#[derive(Clone, Debug, Default)]
pub struct Variable {
    pub name: &'static str,
    pub value: String,
}

impl Environment {
    #[expect(clippy::disallowed_methods, reason = "these variables are every program's")]
    pub fn read() -> Environment {
        let one_of = |names: [&'static str; 2]| {
            let found = names.into_iter().find_map(|name| {
                let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
                Some(Variable { name, value })
            });
            found.unwrap_or_default()
        };
        Environment {
            https_proxy: one_of(["HTTPS_PROXY", "https_proxy"]),
            http_proxy: one_of(["HTTP_PROXY", "http_proxy"]),
            no_proxy: one_of(["NO_PROXY", "no_proxy"]).value,
            is_cgi: std::env::var_os("REQUEST_METHOD").is_some_and(|value| !value.is_empty()),
        }
    }
}

/// A proxy, as it is asked.
#[derive(Clone, Debug)]
pub struct Proxy {
    pub kind: Kind,
    /// With the port.
    pub address: Authority,
    pub login: Option<(String, SecretString)>,
    /// Where it was named, for messages.
    pub from: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Http,
    /// The way to the proxy is TLS.
    Https,
    /// Names are resolved at the proxy, with `socks5` as with `socks5h`, as Go does.
    Socks5,
}

impl Proxy {
    /// The `proxy-url` of a cluster, which names its scheme; the error goes on from "`proxy-url` ".
    pub fn of_cluster(written: &str, from: String) -> Result<Proxy, String> {
        match written.split_once("://") {
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("socks5h") => Err(format!(
                "{written:?} is not one that kubectl takes; write socks5, by which the proxy resolves names too"
            )),
            Some(_) => Proxy::parse(written, from),
            None => Err(format!("{written:?} has no scheme; write it as `http://host:3128`")),
        }
    }

    /// A proxy of the environment, which may be `host:port` alone.
    fn of_variable(variable: &Variable) -> Result<Proxy, String> {
        let Variable { name, value } = variable;
        let parsed = match value.contains("://") {
            true => Proxy::parse(value, (*name).to_owned()),
            false => Proxy::parse(&format!("http://{value}"), (*name).to_owned()),
        };
        parsed.map_err(|error| format!("the variable {name} {error}"))
    }

    fn parse(url: &str, from: String) -> Result<Proxy, String> {
        let wrong =
            |why: &str| format!("{url:?} is no proxy's address: {why}; write it as `http://host:3128`");
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let (kind, port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (Kind::Http, 80),
            "https" => (Kind::Https, 443),
            "socks5" | "socks5h" => (Kind::Socks5, 1080),
            _ => return Err(wrong("its scheme is none of http, https and socks5")),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (userinfo, host) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (Some(userinfo), host),
            None => (None, authority),
        };
        let parsed: Authority =
            host.parse().map_err(|error: http::uri::InvalidUri| wrong(&error.to_string()))?;
        if parsed.host().is_empty() {
            return Err(wrong("it has no host"));
        }
        let address = match (parsed.port_u16(), host.len() - parsed.host().len()) {
            (Some(1..), _) => parsed,
            (None, 0 | 1) => {
                format!("{}:{port}", parsed.host()).parse().map_err(|_| wrong("its host is none"))?
            }
            _ => return Err(wrong("its port is no number from 1 to 65535")),
        };
        let login = userinfo.map(|userinfo| {
            let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
            (percent_decoded(user), SecretString::from(percent_decoded(password)))
        });
        Ok(Proxy { kind, address, login, from })
    }

    /// The proxy without its password, and where it is from.
    pub fn shown(&self) -> String {
        let scheme = match self.kind {
            Kind::Http => "http",
            Kind::Https => "https",
            Kind::Socks5 => "socks5",
        };
        format!("{scheme}://{} ({})", self.address, self.from)
    }
}

/// The proxy of the environment for `server`, where there is one.
pub fn for_server(server: &Uri, environment: &Environment) -> Result<Option<Proxy>, String> {
    let has_tls = server.scheme_str() == Some("https");
    let variable = if has_tls { &environment.https_proxy } else { &environment.http_proxy };
    let host = server.host().unwrap_or_default();
    let port = server.port_u16().unwrap_or(if has_tls { 443 } else { 80 });
    if variable.value.is_empty() || !is_proxied(host, port, &environment.no_proxy) {
        return Ok(None);
    }
    if environment.is_cgi && !has_tls {
        let why = "is not used, as REQUEST_METHOD is set: a web server may have taken it from a request";
        return Err(format!("the variable {} {why}; unset REQUEST_METHOD", variable.name));
    }
    Proxy::of_variable(variable).map(Some)
}

/// Whether a request to `host` goes through a proxy at all.
fn is_proxied(host: &str, port: u16, no_proxy: &str) -> bool {
    if host == "localhost" {
        return false;
    }
    let ip = address(host.trim_start_matches('[').trim_end_matches(']'));
    if ip.is_some_and(|ip| ip.is_loopback()) {
        return false;
    }
    let host = host.to_ascii_lowercase();
    !no_proxy.split(',').any(|entry| exempts(&entry.trim().to_lowercase(), &host, port, ip))
}

/// An address; IPv4 within IPv6 is IPv4.
fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// Whether an entry of `NO_PROXY` is about this host.
fn exempts(entry: &str, host: &str, port: u16, ip: Option<IpAddr>) -> bool {
    if entry == "*" {
        return true;
    }
    if let Ok(network) = entry.parse::<ipnet::IpNet>() {
        return ip.is_some_and(|ip| network.contains(&ip));
    }
    let (name, only_port) = split_port(entry);
    if name.is_empty() || only_port.is_some_and(|only| only != port.to_string()) {
        return false;
    }
    if let Some(entry) = address(name) {
        return ip == Some(entry);
    }
    if ip.is_some() {
        return false;
    }
    match name.strip_prefix("*.").or(name.strip_prefix('.')) {
        Some(suffix) => host.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.')),
        None => host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')),
    }
}

/// `net.SplitHostPort`, where that succeeds.
fn split_port(entry: &str) -> (&str, Option<&str>) {
    if let Some(rest) = entry.strip_prefix('[') {
        return match rest.split_once("]:") {
            Some((host, port)) => (host, Some(port).filter(|port| !port.is_empty())),
            None => (entry, None),
        };
    }
    match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, Some(port).filter(|port| !port.is_empty())),
        _ => (entry, None),
    }
}

#[cfg(test)]
mod tests;
