//! Template texts by name: the user's and the built-in ones. Compiling them is `render`'s work.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The `template` key of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateName {
    /// Per node: [`TemplateName::ImageVolume`] where it works, else [`TemplateName::Helper`].
    Auto,
    ImageVolume,
    Helper,
    /// A `[templates.NAME]` of the file.
    User(String),
}

/// Every template a run may render with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Templates {
    /// `[templates.NAME]`, by name.
    pub user: BTreeMap<String, Template>,
    /// Files `NAME.hbs` beside the config that some template includes as `{{> NAME}}` and that are
    /// not a `[templates.NAME]`, by name.
    pub partials: BTreeMap<String, Template>,
}

/// One template's text and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub text: String,
    /// The file that holds the text; `None` for an inline one.
    pub file: Option<PathBuf>,
}

/// Text of the built-in template `image-volume`.
pub const IMAGE_VOLUME: &str = include_str!("../../templates/image-volume.yaml.hbs");
/// Text of the built-in template `helper`.
pub const HELPER: &str = include_str!("../../templates/helper.yaml.hbs");

impl TemplateName {
    /// As a config names it.
    pub fn as_str(&self) -> &str {
        match self {
            TemplateName::Auto => "auto",
            TemplateName::ImageVolume => "image-volume",
            TemplateName::Helper => "helper",
            TemplateName::User(name) => name,
        }
    }
}
