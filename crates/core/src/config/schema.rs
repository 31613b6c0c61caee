//! The shape of the config file for editors, as JSON Schema, and the reference in `docs/`: both from the
//! table of keys. Pure.

use serde_json::{Value, json};

use super::keys::{GROUP, Key, TEMPLATE, TOLERATION, TOP_LEVEL};
use super::kinds::{Defs, refer};
use super::validate::REQUIRED;
use super::values::{self, BuiltIn};

/// Tables at the top of the file, and what they are for.
const TABLES: [(&str, &str); 3] = [
    (
        "defaults",
        "Any key of a group but `name`, `images` and `schedule`: what groups get that have none of their own.",
    ),
    ("groups", "Which images go onto which nodes, in the order in which nodes take their turns."),
    ("templates", "Templates of one's own, by name."),
];

/// JSON Schema, draft 2020-12, with a final newline.
pub fn text() -> String {
    format!("{:#}\n", schema())
}

fn schema() -> Value {
    let mut defs = Defs::new();
    let mut group = table(GROUP, &mut defs);
    group["required"] = REQUIRED.iter().map(|(key, _)| *key).collect();
    group["allOf"] = values_by_template();
    let group = refer(&mut defs, "Group", group);
    let shared = GROUP.iter().filter(|key| key.is_shared);
    let defaults = described_table(shared.map(|key| (key, in_defaults(key))), &mut defs);
    let defaults = refer(&mut defs, "Defaults", defaults);
    let mut template = table(TEMPLATE, &mut defs);
    template["description"] = "Either `file` or `inline`.".into();
    let template = refer(&mut defs, "Template", template);

    let mut root = table(TOP_LEVEL, &mut defs);
    let shapes = [
        defaults,
        json!({"items": group, "minItems": 1, "type": "array"}),
        json!({"additionalProperties": template, "type": "object"}),
    ];
    for ((name, description), mut shape) in TABLES.into_iter().zip(shapes) {
        shape["description"] = description.into();
        root["properties"][name] = shape;
    }
    root["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    root["title"] = "Config of quayctl-controller".into();
    root["description"] =
        "What to pull onto which nodes of a Kubernetes cluster. See quayctl-controller.".into();
    root["$defs"] = defs.into();
    root
}

/// A table with these keys and no others.
pub fn table(keys: &'static [Key], defs: &mut Defs) -> Value {
    described_table(keys.iter().map(|key| (key, key.description())), defs)
}

fn described_table<'k>(keys: impl Iterator<Item = (&'k Key, String)>, defs: &mut Defs) -> Value {
    let property = |(key, description): (&Key, String)| {
        let mut schema = (key.schema)(defs);
        schema["description"] = description.into();
        (key.name.to_owned(), schema)
    };
    let properties: Defs = keys.map(property).collect();
    json!({"additionalProperties": false, "properties": properties, "type": "object"})
}

fn in_defaults(key: &Key) -> String {
    format!("As a group's `{}`.", key.name)
}

/// The rules for `values`, where the group itself names a built-in template.
fn values_by_template() -> Value {
    let auto = [BuiltIn::ImageVolume, BuiltIn::Helper];
    [(&["auto", "image-volume", "helper"][..], &auto[..]), (&["quayctl"], &[BuiltIn::Quayctl])]
        .into_iter()
        .map(|(names, templates)| {
            json!({
                "if": {"properties": {"template": {"enum": names}}, "required": ["template"]},
                "then": {"properties": {"values": values::strict(templates)}},
            })
        })
        .collect()
}

/// The config reference, Markdown.
pub fn reference() -> String {
    let mut text = String::from(
        "# Config reference\n\nMade from the table of keys (`config/keys.rs`); [config/quayctl.toml](../config/quayctl.toml) \
         shows every key in its place. Unknown keys are errors.\n",
    );
    let described = |keys: &'static [Key]| keys.iter().map(|key| (key.name, key.description())).collect();
    let top_level: Vec<(&str, String)> = described(TOP_LEVEL);
    let tables = TABLES.iter().map(|(name, description)| (*name, (*description).to_owned()));
    let shared = GROUP.iter().filter(|key| key.is_shared);
    for (title, rows) in [
        ("Top level", top_level.into_iter().chain(tables).collect()),
        ("`[defaults]`", shared.map(|key| (key.name, in_defaults(key))).collect()),
        ("`[[groups]]`", described(GROUP)),
        ("`tolerations` of a group", described(TOLERATION)),
        ("`[templates.NAME]`", described(TEMPLATE)),
    ] {
        text.push_str(&format!("\n## {title}\n\n| key | meaning |\n|---|---|\n"));
        for (key, words) in rows {
            text.push_str(&format!("| `{key}` | {words} |\n"));
        }
    }
    text.push_str(LIMITS_OF_TEMPLATES);
    text.push_str(
        "\n## `values` of the built-in templates\n\nA group's `values` beat those of `[defaults]`, key by key; \
         tables such as `pod_labels` are replaced whole. `\"\"` is as if the value were not set. `check` refuses \
         other keys where the template is a built-in one; a template of one's own may read any key and gets it \
         as it is.\n\n",
    );
    text.push_str(&values::reference());
    text
}

/// What templates may not do; `render` has a test that the numbers are its own.
const LIMITS_OF_TEMPLATES: &str = "
A template, or a partial `NAME.hbs` beside the config, prints at most 1 MiB, YAML aliases written out; blocks, parentheses \
and partials stand at most 50 deep inside one another; and a rendering does a counted amount of work, of which a Job of 100 \
images needs a fifth. What is more is an error that names template and line. A file may be a link as those of a mounted \
ConfigMap are; one that leads out of the config's folder is refused.

What a template renders is checked as an API server would: fields are known and of the right type, and quantities, requests \
above their limits, names, label keys and values, user ids, environment names, ports, mounts and volumes are right.
";
