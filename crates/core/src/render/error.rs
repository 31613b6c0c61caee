//! What can be wrong with a template or with what came out of it, in words for people. No file
//! paths: whoever holds the config knows which file a template's name means.

use std::fmt;

use handlebars::RenderErrorReason;

use crate::config::Code;

/// Something wrong at a place of a template's own text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// As configured, or `built-in NAME`; a partial's own name when it is wrong there.
    pub template: String,
    /// Line and column, from 1, the column in characters; `None` when it has no one place.
    pub place: Option<(usize, usize)>,
    pub message: String,
}

/// Something about one field of what a template renders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldProblem {
    /// As `spec.template.spec.containers.0.image`.
    pub path: String,
    /// How the template may have written the value there, where that is to blame.
    pub spellings: Vec<String>,
    /// Names the path, so that it can stand alone.
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    #[error("{0}")]
    Template(TemplateError),
    #[error(
        "group `{group}` needs the helper but has no carrier image; set `carrier_image` to the image of quayctl-controller or a mirror of it"
    )]
    NoCarrierImage { group: String },
    #[error("there is no template `{template}`; define [templates.{template}]")]
    NoSuchTemplate { template: String },
    #[error(
        "template `{template}` renders no valid YAML, at its output's line {line}, column {column} (`{excerpt}`): {message}"
    )]
    NotYaml {
        template: String,
        /// In the rendered text, from 1; 0 where the parser knows no place.
        line: u64,
        column: u64,
        message: String,
        /// The rendered line.
        excerpt: String,
    },
    #[error("template `{template}` renders {found} documents; a template gives exactly one Job")]
    NotOneDocument { template: String, found: usize },
    #[error(
        "template `{template}` renders apiVersion {api_version}, kind {kind}; it must be \"batch/v1\", \"Job\""
    )]
    NotAJob { template: String, api_version: String, kind: String },
    #[error("template `{template}` renders a Job with wrong fields: {}", joined(problems))]
    Fields { template: String, problems: Vec<FieldProblem> },
    #[error("failed to write the Job as YAML: {0}")]
    NotWritable(String),
}

impl RenderError {
    /// Which problem it is.
    pub fn code(&self) -> Code {
        match self {
            RenderError::Template(_) => Code::TemplateError,
            RenderError::NoCarrierImage { .. } => Code::NoCarrierImage,
            RenderError::NoSuchTemplate { .. } => Code::MissingTemplate,
            RenderError::NotYaml { .. } => Code::TemplateNotYaml,
            RenderError::NotOneDocument { .. } => Code::TemplateDocuments,
            RenderError::NotAJob { .. } => Code::TemplateNotAJob,
            RenderError::Fields { .. } => Code::TemplateFields,
            RenderError::NotWritable(_) => Code::NotWritable,
        }
    }
}

impl TemplateError {
    pub(super) fn new(template: &str, place: Option<(usize, usize)>, message: String) -> Self {
        TemplateError { template: template.to_owned(), place, message }
    }

    pub(super) fn of_render(template: &str, error: &handlebars::RenderError) -> Self {
        let message = match error.reason() {
            RenderErrorReason::MissingVariable(Some(path)) => format!("`{path}` is not set"),
            RenderErrorReason::MissingVariable(None) => "a value is not set".to_owned(),
            RenderErrorReason::ParamNotFoundForIndex(helper, _) => {
                format!("`{helper}` wants a value here that is set")
            }
            RenderErrorReason::InvalidJsonIndex(index) => {
                format!("`{index}` is asked of a list, whose items have numbers")
            }
            RenderErrorReason::IOError(error) => error.to_string(),
            reason => reason.to_string(),
        };
        TemplateError {
            template: error.template_name.clone().unwrap_or_else(|| template.to_owned()),
            place: error.line_no.zip(error.column_no),
            message,
        }
    }
}

fn joined(problems: &[FieldProblem]) -> String {
    problems.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>().join("; ")
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TemplateError { template, place, message } = self;
        match place {
            Some((line, column)) => {
                write!(f, "template `{template}`, line {line}, column {column}: {message}")
            }
            None => write!(f, "template `{template}`: {message}"),
        }
    }
}

impl std::error::Error for TemplateError {}
