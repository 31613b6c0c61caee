//! Tokens, names and passwords, and whom we act as.

use super::ASKS;
use crate::connecting::row::Ours::Sends;
use crate::connecting::row::{Row, row};
use crate::connecting::world::Answer;

const REFUSED: Answer = Answer {
    code: 401,
    headers: "",
    body: r#"{"kind":"Status","code":401,"message":"Unauthorized","reason":"Unauthorized"}"#,
};

pub fn logins() -> Vec<Row> {
    let user = |name: &str, keys: &str| row(format!("login: {name}")).user(keys);
    let claims = |exp: &str| {
        use base64::Engine;
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{exp}}}"));
        format!(
            "auth-provider: {{name: oidc, config: {{idp-issuer-url: 'https://127.0.0.1:1', client-id: c, id-token: 'h.{claims}.s'}}}}"
        )
    };
    vec![
        user("nobody", "").differs(ASKS, Sends),
        user("an empty token", "token: ''").differs(ASKS, Sends),
        user("no token", "token: null").differs(ASKS, Sends),
        user("a number as token", "token: 12345").says("`users[0].user.token`"),
        user("a token with blanks", "token: ' t0ken '").differs(
            "Go leaves a blank at the end of a header away before it sends it, and a server when it has come",
            Sends,
        ),
        user("a token with a line break", "token: \"t0ken\\n\"").says("no header can have"),
        user("a token file", "tokenFile: token").file("token", "fr0mfile"),
        user("a token file that ends in a line break", "tokenFile: token").file("token", "fr0mfile\n"),
        user("a token file with CRLF and blanks", "tokenFile: token").file("token", "  fr0mfile \r\n"),
        user("a token file and a token", "token: t0ken, tokenFile: token").file("token", "fr0mfile\n"),
        user("a token, and a token file that is not there", "token: t0ken, tokenFile: nowhere"),
        user("a token, and an empty token file", "token: t0ken, tokenFile: token").file("token", "\n"),
        user("a token file that is not there", "tokenFile: nowhere")
            .says("cannot read the token in DIR/nowhere"),
        user("an empty token file", "tokenFile: token").file("token", "").says("it is empty"),
        user("an empty name of a token file", "tokenFile: '', token: t0ken"),
        user("a name and a password", "username: us, password: 'pass:word'"),
        user("a name alone", "username: us"),
        user("a password alone", "password: pass").differs(ASKS, Sends),
        user("an empty name", "username: '', password: '', token: t0ken"),
        user("a name and a token", "username: us, password: pass, token: t0ken").says("exclude each other"),
        user("a password and a token", "password: pass, token: t0ken").says("exclude each other"),
        user("a name and a token file", "username: us, password: pass, tokenFile: token")
            .file("token", "x")
            .says("exclude each other"),
        user("to a server without TLS: a token", "token: t0ken").cluster("server: 'http://127.0.0.1:{port}'"),
        user("to a server without TLS: a token file that is not there", "tokenFile: nowhere")
            .cluster("server: 'http://127.0.0.1:{port}'"),
        user("to a server without TLS: a name", "username: us, password: pass")
            .cluster("server: 'http://127.0.0.1:{port}'"),
        user("OIDC, as long as it is valid", &claims("4102444800"))
            .differs("the kubectl of the bed is built without the auth providers of client-go", Sends),
        user("OIDC, expired", &claims("1600000000")).says("has expired"),
        user("OIDC without an issuer", "auth-provider: {name: oidc, config: {id-token: x}}")
            .says("idp-issuer-url"),
        user("a provider of old", "auth-provider: {name: gcp, config: {cmd-path: sh}}")
            .says("\"gcp\" is not supported"),
        user("a provider that nobody knows", "auth-provider: {name: x}").says("\"x\" is not supported"),
        user("a provider of old, and a token", "token: t0ken, auth-provider: {name: gcp}")
            .differs("a token is enough, and the provider that is no more is not asked", Sends),
        user("an unknown key", "token: t0ken, colour: red"),
        row("login: an answer of 401").manner(|manner| manner.answers = vec![REFUSED]),
    ]
}

pub fn impersonation() -> Vec<Row> {
    let user =
        |name: &str, keys: &str| row(format!("acting as: {name}")).user(format!("token: t0ken, {keys}"));
    vec![
        user("a user", "as: jane"),
        user("with groups", "as: jane, as-groups: [a, b, 'c d']"),
        user("with a uid", "as: jane, as-uid: '17'"),
        user(
            "with more",
            "as: jane, as-user-extra: {scopes: [x, y], 'example.com/Reason': ['1'], '50% off': [z]}",
        ),
        user("with everything", "as: jane, as-uid: u-1, as-groups: [a], as-user-extra: {k: [v]}"),
        user("nobody", "as: '', as-groups: [], as-user-extra: {}"),
        user("groups of nobody", "as-groups: [a]").says("need `as`"),
        user("a uid of nobody", "as-uid: '17'").says("need `as`"),
        user("more of nobody", "as-user-extra: {k: [v]}").says("need `as`"),
        user("a user, without TLS", "as: jane, as-groups: [a]").cluster("server: 'http://127.0.0.1:{port}'"),
        user("nobody's list", "as: jane, as-user-extra: {k: null}"),
        user("a line break", "as: \"jane\\nroot\"").says("no header can have"),
    ]
}
