//! Builders of configs, groups and nodes that tests share.
#![expect(clippy::unwrap_used, reason = "only tests are made of this")]

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use super::*;
use crate::config::*;

pub fn config(groups: Vec<Group>) -> Config {
    Config {
        namespace: None,
        instance: "default".into(),
        concurrency: NonZeroUsize::new(20).unwrap(),
        run_deadline_seconds: None,
        groups,
        templates: Templates::default(),
        hash: String::new(),
    }
}

pub fn group(name: &str) -> Group {
    Group {
        name: name.into(),
        images: vec![ImageRef::parse("quay.io/team/app:1.0").unwrap()],
        node_selector: NodeSelector::default(),
        tolerations: vec![],
        concurrency: None,
        deadline_seconds: 300,
        namespace: None,
        template: TemplateName::Auto,
        pull_policy: PullPolicy::IfNotPresent,
        pull_secrets: vec![],
        service_account: "default".into(),
        keep_jobs_seconds: 3600,
        carrier_image: None,
        schedule: None,
        time_zone: "Etc/UTC".into(),
        overlap: Overlap::Skip,
        catch_up: true,
        catch_up_limit_seconds: 3600,
        run_on_change: true,
        new_nodes: true,
        ready_label: false,
        remove_taint: None,
        job_labels: BTreeMap::new(),
        job_annotations: BTreeMap::new(),
        values: BTreeMap::new(),
    }
}

pub fn ready_node(name: &str) -> Node {
    Node {
        name: name.into(),
        uid: format!("uid-{name}"),
        ready: true,
        os: "linux".into(),
        arch: "amd64".into(),
        kubelet_version: "v1.37.2".into(),
        container_runtime: "containerd://2.4.2".into(),
        ..Node::default()
    }
}
