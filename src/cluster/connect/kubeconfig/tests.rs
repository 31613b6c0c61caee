use std::io::Write;

use proptest::prelude::*;
use tempfile::NamedTempFile;

use crate::cluster::{Cluster, ClusterError, ConnectOptions};

const KUBECONFIG: &str = "apiVersion: v1
kind: Config
current-context: c
contexts:
- {name: c, context: {cluster: k, user: u}}
clusters:
- {name: k, cluster: {server: SERVER}}
users:
- {name: u, user: USER}
";

/// Nobody listens on port 1.
const NOBODY: &str = "http://127.0.0.1:1";
/// Only there are credentials looked at.
const NOBODY_WITH_TLS: &str = "https://127.0.0.1:1, insecure-skip-tls-verify: true";
/// What an answer of a plugin begins with.
const HEAD: &str =
    r#"{"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": "#;

fn connected(kubeconfig: &[u8]) -> ClusterError {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(kubeconfig).unwrap();
    let options = ConnectOptions { kubeconfig: Some(file.path().to_owned()), ..ConnectOptions::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    match runtime.block_on(Cluster::connect(&options)) {
        Ok(_) => panic!("nobody can be there"),
        Err(error) => error,
    }
}

fn with(server: &str, user: &str) -> String {
    KUBECONFIG.replace("SERVER", server).replace("USER", user)
}

#[test]
fn a_secret_that_fits_into_no_header_is_refused_by_name() {
    let file = |text: &str| {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    };
    let (broken, empty) = (file("s3cr3t\nmore\n"), file("\n"));
    for (user, words) in [
        (r#"{token: "s3cr3t\nmore"}"#.to_owned(), "`token` of the user \"u\" in"),
        (r#"{token: "s3cr3t\u0000"}"#.to_owned(), "`token` of the user \"u\" in"),
        (format!("{{tokenFile: {:?}}}", broken.path()), "has a character that no header can have"),
        (format!("{{tokenFile: {:?}}}", empty.path()), "it is empty"),
        ("{tokenFile: /nowhere}".to_owned(), "cannot read the token in /nowhere"),
        ("{tokenFile: /dev/zero}".to_owned(), "no regular file"),
        (
            r#"{auth-provider: {name: oidc, config: {idp-issuer-url: a, client-id: b, id-token: "s3cr3t\n"}}}"#.to_owned(),
            "the auth provider's `id-token`",
        ),
        ("{auth-provider: {name: gcp, config: {cmd-path: sh}}}".to_owned(), "\"gcp\" is not supported"),
        (gives(r#"{"token": "s3cr3t\nmore"}"#), "the `token` of the credential plugin \"sh\" has a character"),
    ] {
        let error = connected(with(NOBODY_WITH_TLS, &user).as_bytes()).to_string();
        assert!(error.contains(words), "{user}: {error}");
        assert!(!error.contains("s3cr3t"), "{error}");
    }
}

#[test]
fn a_secret_that_kubectl_takes_is_taken() {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(b"t0ken\n").unwrap();
    for user in [
        format!("{{tokenFile: {:?}}}", file.path()),
        r#"{username: "us\ner", password: "pass\nword"}"#.to_owned(),
        r#"{token: "", client-certificate: "", username: ""}"#.to_owned(),
        gives(r#"{"token": "t0ken"}"#),
        gives("{token: t0ken, expirationTimestamp: 2000-01-01T00:00:00Z}"),
    ] {
        let error = connected(with(NOBODY_WITH_TLS, &user).as_bytes());
        assert!(matches!(error, ClusterError::Unreachable { .. }), "{user}: {error}");
    }
}

fn exec(script: &str) -> String {
    let keys = "apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never";
    format!("{{exec: {{command: sh, args: [-c, {}], {keys}}}}}", serde_json::json!(script))
}

/// A plugin that prints an answer with this status.
fn gives(status: &str) -> String {
    exec(&format!("cat <<'EOF'\n{HEAD}{status}}}\nEOF"))
}

#[test]
fn what_a_plugin_prints_is_not_repeated() {
    for (user, words) in [
        (exec("echo s3cr3t; exit 3"), "failed with exit code 3"),
        (exec("echo s3cr3t; echo 'no session, password=s3cr3t' >&2; exit 1"), "no session, password=***"),
        (gives(r#"{"token": ["s3cr3t"]}"#), "printed no ExecCredential: see line 1"),
        (exec("echo s3cr3t"), "printed no ExecCredential"),
        (gives(r#"{"tokens": "s3cr3t"}"#), "neither a token nor a certificate"),
        (gives(r#"{"token": "x", "expirationTimestamp": "s3cr3t"}"#), "no RFC 3339"),
        (exec("printf '\\377s3cr3t'"), "no UTF-8"),
        (
            gives(r#"{"clientCertificateData": "s3cr3t", "clientKeyData": "s3cr3t"}"#),
            "the `clientCertificateData` of the credential plugin \"sh\" has no certificate",
        ),
    ] {
        let error = connected(with(NOBODY_WITH_TLS, &user).as_bytes()).to_string();
        assert!(error.contains(words) && !error.contains("s3cr3t"), "{user}: {error}");
    }
}

#[test]
fn no_line_of_a_kubeconfig_is_shown() {
    for text in [
        "users:\n- name: u\n  user:\n    token: s3cr3t\n   password: s3cr3t\n",
        "users: s3cr3t",
        "users:\n- name: u\n  user: s3cr3t\n",
        "users:\n- name: u\n  user: {token: [s3cr3t]}\n",
        "users:\n- name: u\n  user: {token: \"s3cr3t}\n",
        "clusters:\n- name: k\n  cluster: {insecure-skip-tls-verify: s3cr3t}\n",
        "s3cr3t",
    ] {
        let error = connected(text.as_bytes()).to_string();
        assert!(error.contains("kubeconfig"), "{error}");
        assert!(!error.contains("s3cr3t"), "{text}: {error}");
    }
    let proxied = "http://127.0.0.1:1, proxy-url: 'http://robot:s3cr3t@127.0.0.1:1'";
    for server in [
        "http://robot:s3cr3t@127.0.0.1:1",
        "ftp://robot:s3cr3t@127.0.0.1:1",
        "'robot:s3cr3t@127.0.0.1:1'",
        proxied,
    ] {
        let error = connected(with(server, "{}").as_bytes()).to_string();
        assert!(!error.contains("s3cr3t"), "{server}: {error}");
    }
}

#[test]
fn texts_of_every_encoding_are_read_or_refused() {
    let text = with(NOBODY, "{}");
    let utf16 = |mark: [u8; 2], of: fn(u16) -> [u8; 2]| {
        [mark.to_vec(), text.encode_utf16().flat_map(of).collect()].concat()
    };
    for bytes in [
        [b"\xEF\xBB\xBF", text.as_bytes()].concat(),
        utf16([0xFF, 0xFE], u16::to_le_bytes),
        utf16([0xFE, 0xFF], u16::to_be_bytes),
    ] {
        assert!(matches!(connected(&bytes), ClusterError::Unreachable { .. }));
        // The reader of kube 5.0 panics on half a character.
        assert!(connected(&bytes[..bytes.len() - 1]).to_string().len() > 10);
    }
    assert!(connected(b"\xFF\xFEa").to_string().contains("within a character"));
    assert!(connected(b"\xFE\xFF\xD8\x00").to_string().contains("invalid UTF-16"));
    assert!(connected(b"a\xFF").to_string().contains("invalid UTF-8"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever a kubeconfig says, there is an answer. The servers are none that anybody listens on.
    #[test]
    fn connecting_never_panics(
        server in prop_oneof![
            prop::sample::select(vec![
                NOBODY, NOBODY_WITH_TLS, "127.0.0.1:1", "https://127.0.0.1:1", "http://127.0.0.1:1/a b", "http://u:p@127.0.0.1:1", "127.0.0.1:1/x?y",
                "''", "'/'", "'*'", "http://", "https:///", "unix:/run/x", "'[::1]:1'", "http://127.0.0.1:1/%zz", "null", "[]", "127.0.0.1:-1",
            ]).prop_map(str::to_owned),
            "(http://|https://)?[:/?#@\\[\\]%]{0,4}127\\.0\\.0\\.1:1[/a-z?#@% ]{0,6}".prop_map(|text| serde_json::json!(text).to_string()),
        ],
        key in prop::sample::select(vec![
            "token", "tokenFile", "username", "password", "client-key-data", "client-certificate-data", "client-certificate",
            "as", "as-uid", "as-groups", "as-user-extra", "auth-provider", "exec", "other",
        ]),
        value in prop_oneof![
            any::<String>().prop_map(|text| serde_json::json!(text).to_string()),
            prop::sample::select(vec!["null", "[]", "{}", "1", "true", "aGVsbG8K", "{name: oidc, config: {id-token: a}}", "{command: 'true'}"])
                .prop_map(str::to_owned),
        ],
        cluster_key in prop::sample::select(vec!["proxy-url", "tls-server-name", "certificate-authority-data", "certificate-authority", "x"]),
        cluster_value in prop_oneof![
            "[ -~]{0,12}".prop_map(|text| serde_json::json!(text).to_string()),
            prop::sample::select(vec!["http://127.0.0.1:1", "socks5://127.0.0.1:1", "null", "aGVsbG8K"]).prop_map(str::to_owned),
        ],
        broken in prop::option::of((any::<prop::sample::Index>(), any::<char>())),
    ) {
        // A proxy of another host would be asked for.
        prop_assume!(cluster_key != "proxy-url" || cluster_value.contains("127.0.0.1") || !cluster_value.contains("://"));
        let server = format!("{server}, {cluster_key}: {cluster_value}");
        let mut text = with(&server, &format!("{{username: u, {key}: {value}}}"));
        if let Some((at, c)) = broken {
            let at = text.floor_char_boundary(at.index(text.len()));
            let line = text[..at].rfind('\n').map_or(0, |at| at + 1);
            // Not within an address.
            if !text[line..].starts_with("- {name: k") {
                text.insert(at, c);
            }
        }
        let shown = connected(text.as_bytes()).to_string();
        prop_assert!(!shown.contains(crate::outside_text::is_unprintable), "{shown:?}");
    }
}
