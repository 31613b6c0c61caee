//! What a watch event says about a Job or a pod, and nothing beyond what judging needs.

use k8s_openapi::api::batch::v1::JobStatus;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, PodStatus};

use super::Ending;

/// How a Job stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobFacts {
    ending: Option<Ending>,
    /// The Job controller has taken it up, and its deadline runs.
    pub started: bool,
}

/// How one pod of a Job stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodFacts {
    pub uid: String,
    /// The scheduler has bound it to a node.
    pub on_node: bool,
    /// Somebody has deleted it, and it is on its way out.
    pub terminating: bool,
    /// The scheduler's words, where it found no place.
    pub unschedulable: Option<String>,
    /// Reason and message of a pod that failed as a whole: evicted, rejected by the kubelet.
    pub failed: Option<(String, String)>,
    /// Init containers first.
    pub containers: Vec<ContainerFacts>,
}

/// How one container of a pod stands.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerFacts {
    pub name: String,
    pub image_id: String,
    /// It ran at least once, whatever it does now.
    pub ran: bool,
    /// What it waits for.
    pub waiting: Option<(String, String)>,
}

impl JobFacts {
    pub fn new(status: &JobStatus) -> JobFacts {
        let conditions = status.conditions.iter().flatten();
        // `SuccessCriteriaMet` and `FailureTarget` come earlier, while pods still terminate.
        let ending = conditions.filter(|c| c.status == "True").find_map(|c| match c.type_.as_str() {
            "Complete" => Some(Ending::Complete),
            "Failed" => Some(Ending::Failed {
                reason: c.reason.clone().unwrap_or_default(),
                message: c.message.clone().unwrap_or_default(),
            }),
            _ => None,
        });
        JobFacts { ending, started: status.start_time.is_some() }
    }

    /// How the Job ended, if it did.
    pub fn ending(&self) -> Option<Ending> {
        self.ending.clone()
    }
}

impl PodFacts {
    pub fn new(uid: String, on_node: bool, terminating: bool, status: &PodStatus) -> PodFacts {
        let failed = (status.phase.as_deref() == Some("Failed"))
            .then(|| status.reason.clone().map(|reason| (reason, status.message.clone().unwrap_or_default())))
            .flatten();
        let unschedulable = status
            .conditions
            .iter()
            .flatten()
            .find(|c| c.type_ == "PodScheduled" && c.status == "False")
            .and_then(|c| c.message.clone());
        let init = status.init_container_statuses.iter().flatten();
        let containers =
            init.chain(status.container_statuses.iter().flatten()).map(ContainerFacts::new).collect();
        PodFacts { uid, on_node, terminating, unschedulable, failed, containers }
    }
}

impl ContainerFacts {
    fn new(status: &ContainerStatus) -> ContainerFacts {
        let states = [&status.state, &status.last_state];
        let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref()).map(|waiting| {
            (waiting.reason.clone().unwrap_or_default(), waiting.message.clone().unwrap_or_default())
        });
        ContainerFacts {
            name: status.name.clone(),
            image_id: status.image_id.clone(),
            ran: states.into_iter().flatten().any(has_run),
            waiting,
        }
    }
}

fn has_run(state: &ContainerState) -> bool {
    let terminated = state.terminated.as_ref();
    // When a pod ends before a container of it was ever started, the kubelet's status manager makes
    // this state up (`TerminatePod`), with exit code 137.
    let ended = terminated.is_some_and(|t| t.reason.as_deref() != Some("ContainerStatusUnknown"));
    state.running.is_some() || ended
}
