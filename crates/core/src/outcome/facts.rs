//! What a watch event says about a Job or a pod, and nothing beyond what judging needs.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::JobStatus;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, PodCondition, PodStatus};

use super::Ending;
use crate::outside_text::without_middle;

/// Of a longer message the middle is left out: its beginning says who speaks, and its end is the cause. The
/// API server takes more than a MiB, and a registry may answer with a whole web page.
const MESSAGE_BYTES_MAX: usize = 4096;

/// `message`, in no more bytes than are kept.
pub fn clip(message: &str) -> Cow<'_, str> {
    without_middle(message, MESSAGE_BYTES_MAX)
}

/// How a Job stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobFacts {
    ending: Option<Ending>,
    /// When the Job controller has taken it up, and its deadline began to run: anew, once a queue admits it again.
    pub started_at: Option<Timestamp>,
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
    /// Why it failed as a whole: evicted, rejected by the kubelet. Reason and message.
    pub failed: Option<String>,
    /// What takes it off its node: preemption, eviction, a taint. Reason and message.
    pub disrupted: Option<String>,
    /// Its sandbox and its mounts are there.
    pub is_set_up: bool,
    /// Init containers first.
    pub containers: Vec<ContainerFacts>,
}

/// How one container of a pod stands.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub struct ContainerFacts {
    pub name: String,
    pub image_id: String,
    /// It ran at least once, whatever it does now.
    pub ran: bool,
    /// What it waits for.
    pub waiting: Option<(String, String)>,
    pub is_init: bool,
    /// It has ended. As no pod of ours restarts anything, for good.
    pub is_over: bool,
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
        JobFacts { ending, started_at: status.start_time.as_ref().map(|time| time.0) }
    }

    /// How the Job ended, if it did.
    pub fn ending(&self) -> Option<Ending> {
        self.ending.clone()
    }
}

impl PodFacts {
    pub fn new(uid: String, on_node: bool, terminating: bool, status: &PodStatus) -> PodFacts {
        let words = |reason: Option<&String>, message: Option<&String>| {
            let message = message.map_or("", String::as_str);
            reason.map(|reason| format!("{reason}: {}", clip(message)))
        };
        let condition = |kind: &str, state: &str| {
            status.conditions.iter().flatten().find(|c| c.type_ == kind && c.status == state)
        };
        let failed = (status.phase.as_deref() == Some("Failed"))
            .then(|| words(status.reason.as_ref(), status.message.as_ref()))
            .flatten();
        let unschedulable = condition("PodScheduled", "False").and_then(|c| c.message.clone());
        let disrupted = |c: &PodCondition| words(c.reason.as_ref(), c.message.as_ref());
        let disrupted = condition("DisruptionTarget", "True").and_then(disrupted);
        let of = |statuses: &Option<Vec<ContainerStatus>>, is_init: bool| -> Vec<ContainerFacts> {
            statuses.iter().flatten().map(|status| ContainerFacts::new(status, is_init)).collect()
        };
        let mut containers = of(&status.init_container_statuses, true);
        containers.extend(of(&status.container_statuses, false));
        let is_set_up = condition("PodReadyToStartContainers", "True").is_some()
            || containers.iter().any(ContainerFacts::is_past_setup);
        PodFacts { uid, on_node, terminating, unschedulable, failed, disrupted, is_set_up, containers }
    }
}

impl ContainerFacts {
    fn new(status: &ContainerStatus, is_init: bool) -> ContainerFacts {
        let states = [&status.state, &status.last_state];
        let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref()).map(|waiting| {
            let message = waiting.message.as_deref().map(|message| clip(message).into_owned());
            (waiting.reason.clone().unwrap_or_default(), message.unwrap_or_default())
        });
        ContainerFacts {
            name: status.name.clone(),
            image_id: status.image_id.clone(),
            ran: states.into_iter().flatten().any(has_run),
            waiting,
            is_init,
            is_over: status.state.as_ref().is_some_and(|state| state.terminated.is_some()),
        }
    }
}

impl ContainerFacts {
    /// Whether the kubelet has got as far as this container, which it does once the pod's sandbox stands.
    fn is_past_setup(&self) -> bool {
        let waits = |(reason, _): &(String, String)| {
            !matches!(reason.as_str(), "" | "ContainerCreating" | "PodInitializing")
        };
        self.ran || self.waiting.as_ref().is_some_and(waits)
    }
}

fn has_run(state: &ContainerState) -> bool {
    let terminated = state.terminated.as_ref();
    // When a pod ends before a container of it was ever started, the kubelet's status manager makes
    // this state up (`TerminatePod`), with exit code 137.
    let ended = terminated.is_some_and(|t| t.reason.as_deref() != Some("ContainerStatusUnknown"));
    state.running.is_some() || ended
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn facts(status: serde_json::Value) -> PodFacts {
        PodFacts::new("p".into(), true, false, &serde_json::from_value(status).unwrap())
    }

    #[test]
    fn a_message_keeps_its_beginning_and_its_end() {
        assert_eq!(clip("short"), "short");
        let long = format!("who speaks: {}: the cause é", "é".repeat(1 << 19));
        let clipped = clip(&long);
        assert!(
            clipped.len() <= MESSAGE_BYTES_MAX
                && clipped.starts_with("who speaks")
                && clipped.ends_with("the cause é")
        );
        let waiting = json!({"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ErrImagePull", "message": long}}});
        let pod = facts(json!({"containerStatuses": [waiting]}));
        assert!(
            pod.containers[0].waiting.as_ref().is_some_and(|(_, message)| message.len() <= MESSAGE_BYTES_MAX)
        );
    }

    #[test]
    fn conditions_tell_of_eviction_and_of_a_sandbox_that_stands() {
        let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "PreemptionByScheduler", "message": "m"});
        let pod = facts(json!({"conditions": [condition("DisruptionTarget", "True")]}));
        assert_eq!(pod.disrupted, Some("PreemptionByScheduler: m".to_owned()));
        assert!(!pod.is_set_up);
        let pod = facts(json!({"conditions": [condition("PodReadyToStartContainers", "True")]}));
        assert!(pod.is_set_up && pod.disrupted.is_none());
        let waiting = |reason: &str| {
            json!({"containerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": false,
                "restartCount": 0, "state": {"waiting": {"reason": reason}}}]})
        };
        assert!(!facts(waiting("ContainerCreating")).is_set_up);
        assert!(facts(waiting("ErrImagePull")).is_set_up);
    }
}
