//! The effective config, each value with its origin: what `check --explain` prints. Pure.

use std::fmt::Write;

use figment::value::{Dict, Value};
use serde_json::json;

use super::file::{Path, Target};
use super::provenance::Provenance;
use super::settings::{DEFAULTS, json_of};
use super::{Config, Group};
use crate::outside_text::one_line;

impl Provenance {
    /// TOML-like lines, one a value: `key = value   # where it came from`.
    pub fn explain(&self, config: &Config) -> String {
        let mut lines: Vec<Line> = Vec::new();
        for (key, default) in [
            ("namespace", "what the cluster connection says, else \"default\""),
            ("instance", "\"default\""),
            ("concurrency", "20"),
            ("run_deadline", "what `plan` computes"),
        ] {
            lines.push(self.line(key, &[Path::default().key(key)], default));
        }
        for (index, group) in config.groups.iter().enumerate() {
            lines.push(Line::heading(format!("[[groups]] {}", group.name)));
            self.group(index, group, &mut lines);
        }
        let width = lines.iter().map(|line| line.text.chars().count()).max().unwrap_or(0).min(60);
        lines.iter().fold(String::new(), |mut out, Line { text, origin }| {
            // Writing to a String cannot fail.
            let _ = match origin.as_str() {
                "" => writeln!(out, "\n{text}"),
                origin => writeln!(out, "{text:width$}  # {origin}"),
            };
            out
        })
    }

    fn group(&self, index: usize, group: &Group, lines: &mut Vec<Line>) {
        let own = Path::default().key("groups").index(index);
        let defaults = Path::default().key("defaults");
        for key in ["name", "images", "schedule"] {
            lines.push(self.line(key, &[own.key(key)], "none"));
        }
        for (key, default) in DEFAULTS {
            // Their entries are merged, so each has an origin of its own, and all of them together have none.
            let is_table_with_entries = match key {
                "values" => !group.values.is_empty(),
                "job_labels" => !group.job_labels.is_empty(),
                "job_annotations" => !group.job_annotations.is_empty(),
                _ => false,
            };
            if is_table_with_entries {
                continue;
            }
            lines.push(self.line(key, &[own.key(key), defaults.key(key)], default));
        }
        if let Some(taint) = &group.remove_taint {
            // It stands nowhere, and yet the plan and the Jobs have it.
            let toleration = json!({"key": taint.key, "operator": "Exists", "effect": taint.effect.as_str()});
            let text = format!("tolerations += [{toleration}]");
            lines.push(Line { text, origin: "implied by remove_taint".to_owned() });
        }
        for (table, entries) in
            [("job_labels", &group.job_labels), ("job_annotations", &group.job_annotations)]
        {
            for key in entries.keys() {
                let paths = [own.key(table).key(key), defaults.key(table).key(key)];
                lines.push(self.line(&format!("{table}.{}", toml_key(key)), &paths, "none"));
            }
        }
        let template = Path::default().key("templates").key(group.template.as_str());
        for key in group.values.keys() {
            let paths = [
                own.key("values").key(key),
                template.key("values").key(key),
                defaults.key("values").key(key),
            ];
            lines.push(self.line(&format!("values.{key}"), &paths, "none"));
        }
    }

    /// The first of `paths` at which something stands.
    fn line(&self, key: &str, paths: &[Path], default: &str) -> Line {
        let found = paths.iter().find_map(|path| Some((path, value_at(&self.tree, path)?)));
        match found {
            Some((path, value)) => {
                let origin = self.origin(path, &Target::Value);
                // `values` may hold whatever a template needs.
                let text = one_line(&format!("{key} = {}", json_of(value))).into_owned();
                Line { text, origin: origin.to_string() }
            }
            None => Line { text: format!("{key} = {default}"), origin: "built-in default".to_owned() },
        }
    }
}

/// As TOML writes it: bare where it may be.
fn toml_key(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match !key.is_empty() && key.chars().all(is_bare) {
        true => key.to_owned(),
        false => json!(key).to_string(),
    }
}

struct Line {
    text: String,
    /// Empty for a heading.
    origin: String,
}

impl Line {
    fn heading(text: String) -> Line {
        Line { text, origin: String::new() }
    }
}

pub(super) fn value_at<'a>(tree: &'a Dict, path: &Path) -> Option<&'a Value> {
    use super::file::Step;
    let mut steps = path.0.iter();
    let Some(Step::Key(first)) = steps.next() else { return None };
    steps.try_fold(tree.get(first)?, |value, step| match (step, value) {
        (Step::Key(key), Value::Dict(_, dict)) => dict.get(key),
        (Step::Index(index), Value::Array(_, items)) => items.get(*index),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Templates;
    use crate::config::environment::Layer;
    use crate::config::file::Findings;
    use crate::config::layers::{layered, merged};
    use crate::config::locate::Places;
    use crate::config::locate::tests::PARSED;
    use crate::config::problem::SourceText;
    use crate::config::validate::validate;

    #[test]
    fn a_text_is_parsed_once_however_many_lines_are_explained() {
        let group = |n| format!("[[groups]]\nname = \"g{n}\"\nimages = [\"nginx:1\"]\ndeadline = \"9m\"\n");
        let text: String = (0..50).map(group).collect();
        let before = PARSED.get();
        let (tree, places) = Places::parse(&text).unwrap();
        let figment = layered(&[Layer::file("quayctl.toml".into(), tree)]);
        let tree = merged(&figment);
        let config = validate(&tree, Templates::default(), &[], &mut Findings::default()).unwrap();
        let source = Arc::new(SourceText::new("quayctl.toml".into(), text));
        let explained = Provenance::new(figment, tree, source, Arc::new(places)).explain(&config);
        let lines = explained.lines().filter(|line| line.starts_with("deadline = \"9m\""));
        let origins: Vec<&str> = lines.filter_map(|line| line.rsplit("  # ").next()).collect();
        assert_eq!((origins.len(), origins[49]), (50, "quayctl.toml:200:12"));
        assert_eq!(PARSED.get() - before, 1);
    }
}
