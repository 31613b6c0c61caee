//! The address of an API server, as client-go completes it. Pure.

use http::Uri;
use http::uri::Authority;

/// Longer than any address; behind it, with the path of a request, `http::Uri` has a limit of 64 KiB.
const BYTES_MAX: usize = 4096;

/// Where the API server is: `http` or `https` with a host, perhaps with a path that goes before all of its
/// own (Rancher, `kubectl proxy`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub url: Uri,
    /// What stood before the `@`, decoded. Go sends it before all else, and shows it to nobody.
    pub userinfo: Option<String>,
}

impl Server {
    /// Reads the `server` of a cluster; the error goes on from "`server` ".
    ///
    /// client-go takes an address without a scheme for plain HTTP, whatever else the cluster says: it looks
    /// whether there is TLS before it reads the certificates (`clientcmd.ClientConfig`).
    pub fn parse(written: &str) -> Result<Server, String> {
        let written = written.trim();
        if written.is_empty() {
            return Err("is missing".to_owned());
        }
        if written.len() > BYTES_MAX {
            return Err(format!("is longer than {BYTES_MAX} bytes"));
        }
        let wrong = |why: &str| format!("{written:?} is no address: {why}; write it as `https://host:6443`");
        let (scheme, rest) = match written.split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None => ("http".to_owned(), written),
        };
        if !matches!(scheme.as_str(), "http" | "https") {
            return Err(wrong("its scheme is neither http nor https"));
        }
        // Neither reaches the server.
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        if !written.contains("://") && rest.trim_end_matches('/').contains('/') {
            return Err(wrong("it has a path and no scheme"));
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (userinfo, host) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (Some(percent_decoded(userinfo)), host),
            None => (None, authority),
        };
        if host.is_empty() || host.starts_with(':') {
            return Err(wrong("it has no host"));
        }
        let authority: Authority =
            host.parse().map_err(|error: http::uri::InvalidUri| wrong(&error.to_string()))?;
        // `host:` is `host`, as in Go.
        let has_bad_port = host.len() > authority.host().len() + 1 && authority.port_u16().is_none();
        if has_bad_port || authority.port_u16() == Some(0) {
            return Err(wrong("its port is no number from 1 to 65535"));
        }
        let path = if path.is_empty() { "/" } else { path };
        let host = host.trim_end_matches(':');
        let url = Uri::builder().scheme(scheme.as_str()).authority(host).path_and_query(path).build();
        let url = url.map_err(|error| wrong(&error.to_string()))?;
        match url.host() {
            Some(host) if !host.is_empty() => Ok(Server { url, userinfo }),
            _ => Err(wrong("it has no host")),
        }
    }

    pub fn has_tls(&self) -> bool {
        self.url.scheme_str() == Some("https")
    }

    /// As it is shown.
    pub fn shown(&self) -> String {
        let shown = self.url.to_string();
        crate::outside_text::one_line(shown.trim_end_matches('/')).into_owned()
    }
}

/// What a URL says with `%`, decoded; what is no such sequence stays.
pub fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).filter(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, byte) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_completed_as_client_go_does() {
        for (written, expected) in [
            ("https://h:6443", Ok("https://h:6443")),
            ("HTTPS://h:6443", Ok("https://h:6443")),
            ("10.0.0.1:6443", Ok("http://10.0.0.1:6443")),
            ("h", Ok("http://h")),
            ("h/", Ok("http://h")),
            ("h:", Ok("http://h")),
            (" https://[::1]:6443/k8s/ ", Ok("https://[::1]:6443/k8s")),
            ("https://h/?a=b#c", Ok("https://h")),
            ("https://u:p@h", Ok("https://h")),
            ("", Err("missing")),
            ("https://", Err("no host")),
            ("https://:6443", Err("no host")),
            ("ftp://h", Err("neither http nor https")),
            ("https://h:99999", Err("port")),
            ("https://h:0", Err("port")),
            ("h/path", Err("no scheme")),
            ("/path", Err("no address")),
            (&"h".repeat(5000), Err("longer than")),
        ] {
            match (Server::parse(written), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.shown(), expected),
                (Err(error), Err(words)) => assert!(error.contains(words), "{written}: {error}"),
                (found, expected) => panic!("{written}: {found:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn what_stands_before_the_at_is_decoded_and_not_shown() {
        let server = Server::parse("https://ro%40bot:s3%3Acret%zz@h/p").unwrap();
        assert_eq!(server.userinfo.as_deref(), Some("ro@bot:s3:cret%zz"));
        assert_eq!(server.shown(), "https://h/p");
    }
}
