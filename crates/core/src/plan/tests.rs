//! Plans of small clusters.

use super::fixtures::{config, group, ready_node};
use super::*;
use crate::config::*;

fn taint(key: &str, value: &str, effect: TaintEffect) -> Taint {
    Taint { key: key.into(), value: value.into(), effect }
}

fn toleration(key: Option<&str>, operator: TolerationOperator, value: Option<&str>) -> Toleration {
    Toleration {
        key: key.map(Into::into),
        operator,
        value: value.map(Into::into),
        effect: None,
        toleration_seconds: None,
    }
}

fn plan_of(group: Group, nodes: Vec<Node>) -> PlannedGroup {
    let identity = RunIdentity {
        instance: "default".into(),
        run_id: RunId::parse("r").unwrap(),
        namespace: "pulls".into(),
    };
    plan(&config(vec![group]), nodes, identity).groups.remove(0)
}

fn reasons(planned: &PlannedGroup) -> Vec<(&str, &str)> {
    planned.skipped.iter().map(|s| (s.node.name.as_str(), s.reason.code())).collect()
}

#[test]
fn every_selected_node_is_planned_or_skipped_with_its_reason() {
    let cordoned = Node { unschedulable: true, ready: false, ..ready_node("cordoned") };
    let not_ready = Node { ready: false, ..ready_node("not-ready") };
    let unreachable = Node {
        taints: vec![taint("node.kubernetes.io/unreachable", "", TaintEffect::NoExecute)],
        ..ready_node("unreachable")
    };
    let tainted =
        Node { taints: vec![taint("dedicated", "batch", TaintEffect::NoSchedule)], ..ready_node("tainted") };
    let soft = Node { taints: vec![taint("soft", "", TaintEffect::PreferNoSchedule)], ..ready_node("soft") };
    let windows = Node { os: "windows".into(), ..ready_node("windows") };
    let arm = Node { arch: "arm64".into(), ..ready_node("arm") };
    let nodes = vec![cordoned, not_ready, unreachable, tainted, soft, windows, arm];

    let planned = plan_of(group("g"), nodes);
    assert_eq!(
        reasons(&planned),
        [
            ("cordoned", "cordoned"),
            ("not-ready", "not-ready"),
            ("unreachable", "not-ready"),
            ("tainted", "tainted"),
            ("windows", "unsupported-platform"),
        ]
    );
    assert_eq!(planned.skipped[3].message, "the taint dedicated=batch:NoSchedule is not tolerated");
    let jobs: Vec<_> = planned.jobs.iter().map(|job| job.node.name.as_str()).collect();
    assert_eq!(jobs, ["soft", "arm"]);
}

#[test]
fn tolerations_match_as_kubernetes_matches_them() {
    use TolerationOperator::{Equal, Exists};
    let batch = taint("dedicated", "batch", TaintEffect::NoSchedule);
    for (toleration, tolerated) in [
        (toleration(Some("dedicated"), Equal, Some("batch")), true),
        (toleration(Some("dedicated"), Equal, Some("web")), false),
        (toleration(Some("dedicated"), Equal, None), false),
        (toleration(Some("dedicated"), Exists, None), true),
        (toleration(None, Exists, None), true),
        (toleration(Some("other"), Exists, None), false),
        (
            Toleration {
                effect: Some(TaintEffect::NoExecute),
                ..toleration(Some("dedicated"), Exists, None)
            },
            false,
        ),
    ] {
        let mut group = group("g");
        group.tolerations = vec![toleration.clone()];
        let node = Node { taints: vec![batch.clone()], ..ready_node("n") };
        assert_eq!(plan_of(group, vec![node]).skipped.is_empty(), tolerated, "{toleration:?}");
    }
}

#[test]
fn a_cordoned_node_is_planned_where_the_group_tolerates_cordons() {
    let mut group = group("g");
    group.tolerations =
        vec![toleration(Some("node.kubernetes.io/unschedulable"), TolerationOperator::Exists, None)];
    let node = Node {
        unschedulable: true,
        taints: vec![taint("node.kubernetes.io/unschedulable", "", TaintEffect::NoSchedule)],
        ..ready_node("n")
    };
    assert_eq!(plan_of(group, vec![node]).jobs.len(), 1);
}

#[test]
fn auto_chooses_per_node_and_gives_the_group_one_content() {
    let old = Node { kubelet_version: "v1.33.5".into(), ..ready_node("old") };
    let planned = plan_of(group("g"), vec![ready_node("new"), old]);
    let templates: Vec<_> = planned.jobs.iter().map(|job| job.template.as_str()).collect();
    assert_eq!(templates, ["image-volume", "helper"]);
    assert_eq!(planned.jobs[0].content, planned.jobs[1].content);
    assert_eq!(planned.jobs[0].content.len(), 64);
}

#[test]
fn a_users_template_may_run_where_no_built_in_does() {
    let mut group = group("g");
    group.template = TemplateName::User("mine".into());
    let node = Node { os: "windows".into(), ..ready_node("n") };
    assert_eq!(plan_of(group, vec![node]).jobs.len(), 1);
}

#[test]
fn content_follows_the_bytes_and_not_the_way_they_are_scheduled() {
    let content = |change: fn(&mut Group)| {
        let mut group = group("g");
        change(&mut group);
        plan_of(group, vec![ready_node("n")]).jobs[0].content.clone()
    };
    let base = content(|_| {});
    let same: [fn(&mut Group); 8] = [
        |g| g.deadline_seconds = 1,
        |g| g.keep_jobs_seconds = 60,
        |g| g.concurrency = Some(Limit::Percent(10)),
        |g| g.tolerations = vec![toleration(None, TolerationOperator::Exists, None)],
        |g| g.name = "other".into(),
        |g| (g.overlap, g.catch_up, g.catch_up_limit_seconds) = (Overlap::Wait, false, 1),
        |g| (g.run_on_change, g.new_nodes, g.ready_label) = (false, false, true),
        |g| g.remove_taint = Some(RemovedTaint { key: "starting".into(), effect: TaintEffect::NoSchedule }),
    ];
    for change in same {
        assert_eq!(content(change), base);
    }
    let other: [fn(&mut Group); 7] = [
        |g| g.images = vec![ImageRef::parse("quay.io/team/app:1.1").unwrap()],
        |g| g.pull_policy = PullPolicy::Always,
        |g| g.pull_secrets = vec!["a".into()],
        |g| g.service_account = "puller".into(),
        |g| g.carrier_image = Some(ImageRef::parse("mirror/pause:1").unwrap()),
        |g| g.template = TemplateName::Helper,
        |g| drop(g.values.insert("cpu".into(), "2m".into())),
    ];
    for (i, change) in other.into_iter().enumerate() {
        assert_ne!(content(change), base, "change {i}");
    }
}

#[test]
fn percent_limits_round_up_and_never_reach_zero() {
    for (percent, nodes, expected) in [(10, 25, 3), (10, 1, 1), (1, 5, 1), (100, 15, 15), (50, 0, 1)] {
        let mut group = group("g");
        group.concurrency = Some(Limit::Percent(percent));
        let nodes = (0..nodes).map(|n| ready_node(&format!("n{n}"))).collect();
        assert_eq!(plan_of(group, nodes).limit, expected, "{percent}%");
    }
}

#[test]
fn the_groups_namespace_beats_the_runs() {
    let mut own = group("g");
    own.namespace = Some("team-a".into());
    assert_eq!(plan_of(own, vec![ready_node("n")]).jobs[0].namespace, "team-a");
    assert_eq!(plan_of(group("g"), vec![ready_node("n")]).jobs[0].namespace, "pulls");
}

#[test]
fn run_ids_are_labels() {
    for good in ["a", "0", "20261123t030000z", "a-b", &"x".repeat(63)] {
        assert!(RunId::parse(good).is_ok(), "{good}");
    }
    for bad in ["", "-a", "a-", "A", "a.b", "a_b", "é", &"x".repeat(64)] {
        assert!(RunId::parse(bad).is_err(), "{bad}");
    }
}
