//! `remove_taint`: a startup taint that `serve` takes off a node once it has every image.

use figment::value::Value;
use serde_json::json;

use super::{Defs, Kind};
use crate::config::choice::meant;
use crate::config::code::Code;
use crate::config::file::{Findings, Path, Target, string};
use crate::config::name;
use crate::config::{RemovedTaint, TaintEffect, Toleration, TolerationOperator};

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

impl Kind for RemovedTaint {
    type Value = RemovedTaint;

    fn schema(_: &mut Defs) -> serde_json::Value {
        json!({"pattern": "^[^:=\\s]+:(NoSchedule|PreferNoSchedule|NoExecute)$", "type": "string"})
    }

    /// `key:effect`, as kubectl writes a taint without a value.
    fn read(value: &Value, path: &Path, findings: &mut Findings) -> Option<RemovedTaint> {
        const EXAMPLE: &str = "as `example.com/starting:NoSchedule`";
        let text = string(value, path, findings)?;
        let mut refuse = |target: Target, message: String, help: String| {
            findings.refuse(Code::BadTaint, (path, target), message, help)
        };
        let Some((key, effect)) = text.rsplit_once(':') else {
            return refuse(Target::Value, format!("{text:?} has no effect"), EXAMPLE.to_owned());
        };
        let at_key = Target::Within(0..key.len());
        if let Some((key, _)) = key.split_once('=') {
            let help = format!("leave the value out: `{key}:{effect}`");
            return refuse(at_key, "a taint is told by its key and effect alone".to_owned(), help);
        }
        if !name::is_label_key(key) {
            return refuse(at_key, format!("invalid taint key {key:?}"), EXAMPLE.to_owned());
        }
        if KUBERNETES_OWN.contains(&key) {
            let help = "give the node a startup taint of its own, and name that";
            return refuse(
                at_key,
                format!("{key:?} is set and removed by Kubernetes itself"),
                help.to_owned(),
            );
        }
        let Some(effect) = TaintEffect::ALL.iter().copied().find(|known| known.as_str() == effect) else {
            let at_effect = Target::Within(key.len() + 1..text.len());
            let known: Vec<&str> = TaintEffect::ALL.iter().map(|effect| effect.as_str()).collect();
            return refuse(at_effect, format!("unknown effect {effect:?}"), meant(effect, &known));
        };
        Some(RemovedTaint { key: key.to_owned(), effect })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn taint(text: &str) -> Result<RemovedTaint, Vec<String>> {
        let mut findings = Findings::default();
        let taint = RemovedTaint::read(&text.into(), &Path::default(), &mut findings);
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
