//! What environment variables and flags say, as layers of the config. Pure: they are handed in.
//!
//! Each variable is a layer of its own, so that a wrong value is blamed on the variable by name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider, Source};

use super::code::Code;
use super::keys::{GROUP, Key, TOP_LEVEL};
use super::kinds::Variable;
use super::problem::{Origin, Problem, Severity};

/// One source of values.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// `environment variable X` or a flag.
    pub name: String,
    /// The config file itself, where that is the source.
    pub file: Option<PathBuf>,
    pub tree: Dict,
}

const PREFIX: &str = "QUAYCTL_";
const DEFAULTS: &str = "DEFAULTS__";

/// Variables that stand for flags, or that supply a built-in default.
const OTHERS: [&str; 6] = [
    "QUAYCTL_CONFIG",
    "QUAYCTL_RUN_ID",
    "QUAYCTL_INSTANCE",
    "QUAYCTL_LOG",
    "QUAYCTL_LOG_FORMAT",
    "QUAYCTL_CARRIER_IMAGE",
];

/// Variables of the 2017 controller, and of the manifests that we ship.
const WITHOUT_PREFIX: [&str; 6] =
    ["QUAY_IMAGES", "DEADLINE_SECONDS", "MY_POD_NAMESPACE", "POD_NAME", "POD_NAMESPACE", "POD_UID"];

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        match &self.file {
            Some(file) => Metadata::from(self.name.clone(), Source::File(file.clone())),
            None => Metadata::named(self.name.clone()),
        }
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.tree.clone()))
    }
}

impl Layer {
    fn variable(name: &str, path: &[&str], value: Value) -> Layer {
        Layer { name: format!("environment variable {name}"), file: None, tree: nested(path, value) }
    }

    /// The config file's.
    pub fn file(path: PathBuf, tree: Dict) -> Layer {
        Layer { name: "config file".to_owned(), file: Some(path), tree }
    }

    /// A flag's value for the top-level key `key`.
    pub fn flag(flag: &str, key: &str, value: &str) -> Layer {
        Layer { name: flag.to_owned(), file: None, tree: nested(&[key], Value::from(value)) }
    }
}

/// The group that `QUAY_IMAGES` makes, as the controller of 2017 understood it: images between
/// semicolons, on every schedulable node. `None` where the variable is not set.
pub fn quay_images(environment: &BTreeMap<String, String>) -> Option<Layer> {
    let text = environment.get("QUAY_IMAGES").filter(|text| !text.trim().is_empty())?;
    let images: Vec<&str> = text.split(';').map(str::trim).filter(|image| !image.is_empty()).collect();
    let group = Dict::from([("name".to_owned(), "quay-images".into()), ("images".to_owned(), images.into())]);
    Some(Layer::variable("QUAY_IMAGES", &["groups"], Value::from(vec![group])))
}

/// Values that stand below the file: what it says beats them.
pub fn below(environment: &BTreeMap<String, String>) -> Vec<Layer> {
    let set = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    let layer = |name: &'static str, path: &[&str]| {
        set(name).map(|value| Layer::variable(name, path, Value::from(value.as_str())))
    };
    [
        layer("MY_POD_NAMESPACE", &["namespace"]),
        layer("QUAYCTL_CARRIER_IMAGE", &["defaults", "carrier_image"]),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Values that beat the file's, and what is to be warned about.
pub fn above(environment: &BTreeMap<String, String>) -> (Vec<Layer>, Vec<Problem>) {
    let mut layers: Vec<Layer> =
        environment.get("DEADLINE_SECONDS").and_then(|text| deadline_seconds(text)).into_iter().collect();
    let mut warnings = Vec::new();
    for (name, text) in environment.iter().filter(|(_, text)| !text.is_empty()) {
        match overrides().find(|(variable, ..)| variable == name) {
            // The flag that it stands for reads it.
            _ if OTHERS.contains(&name.as_str()) => {}
            Some((_, path, key)) => {
                layers.push(Layer::variable(name, &[path, &[key.name]].concat(), key.variable.read(text)));
            }
            None if name.starts_with(PREFIX) => warnings.extend(typing_mistake(name)),
            None => {}
        }
    }
    (layers, warnings)
}

/// Every variable that overrides a key, with the table that the key is in.
fn overrides() -> impl Iterator<Item = (String, &'static [&'static str], &'static Key)> {
    let variable = |prefix: &str, key: &Key| format!("{PREFIX}{prefix}{}", key.name.to_uppercase());
    let top_level = TOP_LEVEL.iter().map(move |key| (variable("", key), &[][..], key));
    let shared = GROUP.iter().filter(|key| key.is_shared);
    top_level.chain(shared.map(move |key| (variable(DEFAULTS, key), &["defaults"][..], key)))
}

/// Whether a variable of this name has a meaning.
pub fn is_known(name: &str) -> bool {
    WITHOUT_PREFIX.contains(&name)
        || OTHERS.contains(&name)
        || overrides().any(|(variable, ..)| variable == name)
}

/// What is said of variables whose value is not UTF-8: nothing of it can be used, so it is no override
/// that may be passed over.
pub fn unreadable(names: &[String]) -> Vec<Problem> {
    let problem = |name: &String| {
        let origin = Origin::Named(format!("environment variable {name}"));
        let help = Some("set it to UTF-8 text, or unset it".to_owned());
        let problem =
            Problem::new(Severity::Error, Code::NotUtf8, origin, "its value contains invalid UTF-8");
        Problem { help, ..problem }
    };
    // A path need not be UTF-8.
    names.iter().filter(|name| is_known(name) && *name != "QUAYCTL_CONFIG").map(problem).collect()
}

/// The deadline of 2017, a bare number of seconds.
fn deadline_seconds(text: &str) -> Option<Layer> {
    let text = text.trim();
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    // Anything else is refused where durations are read, with the variable's name.
    let duration = if is_number { format!("{text}s") } else { text.to_owned() };
    let layer = || Layer::variable("DEADLINE_SECONDS", &["defaults", "deadline"], Value::from(duration));
    (!text.is_empty()).then(layer)
}

/// Kubernetes injects variables for each Service of a namespace, and one named `quayctl-controller`
/// gives `QUAYCTL_CONTROLLER_PORT`: foreign names are none of our business, near misses are.
fn typing_mistake(name: &str) -> Option<Problem> {
    let others = OTHERS.iter().map(|name| (*name).to_owned());
    let mut known = overrides().map(|(variable, ..)| variable).chain(others);
    let meant = known.find(|known| strsim::osa_distance(name, known) <= 2)?;
    Some(Problem {
        severity: Severity::Warning,
        code: Code::UnknownVariable,
        origin: Origin::Named(format!("environment variable {name}")),
        key: None,
        message: "unknown, so it has no effect".to_owned(),
        help: Some(format!("did you mean {meant}?")),
    })
}

impl Variable {
    fn read(self, text: &str) -> Value {
        let as_text = || Value::from(text);
        match self {
            Variable::Text => as_text(),
            Variable::Number => text.parse::<i64>().map_or_else(|_| as_text(), Value::from),
            Variable::Switch => text.parse::<bool>().map_or_else(|_| as_text(), Value::from),
            Variable::List | Variable::Table => {
                // What does not read stays text, and is refused as no list where it is looked at.
                let parsed = toml::from_str::<Dict>(&format!("value = {text}")).ok();
                parsed.and_then(|mut dict| dict.remove("value")).unwrap_or_else(as_text)
            }
        }
    }
}

fn nested(path: &[&str], value: Value) -> Dict {
    match path {
        [] => Dict::new(),
        [key] => Dict::from([((*key).to_owned(), value)]),
        [key, rest @ ..] => Dict::from([((*key).to_owned(), Value::from(nested(rest, value)))]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_that_is_read_is_known_and_no_other() {
        let known = ["QUAYCTL_NAMESPACE", "QUAYCTL_DEFAULTS__VALUES", "QUAYCTL_RUN_ID", "QUAY_IMAGES"];
        let foreign =
            ["QUAYCTL_CONTROLLER_PORT", "QUAYCTL_DEFAULTS__RUN_ID", "QUAYCTL_DEFAULTS__NAME", "PATH", ""];
        assert!(known.into_iter().all(is_known) && !foreign.into_iter().any(is_known));
        let names =
            |names: &[&str]| unreadable(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).len();
        assert_eq!((names(&known), names(&foreign), names(&["QUAYCTL_CONFIG"])), (4, 0, 0));
    }

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn known_names_become_layers_and_strings_stay_strings() {
        let (layers, warnings) = above(&environment(&[
            ("QUAYCTL_NAMESPACE", "1234"),
            ("QUAYCTL_CONCURRENCY", "5"),
            ("QUAYCTL_DEFAULTS__CONCURRENCY", "10%"),
            ("QUAYCTL_DEFAULTS__CATCH_UP", "false"),
            ("QUAYCTL_DEFAULTS__NEW_NODES", "no"),
            ("QUAYCTL_DEFAULTS__PULL_SECRETS", "[\"a\", 'b']"),
            ("QUAYCTL_LOG", "debug"),
            ("QUAYCTL_DEADLINE", ""),
        ]));
        let trees: Vec<&Dict> = layers.iter().map(|layer| &layer.tree).collect();
        let expected = [
            nested(&["concurrency"], Value::from(5)),
            nested(&["defaults", "catch_up"], Value::from(false)),
            nested(&["defaults", "concurrency"], Value::from("10%")),
            nested(&["defaults", "new_nodes"], Value::from("no")),
            nested(&["defaults", "pull_secrets"], Value::from(vec!["a", "b"])),
            nested(&["namespace"], Value::from("1234")),
        ];
        assert_eq!(trees, expected.iter().collect::<Vec<_>>());
        assert_eq!(layers[5].name, "environment variable QUAYCTL_NAMESPACE");
        assert_eq!(warnings, []);
    }

    #[test]
    fn the_variables_of_2017_make_a_group_and_a_deadline() {
        let old = environment(&[("QUAY_IMAGES", " a:1 ;;b:2; "), ("DEADLINE_SECONDS", "600")]);
        let group = quay_images(&old).unwrap().tree;
        let images = group["groups"].as_array().unwrap()[0].as_dict().unwrap()["images"].clone();
        assert_eq!(images, Value::from(vec!["a:1", "b:2"]));
        assert_eq!(above(&old).0[0].tree, nested(&["defaults", "deadline"], Value::from("600s")));
        assert_eq!(quay_images(&environment(&[("QUAY_IMAGES", " ")])), None);
    }

    #[test]
    fn only_a_name_within_a_typing_mistake_is_warned_about() {
        let (layers, warnings) = above(&environment(&[
            ("QUAYCTL_CONTROLLER_PORT", "tcp://10.0.0.1:80"),
            ("QUAYCTL_CONTROLLER_SERVICE_HOST", "10.0.0.1"),
            ("QUAYCTL_NAMESAPCE", "x"),
            ("QUAYCTL_DEFAULTS__DEADLIN", "5m"),
        ]));
        assert_eq!(layers, []);
        let helps: Vec<_> = warnings.iter().filter_map(|warning| warning.help.as_deref()).collect();
        assert_eq!(helps, ["did you mean QUAYCTL_DEFAULTS__DEADLINE?", "did you mean QUAYCTL_NAMESPACE?"]);
    }
}
