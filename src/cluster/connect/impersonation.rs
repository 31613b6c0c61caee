//! Whom we act as, in headers. Pure.

use http::{HeaderName, HeaderValue};

use super::access::Impersonation;

/// The headers; the error goes on from "the user's ".
pub fn headers(impersonation: &Impersonation) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let Impersonation { user, uid, groups, extra } = impersonation;
    if user.is_empty() {
        return Ok(Vec::new());
    }
    let named = |name: &'static str, key: &str, text: &str| {
        let value = HeaderValue::from_str(text)
            .map_err(|_| format!("`{key}` has a character that no header can have, such as a line break"))?;
        Ok::<_, String>((HeaderName::from_static(name), value))
    };
    let mut headers = vec![named("impersonate-user", "as", user)?];
    if !uid.is_empty() {
        headers.push(named("impersonate-uid", "as-uid", uid)?);
    }
    for group in groups {
        headers.push(named("impersonate-group", "as-groups", group)?);
    }
    for (key, text) in extra {
        let (_, value) = named("impersonate-user", "as-user-extra", text)?;
        let name = HeaderName::try_from(format!("impersonate-extra-{}", escaped(key)))
            .map_err(|_| format!("`as-user-extra` has the key {key:?}, which fits into no header"))?;
        headers.push((name, value));
    }
    Ok(headers)
}

/// As client-go (`transport.headerKeyEscape`): what no name of a header may have, and `%`.
fn escaped(key: &str) -> String {
    let mut escaped = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => escaped.push(char::from(byte)),
            _ if b"!#$&'*+-.^_`|~".contains(&byte) => escaped.push(char::from(byte)),
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_escaped_as_client_go_does() {
        for (key, expected) in [
            ("scopes", "scopes"),
            ("example.com/a b", "example.com%2Fa%20b"),
            ("50%", "50%25"),
            ("käse", "k%C3%A4se"),
        ] {
            assert_eq!(escaped(key), expected);
        }
    }
}
