//! `serve` on the real control plane: schedules, runs, and how it ends.

use std::time::Duration;

use crate::monitoring::read_by_another_parser;
use crate::support::bed::{self, Observer};
use crate::support::serving::{Mount, Serving};

fn mount(config: &str) -> Mount {
    Mount::new(&[("quayctl.toml", config)])
}

#[test]
fn groups_run_at_the_start_and_at_their_times() {
    let bed = bed::shared();
    let namespace = bed.namespace("serve-times");
    let config = mount(
        "concurrency = 20\n[[groups]]\nname = \"plain\"\nimages = [\"quay.io/team/a:1\"]\n\
         [[groups]]\nname = \"timed\"\nimages = [\"quay.io/team/b:1\"]\nschedule = \"@every 4s\"\nconcurrency = 20\n",
    );
    let serving = Serving::start(bed, &namespace, &config.config(), &[]);
    serving.wait_for_nodes("plain", "succeeded", 50);
    serving.wait_for_nodes("timed", "succeeded", 100);
    for verdict in ["failed", "skipped"] {
        let series = format!("quayctl_nodes_total{{group=\"plain\",verdict=\"{verdict}\"}}");
        assert_eq!(serving.metric(&series), Some(0.0), "{verdict}");
    }
    assert_eq!(serving.count("of group \"plain\" (at the start)"), 1);
    assert_eq!(serving.page("/healthz"), (200, "ok".to_owned()));
    assert_eq!(serving.page("/readyz"), (200, "ok".to_owned()));
    let succeeded = serving.metric("quayctl_nodes_total{group=\"plain\",verdict=\"succeeded\"}");
    assert_eq!(succeeded, Some(50.0));
    let (_, scrape) = serving.page("/metrics");
    if let Some(read) = read_by_another_parser(&scrape) {
        let families = read.expect_code(0).stdout;
        assert_eq!(families.trim(), scrape.matches("# TYPE ").count().to_string(), "{scrape}");
    }
    let served = serving.terminate();
    assert_eq!(served.code, Some(0), "{}", served.log);
    assert!(served.took < Duration::from_secs(5), "{:?}", served.took);
    let runs: std::collections::BTreeSet<String> = bed
        .jobs(&namespace)
        .iter()
        .map(|job| job["metadata"]["labels"]["quayctl-controller/run"].as_str().unwrap().to_owned())
        .collect();
    assert!(runs.iter().any(|run| run.starts_with("c-") && run.len() == 18), "{runs:?}");
    assert!(runs.iter().filter(|run| run.starts_with("20") && run.ends_with('z')).count() >= 2, "{runs:?}");
}

#[test]
fn a_killed_process_is_continued_under_the_same_run_and_no_job_is_doubled() {
    let bed = bed::shared();
    let namespace = bed.namespace("serve-killed");
    let config = mount(
        "concurrency = 5\n[[groups]]\nname = \"g\"\nimages = [\"quay.io/team/runs-1s:1\"]\nschedule = \"* * * * *\"\n\
         overlap = \"wait\"\n",
    );
    let mut observer = Observer::start(bed, &namespace);
    let serving = Serving::start(bed, &namespace, &config.config(), &[]);
    let first = observer.wait_for(bed::is_over);
    let id = first["metadata"]["labels"]["quayctl-controller/run"].as_str().unwrap();
    serving.signal("KILL");
    serving.end();
    let serving = Serving::start(bed, &namespace, &config.config(), &[]);
    // Where the minute has ended meanwhile, what is continued is the next one's run.
    serving.wait_for_nodes("g", "succeeded", 50);
    assert_eq!(serving.metric("quayctl_nodes_total{group=\"g\",verdict=\"failed\"}"), Some(0.0));
    serving.terminate();
    let jobs = bed.jobs(&namespace);
    let of_first = jobs.iter().filter(|job| job["metadata"]["labels"]["quayctl-controller/run"] == id);
    let mut nodes: Vec<String> =
        of_first.map(|job| job["metadata"]["annotations"]["quayctl-controller/node"].to_string()).collect();
    let before = nodes.len();
    nodes.sort();
    nodes.dedup();
    assert_eq!(nodes.len(), before, "one Job a node");
}
