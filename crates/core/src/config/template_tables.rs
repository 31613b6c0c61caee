//! The `[templates]` of a config: where the text of each is, before that is read. Pure.

use std::collections::BTreeMap;

use figment::value::{Dict, Value};

use super::code::Code;
use super::file::{Findings, Path, Table, Target, closest};
use super::keys::{TOP_LEVEL, TemplateKeys, TemplateTable};
use super::name;
use super::template::BUILT_IN_NAMES;

/// Tables at the top of the file.
pub const TABLES: [&str; 3] = ["defaults", "groups", "templates"];

/// A `[templates.NAME]` table that is right.
#[derive(Debug)]
pub struct DefinedTemplate {
    pub name: String,
    pub source: TemplateSource,
    pub values: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug)]
pub enum TemplateSource {
    /// A path relative to the config, and where it stands.
    File(String, Path),
    Inline(String),
}

/// The `[templates]` of the tree; their files are yet to be read.
pub fn defined_templates(tree: &Dict, findings: &mut Findings) -> Vec<DefinedTemplate> {
    let Some(tables) = Table::root(tree).table("templates", findings) else { return Vec::new() };
    tables.entries().filter_map(|(name, value, path)| defined_template(name, value, path, findings)).collect()
}

fn defined_template(
    name: &str,
    value: &Value,
    path: Path,
    findings: &mut Findings,
) -> Option<DefinedTemplate> {
    let mut table = Table::of(value, path.clone(), findings)?;
    if BUILT_IN_NAMES.contains(&name) {
        let message = format!("`{name}` is a built-in template");
        findings.error(Code::ReservedTemplate, (&path, Target::Key), message, "choose another name");
    }
    if !name::is_label(name) {
        let help = "use lower-case letters, digits and dashes";
        let message = format!("invalid name of a template: {name:?}");
        findings.error(Code::BadName, (&path, Target::Key), message, help);
    }
    let written = TemplateTable::read(&mut table, findings);
    let is_silent = table.lacks("file") && table.lacks("inline");
    table.finish(findings, |_| None);
    let TemplateKeys { file, inline, values } = written.checked();
    let source = match (file, inline) {
        (Some(_), Some(_)) => {
            let message = "a template has either `file` or `inline`, not both";
            findings.refuse(Code::BadTemplate, &path.key("inline"), message, "remove one")
        }
        (Some(file), None) if file.is_empty() => {
            let message = format!("the file of template `{name}` has no name");
            let help = "name a file beside the config, as `mine.yaml.hbs`";
            findings.refuse(Code::BadTemplate, &path.key("file"), message, help)
        }
        (Some(file), None) => Some(TemplateSource::File(file, path.key("file"))),
        (None, Some(text)) => Some(TemplateSource::Inline(text)),
        (None, None) if is_silent => {
            let message = format!("template `{name}` has no text");
            findings.refuse(Code::BadTemplate, &path, message, "set `file` or `inline`")
        }
        (None, None) => None,
    };
    Some(DefinedTemplate { name: name.to_owned(), source: source?, values })
}

/// The names of all `[templates]`, those that are wrong too, and those below a misspelt `[template]`.
pub fn templates_in(tree: &Dict) -> impl Iterator<Item = &str> {
    let known = || TOP_LEVEL.iter().map(|key| key.name).chain(TABLES);
    let is_meant = move |key: &str| closest(key, known()) == Some("templates");
    let tables = tree.iter().filter(move |(key, _)| is_meant(key)).filter_map(|(_, value)| value.as_dict());
    tables.flat_map(|dict| dict.keys().map(String::as_str))
}
