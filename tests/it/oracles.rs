//! What we read ourselves means what it means to those who read it in a cluster: image references to
//! distribution/reference, schedules to robfig/cron.
//!
//! The vectors are made by `tests/cluster/oracles`, whose programs say how.

use jiff::Timestamp;
use quayctl_controller::config::ImageRef;
use quayctl_controller::config::schedule::{Schedule, time_zone};
use serde_json::Value;

use crate::support::root;

fn vectors(name: &str) -> Value {
    let text = std::fs::read_to_string(root().join("tests/vectors").join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Fails with the first of all disagreements.
#[track_caller]
fn agree(compared: usize, disagreements: Vec<String>) {
    let first: Vec<&String> = disagreements.iter().take(20).collect();
    assert!(first.is_empty(), "{} of {compared} disagree: {first:#?}", disagreements.len());
}

#[test]
fn references_are_read_as_containerd_reads_them() {
    let vectors = vectors("references.json");
    let vectors = vectors.as_array().unwrap();
    assert!(vectors.len() >= 300, "{}", vectors.len());
    let mut disagreements = Vec::new();
    for vector in vectors {
        let of = |key: &str| vector[key].as_str().unwrap_or_default().to_owned();
        let mut wanted =
            (vector["valid"] == true).then(|| ["domain", "path", "tag", "digest", "normalised"].map(of));
        // A host with an underscore is part of the path to distribution/reference, and a host to
        // containerd's client.
        if let Some([domain, path, ..]) = &mut wanted
            && domain.is_empty()
        {
            let (host, rest) = path.split_once('/').unwrap();
            (*domain, *path) = (host.to_owned(), rest.to_owned());
        }
        let found = ImageRef::parse(&of("written")).map(|image| {
            let full = image.normalised();
            [image.registry, image.repository, image.tag, image.digest, full]
        });
        if found.as_ref().ok() != wanted.as_ref() {
            disagreements.push(format!("{}: {found:?}, wanted {wanted:?}", vector["written"]));
        }
    }
    agree(vectors.len(), disagreements);
}

#[test]
fn schedules_are_due_when_a_cronjob_is() {
    let vectors = vectors("schedules.json");
    let invalid = vectors["invalid"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut disagreements: Vec<String> = invalid
        .iter()
        .filter(|written| Schedule::parse(&text(written)).is_ok())
        .map(|written| format!("{written} is refused by a CronJob"))
        .collect();
    let mut compared = 0;
    for start in vectors["starting"].as_array().unwrap() {
        let zone = time_zone(&text(&start["zone"])).unwrap();
        for due in start["due"].as_array().unwrap() {
            let (written, fires) = due.as_array().unwrap().split_first().unwrap();
            let mut at: Timestamp = text(&start["after"]).parse().unwrap();
            let found = Schedule::parse(&text(written)).map(|schedule| {
                std::iter::from_fn(|| {
                    at = schedule.next_after(at, &zone)?;
                    Some(at.to_string())
                })
                .take(5)
                .collect::<Vec<_>>()
            });
            let wanted: Vec<String> = fires.iter().map(text).collect();
            if found.as_ref() != Ok(&wanted) {
                let (zone, after) = (&start["zone"], &start["after"]);
                disagreements
                    .push(format!("{written} in {zone} after {after}: {found:?}, wanted {wanted:?}"));
            }
            compared += 1;
        }
    }
    assert!(compared >= 5000, "{compared}");
    agree(compared + invalid.len(), disagreements);
}
