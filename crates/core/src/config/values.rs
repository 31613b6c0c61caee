//! What the built-in templates take as `values`: the one table that reading, the JSON Schema and the
//! reference derive from. Pure.
//!
//! A user's template may read any value and mean by it what it likes, so the table judges only what a
//! built-in one gets.

use serde_json::{Value, json};

pub mod check;
pub mod quantity;

/// A value that a built-in template reads.
#[derive(Debug)]
pub struct DeclaredValue {
    pub name: &'static str,
    pub kind: ValueKind,
    /// Who reads it, and what it is where nobody sets it, as a template writes it; "" for nothing.
    pub defaults: &'static [(BuiltIn, &'static str)],
    /// One or more sentences for the reference and for editors.
    pub doc: &'static str,
}

/// A template of ours; `auto` is the first two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltIn {
    ImageVolume,
    Helper,
    Quayctl,
}

/// Type and rule of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// A quantity of CPUs.
    Cpus,
    /// A quantity of bytes.
    Bytes,
    /// A number that is not root's, or `"unset"`.
    UserId,
    /// The name of an object that has no namespace; of what kind.
    NameOf(&'static str),
    Image,
    Labels,
    Annotations,
}

/// What `run_as_user` says where the pod is to name no user.
pub const UNSET: &str = "unset";
/// The kubelet's and the API server's greatest.
pub const USER_ID_MAX: u64 = i32::MAX as u64;

use BuiltIn::{Helper, ImageVolume, Quayctl};

const LABELS: &str = r#"{"sidecar.istio.io/inject": "false"}"#;
const ANNOTATIONS: &str =
    r#"{"linkerd.io/inject": "disabled", "cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}"#;
const QUAYCTL_IMAGE: &str = r#""quay.io/coreos/quayctl:latest""#;

/// Every value that a built-in template reads, by name.
pub const DECLARED: [DeclaredValue; 11] = [
    DeclaredValue {
        name: "cpu",
        kind: ValueKind::Cpus,
        defaults: &[(ImageVolume, "\"1m\""), (Helper, "\"1m\""), (Quayctl, "\"1m\"")],
        doc: "CPU request of each container. At most `cpu_limit`.",
    },
    DeclaredValue {
        name: "cpu_limit",
        kind: ValueKind::Cpus,
        defaults: &[(ImageVolume, "\"100m\""), (Helper, "\"100m\"")],
        doc: "CPU limit of each container.",
    },
    DeclaredValue {
        name: "ephemeral_storage",
        kind: ValueKind::Bytes,
        defaults: &[(ImageVolume, "\"1Mi\""), (Helper, "\"1Mi\"")],
        doc: "Request of ephemeral storage of each container. There is no limit: it would evict the pod.",
    },
    DeclaredValue {
        name: "memory",
        kind: ValueKind::Bytes,
        defaults: &[(ImageVolume, "\"512Ki\""), (Helper, "\"512Ki\""), (Quayctl, "\"64Mi\"")],
        doc: "Memory request of each container. At most `memory_limit`.",
    },
    DeclaredValue {
        name: "memory_limit",
        kind: ValueKind::Bytes,
        defaults: &[(ImageVolume, "\"16Mi\""), (Helper, "\"16Mi\"")],
        doc: "Memory limit of each container. At least `12Mi`: CRI-O starts no container with less.",
    },
    DeclaredValue {
        name: "pod_annotations",
        kind: ValueKind::Annotations,
        defaults: &[(ImageVolume, ANNOTATIONS), (Helper, ANNOTATIONS), (Quayctl, ANNOTATIONS)],
        doc: "Annotations of the pods: a table of strings.",
    },
    DeclaredValue {
        name: "pod_labels",
        kind: ValueKind::Labels,
        defaults: &[(ImageVolume, LABELS), (Helper, LABELS), (Quayctl, LABELS)],
        doc: "Labels of the pods: a table of strings.",
    },
    DeclaredValue {
        name: "priority_class",
        kind: ValueKind::NameOf("PriorityClass"),
        defaults: &[(ImageVolume, ""), (Helper, ""), (Quayctl, "")],
        doc: "Name of the pods' PriorityClass.",
    },
    DeclaredValue {
        name: "quayctl_image",
        kind: ValueKind::Image,
        defaults: &[(Quayctl, QUAYCTL_IMAGE)],
        doc: "The image that holds `quayctl`.",
    },
    DeclaredValue {
        name: "run_as_user",
        kind: ValueKind::UserId,
        defaults: &[(ImageVolume, ""), (Helper, "65532")],
        doc: "User id of the containers, 1 to 2147483647; `\"unset\"` names none, so that the carrier's and the \
              images' own hold, or what OpenShift assigns. Never 0: the pods may not run as root.",
    },
    DeclaredValue {
        name: "runtime_class",
        kind: ValueKind::NameOf("RuntimeClass"),
        defaults: &[(ImageVolume, ""), (Helper, "")],
        doc: "Name of the pods' RuntimeClass.",
    },
];

impl BuiltIn {
    /// As a config names it.
    pub fn as_str(self) -> &'static str {
        match self {
            BuiltIn::ImageVolume => "image-volume",
            BuiltIn::Helper => "helper",
            BuiltIn::Quayctl => "quayctl",
        }
    }
}

impl ValueKind {
    /// What may be written, in words.
    pub fn expected(self) -> &'static str {
        match self {
            ValueKind::Cpus => "a quantity such as \"100m\" or 0.5",
            ValueKind::Bytes => "a quantity such as \"16Mi\"",
            ValueKind::UserId => "an integer or \"unset\"",
            ValueKind::NameOf(_) | ValueKind::Image => "a string",
            ValueKind::Labels | ValueKind::Annotations => "a table of strings",
        }
    }

    fn in_the_reference(self) -> &'static str {
        match self {
            ValueKind::Cpus | ValueKind::Bytes => "quantity",
            ValueKind::UserId => "integer, `\"unset\"`",
            ValueKind::NameOf(_) => "name",
            ValueKind::Image => "image reference",
            ValueKind::Labels | ValueKind::Annotations => "table of strings",
        }
    }
}

impl DeclaredValue {
    /// What stands in for it in `template`; `None` where that does not read it.
    pub fn default_in(&self, template: BuiltIn) -> Option<&'static str> {
        self.defaults.iter().find(|(reader, _)| *reader == template).map(|(_, default)| *default)
    }

    /// For the JSON Schema.
    fn schema(&self) -> Value {
        let quantity = r"^ *\+?([0-9]+\.?[0-9]*|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]+)? *$|^$";
        let mut schema = match self.kind {
            ValueKind::Cpus | ValueKind::Bytes => {
                json!({"type": ["string", "number"], "minimum": 0, "pattern": quantity})
            }
            ValueKind::UserId => json!({"anyOf": [
                {"type": "integer", "minimum": 1, "maximum": USER_ID_MAX},
                {"enum": [UNSET, ""]},
            ]}),
            ValueKind::NameOf(_) => json!({
                "type": "string", "maxLength": 253,
                "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$",
            }),
            ValueKind::Image => json!({"type": "string"}),
            ValueKind::Labels => json!({
                "type": "object",
                "propertyNames": {"pattern": LABEL_KEY},
                "additionalProperties": {
                    "type": "string", "pattern": r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$",
                },
            }),
            ValueKind::Annotations => json!({
                "type": "object",
                "propertyNames": {"pattern": LABEL_KEY},
                "additionalProperties": {"type": "string"},
            }),
        };
        schema["description"] = self.description().into();
        schema
    }

    fn description(&self) -> String {
        format!("{} {}", self.doc, self.default_words())
    }

    fn default_words(&self) -> String {
        let shown = |default: &str| match default {
            "" => "none".to_owned(),
            default => format!("`{default}`"),
        };
        let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
        for (template, default) in self.defaults {
            let words = shown(default);
            match groups.iter_mut().find(|(known, _)| *known == words) {
                Some((_, templates)) => templates.push(template.as_str()),
                None => groups.push((words, vec![template.as_str()])),
            }
        }
        let words = groups.iter().map(|(words, templates)| match groups.len() {
            1 => words.clone(),
            _ => format!("{words} in {}", templates.join(" and ")),
        });
        format!("Default: {}.", words.collect::<Vec<_>>().join(", "))
    }
}

const LABEL_KEY: &str =
    r"^([A-Za-z0-9]([-A-Za-z0-9.]{0,251}[A-Za-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";

/// `values` of a group whose template may be anybody's: names to offer, and no rule.
pub fn offered() -> Value {
    let offered = DECLARED
        .iter()
        .map(|declared| (declared.name.to_owned(), json!({"description": declared.description()})));
    json!({"type": "object", "properties": Value::Object(offered.collect()), "additionalProperties": true})
}

/// `values` of a group that gets one of `templates`: the rules of what they read.
pub fn strict(templates: &[BuiltIn]) -> Value {
    let properties = DECLARED.iter().map(|declared| {
        let is_read = templates.iter().any(|template| declared.default_in(*template).is_some());
        let rules = if is_read { declared.schema() } else { json!({"description": declared.description()}) };
        (declared.name.to_owned(), rules)
    });
    json!({"properties": Value::Object(properties.collect()), "additionalProperties": false})
}

/// A Markdown table of all of them.
pub fn reference() -> String {
    let mut text = String::from("| value | takes | read by | meaning |\n|---|---|---|---|\n");
    for declared in &DECLARED {
        let readers: Vec<&str> = declared.defaults.iter().map(|(reader, _)| reader.as_str()).collect();
        text.push_str(&format!(
            "| `{}` | {} | {} | {} |\n",
            declared.name,
            declared.kind.in_the_reference(),
            readers.join(", "),
            declared.description(),
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// What the text of a template reads of `values`, each with the stand-in that it writes.
    fn read_by(text: &str) -> BTreeMap<String, String> {
        let mut read = BTreeMap::new();
        for (at, _) in text.match_indices("values.") {
            let rest = &text[at + "values.".len()..];
            let name: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            let before = text[..at].trim_end_matches("@root.");
            let default = match before.ends_with("(default ") || before.ends_with("{{default ") {
                true => {
                    let rest = rest[name.len()..].trim_start();
                    let end = match rest.chars().next() {
                        Some('{') => rest.find('}').unwrap() + 1,
                        Some('"') => rest[1..].find('"').unwrap() + 2,
                        _ => rest.find(|c: char| !c.is_ascii_digit()).unwrap(),
                    };
                    rest[..end].to_owned()
                }
                false => String::new(),
            };
            let known = read.entry(name).or_insert_with(String::new);
            if !default.is_empty() && default != format!("\"{UNSET}\"") {
                *known = default;
            }
        }
        read
    }

    #[test]
    fn the_table_says_what_the_templates_read_and_what_stands_in() {
        for (template, text) in [
            (ImageVolume, crate::config::IMAGE_VOLUME),
            (Helper, crate::config::HELPER),
            (Quayctl, crate::config::QUAYCTL),
        ] {
            let declared = DECLARED.iter().filter_map(|declared| {
                Some((declared.name.to_owned(), declared.default_in(template)?.to_owned()))
            });
            assert_eq!(read_by(text), declared.collect::<BTreeMap<_, _>>(), "{}", template.as_str());
        }
    }

    #[test]
    fn the_table_is_sorted_by_name() {
        assert!(DECLARED.is_sorted_by_key(|declared| declared.name));
    }
}
