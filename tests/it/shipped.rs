//! What the repository ships agrees with the code and with itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use quayctl_controller::config::{code, schema};
use quayctl_controller::outcome::reason;
use serde_json::Value;

use crate::support::bed::shared;
use crate::support::{Ended, ended, quayctl, root};

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The annotated config and every example.
fn configs() -> Vec<PathBuf> {
    let mut configs = vec![PathBuf::from("config/quayctl.toml")];
    for entry in fs::read_dir(root().join("config/examples")).unwrap() {
        let path = entry.unwrap().path();
        configs.push(if path.is_dir() { path.join("quayctl.toml") } else { path });
    }
    configs.sort();
    configs
}

/// `command` on a config as the image runs it, with its own image as the carrier.
fn on(config: &std::path::Path, command: &[&str]) -> Ended {
    let mut quayctl = quayctl();
    quayctl.current_dir(root()).args(command).arg("--config").arg(config);
    ended(quayctl.env("QUAYCTL_CARRIER_IMAGE", "quayctl-controller:demo"))
}

#[test]
fn the_shipped_config_renders_without_a_warning() {
    let config = PathBuf::from("config/quayctl.toml");
    let rendered = on(&config, &["render", "--nodes", "tests/cases/nodes.yaml"]).expect_code(0);
    assert!(rendered.stdout.contains("kind: Job"));
    assert_eq!(rendered.stderr, "", "the shipped config draws no warning");
    let checked = on(&config, &["check"]).expect_code(0);
    assert_eq!((checked.stdout.as_str(), checked.stderr.as_str()), ("2 groups, 3 images: no problems\n", ""));
}

#[test]
fn every_example_is_fine_and_renders() {
    let examples = configs();
    assert!(examples.len() >= 6, "{examples:?}");
    for config in examples {
        let checked = on(&config, &["check"]).expect_code(0);
        assert!(checked.stdout.ends_with(": no problems\n"), "{}\n{}", config.display(), checked.stderr);
        on(&config, &["render", "--nodes", "tests/cases/nodes.yaml"]).expect_code(0);

        // The nodes of the cases have none of the examples' labels, and what selects no node proves
        // little: without selectors each group gives a Job that a reader of Jobs takes.
        let folder = tempfile::tempdir().unwrap();
        for file in fs::read_dir(root().join(&config).parent().unwrap()).unwrap() {
            let file = file.unwrap().path();
            if file.is_file() {
                fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
            }
        }
        let text = fs::read_to_string(root().join(&config)).unwrap();
        let everywhere: Vec<&str> = text.lines().filter(|line| !line.starts_with("node_selector")).collect();
        let copy = folder.path().join("everywhere.toml");
        fs::write(&copy, everywhere.join("\n")).unwrap();
        let nodes = root().join("tests/cases/nodes.yaml");
        let rendered = on(&copy, &["render", "--nodes", nodes.to_str().unwrap(), "--node", "node-001"]);
        let jobs = rendered.expect_code(0).stdout.matches("kind: Job\n").count();
        assert_eq!(jobs, text.matches("[[groups]]").count(), "{}", config.display());
    }
}

/// Compares a derived file with what derives it; `UPDATE_SHIPPED=1` writes it instead.
#[track_caller]
pub fn is_current(path: &str, derived: &str) {
    if std::env::var_os("UPDATE_SHIPPED").is_some() {
        fs::write(root().join(path), derived).unwrap();
    }
    let shipped = fs::read_to_string(root().join(path)).unwrap_or_default();
    assert!(
        shipped == derived,
        "{path} is stale; write it anew: UPDATE_SHIPPED=1 cargo test --test it shipped"
    );
}

#[test]
fn the_schema_and_the_references_are_current() {
    is_current("config/quayctl.schema.json", &ended(quayctl().arg("schema")).expect_code(0).stdout);
    is_current("docs/config.md", &schema::reference());
    is_current("docs/problems.md", &code::reference());
    is_current("docs/reasons.md", &reason::reference());
}

/// The keys of the schema's tables, and a config with an unknown one in that table.
const TABLES: [(&str, &str); 5] = [
    ("", "zzzz = 1"),
    ("Defaults", "[defaults]\nzzzz = 1"),
    ("Group", "[[groups]]\nzzzz = 1"),
    ("Toleration", "[[groups]]\ntolerations = [{ zzzz = 1 }]"),
    ("Template", "[templates.a]\nzzzz = 1"),
];

/// The keys that the shipped schema has in one of them.
fn keys(table: &str) -> Vec<String> {
    let schema: Value = serde_json::from_str(&text("config/quayctl.schema.json")).unwrap();
    let table = if table.is_empty() { &schema } else { &schema["$defs"][table] };
    table["properties"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_schema_has_the_keys_that_are_read() {
    for (table, config) in TABLES {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("quayctl.toml"), config).unwrap();
        let checked =
            ended(quayctl().current_dir(&folder).args(["check", "-o", "json"])).expect_code(2).json();
        let problems = checked["problems"].as_array().unwrap();
        let unknown = problems.iter().find(|problem| problem["code"] == "unknown-key").unwrap();
        let known = unknown["help"].as_str().unwrap().strip_prefix("known here: ").unwrap();
        let read: BTreeSet<String> = known.split(", ").map(str::to_owned).collect();
        assert_eq!(BTreeSet::from_iter(keys(table)), read, "{table}");
    }
}

#[test]
fn every_config_fits_the_schema() {
    let schema: Value = serde_json::from_str(&text("config/quayctl.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for config in configs() {
        let text = fs::read_to_string(root().join(&config)).unwrap();
        let instance: Value = toml::from_str(&text).unwrap();
        let wrong: Vec<String> = validator
            .iter_errors(&instance)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(wrong.is_empty(), "{}: {wrong:?}", config.display());
        // Editors find the schema by the first line.
        let first = text.lines().next().and_then(|line| line.strip_prefix("#:schema ")).unwrap();
        let named = root().join(config.parent().unwrap()).join(first);
        assert!(named.ends_with("quayctl.schema.json") && named.is_file(), "{}", named.display());
    }
}

#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    let schema: Value = serde_json::from_str(&text("config/quayctl.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for name in [
        "bad-duration",
        "bad-limits",
        "bad-overlap",
        "bad-percentage",
        "bad-remove-taint",
        "date-for-a-table",
        "empty-images",
        "groups-as-a-table",
        "misspelt-groups",
        "misspelt-keys",
        "missing-keys",
        "serve-keys-of-a-wrong-type",
        "tables-of-a-wrong-type",
        "too-many-images",
        "unknown-key",
        "unknown-key-deep",
        "wrong-type",
    ] {
        let config = text(&format!("tests/cases/{name}/quayctl.toml"));
        assert!(!validator.is_valid(&toml::from_str(&config).unwrap()), "{name}");
    }
    // And takes what it takes; editors drop a byte order mark.
    for entry in fs::read_dir(root().join("tests/cases")).unwrap() {
        let folder = entry.unwrap().path();
        let text = fs::read_to_string(folder.join("quayctl.toml")).unwrap_or_default();
        if folder.join("expected.yaml").exists() {
            let instance: Value = toml::from_str(text.trim_start_matches('\u{feff}')).unwrap();
            let wrong: Vec<String> = validator.iter_errors(&instance).map(|e| e.to_string()).collect();
            assert!(wrong.is_empty(), "{}: {wrong:?}", folder.display());
        }
    }
}

#[test]
fn the_shipped_config_shows_every_key_and_what_is_commented_out_is_right() {
    let shown = text("config/quayctl.toml");
    let is_code = |line: &str| {
        let key = line.split([' ', '=']).next().unwrap_or_default();
        let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        line.starts_with('[') || (is_key && line[key.len()..].starts_with(" = "))
    };
    let lines = shown.lines().map(|line| match line.strip_prefix("# ") {
        Some(code) if is_code(code) => code,
        _ => line,
    });
    let whole: Vec<&str> = lines.collect();
    let names = whole.iter().flat_map(|line| {
        let name = line.split(" = ").next().unwrap_or_default();
        name.trim_start_matches('[').split([']', '.'])
    });
    let names: BTreeSet<&str> = names.collect();
    for (table, _) in TABLES {
        let missing = keys(table).into_iter().find(|key| !names.contains(key.as_str()));
        assert_eq!(missing, None, "config/quayctl.toml does not show all keys of {table:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("whole.toml"), whole.join("\n")).unwrap();
    fs::write(folder.path().join("mine.yaml.hbs"), text("templates/image-volume.yaml.hbs")).unwrap();
    let checked = on(&folder.path().join("whole.toml"), &["check"]).expect_code(0);
    assert!(checked.stdout.ends_with(": no problems\n"), "{}", checked.stderr);
}

/// The blocks of the README that show a config.
fn configs_of_the_readme() -> Vec<String> {
    let readme = text("README.md");
    let blocks = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split_once("```"));
    blocks.map(|(config, _)| config.to_owned()).collect()
}

#[test]
fn every_config_of_the_readme_renders() {
    let configs = configs_of_the_readme();
    assert!(configs.len() >= 2, "{configs:?}");
    for config in configs {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("quayctl.toml"), config).unwrap();
        let mut command = quayctl();
        command.current_dir(&folder).arg("render").arg("--nodes").arg(root().join("tests/cases/nodes.yaml"));
        ended(command.env("QUAYCTL_CARRIER_IMAGE", "quayctl-controller:demo")).expect_code(0);
    }
}

#[test]
fn the_readmes_first_config_works_as_typed() {
    let bed = shared();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("quayctl.toml"), &configs_of_the_readme()[0]).unwrap();
    // Nothing in the environment, as a newcomer has it.
    let typed = |command: &[&str]| {
        let mut quayctl = quayctl();
        ended(quayctl.current_dir(&folder).env("KUBECONFIG", bed.kubeconfig()).args(command))
    };
    // The bed has five nodes that cannot mount image volumes: `plan` says so beforehand.
    let plan = typed(&["plan"]).expect_code(0).stdout;
    assert!(plan.contains("failed: carrier-image-failed on 5 nodes (monitoring)"), "{plan}");
    let words = plan.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("set `carrier_image` to the image of quayctl-controller"), "{plan}");
    let others = ["--node", "node-001", "--node", "node-002"];
    let run = typed(&[&["run"][..], &others].concat()).expect_code(0).stdout;
    assert!(run.contains("2 of 2 Jobs succeeded, 0 failed"), "{run}");
    let run = typed(&["run", "--node", "node-050"]).expect_code(1).stdout;
    assert!(run.contains("failed: carrier-image-failed"), "{run}");
}

#[test]
fn nothing_that_is_shipped_names_an_image_of_other_people() {
    // Reserved for examples (RFC 2606), and what Kubernetes itself publishes.
    let neutral = |reference: &str| {
        let registry = reference.split('/').next().unwrap_or_default();
        let host = registry.split(':').next().unwrap_or_default();
        host == "registry.k8s.io" || host == "example.com" || host.ends_with(".example.com")
    };
    for config in configs() {
        let shown: toml::Table = text(config.to_str().unwrap()).parse().unwrap();
        for group in shown["groups"].as_array().unwrap() {
            for image in group["images"].as_array().unwrap() {
                assert!(neutral(image.as_str().unwrap()), "{}: {image}", config.display());
            }
        }
    }
    for file in ["deploy/cronjob.yaml", "deploy/serve/deployment.yaml"] {
        let text = text(file);
        let images = text.lines().filter_map(|line| line.trim().strip_prefix("image: "));
        assert!(images.clone().count() > 0, "{file}");
        images.for_each(|image| assert!(neutral(image), "{file}: {image}"));
    }
}

#[test]
fn deploy_and_deploy_serve_have_no_object_in_common() {
    // What the kustomizations rename, `tests/deploy_test.sh` compares on a cluster.
    let namespace = |file: &str| {
        let text = text(file);
        text.lines().find_map(|line| line.strip_prefix("namespace: ")).unwrap().to_owned()
    };
    let (cron_job, serve) =
        (namespace("deploy/kustomization.yaml"), namespace("deploy/serve/kustomization.yaml"));
    assert_ne!(cron_job, serve, "`kubectl delete -k` of one deletes the namespace of both");
    for entry in fs::read_dir(root().join("deploy/serve")).unwrap() {
        let path = entry.unwrap().path();
        let shipped = fs::read_to_string(&path).unwrap();
        let names = shipped.lines().filter_map(|line| line.trim().strip_prefix("namespace: "));
        // Those that are applied by themselves are renamed by nothing.
        names.for_each(|name| assert_eq!(name, serve, "{}", path.display()));
    }
}

#[test]
fn every_file_of_this_test_binary_is_compiled_in() {
    // A test file without its `mod` line never runs, and nobody notices.
    let main = text("tests/it/main.rs");
    for entry in fs::read_dir(root().join("tests/it")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(stem) = name.strip_suffix(".rs").filter(|stem| *stem != "main") {
            assert!(main.contains(&format!("mod {stem};")), "tests/it/main.rs does not name {name}");
        }
    }
}

#[test]
fn the_pinned_toolchain_and_the_manifest_agree() {
    let channel = |text: &str, key: &str| -> String {
        let line = text.lines().find(|line| line.starts_with(key)).expect("the key is there").to_owned();
        line.split('"').nth(1).expect("a quoted value").to_owned()
    };
    assert_eq!(
        channel(&text("rust-toolchain.toml"), "channel"),
        channel(&text("Cargo.toml"), "rust-version")
    );
}

#[test]
fn the_makefile_has_what_the_readme_names() {
    let (makefile, readme) = (text("Makefile"), text("README.md"));
    let named = readme.split("make ").skip(1).filter_map(|rest| {
        rest.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '-').next()
    });
    for target in named.filter(|target| !target.is_empty()) {
        if readme.contains(&format!("`make {target}")) || readme.contains(&format!("\nmake {target}")) {
            assert!(makefile.contains(&format!("\n{target}:")), "README.md names `make {target}`");
        }
    }
}
