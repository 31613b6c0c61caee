//! The keys of a group that only `serve` uses, beside its schedule: how runs follow each other, which
//! changes start one, and what a node is given once it has every image. Pure.

use super::code::Code;
use super::file::{Findings, Path, Table, Target, closest};
use super::settings::seconds;
use super::{Overlap, RemovedTaint, TaintEffect, Toleration, TolerationOperator, name};

/// As long as Jobs stay by default: they tell whether a run was done.
const DEFAULT_CATCH_UP_LIMIT_SECONDS: u32 = 3600;

const EFFECTS: [TaintEffect; 3] =
    [TaintEffect::NoSchedule, TaintEffect::PreferNoSchedule, TaintEffect::NoExecute];

/// Taints that Kubernetes sets and takes away by the state of the node: one that we remove comes back
/// at once, or lies about the node until it does.
const KUBERNETES_OWN: [&str; 10] = [
    "node.cloudprovider.kubernetes.io/shutdown",
    "node.cloudprovider.kubernetes.io/uninitialized",
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/network-unavailable",
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/out-of-service",
    "node.kubernetes.io/pid-pressure",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/unschedulable",
];

/// What was set, checked; `None` where a key is absent or was noted as wrong.
#[derive(Clone, Debug, Default)]
pub struct ServeSettings {
    pub overlap: Option<Overlap>,
    pub catch_up: Option<bool>,
    pub catch_up_limit_seconds: Option<u32>,
    pub run_on_change: Option<bool>,
    pub new_nodes: Option<bool>,
    pub ready_label: Option<bool>,
    pub remove_taint: Option<RemovedTaint>,
}

impl ServeSettings {
    pub fn read(table: &mut Table<'_>, findings: &mut Findings) -> ServeSettings {
        ServeSettings {
            overlap: table.string("overlap", findings).and_then(|(t, p)| overlap(t, &p, findings)),
            catch_up: table.boolean("catch_up", findings),
            catch_up_limit_seconds: table
                .string("catch_up_limit", findings)
                .and_then(|(t, p)| seconds(t, &p, 1, findings)),
            run_on_change: table.boolean("run_on_change", findings),
            new_nodes: table.boolean("new_nodes", findings),
            ready_label: table.boolean("ready_label", findings),
            remove_taint: table
                .string("remove_taint", findings)
                .and_then(|(t, p)| removed_taint(t, &p, findings)),
        }
    }

    /// A group's own key replaces the default's.
    pub fn over(self, defaults: &ServeSettings) -> ServeSettings {
        let ServeSettings {
            overlap,
            catch_up,
            catch_up_limit_seconds,
            run_on_change,
            new_nodes,
            ready_label,
            remove_taint,
        } = self;
        ServeSettings {
            overlap: overlap.or(defaults.overlap),
            catch_up: catch_up.or(defaults.catch_up),
            catch_up_limit_seconds: catch_up_limit_seconds.or(defaults.catch_up_limit_seconds),
            run_on_change: run_on_change.or(defaults.run_on_change),
            new_nodes: new_nodes.or(defaults.new_nodes),
            ready_label: ready_label.or(defaults.ready_label),
            remove_taint: remove_taint.or_else(|| defaults.remove_taint.clone()),
        }
    }

    pub fn catch_up_limit_or_default(&self) -> u32 {
        self.catch_up_limit_seconds.unwrap_or(DEFAULT_CATCH_UP_LIMIT_SECONDS)
    }
}

impl RemovedTaint {
    /// What lets a Job onto a node that has the taint still.
    pub fn toleration(&self) -> Toleration {
        Toleration {
            key: Some(self.key.clone()),
            operator: TolerationOperator::Exists,
            value: None,
            effect: Some(self.effect),
            toleration_seconds: None,
        }
    }

    /// Adds that toleration, unless one is there that says as much.
    pub fn tolerated_by(&self, mut tolerations: Vec<Toleration>) -> Vec<Toleration> {
        let says_as_much = |toleration: &Toleration| {
            toleration.operator == TolerationOperator::Exists
                && toleration.key.as_ref().is_none_or(|key| *key == self.key)
                && toleration.effect.is_none_or(|effect| effect == self.effect)
                && toleration.toleration_seconds.is_none()
        };
        if !tolerations.iter().any(says_as_much) {
            tolerations.push(self.toleration());
        }
        tolerations
    }
}

fn overlap(text: &str, path: &Path, findings: &mut Findings) -> Option<Overlap> {
    let known = [Overlap::Skip, Overlap::Wait];
    let found = known.into_iter().find(|overlap| overlap.as_str() == text);
    if found.is_none() {
        let help = match closest(text, known.into_iter().map(Overlap::as_str)) {
            Some(known) => format!("did you mean \"{known}\"?"),
            None => "use \"skip\" or \"wait\"".to_owned(),
        };
        findings.error(Code::BadOverlap, path, format!("unknown overlap {text:?}"), help);
    }
    found
}

/// `key:effect`, as kubectl writes a taint without a value.
fn removed_taint(text: &str, path: &Path, findings: &mut Findings) -> Option<RemovedTaint> {
    const EXAMPLE: &str = "as `example.com/starting:NoSchedule`";
    let mut wrong = |target: Target, message: String, help: String| {
        findings.error_at(Code::BadTaint, path, target, message, help);
        None
    };
    let Some((key, effect)) = text.rsplit_once(':') else {
        return wrong(Target::Value, format!("{text:?} has no effect"), EXAMPLE.to_owned());
    };
    let at_key = Target::Within(0..key.len());
    if let Some((key, _)) = key.split_once('=') {
        let help = format!("leave the value out: `{key}:{effect}`");
        return wrong(at_key, "a taint is told by its key and effect alone".to_owned(), help);
    }
    if !name::is_label_key(key) {
        return wrong(at_key, format!("{key:?} is no taint key"), EXAMPLE.to_owned());
    }
    if KUBERNETES_OWN.contains(&key) {
        let help = "give the node a startup taint of its own, and name that";
        return wrong(at_key, format!("{key:?} is set and removed by Kubernetes itself"), help.to_owned());
    }
    let Some(effect) = EFFECTS.into_iter().find(|known| known.as_str() == effect) else {
        let help = match closest(effect, EFFECTS.into_iter().map(TaintEffect::as_str)) {
            Some(known) => format!("did you mean \"{known}\"?"),
            None => "use \"NoSchedule\", \"PreferNoSchedule\" or \"NoExecute\"".to_owned(),
        };
        let at_effect = Target::Within(key.len() + 1..text.len());
        return wrong(at_effect, format!("unknown effect {effect:?}"), help);
    };
    Some(RemovedTaint { key: key.to_owned(), effect })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taint(text: &str) -> Result<RemovedTaint, Vec<String>> {
        let mut findings = Findings::default();
        let taint = removed_taint(text, &Path::default(), &mut findings);
        taint.ok_or_else(|| findings.0.into_iter().map(|finding| finding.message).collect())
    }

    #[test]
    fn a_taint_is_a_key_and_an_effect() {
        for (key, effect) in [
            ("a", TaintEffect::NoSchedule),
            ("example.com/starting", TaintEffect::NoExecute),
            ("quayctl-controller/Not_Ready.1", TaintEffect::PreferNoSchedule),
        ] {
            let found = taint(&format!("{key}:{}", effect.as_str()));
            assert_eq!(found, Ok(RemovedTaint { key: key.into(), effect }));
            assert_eq!(found.unwrap().to_string(), format!("{key}:{}", effect.as_str()));
        }
        for text in ["", "a", ":NoSchedule", "a:", "a:noschedule", "a b:NoSchedule", "a=b:NoSchedule"] {
            assert_eq!(taint(text).map_err(|messages| messages.len()), Err(1), "{text}");
        }
        for key in KUBERNETES_OWN {
            assert!(taint(&format!("{key}:NoSchedule")).is_err(), "{key}");
        }
    }

    #[test]
    fn the_taint_is_tolerated_once() {
        let starting = taint("starting:NoExecute").unwrap();
        let exists = starting.toleration();
        let says_as_much = [
            exists.clone(),
            Toleration { effect: None, ..exists.clone() },
            Toleration { key: None, effect: None, ..exists.clone() },
        ];
        for own in says_as_much {
            assert_eq!(starting.tolerated_by(vec![own.clone()]), [own]);
        }
        let says_less = [
            Toleration { key: Some("other".into()), ..exists.clone() },
            Toleration { effect: Some(TaintEffect::NoSchedule), ..exists.clone() },
            Toleration { toleration_seconds: Some(9), ..exists.clone() },
            Toleration { operator: TolerationOperator::Equal, value: Some("v".into()), ..exists.clone() },
        ];
        for own in says_less {
            assert_eq!(starting.tolerated_by(vec![own.clone()]), [own, exists.clone()]);
        }
        assert_eq!(starting.tolerated_by(Vec::new()), [exists]);
    }
}
