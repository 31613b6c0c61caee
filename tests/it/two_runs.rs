//! Two runs of one instance at the same time, with run ids of their own: one live Job a node all the same.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::bed::{self, Bed, Observer, is_over};
use crate::support::ended;

/// A Job's time from its creation to its end, in seconds as the API server writes them.
struct Span {
    run: String,
    created: String,
    ended: String,
    gave_way: bool,
}

fn spans(bed: &Bed, namespace: &str) -> BTreeMap<String, Vec<Span>> {
    let mut spans: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    // One that has given way may outlive both runs by a moment, as its pod goes.
    for job in bed.jobs(namespace).iter().filter(|job| !is_over(job)) {
        let name = job["metadata"]["name"].as_str().unwrap();
        let failed = ["wait", "--for=condition=Failed", "job", name, "-n", namespace, "--timeout=30s"];
        ended(&mut bed.kubectl(&failed)).expect_code(0);
    }
    for job in bed.jobs(namespace) {
        assert!(is_over(&job), "{job}");
        let conditions = job["status"]["conditions"].as_array().unwrap();
        let end = conditions.iter().find(|c| c["type"] == "Complete" || c["type"] == "Failed").unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let annotations = &job["metadata"]["annotations"];
        // Ended for the other's sake, with its work before it or behind it.
        let note = text(&annotations["quayctl-controller/outcome"]);
        spans.entry(text(&annotations["quayctl-controller/node"])).or_default().push(Span {
            run: text(&job["metadata"]["labels"]["quayctl-controller/run"]),
            created: text(&job["metadata"]["creationTimestamp"]),
            ended: text(&end["lastTransitionTime"]),
            gave_way: ["\"yielded\"", "\"succeeded\""].iter().any(|word| note.contains(word)),
        });
    }
    spans
}

/// Starts run `a`, run `b` once `begins` says so, and checks what became of them. Gives how many Jobs of
/// one run were taken over by the other, and how many gave way.
fn two_runs(
    bed: &Bed,
    image_of_a: &str,
    image_of_b: &str,
    begins: impl FnOnce(&mut Observer),
) -> (usize, usize) {
    let namespace = bed.namespace("two-runs");
    let config = |image: &str| {
        let group = |name: &str, extra: &str| {
            format!("[[groups]]\nname = \"{name}\"\nimages = [\"{image}\", \"quay.io/team/{extra}:1\"]\n")
        };
        format!("concurrency = 8\n{}{}", group("g", "one"), group("h", "two"))
    };
    let nodes = ["node-001", "node-002", "node-003", "node-004"].iter().flat_map(|node| ["--node", *node]);
    let flags = |run: &'static str| ["--run-id", run].into_iter().chain(nodes.clone()).collect::<Vec<&str>>();
    let mut observer = Observer::start(bed, &namespace);
    let begun = Instant::now();
    let a = bed.start_run(&namespace, &config(image_of_a), &flags("a"));
    begins(&mut observer);
    let b = bed.start_run(&namespace, &config(image_of_b), &flags("b"));
    let both = [a, b].map(|running| running.end().expect_code(0));
    let said = both.iter().map(|run| run.stderr.as_str()).collect::<Vec<&str>>().join("\n---\n");
    let reports = both.map(|run| run.json());
    // Far below a Job's deadline of 300 s: no end was missed.
    assert!(begun.elapsed() < Duration::from_secs(90), "{:?}", begun.elapsed());
    let mut adopted = 0;
    for report in &reports {
        for node in report["groups"].as_array().unwrap().iter().flat_map(|g| g["nodes"].as_array().unwrap()) {
            assert_eq!(node["verdict"], "succeeded", "{node}");
            adopted += usize::from(!node["adoptedFrom"].is_null());
        }
    }
    let mut given_way = 0;
    for (node, spans) in spans(bed, &namespace) {
        given_way += spans.iter().filter(|span| span.gave_way).count();
        for span in spans.iter().filter(|span| span.gave_way) {
            let times = [&span.created, &span.ended].map(|time| time.parse::<jiff::Timestamp>().unwrap());
            let took = times[1].duration_since(times[0]).as_secs();
            assert!(took <= 20, "the younger Job on {node} was live for {took} s beside the elder\n{said}");
        }
        let mut kept: Vec<&Span> = spans.iter().filter(|span| !span.gave_way).collect();
        kept.sort_by(|a, b| (&a.created, &a.ended).cmp(&(&b.created, &b.ended)));
        for pair in kept.windows(2) {
            assert!(
                pair[0].ended <= pair[1].created,
                "two live Jobs on {node}: of run {} until {}, and of run {} from {}\n{said}",
                pair[0].run,
                pair[0].ended,
                pair[1].run,
                pair[1].created
            );
        }
    }
    (adopted, given_way)
}

#[test]
fn of_equal_content_leave_one_live_job_a_node_whenever_the_second_begins() {
    let bed = bed::shared();
    let image = "quay.io/team/runs-2s:1";
    let mut adopted = 0;
    // At the same moment, twice, since that is where they race.
    adopted += two_runs(bed, image, image, |_| {}).0;
    adopted += two_runs(bed, image, image, |_| {}).0;
    // After so many changes of Jobs: four Jobs, each created, begun, and over.
    for events in [1, 4, 7, 10] {
        adopted += two_runs(bed, image, image, |observer| {
            for _ in 0..events {
                observer.next_job();
            }
        })
        .0;
    }
    assert!(adopted >= 6, "each took over Jobs of the other: {adopted}");
}

#[test]
fn of_other_content_wait_for_each_other() {
    let bed = bed::shared();
    for begins in [0, 4] {
        let (adopted, _) = two_runs(bed, "quay.io/team/runs-2s:1", "quay.io/team/runs-2s:2", |observer| {
            for _ in 0..begins {
                observer.next_job();
            }
        });
        assert_eq!(adopted, 0);
    }
}
