//! The codes of problems: what `check -o json` gives a machine to tell one mistake from another. Pure.

use std::fmt;

/// `Variant "code": "what is wrong"`.
macro_rules! codes {
    ($( $Code:ident $code:literal: $meaning:literal, )+) => {
        /// What kind of mistake a problem is. Codes are a contract: new ones are added, none is renamed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $( #[doc = $meaning] $Code, )+
        }

        impl Code {
            pub const ALL: &[Code] = &[$(Code::$Code),+];

            /// Stable, kebab-case.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Code::$Code => $code),+
                }
            }

            /// One or more sentences for the reference.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Code::$Code => $meaning),+
                }
            }
        }
    };
}

codes! {
    AmbiguousScalar "ambiguous-scalar": "A template renders a word that readers of YAML 1.1 take for a boolean or a number.",
    BadConcurrency "bad-concurrency": "A limit is neither a number of nodes, at least 1, nor a percentage from 1% to 100%.",
    BadDuration "bad-duration": "A duration cannot be read, or is out of its range.",
    BadName "bad-name": "A name is not one that Kubernetes takes.",
    BadOverlap "bad-overlap": "`overlap` is neither `skip` nor `wait`.",
    BadPullPolicy "bad-pull-policy": "`pull_policy` is neither `IfNotPresent` nor `Always`.",
    BadReference "bad-reference": "An image reference cannot be read.",
    BadRunId "bad-run-id": "The run id that a flag or a variable gives is not valid.",
    BadSchedule "bad-schedule": "A schedule cannot be read.",
    BadSelector "bad-selector": "A node selector cannot be read.",
    BadTaint "bad-taint": "`remove_taint` is no startup taint of the form `KEY:EFFECT`.",
    BadTemplate "bad-template": "A `[templates.NAME]` has neither or both of `file` and `inline`.",
    BadTimeZone "bad-time-zone": "A time zone is not in the IANA database.",
    BadToleration "bad-toleration": "A toleration is not one that Kubernetes takes.",
    BadValue "bad-value": "A value is not one that the API server, a kubelet or a container runtime takes.",
    DuplicateGroup "duplicate-group": "Two groups have one name.",
    DuplicateImage "duplicate-image": "An image is in a group twice.",
    EmptyImages "empty-images": "A group's list of images is empty.",
    FractionalBytes "fractional-bytes": "A quantity of bytes is not a whole number, which the API server rounds up.",
    InlineCredentials "inline-credentials": "An image reference holds what may be a password; its line is not shown.",
    MissingKey "missing-key": "A group lacks `name` or `images`.",
    MissingTag "missing-tag": "An image reference has neither tag nor digest, so `latest` is meant.",
    MissingTemplate "missing-template": "A group names a template that is neither built in nor defined.",
    MutableTag "mutable-tag": "An image is named by a tag, which may come to mean another image; only with `--strict`.",
    NeverDue "never-due": "A schedule names a day that does not exist.",
    NoCarrierImage "no-carrier-image": "Nodes need the template `helper`, and there is no carrier image for it.",
    NoConfig "no-config": "There is no config file.",
    NoGroups "no-groups": "The config has no groups.",
    NotUtf8 "not-utf8": "The value of an environment variable is not UTF-8.",
    NotWritable "not-writable": "A Job cannot be written as YAML.",
    OutdatedTemplate "outdated-template": "A group uses the template `quayctl`, which needs Docker nodes.",
    OwnedField "owned-field": "A label or an annotation is the controller's own, so the value has no effect.",
    ReservedTemplate "reserved-template": "A `[templates.NAME]` has the name of a built-in template.",
    TemplateDocuments "template-documents": "A template renders no YAML document, or several.",
    TemplateError "template-error": "A template cannot be rendered.",
    TemplateFields "template-fields": "A template renders a Job that an API server would refuse.",
    TemplateNotAJob "template-not-a-job": "A template renders something else than a `batch/v1` Job.",
    TemplateNotYaml "template-not-yaml": "A template renders text that is not YAML.",
    TemplateOutside "template-outside": "A template's file is outside of the config's folder.",
    TemplateSyntax "template-syntax": "A template cannot be compiled.",
    TemplateUnreadable "template-unreadable": "A template's or partial's file cannot be read.",
    TemplateWarning "template-warning": "A template does something that may surprise.",
    TemplatesNotTried "templates-not-tried": "Not all templates were rendered for trial, as those before took too long.",
    TomlSyntax "toml-syntax": "The file is not TOML.",
    TooManyImages "too-many-images": "A group has more than 100 images.",
    UnescapedOutput "unescaped-output": "A template prints a text as it is, with `{{{x}}}`.",
    UnknownKey "unknown-key": "There is no such key in this table.",
    UnknownVariable "unknown-variable": "An environment variable is almost one that is read.",
    Unreadable "unreadable": "The config file cannot be read.",
    UnusedValue "unused-value": "No template reads the value.",
    WrongType "wrong-type": "A value is of another type than the key takes.",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The reference of all codes, Markdown.
pub fn reference() -> String {
    let mut text = String::from(
        "# Problem codes\n\nWhat `check` finds, as `error[CODE]` and `warning[CODE]` on stderr and as `code` in `check -o json`. \
         Codes are stable: new ones may be added, and none is renamed.\n\n| code | meaning |\n|---|---|\n",
    );
    for code in Code::ALL {
        text.push_str(&format!("| `{code}` | {} |\n", code.meaning()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_unique_and_kebab_case() {
        assert!(Code::ALL.is_sorted_by(|a, b| a.as_str() < b.as_str()));
        for code in Code::ALL {
            let is_kebab = code.as_str().split('-').all(|part| {
                !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            });
            assert!(is_kebab && code.meaning().ends_with('.'), "{code}");
        }
    }
}
