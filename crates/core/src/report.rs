//! What a run did, for every node and image. Pure: no client, no clock.
//!
//! What others said comes in through [`outside_text`](crate::outside_text). One [`RunReport`], several faces. Its field names and codes are an interface: scripts read them.

use jiff::Timestamp;
use serde::Serialize;

use crate::outcome::{ImageOutcome, ImageState, JobResult, Reason, Verdict};
use crate::outside_text::one_line_within;
use crate::plan::{Plan, PlannedGroup, PlannedJob, SkipReason, Skipped};

mod codes;
mod json;
mod plan;
mod summary;
mod table;

pub use plan::{PlanReport, Refusal};
pub use table::skipped_in_words;

/// A kubelet's messages are some 1 KiB; the report of 5,000 nodes must stay one that can be read.
const SAID_BYTES_MAX: usize = 8 << 10;

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

/// Of nodes by their [`Tally`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    pub succeeded: usize,
    /// Of these something is wrong; the two below had no time.
    pub failed: usize,
    pub skipped: usize,
    /// The run was ended while their Jobs were live.
    pub interrupted: usize,
    /// The run ended before their turn.
    pub not_started: usize,
}

/// What became of a run as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunVerdict {
    Succeeded,
    /// Some planned node has not every image.
    Failed,
    /// Ended by a signal or a lost cluster, which says nothing about nodes.
    Aborted,
}

/// As what a node is counted. Its verdict is `failed` wherever it was planned and has not every image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    Succeeded,
    Failed,
    Skipped,
    Interrupted,
    NotStarted,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReport {
    pub name: String,
    pub verdict: NodeVerdict,
    pub reason: Option<NodeReason>,
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

/// Why a node was skipped or has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeReason {
    Skipped(SkipReason),
    Failed(Reason),
}

/// The state of an image on a node, without why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageStatus {
    Pulled,
    Present,
    Failed,
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImageReport {
    /// As the config has it.
    pub reference: String,
    pub state: ImageStatus,
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
        let is_short = |group: &GroupReport| group.counts.succeeded < group.counts.planned();
        let any_failed = groups.iter().any(is_short);
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

    pub fn verdict(&self) -> RunVerdict {
        match self.exit_code {
            0 => RunVerdict::Succeeded,
            1 => RunVerdict::Failed,
            _ => RunVerdict::Aborted,
        }
    }

    /// Over all groups; a node counts once for each of its groups.
    pub fn counts(&self) -> Counts {
        self.groups.iter().fold(Counts::default(), |sum, group| sum.plus(group.counts))
    }
}

impl Counts {
    /// Nodes that were to get a Job.
    pub fn planned(self) -> usize {
        let Counts { succeeded, failed, skipped: _, interrupted, not_started } = self;
        succeeded + failed + interrupted + not_started
    }

    /// `3 succeeded, 1 failed, 0 skipped`; of nodes that had no time only where there are any.
    pub fn in_words(self) -> String {
        let Counts { succeeded, failed, skipped, .. } = self;
        format!("{succeeded} succeeded, {failed} failed{}, {skipped} skipped", self.unfinished_in_words())
    }

    /// `, 2 interrupted, 1 not started`, or nothing.
    fn unfinished_in_words(self) -> String {
        let unfinished = [(self.interrupted, "interrupted"), (self.not_started, "not started")];
        let unfinished = unfinished.into_iter().filter(|(count, _)| *count > 0);
        unfinished.map(|(count, what)| format!(", {count} {what}")).collect()
    }

    fn plus(self, other: Counts) -> Counts {
        Counts {
            succeeded: self.succeeded + other.succeeded,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
            interrupted: self.interrupted + other.interrupted,
            not_started: self.not_started + other.not_started,
        }
    }
}

impl FromIterator<Tally> for Counts {
    fn from_iter<T: IntoIterator<Item = Tally>>(nodes: T) -> Counts {
        let mut counts = Counts::default();
        for node in nodes {
            *match node {
                Tally::Succeeded => &mut counts.succeeded,
                Tally::Failed => &mut counts.failed,
                Tally::Skipped => &mut counts.skipped,
                Tally::Interrupted => &mut counts.interrupted,
                Tally::NotStarted => &mut counts.not_started,
            } += 1;
        }
        counts
    }
}

impl GroupReport {
    fn new(planned: &PlannedGroup, results: &[JobResult]) -> GroupReport {
        let done = planned.jobs.iter().zip(results).map(|(job, result)| NodeReport::of_job(job, result));
        let mut nodes: Vec<NodeReport> =
            done.chain(planned.skipped.iter().map(NodeReport::of_skipped)).collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let counts = nodes.iter().map(NodeReport::tally).collect();
        GroupReport { name: planned.group.name.clone(), counts, nodes }
    }
}

impl NodeReport {
    pub fn tally(&self) -> Tally {
        match self.verdict {
            NodeVerdict::Succeeded => Tally::Succeeded,
            NodeVerdict::Skipped => Tally::Skipped,
            NodeVerdict::Failed => match self.reason {
                Some(NodeReason::Failed(Reason::Interrupted)) => Tally::Interrupted,
                Some(NodeReason::Failed(Reason::NotStarted)) => Tally::NotStarted,
                _ => Tally::Failed,
            },
        }
    }

    fn of_job(job: &PlannedJob, result: &JobResult) -> NodeReport {
        let JobResult { outcome, started_at, finished_at, adopted } = result;
        let (verdict, reason, message) = match &outcome.verdict {
            Verdict::Succeeded => (NodeVerdict::Succeeded, None, None),
            Verdict::Failed(failure) => {
                (NodeVerdict::Failed, Some(NodeReason::Failed(failure.reason)), Some(said(&failure.message)))
            }
        };
        let images = job.group.images.iter().zip(&outcome.images);
        NodeReport {
            name: said(&job.node.name),
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
            name: said(&node.name),
            verdict: NodeVerdict::Skipped,
            reason: Some(NodeReason::Skipped(*reason)),
            message: Some(said(message)),
            job: None,
            adopted_from: None,
            started_at: None,
            finished_at: None,
            images: Vec::new(),
        }
    }
}

/// What a kubelet, a registry or whoever names nodes has written.
fn said(text: &str) -> String {
    one_line_within(text, SAID_BYTES_MAX).into_owned()
}

impl ImageReport {
    fn new(reference: String, image: &ImageOutcome) -> ImageReport {
        let ImageOutcome { state, seconds, bytes, digest } = image;
        let (state, failure) = match state {
            ImageState::Pulled => (ImageStatus::Pulled, None),
            ImageState::Present => (ImageStatus::Present, None),
            ImageState::Failed(failure) => (ImageStatus::Failed, Some(failure)),
            ImageState::Unknown => (ImageStatus::Unknown, None),
        };
        ImageReport {
            reference,
            state,
            reason: failure.map(|failure| failure.reason),
            message: failure.map(|failure| said(&failure.message)),
            seconds: *seconds,
            bytes: *bytes,
            digest: digest.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
