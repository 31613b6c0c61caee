//! What one TOML file, the environment and the flags ask for, checked.
//!
//! [`Config`] is valid by construction: whoever holds one need not check any of its fields again.
//! The files themselves are read elsewhere. This room imports nothing else of ours but `outside_text`.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

pub use code::Code;
pub use duration::go_duration;
pub use file::closest;
pub use image_ref::ImageRef;
pub use schedule::Schedule;
pub use selector::NodeSelector;
pub use template::{HELPER, IMAGE_VOLUME, QUAYCTL, Template, TemplateName, Templates};

pub mod characters;
pub mod code;
mod duration;
pub mod environment;
mod explain;
pub mod file;
mod image_ref;
mod job_metadata;
pub mod layers;
pub mod locate;
pub mod name;
pub mod problem;
pub mod provenance;
pub mod redact;
pub mod schedule;
pub mod schema;
mod selector;
mod serving;
mod settings;
pub mod template;
mod toleration;
pub mod validate;
pub mod values;

/// A config that is ready to be planned from.
///
/// Valid means: there is at least one group, names are unique and DNS-1123 labels, every image
/// reference, selector, toleration and duration parsed, and every template named exists and compiles.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where Jobs live unless a group says otherwise; `None` when neither file, environment nor
    /// flags name one, and the cluster connection decides.
    pub namespace: Option<String>,
    /// Tells two installations in one namespace apart; a DNS-1123 label.
    pub instance: String,
    /// Nodes with a live Job at the same time, over all groups.
    pub concurrency: NonZeroUsize,
    /// A run ends by then; `None`: what `plan` computes. 1 s to 168 h.
    pub run_deadline_seconds: Option<u32>,
    /// In file order; never empty.
    pub groups: Vec<Group>,
    /// The user's templates and the built-in ones, with their texts.
    pub templates: Templates,
    /// SHA-256 over the effective config as sorted JSON, 64 lower-case hex digits.
    pub hash: String,
}

/// One `[[groups]]` table with `[defaults]` already folded in.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub name: String,
    /// 1 to 100, no image twice after normalisation.
    pub images: Vec<ImageRef>,
    pub node_selector: NodeSelector,
    pub tolerations: Vec<Toleration>,
    /// A limit narrower than [`Config::concurrency`]; `None` when only that one holds.
    pub concurrency: Option<Limit>,
    /// Becomes `activeDeadlineSeconds`; 1 s to 168 h.
    pub deadline_seconds: u32,
    /// `None`: the run's namespace.
    pub namespace: Option<String>,
    pub template: TemplateName,
    pub pull_policy: PullPolicy,
    /// Names of Secrets in the Jobs' namespace.
    pub pull_secrets: Vec<String>,
    pub service_account: String,
    /// Becomes `ttlSecondsAfterFinished`; 60 s to 168 h.
    pub keep_jobs_seconds: u32,
    /// What carries image volumes and the helper; `None` when nobody set one, which `helper` cannot
    /// work with.
    pub carrier_image: Option<ImageRef>,
    /// Only `serve` uses it.
    pub schedule: Option<Schedule>,
    /// The zone that the schedule is in: a name of the tz database.
    pub time_zone: String,
    /// What `serve` does where a run is due and the one before is still going.
    pub overlap: Overlap,
    /// Whether `serve` makes up for a run that fell due while it was down.
    pub catch_up: bool,
    /// How late that may be; 1 s to 168 h.
    pub catch_up_limit_seconds: u32,
    /// Whether `serve` runs the group at once when its content changes.
    pub run_on_change: bool,
    /// Whether `serve` gives the images to nodes that come between runs.
    pub new_nodes: bool,
    /// Whether `serve` labels a node that has every image with `quayctl-controller/<name>`.
    pub ready_label: bool,
    /// What `serve` takes off a node that has every image. The group tolerates it already.
    pub remove_taint: Option<RemovedTaint>,
    /// Of the Job, not of its pod; none of those that are ours.
    pub job_labels: BTreeMap<String, String>,
    /// Likewise.
    pub job_annotations: BTreeMap<String, String>,
    /// `[defaults.values]` < the template's values < the group's, merged by top-level key.
    pub values: BTreeMap<String, serde_json::Value>,
}

/// How many nodes of a group may have a live Job at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Nodes(NonZeroUsize),
    /// 1 to 100, of the group's eligible nodes, rounded up, at least one.
    Percent(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    IfNotPresent,
    Always,
}

/// A toleration as a pod has it. `Gt` and `Lt` (alpha in Kubernetes 1.37) are refused at load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toleration {
    /// `None` with [`TolerationOperator::Exists`] tolerates every key.
    pub key: Option<String>,
    pub operator: TolerationOperator,
    pub value: Option<String>,
    /// `None` matches every effect.
    pub effect: Option<TaintEffect>,
    pub toleration_seconds: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TolerationOperator {
    Exists,
    Equal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaintEffect {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

/// What becomes of a run that falls due while the group's last one is still going.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlap {
    /// It is left out, and counted.
    #[default]
    Skip,
    /// It begins when that one ends.
    Wait,
}

/// A startup taint, whatever its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedTaint {
    /// A label key.
    pub key: String,
    pub effect: TaintEffect,
}

impl std::fmt::Display for Limit {
    /// As a config writes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Limit::Nodes(nodes) => write!(f, "{nodes}"),
            Limit::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl std::fmt::Display for RemovedTaint {
    /// As a config writes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let RemovedTaint { key, effect } = self;
        write!(f, "{key}:{}", effect.as_str())
    }
}

impl Overlap {
    /// As a config writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Overlap::Skip => "skip",
            Overlap::Wait => "wait",
        }
    }
}

impl PullPolicy {
    /// As Kubernetes spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            PullPolicy::IfNotPresent => "IfNotPresent",
            PullPolicy::Always => "Always",
        }
    }
}

impl TolerationOperator {
    /// As Kubernetes spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            TolerationOperator::Exists => "Exists",
            TolerationOperator::Equal => "Equal",
        }
    }
}

impl TaintEffect {
    /// As Kubernetes spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            TaintEffect::NoSchedule => "NoSchedule",
            TaintEffect::PreferNoSchedule => "PreferNoSchedule",
            TaintEffect::NoExecute => "NoExecute",
        }
    }
}

/// SHA-256 of `bytes` as 64 lower-case hex digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    use std::fmt::Write;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
