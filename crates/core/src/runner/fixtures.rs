//! What tests of runs are made of: a plan, what the watches show of its Jobs, and a time.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "only tests are made of this")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobCondition, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Render;
use crate::config::Group;
use crate::now::Now;
use crate::outcome::{ContainerFacts, JobFacts, PodFacts};
use crate::plan::fixtures::{config, group, ready_node};
use crate::plan::{Plan, PlannedGroup, PlannedJob, RunId, RunIdentity, plan};
use crate::render::Manifest;
use crate::watch_event::{ObservedJob, WatchEvent};

/// Where the wall clock of tests begins: 2027-01-15, 08:00 UTC.
pub const EPOCH_SECONDS: i64 = 1_800_000_000;

pub fn start() -> Now {
    Now { instant: Instant::now(), time: Timestamp::from_second(EPOCH_SECONDS).unwrap() }
}

pub fn after(start: Now, seconds: u64) -> Now {
    let time = Timestamp::from_second(start.time.as_second() + seconds as i64).unwrap();
    Now { instant: start.instant + Duration::from_secs(seconds), time }
}

pub fn plan_of(run_id: &str, nodes: usize, set: impl FnOnce(&mut Group)) -> Plan {
    let mut of = group("g");
    set(&mut of);
    let nodes = (0..nodes).map(|n| ready_node(&format!("n{n}"))).collect();
    let run_id = RunId::parse(run_id).unwrap();
    let identity = RunIdentity { instance: "default".into(), run_id, namespace: "ns".into() };
    plan(&config(vec![of]), nodes, identity)
}

pub fn group_of(nodes: usize) -> PlannedGroup {
    plan_of("a", nodes, |_| {}).groups.remove(0)
}

pub fn job() -> PlannedJob {
    group_of(1).jobs.remove(0)
}

/// As the template `image-volume` gives it.
pub fn manifest(job: &PlannedJob) -> Manifest {
    let containers: Vec<String> = (0..job.group.images.len()).map(|n| format!("image-{n}")).collect();
    Manifest {
        job: job.clone(),
        body: serde_json::Value::Null,
        image_containers: containers.iter().map(|container| vec![container.clone()]).collect(),
        carrier_image: "quay.io/team/carrier:1".into(),
        carrier_containers: containers.clone(),
        own_containers: containers,
        warnings: Vec::new(),
    }
}

pub fn render() -> Render<'static> {
    Arc::new(|job| Ok(manifest(job)))
}

/// Of a Job that was started at `started` seconds, if it was, and has ended so.
pub fn facts(started: Option<i64>, condition: Option<(&str, &str)>) -> JobFacts {
    let condition = condition.map(|(type_, reason)| JobCondition {
        type_: type_.into(),
        status: "True".into(),
        reason: Some(reason.into()),
        ..JobCondition::default()
    });
    let start_time = started.map(|second| Time(Timestamp::from_second(EPOCH_SECONDS + second).unwrap()));
    JobFacts::new(&JobStatus { conditions: condition.map(|of| vec![of]), start_time, ..JobStatus::default() })
}

/// Created at this second, and not taken up yet.
pub fn seen(job: &PlannedJob, second: i64) -> ObservedJob {
    ObservedJob {
        key: (job.namespace.clone(), job.name.clone()),
        uid: format!("uid-{}", job.name),
        created_at: Timestamp::from_second(EPOCH_SECONDS + second).ok(),
        group: job.group.name.clone(),
        run_id: job.identity.run_id.as_str().to_owned(),
        node: job.node.name.clone(),
        content: job.content.to_string(),
        annotation: None,
        deadline_seconds: job.group.deadline_seconds,
        suspended: false,
        facts: JobFacts::default(),
    }
}

pub fn started(job: &ObservedJob, second: i64) -> ObservedJob {
    ObservedJob { facts: facts(Some(second), None), ..job.clone() }
}

pub fn suspended(job: &ObservedJob) -> ObservedJob {
    ObservedJob { suspended: true, facts: JobFacts::default(), ..job.clone() }
}

pub fn complete(job: &ObservedJob) -> ObservedJob {
    ObservedJob { facts: facts(Some(0), Some(("Complete", "CompletionsReached"))), ..job.clone() }
}

pub fn failed(job: &ObservedJob) -> ObservedJob {
    ObservedJob { facts: facts(Some(0), Some(("Failed", "DeadlineExceeded"))), ..job.clone() }
}

/// The note of a process of ours that has failed it so.
pub fn noted(job: &ObservedJob, reason: &str) -> ObservedJob {
    let note = format!(r#"{{"verdict":"failed","reason":"{reason}","message":"m","images":[]}}"#);
    ObservedJob { annotation: Some(note), ..job.clone() }
}

pub fn watched(job: ObservedJob) -> WatchEvent {
    WatchEvent::Job(Box::new(job))
}

pub fn container(name: &str, ran: bool) -> ContainerFacts {
    ContainerFacts { name: name.into(), ran, is_over: ran, ..ContainerFacts::default() }
}

/// Bound to its node, with these containers.
pub fn pod(containers: &[ContainerFacts]) -> PodFacts {
    PodFacts {
        uid: "pod".into(),
        on_node: true,
        is_set_up: true,
        containers: containers.to_vec(),
        ..PodFacts::default()
    }
}
