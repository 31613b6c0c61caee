//! Whether the built-in templates can do with the `values` that a config gives them. Pure.
//!
//! What is refused here is what the API server would refuse on every node, and two things that only a
//! kubelet or a container runtime does: root, and a memory limit that CRI-O starts nothing with.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::quantity::Quantity;
use super::{BuiltIn, DECLARED, DeclaredValue, UNSET, USER_ID_MAX, ValueKind};
use crate::config::code::Code;
use crate::config::file::{Findings, Path, Target, closest};
use crate::config::name::is_subdomain;
use crate::config::template::{TemplateName, Templates};

pub use metadata::{OWNED_ANNOTATIONS, OWNED_LABELS, is_of_the_job_controller};

pub(in crate::config) mod metadata;

/// `values` as they are written in one place of the config.
pub type Values = BTreeMap<String, Value>;

/// The least that CRI-O gives a container: `container_min_memory` of its configuration.
const MEMORY_LIMIT_MIN_BYTES: u64 = 12 << 20;

/// A value whose request must not be more than its limit.
const REQUESTS: [(&str, &str); 2] = [("cpu", "cpu_limit"), ("memory", "memory_limit")];

/// One group, as far as its values are concerned.
#[derive(Debug)]
pub struct GroupValues<'a> {
    pub template: &'a TemplateName,
    /// The group's own.
    pub own: Option<&'a Values>,
    /// Where those stand.
    pub path: Path,
    /// `[defaults]`'s.
    pub inherited: Option<&'a Values>,
    /// Lengths of its image references.
    pub image_lengths: Vec<usize>,
}

/// What was noted of values that groups have in common, so that it is noted once.
#[derive(Debug, Default)]
pub struct Noted(BTreeSet<String>);

impl Noted {
    /// Notes it. False: it was noted before.
    pub fn insert(&mut self, what: String) -> bool {
        self.0.insert(what)
    }
}

/// A value, where it stands, and whether that is `[defaults]`.
struct Placed<'a> {
    value: &'a Value,
    path: Path,
    is_inherited: bool,
}

/// The templates of ours that a group's nodes may get; none for a user's.
fn readers(template: &TemplateName) -> &'static [BuiltIn] {
    match template {
        TemplateName::Auto => &[BuiltIn::ImageVolume, BuiltIn::Helper],
        TemplateName::ImageVolume => &[BuiltIn::ImageVolume],
        TemplateName::Helper => &[BuiltIn::Helper],
        TemplateName::Quayctl => &[BuiltIn::Quayctl],
        TemplateName::User(_) => &[],
    }
}

fn reads(template: &TemplateName, declared: &DeclaredValue) -> bool {
    readers(template).iter().any(|reader| declared.default_in(*reader).is_some())
}

fn declared(name: &str) -> Option<&'static DeclaredValue> {
    DECLARED.iter().find(|declared| declared.name == name)
}

fn path_in_defaults(key: &str) -> Path {
    Path::default().key("defaults").key("values").key(key)
}

/// Notes what is wrong with the values that the template of `group` gets.
pub fn check_group(group: &GroupValues<'_>, noted: &mut Noted, findings: &mut Findings) {
    if readers(group.template).is_empty() {
        return;
    }
    for key in group.own.into_iter().flat_map(Values::keys) {
        let path = group.path.key(key);
        match declared(key) {
            Some(declared) if reads(group.template, declared) => {}
            Some(_) => unused(&path, group.template, key, findings),
            None => {
                let known = DECLARED.iter().filter(|declared| reads(group.template, declared));
                let known: BTreeSet<&str> = known.map(|declared| declared.name).collect();
                let of = format!("the template `{}` has no such value", group.template.as_str());
                unknown(&path, key, &of, &known, findings);
            }
        }
    }
    let mut quantities: BTreeMap<&str, Quantity> = BTreeMap::new();
    let mut wrong: BTreeSet<&str> = BTreeSet::new();
    for declared in DECLARED.iter().filter(|declared| reads(group.template, declared)) {
        let Some(Placed { value, path, is_inherited }) = group.placed(declared.name) else { continue };
        let mut fresh = Findings::default();
        match rule(declared, value, &path, group, &mut fresh) {
            Some(quantity) => drop(quantities.insert(declared.name, quantity)),
            None if fresh.has_errors() => drop(wrong.insert(declared.name)),
            None => {}
        }
        if !is_inherited || noted.insert(declared.name.to_owned()) {
            findings.0.append(&mut fresh.0);
        }
    }
    for (request, limit) in REQUESTS.iter().filter(|(r, l)| !wrong.contains(r) && !wrong.contains(l)) {
        request_fits_limit(group, request, limit, &quantities, noted, findings);
    }
}

/// Notes what is wrong with the values of `[defaults]` that no group told of. `groups` are all there are.
pub fn check_defaults(
    inherited: &Values,
    groups: &[GroupValues<'_>],
    templates: &Templates,
    noted: &mut Noted,
    findings: &mut Findings,
) {
    let users: BTreeSet<&str> = groups.iter().filter_map(|group| user_template(group.template)).collect();
    for (key, value) in inherited.iter().filter(|(_, value)| value.as_str() != Some("")) {
        // A user's template may mean by any key what it likes.
        if users.iter().any(|template| may_read(templates, template, key)) {
            continue;
        }
        let path = path_in_defaults(key);
        let Some(first) = groups.first() else { continue };
        match declared(key) {
            None => {
                let read =
                    |declared: &&DeclaredValue| groups.iter().any(|group| reads(group.template, declared));
                let mut known: BTreeSet<&str> = DECLARED.iter().filter(read).map(|d| d.name).collect();
                known.extend(
                    users.iter().flat_map(|template| templates.texts_of(template)).flat_map(named_in),
                );
                match users.is_empty() {
                    true => unknown(&path, key, "no group's template has such a value", &known, findings),
                    // The table is free where templates of the user's own read it.
                    false => unread(&path, key, &known, findings),
                }
            }
            Some(declared) => match groups.iter().find(|group| reads(group.template, declared)) {
                None => unused(&path, first.template, key, findings),
                // It is overridden everywhere, and wrong all the same.
                Some(group) if noted.insert(key.clone()) => {
                    rule(declared, value, &path, group, findings);
                }
                Some(_) => {}
            },
        }
    }
}

fn user_template(template: &TemplateName) -> Option<&str> {
    match template {
        TemplateName::User(name) => Some(name),
        TemplateName::Auto | TemplateName::ImageVolume | TemplateName::Helper | TemplateName::Quayctl => None,
    }
}

/// The values that a template's text names as `values.NAME`.
fn named_in(text: &str) -> impl Iterator<Item = &str> {
    text.split("values.").skip(1).filter_map(|rest| {
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        (end > 0).then_some(&rest[..end])
    })
}

/// Whether the user's template `name` may read the value `key`, as far as its text tells.
fn may_read(templates: &Templates, name: &str, key: &str) -> bool {
    let texts = templates.texts_of(name);
    let tags = texts.iter().flat_map(|text| text.split("{{").skip(1)).filter_map(|rest| {
        let tag = rest.split("}}").next()?.trim_start_matches('~');
        (!tag.starts_with('!')).then_some(tag)
    });
    // Whoever prints, walks or hands on a whole table reads all of it.
    let is_whole = |word: &str| matches!(word, "values" | "@root" | "this" | "." | ".." | "lookup");
    let reads_whole = |tag: &str| {
        let words = tag.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '=' | '|' | '~'));
        words.map(|word| word.trim_start_matches(['#', '^', '&', '{', '>'])).any(is_whole)
    };
    // What cannot be read, or is not there, may be anything.
    texts.is_empty()
        || !templates.without_text.is_empty()
        || tags.into_iter().any(|tag| tag.contains(key) || reads_whole(tag))
}

fn unknown(path: &Path, key: &str, why: &str, known: &BTreeSet<&str>, findings: &mut Findings) {
    let message = format!("unknown key `{key}`: {why}");
    findings.error(Code::UnknownKey, (path, Target::Key), message, advice(key, known));
}

fn unread(path: &Path, key: &str, known: &BTreeSet<&str>, findings: &mut Findings) {
    let message = format!("no group's template reads `{key}`, so it has no effect");
    findings.warning(Code::UnusedValue, (path, Target::Key), message, advice(key, known));
}

fn advice(key: &str, known: &BTreeSet<&str>) -> String {
    match closest(key, known.iter().copied()) {
        Some(known) => format!("did you mean `{known}`?"),
        None => format!("known here: {}", known.iter().copied().collect::<Vec<_>>().join(", ")),
    }
}

fn unused(path: &Path, template: &TemplateName, key: &str, findings: &mut Findings) {
    let message = format!("the template `{}` does not read `{key}`, so it has no effect", template.as_str());
    findings.warning(Code::UnusedValue, (path, Target::Key), message, "remove it");
}

impl<'a> GroupValues<'a> {
    /// The group's own value before the inherited one; `None` where neither is set, or it is "", which
    /// templates take for the same.
    fn placed(&self, key: &str) -> Option<Placed<'a>> {
        let own = self.own.and_then(|values| values.get(key));
        let placed = match own {
            Some(value) => Placed { value, path: self.path.key(key), is_inherited: false },
            None => {
                let value = self.inherited.and_then(|values| values.get(key))?;
                Placed { value, path: path_in_defaults(key), is_inherited: true }
            }
        };
        (placed.value.as_str() != Some("")).then_some(placed)
    }
}

/// Notes what is wrong with one value; a quantity is given back.
fn rule(
    declared: &DeclaredValue,
    value: &Value,
    path: &Path,
    group: &GroupValues<'_>,
    findings: &mut Findings,
) -> Option<Quantity> {
    match (declared.kind, value) {
        (ValueKind::Cpus | ValueKind::Bytes, Value::String(_) | Value::Number(_)) => {
            return quantity(declared, value, path, findings);
        }
        (ValueKind::UserId, Value::Number(number)) if !number.is_f64() => {
            user_id(number, path, findings);
        }
        (ValueKind::UserId, Value::String(text)) if text == UNSET => {}
        (ValueKind::NameOf(kind), Value::String(text)) if !is_subdomain(text) => {
            let help = "use lower-case letters, digits, dashes and dots, with a letter or digit at both ends";
            findings.error(Code::BadValue, path, format!("invalid name of a {kind}: {text:?}"), help);
        }
        (ValueKind::NameOf(_), Value::String(_)) => {}
        (ValueKind::Image, Value::String(text)) => {
            crate::config::kinds::image(text, path, findings);
        }
        (ValueKind::Labels, Value::Object(labels)) => metadata::labels(labels, path, findings),
        (ValueKind::Annotations, Value::Object(annotations)) => {
            metadata::annotations(annotations, path, group, findings);
        }
        (kind, other) => wrong_type(path, kind.expected(), other, findings),
    }
    None
}

/// `help` says what to write instead where that can be told.
fn wrong_type(path: &Path, expected: &str, found: &Value, findings: &mut Findings) {
    let help = match found {
        Value::String(text) if expected.contains(UNSET) => match text.parse::<u64>() {
            Ok(number) => format!("write it without quotes: {number}"),
            Err(_) => closest(text, [UNSET].into_iter())
                .map(|_| format!("did you mean \"{UNSET}\"?"))
                .unwrap_or_default(),
        },
        Value::Bool(_) | Value::Number(_) if expected == "a string" => {
            format!("write it in quotes: \"{found}\"")
        }
        _ => String::new(),
    };
    findings.error(Code::WrongType, path, format!("expected {expected}, found {}", described(found)), help);
}

/// A value in words, as [`crate::config::file::described`] has them.
fn described(value: &Value) -> String {
    match value {
        Value::String(text) => format!("the string {text:?}"),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(number) if number.is_f64() => format!("the float {number}"),
        Value::Number(number) => format!("the integer {number}"),
        Value::Null => "nothing".to_owned(),
        Value::Object(_) => "a table".to_owned(),
        Value::Array(_) => "a list".to_owned(),
    }
}

/// As the templates print it, in quotes.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

fn parsed(value: &Value) -> Result<Quantity, String> {
    match value {
        Value::String(text) => Quantity::parse(text),
        other => Quantity::parse(&other.to_string()),
    }
}

fn quantity(
    declared: &DeclaredValue,
    value: &Value,
    path: &Path,
    findings: &mut Findings,
) -> Option<Quantity> {
    let quantity = match parsed(value) {
        Ok(quantity) => quantity.rounded_up(),
        Err(wrong) => {
            let help = match declared.kind {
                ValueKind::Cpus => "as \"100m\" for a tenth of a CPU, or 0.5",
                _ => "as \"16Mi\" or \"1.5Gi\"",
            };
            findings.error(Code::BadValue, path, format!("invalid quantity {}: {wrong}", shown(value)), help);
            return None;
        }
    };
    if declared.name == "memory_limit" && quantity < Quantity::of_bytes(MEMORY_LIMIT_MIN_BYTES) {
        let message = format!("a memory limit of {} is too small", shown(value));
        findings.error(
            Code::BadValue,
            path,
            message,
            "use at least \"12Mi\": CRI-O starts no container with less",
        );
        return None;
    }
    if declared.kind == ValueKind::Bytes && !quantity.is_whole() {
        // The API server says so at every creation, and then rounds up.
        let message = format!("{} is not a whole number of bytes", shown(value));
        findings.warning(Code::FractionalBytes, path, message, "`m` is a thousandth; mebibytes are \"Mi\"");
    }
    Some(quantity)
}

fn user_id(number: &serde_json::Number, path: &Path, findings: &mut Findings) {
    match number.as_u64() {
        Some(0) => {
            let help = format!("name another user, or \"{UNSET}\"");
            findings.error(Code::BadValue, path, "user 0 is root, and the pods may not run as root", help);
        }
        Some(id) if id <= USER_ID_MAX => {}
        _ => {
            let help = format!("use 1 to {USER_ID_MAX}, or \"{UNSET}\"");
            findings.error(Code::BadValue, path, format!("invalid user id {number}"), help);
        }
    }
}

/// `quantities` are those that are set and right.
fn request_fits_limit(
    group: &GroupValues<'_>,
    request: &'static str,
    limit: &'static str,
    quantities: &BTreeMap<&str, Quantity>,
    noted: &mut Noted,
    findings: &mut Findings,
) {
    let stand_in = |name: &str, reader: BuiltIn| Some(declared(name)?.default_in(reader)?.trim_matches('"'));
    let amount = |name: &str, reader| {
        let set = quantities.get(name).copied();
        set.or_else(|| Some(Quantity::parse(stand_in(name, reader)?).ok()?.rounded_up()))
    };
    let exceeds = |reader: &&BuiltIn| {
        let limit = stand_in(limit, **reader).and_then(|_| amount(limit, **reader));
        limit.is_some_and(|limit| amount(request, **reader) > Some(limit))
    };
    let Some(reader) = readers(group.template).iter().find(exceeds) else { return };
    let words = |name: &str| match group.placed(name) {
        Some(placed) => shown(placed.value),
        None => format!("{:?} where it is not set", stand_in(name, *reader).unwrap_or_default()),
    };
    let both = (group.placed(request), group.placed(limit));
    let (path, message, other) = match both {
        (Some(Placed { path, is_inherited: false, .. }), _) | (Some(Placed { path, .. }), None) => {
            let message =
                format!("{request} {} is more than {limit}, which is {}", words(request), words(limit));
            (path, message, limit)
        }
        (Some(Placed { path, .. }), Some(Placed { is_inherited: true, .. })) => {
            let message =
                format!("{request} {} is more than {limit}, which is {}", words(request), words(limit));
            (path, message, limit)
        }
        (_, Some(Placed { path, .. })) => {
            let message =
                format!("{limit} {} is less than {request}, which is {}", words(limit), words(request));
            (path, message, request)
        }
        (None, None) => return,
    };
    if noted.insert(format!("{path}: {message}")) {
        findings.error(
            Code::BadValue,
            &path,
            message,
            format!("change one of them; `{other}` can be set beside it"),
        );
    }
}
