//! `tolerations` of a group: Kubernetes' rules for them, in our keys.

use figment::value::Value;
use serde_json::json;

use super::{Defs, Kind, Variable, refer};
use crate::config::code::Code;
use crate::config::file::{Findings, Path, Table, list, string};
use crate::config::keys::{TOLERATION, Toleration, TolerationTable};
use crate::config::name::{is_label_key, is_label_value};
use crate::config::schema;
use crate::config::{TaintEffect, TolerationOperator};

/// Those that are right.
#[derive(Debug)]
pub struct Tolerations;

impl Kind for Tolerations {
    type Value = Vec<Toleration>;
    const VARIABLE: Variable = Variable::List;

    fn schema(defs: &mut Defs) -> serde_json::Value {
        let table = schema::table(TOLERATION, defs);
        json!({"items": refer(defs, "Toleration", table), "type": "array"})
    }

    fn read(value: &Value, path: &Path, findings: &mut Findings) -> Option<Vec<Toleration>> {
        let values = list(value, path, findings)?.iter().enumerate();
        Some(values.filter_map(|(i, value)| toleration(value, path.index(i), findings)).collect())
    }
}

/// A toleration, or `None` where something is wrong with it and was noted.
fn toleration(value: &Value, path: Path, findings: &mut Findings) -> Option<Toleration> {
    let before = findings.0.len();
    let mut table = Table::of(value, path.clone(), findings)?;
    let written = TolerationTable::read(&mut table, findings);
    let operator_is = |operator| match written.operator {
        None => operator == TolerationOperator::Equal,
        Some(found) => found == Some(operator),
    };
    let is_nameless = match &written.key {
        None => table.lacks("key"),
        Some(key) => key.as_deref() == Some(""),
    };
    if is_nameless && operator_is(TolerationOperator::Equal) && !table.misspells("operator") {
        let help = "name the key, or tolerate every taint with `operator = \"Exists\"`";
        findings.error(Code::BadToleration, &path, "a toleration without a key", help);
    }
    let value = written.value.as_ref().and_then(|value| value.as_deref());
    if operator_is(TolerationOperator::Exists) && value.is_some_and(|value| !value.is_empty()) {
        let help = "remove it, or use \"Equal\"";
        findings.error(Code::BadToleration, &path.key("value"), "operator \"Exists\" takes no value", help);
    }
    let effect_differs = written
        .effect
        .is_none_or(|effect| effect.is_some_and(|effect| effect != Some(TaintEffect::NoExecute)));
    if matches!(written.toleration_seconds, Some(Some(_))) && effect_differs && !table.misspells("effect") {
        let help = "set `effect = \"NoExecute\"`, or remove it";
        let path = path.key("toleration_seconds");
        findings.error(Code::BadToleration, &path, "toleration_seconds needs the effect NoExecute", help);
    }
    table.finish(findings, |_| None);
    if findings.0.len() > before {
        return None;
    }
    let Toleration { key, operator, value, effect, toleration_seconds } = written.checked();
    let named = |text: Option<String>| text.filter(|text| !text.is_empty());
    Some(Toleration { key: named(key), operator, value: named(value), effect, toleration_seconds })
}

/// A label key, or nothing.
#[derive(Debug)]
pub struct TaintKey;

impl Kind for TaintKey {
    type Value = String;

    fn read(value: &Value, path: &Path, findings: &mut Findings) -> Option<String> {
        let text = string(value, path, findings)?;
        if text.is_empty() || is_label_key(text) {
            return Some(text.to_owned());
        }
        findings.refuse(
            Code::BadToleration,
            path,
            format!("invalid taint key {text:?}"),
            "as `example.com/dedicated`",
        )
    }
}

#[derive(Debug)]
pub struct TaintValue;

impl Kind for TaintValue {
    type Value = String;

    fn read(value: &Value, path: &Path, findings: &mut Findings) -> Option<String> {
        let text = string(value, path, findings)?;
        if is_label_value(text) {
            return Some(text.to_owned());
        }
        findings.refuse(Code::BadToleration, path, format!("invalid taint value {text:?}"), "")
    }
}

/// One effect, or "" for all of them.
#[derive(Debug)]
pub struct AnyEffect;

impl Kind for AnyEffect {
    type Value = Option<TaintEffect>;

    fn schema(defs: &mut Defs) -> serde_json::Value {
        TaintEffect::schema(defs)
    }

    fn read(value: &Value, path: &Path, findings: &mut Findings) -> Option<Option<TaintEffect>> {
        match value.as_str() {
            Some("") => Some(None),
            _ => TaintEffect::read(value, path, findings).map(Some),
        }
    }
}
