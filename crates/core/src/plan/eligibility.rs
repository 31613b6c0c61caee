//! Whether a node that a group selects can take its Job, and if not, why.

use crate::config::{Group, TaintEffect, TemplateName, Toleration, TolerationOperator};

use super::{Node, SkipReason, Taint};

/// Set by the node controller on a cordoned node.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Set by the node controller where the Ready condition is False and Unknown.
const NOT_READY: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// The first reason not to plan `group` on `node`, with words for people.
pub fn skip_reason(group: &Group, node: &Node) -> Option<(SkipReason, String)> {
    // A cordoned node is usually being drained: filling its disk now would be wasted work, so that
    // reason is looked for first, also where the node is not ready as well.
    if node.unschedulable && !tolerates_cordon(&group.tolerations) {
        return Some((SkipReason::Cordoned, "the node is cordoned".to_owned()));
    }
    if !node.ready {
        return Some((SkipReason::NotReady, "the node's Ready condition is not True".to_owned()));
    }
    if let Some(taint) = node.taints.iter().find(|taint| NOT_READY.contains(&taint.key.as_str())) {
        return Some((SkipReason::NotReady, format!("the node has the taint {taint}")));
    }
    let repels = |taint: &&Taint| {
        taint.effect != TaintEffect::PreferNoSchedule
            && taint.key != UNSCHEDULABLE
            && !group.tolerations.iter().any(|toleration| tolerates(toleration, taint))
    };
    if let Some(taint) = node.taints.iter().find(repels) {
        return Some((SkipReason::Tainted, format!("the taint {taint} is not tolerated")));
    }
    if !runs_built_ins(node) && !matches!(group.template, TemplateName::User(_)) {
        let platform = format!("{}/{}", node.os, node.arch);
        let message = format!("no built-in template runs on {platform}: they need linux on amd64 or arm64");
        return Some((SkipReason::UnsupportedPlatform, message));
    }
    if group.template == TemplateName::Quayctl && !node.container_runtime.starts_with("docker://") {
        let message =
            format!("the template quayctl needs Docker, and the node runs {}", node.container_runtime);
        return Some((SkipReason::UnsupportedPlatform, message));
    }
    None
}

/// The carrier image, ours and the pause image alike, is built for these.
fn runs_built_ins(node: &Node) -> bool {
    node.os == "linux" && matches!(node.arch.as_str(), "amd64" | "arm64")
}

fn tolerates_cordon(tolerations: &[Toleration]) -> bool {
    let taint =
        Taint { key: UNSCHEDULABLE.to_owned(), value: String::new(), effect: TaintEffect::NoSchedule };
    tolerations.iter().any(|toleration| tolerates(toleration, &taint))
}

/// Kubernetes' rule (`Toleration.ToleratesTaint`): what a toleration leaves out matches anything.
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.is_none_or(|effect| effect == taint.effect);
    let key = toleration.key.as_ref().is_none_or(|key| *key == taint.key);
    let value = match toleration.operator {
        TolerationOperator::Exists => true,
        TolerationOperator::Equal => toleration.value.as_deref().unwrap_or("") == taint.value,
    };
    effect && key && value
}

impl std::fmt::Display for Taint {
    /// As `kubectl taint` writes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Taint { key, value, effect } = self;
        let effect = effect.as_str();
        match value.as_str() {
            "" => write!(f, "{key}:{effect}"),
            value => write!(f, "{key}={value}:{effect}"),
        }
    }
}
