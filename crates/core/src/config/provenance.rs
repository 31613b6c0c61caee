//! Where each value of a loaded config came from. Pure; the only file beside `load` that knows
//! figment's bookkeeping.

use std::collections::BTreeMap;
use std::sync::Arc;

use figment::value::{Dict, Tag, Value};
use figment::{Figment, Metadata};

use super::file::{Path, Step, Target};
use super::locate::Places;
use super::problem::{Origin, SourceText};

/// The layered tree, and what was said by whom.
#[derive(Debug)]
pub struct Provenance {
    figment: Figment,
    pub(super) tree: Dict,
    /// The config file as it may be shown; its text is as long as the one that was read.
    pub(super) source: Arc<SourceText>,
    places: Arc<Places>,
}

impl Provenance {
    pub(super) fn new(
        figment: Figment,
        tree: Dict,
        source: Arc<SourceText>,
        places: Arc<Places>,
    ) -> Provenance {
        Provenance { figment, tree, source, places }
    }

    /// The place of the value, the variable or the flag that set what stands at `path`.
    pub(super) fn origin(&self, path: &Path, target: &Target) -> Origin {
        match self.figment.get_metadata(self.tag_at(path)) {
            Some(Metadata { source: None, name, .. }) => Origin::Named(name.to_string()),
            _ => match self.places.span(&self.source.text, path, target) {
                Some(span) => Origin::place(&self.source, span),
                None => Origin::File(self.source.file.clone()),
            },
        }
    }

    /// The text that a finding is about: a key, or a value that is one.
    pub(super) fn text_at<'a>(&'a self, path: &'a Path, target: &Target) -> Option<&'a str> {
        match (target, path.0.split_last()?) {
            (Target::Hidden, _) => None,
            (Target::Key, (Step::Key(key), _)) => Some(key),
            (Target::Within(range), _) => value_at(&self.tree, path)?.as_str()?.get(range.clone()),
            (Target::Key | Target::Value, _) => value_at(&self.tree, path)?.as_str(),
        }
    }

    /// Who set the value at `path`, or the nearest thing around it.
    fn tag_at(&self, path: &Path) -> Tag {
        let mut tag = Tag::Default;
        let mut next: Option<&Value> = None;
        for (depth, step) in path.0.iter().enumerate() {
            next = match (step, next) {
                (Step::Key(key), None) if depth == 0 => self.tree.get(key),
                (Step::Key(key), Some(Value::Dict(_, dict))) => dict.get(key),
                (Step::Index(index), Some(Value::Array(_, items))) => items.get(*index),
                _ => None,
            };
            match next {
                Some(value) => tag = value.tag(),
                None => break,
            }
        }
        tag
    }

    /// Where each group stands in the file, by name: not all of them may be looked at.
    pub fn group_indexes(&self) -> BTreeMap<&str, usize> {
        let groups = self.tree.get("groups").and_then(Value::as_array).unwrap_or_default();
        let mut indexes = BTreeMap::new();
        for (index, group) in groups.iter().enumerate() {
            if let Some(name) = group.as_dict().and_then(|group| group.get("name")?.as_str()) {
                indexes.entry(name).or_insert(index);
            }
        }
        indexes
    }

    /// The place of image `image` of group `group`, both as the file counts them.
    pub fn image(&self, group: usize, image: usize) -> Origin {
        let path = Path::default().key("groups").index(group).key("images").index(image);
        self.origin(&path, &Target::Value)
    }

    /// The place of a key of group `group`, or of the group where the key is inherited.
    pub fn group_key(&self, group: usize, key: &str) -> Origin {
        self.origin(&Path::default().key("groups").index(group).key(key), &Target::Value)
    }

    /// A line and column of a template's text, as a place in its own file or, for an inline one, in
    /// the config.
    pub fn in_template(
        &self,
        templates: &super::Templates,
        name: &str,
        place: Option<(usize, usize)>,
    ) -> Option<Origin> {
        let template = templates.user.get(name).or_else(|| templates.partials.get(name))?;
        let own = Arc::new(SourceText::new(template.file.clone().unwrap_or_default(), template.text.clone()));
        let span = place.map(|(line, column)| {
            let start = own.offset(line, column);
            start..start + token(&own.text[start..])
        });
        match (&template.file, span) {
            (Some(_), Some(span)) => Some(Origin::place(&own, span)),
            (Some(file), None) => Some(Origin::File(file.clone())),
            (None, span) => {
                let path = Path::default().key("templates").key(name).key("inline");
                let target = span.map_or(Target::Key, Target::Within);
                Some(self.origin(&path, &target))
            }
        }
    }
}

/// How many bytes of `text`, from its start, are what a place means: a tag, a word, or one character.
fn token(text: &str) -> usize {
    let line = text.lines().next().unwrap_or_default();
    if line.starts_with("{{") {
        let end = line.find("}}").map_or(2, |end| end + 2);
        // `{{{x}}}` has one brace more.
        return end + usize::from(line[end..].starts_with('}'));
    }
    let is_word = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let word: usize = line.chars().take_while(is_word).map(char::len_utf8).sum();
    word.max(line.chars().next().map_or(0, char::len_utf8))
}

pub(super) fn value_at<'a>(tree: &'a Dict, path: &Path) -> Option<&'a Value> {
    let mut steps = path.0.iter();
    let Some(Step::Key(first)) = steps.next() else { return None };
    steps.try_fold(tree.get(first)?, |value, step| match (step, value) {
        (Step::Key(key), Value::Dict(_, dict)) => dict.get(key),
        (Step::Index(index), Value::Array(_, items)) => items.get(*index),
        _ => None,
    })
}
