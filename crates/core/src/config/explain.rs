//! The effective config, each value with its origin: what `check --explain` prints. Pure.

use std::fmt::Write;

use serde_json::json;

use super::file::{Path, Target};
use super::keys::{GROUP, Key, TOP_LEVEL};
use super::kinds::Variable;
use super::provenance::{Provenance, value_at};
use super::{Config, Group};
use crate::outside_text::one_line;

impl Provenance {
    /// TOML-like lines, one a value: `key = value   # where it came from`.
    pub fn explain(&self, config: &Config) -> String {
        let line = |key: &Key| self.line(key.name, &[Path::default().key(key.name)], &key.default_words());
        let mut lines: Vec<Line> = TOP_LEVEL.iter().map(line).collect();
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
        let root = Path::default();
        let tables = [
            root.key("groups").index(index),
            root.key("templates").key(group.template.as_str()),
            root.key("defaults"),
        ];
        let effective = json!(group);
        for key in GROUP {
            let paths = tables.each_ref().map(|table| table.key(key.name));
            match effective[key.name].as_object() {
                // Their entries are merged, so each has an origin of its own, and all of them together have none.
                Some(entries) if key.variable == Variable::Table && !entries.is_empty() => {
                    for entry in entries.keys() {
                        let paths = paths.each_ref().map(|path| path.key(entry));
                        lines.push(self.line(&format!("{}.{}", key.name, toml_key(entry)), &paths, ""));
                    }
                }
                _ => lines.push(self.line(key.name, &paths, &key.default_words())),
            }
        }
        if let Some(taint) = &group.remove_taint {
            // It stands nowhere, and yet the plan and the Jobs have it.
            let toleration = json!({"key": taint.key, "operator": "Exists", "effect": taint.effect});
            let text = format!("tolerations += [{toleration}]");
            lines.push(Line { text, origin: "implied by remove_taint".to_owned() });
        }
    }

    /// The first of `paths` at which something stands.
    fn line(&self, key: &str, paths: &[Path], default: &str) -> Line {
        match paths.iter().find_map(|path| Some((path, value_at(&self.tree, path)?))) {
            Some((path, value)) => {
                // `values` may hold whatever a template needs.
                let value = serde_json::to_string(value).unwrap_or_default();
                let text = one_line(&format!("{key} = {value}")).into_owned();
                Line { text, origin: self.origin(path, &Target::Value).to_string() }
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

#[cfg(test)]
mod tests {
    use std::path::Path as FsPath;

    use crate::config::assemble::{Sources, assemble};
    use crate::config::locate::tests::PARSED;

    #[test]
    fn a_text_is_parsed_once_however_many_lines_are_explained() {
        let group = |n| format!("[[groups]]\nname = \"g{n}\"\nimages = [\"nginx:1\"]\ndeadline = \"9m\"\n");
        let text: String = (0..50).map(group).collect();
        let before = PARSED.get();
        let none = &mut |_: &FsPath| Err(std::io::ErrorKind::NotFound.into());
        let checked = assemble(&Sources::default(), FsPath::new("quayctl.toml"), text, none).unwrap();
        let explained = checked.provenance.explain(&checked.config);
        let lines = explained.lines().filter(|line| line.starts_with("deadline = \"9m\""));
        let origins: Vec<&str> = lines.filter_map(|line| line.rsplit("  # ").next()).collect();
        assert_eq!((origins.len(), origins[49]), (50, "quayctl.toml:200:12"));
        assert_eq!(PARSED.get() - before, 1);
    }
}
