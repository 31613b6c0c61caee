//! Each key of good ones with something else in its place.

use super::{ASKS, HTTPS};
use crate::connecting::row::Ours::{Refuses, Sends};
use crate::connecting::row::{Row, row};

const NO_TEXT: &str = "a list is no text, also where it is empty";

pub fn edits() -> Vec<Row> {
    let mut rows = Vec::new();
    let cluster = [
        "server",
        "certificate-authority",
        "certificate-authority-data",
        "tls-server-name",
        "proxy-url",
        "insecure-skip-tls-verify",
        "disable-compression",
        "extensions",
    ];
    let user = [
        "token",
        "tokenFile",
        "username",
        "password",
        "client-certificate",
        "client-certificate-data",
        "client-key",
        "client-key-data",
        "as",
        "as-uid",
        "as-groups",
        "as-user-extra",
        "exec",
        "auth-provider",
    ];
    for value in ["''", "null", "[]", "{}", "1"] {
        for key in cluster {
            let other = HTTPS
                .split(", ")
                .filter(|pair| !pair.starts_with(&format!("{key}:")))
                .collect::<Vec<_>>()
                .join(", ");
            let row = row(format!("edit: cluster {key}: {value}"))
                .cluster(format!("{other}, {key}: {value}").trim_start_matches(", "));
            rows.push(match (key, value) {
                ("certificate-authority-data", "[]") => row.differs(NO_TEXT, Refuses),
                _ => row,
            });
        }
        for key in user {
            let other = if key == "token" { "" } else { "token: t0ken, " };
            let row = row(format!("edit: user {key}: {value}")).user(format!("{other}{key}: {value}"));
            rows.push(match (key, value) {
                ("token", "''" | "null") => row.differs(ASKS, Sends),
                ("client-certificate-data" | "client-key-data", "[]") => row.differs(NO_TEXT, Refuses),
                ("auth-provider", "[]" | "{}") => {
                    row.differs("a token is enough, and what is beside it is not asked", Sends)
                }
                _ => row,
            });
        }
    }
    rows
}
