//! Template texts by name: the user's and the built-in ones. Compiling them is `render`'s work.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

/// The `template` key of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateName {
    /// Per node: [`TemplateName::ImageVolume`] where it works, else [`TemplateName::Helper`].
    Auto,
    ImageVolume,
    Helper,
    /// The pod of 2017.
    Quayctl,
    /// A `[templates.NAME]` of the file.
    User(String),
}

/// Every template a run may render with.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Templates {
    /// `[templates.NAME]`, by name.
    #[serde(rename = "templates")]
    pub user: BTreeMap<String, Template>,
    /// Files `NAME.hbs` beside the config that some template includes as `{{> NAME}}` and that are
    /// not a `[templates.NAME]`, by name.
    pub partials: BTreeMap<String, Template>,
    /// Names of templates and partials whose text could not be had, which has been noted; none in a valid
    /// config.
    #[serde(skip)]
    pub without_text: BTreeSet<String>,
}

/// One template's text and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub text: String,
    /// The file that holds the text; `None` for an inline one.
    pub file: Option<PathBuf>,
}

/// Text of the built-in template `image-volume`.
pub const IMAGE_VOLUME: &str = include_str!("../../../../templates/image-volume.yaml.hbs");
/// Text of the built-in template `helper`.
pub const HELPER: &str = include_str!("../../../../templates/helper.yaml.hbs");
/// Text of the built-in template `quayctl`.
pub const QUAYCTL: &str = include_str!("../../../../templates/quayctl.yaml.hbs");
/// Names that a file cannot define.
pub const BUILT_IN_NAMES: &[&str] = &["auto", "image-volume", "helper", "quayctl"];

impl TemplateName {
    /// The template of that name; whether a file defines it is another question.
    pub fn of(name: &str) -> TemplateName {
        match name {
            "auto" => TemplateName::Auto,
            "image-volume" => TemplateName::ImageVolume,
            "helper" => TemplateName::Helper,
            "quayctl" => TemplateName::Quayctl,
            other => TemplateName::User(other.to_owned()),
        }
    }

    /// As a config names it.
    pub fn as_str(&self) -> &str {
        match self {
            TemplateName::Auto => "auto",
            TemplateName::ImageVolume => "image-volume",
            TemplateName::Helper => "helper",
            TemplateName::Quayctl => "quayctl",
            TemplateName::User(name) => name,
        }
    }
}

impl fmt::Display for TemplateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Template {
    /// The text alone: equal texts in other files are the same template.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl Templates {
    /// The text of `{{> name}}`: a template of the file before a file beside it.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.user.get(name).or_else(|| self.partials.get(name)).map(|template| template.text.as_str())
    }

    /// The text of a user's template and of all that it includes, each once, in the order in which
    /// they are met.
    pub fn texts_of<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        self.with_partials(name).into_iter().map(|(_, text)| text).collect()
    }

    /// The same with their names.
    pub fn with_partials<'a>(&'a self, name: &'a str) -> Vec<(&'a str, &'a str)> {
        let mut met = BTreeSet::new();
        let mut texts = Vec::new();
        let mut next = vec![name];
        while let Some(name) = next.pop() {
            if let Some(text) = self.text(name).filter(|_| met.insert(name)) {
                texts.push((name, text));
                next.extend(includes(text));
            }
        }
        texts
    }
}

/// Names that `text` includes by `{{> name}}` or `{{#> name}}`. A name that is computed is left out:
/// it cannot be known before rendering.
pub fn includes(text: &str) -> impl Iterator<Item = &str> {
    text.split("{{").skip(1).filter_map(|tag| {
        let tag = tag.strip_prefix('~').unwrap_or(tag);
        let tag = tag.strip_prefix('#').unwrap_or(tag);
        let name = tag.strip_prefix('>')?.trim_start();
        let end =
            name.find(|c: char| c.is_whitespace() || matches!(c, '}' | '~' | '(')).unwrap_or(name.len());
        let name = name[..end].trim_matches(['"', '\'']);
        (!name.is_empty()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn includes_are_found_in_every_way_of_writing_them() {
        let text = "{{> a}} {{>b}} {{~> c~}} {{#> d}}x{{/d}} {{> \"e\" k=1}} {{> (lookup . x)}} {{f}} {{!-- > g --}}";
        assert_eq!(includes(text).collect::<Vec<_>>(), ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn texts_end_where_partials_include_each_other() {
        let template = |text: &str| Template { text: text.into(), file: None };
        let mut templates = Templates::default();
        templates.user.insert("a".into(), template("A{{> b}}"));
        templates.partials.insert("b".into(), template("B{{> a}}{{> gone}}"));
        assert_eq!(templates.texts_of("a"), ["A{{> b}}", "B{{> a}}{{> gone}}"]);
    }
}
