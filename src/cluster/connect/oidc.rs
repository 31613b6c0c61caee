//! The token of the auth provider `oidc`, which is in the kubeconfig. It is not renewed: that would change the
//! kubeconfig, and the plugins that came after it (`kubelogin`) do it without.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

#[derive(Deserialize)]
struct Claims {
    exp: f64,
}

/// The `id-token`, as long as it is valid.
#[expect(clippy::disallowed_methods, reason = "a token expires by the clock")]
pub fn token(config: &BTreeMap<String, SecretString>) -> Result<SecretString, String> {
    let text = |key: &str| config.get(key).map(|text| text.expose_secret()).filter(|text| !text.is_empty());
    for key in ["idp-issuer-url", "client-id"] {
        if text(key).is_none() {
            return Err(format!("the auth provider oidc has no `{key}`"));
        }
    }
    let Some(token) = text("id-token") else {
        let why = "the auth provider oidc has no `id-token`, and is not asked for one";
        return Err(format!("{why}; log in again with kubectl, or use an exec plugin such as kubelogin"));
    };
    match expiry(token) {
        None => Err("the auth provider's `id-token` is no JSON Web Token with an `exp`".to_owned()),
        Some(exp) if exp <= jiff::Timestamp::now().as_second() as f64 => {
            let why = "the auth provider's `id-token` has expired, and is not renewed";
            Err(format!("{why}; log in again with kubectl, or use an exec plugin such as kubelogin"))
        }
        Some(_) => Ok(SecretString::from(token)),
    }
}

/// In seconds since 1970.
fn expiry(token: &str) -> Option<f64> {
    let [_, claims, _] = token.split('.').collect::<Vec<_>>()[..] else { return None };
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    serde_json::from_slice::<Claims>(&claims).ok().map(|claims| claims.exp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(id_token: &str) -> Result<SecretString, String> {
        let pairs = [("idp-issuer-url", "https://i"), ("client-id", "c"), ("id-token", id_token)];
        token(&pairs.into_iter().map(|(key, text)| (key.to_owned(), text.into())).collect())
    }

    fn jwt(claims: &str) -> String {
        format!("h.{}.s3cr3t", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn an_id_token_is_used_as_long_as_it_is_valid() {
        assert_eq!(
            of(&jwt(r#"{"exp": 4102444800}"#)).unwrap().expose_secret(),
            jwt(r#"{"exp": 4102444800}"#)
        );
        for (text, words) in [
            (jwt(r#"{"exp": 1}"#), "expired"),
            (jwt(r#"{"exp": "s3cr3t"}"#), "no JSON Web Token"),
            (jwt("{}"), "no JSON Web Token"),
            ("s3cr3t".to_owned(), "no JSON Web Token"),
            (String::new(), "no `id-token`"),
        ] {
            let error = of(&text).unwrap_err();
            assert!(error.contains(words) && !error.contains("s3cr3t"), "{text}: {error}");
        }
    }
}
