//! The keys that a group and `[defaults]` have in common.

use std::collections::{BTreeMap, BTreeSet};

use figment::value::{Num, Value};

use super::code::Code;
use super::duration::{go_duration, parse_seconds};
use super::file::{Findings, Path, Table, Target, closest, date, described};
use super::job_metadata::JobMetadata;
use super::schedule::{self, ScheduleError};
use super::serving::ServeSettings;
use super::template::{BUILT_IN_NAMES, TemplateName};
use super::validate::{at_least_one, label};
use super::{ImageRef, Limit, NodeSelector, PullPolicy, Schedule, Toleration, name, toleration};

/// What a group's keys mean where nobody sets them, in words.
pub const DEFAULTS: [(&str, &str); 22] = [
    ("node_selector", "every node"),
    ("tolerations", "[]"),
    ("concurrency", "the top-level one"),
    ("deadline", "\"5m\""),
    ("namespace", "the top-level one"),
    ("template", "\"auto\""),
    ("pull_policy", "\"IfNotPresent\""),
    ("pull_secrets", "[]"),
    ("service_account", "\"default\""),
    ("keep_jobs", "\"1h\""),
    ("carrier_image", "\"registry.k8s.io/pause:3.10.1\" for image-volume, none for helper"),
    ("time_zone", "\"Etc/UTC\""),
    ("overlap", "\"skip\""),
    ("catch_up", "true"),
    ("catch_up_limit", "\"1h\""),
    ("run_on_change", "true"),
    ("new_nodes", "true"),
    ("ready_label", "false"),
    ("remove_taint", "none"),
    ("job_labels", "{}"),
    ("job_annotations", "{}"),
    ("values", "{}"),
];

/// A value in one line.
pub fn json_of(value: &Value) -> String {
    // A tree of strings, numbers, lists and tables; nothing in it cannot be written.
    serde_json::to_string(value).unwrap_or_default()
}

/// A week: longer than any pull, shorter than what is surely a mistake.
const LONGEST_SECONDS: u64 = 168 * 3600;
/// Long enough for a report to be read off the Job.
const SHORTEST_KEEP_SECONDS: u64 = 60;

/// What was set, checked; `None` where a key is absent or was noted as wrong.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub node_selector: Option<NodeSelector>,
    pub tolerations: Option<Vec<Toleration>>,
    pub concurrency: Option<Limit>,
    pub deadline_seconds: Option<u32>,
    pub namespace: Option<String>,
    /// And where it stands.
    pub template: Option<(TemplateName, Path)>,
    /// One is named, but which is not known.
    pub template_is_wrong: bool,
    pub pull_policy: Option<PullPolicy>,
    pub pull_secrets: Option<Vec<String>>,
    pub service_account: Option<String>,
    pub keep_jobs_seconds: Option<u32>,
    pub carrier_image: Option<ImageRef>,
    /// Also where it is wrong: then it is not missing as well.
    pub carrier_image_is_set: bool,
    pub time_zone: Option<String>,
    pub serve: ServeSettings,
    pub job_metadata: JobMetadata,
    pub values: Option<BTreeMap<String, serde_json::Value>>,
}

impl Settings {
    /// Reads the keys from `table`. `user` names the templates that the file defines.
    pub fn read(table: &mut Table<'_>, user: &BTreeSet<&str>, findings: &mut Findings) -> Settings {
        let template = table.string("template", findings).and_then(|(t, p)| template(t, p, user, findings));
        Settings {
            node_selector: table
                .string("node_selector", findings)
                .and_then(|(t, p)| selector(t, &p, findings)),
            tolerations: table.list("tolerations", findings).map(|(values, path)| {
                let each = values.iter().enumerate();
                each.filter_map(|(i, value)| toleration::read(value, path.index(i), findings)).collect()
            }),
            concurrency: table.take("concurrency").and_then(|(value, path)| limit(value, &path, findings)),
            deadline_seconds: table
                .string("deadline", findings)
                .and_then(|(t, p)| seconds(t, &p, 1, findings)),
            namespace: table
                .string("namespace", findings)
                .and_then(|(t, p)| label(t, &p, "namespace", findings)),
            template_is_wrong: template.is_none() && table.take("template").is_some(),
            template,
            pull_policy: table
                .string("pull_policy", findings)
                .and_then(|(t, p)| pull_policy(t, &p, findings)),
            pull_secrets: table.strings("pull_secrets", findings).map(|(texts, _)| {
                texts.into_iter().filter_map(|(t, p)| subdomain(t, &p, "Secret", findings)).collect()
            }),
            service_account: table
                .string("service_account", findings)
                .and_then(|(t, p)| subdomain(t, &p, "ServiceAccount", findings)),
            keep_jobs_seconds: table
                .string("keep_jobs", findings)
                .and_then(|(t, p)| seconds(t, &p, SHORTEST_KEEP_SECONDS, findings)),
            carrier_image: table.string("carrier_image", findings).and_then(|(t, p)| image(t, &p, findings)),
            carrier_image_is_set: table.take("carrier_image").is_some(),
            time_zone: table.string("time_zone", findings).and_then(|(t, p)| time_zone(t, &p, findings)),
            serve: ServeSettings::read(table, findings),
            job_metadata: JobMetadata::read(table, findings),
            values: table.table("values", findings).map(|table| values(&table, findings)),
        }
    }

    /// A group's own key replaces the default's wholly. `values` alone merge, which is the caller's
    /// to do, as the template's stand between the two.
    pub fn over(self, defaults: &Settings) -> Settings {
        let Settings {
            node_selector,
            tolerations,
            concurrency,
            deadline_seconds,
            namespace,
            template,
            template_is_wrong,
            pull_policy,
            pull_secrets,
            service_account,
            keep_jobs_seconds,
            carrier_image,
            carrier_image_is_set,
            time_zone,
            serve,
            job_metadata,
            values,
        } = self;
        let below = defaults.clone();
        Settings {
            node_selector: node_selector.or(below.node_selector),
            tolerations: tolerations.or(below.tolerations),
            concurrency: concurrency.or(below.concurrency),
            deadline_seconds: deadline_seconds.or(below.deadline_seconds),
            namespace: namespace.or(below.namespace),
            template_is_wrong: template_is_wrong || (template.is_none() && below.template_is_wrong),
            template: template.or(below.template),
            pull_policy: pull_policy.or(below.pull_policy),
            pull_secrets: pull_secrets.or(below.pull_secrets),
            service_account: service_account.or(below.service_account),
            keep_jobs_seconds: keep_jobs_seconds.or(below.keep_jobs_seconds),
            carrier_image: carrier_image.or(below.carrier_image),
            carrier_image_is_set: carrier_image_is_set || below.carrier_image_is_set,
            time_zone: time_zone.or(below.time_zone),
            serve: serve.over(&below.serve),
            job_metadata: job_metadata.over(&below.job_metadata),
            values,
        }
    }
}

/// `text` as an image reference.
pub fn image(text: &str, path: &Path, findings: &mut Findings) -> Option<ImageRef> {
    match ImageRef::parse(text) {
        Ok(image) => Some(image),
        // The line in the file may hold a password: it is not shown.
        Err(message) if ImageRef::may_hold_credentials(text) => {
            let help = "name a Secret in `pull_secrets`; a digest is written as `…@sha256:…`";
            findings.error_at(Code::InlineCredentials, path, Target::Hidden, message, help);
            None
        }
        Err(message) => {
            let help = "as `quay.io/team/app:1.0` or `registry.example.com:5000/team/app@sha256:…`";
            findings.error(
                Code::BadReference,
                path,
                format!("{text:?} is no image reference: {message}"),
                help,
            );
            None
        }
    }
}

/// A free table as JSON; a date becomes its text, and what YAML cannot say is refused.
pub fn values(table: &Table<'_>, findings: &mut Findings) -> BTreeMap<String, serde_json::Value> {
    table
        .entries()
        .filter_map(|(key, value, path)| Some((key.clone(), free_value(value, &path, findings)?)))
        .collect()
}

fn free_value(value: &Value, path: &Path, findings: &mut Findings) -> Option<serde_json::Value> {
    match value {
        Value::String(_, text) => Some(text.clone().into()),
        Value::Char(_, c) => Some(c.to_string().into()),
        Value::Bool(_, value) => Some((*value).into()),
        Value::Num(_, Num::F32(_) | Num::F64(_)) => {
            let number = value.to_f64().and_then(serde_json::Number::from_f64);
            if number.is_none() {
                findings.error(
                    Code::BadValue,
                    path,
                    "neither infinity nor not-a-number can stand in a manifest",
                    "",
                );
            }
            number.map(serde_json::Value::Number)
        }
        Value::Num(..) => i64::try_from(value.to_i128()?).ok().map(Into::into),
        Value::Empty(..) => Some(serde_json::Value::Null),
        Value::Array(_, items) => {
            let items = items.iter().enumerate();
            Some(items.filter_map(|(i, item)| free_value(item, &path.index(i), findings)).collect())
        }
        Value::Dict(_, dict) => {
            if let Some(date) = date(value) {
                return Some(date.into());
            }
            let entries = dict.iter();
            let entries =
                entries.filter_map(|(k, v)| Some((k.clone(), free_value(v, &path.key(k), findings)?)));
            Some(serde_json::Value::Object(entries.collect()))
        }
    }
}

fn selector(text: &str, path: &Path, findings: &mut Findings) -> Option<NodeSelector> {
    match NodeSelector::parse(text) {
        Ok(selector) => Some(selector),
        Err(error) => {
            let help = "kubectl's syntax: `zone in (fra,ams),!gpu,node-role.kubernetes.io/worker`";
            findings.error_at(Code::BadSelector, path, Target::Within(error.span), error.message, help);
            None
        }
    }
}

/// `text` as a duration in whole seconds.
pub fn seconds(text: &str, path: &Path, shortest: u64, findings: &mut Findings) -> Option<u32> {
    let help = format!(
        "as `90s`, `5m` or `1h30m`, from {} to {}",
        go_duration(shortest),
        go_duration(LONGEST_SECONDS)
    );
    match parse_seconds(text) {
        Ok(seconds) if (shortest..=LONGEST_SECONDS).contains(&seconds) => u32::try_from(seconds).ok(),
        Ok(seconds) => {
            let side = if seconds < shortest { "short" } else { "long" };
            findings.error(Code::BadDuration, path, format!("{text:?} is too {side}"), help);
            None
        }
        Err(message) => {
            findings.error(Code::BadDuration, path, format!("{text:?} is no duration: {message}"), help);
            None
        }
    }
}

fn limit(value: &Value, path: &Path, findings: &mut Findings) -> Option<Limit> {
    let text = match value {
        Value::String(_, text) => text,
        Value::Num(_, number) if !matches!(number, Num::F32(_) | Num::F64(_)) => {
            return at_least_one(value, path, findings).map(Limit::Nodes);
        }
        _ => "",
    };
    let percent = text.strip_suffix('%').and_then(|number| number.parse::<u8>().ok());
    match percent.filter(|percent| (1..=100).contains(percent) && !text.starts_with('+')) {
        Some(percent) => Some(Limit::Percent(percent)),
        None => {
            let help = "use a number of nodes such as 5, or a percentage such as \"10%\", from 1 to 100";
            let message = format!("expected a number of nodes or a percentage, found {}", described(value));
            findings.error(Code::BadConcurrency, path, message, help);
            None
        }
    }
}

fn template(
    text: &str,
    path: Path,
    user: &BTreeSet<&str>,
    findings: &mut Findings,
) -> Option<(TemplateName, Path)> {
    let name = match text {
        "auto" => TemplateName::Auto,
        "image-volume" => TemplateName::ImageVolume,
        "helper" => TemplateName::Helper,
        "quayctl" => TemplateName::Quayctl,
        user_defined if user.contains(user_defined) => TemplateName::User(user_defined.to_owned()),
        other => {
            let known = BUILT_IN_NAMES.iter().copied().chain(user.iter().copied());
            let help = match closest(other, known) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("use auto, image-volume, helper or quayctl, or define [templates.{other}]"),
            };
            findings.error(Code::MissingTemplate, &path, format!("there is no template {other:?}"), help);
            return None;
        }
    };
    Some((name, path))
}

/// `text` as a schedule.
pub fn schedule(text: &str, path: &Path, findings: &mut Findings) -> Option<Schedule> {
    match Schedule::parse(text) {
        Ok(schedule) => Some(schedule),
        Err(ScheduleError { message, span }) => {
            let help =
                "five fields as in a CronJob: minute, hour, day of month, month, day of week, as `0 3 * * *`";
            findings.error_at(Code::BadSchedule, path, Target::Within(span), message, help);
            None
        }
    }
}

fn time_zone(text: &str, path: &Path, findings: &mut Findings) -> Option<String> {
    if schedule::time_zone(text).is_some() {
        return Some(text.to_owned());
    }
    let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    let help = match closest(text, known.iter().map(String::as_str)) {
        Some(known) => format!("did you mean \"{known}\"?"),
        None => "use a name of the IANA database, as \"Europe/Berlin\"".to_owned(),
    };
    findings.error(Code::BadTimeZone, path, format!("{text:?} is no time zone"), help);
    None
}

fn pull_policy(text: &str, path: &Path, findings: &mut Findings) -> Option<PullPolicy> {
    match text {
        "IfNotPresent" => Some(PullPolicy::IfNotPresent),
        "Always" => Some(PullPolicy::Always),
        other => {
            let help = match closest(other, ["IfNotPresent", "Always"].into_iter()) {
                Some(known) => format!("did you mean \"{known}\"?"),
                None => "use \"IfNotPresent\" or \"Always\"".to_owned(),
            };
            findings.error(Code::BadPullPolicy, path, format!("unknown pull policy {other:?}"), help);
            None
        }
    }
}

fn subdomain(text: &str, path: &Path, what: &str, findings: &mut Findings) -> Option<String> {
    if name::is_subdomain(text) {
        return Some(text.to_owned());
    }
    let help = "use lower-case letters, digits, dashes and dots, with a letter or digit at both ends";
    let is_near = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ');
    if what == "Secret" && (text.len() > 253 || !text.chars().all(is_near)) {
        // More likely what belongs into the Secret.
        let help = "create a Secret of type kubernetes.io/dockerconfigjson, and write its name here";
        findings.error_at(Code::BadName, path, Target::Hidden, "this is no name of a Secret", help);
        return None;
    }
    findings.error(Code::BadName, path, format!("{text:?} is no name of a {what}"), help);
    None
}
