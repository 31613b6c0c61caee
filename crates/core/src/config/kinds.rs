//! What a key may be: how each kind is read from the tree, offered to editors and set by a variable. Pure.

use std::fmt::Debug;
use std::num::NonZeroUsize;

use figment::value::{Num, Value};
use serde::Serialize;
use serde_json::json;

use super::code::Code;
use super::duration::{go_duration, parse_seconds};
use super::file::{Findings, Path, Target, boolean, closest, described, integer, string, strings};
use super::schedule::{self, ScheduleError};
use super::{Limit, NodeSelector, Schedule, TemplateName, name};

pub use free::{FreeTable, TemplateValues};
pub use images::{IMAGES_MAX, ImageList, image};
pub use job_metadata::{JobAnnotations, JobLabels};
pub use tolerations::{AnyEffect, TaintKey, TaintValue, Tolerations};

mod free;
mod images;
mod job_metadata;
mod taint;
mod tolerations;

/// Definitions of the JSON Schema that several keys share, by name.
pub type Defs = serde_json::Map<String, serde_json::Value>;

pub trait Kind {
    /// What is read.
    type Value: Clone + Debug + Serialize;
    const VARIABLE: Variable = Variable::Text;

    /// What an editor may offer and refuse.
    fn schema(_: &mut Defs) -> serde_json::Value {
        json!({"type": "string"})
    }

    /// The value, or `None` where it is wrong, which is noted.
    fn read(value: &Value, path: &Path, findings: &mut Findings) -> Option<Self::Value>;

    /// As TOML writes it.
    fn shown(value: &Self::Value) -> String {
        // Strings, numbers, lists and tables; nothing in them cannot be written.
        serde_json::to_string(value).unwrap_or_default()
    }
}

/// How a variable's text becomes a value. Strings stay strings: `QUAYCTL_NAMESPACE=1234` is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    Text,
    /// A number where it reads as one, else text, as `10%`.
    Number,
    /// `true` or `false`, else text, which is refused.
    Switch,
    /// A list as TOML writes it.
    List,
    /// A table as TOML writes it; sources add their keys to those of the sources below.
    Table,
}

/// A week: longer than any pull, shorter than what is surely a mistake.
const LONGEST_SECONDS: u64 = 168 * 3600;
const LABEL_PATTERN: &str = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";

/// Puts a definition beside those that others share, and refers to it.
pub fn refer(defs: &mut Defs, name: &str, schema: serde_json::Value) -> serde_json::Value {
    defs.insert(name.to_owned(), schema);
    json!({"$ref": format!("#/$defs/{name}")})
}

/// A text of any kind.
#[derive(Debug)]
pub struct Text;

impl Kind for Text {
    type Value = String;

    fn read(value: &Value, path: &Path, findings: &mut Findings) -> Option<String> {
        string(value, path, findings).map(str::to_owned)
    }
}

/// A DNS-1123 label.
#[derive(Debug)]
pub struct Label;

impl Kind for Label {
    type Value = String;

    fn schema(_: &mut Defs) -> serde_json::Value {
        json!({"pattern": LABEL_PATTERN, "type": "string"})
    }

    fn read(value: &Value, path: &Path, findings: &mut Findings) -> Option<String> {
        let text = string(value, path, findings)?;
        if name::is_label(text) {
            return Some(text.to_owned());
        }
        let help = "use 1 to 63 lower-case letters, digits and dashes, with a letter or digit at both ends";
        findings.refuse(Code::BadName, path, format!("invalid {} {text:?}", path.name()), help)
    }
}

/// What objects are called that may have dots in their names.
const SUBDOMAIN_HELP: &str =
    "use lower-case letters, digits, dashes and dots, with a letter or digit at both ends";

#[derive(Debug)]
pub struct ServiceAccountName;

impl Kind for ServiceAccountName {
    type Value = String;

    fn read(value: &Value, path: &Path, findings: &mut Findings) -> Option<String> {
        let text = string(value, path, findings)?;
        if name::is_subdomain(text) {
            return Some(text.to_owned());
        }
        let message = format!("invalid name of a ServiceAccount: {text:?}");
        findings.refuse(Code::BadName, path, message, SUBDOMAIN_HELP)
    }
}

#[derive(Debug)]
pub struct SecretNames;

impl Kind for SecretNames {
    type Value = Vec<String>;
    const VARIABLE: Variable = Variable::List;

    fn schema(_: &mut Defs) -> serde_json::Value {
        json!({"items": {"type": "string"}, "type": "array"})
    }

    fn read(value: &Value, path: &Path, findings: &mut Findings) -> Option<Vec<String>> {
        let names = strings(value, path, findings)?;
        Some(names.into_iter().filter_map(|(text, path)| secret_name(text, &path, findings)).collect())
    }
}

fn secret_name(text: &str, path: &Path, findings: &mut Findings) -> Option<String> {
    if name::is_subdomain(text) {
        return Some(text.to_owned());
    }
    let is_near = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ');
    if text.len() <= 253 && text.chars().all(is_near) {
        let message = format!("invalid name of a Secret: {text:?}");
        return findings.refuse(Code::BadName, path, message, SUBDOMAIN_HELP);
    }
    // More likely what belongs into the Secret.
    let help = "create a Secret of type kubernetes.io/dockerconfigjson, and write its name here";
    findings.refuse(Code::BadName, (path, Target::Hidden), "invalid name of a Secret", help)
}

impl Kind for bool {
    type Value = bool;
    const VARIABLE: Variable = Variable::Switch;

    fn schema(_: &mut Defs) -> serde_json::Value {
        json!({"type": "boolean"})
    }

    fn read(value: &Value, path: &Path, findings: &mut Findings) -> Option<bool> {
        boolean(value, path, findings)
    }
}

#[derive(Debug)]
pub struct Integer;

impl Kind for Integer {
    type Value = i64;
    const VARIABLE: Variable = Variable::Number;

    fn schema(_: &mut Defs) -> serde_json::Value {
        json!({"format": "int64", "type": "integer"})
    }

    fn read(value: &Value, path: &Path, findings: &mut Findings) -> Option<i64> {
        i64::try_from(integer(value, path, findings)?).ok()
    }
}

/// A number of nodes.
#[derive(Debug)]
pub struct Count;

impl Kind for Count {
    type Value = NonZeroUsize;
    const VARIABLE: Variable = Variable::Number;

    fn schema(_: &mut Defs) -> serde_json::Value {
        json!({"format": "uint64", "minimum": 1, "type": "integer"})
    }

    fn read(value: &Value, path: &Path, findings: &mut Findings) -> Option<NonZeroUsize> {
        let number = integer(value, path, findings)?;
        usize::try_from(number).ok().and_then(NonZeroUsize::new).or_else(|| {
            let message = format!("expected at least 1 node, found {}", described(value));
            findings.refuse(Code::BadConcurrency, path, message, "use a number of nodes, at least 1")
        })
    }
}

impl Kind for Limit {
    type Value = Limit;
    const VARIABLE: Variable = Variable::Number;

    fn schema(defs: &mut Defs) -> serde_json::Value {
        let schema = json!({
            "anyOf": [Count::schema(defs), {"pattern": "^([1-9][0-9]?|100)%$", "type": "string"}],
            "description": "A number of nodes, or a percentage from `1%` to `100%`.",
        });
        refer(defs, "Limit", schema)
    }

    fn read(value: &Value, path: &Path, findings: &mut Findings) -> Option<Limit> {
        let text = match value {
            Value::String(_, text) => text,
            Value::Num(_, number) if !matches!(number, Num::F32(_) | Num::F64(_)) => {
                return Count::read(value, path, findings).map(Limit::Nodes);
            }
            _ => "",
        };
        let percent = text.strip_suffix('%').and_then(|number| number.parse::<u8>().ok());
        match percent.filter(|percent| (1..=100).contains(percent) && !text.starts_with('+')) {
            Some(percent) => Some(Limit::Percent(percent)),
            None => {
                let message =
                    format!("expected a number of nodes or a percentage, found {}", described(value));
                let help = "use a number of nodes such as 5, or a percentage such as \"10%\", from 1 to 100";
                findings.refuse(Code::BadConcurrency, path, message, help)
            }
        }
    }
}

/// A duration in whole seconds, from so many to a week.
#[derive(Debug)]
pub struct Seconds<const SHORTEST: u64>;

impl<const SHORTEST: u64> Kind for Seconds<SHORTEST> {
    type Value = u32;

    fn schema(defs: &mut Defs) -> serde_json::Value {
        let schema = json!({
            "description": "A duration in Go's form, in whole seconds: `90s`, `5m`, `1h30m`, `1.5h`.",
            "pattern": "^([0-9]*\\.?[0-9]*(h|m|s|ms|us|µs|ns))+$",
            "type": "string",
        });
        refer(defs, "Duration", schema)
    }

    fn read(value: &Value, path: &Path, findings: &mut Findings) -> Option<u32> {
        let text = string(value, path, findings)?;
        let message = match parse_seconds(text) {
            Ok(seconds) if seconds < SHORTEST => format!("{text:?} is too short"),
            Ok(seconds) if seconds > LONGEST_SECONDS => format!("{text:?} is too long"),
            Ok(seconds) => return u32::try_from(seconds).ok(),
            Err(wrong) => format!("invalid duration {text:?}: {wrong}"),
        };
        let (shortest, longest) = (go_duration(SHORTEST), go_duration(LONGEST_SECONDS));
        let help = format!("as `90s`, `5m` or `1h30m`, from {shortest} to {longest}");
        findings.refuse(Code::BadDuration, path, message, help)
    }

    fn shown(seconds: &u32) -> String {
        format!("{:?}", go_duration(u64::from(*seconds)))
    }
}

impl Kind for NodeSelector {
    type Value = NodeSelector;

    fn read(value: &Value, path: &Path, findings: &mut Findings) -> Option<NodeSelector> {
        let text = string(value, path, findings)?;
        match NodeSelector::parse(text) {
            Ok(selector) => Some(selector),
            Err(error) => {
                let help = "kubectl's syntax: `zone in (fra,ams),!gpu,node-role.kubernetes.io/worker`";
                findings.refuse(Code::BadSelector, (path, Target::Within(error.span)), error.message, help)
            }
        }
    }
}

impl Kind for Schedule {
    type Value = Schedule;

    fn read(value: &Value, path: &Path, findings: &mut Findings) -> Option<Schedule> {
        match Schedule::parse(string(value, path, findings)?) {
            Ok(schedule) => Some(schedule),
            Err(ScheduleError { message, span }) => {
                let help = "five fields as in a CronJob: minute, hour, day of month, month, day of week, as `0 3 * * *`";
                findings.refuse(Code::BadSchedule, (path, Target::Within(span)), message, help)
            }
        }
    }
}

/// A name of the IANA database.
#[derive(Debug)]
pub struct TimeZone;

impl Kind for TimeZone {
    type Value = String;

    fn read(value: &Value, path: &Path, findings: &mut Findings) -> Option<String> {
        let text = string(value, path, findings)?;
        if schedule::time_zone(text).is_some() {
            return Some(text.to_owned());
        }
        let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
        let help = match closest(text, known.iter().map(String::as_str)) {
            Some(known) => format!("did you mean \"{known}\"?"),
            None => "use a name of the IANA database, as \"Europe/Berlin\"".to_owned(),
        };
        findings.refuse(Code::BadTimeZone, path, format!("unknown time zone {text:?}"), help)
    }
}

/// Whether the file has a template of that name is asked when its tables are known.
impl Kind for TemplateName {
    type Value = TemplateName;

    fn read(value: &Value, path: &Path, findings: &mut Findings) -> Option<TemplateName> {
        string(value, path, findings).map(TemplateName::of)
    }
}
