//! What is scraped is well formed, documented, and what `deploy/monitoring/` asks for; by promtool and by a
//! parser of OpenMetrics that is not ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use quayctl_controller::cluster::RequestMetrics;
use quayctl_controller::outcome::Reason;
use quayctl_controller::report::{
    Counts, GroupReport, ImageReport, ImageStatus, NodeReason, NodeReport, NodeVerdict, RunReport,
};
use quayctl_controller::telemetry::Metrics;
use serde_json::{Value, json};

use crate::shipped::is_current;
use crate::support::{Ended, output_of, root};

/// A scrape in which every series has a value.
fn scrape() -> String {
    let metrics = Metrics::new(RequestMetrics::default());
    let at = "2026-11-25T04:00:00Z".parse().unwrap();
    metrics.set_next_run("logging", Some(at));
    metrics.reloaded(true, at);
    metrics.run_started("logging");
    let image = ImageReport {
        reference: "quay.io/team/app:1".into(),
        state: ImageStatus::Pulled,
        reason: None,
        message: None,
        seconds: Some(3.5),
        bytes: Some(1 << 20),
        digest: None,
    };
    let node = |verdict, reason, images| NodeReport {
        name: "node-1".into(),
        verdict,
        reason,
        message: None,
        job: None,
        adopted_from: None,
        started_at: None,
        finished_at: None,
        images,
    };
    let nodes = vec![
        node(NodeVerdict::Succeeded, None, vec![image]),
        node(NodeVerdict::Failed, Some(NodeReason::Failed(Reason::ImageNotFound)), vec![]),
    ];
    let report = RunReport {
        version: 1,
        run_id: "r".into(),
        instance: "default".into(),
        config_hash: "c".into(),
        started_at: at,
        finished_at: at,
        exit_code: 1,
        throttled: 0,
        groups: vec![GroupReport { name: "logging".into(), counts: Counts::default(), nodes }],
    };
    metrics.run_finished("logging", &report);
    metrics.encode()
}

/// By the name that a query uses: type, and labels but for a histogram's `le`. Requests to the API server
/// are told by `cluster::request_metrics`, of which there are none here.
fn exported() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let text = scrape();
    let mut exported = BTreeMap::new();
    for line in text.lines() {
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' ')) else {
            continue;
        };
        let name = match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        };
        let sample = if kind == "histogram" { format!("{name}_count") } else { name.clone() };
        let labels = text.lines().filter_map(|line| line.strip_prefix(&sample)?.strip_prefix('{'));
        let labels = labels.flat_map(|rest| rest.split('}').next().unwrap_or_default().split(','));
        let mut labels: BTreeSet<String> =
            labels.filter_map(|pair| Some(pair.split_once('=')?.0.to_owned())).collect();
        if name == "quayctl_api_requests_total" {
            labels = ["verb", "resource", "code"].map(str::to_owned).into();
        }
        exported.insert(name, (kind.to_owned(), labels));
    }
    exported
}

/// The names of metrics of ours in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("quayctl_") || word.starts_with("process_")).collect()
}

fn shipped(name: &str) -> String {
    fs::read_to_string(root().join("deploy/monitoring").join(name)).unwrap()
}

/// Without the tool the test cannot say anything, so it fails; but for where `tests/test.sh` has said that
/// it is left out.
fn left_out() -> bool {
    std::env::var_os("QUAYCTL_WITHOUT_MONITORING").is_some()
}

#[track_caller]
fn promtool(args: &[&str], folder: &std::path::Path) -> Ended {
    let mut command = Command::new("promtool");
    command.current_dir(folder).args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    output_of(command.spawn().expect("promtool is there: apt-get install prometheus"))
}

/// A scrape, read by the parser of another project, which prints how many families it has. `None` where
/// that is left out.
pub fn read_by_another_parser(text: &str) -> Option<Ended> {
    if left_out() {
        return None;
    }
    const READ: &str = "import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
print(len([f.name for f in text_string_to_metric_families(sys.stdin.read())]))";
    // The distribution's packages are those of the distribution's Python, which need not be the first.
    let python = ["python3", "/usr/bin/python3"].into_iter().find(|python| {
        let import = "import prometheus_client.openmetrics.parser";
        Command::new(python)
            .args(["-c", import])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|end| end.success())
    });
    let python = python.expect("prometheus_client is there: apt-get install python3-prometheus-client");
    let mut command = Command::new(python);
    command.args(["-c", READ]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    Some(output_of(child))
}

#[test]
fn a_scrape_is_read_by_another_parser() {
    let text = scrape();
    let Some(read) = read_by_another_parser(&text) else { return };
    let families = read.expect_code(0).stdout;
    assert_eq!(families.trim(), text.matches("# TYPE ").count().to_string(), "{text}");
    // It does read: what is wrong is refused.
    for wrong in [text.replace("# EOF", ""), text.replace("quayctl_runs_total", "quayctl_runs")] {
        read_by_another_parser(&wrong).unwrap().expect_code(1);
    }
}

#[test]
fn every_metric_is_documented_with_its_type_and_labels() {
    let documented = fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let rows: BTreeMap<String, (String, BTreeSet<String>)> = documented
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.strip_prefix("| `")?.split('|').map(str::trim).collect();
            let [name, kind, labels, meaning, ""] = cells[..] else { return None };
            assert!(!meaning.is_empty(), "{line}");
            let labels = labels.split(", ").map(|label| label.trim_matches('`').to_owned());
            let labels = labels.filter(|label| !label.is_empty()).collect();
            Some((name.trim_end_matches('`').to_owned(), (kind.to_owned(), labels)))
        })
        .collect();
    assert_eq!(rows, exported());
}

#[test]
fn the_rules_and_the_dashboard_ask_for_what_is_exported() {
    let mut known: BTreeSet<String> = BTreeSet::new();
    for (name, (kind, _)) in exported() {
        if kind == "histogram" {
            known.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}")));
        } else {
            known.insert(name);
        }
    }
    let (rules, dashboard) = (shipped("rules.yaml"), shipped("dashboard.json"));
    let tests = shipped("rules_test.yaml");
    for (file, text) in [("rules.yaml", &rules), ("dashboard.json", &dashboard), ("rules_test.yaml", &tests)]
    {
        let unknown: Vec<&str> = names(text).into_iter().filter(|name| !known.contains(*name)).collect();
        assert!(unknown.is_empty(), "{file} asks for what is not exported: {unknown:?}");
    }
    // And the dashboard shows all there is.
    let shown = names(&dashboard);
    let missing: Vec<&String> = known.iter().filter(|name| !shown.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_rules_are_sound_and_fire_when_they_should() {
    if left_out() {
        return;
    }
    let monitoring = root().join("deploy/monitoring");
    promtool(&["check", "rules", "rules.yaml"], &monitoring).expect_code(0);

    let mut rules: Value = serde_saphyr::from_str(&shipped("rules.yaml")).unwrap();
    let tests = shipped("rules_test.yaml");
    for rule in rules["groups"][0]["rules"].as_array_mut().unwrap() {
        let name = rule["alert"].as_str().unwrap().to_owned();
        let annotations = rule["annotations"].as_object_mut().unwrap();
        let description = annotations.remove("description").unwrap();
        assert!(description.as_str().unwrap().len() > 150, "{name}: what is to be done?");
        assert!(annotations.contains_key("summary"), "{name}");
        assert!(rule["labels"]["severity"].is_string(), "{name}");
        let cases = |what: &str| tests.matches(&format!("alertname: {name}{what}")).count();
        assert!(cases("\n") > 0, "{name}: no test in which it fires");
        assert!(cases(", exp_alerts: []") > 0, "{name}: no test in which it does not fire");
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rules.yaml"), rules.to_string()).unwrap();
    fs::write(folder.path().join("rules_test.yaml"), tests).unwrap();
    promtool(&["test", "rules", "rules_test.yaml"], folder.path()).expect_code(0);
}

#[test]
fn the_operators_rules_are_the_same() {
    let mut derived = String::from(
        "# rules.yaml for the Prometheus operator; a test keeps it so.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: quayctl-controller
  labels:
    app.kubernetes.io/name: quayctl-controller
spec:
",
    );
    let rules = shipped("rules.yaml");
    for line in rules[rules.find("groups:").unwrap()..].lines() {
        derived.push_str(if line.is_empty() { "" } else { "  " });
        derived.push_str(line);
        derived.push('\n');
    }
    is_current("deploy/monitoring/prometheusrule.yaml", &derived);
}

#[test]
fn the_dashboard_is_one_that_grafana_takes() {
    let dashboard: Value = serde_json::from_str(&shipped("dashboard.json")).unwrap();
    assert_eq!((&dashboard["id"], &dashboard["title"]), (&Value::Null, &json!("quayctl-controller")));
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36);
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert_eq!((&variables[0]["name"], &variables[0]["type"]), (&json!("datasource"), &json!("datasource")));
    let source = json!({"type": "prometheus", "uid": "${datasource}"});
    assert!(variables[1..].iter().all(|variable| variable["datasource"] == source));

    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "ids are unique");
    let mut taken = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        let side = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(side("x") + side("w") <= 24, "{title} is wider than the grid");
        for (x, y) in (side("x")..side("x") + side("w"))
            .flat_map(|x| (side("y")..side("y") + side("h")).map(move |y| (x, y)))
        {
            assert!(taken.insert((x, y)), "{title} lies on another panel");
        }
        let kind = panel["type"].as_str().unwrap();
        if kind == "row" {
            continue;
        }
        assert!(["heatmap", "stat", "table", "timeseries"].contains(&kind), "{title}: {kind}");
        assert_eq!(panel["datasource"], source, "{title}");
        assert!(!panel["description"].as_str().unwrap().is_empty(), "{title}");
        let targets = panel["targets"].as_array().unwrap();
        let references: BTreeSet<&str> =
            targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
        assert!(!targets.is_empty() && references.len() == targets.len(), "{title}");
        assert!(targets.iter().all(|target| target["datasource"] == source), "{title}");
    }
}

#[test]
fn the_dashboards_expressions_are_promql() {
    if left_out() {
        return;
    }
    let dashboard: Value = serde_json::from_str(&shipped("dashboard.json")).unwrap();
    let targets =
        dashboard["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array());
    let expressions: Vec<String> = targets
        .flatten()
        .map(|target| {
            let expression = target["expr"].as_str().unwrap().replace("$__rate_interval", "5m");
            ["$job", "$namespace", "$group"].iter().fold(expression, |text, name| text.replace(name, ".*"))
        })
        .collect();
    assert!(expressions.len() > 30 && expressions.iter().all(|text| !text.contains('$')), "{expressions:#?}");
    let rules: Vec<Value> = expressions
        .iter()
        .enumerate()
        .map(|(number, expr)| json!({"record": format!("dashboard:{number}"), "expr": expr}))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let file = json!({"groups": [{"name": "dashboard", "rules": rules}]});
    fs::write(folder.path().join("rules.yaml"), file.to_string()).unwrap();
    promtool(&["check", "rules", "rules.yaml"], folder.path()).expect_code(0);
}
