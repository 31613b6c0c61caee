use super::*;
use crate::cluster::RequestMetrics;
use crate::outcome::Reason;
use crate::plan::SkipReason;
use crate::report::{Counts, GroupReport, ImageReport, NodeReason, NodeVerdict};

fn image(state: ImageStatus, seconds: Option<f64>, bytes: Option<u64>) -> ImageReport {
    let reason = (state == ImageStatus::Failed).then_some(Reason::ImageNotFound);
    ImageReport {
        reference: "quay.io/secret/app:1".into(),
        state,
        reason,
        message: None,
        seconds,
        bytes,
        digest: None,
    }
}

fn node(verdict: NodeVerdict, reason: Option<NodeReason>, images: Vec<ImageReport>) -> NodeReport {
    NodeReport {
        name: "node-with-a-name".into(),
        verdict,
        reason,
        message: None,
        job: None,
        adopted_from: None,
        started_at: None,
        finished_at: None,
        images,
    }
}

fn report(exit_code: u8, nodes: Vec<NodeReport>) -> RunReport {
    RunReport {
        version: 1,
        run_id: "run-with-a-name".into(),
        instance: "default".into(),
        config_hash: "c".into(),
        started_at: "2026-11-25T03:00:00Z".parse().unwrap(),
        finished_at: "2026-11-25T03:20:00.9Z".parse().unwrap(),
        exit_code,
        throttled: 0,
        groups: vec![GroupReport { name: "logging".into(), counts: Counts::default(), nodes }],
    }
}

#[track_caller]
fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|found| found == *line), "{line}\nis not in\n{text}");
    }
}

#[test]
fn a_run_is_counted_by_what_became_of_it() {
    let metrics = Metrics::new(RequestMetrics::default());
    metrics.run_started("logging");
    has(&metrics.encode(), &["quayctl_runs_running{group=\"logging\"} 1"]);
    let pulled = || image(ImageStatus::Pulled, Some(7.5), Some(1000));
    metrics.run_finished(
        "logging",
        &report(
            1,
            vec![
                node(
                    NodeVerdict::Succeeded,
                    None,
                    vec![pulled(), image(ImageStatus::Present, None, Some(5))],
                ),
                node(
                    NodeVerdict::Failed,
                    Some(NodeReason::Failed(Reason::ImageNotFound)),
                    vec![pulled(), image(ImageStatus::Failed, None, None)],
                ),
                node(NodeVerdict::Skipped, Some(NodeReason::Skipped(SkipReason::Cordoned)), vec![]),
            ],
        ),
    );
    let text = metrics.encode();
    has(
        &text,
        &[
            "# TYPE quayctl_runs counter",
            "quayctl_runs_total{group=\"logging\",verdict=\"failed\"} 1",
            "quayctl_runs_total{group=\"logging\",verdict=\"succeeded\"} 0",
            "quayctl_runs_total{group=\"logging\",verdict=\"aborted\"} 0",
            "quayctl_runs_running{group=\"logging\"} 0",
            "quayctl_runs_skipped_total{group=\"logging\"} 0",
            "quayctl_nodes_total{group=\"logging\",verdict=\"failed\"} 1",
            "quayctl_nodes_total{group=\"logging\",verdict=\"skipped\"} 1",
            "quayctl_nodes_total{group=\"logging\",verdict=\"succeeded\"} 1",
            "quayctl_images_total{group=\"logging\",state=\"failed\"} 1",
            "quayctl_images_total{group=\"logging\",state=\"present\"} 1",
            "quayctl_images_total{group=\"logging\",state=\"pulled\"} 2",
            "quayctl_images_total{group=\"logging\",state=\"unknown\"} 0",
            "quayctl_failures_total{group=\"logging\",reason=\"image-not-found\"} 1",
            "# TYPE quayctl_pull_seconds histogram",
            "# UNIT quayctl_pull_seconds seconds",
            "quayctl_pull_seconds_sum{group=\"logging\"} 15.0",
            "quayctl_pull_seconds_count{group=\"logging\"} 2",
            "quayctl_pull_seconds_bucket{le=\"5.0\",group=\"logging\"} 0",
            "quayctl_pull_seconds_bucket{le=\"10.0\",group=\"logging\"} 2",
            "quayctl_pull_seconds_bucket{le=\"+Inf\",group=\"logging\"} 2",
            "quayctl_pull_bytes_total{group=\"logging\"} 2000",
            "quayctl_last_run_timestamp_seconds{group=\"logging\"} 1795576800",
        ],
    );
    assert!(!text.contains("-with-a-name") && !text.contains("quay.io"), "{text}");
}

#[test]
fn a_run_that_was_cut_off_is_neither_good_nor_bad() {
    let metrics = Metrics::new(RequestMetrics::default());
    for exit_code in [0, 3, 143] {
        metrics.run_started("logging");
        metrics.run_finished("logging", &report(exit_code, vec![]));
    }
    has(
        &metrics.encode(),
        &[
            "quayctl_runs_total{group=\"logging\",verdict=\"aborted\"} 2",
            "quayctl_runs_total{group=\"logging\",verdict=\"succeeded\"} 1",
            "quayctl_runs_total{group=\"logging\",verdict=\"failed\"} 0",
        ],
    );
}

#[test]
fn what_the_process_is_doing_is_shown() {
    let metrics = Metrics::new(RequestMetrics::default());
    let start = metrics.encode();
    has(&start, &["quayctl_config_last_reload_successful 1", "quayctl_leader 1", "quayctl_queue_depth 0"]);
    assert!(!start.contains("success_timestamp"), "no reload, no time of one:\n{start}");

    let at: Timestamp = "2026-11-25T04:00:00Z".parse().unwrap();
    metrics.set_next_run("logging", Some(at));
    metrics.set_queue(30, 20);
    metrics.reloaded(true, at);
    metrics.reloaded(false, "2026-11-25T05:00:00Z".parse().unwrap());
    metrics.set_leader(false);
    metrics.new_node("logging");
    metrics.runs_skipped("logging");
    let version = concat!("quayctl_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1");
    let text = metrics.encode();
    has(
        &text,
        &[
            "quayctl_next_run_timestamp_seconds{group=\"logging\"} 1795579200",
            "quayctl_queue_depth 30",
            "quayctl_jobs_running 20",
            "quayctl_config_reloads_total{result=\"succeeded\"} 1",
            "quayctl_config_reloads_total{result=\"failed\"} 1",
            "quayctl_config_last_reload_successful 0",
            "quayctl_config_last_reload_success_timestamp_seconds 1795579200",
            "quayctl_leader 0",
            "quayctl_new_nodes_total{group=\"logging\"} 1",
            "quayctl_runs_skipped_total{group=\"logging\"} 1",
            "quayctl_api_retries_total 0",
            "quayctl_api_throttled_total 0",
            "quayctl_watch_restarts_total 0",
            version,
            "# TYPE process_cpu_seconds counter",
            "# TYPE process_resident_memory_bytes gauge",
        ],
    );
    assert!(text.ends_with("# EOF\n"));
    metrics.set_next_run("logging", None);
    assert!(!metrics.encode().contains("quayctl_next_run_timestamp_seconds{"));
}

#[test]
fn a_forgotten_group_leaves_nothing_behind() {
    let metrics = Metrics::new(RequestMetrics::default());
    metrics.run_started("logging");
    metrics.set_next_run("other", None);
    metrics.forget_group("logging");
    // Its run was under way.
    metrics.run_finished("logging", &report(0, vec![]));
    let text = metrics.encode();
    assert!(!text.contains("logging") && text.contains("group=\"other\""), "{text}");
}
