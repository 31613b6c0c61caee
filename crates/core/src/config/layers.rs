//! Lays the sources of a config over each other. Pure.
//!
//! figment does the merging and keeps who said what; here stands what it cannot know: that `values` are
//! merged by their keys and no deeper, and which words of a source nobody hears because a later one beats
//! them. Those are judged too: who takes the later source away must not find that the file was wrong all
//! along.

use figment::value::{Dict, Value};
use figment::{Figment, Profile, Provider};

use super::environment::Layer;
use super::file::{Path, Step};
use super::keys::GROUP;
use super::kinds::Variable;

/// What a source says and a later one beats.
#[derive(Debug)]
pub struct Overridden {
    pub paths: Vec<Path>,
    /// All sources with this one on top.
    pub layers: Vec<Layer>,
}

/// Each layer over those before it.
pub fn layered(layers: &[Layer]) -> Figment {
    let mut layers = layers.to_vec();
    for later in 1..layers.len() {
        let (earlier, rest) = layers.split_at_mut(later);
        let keys = values_of(&mut rest[0].tree).map(|values| values.keys().cloned().collect::<Vec<_>>());
        for key in keys.unwrap_or_default() {
            earlier.iter_mut().filter_map(|layer| values_of(&mut layer.tree)).for_each(|values| {
                values.remove(&key);
            });
        }
    }
    layers.into_iter().fold(Figment::new(), Figment::merge)
}

/// The values as they are after layering.
pub fn merged(figment: &Figment) -> Dict {
    // Our providers cannot fail, so there always is a tree.
    figment.data().ok().and_then(|mut profiles| profiles.remove(&Profile::Default)).unwrap_or_default()
}

/// Of each layer that says something in vain, what that is.
pub fn overridden(layers: &[Layer]) -> Vec<Overridden> {
    let said: Vec<Vec<Path>> = layers.iter().map(|layer| paths_of(&layer.tree)).collect();
    let of = |index: usize| {
        let beats = |path: &Path| said[index + 1..].iter().flatten().any(|later| touches(path, later));
        let paths: Vec<Path> = said[index].iter().filter(|path| beats(path)).cloned().collect();
        let mut layers = layers.to_vec();
        let layer = layers.remove(index);
        layers.push(layer);
        (!paths.is_empty()).then_some(Overridden { paths, layers })
    };
    (0..layers.len()).filter_map(of).collect()
}

/// Whether `path` is at or below one of `paths`.
pub fn is_within(path: &Path, paths: &[Path]) -> bool {
    paths.iter().any(|outer| path.0.starts_with(&outer.0))
}

fn touches(path: &Path, other: &Path) -> bool {
    path.0.starts_with(&other.0) || other.0.starts_with(&path.0)
}

/// The places that a layer sets as a whole.
fn paths_of(tree: &Dict) -> Vec<Path> {
    let mut paths = Vec::new();
    for (key, value) in tree {
        match value {
            Value::Dict(_, defaults) if key == "defaults" => {
                for (key, value) in defaults {
                    let path = Path(vec![Step::Key("defaults".to_owned()), Step::Key(key.clone())]);
                    match value {
                        Value::Dict(_, values) if is_merged(key) => {
                            paths.extend(values.keys().map(|key| path.key(key)));
                        }
                        _ => paths.push(path),
                    }
                }
            }
            _ => paths.push(Path::default().key(key)),
        }
    }
    paths
}

/// Whether a later source adds to the table of this name in `[defaults]` key by key.
fn is_merged(name: &str) -> bool {
    GROUP.iter().any(|key| key.name == name && key.variable == Variable::Table)
}

/// `[defaults].values`, where it is a table.
fn values_of(tree: &mut Dict) -> Option<&mut Dict> {
    let Some(Value::Dict(_, defaults)) = tree.get_mut("defaults") else { return None };
    match defaults.get_mut("values") {
        Some(Value::Dict(_, values)) => Some(values),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(name: &str, toml: &str) -> Layer {
        Layer { name: name.to_owned(), file: None, tree: toml::from_str(toml).unwrap() }
    }

    #[test]
    fn values_are_merged_by_their_keys_and_no_deeper() {
        let layers = [
            layer(
                "file",
                "[defaults]\ndeadline = '1m'\nvalues = { cpu = '1m', pod_labels = { a = '1', b = '1' } }",
            ),
            layer("one", "defaults.values = { pod_labels = { b = '2' }, memory = '1Mi' }"),
            layer("two", "defaults.values = { memory = '2Mi' }"),
        ];
        let expected = layer(
            "",
            "[defaults]\ndeadline = '1m'\n\
             values = { cpu = '1m', pod_labels = { b = '2' }, memory = '2Mi' }",
        );
        assert_eq!(merged(&layered(&layers)), expected.tree);
    }

    #[test]
    fn what_a_later_source_beats_is_known_by_its_path() {
        let layers = [
            layer("below", "namespace = 'a'"),
            layer(
                "file",
                "instance = 'a'\nconcurrency = 1\n[defaults]\ndeadline = 1\nvalues = { a = 1, b = 1 }\n\
                 job_labels = { a = '1', b = '1' }",
            ),
            layer("above", "concurrency = 2"),
            layer("values", "defaults.values = { b = 2 }\ndefaults.job_labels = { a = '2' }"),
            layer("flag", "namespace = 'b'"),
        ];
        let found: Vec<(String, Vec<String>)> = overridden(&layers)
            .into_iter()
            .map(|overridden| {
                let top = overridden.layers.last().unwrap().name.clone();
                (top, overridden.paths.iter().map(ToString::to_string).collect())
            })
            .collect();
        let expected = [
            ("below".to_owned(), vec!["namespace".to_owned()]),
            (
                "file".to_owned(),
                ["concurrency", "defaults.job_labels.a", "defaults.values.b"].map(str::to_owned).to_vec(),
            ),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_value_that_is_no_table_is_beaten_as_a_whole() {
        let layers = [layer("file", "defaults.values = 'x'"), layer("above", "defaults.values = { b = 2 }")];
        let overridden = overridden(&layers);
        assert_eq!(overridden[0].paths, [Path::default().key("defaults").key("values")]);
        let on_top = merged(&layered(&overridden[0].layers));
        assert_eq!(on_top, layers[0].tree);
    }
}
