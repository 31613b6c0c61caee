//! `tolerations` of a group: Kubernetes' rules for them, in our keys.

use super::code::Code;
use super::file::{Findings, Path, Table, integer, string};
use super::name::{is_label_key, is_label_value};
use super::{TaintEffect, Toleration, TolerationOperator};

use figment::value::Value;

/// A toleration, or `None` where something is wrong with it and was noted.
pub fn read(value: &Value, path: Path, findings: &mut Findings) -> Option<Toleration> {
    let before = findings.0.len();
    let mut table = Table::of(value, path.clone(), findings)?;
    let key = table.string("key", findings);
    // Of both: `None` where it is wrong, and noted.
    let operator = match table.take("operator") {
        // Kubernetes' default.
        None => Some(TolerationOperator::Equal),
        Some((value, path)) => {
            string(value, &path, findings).and_then(|text| operator_of(text, &path, findings))
        }
    };
    let effect = match table.take("effect") {
        None => Some(None),
        Some((value, path)) => {
            string(value, &path, findings).and_then(|text| effect_of(text, &path, findings))
        }
    };
    let value = table.string("value", findings);
    let toleration_seconds = table.take("toleration_seconds");

    let named = key.as_ref().filter(|(key, _)| !key.is_empty());
    if let Some((key, path)) = named.filter(|(key, _)| !is_label_key(key)) {
        let message = format!("{key:?} is no taint key");
        findings.error(Code::BadToleration, path, message, "as `example.com/dedicated`");
    }
    let nameless = key.as_ref().map_or_else(|| table.lacks("key"), |(key, _)| key.is_empty());
    if nameless && operator == Some(TolerationOperator::Equal) && !table.misspells("operator") {
        let help = "name the key, or tolerate every taint with `operator = \"Exists\"`";
        findings.error(Code::BadToleration, &path, "a toleration without a key", help);
    }
    if let Some((value, path)) = &value {
        if operator == Some(TolerationOperator::Exists) && !value.is_empty() {
            let help = "remove it, or use \"Equal\"";
            findings.error(Code::BadToleration, path, "operator \"Exists\" takes no value", help);
        } else if !is_label_value(value) {
            findings.error(Code::BadToleration, path, format!("{value:?} is no taint value"), "");
        }
    }
    let seconds = toleration_seconds.and_then(|(value, path)| {
        let seconds = integer(value, &path, findings)?;
        let other = effect.is_some_and(|effect| effect != Some(TaintEffect::NoExecute));
        if other && !table.misspells("effect") {
            let help = "set `effect = \"NoExecute\"`, or remove it";
            findings.error(Code::BadToleration, &path, "toleration_seconds needs the effect NoExecute", help);
        }
        i64::try_from(seconds).ok()
    });
    table.finish(findings, |_| None);
    if findings.0.len() > before {
        return None;
    }
    Some(Toleration {
        key: named.map(|(key, _)| (*key).to_owned()),
        operator: operator?,
        value: value.map(|(value, _)| value.to_owned()).filter(|value| !value.is_empty()),
        effect: effect?,
        toleration_seconds: seconds,
    })
}

fn operator_of(text: &str, path: &Path, findings: &mut Findings) -> Option<TolerationOperator> {
    match text {
        "Equal" => Some(TolerationOperator::Equal),
        "Exists" => Some(TolerationOperator::Exists),
        other => {
            let message = format!("unknown operator {other:?}");
            findings.error(Code::BadToleration, path, message, "use \"Exists\" or \"Equal\"");
            None
        }
    }
}

/// `Some(None)` for every effect.
fn effect_of(text: &str, path: &Path, findings: &mut Findings) -> Option<Option<TaintEffect>> {
    match text {
        "" => Some(None),
        "NoSchedule" => Some(Some(TaintEffect::NoSchedule)),
        "PreferNoSchedule" => Some(Some(TaintEffect::PreferNoSchedule)),
        "NoExecute" => Some(Some(TaintEffect::NoExecute)),
        other => {
            let help =
                "use \"NoSchedule\", \"PreferNoSchedule\" or \"NoExecute\", or leave it out for all of them";
            findings.error(Code::BadToleration, path, format!("unknown effect {other:?}"), help);
            None
        }
    }
}
