//! From the text of a config, variables and flags to a checked config, or to all that is wrong with it. Pure:
//! what stands beside the config is read by a function that the caller gives.
//!
//! figment does the layering, over our own TOML provider: its own searches parent folders, takes a missing
//! file for an empty one, and knows no places. None of its errors leaves this file.

use std::collections::BTreeMap;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use figment::Figment;
use figment::value::{Dict, Value};

use super::environment::{self, Layer};
use super::file::{Finding, Findings};
use super::layers::{self, Overridden};
use super::locate::Places;
use super::problem::{Problem, Severity, SourceText};
use super::provenance::Provenance;
use super::redact::{redacted, without_credentials};
pub use super::template_files::ReadSibling;
use super::template_files::read_templates;
use super::template_tables::{defined_templates, templates_in};
use super::{Config, Group, Templates, characters, syntax, validate};

/// What was asked for beside the file.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config` or `QUAYCTL_CONFIG`.
    pub path: Option<PathBuf>,
    pub flags: Overrides,
    pub environment: BTreeMap<String, String>,
    /// Names of variables whose value is not UTF-8.
    pub unreadable: Vec<String>,
}

/// Flags that beat a key of the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub namespace: Option<String>,
    pub instance: Option<String>,
}

/// A config that is valid, and what was noticed on the way.
#[derive(Debug)]
pub struct CheckedConfig {
    pub config: Config,
    pub provenance: Provenance,
    pub warnings: Vec<Problem>,
}

/// Why a config is not valid.
#[derive(Debug)]
pub struct InvalidConfig {
    /// Warnings too.
    pub problems: Vec<Problem>,
    /// `None` where the file is no TOML.
    pub partial: Option<Box<PartialConfig>>,
}

/// What can still be looked at where a config is wrong, so that everything is told in one go.
#[derive(Debug)]
pub struct PartialConfig {
    /// Those that can be rendered all the same.
    pub groups: Vec<Group>,
    pub templates: Templates,
    pub provenance: Provenance,
}

/// Layers what `sources` say over and under the config at `path`, and checks all of it.
pub fn assemble(
    sources: &Sources,
    path: &FsPath,
    text: String,
    read: &mut ReadSibling<'_>,
) -> Result<CheckedConfig, InvalidConfig> {
    let quay_images = environment::quay_images(&sources.environment);
    let unreadable = environment::unreadable(&sources.unreadable);
    let mut findings = Findings::default();
    let (tree, places) = match Places::parse(&text) {
        Ok((tree, places)) => (tree, Arc::new(places)),
        Err(error) => {
            let source = Arc::new(SourceText::new(path.to_owned(), without_credentials(&text)));
            let mut problems = vec![syntax::problem(&source, &error)];
            problems.extend(unreadable);
            problems.extend(environment::above(&sources.environment).1);
            return Err(InvalidConfig { problems, partial: None });
        }
    };
    let (mut above, mut warnings) = environment::above(&sources.environment);
    let mut below = environment::below(&sources.environment);
    // A layer replaces what is no table or no list, and then nobody would hear of that mistake.
    let fits = |key: &str, is: fn(&Value) -> bool| tree.get(key).is_none_or(is);
    let defaults_fit = fits("defaults", |value| matches!(value, Value::Dict(..)));
    let groups_fit = fits("groups", |value| matches!(value, Value::Array(..)));
    above.retain(|layer| defaults_fit || !layer.tree.contains_key("defaults"));
    below.retain(|layer| defaults_fit || !layer.tree.contains_key("defaults"));
    let quay_images = quay_images.filter(|_| groups_fit);
    let layers: Vec<Layer> = below
        .into_iter()
        .chain([Layer::file(path.to_owned(), tree)])
        .chain(above)
        .chain(flags(&sources.flags))
        .collect();
    let layered = |layers: &[Layer]| {
        // Beside the file's groups, not instead of them.
        quay_images.iter().cloned().fold(layers::layered(layers), Figment::admerge)
    };
    let figment = layered(&layers);
    let tree = layers::merged(&figment);

    let tables = defined_templates(&tree, &mut findings);
    let mut templates =
        read_templates(&tables, path.parent().unwrap_or(FsPath::new("")), read, &mut findings);
    let defined = templates_in(&tree).filter(|name| !templates.user.contains_key(*name));
    templates.without_text.extend(defined.map(str::to_owned));
    // What a later source beats is wrong all the same, and would be found out when that is taken away.
    let beaten: Vec<(Figment, Dict, Findings)> = layers::overridden(&layers)
        .into_iter()
        .map(|Overridden { paths, layers }| {
            let figment = layered(&layers);
            let tree = layers::merged(&figment);
            let mut findings = Findings::default();
            let _ = validate::validate(&tree, templates.clone(), &tables, &mut findings);
            findings.0.retain(|finding| layers::is_within(&finding.path, &paths));
            (figment, tree, findings)
        })
        .collect();
    let config = validate::validate(&tree, templates, &tables, &mut findings);

    let all = findings.0.iter().chain(beaten.iter().flat_map(|(_, _, findings)| &findings.0));
    let text = redacted(text, &places, &Findings(all.cloned().collect()));
    let source = Arc::new(SourceText::new(path.to_owned(), text));
    let provenance = Provenance::new(figment, tree, source.clone(), places.clone());
    let mut problems = located(findings, &provenance);
    problems.extend(beaten.into_iter().flat_map(|(figment, tree, findings)| {
        located(findings, &Provenance::new(figment, tree, source.clone(), places.clone()))
    }));
    problems.extend(unreadable);
    let (errors, more): (Vec<Problem>, Vec<Problem>) =
        problems.into_iter().partition(|problem| problem.severity == Severity::Error);
    warnings.extend(more);
    let (groups, templates) = match config {
        Ok(config) if errors.is_empty() => return Ok(CheckedConfig { config, provenance, warnings }),
        Ok(Config { groups, templates, .. }) => (groups, templates),
        Err(partial) => partial,
    };
    let partial = Some(Box::new(PartialConfig { groups, templates, provenance }));
    Err(InvalidConfig { problems: [errors, warnings].concat(), partial })
}

/// What flags say.
fn flags(flags: &Overrides) -> impl Iterator<Item = Layer> {
    let Overrides { namespace, instance } = flags;
    let flag = |flag, key, value: &Option<String>| value.as_ref().map(|value| Layer::flag(flag, key, value));
    [
        flag("--namespace", "namespace", namespace),
        flag("--instance or QUAYCTL_INSTANCE", "instance", instance),
    ]
    .into_iter()
    .flatten()
}

/// Findings with the places where their values were written.
fn located(findings: Findings, provenance: &Provenance) -> Vec<Problem> {
    let problem = |finding: Finding| {
        let origin = provenance.origin(&finding.path, &finding.target);
        let odd = match finding.severity {
            Severity::Error => {
                provenance.text_at(&finding.path, &finding.target).and_then(characters::odd_in)
            }
            Severity::Warning => None,
        };
        let Finding { severity, code, path: key, target: _, message, help } = finding;
        let help = characters::with_note(help, odd);
        let key = Some(key.to_string()).filter(|key| !key.is_empty());
        Problem { severity, code, origin, key, message, help }
    };
    findings.0.into_iter().map(problem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Code;

    const TEXT: &str = "[[groups]]\nname = 'g'\nimages = ['nginx:1']\ntemplate = 'mine'\n\
                        [templates.mine]\nfile = 'sub/mine.hbs'\n";

    /// What was asked for, and what came of it.
    fn assembled(text: &str, files: &[(&str, &str)]) -> (Vec<String>, Result<CheckedConfig, InvalidConfig>) {
        let mut asked = Vec::new();
        let mut read = |file: &FsPath| {
            asked.push(file.display().to_string());
            let known = files.iter().find(|(name, _)| FsPath::new(name) == file);
            known.map(|(_, text)| (*text).to_owned()).ok_or_else(|| std::io::ErrorKind::NotFound.into())
        };
        let found =
            assemble(&Sources::default(), FsPath::new("dir/quayctl.toml"), text.to_owned(), &mut read);
        (asked, found)
    }

    #[test]
    fn templates_and_what_they_include_are_asked_for_once() {
        let files = [("sub/mine.hbs", "{{> a}}{{> b}}"), ("a.hbs", "{{> b}}{{> a}}"), ("b.hbs", "")];
        let (asked, found) = assembled(TEXT, &files);
        assert_eq!(asked, ["sub/mine.hbs", "b.hbs", "a.hbs"]);
        let templates = found.unwrap().config.templates;
        assert_eq!(templates.user["mine"].file.as_deref(), Some(FsPath::new("dir/sub/mine.hbs")));
        assert_eq!(templates.partials.keys().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_file_that_is_missing_or_outside_is_one_problem_with_its_place() {
        for (file, code) in
            [("sub/mine.hbs", Code::TemplateUnreadable), ("../mine.hbs", Code::TemplateOutside)]
        {
            let (_, found) = assembled(&TEXT.replace("sub/mine.hbs", file), &[]);
            let InvalidConfig { problems, partial } = found.unwrap_err();
            assert_eq!(problems.iter().map(|problem| problem.code).collect::<Vec<_>>(), [code]);
            assert_eq!(problems[0].origin.to_string(), "dir/quayctl.toml:6:8");
            // Nothing is left to be rendered: the one group has that template.
            assert!(partial.is_some_and(|partial| partial.groups.is_empty()));
        }
    }

    #[test]
    fn what_is_no_toml_leaves_nothing_to_look_at() {
        let InvalidConfig { problems, partial } = assembled("a = ", &[]).1.unwrap_err();
        assert!(problems[0].code == Code::TomlSyntax && partial.is_none());
    }
}
