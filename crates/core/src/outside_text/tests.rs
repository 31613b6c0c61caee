#![expect(clippy::disallowed_methods, reason = "a test looks at the clock for what may take minutes")]

use proptest::prelude::*;

use super::*;

const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Each holds `s3cr3t`, which must not be seen, and what stands behind it must.
#[test]
fn credentials_are_not_shown() {
    for text in [
        // URLs
        "proxy http://robot:s3cr3t@proxy.example:3128 is down",
        "Get \"https://robot:s3cr3t@registry.example/v2/\": dial tcp: i/o timeout",
        "https://s3cr3ttoken@registry.example/v2/ refused",
        "https://robot:s3cr3t/with@odd@registry.example/v2/ refused",
        "socks5://robot:s3cr3t@127.0.0.1:1080, then refused",
        "url=https%3A%2F%2Frobot%3As3cr3t%40registry.example%2Fv2 failed",
        "https:\\/\\/robot:s3cr3t@registry.example\\/v2 failed",
        "robot:s3cr3t@registry.example/team/app:1 failed",
        "robot:s3,cr3t-s3cr3t@registry.example failed",
        "image robot:s3cr3t@registry.example/a@sha256:0123 failed",
        // Headers
        "Authorization: Bearer s3cr3t failed",
        "map[Accept:[*/*] Authorization:[Bearer s3cr3t] User-Agent:[x]] failed",
        "\"Authorization\": \"Basic s3cr3t\", failed",
        "{\"authorization\":\"bearer s3cr3t\"} failed",
        "request with Bearer s3cr3t failed",
        "Proxy-Authorization: Basic czNjcjN0OnMzY3IzdA== failed",
        // Queries
        "Get \"https://h/v2/?token=s3cr3t&scope=x\": failed",
        "https://b.example/o?X-Amz-Signature=s3cr3t&X-Amz-Date=1 failed",
        "https://b.example/o?sv=1&sig=s3cr3t%3D&se=2 failed",
        "https://b.example/o?X-Goog-Credential=s3cr3t&x=1 failed",
        "redirect?u=https%3A%2F%2Fh%2F%3Faccess_token%3Ds3cr3t%26x%3D1 failed",
        // Kubeconfig and YAML, as excerpts show them
        "users:\n- name: a\n  user:\n    token: s3cr3t\nx: failed",
        "  |\n3 |     password: s3cr3t and more s3cr3t\n  |     ^ failed",
        "- password: \"s3cr3t \\\" s3cr3t\"\nx: failed",
        "user:\n  client-key-data: s3cr3t\n  other: failed",
        "{name: a, user: {token: s3cr3t, x: 1}} failed",
        "error at \"users:\\n- user:\\n    token: s3cr3t\\n    x: failed\"",
        "user:\n  token: |\n    s3cr3t\n    s3cr3t\nx: failed",
        "  tokenFile: /a\n  id-token: 's3cr3t'\nx: failed",
        // Docker
        "{\"auths\":{\"h\":{\"auth\":\"s3cr3t\",\"password\":\"}s3cr3t\"}}} failed",
        "\"{\\\"auths\\\":{\\\"h\\\":{\\\"auth\\\":\\\"s3cr3t\\\"}}}\" failed",
        "{\"auth\": \"s3cr3t\", \"email\": \"failed\"}",
        "{\"identitytoken\":\"s3cr3t\"} failed",
        // Pairs
        "password=s3cr3t failed",
        "DB_PASSWORD=s3cr3t failed",
        "user=x;client-secret = \"s3cr3t s3cr3t\" failed",
        "apiKey: \"s3cr3t\", failed",
        "\"status\":{\"token\":\"s3cr3t\"}, failed",
        "AWS_SECRET_ACCESS_KEY=s3cr3t/s3cr3t failed",
        "password = '''\ns3cr3t\ns3cr3t''' failed",
        "login failed, password: s3cr3t (failed)",
        "\"aws\" \"--token\" \"s3cr3t\" \"failed\"",
        "kubelogin --client-secret s3cr3t failed",
        "token: \u{1b}[31ms3cr3t\u{1b}[0m failed",
    ] {
        for shown in [one_line(text), one_line_within(text, 400), block(text), redacted(text), starred(text)]
        {
            assert!(!shown.contains("s3c"), "{text}\n→ {shown}");
            assert!(
                text.contains("s3cr3t\u{1b}")
                    || shown.contains("failed")
                    || shown.contains("refused")
                    || shown.contains("down")
                    || shown.contains("timeout"),
                "{text}\n→ {shown}"
            );
        }
        assert_eq!(starred(text).len(), text.len());
    }
}

#[test]
fn keys_are_known_by_their_looks() {
    let key =
        |prefix: &str, length: usize| format!("{prefix}{}", &"a1B2c3D4e5F6g7H8i9J0".repeat(5)[..length]);
    for secret in [
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0.c2lnbmF0dXJl".to_owned(),
        "eyJhdXRocyI6eyJoIjp7ImF1dGgiOiJ4In19fQ==".to_owned(),
        "ewoJImF1dGhzIjogeyJoIjogeyJhdXRoIjogIngifX19".to_owned(),
        "AKIAIOSFODNN7EXAMPLE".to_owned(),
        "abcdef.0123456789ghijkl".to_owned(),
        key("ghp_", 36),
        key("github_pat_", 40),
        key("glpat-", 20),
        key("dckr_pat_", 27),
        key("hvs.", 24),
        key("sha256~", 43),
        key("", 64),
        key("LS0tLS1CRUdJTi", 30),
    ] {
        let shown = one_line(&format!("refused {secret}, try again")).into_owned();
        assert_eq!(shown, "refused ***, try again", "{secret}");
    }
    let pem = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\n-----END EC PRIVATE KEY-----";
    assert_eq!(one_line(&format!("bad {pem} here")), "bad *** here");
    assert_eq!(one_line(&format!("bad {}", &pem[..40])), "bad ***", "an excerpt that ends within it");
    assert_eq!(one_line(&pem.replace('\n', "\\n")), "***");
}

/// What nobody may star: a digest, a name, prose that speaks of credentials.
#[test]
fn texts_without_credentials_stay() {
    let digest = format!("quay.io:443/team/app:1.0@sha256:{HEX}");
    let uid = "0f5a8d3e-7c0b-4a53-9d53-1b7ad0a5b1f0";
    for text in [
        "",
        &digest,
        &format!("image \"{digest}\": not found"),
        &format!("docker://quay.io/team/app@sha256:{HEX}"),
        &format!("containerd://{HEX}"),
        &format!("/var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~projected/kube-api-access-x7k2p"),
        "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/1234/fs/usr/lib/x86_64",
        "run 2026-11-25t04-00-00z-1a2b3c of instance default",
        "failed to authorize: failed to fetch oauth token: unexpected status from GET request to \
         https://auth.docker.io/token?scope=repository%3Alibrary%2Fnginx%3Apull&service=registry.docker.io: \
         401 Unauthorized",
        "failed to fetch anonymous token: Get \"https://auth.docker.io/token?service=x\": dial tcp 1.2.3.4:443: i/o timeout",
        "failed to fetch anonymous token: x509: certificate signed by unknown authority",
        "pull access denied, repository does not exist or may require authorization: server message: \
         insufficient_scope: authorization failed",
        "no basic auth credentials",
        "Www-Authenticate: Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\"",
        "invalid bearer token, use a bearer token of this cluster",
        "Unable to retrieve some image pull secrets (regcred); attempting to pull the image may not succeed.",
        "secrets \"regcred\" is forbidden: User \"system:serviceaccount:quayctl:runner\" cannot get resource",
        "User \"oidc:jane@example.com\" cannot list resource \"nodes\" in API group \"\" at the cluster scope",
        "context kubernetes-admin@kind-kind, user arn:aws:iam::1234:role/admin",
        "ssh://git@example.com/a, mail ops@example.com",
        "secret \"x\" not found; couldn't find key password in Secret default/x",
        "pull_secrets = [\"regcred\"] and tokenFile: /var/run/token, secretName: x",
        "token: Required value",
        "spec.containers[0].env[0].valueFrom.secretKeyRef.name: Required value",
        "volumes:\n- name: a\n  secret:\n    secretName: b\n",
        "PWD=/root, bypass=1, oauth: x1y2z3q, password={{values.p}}, token=${TOKEN}",
        "event web-0abc1.17f2a9b3c4d5e6f7 on host nodexy.compute1internals",
        "x509: Basic Constraints are missing",
        "the name `{{quayctl}}` — “quoted”, ½ é 漢字 🚢",
    ] {
        assert!(matches!(one_line(text), Cow::Borrowed(_)) || text.contains('\n'), "{}", one_line(text));
        assert_eq!(block(text), text);
        assert_eq!(starred(text), text);
    }
}

#[test]
fn what_acts_on_a_terminal_is_escaped() {
    assert_eq!(one_line("a\u{1b}[31mb\r\n\tc\u{9b}2J\u{7f}"), "a\\u{1b}[31mb\\r\\n\\tc\\u{9b}2J\\u{7f}");
    assert_eq!(
        one_line("a\u{202e}b\u{2066}c\u{200b}d\u{2028}e\u{feff}f\u{e0041}"),
        "a\\u{202e}b\\u{2066}c\\u{200b}d\\u{2028}e\\u{feff}f\\u{e0041}"
    );
    assert_eq!(block("a\n\tb\rc\u{85}"), "a\n\tb\\rc\\u{85}");
}

#[test]
fn the_middle_is_left_out() {
    let text = format!("failed to pull: {}: no such host", "x".repeat(500));
    let shown = one_line_within(&text, 100);
    assert_eq!(shown.len(), 100);
    assert!(shown.starts_with("failed to pull: x") && shown.ends_with("x: no such host"), "{shown}");
    assert_eq!(one_line_within("short", 100), "short");
    assert_eq!(without_middle("äöü", 2), "ä");
    assert_eq!(without_middle("äöü", 0), "");
}

/// As the API server, a proxy or a registry may answer when it is not what it should be.
#[test]
fn much_text_takes_little_time() {
    for part in [
        "a://a:",
        "@",
        "token: ",
        "auth=",
        "\\",
        "a:b@",
        "--token ",
        "Bearer ",
        "\"auths\":{",
        "{,token:",
        "authorization: digest ",
        "-----BEGIN PRIVATE KEY",
        "eyJ",
        "%3A%2F%2F",
        "1",
        "\u{1b}",
        "é",
        "x ",
    ] {
        let text = part.repeat((256 << 10) / part.len());
        let begun = std::time::Instant::now();
        let shown = one_line_within(&text, 1000);
        assert!(shown.len() <= 1000);
        // Some 10 ms where nothing else runs; what grows with the square takes minutes.
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{part:?}: {:?}", begun.elapsed());
    }
}

/// Texts made of what the patterns look for, so that they meet each other.
fn outside() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "\\PC{0,8}",
        any::<String>(),
        "[a-z]{1,6}://[a-z:@/%]{0,12}",
        prop::sample::select(vec![
            "token",
            "password",
            ": ",
            "=",
            "\"",
            "\\\"",
            "'",
            "\n",
            "\\n",
            "{",
            "}",
            "auths",
            "Bearer ",
            "Authorization: ",
            "eyJhbGciOiJSUzI1NiJ9",
            "@",
            "://",
            "sha256:",
            "…",
            "***",
            "*",
            "-----BEGIN PRIVATE KEY-----",
            "-----END",
            "-----",
            "%3A%2F%2F",
            "%40",
            "&",
            "?",
            "|",
            " ",
            "[",
            "]",
            ",",
            "--token ",
            "\u{1b}[",
            "\u{202e}",
            "abc123XYZ",
            "ghp_",
            HEX,
            "LS0tLS1CRUdJTi",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(part, 0..14).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn shown_text_is_harmless_short_and_stays_the_same(text in outside(), limit in 0_usize..120) {
        let line = one_line(&text);
        prop_assert!(!line.contains(is_unprintable));
        prop_assert_eq!(&one_line(&line), &line);

        let lines = block(&text);
        prop_assert!(!lines.contains(|c| is_unprintable(c) && !matches!(c, '\n' | '\t')));
        prop_assert_eq!(&block(&lines), &lines);

        let short = one_line_within(&text, limit);
        prop_assert!(short.len() <= limit);
        prop_assert!(!short.contains(is_unprintable));
        prop_assert_eq!(&one_line_within(&short, limit), &short);

        let stars = starred(&text);
        prop_assert_eq!(stars.len(), text.len());
        prop_assert_eq!(stars.matches('\n').count(), text.matches('\n').count());
    }

    #[test]
    fn a_password_is_hidden_wherever_it_stands(
        secret in "[A-Za-z0-9+/=._~!$-]{12,60}",
        before in "[a-z ]{0,20}",
        shape in 0_usize..8,
    ) {
        prop_assume!(secret.contains(|c: char| c.is_ascii_alphabetic()));
        let text = match shape {
            0 => format!("{before} https://robot:{secret}@host.example/v2/ refused"),
            1 => format!("{before} Authorization: Bearer {secret}"),
            2 => format!("{before} password={secret} refused"),
            3 => format!("{before}\n  token: {secret}\n"),
            4 => format!("{before} {{\"token\":\"{secret}\"}}"),
            5 => format!("{before} {{\\\"auth\\\": \\\"{secret}\\\"}}"),
            6 => format!("{before} {{\"auths\":{{\"h\":{{\"x\":\"{secret}\"}}}}}}"),
            _ => format!("{before} https://h.example/?x=1&sig={secret}&y=2"),
        };
        // But for what is punctuation behind a word.
        let core = secret.trim_end_matches('.');
        prop_assume!(!core.starts_with("$("));
        prop_assert!(!one_line(&text).contains(core), "{}", one_line(&text));
        prop_assert!(!starred(&text).contains(core));
    }
}
