//! `tolerations` of a group: Kubernetes' rules for them, in our keys.

use super::file::{Findings, Path, Table, integer};
use super::name::{is_label_key, is_label_value};
use super::{TaintEffect, Toleration, TolerationOperator};

use figment::value::Value;

/// A toleration, or `None` where something is wrong with it and was noted.
pub fn read(value: &Value, path: Path, findings: &mut Findings) -> Option<Toleration> {
    let before = findings.0.len();
    let mut table = Table::of(value, path.clone(), findings)?;
    let key = table.string("key", findings).filter(|(key, _)| !key.is_empty());
    if let Some((key, path)) = key.as_ref().filter(|(key, _)| !is_label_key(key)) {
        findings.error(
            "bad-toleration",
            path,
            format!("{key:?} is no taint key"),
            "as `example.com/dedicated`",
        );
    }
    let operator = match table.string("operator", findings) {
        // Kubernetes' default.
        None | Some(("Equal", _)) => Some(TolerationOperator::Equal),
        Some(("Exists", _)) => Some(TolerationOperator::Exists),
        Some((other, path)) => {
            findings.error(
                "bad-toleration",
                &path,
                format!("unknown operator {other:?}"),
                "use \"Exists\" or \"Equal\"",
            );
            None
        }
    };
    let value = table.string("value", findings);
    if let Some((value, path)) = &value {
        if operator == Some(TolerationOperator::Exists) && !value.is_empty() {
            findings.error(
                "bad-toleration",
                path,
                "operator \"Exists\" takes no value",
                "remove it, or use \"Equal\"",
            );
        } else if !is_label_value(value) {
            findings.error("bad-toleration", path, format!("{value:?} is no taint value"), "");
        }
    }
    let effect = table.string("effect", findings).and_then(|(text, path)| match text {
        "" => None,
        "NoSchedule" => Some(TaintEffect::NoSchedule),
        "PreferNoSchedule" => Some(TaintEffect::PreferNoSchedule),
        "NoExecute" => Some(TaintEffect::NoExecute),
        other => {
            let help =
                "use \"NoSchedule\", \"PreferNoSchedule\" or \"NoExecute\", or leave it out for all of them";
            findings.error("bad-toleration", &path, format!("unknown effect {other:?}"), help);
            None
        }
    });
    let toleration_seconds = table.take("toleration_seconds").and_then(|(value, path)| {
        let seconds = integer(value, &path, findings)?;
        if effect != Some(TaintEffect::NoExecute) {
            let help = "set `effect = \"NoExecute\"`, or remove it";
            findings.error("bad-toleration", &path, "toleration_seconds needs the effect NoExecute", help);
        }
        i64::try_from(seconds).ok()
    });
    if key.is_none() && operator == Some(TolerationOperator::Equal) {
        let help = "name the key, or tolerate every taint with `operator = \"Exists\"`";
        findings.error("bad-toleration", &path, "a toleration without a key", help);
    }
    table.finish(findings, |_| None);
    let operator = operator.filter(|_| findings.0.len() == before)?;
    Some(Toleration {
        key: key.map(|(key, _)| key.to_owned()),
        operator,
        value: value.map(|(value, _)| value.to_owned()).filter(|value| !value.is_empty()),
        effect,
        toleration_seconds,
    })
}
