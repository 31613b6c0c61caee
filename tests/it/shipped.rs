//! What the repository ships agrees with the code and with itself.

use std::fs;

use crate::support::{ended, quayctl, root};

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn the_shipped_config_renders() {
    let mut command = quayctl();
    command.current_dir(root()).args(["render", "--config", "config/quayctl.toml"]);
    command
        .args(["--nodes", "tests/cases/nodes.yaml"])
        .env("QUAYCTL_CARRIER_IMAGE", "quayctl-controller:demo");
    let ended = ended(&mut command).expect_code(0);
    assert!(ended.stdout.contains("kind: Job"));
    assert_eq!(ended.stderr, "", "the shipped config draws no warning");
}

#[test]
fn the_readmes_first_config_renders() {
    let readme = text("README.md");
    let (_, rest) = readme.split_once("```toml\n").expect("README.md shows a config");
    let (config, _) = rest.split_once("```").expect("the block ends");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("quayctl.toml"), config).unwrap();
    let mut command = quayctl();
    command.current_dir(&folder).arg("render").arg("--nodes").arg(root().join("tests/cases/nodes.yaml"));
    command.env("QUAYCTL_CARRIER_IMAGE", "quayctl-controller:demo");
    ended(&mut command).expect_code(0);
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
    let named = readme
        .split("make ")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_lowercase() && c != '-').next());
    for target in named.filter(|target| !target.is_empty()) {
        if readme.contains(&format!("`make {target}")) || readme.contains(&format!("\nmake {target}")) {
            assert!(makefile.contains(&format!("\n{target}:")), "README.md names `make {target}`");
        }
    }
}
