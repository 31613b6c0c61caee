//! What a run would do, for every node. Its field names and codes are an interface like the report's.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::table::{FailureKey, FailureRow, RowVerdict, columns, skipped_in_words, write_rows};
use super::{NodeReason, json, said};
use crate::outcome::Failure;
use crate::plan::{JobIndex, Plan, PlannedJob, Skipped};
use crate::words::counted;

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanReport {
    /// Of this form.
    pub version: u32,
    /// The most a run may take, as a Go duration.
    pub run_deadline: String,
    /// In file order.
    pub groups: Vec<GroupPlan>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupPlan {
    pub name: String,
    pub counts: PlanCounts,
    /// By name.
    pub nodes: Vec<NodePlan>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PlanCounts {
    pub create: usize,
    pub skip: usize,
    /// Known to fail: no carrier image for a node that needs one, or refused by the API server in a dry
    /// run. Absent where there is none.
    #[serde(skip_serializing_if = "is_zero")]
    pub failed: usize,
    /// Of those to be created: on the node an earlier Job of equal content is Complete. Absent where there
    /// is none.
    #[serde(skip_serializing_if = "is_zero")]
    pub present: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodePlan {
    pub name: String,
    pub action: PlanAction,
    pub reason: Option<NodeReason>,
    pub message: Option<String>,
    pub template: Option<String>,
    /// Name of its Job.
    pub job: Option<String>,
    /// A Job is created, and finds the images: an earlier one of equal content is Complete. Absent where
    /// it is not so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub present: bool,
}

/// What a run would do with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PlanAction {
    Create,
    Skip,
    /// The run is known to fail there.
    Failed,
}

/// A Job that a run would not create: it has no carrier image, or the API server would not take it.
pub type Refusal = (JobIndex, Failure);

impl PlanReport {
    /// `refusals` are what is foreseen, and those of a server-side dry run; `present` the Jobs that an earlier run has done.
    pub fn new(plan: &Plan, refusals: Vec<Refusal>, present: &HashSet<JobIndex>) -> PlanReport {
        let mut refusals: HashMap<JobIndex, Failure> = refusals.into_iter().collect();
        let groups = plan.groups.iter().enumerate().map(|(group, planned)| {
            let jobs = planned.jobs.iter().enumerate();
            let jobs = jobs.map(|(job, planned)| {
                let index = JobIndex { group, job };
                NodePlan::of_job(planned, refusals.remove(&index), present.contains(&index))
            });
            let mut nodes: Vec<NodePlan> =
                jobs.chain(planned.skipped.iter().map(NodePlan::of_skipped)).collect();
            nodes.sort_by(|a, b| a.name.cmp(&b.name));
            let count = |action| nodes.iter().filter(|node| node.action == action).count();
            let counts = PlanCounts {
                create: count(PlanAction::Create),
                skip: count(PlanAction::Skip),
                failed: count(PlanAction::Failed),
                present: nodes.iter().filter(|node| node.present).count(),
            };
            GroupPlan { name: planned.group.name.clone(), counts, nodes }
        });
        PlanReport { version: 1, run_deadline: plan.run_deadline(), groups: groups.collect() }
    }

    /// Over all groups; a node counts once for each of its groups.
    pub fn counts(&self) -> PlanCounts {
        self.groups.iter().fold(PlanCounts::default(), |sum, group| PlanCounts {
            create: sum.create + group.counts.create,
            skip: sum.skip + group.counts.skip,
            failed: sum.failed + group.counts.failed,
            present: sum.present + group.counts.present,
        })
    }

    /// Whether some node may lack an image, as far as Jobs tell.
    pub fn has_work(&self) -> bool {
        let PlanCounts { create, present, failed, skip: _ } = self.counts();
        create > present || failed > 0
    }

    pub fn to_json(&self) -> String {
        json::pretty(self)
    }

    pub fn to_yaml(&self) -> String {
        json::yaml(self)
    }

    /// For a person on an 80-column terminal.
    pub fn to_table(&self) -> String {
        let PlanCounts { create, skip: _, failed, present } = self.counts();
        // A column that is zero in almost every plan would only be in the way.
        let shown = |values: [String; 6]| -> Vec<String> {
            let [name, nodes, create, skip, present_, failed_] = values;
            let always = [name, nodes, create, skip].into_iter();
            let present_ = (present > 0).then_some(present_);
            always.chain(present_).chain((failed > 0).then_some(failed_)).collect()
        };
        let header = ["GROUP", "NODES", "CREATE", "SKIP", "PRESENT", "FAIL"].map(str::to_owned);
        let rows = self.groups.iter().map(|GroupPlan { name, counts, nodes }| {
            let [nodes, create, skip, present, failed] =
                [nodes.len(), counts.create, counts.skip, counts.present, counts.failed]
                    .map(|n| n.to_string());
            shown([name.clone(), nodes, create, skip, present, failed])
        });
        let mut text = columns(&shown(header), rows);
        let nodes =
            self.groups.iter().flat_map(|group| group.nodes.iter().map(|node| (group.name.as_str(), node)));
        write_rows(&mut text, nodes.filter_map(|(group, node)| row(group, node)));
        let present = match present {
            0 => String::new(),
            present if present == create => " (whose images are there)".to_owned(),
            present => format!(" ({present} whose images are there)"),
        };
        let fails = if failed > 0 { format!(", {failed} would fail") } else { String::new() };
        let skipped = skipped_in_words(self.groups.iter().map(|group| {
            let skipped = group.nodes.iter().filter(|node| node.action == PlanAction::Skip);
            skipped.map(|node| node.name.as_str())
        }));
        let (jobs, deadline) = (counted(create, "Job"), &self.run_deadline);
        text.push_str(&format!("\n{jobs} to create{present}, {skipped}{fails}; done within {deadline}\n"));
        text
    }
}

impl NodePlan {
    fn of_job(job: &PlannedJob, refusal: Option<Failure>, is_done: bool) -> NodePlan {
        NodePlan {
            name: said(&job.node.name),
            action: if refusal.is_some() { PlanAction::Failed } else { PlanAction::Create },
            present: is_done && refusal.is_none(),
            reason: refusal.as_ref().map(|failure| NodeReason::Failed(failure.reason)),
            message: refusal.map(|failure| said(&failure.message)),
            template: Some(job.template.as_str().to_owned()),
            job: Some(job.name.clone()),
        }
    }

    fn of_skipped(skipped: &Skipped) -> NodePlan {
        let Skipped { node, reason, message } = skipped;
        NodePlan {
            name: said(&node.name),
            action: PlanAction::Skip,
            reason: Some(NodeReason::Skipped(*reason)),
            message: Some(said(message)),
            template: None,
            job: None,
            present: false,
        }
    }
}

fn row<'a>(group: &'a str, node: &'a NodePlan) -> Option<FailureRow<'a>> {
    let message = node.message.as_deref();
    let (key, message) = match node.action {
        PlanAction::Create => return None,
        PlanAction::Failed => (FailureKey::new(RowVerdict::Failed, node.reason), message),
        PlanAction::Skip => (FailureKey::of_skipped(node.reason, message), None),
    };
    Some(FailureRow { group, node: &node.name, key, message })
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}
