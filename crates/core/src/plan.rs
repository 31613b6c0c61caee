//! Decides which Job each node gets. Pure: no client, no clock, no files.
//!
//! Takes the validated [`Config`] and the nodes as listed, and returns a [`Plan`]. Every node that
//! a group selects is in it once for that group, planned or skipped with a reason, so that a report
//! can account for all of them. Rendering the Jobs is `render`'s work, their order in time that of
//! [`Queue`].

use std::collections::BTreeMap;
use std::sync::Arc;

pub use deadline::{ShortDeadline, TimedJob};
pub use node::{ListedNode, Node, Taint};
pub use presence::CompletedJob;
pub use queue::{JobIndex, Queue};

use crate::config::{Config, Group, Limit, TemplateName, go_duration, sha256_hex};

mod content;
mod deadline;
mod eligibility;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
mod name;
pub mod node;
mod presence;
mod queue;

/// What a run may take beside its Jobs: listing nodes, and Jobs that end late.
pub const RUN_MARGIN_SECONDS: u64 = 60;

/// Who a run is, in names and labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunIdentity {
    pub instance: String,
    pub run_id: RunId,
    /// Where Jobs of groups without a namespace of their own live.
    pub namespace: String,
}

/// What one run will do: groups in configured order, then nodes in listed order.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub identity: Arc<RunIdentity>,
    /// A run of this plan ends by then: as configured, else the sum over groups of
    /// ⌈nodes ÷ limit⌉ × deadline, plus [`RUN_MARGIN_SECONDS`].
    pub run_deadline_seconds: u64,
    pub groups: Vec<PlannedGroup>,
}

/// One group's share of a [`Plan`].
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedGroup {
    pub group: Arc<Group>,
    /// Nodes of this group with a live Job at the same time; at least one.
    pub limit: usize,
    pub jobs: Vec<PlannedJob>,
    pub skipped: Vec<Skipped>,
}

/// One node's Job of one group: all but its manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedJob {
    pub group: Arc<Group>,
    pub node: Arc<Node>,
    /// Which text to render; `auto` is decided by now.
    pub template: TemplateChoice,
    /// `metadata.name`: a DNS-1123 label of at most 63 characters.
    pub name: String,
    pub namespace: String,
    /// What the Job puts on its node, as 64 hex digits: equal content means the same images, got
    /// the same way.
    pub content: Arc<str>,
    pub identity: Arc<RunIdentity>,
}

/// The template a Job is rendered from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateChoice {
    ImageVolume,
    Helper,
    Quayctl,
    User(String),
}

/// A node that a group selects and that gets no Job.
#[derive(Clone, Debug, PartialEq)]
pub struct Skipped {
    pub node: Arc<Node>,
    pub reason: SkipReason,
    /// For people: which taint, which platform.
    pub message: String,
}

/// Why a node gets no Job, in the order in which the reasons are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkipReason {
    Cordoned,
    NotReady,
    Tainted,
    UnsupportedPlatform,
}

/// Tells one run's Jobs from another's: a label value that is also a DNS-1123 label.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RunId(String);

/// Plans `config`'s groups over `nodes`.
pub fn plan(config: &Config, nodes: Vec<Node>, identity: RunIdentity) -> Plan {
    let nodes: Vec<KnownNode> = nodes.into_iter().map(KnownNode::new).collect();
    let identity = Arc::new(identity);
    let groups: Vec<PlannedGroup> = config
        .groups
        .iter()
        .map(|group| plan_group(config, Arc::new(group.clone()), nodes.iter(), &identity))
        .collect();
    let run_deadline_seconds = match config.run_deadline_seconds {
        Some(seconds) => seconds.into(),
        None => groups.iter().map(PlannedGroup::longest_seconds).sum::<u64>() + RUN_MARGIN_SECONDS,
    };
    Plan { identity, run_deadline_seconds, groups }
}

/// What `group` of `config` puts on a node, as 64 hex digits.
pub fn content_of(config: &Config, group: &Group) -> String {
    content::content(group, &config.templates)
}

/// Plans one group over the nodes of a process that stays.
pub fn plan_one<'n>(
    config: &Config,
    group: &Arc<Group>,
    nodes: impl Iterator<Item = &'n KnownNode>,
    identity: &Arc<RunIdentity>,
) -> PlannedGroup {
    plan_group(config, group.clone(), nodes, identity)
}

/// Nodes of `group` with a live Job at the same time, where these are all nodes.
pub fn limit_over<'n>(config: &Config, group: &Group, nodes: impl Iterator<Item = &'n KnownNode>) -> usize {
    let eligible = match group.concurrency {
        Some(Limit::Percent(_)) => nodes.filter(|node| node.is_for(group)).count(),
        Some(Limit::Nodes(_)) | None => 0,
    };
    limit(config, group, eligible)
}

impl PlannedJob {
    /// Takes another name, where the Job of this one has given way to another run's.
    pub fn take_next_name(&mut self) {
        self.name = name::next_name(&self.name);
    }
}

impl PlannedGroup {
    /// How long the group takes where each of its Jobs takes as long as it may.
    pub fn longest_seconds(&self) -> u64 {
        let rounds = self.jobs.len().div_ceil(self.limit) as u64;
        rounds.saturating_mul(self.group.deadline_seconds.into())
    }
}

impl Plan {
    /// Every Job to be created, groups in file order.
    pub fn jobs(&self) -> impl Iterator<Item = &PlannedJob> {
        self.groups.iter().flat_map(|group| &group.jobs)
    }

    /// [`Plan::jobs`] with their places.
    pub fn indexed_jobs(&self) -> impl Iterator<Item = (JobIndex, &PlannedJob)> {
        let groups = self.groups.iter().enumerate();
        groups.flat_map(|(group, planned)| {
            let jobs = planned.jobs.iter().enumerate();
            jobs.map(move |(job, planned)| (JobIndex { group, job }, planned))
        })
    }

    /// [`Plan::run_deadline_seconds`] in Go's form, as a config writes it.
    pub fn run_deadline(&self) -> String {
        go_duration(self.run_deadline_seconds)
    }

    /// Where this run's Jobs live, each namespace once.
    pub fn namespaces(&self) -> Vec<String> {
        let all: std::collections::BTreeSet<&String> = self.jobs().map(|job| &job.namespace).collect();
        all.into_iter().cloned().collect()
    }

    /// The Job at a place that [`Plan::indexed_jobs`] or a [`Queue`] of this plan named.
    pub fn job(&self, index: JobIndex) -> &PlannedJob {
        &self.groups[index.group].jobs[index.job]
    }
}

impl SkipReason {
    /// The stable code that reports carry.
    pub fn code(self) -> &'static str {
        match self {
            SkipReason::Cordoned => "cordoned",
            SkipReason::NotReady => "not-ready",
            SkipReason::Tainted => "tainted",
            SkipReason::UnsupportedPlatform => "unsupported-platform",
        }
    }
}

impl RunId {
    /// When the run began, and four digits that tell two of one second apart; `salt` differs between
    /// two that begin in the same nanosecond.
    pub fn fresh(now: jiff::Timestamp, salt: u32) -> RunId {
        let digits = sha256_hex(format!("{}-{salt}", now.as_nanosecond()).as_bytes());
        RunId(format!("{}-{}", now.strftime("%Y%m%dt%H%M%Sz"), &digits[..4]))
    }

    /// Of a run that is due at `time`, as `20261123t030000z`.
    pub fn of_time(time: jiff::Timestamp) -> RunId {
        RunId(time.strftime("%Y%m%dt%H%M%Sz").to_string())
    }

    /// The time of one that [`RunId::of_time`] has made.
    pub fn time(run_id: &str) -> Option<jiff::Timestamp> {
        let civil = jiff::civil::DateTime::strptime("%Y%m%dt%H%M%Sz", run_id).ok()?;
        Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    }

    /// Of a group without schedule: `c-` and 16 digits of its content.
    pub fn of_content(content: &str) -> RunId {
        RunId(format!("c-{}", content.get(..16).unwrap_or(content)))
    }

    /// What `render` prints when no run id was given.
    pub fn render() -> RunId {
        RunId("render".to_owned())
    }

    /// Accepts `[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?`, which fits a label value and a Job's name.
    pub fn parse(text: &str) -> Result<RunId, String> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let edge = |c: Option<char>| c.is_some_and(|c| inner(c) && c != '-');
        if text.len() <= 63
            && text.chars().all(inner)
            && edge(text.chars().next())
            && edge(text.chars().last())
        {
            return Ok(RunId(text.to_owned()));
        }
        Err(format!(
            "invalid run id {text:?}: use 1 to 63 lower-case letters, digits and dashes, with a \
             letter or digit at both ends"
        ))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn plan_group<'n>(
    config: &Config,
    group: Arc<Group>,
    nodes: impl Iterator<Item = &'n KnownNode>,
    identity: &Arc<RunIdentity>,
) -> PlannedGroup {
    let content: Arc<str> = content::content(&group, &config.templates).into();
    let mut jobs = Vec::new();
    let mut skipped = Vec::new();
    let selected = nodes.filter(|node| group.node_selector.matches(&node.whole.labels));
    for node in selected.map(|node| node.for_template(&group.template)) {
        match eligibility::skip_reason(&group, node) {
            Some((reason, message)) => {
                skipped.push(Skipped { node: node.clone(), reason, message });
            }
            None => jobs.push(PlannedJob {
                template: TemplateChoice::of(&group.template, node),
                name: name::job_name(&group.name, node, identity, &content),
                namespace: group.namespace_or(&identity.namespace).to_owned(),
                content: content.clone(),
                identity: identity.clone(),
                group: group.clone(),
                node: node.clone(),
            }),
        }
    }
    let limit = limit(config, &group, jobs.len());
    PlannedGroup { group, limit, jobs, skipped }
}

/// A node as listed, and without its labels: of a node's 6 KB in memory they are 5, and once a group
/// has selected by them only templates of a user's own read them.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownNode {
    whole: Arc<Node>,
    bare: Arc<Node>,
}

impl KnownNode {
    pub fn new(node: Node) -> KnownNode {
        let labels = BTreeMap::new();
        let bare = Node {
            name: node.name.clone(),
            uid: node.uid.clone(),
            labels,
            taints: node.taints.clone(),
            os: node.os.clone(),
            arch: node.arch.clone(),
            kubelet_version: node.kubelet_version.clone(),
            container_runtime: node.container_runtime.clone(),
            ..node
        };
        KnownNode { whole: Arc::new(node), bare: Arc::new(bare) }
    }

    /// With its labels.
    pub fn whole(&self) -> &Arc<Node> {
        &self.whole
    }

    /// Whether `group` selects the node, and the node can take its Job.
    pub fn is_for(&self, group: &Group) -> bool {
        group.node_selector.matches(&self.whole.labels)
            && eligibility::skip_reason(group, &self.whole).is_none()
    }

    fn for_template(&self, template: &TemplateName) -> &Arc<Node> {
        match template {
            TemplateName::User(_) => &self.whole,
            TemplateName::Auto | TemplateName::ImageVolume | TemplateName::Helper | TemplateName::Quayctl => {
                &self.bare
            }
        }
    }
}

fn limit(config: &Config, group: &Group, eligible: usize) -> usize {
    let own = match group.concurrency {
        None => usize::MAX,
        Some(Limit::Nodes(nodes)) => nodes.get(),
        Some(Limit::Percent(percent)) => (eligible * usize::from(percent)).div_ceil(100).max(1),
    };
    own.min(config.concurrency.get())
}

impl TemplateChoice {
    fn of(template: &TemplateName, node: &Node) -> TemplateChoice {
        match template {
            TemplateName::ImageVolume => TemplateChoice::ImageVolume,
            TemplateName::Helper => TemplateChoice::Helper,
            TemplateName::Quayctl => TemplateChoice::Quayctl,
            TemplateName::User(name) => TemplateChoice::User(name.clone()),
            TemplateName::Auto if node.mounts_image_volumes() => TemplateChoice::ImageVolume,
            TemplateName::Auto => TemplateChoice::Helper,
        }
    }

    /// As a plan names it.
    pub fn as_str(&self) -> &str {
        match self {
            TemplateChoice::ImageVolume => "image-volume",
            TemplateChoice::Helper => "helper",
            TemplateChoice::Quayctl => "quayctl",
            TemplateChoice::User(name) => name,
        }
    }
}

#[cfg(test)]
mod tests;
