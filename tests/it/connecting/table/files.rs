//! Kubeconfigs as files, one and many, and their contexts.

use super::{ASKS, HTTPS};
use crate::connecting::row::Ours::{Refuses, Sends};
use crate::connecting::row::{Row, row};
use crate::connecting::world::pem;

pub fn files() -> Vec<Row> {
    let config = |context: &str, cluster: &str, user: &str| {
        format!(
            "current-context: {context}\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}, {{name: d, context: {{cluster: k, user: v}}}}]\n\
             clusters: [{{name: k, cluster: {{{cluster}}}}}]\nusers: [{{name: u, user: {{token: {user}}}}}, {{name: v, user: {{token: of-v}}}}]\n"
        )
    };
    let many = |name: &str, list: &str| row(format!("files: {name}")).env("KUBECONFIG", list);
    let text = |name: &str, text: String| row(format!("files: {name}")).kubeconfig(text);
    let good = row("").text();
    vec![
        many("one of two is missing", "{dir}/nowhere:{dir}/kubeconfig"),
        many("the second is missing", "{dir}/kubeconfig:{dir}/nowhere"),
        many("empty names", ":{dir}/kubeconfig::"),
        many("all are missing", "{dir}/nowhere:{dir}/neither").says("none of the files that KUBECONFIG names is there"),
        many("an empty list", "").path(".kube/config"),
        many("only separators", "::").path(".kube/config").says("names no file"),
        many("relative to where we are", "kubeconfig"),
        many("the first wins", "{dir}/a:{dir}/b").file("a", config("c", HTTPS, "of-a")).file("b", config("d", "server: 'http://127.0.0.1:1'", "of-b")),
        many("an empty current context is none", "{dir}/a:{dir}/b").file("a", config("''", HTTPS, "of-a")).file("b", config("d", "server: 'http://127.0.0.1:1'", "of-b")),
        many("an entry is from one file", "{dir}/a:{dir}/b")
            .file("a", config("c", "server: 'https://127.0.0.1:{port}'", "of-a"))
            .file("b", config("c", HTTPS, "of-b"))
            .says("unknown authority"),
        many("context, cluster and user of three files", "{dir}/a:{dir}/b:{dir}/c")
            .file("a", "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]")
            .file("b", format!("clusters: [{{name: k, cluster: {{{HTTPS}}}}}]"))
            .file("c", "users: [{name: u, user: {token: t0ken}}]"),
        many("paths are relative to their own file", "{dir}/a:{dir}/sub/b")
            .file("a", "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]")
            .file("sub/b", "clusters: [{name: k, cluster: {server: 'https://127.0.0.1:{port}', certificate-authority: ca.pem}}]\nusers: [{name: u, user: {tokenFile: token}}]")
            .file("sub/ca.pem", pem("ca.pem"))
            .file("sub/token", "fr0mfile"),
        many("one is damaged", "{dir}/kubeconfig:{dir}/b").file("b", "{").says("DIR/b is wrong: line 1"),
        many("one is empty", "{dir}/b:{dir}/kubeconfig").file("b", ""),
        many("one is a folder", "{dir}:{dir}/kubeconfig").says("DIR"),
        many("the same twice", "{dir}/kubeconfig:{dir}/kubeconfig"),
        row("files: by flag").env("KUBECONFIG", "{dir}/nowhere").args(&["--kubeconfig", "{dir}/kubeconfig"]),
        row("files: by flag, beside another").env("KUBECONFIG", "{dir}/b").file("b", "{").args(&["--kubeconfig", "{dir}/kubeconfig"]),
        row("files: by an empty flag").args(&["--kubeconfig", ""]),
        row("files: by flag, and missing").args(&["--kubeconfig", "{dir}/nowhere"]).says("cannot read the kubeconfig DIR/nowhere"),
        row("files: at home").path(".kube/config").env("KUBECONFIG", ""),
        text("JSON", serde_json::to_string(&serde_saphyr::from_str::<serde_json::Value>(&good).unwrap()).unwrap()),
        text("a byte order mark", format!("\u{feff}{good}")),
        text("CRLF", good.replace('\n', "\r\n")),
        text("two documents", format!("{good}---\ncurrent-context: d\n")),
        text("three dashes before it", format!("---\n{good}")),
        text("an empty document before it", format!("---\n---\n{good}")).says("no `current-context`").differs("kubectl reads the empty document and finds nothing in it", Sends),
        text("another kind", good.replace("kind: Config", "kind: Pod")).says("no `kind: Config`"),
        text("another version", good.replace("apiVersion: v1", "apiVersion: v2")).says("no `kind: Config`"),
        text("neither kind nor version", good.replace("kind: Config\n", "").replace("apiVersion: v1\n", "")),
        text("unknown keys", format!("{good}colour: red\npreferences: {{colors: true}}\nextensions: []\n")),
        text("odd preferences", format!("{good}preferences: {{colors: 'no'}}\n")).differs("what we do not use is not looked at", Sends),
        text("a key twice", good.replace("current-context: c", "current-context: d\ncurrent-context: c")),
        text("a name twice", good.replace("users:\n", "users:\n- {name: u, user: {token: an0ther}}\n")).says("`users` has the name \"u\" twice"),
        text("null lists", format!("{}\nextensions: null\n", good.replace("users:", "preferences: null\nusers:"))),
        text("a list that is a map", good.replace("users:\n- {name: u", "users:\n  {name: u")).says("`users`"),
        text("an anchor", good.replace("{name: u, user: {token: t0ken}}", "{name: v, user: &a {token: t0ken}}\n- {name: u, user: *a}")),
        text("another entry that is damaged", good.replace("users:\n", "users:\n- {name: v, user: {client-key-data: '***'}}\n"))
            .differs("what the context does not name is not used", Sends),
        text("no YAML", "{".to_owned()).says("is wrong: line 1"),
        text("a scalar", "hello".to_owned()).says("no YAML mapping"),
        text("empty", String::new()).says("no `current-context`"),
        text("only comments", "# nothing\n".to_owned()).says("no `current-context`"),
    ]
}

pub fn contexts() -> Vec<Row> {
    let text = |name: &str, find: &str, put: &str| {
        row(format!("context: {name}")).kubeconfig(row("").text().replace(find, put))
    };
    vec![
        row("context: by flag")
            .args(&["--context", "c"])
            .kubeconfig(row("").text().replace("current-context: c", "current-context: nowhere")),
        row("context: by an empty flag").args(&["--context", ""]),
        row("context: by flag, and missing")
            .args(&["--context", "x"])
            .says("there is no context \"x\" in DIR/kubeconfig; there are c"),
        text("no current one", "current-context: c\n", "").says("no `current-context`"),
        text("an empty current one", "current-context: c", "current-context: ''")
            .says("no `current-context`"),
        text("null", "current-context: c", "current-context: null").says("no `current-context`"),
        text("one that is missing", "current-context: c", "current-context: x")
            .says("there is no context \"x\""),
        text("a cluster that is missing", "cluster: k,", "cluster: x,")
            .says("names the cluster \"x\", which is not there"),
        text("no cluster", "cluster: k,", "").says("names no `cluster`"),
        text("a user that is missing", "user: u}", "user: x}").differs(ASKS, Sends),
        text("no user", ", user: u}", "}").differs(ASKS, Sends),
        row("context: a namespace").context("namespace: ns"),
        row("context: an empty namespace").context("namespace: ''"),
        row("context: a namespace that is none")
            .context("namespace: 'a/b'")
            .says("`namespace` of the context")
            .differs("kubectl looks at a namespace when it needs one; it becomes a part of a path", Refuses),
    ]
}
