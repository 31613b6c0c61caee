//! Tables that may hold whatever a template reads.

use std::collections::BTreeMap;

use figment::value::{Num, Value};
use serde_json::json;

use super::{Defs, Kind, Variable};
use crate::config::code::Code;
use crate::config::file::{Findings, Path, Table, date};
use crate::config::values::offered;

/// A free table as JSON; a date becomes its text, and what YAML cannot say is refused.
#[derive(Debug)]
pub struct FreeTable;

impl Kind for FreeTable {
    type Value = BTreeMap<String, serde_json::Value>;
    const VARIABLE: Variable = Variable::Table;

    fn schema(_: &mut Defs) -> serde_json::Value {
        json!({"additionalProperties": true, "type": "object"})
    }

    fn read(value: &Value, path: &Path, findings: &mut Findings) -> Option<Self::Value> {
        let table = Table::of(value, path.clone(), findings)?;
        let entries = table.entries();
        Some(
            entries
                .filter_map(|(key, value, path)| Some((key.clone(), free(value, &path, findings)?)))
                .collect(),
        )
    }
}

/// The same of a group, where editors offer what the built-in templates take.
#[derive(Debug)]
pub struct TemplateValues;

impl Kind for TemplateValues {
    type Value = BTreeMap<String, serde_json::Value>;
    const VARIABLE: Variable = Variable::Table;

    fn schema(_: &mut Defs) -> serde_json::Value {
        offered()
    }

    fn read(value: &Value, path: &Path, findings: &mut Findings) -> Option<Self::Value> {
        FreeTable::read(value, path, findings)
    }
}

fn free(value: &Value, path: &Path, findings: &mut Findings) -> Option<serde_json::Value> {
    match value {
        Value::String(_, text) => Some(text.clone().into()),
        Value::Char(_, c) => Some(c.to_string().into()),
        Value::Bool(_, value) => Some((*value).into()),
        Value::Num(_, Num::F32(_) | Num::F64(_)) => {
            let number = value.to_f64().and_then(serde_json::Number::from_f64);
            number.map(serde_json::Value::Number).or_else(|| {
                let message = "neither infinity nor not-a-number can stand in a manifest";
                findings.refuse(Code::BadValue, path, message, "")
            })
        }
        Value::Num(..) => i64::try_from(value.to_i128()?).ok().map(Into::into),
        Value::Empty(..) => Some(serde_json::Value::Null),
        Value::Array(_, items) => {
            let items = items.iter().enumerate();
            Some(items.filter_map(|(i, item)| free(item, &path.index(i), findings)).collect())
        }
        Value::Dict(_, dict) => {
            if let Some(date) = date(value) {
                return Some(date.into());
            }
            let entries = dict.iter();
            let entries = entries.filter_map(|(k, v)| Some((k.clone(), free(v, &path.key(k), findings)?)));
            Some(serde_json::Value::Object(entries.collect()))
        }
    }
}
