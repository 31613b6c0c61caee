//! What a run did, for every node and image. Pure: no client, no clock.
//!
//! One [`RunReport`], several faces. Its field names and codes are an interface: scripts read them.

use jiff::Timestamp;
use serde::Serialize;

use crate::outcome::{ImageOutcome, ImageState, JobResult, Reason, Verdict};
use crate::plan::{Plan, PlannedGroup, PlannedJob, SkipReason, Skipped};

mod json;
mod plan;
mod summary;
mod table;

pub use plan::{PlanCounts, PlanReport, Refusal};

/// The whole report; unknown values are null.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunReport {
    /// Of this form.
    pub version: u32,
    pub run_id: String,
    pub instance: String,
    pub config_hash: String,
    #[serde(serialize_with = "json::second")]
    pub started_at: Timestamp,
    #[serde(serialize_with = "json::second")]
    pub finished_at: Timestamp,
    pub exit_code: u8,
    /// How often the API server asked us to slow down.
    pub throttled: u64,
    /// In file order.
    pub groups: Vec<GroupReport>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupReport {
    pub name: String,
    pub counts: Counts,
    /// In the order in which the API server lists nodes: by name.
    pub nodes: Vec<NodeReport>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub succeeded: usize,
    pub failed: usize,
    pub skipped: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReport {
    pub name: String,
    pub verdict: NodeVerdict,
    pub reason: Option<&'static str>,
    pub message: Option<String>,
    /// Name of its Job.
    pub job: Option<String>,
    /// The run whose live Job was taken over.
    pub adopted_from: Option<String>,
    #[serde(serialize_with = "json::optional_second")]
    pub started_at: Option<Timestamp>,
    #[serde(serialize_with = "json::optional_second")]
    pub finished_at: Option<Timestamp>,
    /// Empty for a skipped node.
    pub images: Vec<ImageReport>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeVerdict {
    Succeeded,
    Failed,
    Skipped,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImageReport {
    /// As the config has it.
    pub reference: String,
    pub state: &'static str,
    pub reason: Option<Reason>,
    pub message: Option<String>,
    pub seconds: Option<f64>,
    pub bytes: Option<u64>,
    pub digest: Option<String>,
}

/// What a report says about the run as a whole.
#[derive(Clone, Debug)]
pub struct RunFacts {
    pub run_id: String,
    pub instance: String,
    pub config_hash: String,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    /// How often the API server asked us to slow down.
    pub throttled: u64,
    /// A skipped node, or a selector that matches nothing, counts against the run.
    pub strict: bool,
}

impl RunReport {
    /// Puts a plan and what became of it together. `ended_by` is the exit code of a run that a signal
    /// or a lost cluster has ended; without one the nodes decide.
    pub fn new(plan: &Plan, results: &[Vec<JobResult>], facts: RunFacts, ended_by: Option<u8>) -> RunReport {
        let RunFacts { run_id, instance, config_hash, started_at, finished_at, throttled, strict } = facts;
        let groups: Vec<GroupReport> = plan
            .groups
            .iter()
            .zip(results)
            .map(|(group, results)| GroupReport::new(group, results))
            .collect();
        let any_failed = groups.iter().any(|group| group.counts.failed > 0);
        let left_out = |group: &GroupReport| group.counts.skipped > 0 || group.nodes.is_empty();
        let too_few = strict && groups.iter().any(left_out);
        let exit_code = ended_by.unwrap_or(u8::from(any_failed || too_few));
        RunReport {
            version: 1,
            run_id,
            instance,
            config_hash,
            started_at,
            finished_at,
            exit_code,
            throttled,
            groups,
        }
    }

    /// Over all groups; a node counts once for each of its groups.
    pub fn counts(&self) -> Counts {
        self.groups.iter().fold(Counts::default(), |sum, group| Counts {
            succeeded: sum.succeeded + group.counts.succeeded,
            failed: sum.failed + group.counts.failed,
            skipped: sum.skipped + group.counts.skipped,
        })
    }
}

impl GroupReport {
    fn new(planned: &PlannedGroup, results: &[JobResult]) -> GroupReport {
        let done = planned.jobs.iter().zip(results).map(|(job, result)| NodeReport::of_job(job, result));
        let mut nodes: Vec<NodeReport> =
            done.chain(planned.skipped.iter().map(NodeReport::of_skipped)).collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let count = |verdict| nodes.iter().filter(|node| node.verdict == verdict).count();
        let counts = Counts {
            succeeded: count(NodeVerdict::Succeeded),
            failed: count(NodeVerdict::Failed),
            skipped: count(NodeVerdict::Skipped),
        };
        GroupReport { name: planned.group.name.clone(), counts, nodes }
    }
}

impl NodeReport {
    fn of_job(job: &PlannedJob, result: &JobResult) -> NodeReport {
        let JobResult { outcome, started_at, finished_at, adopted } = result;
        let (verdict, reason, message) = match &outcome.verdict {
            Verdict::Succeeded => (NodeVerdict::Succeeded, None, None),
            Verdict::Failed(failure) => {
                (NodeVerdict::Failed, Some(failure.reason.code()), Some(failure.message.clone()))
            }
        };
        let images = job.group.images.iter().zip(&outcome.images);
        NodeReport {
            name: job.node.name.clone(),
            verdict,
            reason,
            message,
            job: Some(adopted.as_ref().map_or(&job.name, |adopted| &adopted.job).clone()),
            adopted_from: adopted.as_ref().map(|adopted| adopted.run_id.clone()),
            started_at: *started_at,
            finished_at: *finished_at,
            images: images.map(|(reference, image)| ImageReport::new(reference.to_string(), image)).collect(),
        }
    }

    fn of_skipped(skipped: &Skipped) -> NodeReport {
        let Skipped { node, reason, message } = skipped;
        NodeReport {
            name: node.name.clone(),
            verdict: NodeVerdict::Skipped,
            reason: Some(SkipReason::code(*reason)),
            message: Some(message.clone()),
            job: None,
            adopted_from: None,
            started_at: None,
            finished_at: None,
            images: Vec::new(),
        }
    }
}

impl ImageReport {
    fn new(reference: String, image: &ImageOutcome) -> ImageReport {
        let ImageOutcome { state, seconds, bytes, digest } = image;
        let (state, failure) = match state {
            ImageState::Pulled => ("pulled", None),
            ImageState::Present => ("present", None),
            ImageState::Failed(failure) => ("failed", Some(failure)),
            ImageState::Unknown => ("unknown", None),
        };
        ImageReport {
            reference,
            state,
            reason: failure.map(|failure| failure.reason),
            message: failure.map(|failure| failure.message.clone()),
            seconds: *seconds,
            bytes: *bytes,
            digest: digest.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
