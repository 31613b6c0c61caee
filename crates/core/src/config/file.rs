//! The config as it stands after layering: a tree of values, each with a path, and the readers that
//! take it apart.
//!
//! Readers never stop at the first mistake: they note a [`Finding`] and answer `None`, so that one
//! pass finds every problem, and a value that is wrong is noted once.

use std::collections::BTreeSet;
use std::fmt;

use figment::value::{Dict, Num, Value};

use super::code::Code;
use super::keys::{Key, Setting};
use super::kinds::Kind;
use super::problem::Severity;

/// Steps from the root to a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(pub Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Key(String),
    Index(usize),
}

/// A problem before its place in the file is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    pub code: Code,
    pub path: Path,
    pub target: Target,
    pub message: String,
    pub help: Option<String>,
}

/// Which part of the source a finding points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Key,
    Value,
    /// Byte offsets into the string that the value is.
    Within(std::ops::Range<usize>),
    /// Nowhere at all: the source line holds a secret.
    Hidden,
}

/// Everything noted so far.
#[derive(Debug, Default)]
pub struct Findings(pub Vec<Finding>);

/// How the `toml` crate hands a date to a type that knows none: as a table of this one key.
const DATE: &str = "$__toml_private_datetime";

/// A table under inspection: what is not taken from it by the end was unknown.
#[derive(Debug)]
pub struct Table<'a> {
    pub path: Path,
    dict: &'a Dict,
    known: BTreeSet<&'static str>,
}

impl Path {
    pub fn key(&self, key: &str) -> Path {
        let mut steps = self.0.clone();
        steps.push(Step::Key(key.to_owned()));
        Path(steps)
    }

    /// The last key, or "" for the root and the items of a list.
    pub fn name(&self) -> &str {
        match self.0.last() {
            Some(Step::Key(key)) => key,
            _ => "",
        }
    }

    pub fn index(&self, index: usize) -> Path {
        let mut steps = self.0.clone();
        steps.push(Step::Index(index));
        Path(steps)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if i == 0 => write!(f, "{key}")?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Where a finding points: a path, and which part of what is there.
#[derive(Debug)]
pub struct At<'p>(&'p Path, Target);

impl<'p> From<&'p Path> for At<'p> {
    fn from(path: &'p Path) -> At<'p> {
        At(path, Target::Value)
    }
}

impl<'p> From<(&'p Path, Target)> for At<'p> {
    fn from((path, target): (&'p Path, Target)) -> At<'p> {
        At(path, target)
    }
}

impl Findings {
    /// `help` is "" where there is nothing to add.
    pub fn error<'p>(
        &mut self,
        code: Code,
        at: impl Into<At<'p>>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Severity::Error, code, at.into(), message.into(), help.into());
    }

    /// The same of a value of which nothing is left.
    pub fn refuse<'p, T>(
        &mut self,
        code: Code,
        at: impl Into<At<'p>>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Option<T> {
        self.error(code, at, message, help);
        None
    }

    pub fn warning<'p>(
        &mut self,
        code: Code,
        at: impl Into<At<'p>>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Severity::Warning, code, at.into(), message.into(), help.into());
    }

    fn add(
        &mut self,
        severity: Severity,
        code: Code,
        At(path, target): At<'_>,
        message: String,
        help: String,
    ) {
        let help = Some(help).filter(|help| !help.is_empty());
        self.0.push(Finding { severity, code, path: path.clone(), target, message, help });
    }

    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|finding| finding.severity == Severity::Error)
    }

    fn wrong_type<T>(&mut self, path: &Path, expected: &str, found: &Value) -> Option<T> {
        self.refuse(Code::WrongType, path, format!("expected {expected}, found {}", described(found)), "")
    }
}

impl<'a> Table<'a> {
    pub fn root(dict: &'a Dict) -> Table<'a> {
        Table { path: Path::default(), dict, known: BTreeSet::new() }
    }

    /// `value` as a table.
    pub fn of(value: &'a Value, path: Path, findings: &mut Findings) -> Option<Table<'a>> {
        match value {
            Value::Dict(_, dict) if date(value).is_none() => {
                Some(Table { path, dict, known: BTreeSet::new() })
            }
            other => findings.wrong_type(&path, "a table", other),
        }
    }

    /// The value of `key`, which is known from now on.
    pub fn take(&mut self, key: &'static str) -> Option<(&'a Value, Path)> {
        self.known.insert(key);
        self.dict.get(key).map(|value| (value, self.path.key(key)))
    }

    /// What the table says of `key`, unless that may not stand here.
    pub fn setting<K: Kind>(&mut self, key: &'static Key, findings: &mut Findings) -> Setting<K::Value> {
        if !key.is_shared && self.is_defaults() {
            return None;
        }
        let (value, path) = self.take(key.name)?;
        Some(K::read(value, &path, findings))
    }

    /// Whether this is `[defaults]`.
    fn is_defaults(&self) -> bool {
        matches!(&self.path.0[..], [Step::Key(key)] if key == "defaults")
    }

    pub fn table(&mut self, key: &'static str, findings: &mut Findings) -> Option<Table<'a>> {
        let (value, path) = self.take(key)?;
        Table::of(value, path, findings)
    }

    /// All keys with their values, where any key may stand.
    pub fn entries(&self) -> impl Iterator<Item = (&'a String, &'a Value, Path)> {
        self.dict.iter().map(|(key, value)| (key, value, self.path.key(key)))
    }

    /// Whether an unknown key is meant to be `key`: that is noted as a typing mistake, and one mistake
    /// is one problem. To be asked when every known key was asked for.
    pub fn misspells(&self, key: &str) -> bool {
        self.unknown().any(|unknown| closest(unknown, self.known.iter().copied()) == Some(key))
    }

    /// Whether `key` is neither there nor misspelt.
    pub fn lacks(&self, key: &str) -> bool {
        !self.dict.contains_key(key) && !self.misspells(key)
    }

    fn unknown(&self) -> impl Iterator<Item = &'a String> {
        self.dict.keys().filter(|key| !self.known.contains(key.as_str()))
    }

    /// Notes every key that nothing has asked for. `explain` has words for keys that are known to be
    /// wrong here.
    pub fn finish(self, findings: &mut Findings, explain: impl Fn(&str) -> Option<String>) {
        for key in self.unknown() {
            let help = explain(key).unwrap_or_else(|| match closest(key, self.known.iter().copied()) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known here: {}", self.known.iter().copied().collect::<Vec<_>>().join(", ")),
            });
            findings.error(
                Code::UnknownKey,
                (&self.path.key(key), Target::Key),
                format!("unknown key `{key}`"),
                help,
            );
        }
    }
}

/// `value` as a string.
pub fn string<'a>(value: &'a Value, path: &Path, findings: &mut Findings) -> Option<&'a str> {
    value.as_str().or_else(|| findings.wrong_type(path, "a string", value))
}

/// `value` as true or false.
pub fn boolean(value: &Value, path: &Path, findings: &mut Findings) -> Option<bool> {
    value.to_bool().or_else(|| findings.wrong_type(path, "true or false", value))
}

/// `value` as an integer.
pub fn integer(value: &Value, path: &Path, findings: &mut Findings) -> Option<i128> {
    let found = value.to_i128().filter(|_| matches!(value, Value::Num(_, number) if !is_float(number)));
    found.or_else(|| findings.wrong_type(path, "an integer", value))
}

/// `value` as a list.
pub fn list<'a>(value: &'a Value, path: &Path, findings: &mut Findings) -> Option<&'a [Value]> {
    value.as_array().or_else(|| findings.wrong_type(path, "a list", value))
}

/// The strings of a list, each with its path; those that are none are noted and left out.
pub fn strings<'a>(value: &'a Value, path: &Path, findings: &mut Findings) -> Option<Vec<(&'a str, Path)>> {
    let items = list(value, path, findings)?.iter().enumerate();
    let strings = items.filter_map(|(i, value)| {
        let path = path.index(i);
        string(value, &path, findings).map(|text| (text, path))
    });
    Some(strings.collect())
}

/// The text of a date or time, which no key of ours takes.
pub fn date(value: &Value) -> Option<&str> {
    let Value::Dict(_, dict) = value else { return None };
    match (dict.get(DATE), dict.len()) {
        (Some(Value::String(_, date)), 1) => Some(date),
        _ => None,
    }
}

/// A candidate that `text` may be a typing mistake for.
pub fn closest<'c>(text: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    // The threshold of Cargo's and clap's own suggestions is of this size.
    candidates
        .map(|candidate| (strsim::jaro_winkler(text, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// A value in words: `integer 5`, `a list`.
pub fn described(value: &Value) -> String {
    match value {
        Value::String(_, text) => format!("the string {text:?}"),
        Value::Char(_, c) => format!("the string \"{c}\""),
        Value::Bool(_, value) => format!("the boolean {value}"),
        Value::Num(_, number) if is_float(number) => {
            format!("the float {}", value.to_f64().unwrap_or_default())
        }
        Value::Num(..) => format!("the integer {}", value.to_i128().unwrap_or_default()),
        Value::Empty(..) => "nothing".to_owned(),
        Value::Dict(..) => match date(value) {
            Some(date) => format!("the date {date}"),
            None => "a table".to_owned(),
        },
        Value::Array(..) => "a list".to_owned(),
    }
}

fn is_float(number: &Num) -> bool {
    matches!(number, Num::F32(_) | Num::F64(_))
}
