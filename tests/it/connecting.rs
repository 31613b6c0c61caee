//! Whatever kubectl takes: the same kubeconfig, environment and server are given to kubectl and to us, and
//! what reaches the server and the proxy is compared.
//!
//! The other ends are scripted and on loopback. A row in which we differ on purpose says why in the table.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use row::{Did, Ours, Row};

mod renewal;
mod row;
mod table;
mod world;

/// Two clients and two servers a row; more at a time are not faster.
const WORKERS: usize = 4;

fn kubectl() -> PathBuf {
    let bed = std::env::var("QUAYCTL_TEST_BED").expect(
        "QUAYCTL_TEST_BED names the built test bed: run `make test`, or export it from tests/cluster/build.sh",
    );
    PathBuf::from(bed).join("kubectl")
}

#[test]
fn what_reaches_the_server_is_what_kubectl_sends() {
    let only = std::env::var("QUAYCTL_TEST_ROW").unwrap_or_default();
    let rows: Vec<Row> = table::rows().into_iter().filter(|row| row.name.contains(&only)).collect();
    let kubectl = kubectl();
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (theirs, ours) = (row.kubectl(&kubectl), row.ours());
                    let wrong = judge(row, &theirs, &ours);
                    if !wrong.is_empty() {
                        found.lock().unwrap().push(shown(row, &wrong, &theirs, &ours));
                    }
                }
            });
        }
    });
    let found = found.into_inner().unwrap();
    let on_purpose = rows.iter().filter(|row| row.differs.is_some()).count();
    println!("{} rows, {} of them different on purpose, {} wrong", rows.len(), on_purpose, found.len());
    assert!(only.len() + rows.len() >= 120);
    assert!(found.is_empty(), "{} of {} rows:\n\n{}", found.len(), rows.len(), found.join("\n\n"));
}

/// What is wrong with a row.
fn judge(row: &Row, theirs: &Did, ours: &Did) -> Vec<String> {
    let mut wrong = Vec::new();
    let is_same = theirs.records == ours.records && (theirs.code == Some(0)) == (ours.code == Some(0));
    match row.differs {
        None if !is_same => wrong.push("differs".to_owned()),
        Some(_) if is_same => wrong.push("is said to differ, and does not".to_owned()),
        Some((_, Ours::Refuses)) if ours.records.iter().any(|record| record.contains_key("method")) => {
            wrong.push("is to be refused".to_owned());
        }
        Some((_, Ours::Sends)) if ours.records.is_empty() => wrong.push("is to arrive".to_owned()),
        _ => {}
    }
    if !matches!(ours.code, Some(0 | 3)) {
        wrong.push(format!("ends with {:?}", ours.code));
    }
    if ours.code != Some(0) {
        wrong.extend(
            row.says
                .iter()
                .filter(|words| !ours.stderr.contains(**words))
                .map(|words| format!("does not say {words:?}")),
        );
    }
    for secret in [
        "s3cr3t",
        "pl0gin",
        "fr0mfile",
        "t0ken",
        "p@ss",
        "p%40ss",
        "from_str_multiple",
        "DuplicateKeyPolicy",
        "panicked",
    ] {
        if ours.stderr.contains(secret) {
            wrong.push(format!("shows {secret:?}"));
        }
    }
    wrong
}

fn shown(row: &Row, wrong: &[String], theirs: &Did, ours: &Did) -> String {
    let did = |did: &Did| {
        let records: Vec<String> = did.records.iter().map(|record| format!("    {record:?}\n")).collect();
        format!("{:?}\n{}    {}", did.code, records.concat(), did.stderr.trim().replace('\n', "\n    "))
    };
    format!("{}: {}\n  kubectl: {}\n  we: {}", row.name, wrong.join(", "), did(theirs), did(ours))
}
